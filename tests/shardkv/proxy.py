"""A way to ZooKeeper that can be cut: a port that passes bytes on to any of the servers, until it says nothing any more."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Sequence


class Proxy:
    """`cut` lets both sides hear nothing, as when packets are dropped; `heal` ends the old connections and takes new ones."""

    def __init__(self, targets: Sequence[str]) -> None:
        self._targets = list(targets)
        self._next = 0
        self._through = threading.Event()
        self._through.set()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def cut(self) -> None:
        """From now on nothing comes through, and nobody is told."""
        self._through.clear()

    def heal(self) -> None:
        """As before, on new connections; nothing if it was not cut."""
        if not self._through.is_set():
            self._drop()
            self._through.set()

    def close(self) -> None:
        """For good."""
        self._listener.close()
        self._drop()
        self._through.set()

    def _drop(self) -> None:
        with self._lock:
            dropped, self._open = self._open, set()
        for one in dropped:
            _end(one)

    def _accept(self) -> None:
        while True:
            try:
                inner, _ = self._listener.accept()
            except OSError:
                return
            self._through.wait()
            outer = self._reach()
            if outer is None:
                _end(inner)
                continue
            with self._lock:
                self._open |= {inner, outer}
            for one, other in ((inner, outer), (outer, inner)):
                threading.Thread(target=self._pass_on, args=(one, other), name="proxy", daemon=True).start()

    def _reach(self) -> socket.socket | None:
        for _ in self._targets:
            host, _, port = self._targets[self._next % len(self._targets)].rpartition(":")
            self._next += 1
            with contextlib.suppress(OSError):
                outer = socket.create_connection((host, int(port)), timeout=1)
                outer.settimeout(None)
                return outer
        return None

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65_536):
                self._through.wait()
                other.sendall(data)
        except OSError:
            pass
        for each in (one, other):
            _end(each)
            with self._lock:
                self._open.discard(each)


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()

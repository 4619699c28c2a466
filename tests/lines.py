"""TCP lines that a test can cut: what was sent meanwhile is held and arrives when the line is whole again, as after a partition.

A line leads to one server. It can be cut for one process only, though several use it: the peer of a connection is found by its socket.
"""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

_CHUNK = 65536


@dataclass(eq=False)
class _Connection:
    """One client, its server, and what waits to be passed on in each direction."""

    client: socket.socket
    server: socket.socket
    inode: str
    waiting: dict[socket.socket, bytes] = field(default_factory=dict)

    def peer(self, side: socket.socket) -> socket.socket:
        return self.server if side is self.client else self.client

    def close(self) -> None:
        self.client.close()
        self.server.close()


class Line:
    """Passes on to `target` (host:port) whatever comes to `address`, but for processes that are cut off."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._cut: frozenset[int] = frozenset()
        """Replaced as a whole: the thread looks at it while others change it."""
        self._connections: list[_Connection] = []
        self._wake, self._woken = socket.socketpair()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name=f"line to {target}")
        self._thread.start()

    @contextmanager
    def cut_for(self, pid: int) -> Iterator[None]:
        """Nothing passes between that process and the server while the block runs; the connections stay open."""
        self._cut |= {pid}
        self._nudge()
        try:
            yield
        finally:
            self._cut -= {pid}
            self._nudge()

    def close(self) -> None:
        """End the line with all that use it."""
        self._ended = True
        self._nudge()
        self._thread.join()
        for one in self._connections:
            one.close()
        for end in (self._listener, self._wake, self._woken):
            end.close()

    def _nudge(self) -> None:
        self._wake.send(b"x")

    def _run(self) -> None:
        while not self._ended:
            held = self._held()
            readable = {side: one for one in self._connections if one not in held for side in (one.client, one.server)}
            writable = {side: one for one in self._connections if one not in held for side, data in one.waiting.items() if data}
            can_read, can_write, _ = select.select([self._listener, self._woken, *readable], list(writable), [], 30.0)
            if self._woken in can_read:
                self._woken.recv(_CHUNK)
            elif self._listener in can_read:
                self._accept()
            else:
                for side in can_write:
                    self._send(writable[side], side)
                for side in can_read:
                    if side in readable:
                        self._receive(readable[side], side)

    def _held(self) -> set[_Connection]:
        if not self._cut:
            return set()
        inodes = set().union(*(_sockets(pid) for pid in self._cut))
        return {one for one in self._connections if one.inode in inodes}

    def _accept(self) -> None:
        client, peer = self._listener.accept()
        try:
            server = socket.create_connection(self._target, timeout=5)
        except OSError:
            client.close()
            return
        for side in (client, server):
            side.setblocking(False)
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections.append(_Connection(client, server, _inode(peer[1], to=self._listener.getsockname()[1])))

    def _receive(self, one: _Connection, side: socket.socket) -> None:
        if one not in self._connections or len(one.waiting.get(one.peer(side), b"")) > 16 * _CHUNK:
            return
        try:
            data = side.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end(one)
            return
        one.waiting[one.peer(side)] = one.waiting.get(one.peer(side), b"") + data
        self._send(one, one.peer(side))

    def _send(self, one: _Connection, side: socket.socket) -> None:
        try:
            sent = side.send(one.waiting.get(side, b""))
        except BlockingIOError:
            return
        except OSError:
            self._end(one)
            return
        one.waiting[side] = one.waiting[side][sent:]

    def _end(self, one: _Connection) -> None:
        if one in self._connections:
            self._connections.remove(one)
        one.close()


def _inode(port: int, *, to: int) -> str:
    """The socket of this machine that is connected from `port` to `to`; empty when it is gone again (Linux: proc(5), /proc/net/tcp)."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].rpartition(":")[2], 16) == port and int(fields[2].rpartition(":")[2], 16) == to:
            return fields[9]
    return ""


def _sockets(pid: int) -> set[str]:
    found: set[str] = set()
    with suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                found.add(str(Path(entry.path).readlink()).removeprefix("socket:[").removesuffix("]"))
    return found

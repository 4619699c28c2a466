"""How kazoo's thread is woken for each request, without ever holding up who asks.

kazoo sends one byte through a socket for each request and reads one for each that it has sent on. Without a connection it reads none: some
280 requests later the socket is full, and kazoo's own `send` waits, in our case in the event loop, for as long as ZooKeeper is away.
"""

from __future__ import annotations

import contextlib
import socket
import threading


class _Pipe:
    """Both ends, and the bytes that did not fit in yet."""

    def __init__(self) -> None:
        self.reading, self.writing = socket.socketpair()
        self.writing.setblocking(False)
        self.lock = threading.Lock()
        self.left = 0

    def put(self, number: int) -> None:
        with self.lock:
            self.left += number
            self.fill()

    def fill(self) -> None:
        """As many as fit; called under the lock. When it is full the reader has something to read, and calls again after it."""
        while self.left:
            try:
                self.left -= self.writing.send(b"\0" * min(self.left, 64))
            except BlockingIOError:
                return


class WriteEnd:
    """What kazoo uses of a socket that it writes to."""

    def __init__(self, pipe: _Pipe) -> None:
        self._pipe = pipe

    def send(self, data: bytes) -> int:
        """Never waits. OSError when it was closed."""
        self._pipe.put(len(data))
        return len(data)

    def close(self) -> None:
        """No more wakes."""
        self._pipe.writing.close()


class ReadEnd:
    """What kazoo uses of a socket that it selects and reads."""

    def __init__(self, pipe: _Pipe) -> None:
        self._pipe = pipe

    def fileno(self) -> int:
        """For `select`."""
        return self._pipe.reading.fileno()

    def recv(self, size: int) -> bytes:
        """At most this many bytes; waits for one."""
        data = self._pipe.reading.recv(size)
        with self._pipe.lock, contextlib.suppress(OSError):  # the other end was closed meanwhile
            self._pipe.fill()
        return data

    def close(self) -> None:
        """Nobody is woken any more."""
        self._pipe.reading.close()


def pair() -> tuple[ReadEnd, WriteEnd]:
    """The end that kazoo's thread reads, and the one through which it is woken. As many bytes come out as were put in."""
    pipe = _Pipe()
    return ReadEnd(pipe), WriteEnd(pipe)

"""Free TCP ports and a loopback network of one's own, so that several sandboxes can run side by side.

Asking the kernel for port 0 is not enough: between asking and the part's own bind, another sandbox (or any outgoing connection) can take
the port. So ports come from below the ephemeral range, and each one is reserved by a lock on a file that lives as long as the holder.
The agents of an engine all offer ports 31000-32000, so each sandbox needs addresses of its own: a /24 of 127.0.0.0/8, reserved likewise.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from shuren.devenv.errors import DevenvError

PORTS = range(15_000, 30_000)
"""Below Linux' ephemeral range (32768-60999) and below the agents' 31000-32000."""


class Reservations:
    """Ports and networks held until `release` (or the end of the process)."""

    def __init__(self, directory: Path | None = None, *, rng: random.Random | None = None, ports: range = PORTS) -> None:
        """`directory` holds the lock files (default: `shuren-ports` in the system's temporary directory, shared by all users)."""
        self._ports = ports
        self._directory = directory or Path(tempfile.gettempdir()) / "shuren-ports"
        self._directory.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(PermissionError):
            self._directory.chmod(0o1777)
        self._rng = rng or random.Random()  # noqa: S311 - spreads sandboxes over the range, nothing secret
        self._held: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()

    def _lock(self, name: str) -> bool:
        try:
            handle = os.open(self._directory / name, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except PermissionError:  # another user's file in a sticky directory: taken
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return False
            raise
        self._held.append(handle)
        return True

    def port(self) -> int:
        """A port on 127.0.0.1 that nobody listens on and no other sandbox has reserved."""
        for candidate in self._rng.sample(self._ports, min(500, len(self._ports))):
            if _bindable("127.0.0.1", candidate) and self._lock(f"port-{candidate}"):
                return candidate
        raise DevenvError(f"no free port between {self._ports[0]} and {self._ports[-1]} on 127.0.0.1 (500 tried)")

    def network(self) -> str:
        """The first three numbers of a loopback /24 that no other sandbox has reserved, such as `127.83.12`."""
        for _ in range(500):
            second, third = self._rng.randint(16, 250), self._rng.randint(0, 255)
            if self._lock(f"net-{second}-{third}"):
                return f"127.{second}.{third}"
        raise DevenvError("no free loopback network (500 tried)")

    def release(self) -> None:
        """Give everything back. The lock files stay: removing one that another process just opened would break its lock."""
        for handle in self._held:
            os.close(handle)
        self._held.clear()


def _bindable(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True

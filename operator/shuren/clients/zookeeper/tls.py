"""How kazoo's connections are opened: plain, or under TLS with a context of ours, and why the last attempt failed.

kazoo makes its own context out of files, knows no other name to expect than the host's, does not check even that one by default, and keeps
the reason of a failure to its log.
"""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from typing import Any

from kazoo.handlers.threading import SequentialThreadingHandler


@dataclass(frozen=True, kw_only=True)
class Tls:
    """`context` says whom to trust and who we are; `server_name` is expected in the certificate (None: the host that is connected to)."""

    context: ssl.SSLContext
    server_name: str | None = None


class Handler(SequentialThreadingHandler):  # type: ignore[misc]  # kazoo has no types
    """kazoo's handler of threads, with connections of ours. `failure` says why the last attempt failed; empty after a success."""

    def __init__(self, tls: Tls | None = None) -> None:
        super().__init__()
        self._tls = tls
        self.failure = ""

    def create_connection(self, address: tuple[str, int], hostname: object = None, timeout: float | None = None, **_: Any) -> socket.socket:
        """One connection, its handshake done. What goes wrong is an OSError, which kazoo takes as a server that is away."""
        try:
            connection = self._open(address, hostname if isinstance(hostname, str) else address[0], timeout)
        except OSError as error:
            self.failure = f"{address[0]}:{address[1]}: {error}"
            raise
        self.failure = ""
        return connection

    def _open(self, address: tuple[str, int], host: str, timeout: float | None) -> socket.socket:
        plain: socket.socket = super().create_connection(address, timeout=timeout)
        if self._tls is None:
            return plain
        try:
            return self._tls.context.wrap_socket(plain, server_hostname=self._tls.server_name or host)
        except BaseException:
            plain.close()
            raise

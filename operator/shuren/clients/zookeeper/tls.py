"""How kazoo's connections are opened: plain, or under TLS with a context of ours, and why the last attempt failed.

kazoo makes its own context out of files, knows no other name to expect than the host's, does not check even that one by default, and keeps
the reason of a failure to its log.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kazoo.handlers.threading import SequentialThreadingHandler

from shuren.clients.passwords import no_password
from shuren.clients.zookeeper.wakes import ReadEnd, WriteEnd, pair


@dataclass(frozen=True, kw_only=True)
class Tls:
    """`context` says whom to trust and who we are; `server_name` is expected in the certificate (None: the host that is connected to).

    A context that comes from a function is asked for at each connection, so that renewed files count from the next one on.
    """

    context: ssl.SSLContext | Callable[[], ssl.SSLContext]
    server_name: str | None = None


@dataclass(frozen=True, kw_only=True)
class TlsFiles:
    """PEM files: `ca` None trusts the system's authorities; `certificate` (its key in the same file or in `key`) says who we are."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def context(self) -> ssl.SSLContext:
        """As the files are now. OSError (ssl.SSLError is one) when one of them cannot be used: kazoo then tries again."""
        context = ssl.create_default_context(cafile=None if self.ca is None else str(self.ca))
        if self.certificate is not None:
            context.load_cert_chain(self.certificate, self.key, password=no_password)
        return context


class Handler(SequentialThreadingHandler):  # type: ignore[misc]  # kazoo has no types
    """kazoo's handler of threads, with connections of ours. `failure` says why the last attempt failed; empty after a success."""

    def __init__(self, tls: Tls | None = None) -> None:
        super().__init__()
        self._tls = tls
        self._last: socket.socket | None = None
        self.failure = ""

    def hang_up(self) -> None:
        """Break the connection off, so that nobody waits for an answer over it any more. From any thread."""
        if self._last is not None:
            with contextlib.suppress(OSError):  # it was closed meanwhile
                self._last.shutdown(socket.SHUT_RDWR)

    def create_socket_pair(self) -> tuple[ReadEnd, WriteEnd]:
        """By which kazoo's thread is woken."""
        return pair()

    def create_connection(self, address: tuple[str, int], hostname: object = None, timeout: float | None = None, **_: Any) -> socket.socket:
        """One connection, its handshake done. What goes wrong is an OSError, which kazoo takes as a server that is away."""
        try:
            connection = self._open(address, hostname if isinstance(hostname, str) else address[0], timeout)
        except OSError as error:
            self.failure = f"{address[0]}:{address[1]}: {error}"
            raise
        self.failure = ""
        self._last = connection
        return connection

    def _open(self, address: tuple[str, int], host: str, timeout: float | None) -> socket.socket:
        plain: socket.socket = super().create_connection(address, timeout=timeout)
        if self._tls is None:
            return plain
        try:
            context = self._tls.context if isinstance(self._tls.context, ssl.SSLContext) else self._tls.context()
            return context.wrap_socket(plain, server_hostname=self._tls.server_name or host)
        except BaseException:
            plain.close()
            raise

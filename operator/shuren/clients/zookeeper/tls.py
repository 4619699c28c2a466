"""TLS to ZooKeeper with a context of ours.

kazoo makes its own context out of files, knows no other name to expect than the host's, and does not check even that one by default.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Any

from kazoo.handlers.threading import SequentialThreadingHandler


@dataclass(frozen=True, kw_only=True)
class Tls:
    """`context` says whom to trust and who we are; `server_name` is expected in the certificate (None: the host that is connected to)."""

    context: ssl.SSLContext
    server_name: str | None = None


class TlsHandler(SequentialThreadingHandler):  # type: ignore[misc]  # kazoo has no types
    """kazoo's handler of threads, whose connections are wrapped."""

    def __init__(self, tls: Tls) -> None:
        super().__init__()
        self._tls = tls

    def create_connection(self, *, address: tuple[str, int], hostname: str, timeout: float, **_: Any) -> ssl.SSLSocket:
        """One connection, its handshake done. What goes wrong is an OSError, which kazoo takes as a server that is away."""
        plain = super().create_connection(address, timeout=timeout)
        try:
            return self._tls.context.wrap_socket(plain, server_hostname=self._tls.server_name or hostname)
        except BaseException:
            plain.close()
            raise

"""TLS of the pages that a program serves about itself: /metrics, /healthz, /readyz. Renewed files count from the next connection on."""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shuren.clients.passwords import no_password
from shuren.domain.errors import FieldError, Invalid

log = logging.getLogger(__name__)

CERTIFICATE, KEY, CLIENT_CA = "SHUREN_METRICS_CERTIFICATE", "SHUREN_METRICS_KEY", "SHUREN_METRICS_CLIENT_CA"

_Stamp = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, kw_only=True)
class PageTls:
    """PEM files. `key` None: it lies in the file of the certificate. With `client_ca` only who shows a certificate of that authority
    reads /metrics; probes are answered without one.
    """

    certificate: Path
    key: Path | None = None
    client_ca: Path | None = None

    def context(self) -> ssl.SSLContext:
        """A server's side that follows the files. OSError (ssl.SSLError is one) when they cannot be used now."""
        seen, context = self.stamp(), self.load()
        # called for each connection, also for those that name no server
        context.sni_callback = _Follower(self, seen, context).choose
        return context

    def load(self) -> ssl.SSLContext:
        """As the files are now."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.certificate, self.key, password=no_password)
        if self.client_ca is not None:
            context.load_verify_locations(self.client_ca)
            context.verify_mode = ssl.CERT_OPTIONAL
        return context

    def stamp(self) -> _Stamp:
        """Differs when a file is another than before; also when a link leads elsewhere, as kubelet renews what it mounts."""
        files = (file.stat() for file in (self.certificate, self.key, self.client_ca) if file is not None)
        return tuple((found.st_ino, found.st_mtime_ns, found.st_size) for found in files)

    def admits(self, peer: object) -> bool:
        """Whether somebody with this certificate (as `SSLObject.getpeercert` gives it) may read /metrics."""
        return self.client_ca is None or bool(peer)


class _Follower:
    def __init__(self, files: PageTls, seen: _Stamp, context: ssl.SSLContext) -> None:
        self._files = files
        self._seen = seen
        self._context = context

    def choose(self, connection: ssl.SSLSocket | ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        """Lets this connection have what the files hold now; what was good last while they are of no use."""
        try:
            seen = self._files.stamp()
            if seen != self._seen:
                self._context = self._files.load()
                self._seen = seen
        except OSError as error:
            log.warning("the certificate of /metrics is not renewed, its files cannot be used: %s", error)
        connection.context = self._context


def from_environment(environ: Mapping[str, str] = os.environ) -> PageTls | None:
    """SHUREN_METRICS_CERTIFICATE, _KEY and _CLIENT_CA; None without the first. Invalid names the variable at fault."""
    certificate, key, client_ca = (environ.get(name, "").strip() for name in (CERTIFICATE, KEY, CLIENT_CA))
    if not certificate:
        for name, value in ((KEY, key), (CLIENT_CA, client_ca)):
            if value:
                raise _wrong(name, f"is set without {CERTIFICATE}")
        return None
    for name, value in ((CERTIFICATE, certificate), (KEY, key), (CLIENT_CA, client_ca)):
        if value and not Path(value).is_file():
            raise _wrong(name, f"names a file that is not there: {value}")
    found = PageTls(certificate=Path(certificate), key=Path(key) if key else None, client_ca=Path(client_ca) if client_ca else None)
    try:
        found.load()
    except OSError as error:
        raise _wrong(CERTIFICATE, f"with {KEY} and {CLIENT_CA} cannot be used: {error}") from error
    return found


def _wrong(name: str, message: str) -> Invalid:
    return Invalid(f"{name} {message}", errors=(FieldError(path=name, message=message),))

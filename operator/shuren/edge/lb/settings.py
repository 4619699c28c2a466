"""What an agent is told when it is started. Times are seconds."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path

from shuren.domain.errors import FieldError, Invalid
from shuren.domain.haproxy.claims import PortSet
from shuren.edge.root import check_root

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
"""Of a node in ZooKeeper, where neither `/` nor `..` may stand."""
_SOCKET_PATH = 97
"""Bytes; Linux takes 107 for a unix socket, and HAProxy (2.6: "too long (max 97)") adds a suffix to a new one while it binds it."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """See `shuren lb --help` for each."""

    id: str
    group: str
    root: str
    state_dir: Path
    host: str = ""
    haproxy: str = "haproxy"
    attach_only: bool = False
    stop_haproxy_on_exit: bool = False
    drain_on_exit: float = 30.0
    ports: PortSet = field(default_factory=PortSet)
    bind_address: str = "*"
    backend_lines: bool = False
    global_lines: tuple[str, ...] = ()
    haproxy_metrics: str = ""
    log: str = ""
    hard_stop: int = 1800
    max_connections: int = 0
    threads: int = 0
    certificate_dir: Path | None = None
    coalesce: float = 0.005
    reload_interval: float = 1.0
    table_interval: float = 6.0  # a worker younger than 5 s does not hand its stick tables on (seen on 2.6.12)
    drift_interval: float = 5.0
    pending_interval: float = 0.2
    counters_interval: float = 10.0
    write_interval: float = 3.0
    resolve_interval: float = 30.0
    material_interval: float = 60.0
    blocked_interval: float = 15.0

    def check(self) -> None:
        """Invalid when it cannot work."""
        longest = "/master.sock"
        if len(f"{self.state_dir}{longest}".encode()) > _SOCKET_PATH:
            message = f"{self.state_dir} is too long for the sockets in it: at most {_SOCKET_PATH - len(longest)} bytes"
            raise Invalid(message, errors=(FieldError(path="--state-dir", message=message),))
        if self.bind_address != "*" and not _is_address(self.bind_address):
            message = f"{self.bind_address!r} is neither * nor an IP address of this host"
            raise Invalid(message, errors=(FieldError(path="--bind-address", message=message),))
        check_root(self.root)
        for option, name in (("--id", self.id), ("--group", self.group)):
            if not _NAME.fullmatch(name):
                message = f"{name!r} is no name: letters, digits, '-', '_' and '.', at most 253"
                raise Invalid(message, errors=(FieldError(path=option, message=message),))
        if self.certificate_dir is not None and not self.certificate_dir.is_dir():
            message = f"{self.certificate_dir} is no directory"
            raise Invalid(message, errors=(FieldError(path="--certificates", message=message),))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True

"""A real PowerDNS on SQLite, its API open to this machine."""

from __future__ import annotations

import contextlib
import shutil
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from engine_process import free_port
from waiting import eventually

PROGRAM = shutil.which("pdns_server") or ("/usr/sbin/pdns_server" if Path("/usr/sbin/pdns_server").exists() else None)
SCHEMA = Path("/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql")
KEY = "a key"

needs_powerdns = pytest.mark.skipif(
    PROGRAM is None or not SCHEMA.exists(), reason="no pdns_server with SQLite here: `make readers` brings it, as root"
)


@dataclass(frozen=True, kw_only=True)
class PowerDns:
    """Where one listens."""

    port: int
    url: str


@contextlib.contextmanager
def powerdns(directory: Path) -> Iterator[PowerDns]:
    """Starts it with an empty database, and ends it."""
    database = directory / "pdns.sqlite3"
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.executescript(SCHEMA.read_text())
    port, api = free_port(), free_port()
    settings = {
        "launch": "gsqlite3",
        "gsqlite3-database": database,
        "local-address": "127.0.0.1",
        "local-port": port,
        "api": "yes",
        "api-key": KEY,
        "webserver-address": "127.0.0.1",
        "webserver-port": api,
        "socket-dir": directory,
        "daemon": "no",
        "guardian": "no",
        # what is told is answered at once
        "cache-ttl": 0,
        "query-cache-ttl": 0,
        "negquery-cache-ttl": 0,
        "zone-cache-refresh-interval": 0,
    }
    (directory / "pdns.conf").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    with (directory / "pdns.log").open("wb") as log:
        process = subprocess.Popen([str(PROGRAM), f"--config-dir={directory}"], stdout=log, stderr=subprocess.STDOUT)
        try:
            eventually(lambda: _listens(api) and process.poll() is None)
            yield PowerDns(port=port, url=f"http://127.0.0.1:{api}")
        finally:
            process.terminate()
            try:
                process.wait(15)
            finally:
                process.kill()
                process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0

"""A real HAProxy in master-worker mode, on sockets in a directory of the test; ends with it."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from waiting import eventually

PROGRAM = shutil.which("haproxy") or "/usr/sbin/haproxy"


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


@contextlib.contextmanager
def haproxy(directory: Path, configuration: str) -> Iterator[subprocess.Popen[bytes]]:
    """Starts it with a configuration that opens `directory/api.sock`; the master listens on `directory/master.sock`."""
    file = directory / "haproxy.cfg"
    file.write_text(configuration)
    with (directory / "haproxy.log").open("ab") as log:
        command = [PROGRAM, "-W", "-S", f"{directory / 'master.sock'},mode,600", "-f", str(file)]
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        eventually(lambda: _listens(directory / "api.sock") and _listens(directory / "master.sock"))
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        finally:
            process.kill()
            process.wait()

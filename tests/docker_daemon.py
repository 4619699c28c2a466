"""A Docker Engine of the tests' own: data, socket and bridge apart from any other on the machine, with one small image made here."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

IMAGE = "tests/busybox:1"
START_SECONDS = 60.0
APPLETS = ("sh", "httpd", "env", "sleep", "echo", "cat", "test", "true", "mkdir")


def missing() -> str | None:
    """Why there can be none here."""
    absent = [name for name in ("dockerd", "busybox", "ip") if shutil.which(name) is None]
    return f"{', '.join(absent)} is missing (as root: make containers)" if absent else None


class _UnixConnection(HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("docker", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(60)
        self.sock.connect(str(self._path))


@dataclass(frozen=True, kw_only=True)
class Daemon:
    """A running Docker Engine at a socket."""

    socket: Path

    def call(self, method: str, path: str, body: bytes | None = None) -> Any:
        connection = _UnixConnection(self.socket)
        try:
            connection.request(method, path, body=body, headers={"Content-Type": "application/x-tar"} if body else {})
            answer = connection.getresponse()
            raw = answer.read()
        finally:
            connection.close()
        if answer.status >= 300:
            raise OSError(f"{method} {path}: {answer.status} {raw!r}")
        return json.loads(raw) if raw and "json" in (answer.getheader("Content-Type") or "") and method == "GET" else raw

    def containers(self) -> list[dict[str, Any]]:
        """All of them, ended ones too."""
        found: list[dict[str, Any]] = self.call("GET", "/containers/json?all=true")
        return found

    def inspect(self, container: str) -> dict[str, Any]:
        found: dict[str, Any] = self.call("GET", f"/containers/{container}/json")
        return found


def _root_file_system() -> bytes:
    """A tar of busybox with the names of some of its commands."""
    made = io.BytesIO()
    binary = Path(shutil.which("busybox") or "/bin/busybox").resolve()
    with tarfile.open(fileobj=made, mode="w") as tar:
        tar.add(binary, "bin/busybox")
        for name in APPLETS:
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for name in ("tmp", "www", "etc"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o777
            tar.addfile(folder)
    return made.getvalue()


@contextlib.contextmanager
def daemon(directory: Path, *, cgroup: str = "") -> Iterator[Daemon]:
    """Starts it with the image in it; ends it with all its containers and unmounts what it leaves. `cgroup`: a group for its containers."""
    directory.mkdir(parents=True, exist_ok=True)
    # several at a time, one for each process that runs tests
    path, log, bridge = directory / "docker.sock", directory / "dockerd.log", f"shrn{os.getpid()}"
    taken = subprocess.run(["ip", "-o", "-4", "addr"], check=True, capture_output=True, text=True).stdout
    third = next(n for n in ((os.getpid() + step) % 250 for step in range(250)) if f" 172.31.{n}." not in taken)
    subprocess.run(["ip", "link", "add", bridge, "type", "bridge"], check=True)
    try:
        subprocess.run(["ip", "addr", "add", f"172.31.{third}.1/24", "dev", bridge], check=True)
        subprocess.run(["ip", "link", "set", bridge, "up"], check=True)
        config = directory / "daemon.json"
        config.write_text("{}")
        command = [
            "dockerd", f"--config-file={config}", f"--data-root={directory / 'data'}", f"--exec-root={directory / 'exec'}",
            f"--pidfile={directory / 'pid'}", f"--host=unix://{path}", "--iptables=false", "--ip-forward=false", f"--bridge={bridge}",
            *([f"--cgroup-parent=/{cgroup}"] if cgroup else []),
        ]  # fmt: skip
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
            try:
                found = Daemon(socket=path)
                deadline = time.monotonic() + START_SECONDS
                while not _answers(found):
                    if process.poll() is not None or time.monotonic() > deadline:
                        raise RuntimeError(f"dockerd did not start: {log.read_text(errors='replace')[-2000:]}")
                    time.sleep(0.1)
                name, tag = IMAGE.split(":")
                found.call("POST", f"/images/create?fromSrc=-&repo={name}&tag={tag}", _root_file_system())
                yield found
                for container in found.containers():
                    found.call("DELETE", f"/containers/{container['Id']}?force=true")
            finally:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(30)
                if process.poll() is None:
                    process.kill()
                    process.wait()
    finally:
        subprocess.run(["ip", "link", "del", bridge], check=False)
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for mounted in sorted((m for m in mounts if m.startswith(str(directory))), reverse=True):
            subprocess.run(["umount", mounted], check=False)


def _answers(found: Daemon) -> bool:
    try:
        return bool(found.call("GET", "/_ping"))
    except OSError:
        return False

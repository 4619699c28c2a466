"""A real ZooKeeper server in a process of its own, on a free port."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from engine_process import free_port

JAR = Path("/usr/share/java/zookeeper.jar")
_CLASS_PATH = ":".join(str(JAR.with_name(name)) for name in ("zookeeper.jar", "netty-codec.jar", "netty-resolver.jar"))
"""Debian's jar names the others that it needs, but not all that Netty, and so TLS, needs."""
START_SECONDS = 30.0


def _serves(port: int) -> bool:
    """ZooKeeper answers the four-letter word `ruok` with `imok` once it serves."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"ruok")
            return connection.recv(4) == b"imok"
    except OSError:
        return False


@contextlib.contextmanager
def zookeeper(directory: Path) -> Iterator[str]:
    """Starts a server, gives its `host:port`, and ends it."""
    with zookeeper_server(directory) as (hosts, _):
        yield hosts


@contextlib.contextmanager
def zookeeper_server(directory: Path, *, more: str = "") -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The same with the process, for tests that stop it. `more` goes into its configuration."""
    port = free_port()
    config = directory / "zoo.cfg"
    config.write_text(
        f"tickTime=200\ndataDir={directory / 'data'}\nclientPort={port}\nclientPortAddress=127.0.0.1\n"
        "4lw.commands.whitelist=*\nadmin.enableServer=false\nforceSync=no\nmaxClientCnxns=0\n" + more
    )
    main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
    command = ["java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", _CLASS_PATH, main, str(config)]
    with (directory / "zookeeper.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + START_SECONDS
            while not _serves(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((directory / "zookeeper.log").read_text(errors="replace")[-2000:] or "ZooKeeper did not start")
                time.sleep(0.05)
            yield f"127.0.0.1:{port}", process
        finally:
            process.kill()
            process.wait()

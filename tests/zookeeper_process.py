"""A real ZooKeeper server in a process of its own, on a free port."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
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


def _command(config: Path) -> list[str]:
    main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
    return ["java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", _CLASS_PATH, main, str(config)]


@contextlib.contextmanager
def zookeeper(directory: Path) -> Iterator[str]:
    """Starts a server, gives its `host:port`, and ends it."""
    with zookeeper_server(directory) as (hosts, _):
        yield hosts


@contextlib.contextmanager
def zookeeper_server(directory: Path, *, more: str = "", java: Sequence[str] = ()) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The same with the process, for tests that stop it. `more` goes into its configuration, `java` before the name of the program."""
    port = free_port()
    config = directory / "zoo.cfg"
    config.write_text(
        f"tickTime=200\ndataDir={directory / 'data'}\nclientPort={port}\nclientPortAddress=127.0.0.1\n"
        "4lw.commands.whitelist=*\nadmin.enableServer=false\nforceSync=no\nmaxClientCnxns=0\n" + more
    )
    command = ["java", *java, *_command(config)[1:]]
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


@contextlib.contextmanager
def sasl_server(directory: Path, users: Mapping[str, str]) -> Iterator[str]:
    """A server that takes logins by SASL (name → password), and nobody without one; gives its `host:port`."""
    jaas = directory / "jaas.conf"
    words = {name: password.replace("\\", "\\\\").replace('"', '\\"') for name, password in users.items()}
    lines = "\n".join(f'  user_{name}="{word}"' for name, word in words.items())
    jaas.write_text(f"Server {{\n  org.apache.zookeeper.server.auth.DigestLoginModule required\n{lines};\n}};\n", encoding="utf-8")
    more = "authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider\nsessionRequireClientSASLAuth=true\n"
    with zookeeper_server(directory, more=more, java=[f"-Djava.security.auth.login.config={jaas}", "-Dfile.encoding=UTF-8"]) as (hosts, _):
        yield hosts


class Ensemble:
    """Several servers that elect a leader. `hosts` names all of them."""

    def __init__(self, directory: Path, *, size: int = 3) -> None:
        self._directory = directory
        self.ports = [free_port() for _ in range(size)]
        self.hosts = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        inner = "".join(f"server.{n}=127.0.0.1:{free_port()}:{free_port()}\n" for n in range(1, size + 1))
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        for number, port in enumerate(self.ports, start=1):
            place = directory / f"server-{number}"
            (place / "data").mkdir(parents=True)
            (place / "data" / "myid").write_text(str(number))
            (place / "zoo.cfg").write_text(
                f"tickTime=200\ninitLimit=100\nsyncLimit=20\ndataDir={place / 'data'}\nclientPort={port}\nclientPortAddress=127.0.0.1\n"
                f"4lw.commands.whitelist=*\nadmin.enableServer=false\nforceSync=no\nmaxClientCnxns=0\n{inner}"
            )

    def start(self, number: int) -> None:
        """One server, 1 to `size`; it serves once the others do."""
        place = self._directory / f"server-{number}"
        with (place / "zookeeper.log").open("ab") as log:
            self._processes[number] = subprocess.Popen(_command(place / "zoo.cfg"), stdout=log, stderr=subprocess.STDOUT)

    def start_missing(self) -> None:
        """All that were killed."""
        for number, process in self._processes.items():
            if process.poll() is not None:
                self.start(number)

    def kill(self, number: int) -> None:
        """SIGKILL."""
        self._processes[number].kill()
        self._processes[number].wait()

    def leader(self) -> int | None:
        """Who leads now; None while nobody does."""
        return next((number for number, port in enumerate(self.ports, start=1) if "Mode: leader" in _word(port, b"srvr")), None)

    def all_serve(self) -> bool:
        """Whether each server has its place."""
        return all("Mode: " in _word(port, b"srvr") for port in self.ports)

    def stop(self) -> None:
        """Every server that was started."""
        for process in self._processes.values():
            process.kill()
            process.wait()


def _word(port: int, word: bytes) -> str:
    """A four-letter word's answer, empty when there is none."""
    answer = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(word)
            while data := connection.recv(4096):
                answer += data
    except OSError:
        return ""
    return answer.decode(errors="replace")

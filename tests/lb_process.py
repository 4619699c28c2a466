"""A real `shuren lb` with a real HAProxy, beside endpoints and clients that live in the test's own event loop."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import os
import signal
import ssl
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

from engine_process import free_port
from lb_room import GROUP, ROOT, Publisher
from shuren.clients.haproxy.master import Master
from shuren.clients.haproxy.runtime import RuntimeApi
from shuren.clients.zookeeper.client import ZooKeeperClient
from shuren.domain.errors import ShurenError
from shuren.domain.haproxy.converge import ObservedServer
from shuren.domain.service import wire
from shuren.domain.service.values import Applied, Endpoint, EndpointState, ServiceName
from shuren.edge.lb.process import is_running


async def until(question: Callable[[], bool], *, seconds: float = 30.0, what: str = "") -> None:
    """Return as soon as the answer is yes; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not question():
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen within {seconds:.0f} s: {what}")
        await asyncio.sleep(0.02)


# ------------------------------------------------------------------------------------------------------------ endpoints


class Backend:
    """A small HTTP/1.1 server with keep-alive.

    `/slow` takes a while, `/down/<n>` sends n KiB, `/go/<path>` sends elsewhere, `/echo` sends the request's head back, a POST is answered
    with its length. `/health` is answered with `health`, everything else with `status`; whatever comes without a Host with 400, as RFC
    9112 §3.2 has it. With `silent` it closes the connection when it has read a request.
    """

    def __init__(self, name: str, *, tls: ssl.SSLContext | None = None) -> None:
        self.name = name
        self.health = self.status = 200
        self.silent = False
        self._tls = tls
        self.port = 0
        self.served = 0
        self._at_once = 0
        self.most_at_once = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self) -> Backend:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def endpoint(self, state: EndpointState = EndpointState.READY, weight: int = 100) -> Endpoint:
        return Endpoint(id=self.name, address="127.0.0.1", port=self.port, state=state, weight=weight)

    async def kill(self) -> None:
        """As a task that is killed: the port is closed and whatever is under way breaks off."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._open):
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                path = head[0].split()[1]
                headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:])}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                if headers.get("upgrade") == "websocket":
                    await self._echo(reader, writer, headers["sec-websocket-key"])
                    return
                if "host" not in headers:
                    writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
                    continue
                if path == "/health":
                    writer.write(f"HTTP/1.1 {self.health} X\r\nContent-Length: 0\r\n\r\n".encode())
                    continue
                self.served += 1
                if self.silent:
                    return
                self._at_once += 1
                self.most_at_once = max(self.most_at_once, self._at_once)
                try:
                    await self._answer(writer, path, "\n".join(head).encode() if "/echo" in path else body)
                finally:
                    self._at_once -= 1
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, path: str, body: bytes) -> None:
        if path.startswith("/slow"):
            await asyncio.sleep(0.5)
        size = int(path.removeprefix("/down/")) * 1024 if path.startswith("/down/") else 0
        text = b"x" * size if size else body if "/echo" in path else f"{self.name} {path} {len(body)}".encode()
        status, more = (302, f"Location: {path[3:]}\r\n") if path.startswith("/go/") else (self.status, "Content-Type: text/plain\r\n")
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(text)}\r\n{more}\r\n".encode() + text)
        await writer.drain()

    @staticmethod
    async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
        """RFC 6455 §4.2.2, and after that whatever comes; HAProxy refuses a handshake without its proof."""
        proof = base64.b64encode(hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode(), usedforsecurity=False).digest())
        head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        writer.write(head + proof + b"\r\n\r\n")
        while data := await reader.read(4096):
            writer.write(data)
            await writer.drain()


# --------------------------------------------------------------------------------------------------------------- clients


@dataclass
class Tally:
    """What became of requests."""

    good: int = 0
    by: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)


class Client:
    """One keep-alive connection to HAProxy, opened anew when HAProxy has said that it closes."""

    def __init__(self, port: int, host: str, *, tls: ssl.SSLContext | None = None) -> None:
        self._port = port
        self._host = host
        self._tls = tls
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def request(self, path: str = "/", *, body: bytes = b"", headers: str = "") -> tuple[int, dict[str, str], bytes]:
        """Status, headers, body. OSError or IncompleteReadError when there was no whole answer."""
        if self._streams is None:
            name = self._host.partition(":")[0] if self._tls is not None else None
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 20, ssl=self._tls, server_hostname=name)
        reader, writer = self._streams
        method = "POST" if body else "GET"
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body)
        try:
            lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            found = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
            content = await reader.readexactly(int(found.get("content-length", 0)))
        except BaseException:
            self.close()
            raise
        if found.get("connection", "").lower() == "close":
            self.close()
        return int(lines[0].split()[1]), found, content

    def peer(self) -> str:
        """Common name of the certificate that the server has shown."""
        assert self._streams is not None
        found = self._streams[1].get_extra_info("ssl_object").getpeercert()
        return str(dict(pair for part in found["subject"] for pair in part)["commonName"])

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


@contextlib.asynccontextmanager
async def load(port: int, host: str, *, clients: int = 8, paths: tuple[str, ...] = ("/", "/post", "/down/64")) -> AsyncIterator[Tally]:
    """Requests without a pause over keep-alive connections, and one client that connects anew each time, until the block ends."""
    tally = Tally()
    ending = asyncio.Event()

    async def work(number: int) -> None:
        client = Client(port, host)
        count = 0
        while not ending.is_set():
            path = paths[count % len(paths)]
            try:
                status, _, content = await client.request(path, body=b"b" * 2000 if path == "/post" else b"")
            except (OSError, asyncio.IncompleteReadError) as error:
                tally.failed.append(f"{path} of client {number}: {error!r}")
            else:
                if status == 200:
                    tally.good += 1
                    tally.by[content.split(b" ", 1)[0][:20].decode()] += 1
                else:
                    tally.failed.append(f"{path} of client {number}: status {status}")
            if number == 0:
                client.close()
            count += 1
            await asyncio.sleep(0)
        client.close()

    tasks = [asyncio.create_task(work(number)) for number in range(clients)]
    try:
        yield tally
    finally:
        ending.set()
        await asyncio.wait_for(asyncio.gather(*tasks), 60)


# ------------------------------------------------------------------------------------------------------------- the agent


class Balancer:
    """A `shuren lb` process, and what can be seen of it."""

    def __init__(self, directory: Path, zookeeper: str, *flags: str, root: str = ROOT, environ: dict[str, str] | None = None) -> None:
        self.directory = directory
        self._root = root
        self.port = free_port()
        self._zookeeper = zookeeper
        self._flags = flags
        self._environ = environ or {}
        self._process: subprocess.Popen[bytes] | None = None
        self.api = RuntimeApi(directory / "api.sock")
        self.master = Master(directory / "master.sock")

    def start(self) -> None:
        flags = {
            "--zookeeper": self._zookeeper,
            "--root": self._root,
            "--group": GROUP,
            "--id": "lb1",
            "--state-dir": str(self.directory),
            "--metrics-port": "0",
            "--ports": "1-65535",
            "--counters-seconds": "1",
        }
        command = [sys.executable, "-m", "shuren.cli", "lb", *(word for flag in flags.items() for word in flag), *self._flags]
        environ = {k: v for k, v in os.environ.items() if k not in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST")}
        self.directory.mkdir(exist_ok=True)
        with (self.directory / "agent.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, env={**environ, **self._environ, "PYTHONUNBUFFERED": "1"}
            )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL to the agent; HAProxy goes on."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """SIGTERM to the agent."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(60)

    @property
    def agent_log(self) -> str:
        return (self.directory / "agent.log").read_text(errors="replace")

    async def haproxy_pid(self) -> int:
        return (await self.master.processes()).master

    async def servers(self, backend: str) -> dict[str, ObservedServer]:
        return {s.name: s for s in await self.api.servers([backend])}

    async def end(self) -> None:
        """The agent and its HAProxy."""
        self.stop()
        with contextlib.suppress(ShurenError):
            pid = (await Master(self.directory / "master.sock", patience=0.5).processes()).master
            os.kill(pid, signal.SIGTERM)
            with contextlib.suppress(AssertionError):
                await until(lambda: not is_running(pid), seconds=10)
            if is_running(pid):
                os.kill(pid, signal.SIGKILL)


@dataclass
class Site:
    """ZooKeeper's client of the operator, its publisher, and one load balancer."""

    zookeeper: ZooKeeperClient
    publish: Publisher
    balancer: Balancer
    root: str = ROOT
    backends: list[Backend] = field(default_factory=list)

    async def backend(self, name: str) -> Backend:
        made = await Backend(name).start()
        self.backends.append(made)
        return made

    async def applied(self, service: ServiceName) -> Applied | None:
        node = await self.zookeeper.get(f"{self.root}{wire.LOAD_BALANCERS}/lb1/applied/{service}")
        return None if node is None else wire.decode_applied(node.data, service=service)

    async def acknowledged(
        self,
        service: ServiceName,
        good: Callable[[Applied], bool] = lambda _: True,
        *,
        endpoints: int | None = None,
        route: int | None = None,
    ) -> Applied:
        """Wait until these generations are acknowledged and the acknowledgement is good."""
        deadline = time.monotonic() + 60
        while True:
            got = await self.applied(service)
            if got is not None and endpoints in (None, got.endpoints) and route in (None, got.route) and good(got):
                return got
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"endpoints {endpoints} and route {route} of {service} wanted; there is {got}\n{self.balancer.agent_log[-4000:]}"
                )
            await asyncio.sleep(0.02)

    async def drained(self, service: ServiceName, generation: int) -> None:
        """Wait until nothing of the drained endpoints is under way on the load balancer."""
        await self.acknowledged(service, lambda a: not a.sessions, endpoints=generation)


@contextlib.asynccontextmanager
async def site(directory: Path, hosts: str, *flags: str, environ: dict[str, str] | None = None) -> AsyncIterator[Site]:
    """Everything up, and down again."""
    client = ZooKeeperClient(hosts, session_timeout=4.0)
    await client.connect()
    root = f"/shuren/{uuid.uuid4().hex[:8]}"
    publish = Publisher(client, root)
    await publish.prepare()
    balancer = Balancer(directory, hosts, *flags, root=root, environ=environ)
    made = Site(zookeeper=client, publish=publish, balancer=balancer, root=root)
    made.balancer.start()
    try:
        yield made
    finally:
        await made.balancer.end()
        for backend in made.backends:
            await backend.kill()
        await client.close()

"""A real HAProxy that carries routes: its configuration is composed as the agent composes it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

from haproxy_process import haproxy
from haproxy_room import endpoints, service
from lb_process import Client
from shuren.clients.haproxy.master import Master
from shuren.clients.haproxy.runtime import RuntimeApi
from shuren.domain.haproxy.compose import Composition, Globals, Options, compose, plans, read_routes
from shuren.domain.haproxy.converge import converge
from shuren.domain.haproxy.document import CONFIG_FILE, write
from shuren.domain.haproxy.materials import Materials, needs
from shuren.domain.service.values import Endpoint, Route

QUICK = {"intervalMs": 100, "fastIntervalMs": 50, "downIntervalMs": 50, "rise": 1, "fall": 1}
NO_CHECK = {"enabled": False}


class Front:
    """A HAProxy that carries some routes."""

    def __init__(self, directory: Path, composition: Composition, port: int) -> None:
        self.api = RuntimeApi(directory / "api.sock")
        self.master = Master(directory / "master.sock")
        self.composition = composition
        self.port = port
        self.directory = directory

    def client(self, host: str = "x.example", *, port: int = 0, tls: ssl.SSLContext | None = None) -> Client:
        return Client(port or self.port, host, tls=tls)

    async def get(self, path: str = "/", host: str = "x.example", *, headers: str = "", port: int = 0) -> tuple[int, dict[str, str], str]:
        client = self.client(host, port=port)
        try:
            status, found, content = await client.request(path, headers=headers)
        finally:
            client.close()
        return status, found, content.decode()

    async def set(self, name: str, *given: Endpoint) -> None:
        """Bring endpoints of a service there, as the agent does."""
        observed = await self.api.servers()
        for plan in plans(self.composition, service(name), endpoints(*given), {}):
            refused = await self.api.execute(converge(plan, [s for s in observed if s.backend == plan.name]).commands)
            assert refused == ()

    async def up(self, backend: str, *names: str) -> None:
        """Wait until exactly these servers of a backend serve."""
        serving: set[str] = set()
        for _ in range(600):
            serving = {s.name for s in await self.api.servers([backend]) if s.serves}
            if serving == set(names):
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"{serving} serve, not {names}")


@contextlib.asynccontextmanager
async def carrying(directory: Path, *routes: Route, port: int, contents: dict[str, bytes] | None = None) -> AsyncIterator[Front]:
    """HAProxy with these routes; `contents` by name of the Secret or file."""
    options = Options(backend_lines=True)
    carried, problems = read_routes(routes, options)
    assert not problems
    wanted = [m for c in carried for m in needs(c.service, c.settings)]
    (directory / "certs").mkdir()
    for material in wanted:
        (directory / "certs" / material.file).write_bytes((contents or {})[material.name])
    crypt = {m: (("joe", _CRYPT),) for m in wanted if m.kind == "users"}
    materials = Materials(directory=str(directory / "certs"), there=frozenset(wanted), users=crypt)
    machine = Globals(api_socket=f"{directory}/api.sock", state_file=f"{directory}/servers.state", peer_socket=f"{directory}/peer.sock")
    composition = compose(carried, machine=machine, materials=materials, options=options)
    assert composition.problems == {}
    (directory / "servers.state").write_text("1\n")
    files = write(composition.document, {}).files
    for name, text in files.items():
        (directory / name).write_text(text)
    with haproxy(directory, files[CONFIG_FILE]):
        yield Front(directory, composition, port)


_CRYPT = "$6$salt$IxDD3jeSOb5eB1CX5LBsqZFVkJdido3OUILO5Ifz5iwMuTS4XMS130MTSuDDl3aCI6WouIL9AjRbLCelDCy.g."
"""Of the password `password`: `openssl passwd -6 -salt salt password`."""

"""A load balancer's agent with ZooKeeper and HAProxy in memory, and an operator who publishes for it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from shuren.clients.clock import SystemClock
from shuren.clients.fakes.haproxy import FakeHAProxy, configuration_in
from shuren.clients.fakes.zookeeper import FakeZooKeeper, ZooTree
from shuren.domain.errors import Invalid
from shuren.domain.haproxy.converge import ObservedServer
from shuren.domain.haproxy.materials import Material
from shuren.domain.service import wire
from shuren.domain.service.values import Applied, Endpoint, EndpointSet, LoadBalancer, Route, ServiceName
from shuren.edge.lb.agent import Agent
from shuren.edge.lb.disk import StateDirectory
from shuren.edge.lb.materials import MaterialStore
from shuren.edge.lb.metrics import Metrics
from shuren.edge.lb.names import Names
from shuren.edge.lb.register import Instance, Registrar
from shuren.edge.lb.settings import Settings
from shuren.edge.lb.supplies import Supplies
from shuren.edge.lb.world import Follower
from shuren.ports.zookeeper import Create, Delete, Operation, SetData, ZooKeeper

ROOT = "/shuren/test"
GROUP = "edge"
ME = f"{ROOT}{wire.LOAD_BALANCERS}/lb1"


async def eventually(question: Callable[[], bool], *, seconds: float = 20.0) -> None:
    """Return as soon as the answer is yes; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not question():
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen within {seconds:.0f} s")
        await asyncio.sleep(0.005)


class Publisher:
    """The operator, as far as load balancers see it."""

    def __init__(self, zookeeper: ZooKeeper, root: str = ROOT, group: str = GROUP) -> None:
        self._zookeeper = zookeeper
        self._root = root
        self._group = group
        self._generations: dict[str, int] = {}

    async def prepare(self) -> None:
        for path in ("/endpoints", f"/routes/{self._group}", "/edge/lb", "/meta"):
            await self._zookeeper.ensure_path(f"{self._root}{path}")

    async def _put(self, path: str, data: bytes) -> None:
        there = await self._zookeeper.get(path)
        await self._zookeeper.commit([Create(path=path, data=data) if there is None else SetData(path=path, data=data, version=-1)])

    def _next(self, what: str) -> int:
        self._generations[what] = self._generations.get(what, 0) + 1
        return self._generations[what]

    async def route(self, route: Route) -> int:
        """Publishes it with the next generation, and gives that."""
        generation = self._next(f"route {route.service}")
        await self._put(f"{self._root}/routes/{self._group}/{route.service}", wire.encode_route(replace(route, generation=generation)))
        return generation

    async def endpoints(self, service: ServiceName, *given: Endpoint, limit: int = wire.CHUNK) -> int:
        """Publishes them with the next generation, and gives that."""
        generation = self._next(f"endpoints {service}")
        encoded = wire.encode_endpoints(EndpointSet(generation=generation, endpoints=tuple(sorted(given, key=lambda e: e.id))), limit=limit)
        head = f"{self._root}/endpoints/{service}"
        if encoded.children and await self._zookeeper.get(head) is None:
            await self._put(head, b'{"endpoints":[],"generation":0}')
        for name, data in encoded.children.items():
            await self._put(f"{head}/{name}", data)
        await self._put(head, encoded.head)
        return generation

    async def remove(self, service: ServiceName) -> None:
        head = f"{self._root}/endpoints/{service}"
        operations: list[Operation] = [Delete(path=f"{self._root}/routes/{self._group}/{service}")]
        if await self._zookeeper.get(head) is not None:
            operations.append(Delete(path=head))
        await self._zookeeper.commit(operations)


@dataclass
class FakeProgram:
    """HAProxy as a program, over the one in memory. `blame` gives haproxy's complaint about a configuration's text, or nothing."""

    haproxy: FakeHAProxy
    blame: Callable[[str], str] = lambda _: ""
    validations: int = 0
    watchers: list[Callable[[], None]] = field(default_factory=list)

    async def version(self) -> str:
        return "2.6.12"

    async def validate(self, configuration: Path) -> str:
        self.validations += 1
        return self.blame(configuration.read_text())  # noqa: ASYNC240 - a small file of the test's own

    async def start(self) -> None:
        await self.haproxy.start()

    async def stop(self, *, within: float) -> None:  # noqa: ARG002 - the protocol's
        await self.haproxy.stop()

    def watch(self, pid: int, ended: Callable[[], None]) -> Callable[[], None]:  # noqa: ARG002 - the protocol's
        self.watchers.append(ended)
        return lambda: self.watchers.remove(ended) if ended in self.watchers else None

    async def kill(self) -> None:
        """HAProxy ends, and whoever watches hears of it."""
        await self.haproxy.stop()
        for ended in list(self.watchers):
            ended()


class Secrets:
    """A source of materials that a test fills."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}

    async def fetch(self, material: Material) -> bytes:
        if material.name not in self.content:
            raise Invalid("there is no such Secret")
        return self.content[material.name]


async def nowhere(name: str) -> tuple[str, ...]:
    raise OSError(f"{name} is not known")


@dataclass
class Room:
    """Everything that one test uses. `with running(...)` has the agent at work."""

    directory: Path
    tree: ZooTree = field(default_factory=ZooTree)
    settings: dict[str, Any] = field(default_factory=dict)
    addresses: dict[str, tuple[str, ...]] = field(default_factory=dict)
    secrets: Secrets = field(default_factory=Secrets)

    def __post_init__(self) -> None:
        self.operator = FakeZooKeeper(self.tree)
        self.publish = Publisher(self.operator)
        self.haproxy = FakeHAProxy(directory=self.directory, configuration=configuration_in(self.directory))
        self.program = FakeProgram(self.haproxy)
        self.zookeeper = FakeZooKeeper(self.tree)

    async def _resolve(self, name: str) -> tuple[str, ...]:
        if name not in self.addresses:
            raise OSError(f"{name} is not known")
        return self.addresses[name]

    def agent(self) -> tuple[Agent, Registrar]:
        disk = StateDirectory(self.directory)
        disk.prepare()
        metrics = Metrics()
        self.metrics = metrics
        known: dict[str, Any] = {
            "coalesce": 0.001,
            "reload_interval": 0.02,
            "drift_interval": 0.1,
            "pending_interval": 0.02,
            "counters_interval": 0.1,
            "write_interval": 0.02,
        }
        settings = Settings(id="lb1", group=GROUP, root=ROOT, state_dir=self.directory, **{**known, **self.settings})
        registrar = Registrar(
            zookeeper=self.zookeeper,
            root=ROOT,
            balancer=LoadBalancer(id="lb1", group=GROUP, host="h", version="1"),
            instance=Instance(host="h"),
            metrics=metrics,
        )
        supplies = Supplies(
            store=MaterialStore(disk=disk, files=self.secrets, secrets=self.secrets),
            names=Names(resolve=self._resolve),
            material_interval=0.05,
            resolve_interval=0.05,
        )
        agent = Agent(
            settings=settings,
            clock=SystemClock(),
            disk=disk,
            program=self.program,
            supplies=supplies,
            metrics=metrics,
            acknowledge=registrar,
        )
        return agent, registrar

    @contextlib.asynccontextmanager
    async def running(self, *, zookeeper: bool = True) -> AsyncIterator[Agent]:
        """The agent at work; leaving ends it as a signal would, or a kill: HAProxy goes on."""
        agent, registrar = self.agent()
        await agent.start()
        tasks = [asyncio.create_task(agent.run())]
        if zookeeper:
            follower = Follower(zookeeper=self.zookeeper, root=ROOT, group=GROUP, world=agent.world)
            tasks += [asyncio.create_task(follower.run()), asyncio.create_task(registrar.run())]
        try:
            yield agent
            for task in tasks:
                if task.done():
                    await task
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # ------------------------------------------------------------------------------------------------------- questions

    def applied(self, service: ServiceName) -> Applied | None:
        """What is acknowledged of a service."""
        node = self.tree.node(f"{ME}/applied/{service}")
        return None if node is None else wire.decode_applied(node.data, service=service)

    def remembers(self, service: ServiceName, *, endpoints: int) -> bool:
        """Whether the state directory has it, for an agent that comes back without ZooKeeper."""
        last = StateDirectory(self.directory).load()
        return service in last.routes and service in last.endpoints and last.endpoints[service].generation == endpoints

    def servers(self, backend: str) -> Mapping[str, ObservedServer]:
        return self.haproxy.model.backends.get(backend, {})

    async def acknowledged(self, service: ServiceName, *, endpoints: int | None = None, route: int | None = None) -> Applied:
        """Wait until these generations are acknowledged."""

        def there() -> bool:
            got = self.applied(service)
            return got is not None and endpoints in (None, got.endpoints) and route in (None, got.route)

        try:
            await eventually(there)
        except AssertionError as error:
            raise AssertionError(f"{service}: wanted endpoints {endpoints}, route {route}; there is {self.applied(service)}") from error
        got = self.applied(service)
        assert got is not None
        return got

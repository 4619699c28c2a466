"""The same tests on each source of events: kopf and our own watch, on a real API server; our own also on the one in memory."""

from __future__ import annotations

import asyncio
import os
import random
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from shuren.clients.clock import SystemClock
from shuren.clients.fakes.kubernetes import FakeKubernetes
from shuren.clients.kubernetes.client import KubernetesClient
from shuren.clients.kubernetes.config import Access, from_kubeconfig
from shuren.devenv.background import Sandbox
from shuren.domain.identity import ObjectKey
from shuren.operator.kopf_source import KopfSource
from shuren.operator.native_source import NativeSource
from shuren.ports.kubernetes import MESOS_CLUSTERS, NAMESPACES, PAAS_APPS, Kubernetes, Object
from shuren.ports.source import EventSource
from shuren.runtime.store import Store

KINDS = (MESOS_CLUSTERS, PAAS_APPS)


@dataclass
class Recording:
    """A sink: the state that the calls add up to, and the calls."""

    store: Store = field(default_factory=Store)
    calls: list[tuple[str, ObjectKey]] = field(default_factory=list)
    loops: set[int] = field(default_factory=set)

    def upsert(self, key: ObjectKey, item: Object, *, initial: bool) -> None:
        self.loops.add(id(asyncio.get_running_loop()))
        self.calls.append(("initial" if initial else "upsert", key))
        self.store.put(key, item)

    def delete(self, key: ObjectKey) -> None:
        self.loops.add(id(asyncio.get_running_loop()))
        self.calls.append(("delete", key))
        self.store.remove(key)


@dataclass(frozen=True)
class World:
    """An API server to act on, a namespace in it, and how to watch it."""

    kubernetes: Kubernetes
    namespace: str
    access: Access | None

    def source(self, sink: Recording, *, kopf: bool, namespaces: tuple[str, ...]) -> EventSource:
        clock = SystemClock()
        if kopf:
            assert self.access is not None
            return KopfSource(
                access=self.access, kubernetes=self.kubernetes, resources=KINDS, sink=sink, namespaces=namespaces, clock=clock
            )
        return NativeSource(
            kubernetes=self.kubernetes, resources=KINDS, sink=sink, namespaces=namespaces, clock=clock, chance=random.random
        )


@dataclass(frozen=True)
class Running:
    """A source at work."""

    source: EventSource
    sink: Recording
    task: asyncio.Task[None]


async def until(question: Callable[[], bool], *, seconds: float = 30.0) -> None:
    """Return as soon as the answer is yes."""
    async with asyncio.timeout(seconds):
        while not question():
            await asyncio.sleep(0.02)


@pytest.fixture(
    params=[
        "native-fake",
        pytest.param("native-real", marks=pytest.mark.integration),
        pytest.param("kopf-real", marks=pytest.mark.integration),
    ]
)
def wiring(request: pytest.FixtureRequest) -> tuple[bool, Path | None]:
    """Whether kopf is the source, and the kubeconfig of the real API server."""
    if request.param == "native-fake":
        return False, None
    sandbox: Sandbox = request.getfixturevalue("kube")
    return request.param == "kopf-real", Path(sandbox.endpoints.kubeconfig)


@pytest.fixture
async def world(wiring: tuple[bool, Path | None]) -> AsyncIterator[World]:
    _, kubeconfig = wiring
    name = f"e-{os.getpid()}-{uuid.uuid4().hex[:6]}"
    async with AsyncExitStack() as stack:
        access = None if kubeconfig is None else from_kubeconfig(kubeconfig)
        kubernetes: Kubernetes = FakeKubernetes()
        if access is not None:
            client = KubernetesClient(access)
            stack.push_async_callback(client.close)
            kubernetes = client
        await kubernetes.create(NAMESPACES, "", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        yield World(kubernetes=kubernetes, namespace=name, access=access)
        await kubernetes.delete(NAMESPACES, "", name)


Start = Callable[..., AsyncIterator[Running]]


@pytest.fixture
async def start(world: World, wiring: tuple[bool, Path | None]) -> AsyncIterator[Callable[..., Running]]:
    async with AsyncExitStack() as stack:

        @asynccontextmanager
        async def ending(task: asyncio.Task[None]) -> AsyncIterator[None]:
            yield
            task.cancel()
            async with asyncio.timeout(20):
                await asyncio.wait({task})
            assert task.cancelled()

        tasks: list[asyncio.Task[None]] = []

        def begin(*, everywhere: bool = False) -> Running:
            sink = Recording()
            source = world.source(sink, kopf=wiring[0], namespaces=() if everywhere else (world.namespace,))
            task = asyncio.create_task(source.run())
            tasks.append(task)
            return Running(source, sink, task)

        yield begin
        for task in tasks:
            await stack.enter_async_context(ending(task))

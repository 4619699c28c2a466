"""The same tests on each source of events: kopf and our own watch, on a real API server; our own also on the one in memory."""

from __future__ import annotations

import asyncio
import gc
import os
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from eventsource_world import Recording, Running, World
from shuren.clients.fakes.kubernetes import FakeKubernetes
from shuren.clients.kubernetes.client import KubernetesClient
from shuren.clients.kubernetes.config import from_kubeconfig
from shuren.devenv.background import Sandbox
from shuren.ports.kubernetes import NAMESPACES, Kubernetes


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


@pytest.fixture
async def start(world: World, wiring: tuple[bool, Path | None]) -> AsyncIterator[Callable[..., Running]]:
    tasks: list[asyncio.Task[None]] = []

    def begin(*, everywhere: bool = False) -> Running:
        sink = Recording()
        source = world.source(sink, kopf=wiring[0], namespaces=() if everywhere else (world.namespace,))
        task = asyncio.create_task(source.run())
        tasks.append(task)
        return Running(source, sink, task)

    yield begin
    for task in tasks:
        task.cancel()
        async with asyncio.timeout(20):
            await asyncio.wait({task})
        assert task.cancelled()
    gc.collect()  # a connection left open is told here, not in whatever test comes next

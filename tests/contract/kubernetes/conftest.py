"""The same tests on the API server in memory and on a real one."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shuren.clients.fakes.kubernetes import FakeKubernetes
from shuren.clients.kubernetes.client import KubernetesClient
from shuren.clients.kubernetes.config import from_kubeconfig
from shuren.devenv.background import Sandbox
from shuren.ports.kubernetes import NAMESPACES, Kubernetes


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.integration)])
def server(request: pytest.FixtureRequest) -> Path | None:
    """An admin's kubeconfig; None for the API server in memory."""
    if request.param == "fake":
        return None
    sandbox: Sandbox = request.getfixturevalue("kube")
    return Path(sandbox.endpoints.kubeconfig)


@pytest.fixture
async def kubernetes(server: Path | None) -> AsyncIterator[Kubernetes]:
    if server is None:
        yield FakeKubernetes()
        return
    client = KubernetesClient(from_kubeconfig(server), chunk=3)
    yield client
    await client.close()


@pytest.fixture
async def namespace(kubernetes: Kubernetes) -> AsyncIterator[str]:
    name = f"k-{os.getpid()}-{uuid.uuid4().hex[:6]}"
    await kubernetes.create(NAMESPACES, "", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    await kubernetes.delete(NAMESPACES, "", name)

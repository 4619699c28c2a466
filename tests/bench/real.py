"""New apps on a real Kubernetes API server: the convergence that the fake one's time is stated beside.

etcd, kube-apiserver and controller manager are the sandbox's, with its CRDs, rights and TLS, and the operator has its ServiceAccount's
rights. ZooKeeper, the engine and what it charges are those of the other benches. Several clients create the apps as fast as the API
server takes them; the clock starts with the first, so that creating them is part of it. Fewer apps than elsewhere: the API server shares
the machine with all that is measured.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from bench import convergence, objects, worlds
from bench.programs import program
from bench.report import Row
from bench.worlds import NATIVE, PATIENCE
from shuren.clients.kubernetes.client import KubernetesClient
from shuren.clients.kubernetes.config import from_kubeconfig
from shuren.devenv.background import Sandbox, up_in_background
from shuren.devenv.options import Options
from shuren.devenv.processes import ProcessId
from shuren.devenv.progress import to_stderr
from shuren.ports.kubernetes import MESOS_CLUSTERS, NAMESPACES, PAAS_APPS, Object

_MOST = 2_000
_CLIENTS = 16


async def run(directory: Path, *, apps: int, repeats: int) -> list[Row]:
    """Bring a control plane up, create the apps, and end it."""
    del repeats
    options = Options(state_dir=directory / "sandbox", engines=0, operators=0, owner=ProcessId.of(os.getpid()))
    sandbox = await asyncio.to_thread(up_in_background, options, to_stderr)
    try:
        return await _converge(directory, sandbox, apps=min(apps, _MOST))
    finally:
        await asyncio.to_thread(sandbox.down, to_stderr)


async def _converge(directory: Path, sandbox: Sandbox, *, apps: int) -> list[Row]:
    endpoints = sandbox.endpoints
    kubernetes = KubernetesClient(from_kubeconfig(Path(endpoints.kubeconfig)), connections=_CLIENTS)
    try:
        async with worlds.engine(directory, agents=worlds.agents_for(apps)) as (_, url, mesos_url):
            for number in range(min(apps, objects.NAMESPACES)):
                await kubernetes.create(NAMESPACES, "", _bare(objects.namespace(number)))
            cluster = objects.mesos_cluster(marathon=url, zookeeper=str(endpoints.zookeeper_hosts), mesos=mesos_url)
            await kubernetes.create(MESOS_CLUSTERS, "", _bare(cluster))
            environment = {"KUBECONFIG": str(endpoints.operator_kubeconfig), "SHUREN_EVENT_SOURCE": NATIVE, "SHUREN_METRICS_PORT": "0"}
            command = ["-m", "shuren.cli", "operator"]
            with program("operator-real", command, directory=directory, environment=environment) as running:
                await _until_ready(kubernetes, MESOS_CLUSTERS.kind, 1)
                await running.until_quiet()
                before = running.cpu()
                accepted = asyncio.create_task(convergence.accepted(url, apps))
                began = time.monotonic()
                await _create(kubernetes, apps)
                created = time.monotonic() - began
                last, updates = await accepted
                await _until_ready(kubernetes, PAAS_APPS.kind, apps)
                ready = time.monotonic() - began
                await running.until_quiet()
                cpu = running.cpu() - before
    finally:
        await kubernetes.close()
    return [
        Row(
            bench="real API server",
            what=f"{apps:,} new apps accepted by Marathon",
            measured=last - began,
            unit="s",
            against="the last of them created",
            reference=created,
            note=f"{updates} root updates",
        ),
        Row(bench="real API server", what="the same apps all Ready", measured=ready, unit="s"),
        Row(bench="real API server", what="CPU of the operator per app, from new to Ready", measured=cpu / apps * 1000, unit="ms CPU"),
    ]


def _bare(item: Object) -> Object:
    """Without what only a server sets."""
    kept = {name: value for name, value in item["metadata"].items() if name in {"name", "namespace", "labels"}}
    return {name: value for name, value in {**item, "metadata": kept}.items() if name != "status"}


async def _create(kubernetes: KubernetesClient, apps: int) -> None:
    numbers = iter(range(apps))

    async def client() -> None:
        for number in numbers:
            await kubernetes.create(PAAS_APPS, objects.namespace_of(number), _bare(objects.app(number)))

    async with asyncio.TaskGroup() as clients:
        for _ in range(_CLIENTS):
            clients.create_task(client())


async def _until_ready(kubernetes: KubernetesClient, kind: str, wanted: int) -> None:
    resource = PAAS_APPS if kind == PAAS_APPS.kind else MESOS_CLUSTERS
    deadline = time.monotonic() + PATIENCE
    while True:
        items = (await kubernetes.list(resource)).items
        ready = sum(1 for item in items if item["metadata"]["name"] != "sandbox" and _ready(item))
        if ready >= wanted:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"{ready} of {wanted} {resource.plural} are Ready")
        await asyncio.sleep(1.0)


def _ready(item: Object) -> bool:
    conditions = (item.get("status") or {}).get("conditions") or ()
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)

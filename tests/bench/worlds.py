"""What the operator works on in a bench: a fake API server, and where needed a real ZooKeeper and the engine with simulated tasks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from bench import objects
from bench.programs import Program, program
from engine_process import free_port
from zookeeper_process import zookeeper_server

START_SECONDS = 300.0
PATIENCE = 600.0
"""Seconds after which a bench gives up waiting for something."""
NATIVE, KOPF = "native", "kopf"


@dataclass(frozen=True, kw_only=True)
class Api:
    """The fake API server and orders to it."""

    program: Program
    url: str
    session: aiohttp.ClientSession

    async def order(self, what: str, document: object = None, /, **query: object) -> Any:
        """`POST /bench/…`, see `bench.api_server`."""
        params = {name: str(value) for name, value in query.items()}
        async with self.session.post(f"{self.url}/bench/{what}", params=params, json=document) as answer:
            found = await answer.json(content_type=None)
            if answer.status >= 400:
                raise RuntimeError(f"{what}: {found}")
            return found

    async def until_ready(self, apps: int, *, seconds: float = PATIENCE) -> None:
        """Wait until so many apps are Ready."""
        deadline = time.monotonic() + seconds
        while (found := await self.order("ready"))["ready"] < apps:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{found['ready']} of {apps} apps were Ready after {seconds:.0f} s")
            await asyncio.sleep(0.5)

    async def until_delivered(self) -> None:
        """Wait until apps are watched and nothing waits to be sent to those who do."""
        deadline = time.monotonic() + START_SECONDS
        while (found := await self.order("watched"))["watches"] == 0 or found["unsent"] > 0:
            if time.monotonic() > deadline:
                raise TimeoutError(f"apps: {found}")
            await asyncio.sleep(0.2)

    async def writes(self) -> dict[str, int]:
        """Requests since `forget` that change something, without those for the Lease."""
        counts: dict[str, int] = await self.order("counts")
        reads = ("GET", "WATCH")
        return {what: number for what, number in counts.items() if not what.startswith(reads) and not what.endswith("leases")}


@dataclass(frozen=True, kw_only=True)
class Operator:
    """The program `shuren operator`, and its own metrics."""

    program: Program
    metrics_url: str
    session: aiohttp.ClientSession

    async def metrics(self) -> dict[str, float]:
        """All samples by their text, e.g. `leader` or `watch_events_total{change="upsert",kind="PaasApp"}`."""
        async with self.session.get(f"{self.metrics_url}/metrics") as answer:
            lines = (await answer.text()).splitlines()
        pairs = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

    async def passes(self) -> int:
        """Passes over apps so far."""
        found = await self.metrics()
        return int(sum(value for name, value in found.items() if name.startswith('reconcile_total{kind="PaasApp"')))

    async def until_passes(self, least: int) -> None:
        """Wait until so many passes over apps are done."""
        deadline = time.monotonic() + PATIENCE
        while await self.passes() < least:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no {least} passes: {self.program.tail()}")
            await asyncio.sleep(0.5)


@contextlib.asynccontextmanager
async def fake_api(directory: Path) -> AsyncIterator[Api]:
    """Start the API server."""
    port = free_port()
    with program("api", ["-m", "bench.api_server", str(port)], directory=directory) as running:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE)) as session:
            url = f"http://127.0.0.1:{port}"
            await _until_answers(session, f"{url}/api/v1/namespaces", running)
            yield Api(program=running, url=url, session=session)


async def _until_answers(session: aiohttp.ClientSession, url: str, running: Program, *, status: int = 200) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        running.cpu()  # raises when it has ended
        try:
            async with session.get(url) as answer:
                if answer.status == status:
                    return
        except aiohttp.ClientError:
            pass
        if time.monotonic() > deadline:
            raise TimeoutError(f"{url} does not answer: {running.tail()}")
        await asyncio.sleep(0.05)


def kubeconfig(directory: Path, url: str) -> Path:
    """A kubeconfig for it."""
    path = directory / "kubeconfig"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "bench",
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
        "clusters": [{"name": "bench", "cluster": {"server": url}}],
        "users": [{"name": "bench", "user": {}}],
    }
    path.write_text(yaml.safe_dump(document))
    return path


@contextlib.asynccontextmanager
async def operator(
    directory: Path, api: Api, source: str, *, config: Path | None = None, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Operator]:
    """Start `shuren operator` with default settings but for its source of events. Returns before it is ready."""
    port = free_port()
    given = {
        "KUBECONFIG": str(config or kubeconfig(directory, api.url)),
        "SHUREN_METRICS_PORT": str(port),
        "SHUREN_METRICS_ADDRESS": "127.0.0.1",
        "SHUREN_EVENT_SOURCE": source,
        **(environment or {}),
    }
    with program(f"operator-{source}", ["-m", "shuren.cli", "operator"], directory=directory, environment=given) as running:
        yield Operator(program=running, metrics_url=f"http://127.0.0.1:{port}", session=api.session)


async def until_synced(running: Operator) -> None:
    """Wait until its store has everything."""
    await _until_answers(running.session, f"{running.metrics_url}/readyz", running.program)


# ---------------------------------------------------------------------------------------------------- with a cluster behind it


@dataclass(frozen=True, kw_only=True)
class World:
    """API server, engine and ZooKeeper, all empty but for one MesosCluster."""

    directory: Path
    api: Api
    engine: Program
    marathon_url: str
    zookeeper: str

    @contextlib.asynccontextmanager
    async def operator(self, source: str) -> AsyncIterator[Operator]:
        """One operator on this world."""
        async with operator(self.directory, self.api, source) as running:
            yield running

    async def until_connected(self) -> None:
        """Wait until the MesosCluster is Ready."""
        deadline = time.monotonic() + START_SECONDS
        url = f"{self.api.url}/apis/{objects.API_VERSION}/mesosclusters/{objects.CLUSTER}"
        while True:
            async with self.api.session.get(url) as answer:
                conditions = ((await answer.json()).get("status") or {}).get("conditions") or ()
            if any(c["type"] == "Ready" and c["status"] == "True" for c in conditions):
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"the cluster did not become Ready: {json.dumps(conditions)}")
            await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def engine(directory: Path, *, agents: int, charge: bool = True) -> AsyncIterator[tuple[Program, str, str]]:
    """The engine with simulated tasks: the program, Marathon's URL and the Mesos master's."""
    port, mesos_port = free_port(), free_port()
    command = ["-m", "shuren.sandbox", "--state-dir", str(directory / "engine"), "--runner", "simulated", "--agents", str(agents)]
    command += ["--listen", f"127.0.0.1:{port}", "--mesos-listen", f"127.0.0.1:{mesos_port}", "--kill-tasks-on-exit"]
    command += ["--charge-write-cost"] if charge else []
    with program("engine", command, directory=directory) as running:
        url = f"http://127.0.0.1:{port}"
        async with aiohttp.ClientSession() as session:
            await _until_answers(session, f"{url}/ping", running)
        yield running, url, f"http://127.0.0.1:{mesos_port}"


@contextlib.contextmanager
def _zookeeper(directory: Path) -> Iterator[str]:
    with zookeeper_server(directory, more="tickTime=2000\n") as (hosts, _):
        yield hosts


def agents_for(tasks: int) -> int:
    """Enough agents for so many small tasks: one for 500 of them."""
    return max(3, tasks // 500)


@contextlib.asynccontextmanager
async def world(directory: Path, *, apps: int) -> AsyncIterator[World]:
    """Start all of it. The engine charges what writing costs on a real Marathon."""
    async with contextlib.AsyncExitStack() as stack:
        api = await stack.enter_async_context(fake_api(directory))
        hosts = stack.enter_context(_zookeeper(directory))
        running, url, mesos_url = await stack.enter_async_context(engine(directory, agents=agents_for(apps)))
        await api.order("object", objects.mesos_cluster(marathon=url, zookeeper=hosts, mesos=mesos_url))
        yield World(directory=directory, api=api, engine=running, marathon_url=url, zookeeper=hosts)

"""From an event of Marathon to HAProxy's state: engine, operator, ZooKeeper, `shuren lb` and HAProxy, all real but for the tasks.

One task after the other is killed. The clock of each starts when this program reads that event from Marathon's stream, which the operator
reads too, and stops when HAProxy's own `show servers state` has it: the server takes nothing more. The same for the task that Marathon
starts in its place: from the event that it runs until its server takes traffic.

Floor: what anybody must do who has read the event: one GET of the app with its tasks, one write to ZooKeeper, one command to HAProxy.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from bench import convergence, objects, worlds
from bench.report import Row
from bench.worlds import NATIVE, PATIENCE, World
from lb_process import Balancer
from lb_room import GROUP
from shuren.clients.zookeeper.client import ZooKeeperClient
from shuren.domain.haproxy.servers import Admin, server_name
from shuren.ports.zookeeper import Create, SetData

BENCH = "load balancer"
TARGET_P99_MS = 100.0
ROOT = "/shuren/bench"
INSTANCES = 10
_LATEST = 10.0
"""Seconds after which a change counts as not seen at all."""
_APART = 0.05
Json = dict[str, Any]


def _app(number: int) -> Json:
    made = objects.app(number)
    made["spec"] |= {"instances": INSTANCES}
    made["spec"].pop("healthChecks")
    return made


def _service(number: int, port: int) -> Json:
    name = objects.name_of(number)
    listener = {"name": "http", "protocol": "HTTP", "port": port, "hosts": [f"{name}.example"]}
    return {
        "apiVersion": objects.API_VERSION,
        "kind": "PaasService",
        "metadata": {
            "name": name,
            "namespace": objects.namespace_of(number),
            "uid": objects.uid_of("service", number),
            "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {
            "clusterRef": {"name": objects.CLUSTER},
            "backends": [{"name": "main", "appRef": {"name": name}, "portName": "http"}],
            "loadBalancer": {"group": GROUP, "listeners": [listener], "healthCheck": {"enabled": False}},
        },
    }


@dataclass
class _Heard:
    """When (monotonic) this program read which status of which task."""

    at: dict[tuple[str, str], float] = field(default_factory=dict)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def first(self, *which: tuple[str, str]) -> float:
        """Of these."""
        async with asyncio.timeout(_LATEST):
            while not (found := [self.at[one] for one in which if one in self.at]):
                self.news.clear()
                await self.news.wait()
            return min(found)

    async def of_new_task(self, app_id: str, since: float) -> tuple[str, float]:
        """Which task of the app has begun to run since then, and when."""
        prefix = app_id.strip("/").replace("/", "_")
        async with asyncio.timeout(_LATEST):
            while True:
                for (task, status), at in self.at.items():
                    if status == "TASK_RUNNING" and at > since and task.startswith(f"{prefix}."):
                        return task, at
                self.news.clear()
                await self.news.wait()

    async def listen(self, marathon: str) -> None:
        timeout = aiohttp.ClientTimeout(total=PATIENCE)
        async with (
            aiohttp.ClientSession(timeout=timeout, read_bufsize=2**22) as session,
            session.get(f"{marathon}/v2/events?event_type=status_update_event", headers={"Accept": "text/event-stream"}) as stream,
        ):
            rest = b""
            async for chunk in stream.content.iter_any():
                now = time.monotonic()
                *lines, rest = (rest + chunk).split(b"\r\n")
                for line in lines:
                    event: Json = json.loads(line[5:]) if line.startswith(b"data:") else {}
                    if "taskStatus" in event:
                        self.at.setdefault((event["taskId"], event["taskStatus"]), now)
                        self.news.set()


@dataclass(frozen=True, kw_only=True)
class Found:
    """Milliseconds of each change, and of each of what is compared with."""

    gone: list[float]
    came: list[float]
    floor: list[float]


async def measure(directory: Path, *, services: int = 50, changes: int = 200) -> Found:
    """See the module."""
    async with worlds.world(directory, apps=services * INSTANCES) as world, world.operator(NATIVE) as running:
        await worlds.until_synced(running)
        await world.until_connected()
        balancer = Balancer(directory / "lb", world.zookeeper, "--log-level", "WARNING", root=ROOT)
        balancer.start()
        heard = _Heard()
        listening = asyncio.create_task(heard.listen(world.marathon_url))
        try:
            for number in range(services):
                await world.api.order("object", _app(number))
                await world.api.order("object", _service(number, balancer.port))
            await _until_carried(balancer, services * INSTANCES)
            await running.program.until_quiet(over=2.0)
            gone, came = await _changes(world, balancer, heard, services=services, changes=changes)
            floor = await _floor(world, balancer, changes=min(changes, 50))
        finally:
            listening.cancel()
            await balancer.end()
    return Found(gone=gone, came=came, floor=floor)


async def _until_carried(balancer: Balancer, servers: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            if sum(s.serves for s in await balancer.api.servers() if not s.backend.startswith("any:")) == servers:
                return
        except Exception:
            if time.monotonic() > deadline:
                raise
        if time.monotonic() > deadline:
            raise TimeoutError(f"HAProxy does not carry {servers} servers: {balancer.agent_log[-3000:]}")
        await asyncio.sleep(0.5)


async def _changes(world: World, balancer: Balancer, heard: _Heard, *, services: int, changes: int) -> tuple[list[float], list[float]]:
    gone, came = [], []
    for change in range(changes):
        number = change % services
        app_id = convergence.definition(number)["id"]
        backend = f"{objects.namespace_of(number)}.{objects.name_of(number)}:http"
        async with world.api.session.get(f"{world.marathon_url}/v2/apps{app_id}/tasks") as answer:
            tasks = sorted(task["id"] for task in (await answer.json())["tasks"])
        async with world.api.session.delete(f"{world.marathon_url}/v2/apps{app_id}/tasks/{tasks[0]}") as answer:
            answer.raise_for_status()
        began = await heard.first((tasks[0], "TASK_KILLING"), (tasks[0], "TASK_KILLED"))
        gone.append(await _shown(balancer, backend, tasks[0], serves=False) - began)
        fresh, began = await heard.of_new_task(app_id, began)
        came.append(await _shown(balancer, backend, fresh, serves=True) - began)
        await asyncio.sleep(_APART)
    return [1000 * value for value in gone], [1000 * value for value in came]


async def _shown(balancer: Balancer, backend: str, task: str, *, serves: bool) -> float:
    """When HAProxy shows it."""
    name = server_name(f"{task}:0")
    deadline = time.monotonic() + _LATEST
    while time.monotonic() < deadline:
        found = {s.name: s for s in await balancer.api.servers([backend])}.get(name)
        if (found is not None and found.state is Admin.READY) is serves:
            break
        await asyncio.sleep(0.001)
    return time.monotonic()


async def _floor(world: World, balancer: Balancer, *, changes: int) -> list[float]:
    app_id = convergence.definition(0)["id"]
    backend = f"{objects.namespace_of(0)}.{objects.name_of(0)}:http"
    client = ZooKeeperClient(world.zookeeper)
    await client.connect()
    await client.commit([Create(path="/floor")])
    (server, *_) = await balancer.api.servers([backend])
    found = []
    for change in range(changes):
        began = time.monotonic()
        async with world.api.session.get(f"{world.marathon_url}/v2/apps{app_id}?embed=app.tasks") as answer:
            data = await answer.read()
        await client.commit([SetData(path="/floor", data=data, version=-1)])
        await balancer.api.execute([f"set server {backend}/{server.name} weight {100 - change % 2}"])
        found.append((time.monotonic() - began) * 1000)
    await client.close()
    return found


def rows(found: Found) -> list[Row]:
    """The table's."""
    p99 = [statistics.quantiles(values, n=100, method="inclusive")[98] for values in (found.gone, found.came, found.floor)]
    against = "one GET, one write, one command, p99"
    gone = f"median {statistics.median(found.gone):.0f} ms, {len(found.gone)} tasks"
    came = f"median {statistics.median(found.came):.0f} ms"
    return [
        Row(
            bench=BENCH,
            what="Marathon's event that a task goes → HAProxy, p99",
            measured=p99[0],
            unit="ms",
            against=against,
            reference=p99[2],
            limit=TARGET_P99_MS,
            note=gone,
        ),
        Row(
            bench=BENCH,
            what="Marathon's event that a task runs → HAProxy, p99",
            measured=p99[1],
            unit="ms",
            limit=TARGET_P99_MS,
            note=came,
        ),
    ]

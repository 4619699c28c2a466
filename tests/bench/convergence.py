"""10,000 new apps: how long until Marathon has accepted them all, against what writing costs on a real Marathon.

The operator leads and the cluster is connected before the first app exists. The clock starts when the API server sends the first of
the new apps, which is before the first key is taken, and ends at the last 2xx of Marathon: the engine announces each root update that
it has accepted (`deployment_info`), and the last app in these counts. Claims go to a real ZooKeeper; the API server is the fake one.

Peer: the same apps put into an engine of their own, one PUT after the other over one kept connection, for the first 1,000. The whole
is then n·a + c·n²/2 with c = 22 µs, what each app of the estate adds to each later write, and a, everything else of one write, from
the 1,000.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from bench import objects, worlds
from bench.report import Row
from bench.worlds import NATIVE, PATIENCE, World

_TARGET_SECONDS = 20.0
_TARGET_TIMES = 50.0
_LOOP = 1_000
_COST_PER_APP = 22e-6
"""What the engine charges each write for each app that exists (marathon-api.md: 20 to 25 µs measured on a real 1.11.24)."""


@dataclass(frozen=True, kw_only=True)
class Converged:
    """How a world filled with apps. Seconds from when the API server sent the first one."""

    accepted: float
    ready: float
    deployments: int
    cpu: float
    memory: float
    peak: float
    largest_multi: int


async def fill(world: World, *, apps: int, source: str = NATIVE) -> Converged:
    """Let an operator converge new apps on an empty world, until all are Ready."""
    async with world.operator(source) as running:
        await world.until_connected()
        await running.program.until_quiet()
        before = running.program.cpu()
        watcher = asyncio.create_task(accepted(world.marathon_url, apps))
        await asyncio.sleep(0)
        began = (await world.api.order("apps", count=apps))["began"]
        last, deployments = await watcher
        await world.api.until_ready(apps)
        ready = time.monotonic()
        await running.program.until_quiet()
        return Converged(
            accepted=last - began,
            ready=ready - began,
            deployments=deployments,
            cpu=running.program.cpu() - before,
            memory=running.program.memory(),
            peak=running.program.peak(),
            largest_multi=0,
        )


async def accepted(marathon: str, apps: int) -> tuple[float, int]:
    """When the last of so many apps was accepted (monotonic), and in how many root updates."""
    seen: set[str] = set()
    updates = 0
    timeout = aiohttp.ClientTimeout(total=PATIENCE)
    async with (
        aiohttp.ClientSession(timeout=timeout, read_bufsize=2**22) as session,
        session.get(f"{marathon}/v2/events?event_type=deployment_info", headers={"Accept": "text/event-stream"}) as answer,
    ):
        rest = b""
        async for chunk in answer.content.iter_any():
            *lines, rest = (rest + chunk).split(b"\r\n")
            for line in lines:
                if line.startswith(b"data:"):
                    found = _apps_of(json.loads(line[5:]))
                    updates += bool(found - seen)
                    seen |= found
            if len(seen) >= apps:
                return time.monotonic(), updates
    raise RuntimeError(f"the engine closed its event stream after {len(seen)} apps")


def _apps_of(event: Mapping[str, Any]) -> set[str]:
    steps = (event.get("plan") or {}).get("steps") or ()
    return {action["app"] for step in steps for action in step["actions"]}


def definition(number: int) -> dict[str, Any]:
    """The Marathon app that a PaasApp of that number becomes."""
    spec = objects.app_spec(number)
    del spec["clusterRef"]
    return {"id": f"/{objects.namespace_of(number)}/{objects.name_of(number)}", **spec}


def put_one_by_one(marathon: str, apps: int) -> float:
    """Seconds that a loop takes which writes one app after the other."""
    connection = http.client.HTTPConnection(urlsplit(marathon).netloc, timeout=PATIENCE)
    began = time.monotonic()
    for number in range(apps):
        made = definition(number)
        while True:
            body = json.dumps(made)
            connection.request("PUT", f"/v2/apps{made['id']}?partialUpdate=false", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            if answer.status < 300:
                break
            if answer.status != 403:
                raise RuntimeError(f"{made['id']}: HTTP {answer.status}")
            time.sleep(0.05)
    connection.close()
    return time.monotonic() - began


def extrapolated(seconds: float, measured: int, apps: int) -> float:
    """Seconds for `apps` when `measured` took so many: n·a + c·n²/2."""
    each = (seconds - _COST_PER_APP * measured**2 / 2) / measured
    return apps * each + _COST_PER_APP * apps**2 / 2


async def loop_seconds(directory: Path, apps: int) -> tuple[float, int]:
    """The loop on an engine of its own: seconds, and for how many apps."""
    measured = min(apps, _LOOP)
    (directory / "loop").mkdir()
    async with worlds.engine(directory / "loop", agents=worlds.agents_for(apps)) as (_, url, _mesos):
        return await asyncio.to_thread(put_one_by_one, url, measured), measured


def rows(found: Converged, *, apps: int, loop: float, note: str) -> list[Row]:
    """The figures of one convergence."""
    return [
        Row(
            bench="convergence",
            what=f"{apps:,} new apps accepted by Marathon",
            measured=found.accepted,
            unit="s",
            limit=_TARGET_SECONDS,
            note=f"{found.deployments} root updates",
        ),
        Row(
            bench="convergence",
            what="times faster than a loop of PUTs",
            measured=loop / found.accepted,
            unit="×",
            against=f"loop, extrapolated: {loop:,.0f} s; {note}",
            limit=_TARGET_TIMES,
            at_least=True,
        ),
        Row(bench="convergence", what="the same apps all Ready", measured=found.ready, unit="s"),
        Row(bench="convergence", what="CPU of the operator per app, from new to Ready", measured=found.cpu / apps * 1000, unit="ms CPU"),
        Row(bench="convergence", what="memory of the operator after it", measured=found.memory, unit="MB", note=f"peak {found.peak:.0f}"),
    ]

"""From an event of Marathon to the status on the resource, on an estate of 10,000 converged apps.

One app after the other loses its task (`DELETE …/tasks`), four a second, which makes about sixteen events. The clock of each starts
when this program reads the event of the killed task from Marathon's stream, which the operator reads too, and stops when the API server
took the next status of that app.

Floor: what anybody must do who has read the event: one GET of the app with its tasks, and one status written, by a plain client.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import aiohttp

from bench import convergence, objects, worlds
from bench.report import Row
from bench.worlds import NATIVE, PATIENCE, World

_TARGET_MS = 250.0
_EVENTS = 200
_FLOOR = 100
_APART = 0.25
_LATEST = 20.0
"""Seconds after the last event when an app without a new status counts as not seen at all."""


async def measure(world: World, *, apps: int, repeats: int) -> list[Row]:
    """On a world whose apps have converged."""
    del repeats
    wanted = [number * apps // min(_EVENTS, apps) for number in range(min(_EVENTS, apps))]
    async with world.operator(NATIVE) as running:
        await worlds.until_synced(running)
        await running.until_passes(1)
        await running.program.until_quiet(over=3.0)
        await world.api.order("forget")
        before = running.program.cpu()
        killed = await _kill(world, wanted)
        cpu = running.program.cpu() - before
        found = await _until_written(world, killed)
    floor = await _floor(world, wanted[:_FLOOR])
    note = f"{len(found):,} events, {1 / _APART:.0f} a second; median {median(found):.0f} ms"
    return [
        Row(
            bench="latency",
            what="p99 from Marathon's event to the status",
            measured=_p99(found),
            unit="ms",
            against="one GET and one status written, p99",
            reference=_p99(floor),
            limit=_TARGET_MS,
            note=note,
        ),
        Row(bench="latency", what="CPU of the operator per killed task", measured=cpu / len(found) * 1000, unit="ms CPU"),
    ]


def _p99(values: Sequence[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)] if len(values) > 1 else values[0]


async def _kill(world: World, wanted: Sequence[int]) -> dict[str, float]:
    """When the event of each killed task was read (monotonic), by namespace/name."""
    names = {convergence.definition(number)["id"]: f"{objects.namespace_of(number)}/{objects.name_of(number)}" for number in wanted}
    seen: dict[str, float] = {}
    timeout = aiohttp.ClientTimeout(total=PATIENCE)
    async with (
        aiohttp.ClientSession(timeout=timeout, read_bufsize=2**22) as session,
        session.get(f"{world.marathon_url}/v2/events?event_type=status_update_event", headers={"Accept": "text/event-stream"}) as stream,
        asyncio.TaskGroup() as both,
    ):
        both.create_task(_read(stream, names, seen))
        for app_id in names:
            async with session.delete(f"{world.marathon_url}/v2/apps{app_id}/tasks") as answer:
                answer.raise_for_status()
            await asyncio.sleep(_APART)
    return seen


async def _read(stream: aiohttp.ClientResponse, names: Mapping[str, str], seen: dict[str, float]) -> None:
    """Until the event of each app was read."""
    rest = b""
    async for chunk in stream.content.iter_any():
        now = time.monotonic()
        *lines, rest = (rest + chunk).split(b"\r\n")
        for line in lines:
            event: dict[str, Any] = json.loads(line[5:]) if line.startswith(b"data:") else {}
            if event.get("taskStatus") == "TASK_KILLED" and event["appId"] in names:
                seen.setdefault(names[event["appId"]], now)
        if len(seen) == len(names):
            return
    raise RuntimeError(f"the engine closed its event stream after {len(seen)} killed tasks")


async def _until_written(world: World, killed: Mapping[str, float]) -> list[float]:
    """Milliseconds from each event to the first status of that app after it."""
    deadline = time.monotonic() + _LATEST
    while True:
        first: dict[str, float] = {}
        for at, name, _ in await world.api.order("statuses"):
            if at >= killed.get(name, float("inf")):
                first.setdefault(name, at)
        if len(first) == len(killed) or time.monotonic() > deadline:
            return [(first.get(name, deadline) - began) * 1000 for name, began in killed.items()]
        await asyncio.sleep(0.5)


async def _floor(world: World, wanted: Sequence[int]) -> list[float]:
    found = []
    for number in wanted:
        place = f"{world.api.url}/apis/{objects.API_VERSION}/namespaces/{objects.namespace_of(number)}/paasapps/{objects.name_of(number)}"
        async with world.api.session.get(place) as answer:
            status = (await answer.json())["status"]
        body = {
            "apiVersion": objects.API_VERSION,
            "kind": "PaasApp",
            "metadata": {"name": objects.name_of(number), "namespace": objects.namespace_of(number)},
            "status": {**status, "message": "written by a plain client"},
        }
        began = time.monotonic()
        where = f"{world.marathon_url}/v2/apps{convergence.definition(number)['id']}?embed=app.tasks"
        async with world.api.session.get(where) as answer:
            await answer.json()
        headers = {"Content-Type": "application/apply-patch+yaml"}
        async with world.api.session.patch(
            f"{place}/status?fieldManager=bench&force=true", data=json.dumps(body), headers=headers
        ) as answer:
            await answer.json()
        found.append((time.monotonic() - began) * 1000)
    return found

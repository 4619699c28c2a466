"""Marathon goes silent under 10,000 converged apps, and comes back: how many statuses are written, and how fast at most.

The engine is stopped (SIGSTOP), so that its connections hang as behind a dead switch. After the grace period each app is told once that
nothing is known of it any more, and once more when Marathon is back: two hundred apps a second, so that an outage of Marathon does not
become one of the API server. Peer: what both would be without a pace, all at once.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from bench import worlds
from bench.report import Row
from bench.worlds import NATIVE, PATIENCE, World

_PER_SECOND = 200.0
_SLACK = 1.1


async def measure(world: World, *, apps: int, repeats: int) -> list[Row]:
    """On a world whose apps have converged."""
    del repeats
    async with world.operator(NATIVE) as running:
        await worlds.until_synced(running)
        await running.until_passes(1)
        await running.program.until_quiet(over=3.0)
        before = running.program.cpu()
        await world.api.order("forget")
        os.kill(world.engine.process.pid, signal.SIGSTOP)
        try:
            away = await _until_told(world, apps, lambda ready: ready == "Unknown")
        finally:
            os.kill(world.engine.process.pid, signal.SIGCONT)
        await world.api.order("forget")
        back = await _until_told(world, apps, lambda ready: ready == "True")
        await running.program.until_quiet(over=3.0)
        cpu = running.program.cpu() - before
    return [
        *_rows("away", away, apps),
        *_rows("back", back, apps),
        Row(bench="outage", what="CPU of the operator per app, away and back", measured=cpu / apps * 1000, unit="ms CPU"),
    ]


def _rows(when: str, times: list[float], apps: int) -> list[Row]:
    busiest = max(Counter(int(at - times[0]) for at in times).values())
    return [
        Row(
            bench="outage",
            what=f"Marathon {when}: statuses of apps written",
            measured=float(len(times)),
            unit="writes",
            limit=float(apps),
            note=f"over {times[-1] - times[0]:.0f} s",
        ),
        Row(
            bench="outage",
            what=f"Marathon {when}: most in one second",
            measured=float(busiest),
            unit="writes/s",
            against="all at once",
            reference=float(apps),
            limit=_PER_SECOND * _SLACK,
        ),
    ]


def _ready(status: Mapping[str, Any]) -> str:
    return next((str(c["status"]) for c in status.get("conditions") or () if c["type"] == "Ready"), "")


async def _until_told(world: World, apps: int, wanted: Callable[[str], bool]) -> list[float]:
    """When statuses were written, until each app has been told; and none more for two seconds."""
    deadline = time.monotonic() + PATIENCE
    before = -1
    while True:
        written = [entry for entry in await world.api.order("statuses") if entry[1].partition("/")[0]]
        told = {name for _, name, status in written if wanted(_ready(status))}
        if len(told) >= apps and len(written) == before:
            return [at for at, _, _ in written]
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(told)} of {apps} apps were told")
        before = len(written)
        await asyncio.sleep(2.0)

"""The benches that need an estate of converged apps share one, since making it is what takes longest."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Coroutine
from pathlib import Path
from typing import Any

from bench import coldstart, convergence, latency, outage, worlds
from bench.report import Row

CONVERGENCE = "convergence"

Measure = Callable[..., Coroutine[Any, Any, list[Row]]]

MEASURES: dict[str, Measure] = {"coldstart": coldstart.measure, "latency": latency.measure, "outage": outage.measure}
"""What is measured on it once it is there, in this order: each leaves it as it was but for the times in statuses."""

NAMES = (CONVERGENCE, *MEASURES)


async def run(directory: Path, *, wanted: Collection[str], apps: int, repeats: int) -> list[Row]:
    """The wanted ones of `NAMES`."""
    rows: list[Row] = []
    loop: tuple[float, int] | None = None
    if CONVERGENCE in wanted:
        loop = await convergence.loop_seconds(directory, apps)
    async with worlds.world(directory, apps=apps) as world:
        sys.stderr.write(f"{apps:,} apps converge\n")
        found = await convergence.fill(world, apps=apps)
        if loop is not None:
            seconds, measured = loop
            whole = convergence.extrapolated(seconds, measured, apps)
            rows += _told(convergence.rows(found, apps=apps, loop=whole, note=f"{measured:,} took {seconds:.1f} s"))
        for name, measure in MEASURES.items():
            if name in wanted:
                rows += _told(await measure(world, apps=apps, repeats=repeats))
    return rows


def _told(rows: list[Row]) -> list[Row]:
    """Long benches show what they have as soon as they have it."""
    for row in rows:
        sys.stderr.write(f"{row.bench}: {row.what}: {row.measured:,.3f} {row.unit} {row.note}\n")
    return rows

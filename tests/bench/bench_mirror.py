"""How long after a change the mirror's callback comes, and what a picture of 10,000 apps costs. Run by `make bench`, or by hand.

The engine runs beside this process with simulated tasks; changes are made over HTTP as somebody else would make them. The clock starts when
the request is sent, so the engine's own work and the way back are in the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from engine_process import engine
from shuren.clients.clock import SystemClock
from shuren.clients.marathon.client import MarathonClient
from shuren.controllers.estate.mirror import Mirror

_TARGET_MS = 250.0


def _memory_mb() -> float:
    """Resident memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def _definition(number: int, value: str) -> dict[str, Any]:
    return {
        "id": f"/bench/app-{number}",
        "cmd": "sleep 100000",
        "cpus": 0.01,
        "mem": 1,
        "instances": 1,
        "env": {"VALUE": value, "REGION": "bj", "LOG_LEVEL": "info"},
        "labels": {"team": f"team-{number % 50}", "tier": "web"},
        "upgradeStrategy": {"minimumHealthCapacity": 0, "maximumOverCapacity": 1},
    }


async def _measure(url: str, *, apps: int, changes: int) -> dict[str, float]:
    writer, reader = MarathonClient([url], timeout=120.0), MarathonClient([url], timeout=60.0)
    for start in range(0, apps, 500):
        await writer.put_apps([_definition(n, "0") for n in range(start, min(start + 500, apps))], force=True)
    changed: dict[str, float] = {}
    before = _memory_mb()
    mirror = Mirror(
        marathon=reader,
        clock=SystemClock(),
        apps_changed=lambda ids: changed.update(dict.fromkeys(ids, time.perf_counter())),
        state_changed=lambda: None,
    )
    task = asyncio.create_task(mirror.run())
    cpu, began = time.process_time(), time.perf_counter()
    while not mirror.synced:
        await asyncio.sleep(0.02)
    first, first_cpu = time.perf_counter() - began, time.process_time() - cpu
    await asyncio.sleep(15)
    delays: list[float] = []
    cpu = time.process_time()
    singles, bulks = mirror.reads.single, mirror.reads.bulk
    for number in range(changes):
        app_id, value = f"/bench/app-{number * 37 % apps}", f"{number + 1}"
        sent = time.perf_counter()
        await writer.put_apps([{**_definition(number * 37 % apps, value)}], force=True)
        while True:
            app = mirror.app(app_id)
            if app is not None and app.definition["env"]["VALUE"] == value:  # type: ignore[index,call-overload]
                delays.append((changed[app_id] - sent) * 1000)
                break
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.02)
    spent = time.process_time() - cpu
    result = {
        "apps": apps,
        "first picture s": round(first, 2),
        "first picture CPU s": round(first_cpu, 2),
        "memory MB": round(_memory_mb() - before, 1),
        "changes": changes,
        "p50 ms": round(statistics.median(delays), 1),
        "p99 ms": round(statistics.quantiles(delays, n=100)[98], 1),
        "max ms": round(max(delays), 1),
        "small reads": mirror.reads.single - singles,
        "bulk reads": mirror.reads.bulk - bulks,
        "CPU ms per change": round(spent / changes * 1000, 2),
    }
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await writer.close()
    await reader.close()
    return result


def main() -> None:
    """Print a table and a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--apps", type=int, default=10_000)
    parser.add_argument("--changes", type=int, default=200)
    wanted = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as directory,
        engine(Path(directory), "--runner", "simulated", "--agents", "50", "--max-running-deployments", "10000") as url,
    ):
        result = asyncio.run(_measure(url, apps=wanted.apps, changes=wanted.changes))
    for name, value in result.items():
        sys.stdout.write(f"{name:22} {value}\n")
    sys.stdout.write(json.dumps({"bench": "mirror", "target p99 ms": _TARGET_MS, **result}) + "\n")


if __name__ == "__main__":
    main()

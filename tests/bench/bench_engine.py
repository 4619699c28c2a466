"""What the engine spends on many simulated tasks: start, lists, and the end of all of them. Run by `make bench`, or by hand.

The engine is a process of its own, spoken to over HTTP. A tenth of the tasks in the same run is the floor: the cost of a task must not grow
with their number.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from engine_program import Program
from waiting import eventually

_PER_APP = 1000
_LONGEST = 300.0


def _cpu(pid: int) -> float:
    """Seconds of one core that a process has spent."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _gauge(engine: Program, name: str) -> int:
    status, metrics = engine.call("GET", "/metrics")
    return int(metrics["gauges"][name]["value"]) if status == 200 else -1


def _agents(directory: Path) -> Path:
    """A hundred large hosts."""
    agents = [{"hostname": f"127.0.{n // 250 + 1}.{n % 250 + 1}", "cpus": 1000, "mem": 1_000_000} for n in range(100)]
    file = directory / "agents.json"
    file.write_text(json.dumps({"agents": agents}))
    return file


def measure(tasks: int) -> dict[str, float]:
    """One engine with so many tasks."""
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        engine = Program(directory / "state", "--runner", "simulated", "--agents-file", str(_agents(directory)))
        try:
            return _measure(engine, tasks)
        finally:
            engine.end()


def _measure(engine: Program, tasks: int) -> dict[str, float]:
    pid, running = engine.process.pid, "marathon.instances.running.gauge"
    apps = [f"/bench/app-{n}" for n in range(max(1, tasks // _PER_APP))]
    each = tasks // len(apps)
    idle_cpu, idle_mb, began = _cpu(pid), _memory_mb(pid), time.perf_counter()
    body = [{"id": i, "cmd": "sleep 1", "cpus": 0.01, "mem": 1, "instances": each, "portDefinitions": []} for i in apps]
    engine.call("PUT", "/v2/apps", body)
    eventually(lambda: _gauge(engine, running) == each * len(apps), seconds=_LONGEST, every=0.2)
    up, up_cpu, mb = time.perf_counter() - began, _cpu(pid) - idle_cpu, _memory_mb(pid) - idle_mb
    began = time.perf_counter()
    listed = len(engine.call("GET", "/v2/tasks")[1]["tasks"])
    lists = time.perf_counter() - began
    began, before = time.perf_counter(), _cpu(pid)
    time.sleep(5.0)  # what they cost while nothing happens
    quiet = (_cpu(pid) - before) / (time.perf_counter() - began)
    began, before = time.perf_counter(), _cpu(pid)
    engine.call("DELETE", "/v2/groups/bench?force=true")
    eventually(lambda: _gauge(engine, running) == 0, seconds=_LONGEST, every=0.2)
    return {
        "tasks": listed,
        "all running s": round(up, 1),
        "CPU us per task started": round(up_cpu / listed * 1e6, 1),
        "kB per task": round(mb * 1000 / listed, 1),
        "GET /v2/tasks s": round(lists, 2),
        "cores while quiet": round(quiet, 3),
        "all ended s": round(time.perf_counter() - began, 1),
        "CPU us per task ended": round((_cpu(pid) - before) / listed * 1e6, 1),
    }


def main() -> None:
    """Print a table and a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=50_000)
    wanted = parser.parse_args()
    floor, full = measure(wanted.tasks // 10), measure(wanted.tasks)
    rows: list[tuple[str, Any, Any]] = [("", "a tenth", "all"), *((name, floor[name], full[name]) for name in full)]
    for name, few, many in rows:
        sys.stdout.write(f"{name:26} {few!s:>12} {many!s:>12}\n")
    sys.stdout.write(json.dumps({"bench": "engine", "floor": floor, **full}) + "\n")


if __name__ == "__main__":
    main()

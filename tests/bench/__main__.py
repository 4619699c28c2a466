"""`python -m bench [NAME…]`: runs benches and prints one table. `make bench` is this with all of them."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bench import estate, events, lb, nameserver, real
from bench.report import FULL, Row, document, machine, table

Bench = Callable[[Path], Coroutine[Any, Any, list[Row]]]

ALONE = {"events": events.run, "real": real.run, "lb": lb.run, "dns": nameserver.run}
NAMES = ("events", *estate.NAMES, "real", "lb", "dns")


def main() -> int:
    """Exit status 0 when all benches ran to their end and all targets were met."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("benches", nargs="*", metavar="NAME", help=f"{', '.join(NAMES)}; default: all")
    parser.add_argument("--apps", type=int, default=FULL, help=f"how many PaasApps (default {FULL:,}, which the targets are for)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the result there too")
    wanted = parser.parse_args()
    names = wanted.benches or list(NAMES)
    for name in names:
        if name not in NAMES:
            parser.error(f"there is no bench {name!r}: {', '.join(NAMES)}")
    rows: list[Row] = []
    broken: list[str] = []
    for name, bench in _chosen(names, apps=wanted.apps, repeats=wanted.repeats).items():
        began = time.monotonic()
        try:
            with tempfile.TemporaryDirectory(prefix="shuren-bench-") as directory:
                rows += asyncio.run(bench(Path(directory)))
        except Exception:  # noqa: BLE001 - one bench that breaks must not take the figures of all others along
            traceback.print_exc()
            broken.append(name)
        sys.stderr.write(f"{name}: {time.monotonic() - began:.0f} s\n")
    result = document(rows, scale=wanted.apps)
    sys.stdout.write(f"{json.dumps(machine())}\n\n{table(rows, scale=wanted.apps)}\n\n{json.dumps(result)}\n")
    if wanted.json:
        wanted.json.write_text(json.dumps(result, indent=1) + "\n")
    missed = any(row["verdict"] == "MISSED" for row in result["rows"])
    if broken:
        sys.stderr.write(f"broke off: {', '.join(broken)}\n")
    return 1 if missed or broken else 0


def _chosen(names: Sequence[str], *, apps: int, repeats: int) -> dict[str, Bench]:
    """What to run, in the order of `NAMES`; those that need an estate run on the same one."""
    chosen: dict[str, Bench] = {}
    for name in NAMES:
        if name not in names:
            continue
        if name in ALONE:
            chosen[name] = partial(ALONE[name], apps=apps, repeats=repeats)
        else:
            wanted = [one for one in estate.NAMES if one in names]
            chosen.setdefault("estate", partial(estate.run, wanted=wanted, apps=apps, repeats=repeats))
    return chosen


if __name__ == "__main__":
    sys.exit(main())

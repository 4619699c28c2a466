"""`python -m bench [NAME…]`: runs benches and prints one table. `make bench` is this with all of them."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from bench import coldstart, convergence, events, lb, nameserver
from bench.report import FULL, Row, document, machine, table

Bench = Callable[..., Coroutine[Any, Any, list[Row]]]

BENCHES: dict[str, Bench] = {
    "events": events.run,
    "convergence": convergence.run,
    "coldstart": coldstart.run,
    "lb": lb.run,
    "dns": nameserver.run,
}


def main() -> int:
    """Exit status 0 when all targets were met."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("benches", nargs="*", metavar="NAME", help=f"{', '.join(BENCHES)}; default: all")
    parser.add_argument("--apps", type=int, default=FULL, help=f"how many PaasApps (default {FULL:,}, which the targets are for)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the result there too")
    wanted = parser.parse_args()
    names = wanted.benches or list(BENCHES)
    for name in names:
        if name not in BENCHES:
            parser.error(f"there is no bench {name!r}: {', '.join(BENCHES)}")
    rows: list[Row] = []
    for name in names:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="shuren-bench-") as directory:
            rows += asyncio.run(BENCHES[name](Path(directory), apps=wanted.apps, repeats=wanted.repeats))
        sys.stderr.write(f"{name}: {time.monotonic() - began:.0f} s\n")
    result = document(rows, scale=wanted.apps)
    sys.stdout.write(f"{json.dumps(machine())}\n\n{table(rows, scale=wanted.apps)}\n\n{json.dumps(result)}\n")
    if wanted.json:
        wanted.json.write_text(json.dumps(result, indent=1) + "\n")
    return 1 if any(row["verdict"] == "MISSED" for row in result["rows"]) else 0


if __name__ == "__main__":
    sys.exit(main())

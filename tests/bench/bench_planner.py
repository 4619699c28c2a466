"""What it takes to plan the next table of shards at full size, and how many replicas travel, against a table made from nothing.

    python tests/bench/bench_planner.py [--json FILE] [--peers DIRECTORY]

Times are CPU time of one core, the best and the median of some passes, for 1,000 members in 20 racks x 65,536 shards x 3 replicas. The
counts are exact and do not depend on the machine: `moves` are the replicas to copy, `bound` the fewest that any such table needs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "operator"))
sys.path.insert(0, str(Path(__file__).parents[1]))

from bench import flow_peer
from shuren.domain.shards.assignment import Assignment, changes
from shuren.domain.shards.flow import Effort
from shuren.domain.shards.members import Member, Wanted
from shuren.domain.shards.planner import DEFAULT_EFFORT, plan
from shuren.domain.shards.replacement import replace as place
from shuren.domain.shards.shares import shares

MEMBERS, RACKS, SHARDS, REPLICAS, PASSES = 1_000, 20, 65_536, 3, 5
_PLACEMENT_LIMIT, _WHOLE_LIMIT = 100.0, 250.0
"""Milliseconds: the replicas alone, and with the primaries (issue C §2)."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One change of the members. Milliseconds are (best, median); `renewed` is what a table made from nothing would move instead."""

    change: str
    placement: tuple[float, float]
    whole: tuple[float, float]
    moves: int
    bound: int
    proven: bool
    led: int
    led_bound: int
    led_proven: bool
    renewed: int
    exact: tuple[float, int] | None = None
    """OR-tools' time and moves for the replicas of the same change, where it is there."""

    @property
    def verdict(self) -> str:
        """Whether both times and the least number of moves were reached."""
        reached = self.placement[0] <= _PLACEMENT_LIMIT and self.whole[0] <= _WHOLE_LIMIT and self.moves == self.bound
        return "met" if reached else "MISSED"


def _members(count: int) -> tuple[Member, ...]:
    return tuple(Member(id=n, name=f"m{n}", rack=f"r{n % RACKS}", host=f"h{n}") for n in range(count))


def _milliseconds(work: Callable[[], object]) -> tuple[float, float]:
    taken = []
    for _ in range(PASSES):
        began = time.process_time()
        work()
        taken.append((time.process_time() - began) * 1e3)
    return min(taken), statistics.median(taken)


def _wanted(members: tuple[Member, ...]) -> Wanted:
    return Wanted(slots=SHARDS, replicas=REPLICAS, members=members)


def _copied(before: Assignment, after: Assignment) -> int:
    """Replicas that the shard's new holders do not have yet."""
    return sum(len(change.gained) for change in changes(before, after))


def _row(change: str, before: Assignment, members: tuple[Member, ...]) -> Row:
    wanted = _wanted(members)
    found = plan(wanted, before)

    def placement() -> object:
        return place(before, shares(wanted, reach=max(before.holders)), Effort(DEFAULT_EFFORT))

    return Row(
        change=change,
        placement=_milliseconds(placement),
        whole=_milliseconds(lambda: plan(wanted, before)),
        moves=found.moves,
        bound=found.bound,
        proven=found.proven,
        led=found.led,
        led_bound=found.led_bound,
        led_proven=found.led_proven,
        exact=flow_peer.exact(wanted, before) if flow_peer.available() else None,
        renewed=_copied(before, plan(wanted).table),
    )


def rows() -> tuple[tuple[float, float], list[Row]]:
    """Milliseconds for the first table, and a row for each change to it."""
    members = _members(MEMBERS)
    wanted = _wanted(members)
    before = plan(wanted).table
    heavier = tuple(replace(m, weight=2.0) if m.id % 10 == 0 else m for m in members)
    return _milliseconds(lambda: plan(wanted)), [
        _row("join of 1", before, _members(MEMBERS + 1)),
        _row("leave of 1", before, members[:500] + members[501:]),
        _row("leave of 5 %", before, tuple(m for m in members if m.id % 20 != m.id // 20 % 20)),
        _row("loss of a rack", before, tuple(m for m in members if m.rack != "r7")),
        _row("10 % twice as heavy", before, heavier),
    ]


def text(first: tuple[float, float], found: Sequence[Row]) -> str:
    """The rows as text columns."""
    lines = [
        ("change", "placement", "with primaries", "moves", "bound", "new primaries", "bound", "made anew moves", "OR-tools", "verdict")
    ]
    lines += [
        (
            row.change,
            f"{row.placement[0]:,.0f} ms ({row.placement[1]:,.0f})",
            f"{row.whole[0]:,.0f} ms ({row.whole[1]:,.0f})",
            f"{row.moves:,}",
            f"{row.bound:,}{', proven' if row.proven else ''}",
            f"{row.led:,}",
            f"{row.led_bound:,}",
            f"{row.renewed:,}",
            f"{row.exact[0]:,.0f} ms, {row.exact[1]:,} moves" if row.exact is not None else "not there",
            row.verdict,
        )
        for row in found
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    table = "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)
    targets = f"targets: placement ≤ {_PLACEMENT_LIMIT:,.0f} ms, with primaries ≤ {_WHOLE_LIMIT:,.0f} ms, moves = bound"
    return f"{table}\nfirst table: {first[0]:,.0f} ms ({first[1]:,.0f}); {targets}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 1 when a target was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the result there too")
    parser.add_argument("--peers", type=Path, help="where OR-tools lies, which is no dependency of ours")
    options = parser.parse_args(arguments)
    if options.peers:
        sys.path.append(str(options.peers))
    first, found = rows()
    document = {
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "load": [round(v, 2) for v in os.getloadavg()]},
        "size": {"members": MEMBERS, "racks": RACKS, "shards": SHARDS, "replicas": REPLICAS},
        "first": first,
        "rows": [{**asdict(row), "verdict": row.verdict} for row in found],
    }
    sys.stdout.write(f"{text(first, found)}\n\n{json.dumps(document)}\n")
    if options.json:
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    return 1 if any(row.verdict == "MISSED" for row in found) else 0


if __name__ == "__main__":
    sys.exit(main())

"""What a bench found: rows of one table, and the same as JSON."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

FULL = 10_000
"""The number of apps that targets are stated for."""


class Verdict(Enum):
    """Whether a target was reached."""

    MET = "met"
    MISSED = "MISSED"
    NONE = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure. `against` is what was measured in the same run to compare with (`reference`, in the same unit).

    `limit` is the target: the most that is allowed, or the least when `at_least`. It holds for the full number of apps.
    """

    bench: str
    what: str
    measured: float
    unit: str
    against: str = ""
    reference: float | None = None
    limit: float | None = None
    at_least: bool = False
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Measured by reference."""
        return None if not self.reference else self.measured / self.reference

    def verdict(self, *, scale: int) -> Verdict:
        """Only judged at the scale that the target is for."""
        if self.limit is None or scale != FULL:
            return Verdict.NONE
        reached = self.measured >= self.limit if self.at_least else self.measured <= self.limit
        return Verdict.MET if reached else Verdict.MISSED


def _number(value: float | None, unit: str = "") -> str:
    if value is None:
        return ""
    digits = 0 if abs(value) >= 100 or value == int(value) else 1 if abs(value) >= 10 else 3 if abs(value) < 1 else 2
    return f"{value:,.{digits}f}{' ' + unit if unit else ''}"


def table(rows: Sequence[Row], *, scale: int) -> str:
    """The rows as text columns."""
    heads = ("bench", "what", "measured", "floor or peer in the same run", "ratio", "target", "verdict")
    lines = [heads]
    for row in rows:
        target = "" if row.limit is None else f"{'≥' if row.at_least else '≤'} {_number(row.limit, row.unit)}"
        against = f"{row.against}: {_number(row.reference, row.unit)}" if row.reference is not None else row.against
        ratio = "" if row.ratio is None else f"{row.ratio:.2f} ×"
        what = f"{row.what} ({row.note})" if row.note else row.what
        lines.append((row.bench, what, _number(row.measured, row.unit), against, ratio, target, row.verdict(scale=scale).value))
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    text.insert(1, "  ".join("-" * width for width in widths))
    if scale != FULL:
        text.append(f"{scale:,} apps instead of {FULL:,}: targets are not judged")
    return "\n".join(text)


def machine() -> dict[str, Any]:
    """Where it was measured."""
    model = next((line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "")
    memory = next((int(line.split()[1]) // 1024 for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    return {
        "cpu": model or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory MiB": memory,
        "python": platform.python_version(),
        "load": [round(value, 2) for value in os.getloadavg()],
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def document(rows: Sequence[Row], *, scale: int) -> dict[str, Any]:
    """Everything, for machines."""
    found = [{**asdict(row), "ratio": row.ratio, "verdict": row.verdict(scale=scale).value} for row in rows]
    return {"apps": scale, "machine": machine(), "rows": found}

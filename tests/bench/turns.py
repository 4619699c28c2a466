"""Rates of several works, measured in turns: what slows the machine for a while slows all of them.

Rates are per second of CPU time of one core. Needs the standard library only, so that another Python can run it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

ROUNDS = 15
_WINDOW_SECONDS = 0.02


def rates(works: dict[str, Callable[[], object]], units: int) -> dict[str, tuple[float, float]]:
    """(best, median) million units a second of each, in windows of at least 20 ms."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, work in works.items():
            passes, began = 0, time.process_time()
            while (taken := time.process_time() - began) < _WINDOW_SECONDS:
                work()
                passes += 1
            seconds[name].append(taken / passes)
    return {name: (units / min(taken) / 1e6, units / statistics.median(taken) / 1e6) for name, taken in seconds.items()}


def one_by_one(call: Callable[[str], object], keys: Sequence[str]) -> Callable[[], None]:
    """A work that asks key by key."""

    def work() -> None:
        for key in keys:
            call(key)

    return work

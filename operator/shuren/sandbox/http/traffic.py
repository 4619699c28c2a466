"""What Marathon measures of its own HTTP: requests under way, rates of answers by class, times by method (`marathon.http.*`)."""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]
_TICK = 5.0
_AT_REST = 2000
_KEPT = 1028
"""Times of the last so many requests of a method make its percentiles."""
_PREFIX = "marathon.http."
METHODS = ("GET", "PUT", "POST", "DELETE")
CLASSES = ("2xx", "4xx", "5xx")
_PERCENTILES = {"p50": 0.5, "p75": 0.75, "p95": 0.95, "p98": 0.98, "p99": 0.99, "p999": 0.999}


class Meter:
    """A count with its rates per second: since the start, and as moving averages over 1, 5 and 15 minutes (as Dropwizard's meters)."""

    def __init__(self, now: float) -> None:
        self._start = self._last = now
        self._pending = 0
        self.count = 0
        self._rates: list[float] | None = None

    def mark(self, now: float) -> None:
        self._catch_up(now)
        self.count += 1
        self._pending += 1

    def _catch_up(self, now: float) -> None:
        """Closes the intervals that are over. After a long silence the averages are at rest, so that counting further is vain."""
        missed = int((now - self._last) / _TICK)
        for _ in range(min(missed, _AT_REST)):
            rate, self._pending = self._pending / _TICK, 0
            if self._rates is None:
                self._rates = [rate] * 3
            else:
                shares = [1 - math.exp(-_TICK / 60 / minutes) for minutes in (1, 5, 15)]
                self._rates = [old + share * (rate - old) for old, share in zip(self._rates, shares, strict=True)]
        self._last += missed * _TICK

    def rates(self, now: float) -> Json:
        self._catch_up(now)
        one, five, fifteen = self._rates or (0.0, 0.0, 0.0)
        age = max(now - self._start, 1e-9)
        return {
            "count": self.count,
            "m15_rate": fifteen,
            "m1_rate": one,
            "m5_rate": five,
            "mean_rate": self.count / age if self.count else 0.0,
        }


class Traffic:
    """The measurements of one server."""

    def __init__(self) -> None:
        now = time.monotonic()
        self.active = 0
        self._answers = {name: Meter(now) for name in CLASSES}
        self._requests = {name: Meter(now) for name in METHODS}
        self._times: dict[str, deque[float]] = {name: deque(maxlen=_KEPT) for name in METHODS}

    @contextlib.contextmanager
    def under_way(self) -> Iterator[None]:
        """Counts a request as active."""
        self.active += 1
        try:
            yield
        finally:
            self.active -= 1

    def answered(self, method: str, status: int, began: float) -> None:
        """A request that began at that monotonic time has its answer."""
        now = time.monotonic()
        if (meter := self._answers.get(f"{status // 100}xx")) is not None:
            meter.mark(now)
        if method in self._times:
            self._requests[method].mark(now)
            self._times[method].append(now - began)

    def metrics(self) -> Json:
        """`gauges`, `meters` and `timers` under Marathon's names."""
        now = time.monotonic()
        return {
            "gauges": {f"{_PREFIX}requests.active.gauge": {"value": self.active}},
            "meters": {
                f"{_PREFIX}responses.{name}.rate.meter": {**meter.rates(now), "units": "events/second"}
                for name, meter in self._answers.items()
            },
            "timers": {
                f"{_PREFIX}requests.{name.lower()}.duration.timer.seconds": {
                    **_spread(sorted(self._times[name])),
                    **self._requests[name].rates(now),
                    "duration_units": "seconds",
                    "rate_units": "calls/second",
                }
                for name in METHODS
            },
        }


def _spread(times: list[float]) -> Json:
    if not times:
        return {"max": 0.0, "mean": 0.0, "min": 0.0, "stddev": 0.0, **dict.fromkeys(_PERCENTILES, 0.0)}
    mean = sum(times) / len(times)
    at = {name: times[min(len(times) - 1, int(share * len(times)))] for name, share in _PERCENTILES.items()}
    deviation = math.sqrt(sum((t - mean) ** 2 for t in times) / len(times))
    return {"max": times[-1], "mean": mean, "min": times[0], "stddev": deviation, **at}

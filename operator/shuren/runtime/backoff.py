"""How long to wait after failures: exponential, capped, with jitter from an injected source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Backoff:
    """Delay after the n-th failure in a row (seconds).

    The delay doubles from `first` up to `last`; `jitter` is the share of it that chance may take away, so that keys that failed together do
    not come back together. `chance` returns a float in [0, 1) (normally `random.random`).
    """

    chance: Callable[[], float]
    first: float = 1.0
    last: float = 300.0
    factor: float = 2.0
    jitter: float = 0.2

    def delay(self, failures: int) -> float:
        """Seconds to wait after `failures` (>= 1) failures in a row."""
        exponent = min(max(failures, 1) - 1, 64)
        full = min(self.first * self.factor**exponent, self.last)
        return full * (1.0 - self.jitter * self.chance())

"""How often the mirror may read, so that it is quick when little happens and cheap when much does."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """Seconds unless said otherwise.

    The first read waits up to `attach` for the event stream. What follows an event that comes alone is read after `hear`, since traffic
    waits for it; while events come one after the other they are gathered, so that such reads are at least `gather` apart. Up to a
    hundredth of all apps, but at least `few` and at most `many`, are read one by one, as long as a budget of `burst` such reads, refilled
    at `singles` a second, lasts; else everything is read at once.
    Bulk reads are at least `bulk_gap` apart, and `bulk_rest` times as long as the last one took, which bounds their share of a core
    (`bulk_rest_crowded` times while many new resources wait).
    While something deploys or waits, deployments and queue are read every `progress` seconds, slowing down to `progress_slowest` while
    they do not change, and after an event not sooner than `progress_gap`. `resync` is the distance of bulk reads when nothing happens.
    """

    attach: float = 1.0
    hear: float = 0.01
    gather: float = 0.05
    few: int = 4
    many: int = 32
    singles: float = 40.0
    burst: float = 100.0
    bulk_gap: float = 0.25
    bulk_rest: float = 4.0
    bulk_rest_crowded: float = 20.0
    progress_gap: float = 0.2
    progress: float = 1.0
    progress_slowest: float = 10.0
    resync: float = 120.0
    retry: float = 0.5
    retry_slowest: float = 5.0
    witnesses: int = 16
    """How many apps that a bulk list no longer has are asked for one by one before the list is believed."""


class Budget:
    """A token bucket that never waits: it says whether the price can be paid now."""

    def __init__(self, *, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = now

    def take(self, price: float, now: float) -> bool:
        """Pay `price` tokens at `now` (monotonic seconds) if they are there."""
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < price:
            return False
        self._tokens -= price
        return True

"""A clock that moves only when told."""

from __future__ import annotations

import asyncio
import heapq
from datetime import UTC, datetime, timedelta

_START = datetime(2026, 1, 1, tzinfo=UTC)


class ManualClock:
    """The `Clock` port with time owned by the test. Sleepers wake in the order of their deadlines."""

    def __init__(self, *, start: datetime = _START) -> None:
        self._start = start
        self._elapsed = 0.0
        self._count = 0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self._elapsed

    def now(self) -> datetime:
        """The start time plus what was advanced."""
        return self._start + timedelta(seconds=self._elapsed)

    async def sleep(self, seconds: float) -> None:
        """Return after `advance` has passed the deadline; at once (after one turn of the loop) for zero or less."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self._elapsed + seconds, self._count, waiter))
        await waiter

    def jump(self, seconds: float) -> None:
        """Set the wall clock alone on or back, as a person or NTP does; nobody wakes."""
        self._start += timedelta(seconds=seconds)

    def shift(self, seconds: float) -> None:
        """Move time on without running anything, for synchronous tests; sleepers whose time has come wake at the loop's next turn."""
        self._elapsed += seconds
        while self._sleepers and self._sleepers[0][0] <= self._elapsed:
            _, _, waiter = heapq.heappop(self._sleepers)
            if not waiter.done():
                waiter.set_result(None)

    async def advance(self, seconds: float) -> None:
        """Move time on, letting each woken sleeper run before later ones are woken."""
        end = self._elapsed + seconds
        while self._sleepers and self._sleepers[0][0] <= end:
            self.shift(max(0.0, self._sleepers[0][0] - self._elapsed))
            for _ in range(10):
                await asyncio.sleep(0)
        self.shift(end - self._elapsed)
        for _ in range(10):
            await asyncio.sleep(0)

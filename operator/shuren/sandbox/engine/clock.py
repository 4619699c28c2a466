"""Time as the engine sees it: a clock with one heap of timers, real or virtual.

All that happens later in the engine is a timer in this heap; there is no asyncio task per instance, so 50,000 of them cost memory only.
Times are seconds since the epoch (float). The virtual clock moves only when a test advances it.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

Callback = Callable[[], None]


def stamp(when: float) -> str:
    """Marathon's timestamp: UTC with exactly three fraction digits."""
    millis = int(when * 1000 + 0.5)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(millis // 1000))}.{millis % 1000:03d}Z"


def seconds(text: str) -> float:
    """The inverse of `stamp`."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC).timestamp()


class Timer:
    """A planned call. `cancel` makes it a no-op; the heap forgets it when its time comes."""

    __slots__ = ("callback", "when")

    def __init__(self, when: float, callback: Callback) -> None:
        self.when = when
        self.callback: Callback | None = callback

    def cancel(self) -> None:
        self.callback = None

    @property
    def active(self) -> bool:
        return self.callback is not None


class Clock(Protocol):
    """What the engine needs of time."""

    def now(self) -> float:
        """Seconds since the epoch."""

    def after(self, delay: float, callback: Callback) -> Timer:
        """Calls back once, `delay` seconds from now (0: as soon as the present call is done)."""


class _Heap:
    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()

    def push(self, timer: Timer) -> None:
        heapq.heappush(self._entries, (timer.when, next(self._order), timer))

    def next_time(self) -> float | None:
        while self._entries and not self._entries[0][2].active:
            heapq.heappop(self._entries)
        return self._entries[0][0] if self._entries else None

    def pop_due(self, now: float) -> Callback | None:
        due = self.next_time()
        if due is None or due > now:
            return None
        timer = heapq.heappop(self._entries)[2]
        callback, timer.callback = timer.callback, None
        return callback


class RealClock:
    """Wall-clock time, its timers driven by the running event loop through one loop handle."""

    SLICE = 0.02
    """Seconds of due timers run before the loop may do other work."""

    def __init__(self) -> None:
        # Marathon's timestamps are wall time, but timers must not jump with it: wall time is the loop's monotonic time plus an offset.
        self._offset = time.time() - time.monotonic()
        self._heap = _Heap()
        self._handle: asyncio.TimerHandle | None = None
        self._handle_time = float("inf")
        self._loop: asyncio.AbstractEventLoop | None = None

    def now(self) -> float:
        return time.monotonic() + self._offset

    def after(self, delay: float, callback: Callback) -> Timer:
        timer = Timer(self.now() + max(0.0, delay), callback)
        self._heap.push(timer)
        if timer.when < self._handle_time:
            self._arm(timer.when)
        return timer

    def close(self) -> None:
        """Stops calling; pending timers are forgotten."""
        if self._handle is not None:
            self._handle.cancel()
        self._heap = _Heap()
        self._handle, self._handle_time = None, float("inf")

    def _arm(self, when: float) -> None:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        if self._handle is not None:
            self._handle.cancel()
        self._handle_time = when
        self._handle = self._loop.call_later(max(0.0, when - self.now()), self._run)

    def _run(self) -> None:
        self._handle, self._handle_time = None, float("inf")
        started = self.now()
        try:
            while (callback := self._heap.pop_due(started)) is not None:
                callback()
                if self.now() - started > self.SLICE:
                    break
        finally:
            due = self._heap.next_time()
            if due is not None:
                self._arm(due)


class VirtualClock:
    """Time for tests: stands still until advanced."""

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self._now = start
        self._heap = _Heap()

    def now(self) -> float:
        return self._now

    def after(self, delay: float, callback: Callback) -> Timer:
        timer = Timer(self._now + max(0.0, delay), callback)
        self._heap.push(timer)
        return timer

    def advance(self, duration: float = 0.0) -> None:
        """Lets `duration` seconds pass and runs, in order, all that falls due meanwhile."""
        end = self._now + duration
        while True:
            due = self._heap.next_time()
            if due is None or due > end:
                break
            self._now = max(self._now, due)
            callback = self._heap.pop_due(due)
            if callback is not None:
                callback()
        self._now = end

    def next_time(self) -> float | None:
        """When the next timer falls due."""
        return self._heap.next_time()

"""A work queue of keys: each key waits at most once, runs at most once at a time, and is never lost.

It has the semantics of client-go's and controller-runtime's priority queue, on one event loop and without locks:

- `add` while the key waits only raises its priority or brings it forward; `add` while it is being worked on makes it run once more after.
- a delayed key (`requeue_after`, back-off) sits in one heap with all others; the smaller delay wins when it is added twice.
- higher priorities are taken first; among equals, the key that became ready first.

What a key means, and whether this process may work at all (leadership), is not known here: `pause` and `resume` gate the takers.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, TypeVar

from shuren.runtime.backoff import Backoff

K = TypeVar("K", bound=Hashable)


class Priority(IntEnum):
    """What a signal is worth: a fresh edit by a person must not wait behind ten thousand keys of a restart."""

    RESYNC = 0
    RETRY = 10
    EXTERNAL = 50
    USER = 100


@dataclass(slots=True)
class _Entry:
    """A waiting key: when it may run, at which priority, and which heap item is the valid one (older items are stale)."""

    ready_at: float
    priority: int
    ticket: int
    added_at: float
    ready: bool = False


@dataclass(frozen=True, slots=True)
class Taken(Generic[K]):
    """A key handed to a worker; `waited` is seconds from when it could first have run until now."""

    key: K
    priority: int
    waited: float


class WorkQueue(Generic[K]):
    """See the module. `monotonic` gives seconds; `backoff` the delays of `retry`."""

    def __init__(self, *, monotonic: Callable[[], float], backoff: Backoff) -> None:
        self._monotonic = monotonic
        self._backoff = backoff
        self._waiting: dict[K, _Entry] = {}
        self._active: dict[K, tuple[float, int]] = {}
        """When, and at which priority, each key was taken that is being worked on."""
        self._urgent: set[K] = set()
        self._urgent_active: set[K] = set()
        self._again: dict[K, tuple[float, int]] = {}
        self._failures: dict[K, int] = {}
        self._due: dict[K, float] = {}
        self._delayed: list[tuple[float, int, K]] = []
        self._ready: list[tuple[int, float, int, K]] = []
        self._ticket = 0
        self._paused = False
        self._closed = False
        self._changed = asyncio.Event()
        self.adds = 0
        self.retries = 0

    # ------------------------------------------------------------------------------------------------ adding

    def add(self, key: K, *, priority: int = Priority.EXTERNAL, after: float = 0.0) -> None:
        """Ask for a pass over `key` in `after` seconds at the latest, at least at `priority`."""
        if self._closed:
            return
        self.adds += 1
        ready_at = self._monotonic() + max(after, 0.0)
        if key in self._active:
            known = self._again.get(key)
            self._again[key] = (ready_at, priority) if known is None else (min(known[0], ready_at), max(known[1], priority))
            return
        self._put(key, ready_at, priority)

    def _put(self, key: K, ready_at: float, priority: int) -> None:
        now = self._monotonic()
        entry = self._waiting.get(key)
        if entry is None:
            entry = _Entry(ready_at=ready_at, priority=priority, ticket=0, added_at=now)
            self._waiting[key] = entry
        else:
            sooner, higher = ready_at < entry.ready_at, priority > entry.priority
            if entry.ready and not higher:
                return
            if not (sooner or higher):
                return
            entry.ready_at = min(entry.ready_at, ready_at)
            entry.priority = max(entry.priority, priority)
        self._ticket += 1
        entry.ticket = self._ticket
        if entry.ready_at <= now:
            self._make_ready(key, entry)
        else:
            heapq.heappush(self._delayed, (entry.ready_at, entry.ticket, key))
        self._changed.set()

    def _make_ready(self, key: K, entry: _Entry) -> None:
        entry.ready = True
        if entry.priority >= Priority.USER:
            self._urgent.add(key)
        heapq.heappush(self._ready, (-entry.priority, entry.ready_at, entry.ticket, key))

    def discard(self, key: K) -> None:
        """Forget that a key waits, with its back-off; a pass under way goes on."""
        self._waiting.pop(key, None)  # what the heaps hold of it is stale by this
        self._urgent.discard(key)
        self.forget(key)

    # ------------------------------------------------------------------------------------------------ taking

    async def take(self) -> Taken[K] | None:
        """The next key to work on; waits for one. None once the queue is closed."""
        while True:
            if self._closed:
                return None
            taken = self.take_now()
            if taken is not None:
                return taken
            self._changed.clear()
            await self._wait()

    def take_now(self) -> Taken[K] | None:
        """The next key if one can run now, else None."""
        if self._paused or self._closed:
            return None
        now = self._monotonic()
        self._promote(now)
        while self._ready:
            _, _, ticket, key = heapq.heappop(self._ready)
            entry = self._waiting.get(key)
            if entry is None or entry.ticket != ticket:
                continue
            del self._waiting[key]
            self._active[key] = now, entry.priority
            if key in self._urgent:
                self._urgent.discard(key)
                self._urgent_active.add(key)
            return Taken(key=key, priority=entry.priority, waited=max(0.0, now - max(entry.ready_at, entry.added_at)))
        return None

    def _promote(self, now: float) -> None:
        while self._delayed and self._delayed[0][0] <= now:
            _, ticket, key = heapq.heappop(self._delayed)
            entry = self._waiting.get(key)
            if entry is not None and entry.ticket == ticket:
                self._make_ready(key, entry)

    async def _wait(self) -> None:
        """Sleep until something is added, the gate opens, or the earliest delay is over."""
        timeout: float | None = None
        if not self._paused and self._delayed:
            timeout = max(0.0, self._delayed[0][0] - self._monotonic())
        try:
            # not wait_for: until Python 3.12 it forgets a cancellation that comes together with what is waited for
            async with asyncio.timeout(timeout):
                await self._changed.wait()
        except TimeoutError:
            return

    # ------------------------------------------------------------------------------------------------ finishing

    def done(self, key: K, *, requeue_after: float | None = None) -> None:
        """The pass went well: forget failures; run again after `requeue_after` seconds if given, or sooner if it was added meanwhile."""
        self.forget(key)
        self._finish(key, None if requeue_after is None else (self._monotonic() + requeue_after, Priority.RETRY))

    def retry(self, key: K, *, after: float | None = None, undiminished: bool = False) -> float:
        """The pass failed: run again after the key's back-off, or after exactly `after` seconds. Returns the delay.

        It runs at the priority of a retry, and `undiminished` at that at which it was taken: for a pass that met a race and has not done
        yet what it was taken for. Behind ten thousand passes of lesser worth it would be the last of all.

        A pass that a signal brought forward, before the last back-off was over, says nothing of how long the trouble lasts: its failure
        leaves the back-off as it is. Else a moment's outage with a few signals in it would cost minutes.
        """
        self.retries += 1
        now = self._monotonic()
        due = self._due.get(key, now)
        early = due > now
        if not early:
            self._failures[key] = self.failures(key) + 1
        if after is not None:
            delay = after
        elif early:
            delay = due - now
        else:
            delay = self._backoff.delay(self._failures[key])
            self._due[key] = now + delay
        _, taken_at = self._active.get(key, (now, Priority.RETRY))
        self._finish(key, (now + delay, taken_at if undiminished else Priority.RETRY))
        return delay

    def _finish(self, key: K, wish: tuple[float, int] | None) -> None:
        self._active.pop(key, None)
        self._urgent_active.discard(key)
        again = self._again.pop(key, None)
        if wish is not None:
            self._put(key, *wish)
        if again is not None:
            self._put(key, *again)

    def forget(self, key: K) -> None:
        """Drop the back-off of a key (its object is gone); a waiting or running pass stays."""
        self._failures.pop(key, None)
        self._due.pop(key, None)

    # ------------------------------------------------------------------------------------------------ the gate, and looking in

    def pause(self) -> None:
        """Hand out nothing until `resume`; keys go on collecting."""
        self._paused = True

    def resume(self) -> None:
        """Hand out keys again."""
        self._paused = False
        self._changed.set()

    def close(self) -> None:
        """Hand out nothing any more; everybody waiting in `take` gets None."""
        self._closed = True
        self._changed.set()

    def kick(self) -> None:
        """Wake the takers, e.g. after a test clock has moved."""
        self._changed.set()

    def __len__(self) -> int:
        """Keys that wait (now or later)."""
        return len(self._waiting)

    def __contains__(self, key: object) -> bool:
        return key in self._waiting or key in self._active

    @property
    def depth(self) -> int:
        """Keys that could run now."""
        self._promote(self._monotonic())
        return sum(1 for entry in self._waiting.values() if entry.ready)

    @property
    def urgent(self) -> int:
        """Keys of the highest priority that could run now."""
        return len(self._urgent)

    @property
    def urgent_active(self) -> int:
        """Keys that were taken at the highest priority and are being worked on."""
        return len(self._urgent_active)

    @property
    def active(self) -> int:
        """Keys being worked on."""
        return len(self._active)

    def failures(self, key: K) -> int:
        """Failures in a row of this key."""
        return self._failures.get(key, 0)

    def longest_running(self) -> float:
        """Age in seconds of the oldest pass under way, 0 when there is none."""
        return max((self._monotonic() - since for since, _ in self._active.values()), default=0.0)

    def unfinished(self) -> float:
        """Ages in seconds of all passes under way, together."""
        now = self._monotonic()
        return sum(now - since for since, _ in self._active.values())

    def next_delay(self) -> float | None:
        """Seconds until the earliest delayed key, None when nothing is delayed."""
        times = [entry.ready_at for entry in self._waiting.values() if not entry.ready]
        return max(0.0, min(times) - self._monotonic()) if times else None

"""What the guard on deletions remembers of one cluster: when apps were deleted within the last minute, whoever led.

Each deletion is written to ZooKeeper before it is sent to Marathon, so that an operator that is restarted again and again deletes no more
than one that lives. Deletions that are noted while a write is on its way share the next one.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque

from shuren.domain.errors import Invalid, ShurenError
from shuren.domain.guard import WINDOW, DeletionLimit, decode_deletions, encode_deletions, wait_before_deleting
from shuren.ports.clock import Clock
from shuren.ports.zookeeper import Create, FencedZooKeeper, Operation, SetData

log = logging.getLogger(__name__)

PATH = "/deletions"


class Deletions:
    """See the module. Times are those of the monotonic clock; those of others come from their wall clocks."""

    def __init__(self, *, zookeeper: FencedZooKeeper, clock: Clock) -> None:
        self._zookeeper = zookeeper
        self._clock = clock
        self._recent: deque[float] = deque()
        self._unwritten: set[float] = set()
        self._lock = asyncio.Lock()
        self._term = 0
        self._version: int | None = None

    def wait(self, limit: DeletionLimit, *, apps: int) -> float:
        """Seconds to wait before the next deletion, as far as is known here; 0 when it may go."""
        now = self._clock.monotonic()
        while self._recent and now - self._recent[0] >= WINDOW:
            self._recent.popleft()
        return wait_before_deleting(limit, apps=apps, recent=self._recent, now=now)

    def inherit(self, former: Deletions) -> None:
        """Take over what another connection to the same cluster remembers."""
        self._recent = deque(sorted([*self._recent, *former._recent]))

    async def recall(self) -> None:
        """Once per term of leadership: what earlier leaders have deleted. Unreachable, Fenced."""
        epoch = self._zookeeper.epoch
        if epoch is None or epoch.number == self._term:
            return
        async with self._lock:
            if epoch.number == self._term:
                return
            node = await self._zookeeper.get(PATH)
            self._version = None if node is None else node.version
            known = [] if node is None else self._read(node.data)
            # what is remembered here lies there as well, unless that is another ZooKeeper
            if len(known) >= len(self._recent) - len(self._unwritten):
                self._recent = deque(sorted([*known, *self._unwritten]))
            self._term = epoch.number

    def _read(self, data: bytes) -> list[float]:
        now, wall = self._clock.monotonic(), self._clock.now().timestamp()
        try:
            times = decode_deletions(data)
        except Invalid as error:
            log.warning("%s: %s", PATH, error)
            return []
        ages = (max(0.0, wall - at) for at in times)  # a clock ahead of ours: it was just now
        return [now - age for age in ages if age < WINDOW]

    async def note(self) -> None:
        """Count one that is about to be sent; it is in ZooKeeper when this returns. When it raises, none was counted."""
        mine = self._clock.monotonic()
        while mine in self._unwritten:
            mine += 1e-6
        self._recent.append(mine)
        self._unwritten.add(mine)
        try:
            async with self._lock:
                if mine in self._unwritten:
                    await self._write()
        except BaseException:
            self._unwritten.discard(mine)
            if mine in self._recent:
                self._recent.remove(mine)
            raise

    async def _write(self) -> None:
        now, wall = self._clock.monotonic(), self._clock.now().timestamp()
        taken = set(self._unwritten)
        data = encode_deletions(wall - (now - at) for at in self._recent if now - at < WINDOW)
        operation: Operation = (
            Create(path=PATH, data=data) if self._version is None else SetData(path=PATH, data=data, version=self._version)
        )
        try:
            (version,) = await self._zookeeper.commit([operation])
        except ShurenError:
            self._term = 0  # changed by hand, or nobody knows: read it again
            raise
        self._version = 0 if version is None else version
        self._unwritten -= taken

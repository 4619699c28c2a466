"""Bounded load, a modifier of any router (Mirrokni, Thorup, Zadimoghaddam 2016; HAProxy's `hash-balance-factor`): nobody above `factor` x
the mean.

For spreading requests by the load of this moment, not for placing data: the same key may go elsewhere a moment later.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from math import ceil

from shuren.sharding.core.errors import NoMember, Unusable
from shuren.sharding.core.keys import Key
from shuren.sharding.core.member import Member
from shuren.sharding.core.router import Router

FACTOR = 1.25


def limit(member: Member, *, total: int, total_weight: int, factor: float) -> int:
    """How many requests a member may have when `total` run altogether: ceil(factor x total x its share of weight), at least 1."""
    return max(1, ceil(factor * total * member.weight / total_weight))


def within_bound(candidates: Iterator[Member], fits: Callable[[Member], bool], load: Callable[[Member], float]) -> Member | None:
    """The first candidate that fits; when none does, the one with the least load, the earlier of equals. None without candidates."""
    seen: list[Member] = []
    for member in candidates:
        if fits(member):
            return member
        seen.append(member)
    return min(seen, key=load, default=None)


class BoundedLoad:
    """Counts requests and chooses by them. Safe to use from several threads.

        with bounded.taken("user:7") as member: ...      # or take() and, when the request is over, done()

    `members` are those that `router` gives; `factor` is above 1 (1.25: at most a quarter above the mean).
    """

    def __init__(self, router: Router, members: Iterable[Member], *, factor: float = FACTOR) -> None:
        if not factor > 1:
            raise Unusable(f"factor is {factor}: it has to be above 1")
        self._router = router
        self._factor = factor
        self._members = {m.id: m for m in members}
        self._weight = sum(m.weight for m in self._members.values())
        if self._weight <= 0:
            raise Unusable("nobody has a weight above 0")
        self._running = dict.fromkeys(self._members, 0)
        self._total = 0
        self._lock = threading.Lock()

    @property
    def running(self) -> Mapping[str, int]:
        """Requests that run now, by member id."""
        with self._lock:
            return dict(self._running)

    def take(self, key: Key) -> Member:
        """The member for one more request; counted until `done`. NoMember when the router has nobody for the key."""
        with self._lock:
            total = self._total + 1
            chosen = within_bound(
                self._router.candidates(key),
                lambda m: self._running.get(m.id, 0) < limit(m, total=total, total_weight=self._weight, factor=self._factor),
                lambda m: self._running.get(m.id, 0) / max(m.weight, 1),
            )
            if chosen is None:
                slot = self._router.slot(key)
                raise NoMember(f"nobody holds shard {slot}", slot=slot)
            self._running[chosen.id] = self._running.get(chosen.id, 0) + 1
            self._total = total
            return chosen

    def done(self, member: Member) -> None:
        """A request taken for this member is over. Unusable when none was."""
        with self._lock:
            if self._running.get(member.id, 0) < 1:
                raise Unusable(f"member {member.id!r} has no request that could be over")
            self._running[member.id] -= 1
            self._total -= 1

    @contextmanager
    def taken(self, key: Key) -> Iterator[Member]:
        """`take` and, at the end of the block, `done`."""
        member = self.take(key)
        try:
            yield member
        finally:
            self.done(member)

"""`ring`: points of each member on a circle of 64-bit hashes (Karger and others 1997); a key goes to the first point at or behind its hash.

Point i of a member is xxh64(f"{id}_{i}"), i from 0 to points x weight - 1: the names and the hash of Envoy's ring_hash
(source/common/upstream/ring_hash_lb.cc). Two points of one hash: the member whose id is greater has it. A leave moves only what the
leaver had, but shares differ by ±30 % with 160 points; `slots` keeps them even.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator

from shuren.sharding.core.backend import Backend, chosen, hash64, native
from shuren.sharding.core.errors import Unusable
from shuren.sharding.core.keys import Key, key_bytes
from shuren.sharding.core.member import Member, by_id
from shuren.sharding.core.router import as_sequence, checked_replicas, first

POINTS = 160
MAX_POINTS = 8_388_608
"""Envoy's own bound for a ring."""
_KIND = 3
_INDEX_BITS = 16


def point(place: int, index: int) -> int:
    """A point as one number, so that many are sorted quickly: its place on the circle above the member's index."""
    return place << _INDEX_BITS | index


def laid_out(points: Iterable[int]) -> tuple[list[int], list[int]]:
    """Places in ascending order and the member's index at each; of two at one place the greater index stays."""
    owners = {number >> _INDEX_BITS: number & ((1 << _INDEX_BITS) - 1) for number in sorted(points)}
    return list(owners), list(owners.values())


def walk(owners: list[int], start: int, members: tuple[Member, ...]) -> Iterator[Member]:
    """Members in the order in which a walk around the circle meets them, each once."""
    seen: set[int] = set()
    for step in range(len(owners)):
        index = owners[(start + step) % len(owners)]
        if index not in seen:
            seen.add(index)
            yield members[index]
            if len(seen) == len(members):
                return


class Ring:
    """A pure function of the members, their weights and the number of points. See `router.Router` for the methods."""

    __slots__ = ("_hashes", "_members", "_owners", "_replicas", "route", "route_many", "slot")

    route: Callable[[Key], Member]
    route_many: Callable[[Iterable[Key]], list[Member]]
    slot: Callable[[Key], int]

    def __init__(self, members: Iterable[Member], *, points: int = POINTS, replicas: int = 1, backend: Backend | None = None) -> None:
        self._members = by_id(members)
        self._replicas = checked_replicas(replicas)
        total = points * sum(m.weight for m in self._members)
        if points < 1 or total > MAX_POINTS:
            raise Unusable(f"{points} points a weight make {total}: it has to be 1 to {MAX_POINTS}; take fewer points or smaller weights")
        use = chosen(backend)
        fast = hash64(use)
        self._hashes, self._owners = laid_out(
            point(fast(f"{m.id}_{i}".encode(), 0), index) for index, m in enumerate(self._members) for i in range(points * m.weight)
        )
        module = native()
        if use is Backend.NATIVE and module is not None:
            table, hashes = array("H", self._owners), array("Q", self._hashes)
            lookup = module.Lookup(_KIND, self._members, _never, len(hashes), table, hashes)
            self.route, self.route_many, self.slot = lookup.route, lookup.route_many, lookup.slot
            return

        def slot(key: Key, /) -> int:
            return fast(key_bytes(key), 0)

        self.slot = slot
        self.route = self._route
        self.route_many = self._route_many

    def _route(self, key: Key, /) -> Member:
        at = bisect_left(self._hashes, self.slot(key))
        return self._members[self._owners[at if at < len(self._owners) else 0]]

    def _route_many(self, keys: Iterable[Key], /) -> list[Member]:
        return [self._route(key) for key in as_sequence(keys)]

    def replicas(self, key: Key, /) -> tuple[Member, ...]:
        """The first distinct members on the walk from the key's hash."""
        return first(self.candidates(key), self._replicas)

    def candidates(self, key: Key, /) -> Iterator[Member]:
        """All members in the order of the walk."""
        return walk(self._owners, bisect_left(self._hashes, self.slot(key)), self._members)


def _never(slot: int) -> Member:
    raise AssertionError(slot)

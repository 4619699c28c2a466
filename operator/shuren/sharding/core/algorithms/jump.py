"""`jump` (Lamping and Veach, arXiv 1406.2294): no table at all; members are ordinals 0..n-1, and only the last can come or go.

Bucket of a key: jump(xxh64(key), n). Further replicas draw again with seeds 1, 2, …: jump(xxh64(key, seed), n), those already drawn are
passed over, and after 4n draws the rest follows by ordinal. Weights are not known to this algorithm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from shuren.sharding.core.backend import Backend, chosen, hash64, native
from shuren.sharding.core.errors import Unusable
from shuren.sharding.core.keys import Key, key_bytes
from shuren.sharding.core.member import Member, by_number
from shuren.sharding.core.router import as_sequence, checked_replicas, first

_KIND = 4
_MASK = 0xFFFFFFFFFFFFFFFF
_MULTIPLIER = 2862933555777941757
_TOP = float(1 << 31)


def jump(h: int, buckets: int) -> int:
    """The bucket of a 64-bit hash among `buckets`, 0..buckets-1."""
    bucket, following = -1, 0
    while following < buckets:
        bucket = following
        h = (h * _MULTIPLIER + 1) & _MASK
        following = int((bucket + 1) * (_TOP / ((h >> 33) + 1)))
    return bucket


class Jump:
    """A pure function of the number of members; `number` is the ordinal. See `router.Router` for the methods."""

    __slots__ = ("_fast", "_members", "_replicas", "route", "route_many", "slot")

    route: Callable[[Key], Member]
    route_many: Callable[[Iterable[Key]], list[Member]]
    slot: Callable[[Key], int]

    def __init__(self, members: Iterable[Member], *, replicas: int = 1, backend: Backend | None = None) -> None:
        self._members = by_number(members)
        self._replicas = checked_replicas(replicas)
        count = len(self._members)
        if not count or self._members[-1].number != count - 1:
            raise Unusable(f"jump needs members numbered 0 to n-1 without a gap; there are {[m.number for m in self._members][:20]}")
        if len({m.weight for m in self._members}) > 1:
            raise Unusable("jump knows no weights; take slots or rendezvous, or give all members the same")
        use = chosen(backend)
        self._fast = fast = hash64(use)
        module = native()
        if use is Backend.NATIVE and module is not None:
            lookup = module.Lookup(_KIND, self._members, _never)
            self.route, self.route_many, self.slot = lookup.route, lookup.route_many, lookup.slot
            return

        def slot(key: Key, /) -> int:
            return jump(fast(key_bytes(key), 0), count)

        self.slot = slot
        self.route = self._route
        self.route_many = self._route_many

    def _route(self, key: Key, /) -> Member:
        return self._members[self.slot(key)]

    def _route_many(self, keys: Iterable[Key], /) -> list[Member]:
        return [self._route(key) for key in as_sequence(keys)]

    def replicas(self, key: Key, /) -> tuple[Member, ...]:
        """The first distinct members drawn."""
        return first(self.candidates(key), self._replicas)

    def candidates(self, key: Key, /) -> Iterator[Member]:
        """All members: as drawn, then the rest by ordinal."""
        data, count = key_bytes(key), len(self._members)
        seen: set[int] = set()
        for seed in range(4 * count):
            bucket = jump(self._fast(data, seed), count)
            if bucket not in seen:
                seen.add(bucket)
                yield self._members[bucket]
        yield from (m for m in self._members if m.number not in seen)


def _never(slot: int) -> Member:
    raise AssertionError(slot)

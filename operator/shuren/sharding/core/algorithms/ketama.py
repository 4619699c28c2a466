"""`ketama`: the ring that memcached clients share (libketama, Richard Jones 2007): MD5, four 32-bit points a digest, 160 a member by
default.

A member has floor(40 x members x weight / total weight) digests of f"{id}-{i}", computed in integers; libketama itself computes in single
precision and may have one digest fewer. A key is the first four bytes of its MD5, low byte first. Two points of one hash: the member
whose id is greater has it. Names of members are what the other clients call the servers, such as `10.0.0.1:11211`.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from struct import unpack

from shuren.sharding.core.algorithms.ring import laid_out, point, walk
from shuren.sharding.core.errors import Unusable
from shuren.sharding.core.keys import Key, key_bytes
from shuren.sharding.core.member import Member, by_id
from shuren.sharding.core.router import as_sequence, checked_replicas, first

DIGESTS = 40


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


class Ketama:
    """A pure function of the members and their weights. See `router.Router` for the methods."""

    __slots__ = ("_hashes", "_members", "_owners", "_replicas")

    def __init__(self, members: Iterable[Member], *, replicas: int = 1) -> None:
        self._members = by_id(members)
        self._replicas = checked_replicas(replicas)
        total = sum(m.weight for m in self._members)
        self._hashes, self._owners = laid_out(
            point(place, index)
            for index, m in enumerate(self._members)
            for i in range(DIGESTS * len(self._members) * m.weight // total)
            for place in unpack("<4I", _md5(f"{m.id}-{i}".encode()))
        )
        if not self._hashes:
            raise Unusable("the weights are so uneven that nobody gets a point")

    def slot(self, key: Key, /) -> int:
        """The key's place on the circle, 0..2**32-1."""
        return int.from_bytes(_md5(key_bytes(key))[:4], "little")

    def route(self, key: Key, /) -> Member:
        """The member of the first point at or behind the key's place."""
        at = bisect_left(self._hashes, self.slot(key))
        return self._members[self._owners[at if at < len(self._owners) else 0]]

    def route_many(self, keys: Iterable[Key], /) -> list[Member]:
        """The same for many keys."""
        return [self.route(key) for key in as_sequence(keys)]

    def replicas(self, key: Key, /) -> tuple[Member, ...]:
        """The first distinct members on the walk from the key's place."""
        return first(self.candidates(key), self._replicas)

    def candidates(self, key: Key, /) -> Iterator[Member]:
        """All members that have a point, in the order of the walk."""
        return walk(self._owners, bisect_left(self._hashes, self.slot(key)), self._members)

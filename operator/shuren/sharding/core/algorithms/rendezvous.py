"""`rendezvous` (highest random weight, Thaler and Ravishankar 1998), weighted: minimal moves, any replicas, ten lines in any language.

Each member draws a number from key and id; the smallest cost wins:

    h = xxh64(key),  s = xxh64(id),  u = ((mix64(h ^ s) >> 12) + 0.5) / 2**52,  cost = -ln(u) / weight

With equal weights that is the largest `mix64(h ^ s) >> 12`. Ties go to the smaller id (bytes of its UTF-8). Costs are IEEE doubles. A
look-up goes over all members: good up to about a hundred.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from math import log

from shuren.sharding.core.backend import Backend, chosen, hash64, native
from shuren.sharding.core.keys import Key, key_bytes
from shuren.sharding.core.member import Member, by_id
from shuren.sharding.core.router import as_sequence, checked_replicas, first
from shuren.sharding.core.xxh64 import mix64

_KIND = 5
_UNIT = 2.0**-52


class Rendezvous:
    """A pure function of the members and their weights. See `router.Router` for the methods."""

    __slots__ = ("_costs", "_members", "_replicas", "route", "route_many", "slot")

    route: Callable[[Key], Member]
    route_many: Callable[[Iterable[Key]], list[Member]]
    slot: Callable[[Key], int]

    def __init__(self, members: Iterable[Member], *, replicas: int = 1, backend: Backend | None = None) -> None:
        self._members = by_id(members)
        self._replicas = checked_replicas(replicas)
        use = chosen(backend)
        fast = hash64(use)
        seeds = array("Q", [fast(m.id.encode(), 0) for m in self._members])
        weights = array("d", [m.weight for m in self._members])
        equal = len(set(weights)) == 1
        self._costs = _equal_costs(seeds) if equal else _weighted_costs(seeds, weights)
        module = native()
        if use is Backend.NATIVE and module is not None:
            lookup = module.Lookup(_KIND, self._members, _never, seeds=seeds, weights=None if equal else weights)
            self.route, self.route_many, self.slot = lookup.route, lookup.route_many, lookup.slot
            return

        def slot(key: Key, /) -> int:
            return fast(key_bytes(key), 0)

        self.slot = slot
        self.route = self._route
        self.route_many = self._route_many

    def _route(self, key: Key, /) -> Member:
        costs = self._costs(self.slot(key))
        return self._members[costs.index(min(costs))]

    def _route_many(self, keys: Iterable[Key], /) -> list[Member]:
        return [self._route(key) for key in as_sequence(keys)]

    def replicas(self, key: Key, /) -> tuple[Member, ...]:
        """The members of the smallest costs."""
        return first(self.candidates(key), self._replicas)

    def candidates(self, key: Key, /) -> Iterator[Member]:
        """All members by cost."""
        costs = self._costs(self.slot(key))
        for index in sorted(range(len(costs)), key=costs.__getitem__):
            yield self._members[index]


def _equal_costs(seeds: array[int]) -> Callable[[int], list[float]]:
    def costs(h: int) -> list[float]:
        return [-(mix64(h ^ seed) >> 12) for seed in seeds]

    return costs


def _weighted_costs(seeds: array[int], weights: array[float]) -> Callable[[int], list[float]]:
    def costs(h: int) -> list[float]:
        return [-log(((mix64(h ^ seed) >> 12) + 0.5) * _UNIT) / weight for seed, weight in zip(seeds, weights, strict=True)]

    return costs


def _never(slot: int) -> Member:
    raise AssertionError(slot)

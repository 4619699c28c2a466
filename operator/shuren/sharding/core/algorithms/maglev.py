"""`maglev` (Eisenbud and others, NSDI 2016, listing 1): members take turns in filling a table of a prime number of rows; key -> row ->
member.

Offset is xxh64(id) mod rows, skip is xxh64(id, seed 1) mod (rows - 1) + 1 and weights delay turns as in Envoy
(source/common/upstream/maglev_lb.cc), so that proxies can be given the same table; turns go by id. Shares are even, but a change of
members moves more keys than it has to (1.5 times at 100 members, 6.6 times at 1,000 with 65,537 rows).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from math import isqrt

from shuren.sharding.core.algorithms.ring import walk
from shuren.sharding.core.backend import Backend, Hash64, chosen, hash64, native
from shuren.sharding.core.errors import Unusable
from shuren.sharding.core.keys import Key, key_bytes
from shuren.sharding.core.member import Member, by_id
from shuren.sharding.core.router import as_sequence, checked_replicas, first

ROWS = 65_537
MAX_ROWS = 5_000_011
"""Envoy's own bounds: 65,537 by default, a prime of at most 5,000,011."""
_KIND = 2
_FREE = 0xFFFF


class Maglev:
    """A pure function of the members, their weights and the number of rows. See `router.Router` for the methods."""

    __slots__ = ("_members", "_replicas", "_table", "route", "route_many", "slot")

    route: Callable[[Key], Member]
    route_many: Callable[[Iterable[Key]], list[Member]]
    slot: Callable[[Key], int]

    def __init__(self, members: Iterable[Member], *, rows: int = ROWS, replicas: int = 1, backend: Backend | None = None) -> None:
        self._members = by_id(members)
        self._replicas = checked_replicas(replicas)
        if not len(self._members) <= rows <= MAX_ROWS or not _is_prime(rows):
            raise Unusable(
                f"rows is {rows}: it has to be a prime of at most {MAX_ROWS} and not fewer than the {len(self._members)} members"
            )
        use = chosen(backend)
        fast = hash64(use)
        self._table = _filled(self._members, rows, fast)
        module = native()
        if use is Backend.NATIVE and module is not None:
            lookup = module.Lookup(_KIND, self._members, _never, rows, self._table)
            self.route, self.route_many, self.slot = lookup.route, lookup.route_many, lookup.slot
            return

        def slot(key: Key, /) -> int:
            return fast(key_bytes(key), 0) % rows

        self.slot = slot
        self.route = self._route
        self.route_many = self._route_many

    def _route(self, key: Key, /) -> Member:
        return self._members[self._table[self.slot(key)]]

    def _route_many(self, keys: Iterable[Key], /) -> list[Member]:
        return [self._route(key) for key in as_sequence(keys)]

    def replicas(self, key: Key, /) -> tuple[Member, ...]:
        """The first distinct members in the rows from the key's row on."""
        return first(self.candidates(key), self._replicas)

    def candidates(self, key: Key, /) -> Iterator[Member]:
        """All members that have a row, in the order of the rows from the key's row on."""
        return walk(self._table.tolist(), self.slot(key), self._members)


def _filled(members: tuple[Member, ...], rows: int, fast: Hash64) -> array[int]:
    table = array("H", [_FREE]) * rows
    names = [m.id.encode() for m in members]
    places = [fast(name, 0) % rows for name in names]
    skips = [fast(name, 1) % (rows - 1) + 1 if rows > 2 else 1 for name in names]  # noqa: PLR2004  the smallest prime has one skip
    heaviest = max(m.weight for m in members)
    due = [0] * len(members)
    left, turn = rows, 0
    while left:
        turn += 1
        for index, member in enumerate(members):
            if turn * member.weight < due[index]:
                continue
            due[index] += heaviest
            place, skip = places[index], skips[index]
            while table[place] != _FREE:
                place = (place + skip) % rows
            table[place] = index
            places[index] = (place + skip) % rows
            left -= 1
            if not left:
                break
    return table


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, isqrt(number) + 1))


def _never(slot: int) -> Member:
    raise AssertionError(slot)

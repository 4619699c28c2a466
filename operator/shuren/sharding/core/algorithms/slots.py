"""`slots` and `redis16384`: key -> shard by hash, shard -> members by a published table.

The default for stateful services: members carry what their weight says to within one shard, and a change moves no more than it has to,
since the table is computed from the one before. As quick at a thousand members as at ten.
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Never

from shuren.sharding.core.backend import Backend, Hash64, chosen, hash64, native
from shuren.sharding.core.errors import NoMember
from shuren.sharding.core.keys import Key, hash_tag, key_bytes
from shuren.sharding.core.member import Member
from shuren.sharding.core.router import as_sequence
from shuren.sharding.core.slots import REDIS_SLOTS, shift_of
from shuren.sharding.core.table import NOBODY, KeyHash, ShardTable

_KIND = {KeyHash.XXH64: 0, KeyHash.CRC16: 1}


class Slots:
    """Routes by a table; `hash` in the table says by which slots. See `router.Router` for the methods."""

    __slots__ = ("_numbered", "route", "route_many", "slot", "table")

    route: Callable[[Key], Member]
    route_many: Callable[[Iterable[Key]], list[Member]]
    slot: Callable[[Key], int]

    def __init__(self, table: ShardTable, *, backend: Backend | None = None) -> None:
        self.table = table
        self._numbered = table.numbered()
        use = chosen(backend)
        module = native()
        nobody = _refusal(table)
        if use is Backend.NATIVE and module is not None:
            owners = table.owners[: table.shards]
            lookup = module.Lookup(_KIND[table.hash], self._numbered, nobody, table.shards, owners)
            self.route, self.route_many, self.slot = lookup.route, lookup.route_many, lookup.slot
            return
        by_slot = [self._numbered[number] if number != NOBODY else None for number in table.owners[: table.shards]]
        if table.hash is KeyHash.XXH64:
            fast = hash64(use)
            shift = shift_of(table.shards)
            self.slot = _slot(fast, shift)
            placed = [member for member in by_slot if member is not None]
            if len(placed) == table.shards:
                self.route = _quick_route(placed, fast, shift)
                self.route_many = _quick_many(self.route, placed, fast, shift)
                return
            self.route = _route(by_slot, fast, shift, nobody)
        else:
            self.slot = _redis_slot
            self.route = _redis_route(by_slot, nobody)
        self.route_many = _many(self.route)

    def replicas(self, key: Key, /) -> tuple[Member, ...]:
        """All that hold the key's shard, primary first. Unplaced replicas are left out."""
        return tuple(self.candidates(key))

    def candidates(self, key: Key, /) -> Iterator[Member]:
        """The same, one by one: beyond its replicas nobody has the shard's data."""
        for number in self.table.owners_of(self.slot(key)):
            member = self._numbered[number] if number != NOBODY else None
            if member is not None:
                yield member


def _refusal(table: ShardTable) -> Callable[[int], Never]:
    def nobody(slot: int) -> Never:
        raise NoMember(f"shard {slot} of {table.shards} has no primary at generation {table.generation}; try again later", slot=slot)

    return nobody


def _slot(fast: Hash64, shift: int) -> Callable[[Key], int]:
    def slot(key: Key, /) -> int:
        return fast(hash_tag(key_bytes(key)), 0) >> shift

    return slot


def _route(by_slot: list[Member | None], fast: Callable[..., int], shift: int, nobody: Callable[[int], Never]) -> Callable[[Key], Member]:
    def route(key: Key, /) -> Member:
        slot = fast(hash_tag(key_bytes(key))) >> shift
        member = by_slot[slot]
        return member if member is not None else nobody(slot)

    return route


def _quick_route(primaries: list[Member], fast: Callable[..., int], shift: int) -> Callable[[Key], Member]:
    """Where every shard has a primary. A str without a tag costs one call of the hash and little else (seed 0 is every hash's default)."""

    def route(key: Key, /) -> Member:
        if type(key) is str and "{" not in key:
            return primaries[fast(key.encode()) >> shift]
        return primaries[fast(hash_tag(key_bytes(key))) >> shift]

    return route


def _redis_slot(key: Key, /) -> int:
    return crc_hqx(hash_tag(key_bytes(key)), 0) & (REDIS_SLOTS - 1)


def _redis_route(by_slot: list[Member | None], nobody: Callable[[int], Never]) -> Callable[[Key], Member]:
    def route(key: Key, /) -> Member:
        slot = crc_hqx(hash_tag(key_bytes(key)), 0) & (REDIS_SLOTS - 1)
        member = by_slot[slot]
        return member if member is not None else nobody(slot)

    return route


def _quick_many(
    route: Callable[[Key], Member], primaries: list[Member], fast: Callable[..., int], shift: int
) -> Callable[[Iterable[Key]], list[Member]]:
    """Where every shard has a primary: one pass when all keys are str without a tag, otherwise key by key."""
    one_by_one = _many(route)

    def route_many(keys: Iterable[Key], /) -> list[Member]:
        given: Sequence[Any] = as_sequence(keys)
        try:
            plain = "{" not in "".join(given)
        except TypeError:
            plain = False
        if not plain:
            return one_by_one(given)
        return [primaries[digest >> shift] for digest in map(fast, map(str.encode, given))]

    return route_many


def _many(route: Callable[[Key], Member]) -> Callable[[Iterable[Key]], list[Member]]:
    def route_many(keys: Iterable[Key], /) -> list[Member]:
        return [route(key) for key in as_sequence(keys)]

    return route_many

"""The table: which member holds which replica of which shard, at one generation.

`owners` is laid out replica by replica (all primaries first), so that primaries are one piece of memory and a map packs well.
"""

from __future__ import annotations

import hashlib
import re
import sys
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from shuren.sharding.core.errors import Unusable
from shuren.sharding.core.member import MAX_NUMBER, Member, by_number
from shuren.sharding.core.router import checked_replicas
from shuren.sharding.core.slots import REDIS_SLOTS, shift_of

NOBODY = 0xFFFF
"""Stands in `owners` where no member holds the replica."""
MAX_EPOCH = 0xFFFF_FFFF
MAX_GENERATION = (1 << 63) - 1


class KeyHash(Enum):
    """How keys become shards: top bits of XXH64, or Redis' CRC16 slots (then there are 16,384)."""

    XXH64 = "xxh64"
    CRC16 = "crc16"


def frozen16(values: Iterable[int]) -> memoryview[int]:
    """Read-only unsigned 16-bit numbers."""
    return _frozen("H", values)


def frozen32(values: Iterable[int]) -> memoryview[int]:
    """Read-only unsigned 32-bit numbers."""
    return _frozen("I", values)


def _frozen(code: Literal["H", "I"], values: Iterable[int]) -> memoryview[int]:
    same = isinstance(values, array) and values.typecode == code
    # a copy, since the caller's may change; by way of a list, since from bytes `array` would take the memory as it is
    return memoryview(array(code, values if same else list(values))).toreadonly()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ShardTable:
    """Made by `make_table`, by the codec and by `delta.applied`, which check it; never changed.

    `owners[replica * shards + slot]` is a member's number or NOBODY; replica 0 is the primary. `epochs[slot]` rises by one with each
    change of the shard's primary: with `term` (fencing epoch of the operator that published) it is the token that fences an old primary
    off. `generation` counts publications of the map and only rises.
    """

    shards: int
    replicas: int
    hash: KeyHash
    members: tuple[Member, ...]
    owners: memoryview[int]
    epochs: memoryview[int]
    generation: int = 0
    term: int = 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ShardTable):
            return NotImplemented
        mine, theirs = (self.generation, self.term, self.members), (other.generation, other.term, other.members)
        return mine == theirs and self.digest() == other.digest()

    def __hash__(self) -> int:
        return hash(self.digest())

    def numbered(self) -> tuple[Member | None, ...]:
        """Members at the index of their number; None where a number is not in use."""
        places: list[Member | None] = [None] * (self.members[-1].number + 1 if self.members else 0)
        for member in self.members:
            places[member.number] = member
        return tuple(places)

    def member(self, number: int) -> Member | None:
        """The member of a number, None for NOBODY and numbers not in use."""
        return next((m for m in self.members if m.number == number), None)

    def owners_of(self, slot: int) -> tuple[int, ...]:
        """The numbers that hold a shard, primary first; NOBODY where a replica is unplaced."""
        return tuple(self.owners[slot :: self.shards])

    def digest(self) -> str:
        """SHA-256 (hexadecimal) of who holds what: layout, owners (16 bits each), epochs (32 bits each), low bytes first.

        It is the same however the table was come by. Members, generation and term are not in it.
        """
        content = hashlib.sha256(f"shuren.shards/1 {self.hash.value} {self.shards} {self.replicas}\n".encode())
        for numbers in (self.owners, self.epochs):
            content.update(numbers if sys.byteorder == "little" else little_endian(numbers))
        return content.hexdigest()


def little_endian(values: memoryview[int]) -> bytes:
    """The bytes of 16- or 32-bit numbers, low byte first on every machine."""
    if sys.byteorder == "little":
        return values.tobytes()
    swapped = array(values.format, values)
    swapped.byteswap()
    return swapped.tobytes()


def make_table(
    *,
    shards: int,
    replicas: int,
    members: Iterable[Member],
    owners: Iterable[int],
    epochs: Iterable[int] | None = None,
    key_hash: KeyHash = KeyHash.XXH64,
    generation: int = 0,
    term: int = 0,
) -> ShardTable:
    """A checked table. Unusable, with what is wrong, unless every number in `owners` is a member's or NOBODY and no shard names one
    twice.
    """
    shift_of(shards)
    checked_replicas(replicas)
    if key_hash is KeyHash.CRC16 and shards != REDIS_SLOTS:
        raise Unusable(f"shards is {shards}: with crc16 it has to be {REDIS_SLOTS}, the slots of a Redis cluster")
    for name, value in (("generation", generation), ("term", term)):
        if not 0 <= value <= MAX_GENERATION:
            raise Unusable(f"{name} is {value}: it has to be 0 to 2**63-1")
    numbered = by_number(members)
    try:
        held, fences = frozen16(owners), frozen32(epochs if epochs is not None else bytes(shards))
    except (OverflowError, TypeError) as error:
        raise Unusable(f"owners are 16-bit and epochs 32-bit numbers: {error}") from error
    if len(held) != shards * replicas or len(fences) != shards:
        raise Unusable(f"{len(held)} owners and {len(fences)} epochs do not fit {shards} shards of {replicas} replicas")
    table = ShardTable(
        shards=shards,
        replicas=replicas,
        hash=key_hash,
        members=numbered,
        owners=held,
        epochs=fences,
        generation=generation,
        term=term,
    )
    check_owners(table)
    return table


def check_owners(table: ShardTable) -> None:
    """Unusable when `owners` names a number that no member has, or one member twice for a shard."""
    unknown = set(table.owners) - {m.number for m in table.members} - {NOBODY}
    if unknown:
        raise Unusable(f"shards are given to number {min(unknown)}, which no member has (numbers are at most {MAX_NUMBER})")
    planes = [table.owners[r * table.shards : (r + 1) * table.shards] for r in range(table.replicas)]
    for second in range(1, table.replicas):
        for before in range(second):
            for slot in _same(planes[before], planes[second]):
                if planes[second][slot] != NOBODY:
                    raise Unusable(f"shard {slot} is given twice to number {planes[second][slot]}: replicas {before} and {second}")


def _same(one: memoryview[int], other: memoryview[int]) -> Iterator[int]:
    """Where two rows of 16-bit numbers are equal, found in their exclusive or (a loop over 65,536 numbers costs milliseconds)."""
    differing = int.from_bytes(one.tobytes(), "little") ^ int.from_bytes(other.tobytes(), "little")
    return find16(differing.to_bytes(one.nbytes, "little"), 0)


def find16(numbers: bytes | memoryview, wanted: int) -> Iterator[int]:
    """At which places a 16-bit number stands in `numbers` (two bytes each, low byte first)."""
    # a regular expression is three times as quick as bytes.find for two bytes
    search = re.compile(re.escape(wanted.to_bytes(2, "little")), re.DOTALL).search
    found = search(numbers)
    while found is not None:
        at = found.start()
        if at % 2 == 0:
            yield at // 2
        found = search(numbers, at + 1)

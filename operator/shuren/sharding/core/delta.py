"""The difference between two generations of one map, as a value."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass

from shuren.sharding.core.backend import native
from shuren.sharding.core.errors import Mismatch, Unusable
from shuren.sharding.core.member import Member
from shuren.sharding.core.table import NOBODY, ShardTable, find16, little_endian

_BLOCK = 512
_FEW = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Delta:
    """What `applied` changes. `owners` are (replica * shards + slot, number or NOBODY), `epochs` are (slot, epoch), both in ascending
    order.
    """

    shards: int
    replicas: int
    from_generation: int
    generation: int
    term: int
    owners: tuple[tuple[int, int], ...] = ()
    epochs: tuple[tuple[int, int], ...] = ()


def difference(old: ShardTable, new: ShardTable) -> Delta:
    """How to get from `old` to `new`. Unusable when they are of different layout or `new` is not the later one."""
    if (old.shards, old.replicas, old.hash) != (new.shards, new.replicas, new.hash):
        raise Unusable(
            f"{new.shards} shards of {new.replicas} ({new.hash.value}) do not follow on {old.shards} of {old.replicas} ({old.hash.value})"
        )
    if new.generation <= old.generation:
        raise Unusable(f"generation {new.generation} does not follow on {old.generation}")
    return Delta(
        shards=new.shards,
        replicas=new.replicas,
        from_generation=old.generation,
        generation=new.generation,
        term=new.term,
        owners=tuple(_changed(old.owners, new.owners)),
        epochs=tuple(_changed(old.epochs, new.epochs)),
    )


def applied(old: ShardTable, delta: Delta, members: tuple[Member, ...]) -> ShardTable:
    """The table after a delta; `members` are checked ones, by number, as a table or the codec has them.

    Mismatch when the delta is not for `old`, or names a number that `members` lack or a shard's member twice.
    """
    if (old.shards, old.replicas, old.generation) != (delta.shards, delta.replicas, delta.from_generation):
        raise Mismatch(
            f"a delta from generation {delta.from_generation} ({delta.shards} shards of {delta.replicas}) does not fit "
            f"generation {old.generation} ({old.shards} of {old.replicas})"
        )
    numbers = {m.number for m in members}
    numbers.add(NOBODY)
    # a member that left must not be left in any shard; who stays needs no look at all of them
    gone = {m.number for m in old.members} - numbers if members is not old.members else set()
    owners, epochs = array("H"), array("I")
    owners.frombytes(old.owners.cast("B"))
    epochs.frombytes(old.epochs.cast("B"))
    for index, number in delta.owners:
        if index >= len(owners) or number not in numbers:
            raise Mismatch(f"the delta gives place {index} to number {number}: no such place or member")
        owners[index] = number
    for slot, epoch in delta.epochs:
        if slot >= len(epochs):
            raise Mismatch(f"the delta has an epoch for shard {slot} of {len(epochs)}")
        epochs[slot] = epoch
    for index, number in delta.owners:
        if number != NOBODY and owners[index % old.shards :: old.shards].count(number) > 1:
            raise Mismatch(f"the delta gives shard {index % old.shards} to one member twice")
    left = _left_with(owners, gone)
    if left is not None:
        raise Mismatch(f"shards stay with number {left}, which is no member any more")
    return ShardTable(
        shards=old.shards,
        replicas=old.replicas,
        hash=old.hash,
        members=members,
        owners=memoryview(owners).toreadonly(),
        epochs=memoryview(epochs).toreadonly(),
        generation=delta.generation,
        term=delta.term,
    )


def _left_with(owners: array[int], gone: set[int]) -> int | None:
    """A number of `gone` that still owns something. Few are looked for one by one, which is quicker than to look at every owner."""
    if len(gone) > _FEW:
        return min(gone.intersection(owners), default=None)
    module = native()
    if module is not None:
        return next((number for number in sorted(gone) if module.holds16(owners, number)), None)
    data = memoryview(little_endian(memoryview(owners))) if sys.byteorder == "big" else memoryview(owners).cast("B")
    return next((number for number in sorted(gone) if next(find16(data, number), None) is not None), None)


def _changed(old: memoryview[int], new: memoryview[int]) -> Iterator[tuple[int, int]]:
    """Places that differ, with the new number. Blocks that are equal are passed over at the speed of memory."""
    for begin in range(0, len(new), _BLOCK):
        before, after = old[begin : begin + _BLOCK], new[begin : begin + _BLOCK]
        if before.tobytes() != after.tobytes():
            for offset, (one, other) in enumerate(zip(before, after, strict=True)):
                if one != other:
                    yield begin + offset, other

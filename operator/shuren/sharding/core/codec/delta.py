"""The node `delta` of a generation: what changed since another one, some five bytes a change.

    body = log2 of shards, replicas (1 byte each), varint from generation, varint generation, varint term, packed(changes)
    changes = varint count, then (varint places passed over, varint number + 1, 0 for nobody); varint count, then (varint shards passed
    over, varint epoch)

A place is replica * shards + shard; the first one passed over is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from operator import add

from shuren.sharding.core.codec.wire import NodeKind, Reader, Writer
from shuren.sharding.core.delta import Delta
from shuren.sharding.core.member import MAX_NUMBER
from shuren.sharding.core.router import MAX_REPLICAS
from shuren.sharding.core.slots import MAX_SHARDS
from shuren.sharding.core.table import MAX_EPOCH, MAX_GENERATION, NOBODY

_MAX_BYTES = 16 << 20


def encode(delta: Delta) -> bytes:
    """The node."""
    body = Writer(NodeKind.DELTA)
    _write(body, [(index, 0 if number == NOBODY else number + 1) for index, number in delta.owners])
    _write(body, delta.epochs)
    node = Writer(NodeKind.DELTA)
    node.byte(delta.shards.bit_length() - 1)
    node.byte(delta.replicas)
    for number in (delta.from_generation, delta.generation, delta.term):
        node.varint(number)
    node.packed(body.done())
    return node.done()


def decode(data: bytes) -> Delta:
    """The delta. Malformed for anything that `encode` does not write; whether it fits a table is `delta.applied`'s to say."""
    node = Reader(data, NodeKind.DELTA)
    power, replicas = node.byte(), node.byte()
    if power >= MAX_SHARDS.bit_length() or not 1 <= replicas <= MAX_REPLICAS:
        raise node.wrong(f"2**{power} shards of {replicas} replicas: not a map")
    shards = 1 << power
    before, generation, term = (node.varint(MAX_GENERATION) for _ in range(3))
    if generation <= before:
        raise node.wrong(f"generation {generation} does not follow on {before}")
    body = Reader(node.packed(0, _MAX_BYTES), NodeKind.DELTA)
    node.end()
    owners = _read(body, shards * replicas, MAX_NUMBER + 1)
    epochs = _read(body, shards, MAX_EPOCH)
    body.end()
    numbers = [value - 1 if value else NOBODY for value in owners[1]]
    return Delta(
        shards=shards,
        replicas=replicas,
        from_generation=before,
        generation=generation,
        term=term,
        owners=tuple(zip(owners[0], numbers, strict=True)),
        epochs=tuple(zip(*epochs, strict=True)),
    )


def _write(body: Writer, changes: Sequence[tuple[int, int]]) -> None:
    body.varint(len(changes))
    following = 0
    for index, value in changes:
        body.varint(index - following)
        body.varint(value)
        following = index + 1


def _read(body: Reader, places: int, most: int) -> tuple[list[int], list[int]]:
    """Places in ascending order, and what each changes to."""
    numbers = body.varints(2 * body.varint(places))
    values = numbers[1::2]
    indexes = list(map(add, accumulate(numbers[::2]), range(len(values))))
    if indexes and indexes[-1] >= places:
        raise body.wrong(f"place {indexes[-1]} of {places}")
    if values and max(values) > most:
        raise body.wrong(f"{max(values)} is more than {most}")
    return indexes, values

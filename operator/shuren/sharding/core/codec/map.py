"""The nodes `map-<i>` of a generation, put together: who holds what, and the epochs of the shards. Members travel apart.

    body = hash (0 xxh64, 1 crc16), log2 of shards, replicas (1 byte each), varint generation, varint term,
           width of an owner, whether some are unplaced (1 byte each), packed(owners), varint lowest epoch, width of an epoch (1 byte),
           packed(epochs above the lowest)

Owners lie replica by replica, `width` bits each (`bits`); where some are unplaced, all bits set stand for nobody.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable

from shuren.sharding.core.codec import bits
from shuren.sharding.core.codec.wire import NodeKind, Reader, Writer
from shuren.sharding.core.errors import Malformed, Unusable
from shuren.sharding.core.member import Member
from shuren.sharding.core.router import MAX_REPLICAS
from shuren.sharding.core.slots import MAX_SHARDS
from shuren.sharding.core.table import MAX_EPOCH, MAX_GENERATION, NOBODY, KeyHash, ShardTable, find16, little_endian, make_table

_HASHES = (KeyHash.XXH64, KeyHash.CRC16)
_HALF = 2
_WORD = 4


def encode(table: ShardTable) -> bytes:
    """The map's bytes, small: 1,000 members x 65,536 shards x 3 replicas take 240 KB."""
    node = Writer(NodeKind.MAP)
    node.byte(_HASHES.index(table.hash))
    node.byte(table.shards.bit_length() - 1)
    node.byte(table.replicas)
    node.varint(table.generation)
    node.varint(table.term)
    raw = little_endian(table.owners)
    highest = table.members[-1].number if table.members else 0
    unplaced = next(find16(raw, NOBODY), None) is not None
    width = (highest + 1 if unplaced else highest).bit_length()
    node.byte(width)
    node.byte(unplaced)
    node.packed(bits.pack(raw, _HALF, width))
    lowest = min(table.epochs)
    epochs = little_endian(_lowered(table.epochs, lowest))
    width = (max(table.epochs) - lowest).bit_length()
    node.varint(lowest)
    node.byte(width)
    node.packed(bits.pack(epochs, _WORD, width))
    return node.done()


def decode(data: bytes, members: Iterable[Member]) -> ShardTable:
    """The table. Malformed for anything that `encode` does not write, and when the map gives shards to others than `members`."""
    node = Reader(data, NodeKind.MAP)
    key_hash, power, replicas = node.byte(), node.byte(), node.byte()
    if key_hash >= len(_HASHES) or power >= MAX_SHARDS.bit_length() or not 1 <= replicas <= MAX_REPLICAS:
        raise node.wrong(f"hash {key_hash}, 2**{power} shards of {replicas} replicas: not a map")
    shards = 1 << power
    generation, term = node.varint(MAX_GENERATION), node.varint(MAX_GENERATION)
    owners = _owners(node, shards * replicas)
    lowest = node.varint(MAX_EPOCH)
    epochs = _numbers(node, node.byte(), shards, _WORD)
    node.end()
    if lowest and max(epochs) + lowest > MAX_EPOCH:
        raise node.wrong(f"an epoch is above {MAX_EPOCH}")
    try:
        return make_table(
            shards=shards,
            replicas=replicas,
            members=members,
            owners=owners,
            epochs=array("I", [epoch + lowest for epoch in epochs]) if lowest else epochs,
            key_hash=_HASHES[key_hash],
            generation=generation,
            term=term,
        )
    except Unusable as error:
        raise Malformed(f"map: {error}") from error


def _owners(node: Reader, count: int) -> array[int]:
    width, unplaced = node.byte(), node.byte()
    if unplaced > 1:
        raise node.wrong(f"{unplaced} where 0 or 1 is expected")
    owners = _numbers(node, width, count, _HALF)
    nobody = (1 << width) - 1
    if unplaced and nobody != NOBODY:
        for index in find16(little_endian(memoryview(owners)), nobody):
            owners[index] = NOBODY
    return owners


def _numbers(node: Reader, width: int, count: int, item: int) -> array[int]:
    if width > item * 8:
        raise node.wrong(f"numbers of {width} bits")
    size = bits.packed_size(count, width)
    numbers = array("H" if item == _HALF else "I")
    numbers.frombytes(bits.unpack(node.packed(size, size), count, item, width))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def _lowered(epochs: memoryview[int], by: int) -> memoryview[int]:
    return memoryview(array("I", [epoch - by for epoch in epochs])) if by else epochs

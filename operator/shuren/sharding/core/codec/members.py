"""The node `members` of a generation: who the numbers in the map are.

body = packed(varint count, then for each member, by number: varint number, varint weight, text id, address, host, rack)
"""

from __future__ import annotations

from collections.abc import Iterable

from shuren.sharding.core.codec.wire import NodeKind, Reader, Writer
from shuren.sharding.core.errors import Malformed, Unusable
from shuren.sharding.core.member import MAX_NUMBER, MAX_WEIGHT, Member, by_number

_MAX_TEXT = 1_000
_MAX_BYTES = 64 << 20


def encode(members: Iterable[Member]) -> bytes:
    """The node. Unusable when the members cannot be told apart."""
    given = by_number(members)
    body = Writer(NodeKind.MEMBERS)
    body.varint(len(given))
    for m in given:
        body.varint(m.number)
        body.varint(m.weight)
        for text in (m.id, m.address, m.host, m.rack):
            body.text(text)
    node = Writer(NodeKind.MEMBERS)
    node.packed(body.done())
    return node.done()


def decode(data: bytes) -> tuple[Member, ...]:
    """The members by number. Malformed for anything that `encode` does not write."""
    node = Reader(data, NodeKind.MEMBERS)
    body = Reader(node.packed(0, _MAX_BYTES), NodeKind.MEMBERS)
    node.end()
    members = []
    for _ in range(body.varint(MAX_NUMBER + 1)):
        number, weight = body.varint(MAX_NUMBER), body.varint(MAX_WEIGHT)
        identity, address, host, rack = (body.text(_MAX_TEXT) for _ in range(4))
        members.append(Member(id=identity, number=number, address=address, host=host, rack=rack, weight=weight))
    body.end()
    try:
        return by_number(members)
    except Unusable as error:
        raise Malformed(f"members: {error}") from error

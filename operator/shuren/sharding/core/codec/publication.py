"""One generation as nodes, and back. Writing and reading are here together so that neither can be changed without the other.

<map>/head                    the head (`codec.head`), written last
<map>/gen/<g>/members         immutable from here on down
<map>/gen/<g>/map-<i>         chunks of the map, at most 512 KiB each
<map>/gen/<g>/delta           from the generation before, when there was one of the same layout
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shuren.sharding.core import delta as deltas
from shuren.sharding.core.codec import delta as delta_codec
from shuren.sharding.core.codec import head as head_codec
from shuren.sharding.core.codec import map as map_codec
from shuren.sharding.core.codec import members as members_codec
from shuren.sharding.core.codec.head import Head, Piece
from shuren.sharding.core.errors import Mismatch
from shuren.sharding.core.member import Member
from shuren.sharding.core.router import Algorithm
from shuren.sharding.core.table import KeyHash, ShardTable

CHUNK = 512 << 10
"""Bytes of one chunk. ZooKeeper refuses packets above 1 MiB (jute.maxbuffer)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Publication:
    """What to write: `nodes` (path below the map -> data) first, then `head`."""

    head: Head
    nodes: Mapping[str, bytes]

    @property
    def head_data(self) -> bytes:
        """The data of `head`."""
        return head_codec.encode(self.head)


def directory(generation: int) -> str:
    """Where the nodes of a generation lie, below the map's own node."""
    return f"gen/{generation}"


def publish(table: ShardTable, *, previous: ShardTable | None = None, partitioning: str = "", retiring: str = "") -> Publication:
    """The nodes of `table`; with a delta when `previous` (the generation published before) has the same layout."""
    place = directory(table.generation)
    members = members_codec.encode(table.members)
    whole = map_codec.encode(table)
    chunks = [whole[at : at + CHUNK] for at in range(0, len(whole), CHUNK)]
    nodes = {f"{place}/members": members, **{f"{place}/map-{i}": chunk for i, chunk in enumerate(chunks)}}
    delta = None
    if previous is not None and (previous.shards, previous.replicas, previous.hash) == (table.shards, table.replicas, table.hash):
        delta = delta_codec.encode(deltas.difference(previous, table))
        nodes[f"{place}/delta"] = delta
    head = Head(
        generation=table.generation,
        term=table.term,
        shards=table.shards,
        replicas=table.replicas,
        digest=table.digest(),
        members=Piece.of(members),
        map=tuple(Piece.of(chunk) for chunk in chunks),
        algorithm=Algorithm.REDIS16384 if table.hash is KeyHash.CRC16 else Algorithm.SLOTS,
        hash=table.hash,
        partitioning=partitioning,
        retiring=retiring,
        delta=Piece.of(delta) if delta is not None else None,
        delta_from=previous.generation if delta is not None and previous is not None else 0,
    )
    return Publication(head=head, nodes=nodes)


def read_members(head: Head, data: bytes) -> tuple[Member, ...]:
    """The members of a generation. Malformed when they are not what the head promises."""
    head.members.check("members", data)
    return members_codec.decode(data)


def read_map(head: Head, members: tuple[Member, ...], chunks: list[bytes]) -> ShardTable:
    """The table from its chunks, in their order. Malformed when it is not what the head promises."""
    if len(chunks) != len(head.map):
        raise Mismatch(f"map: {len(chunks)} chunks, the head promises {len(head.map)}")
    for index, (piece, chunk) in enumerate(zip(head.map, chunks, strict=True)):
        piece.check(f"map-{index}", chunk)
    return _promised(head, map_codec.decode(b"".join(chunks), members))


def read_delta(head: Head, known: ShardTable, members: tuple[Member, ...], data: bytes) -> ShardTable:
    """The table from the one known before and the delta. Malformed when the outcome is not what the head promises: then read the map."""
    if head.delta is None:
        raise Mismatch("delta: the head has none")
    head.delta.check("delta", data)
    return _promised(head, deltas.applied(known, delta_codec.decode(data), members))


def _promised(head: Head, table: ShardTable) -> ShardTable:
    given = (table.generation, table.term, table.shards, table.replicas, table.hash)
    promised = (head.generation, head.term, head.shards, head.replicas, head.hash)
    if given != promised:
        raise Mismatch(f"the table says {given}, the head promises {promised} (generation, term, shards, replicas, hash)")
    digest = table.digest()
    if digest != head.digest:
        raise Mismatch(f"the table's digest is {digest}, the head promises {head.digest}")
    return table

"""Reading the published part of a shard map, with everything that can be wrong with it, and removing a whole map."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from shuren.domain.errors import Gone
from shuren.domain.shardmap.snapshot import MapName, MapSeen
from shuren.ports.zookeeper import Delete, Epoch, FencedZooKeeper, Node
from shuren.sharding.core.codec import head as head_codec
from shuren.sharding.core.codec import members as members_codec
from shuren.sharding.core.codec import moves as moves_codec
from shuren.sharding.core.codec import publication
from shuren.sharding.core.codec.head import Head
from shuren.sharding.core.errors import Malformed, Mismatch
from shuren.sharding.core.moves import Live, Move, Report
from shuren.sharding.core.table import ShardTable

SHARDS = "/shards"
HEAD, LIVE, MOVES, GENERATIONS = "/head", "/live", "/moves", "/gen"
_MOST_OPERATIONS = 400


@dataclass(kw_only=True)
class Published:
    """The published table. `broken` says why it cannot be used; `table` is then the last good one, if any is known.

    `version` is the data version of the head, None when there is none. `generations` gives for each that lies there who has which number.
    """

    head: Head | None = None
    table: ShardTable | None = None
    version: int | None = None
    broken: str = ""
    generations: dict[int, Mapping[str, int]] = field(default_factory=dict)

    def numbers(self) -> dict[str, int]:
        """The number of each id that any retained generation names; of two for one id the later counts."""
        found: dict[str, int] = {}
        for generation in sorted(self.generations):
            found.update(self.generations[generation])
        return found


async def read_head(zookeeper: FencedZooKeeper, base: str, *, known: Published, epoch: Epoch | None) -> Published:
    """What is published now. With a good table known, anything but that very head is somebody's meddling, and the table is kept."""
    node = await zookeeper.get(base + HEAD)
    if known.head is not None and known.table is not None:
        return _still(known, known.head, node)
    generations = await read_generations(zookeeper, base)
    if node is None:
        # the first publication may have come as far as its pieces
        gone = generations.keys() - {1}
        return Published(broken=f"it is gone, and generation {max(gone)} lies there" if gone else "", generations=generations)
    found = Published(version=node.version, generations=generations)
    try:
        found.head = head_codec.decode(node.data)
        _refuse_older(found.head, generations, epoch)
        found.table = await _read_table(zookeeper, base, found.head)
    except Malformed as error:
        found.broken = str(error)
    return found


def _still(known: Published, head: Head, node: Node | None) -> Published:
    """The same table, and what somebody else has done to its head."""
    if node is not None and node.data == head_codec.encode(head):
        return Published(head=head, table=known.table, version=node.version, generations=known.generations)
    generation = head.generation
    if node is None:
        broken = f"somebody has deleted it (generation {generation})"
    else:
        try:
            broken = f"somebody has written generation {head_codec.decode(node.data).generation} over generation {generation}"
        except Malformed as error:
            broken = f"somebody has written over generation {generation}: {error}"
    return Published(head=head, table=known.table, version=known.version, broken=broken, generations=known.generations)


def _refuse_older(head: Head, generations: Mapping[int, object], epoch: Epoch | None) -> None:
    """One more generation may lie there whose publication did not come to its end."""
    newest = max(generations, default=head.generation)
    if newest > head.generation + 1:
        raise Mismatch(f"head: generation {head.generation} is older than generation {newest}, which lies there")
    if epoch is not None and head.term > epoch.number:
        raise Mismatch(f"head: it is of term {head.term}, and the newest is {epoch.number}")


async def read_generations(zookeeper: FencedZooKeeper, base: str) -> dict[int, Mapping[str, int]]:
    """The generations that lie there, with the numbers that each gives."""
    names = [name for name in await zookeeper.children(base + GENERATIONS) or () if name.isascii() and name.isdigit()]
    nodes = await zookeeper.get_many([f"{base}{GENERATIONS}/{name}/members" for name in names])
    found: dict[int, Mapping[str, int]] = {}
    for name, node in zip(names, nodes, strict=True):
        numbers: Mapping[str, int] = {}
        if node is not None:
            with contextlib.suppress(Malformed):  # its head says so, if it has one
                numbers = {m.id: m.number for m in members_codec.decode(node.data)}
        found[int(name)] = numbers
    return found


async def _read_table(zookeeper: FencedZooKeeper, base: str, head: Head) -> ShardTable:
    place = f"{base}/{publication.directory(head.generation)}"
    paths = [f"{place}/members", *(f"{place}/map-{index}" for index in range(len(head.map)))]
    pieces: list[bytes] = []
    for path, node in zip(paths, await zookeeper.get_many(paths), strict=True):
        if node is None:
            raise Mismatch(f"{path}: the head names it, and it is not there")
        pieces.append(node.data)
    return publication.read_map(head, publication.read_members(head, pieces[0]), pieces[1:])


async def remove_tree(zookeeper: FencedZooKeeper, base: str) -> None:
    """Delete a map, its head first. Gone when something was deleted by somebody else meanwhile; Conflict when something was made."""
    if await zookeeper.get(base + HEAD) is not None:
        await zookeeper.commit([Delete(path=base + HEAD)])
    below: list[str] = []
    waiting = [base]
    while waiting:
        path = waiting.pop()
        children = await zookeeper.children(path)
        if children is None:
            continue
        below.append(path)
        waiting += [f"{path}/{child}" for child in children]
    below.reverse()
    for start in range(0, len(below), _MOST_OPERATIONS):
        part = below[start : start + _MOST_OPERATIONS]
        try:
            await zookeeper.commit([Delete(path=path) for path in part])
        except Gone:
            # ephemeral nodes of members go by themselves
            await _one_by_one(zookeeper, part)


async def _one_by_one(zookeeper: FencedZooKeeper, paths: list[str]) -> None:
    for path in paths:
        try:
            await zookeeper.commit([Delete(path=path)])
        except Gone:
            continue


async def look_at(zookeeper: FencedZooKeeper, name: MapName) -> MapSeen:
    """One look at a map by somebody who does not lead: what is published, who is registered, what moves. Absences are not known."""
    base = f"{SHARDS}/{name}"
    published = await read_head(zookeeper, base, known=Published(), epoch=None)
    live: dict[str, Live] = {}
    nodes = await zookeeper.children(base + LIVE) or ()
    for node in await zookeeper.get_many([f"{base}{LIVE}/{text}" for text in nodes]):
        with contextlib.suppress(Malformed):
            found = moves_codec.decode_live(node.data) if node is not None else None
            if found is not None:
                live[found.id] = found
    moves: dict[int, Move] = {}
    reports: dict[int, dict[str, Report]] = {}
    for text in await zookeeper.children(base + MOVES) or ():
        shard, node = moves_codec.shard_of(text), await zookeeper.get(f"{base}{MOVES}/{text}")
        if shard is None or node is None:
            continue
        with contextlib.suppress(Malformed):
            moves[shard] = moves_codec.decode_move(shard, node.data)
            reports[shard] = await _reports(zookeeper, f"{base}{MOVES}/{text}")
    return MapSeen(
        exists=await zookeeper.get(base) is not None,
        broken=published.broken,
        table=published.table,
        partitioning=published.head.partitioning if published.head is not None else "",
        retiring=published.head.retiring if published.head is not None else "",
        live=live,
        moves=moves,
        reports=reports,
        retained=tuple(sorted(published.generations)),
        numbers=published.numbers(),
    )


async def _reports(zookeeper: FencedZooKeeper, path: str) -> dict[str, Report]:
    names = await zookeeper.children(path) or ()
    found: dict[str, Report] = {}
    for name, node in zip(names, await zookeeper.get_many([f"{path}/{name}" for name in names]), strict=True):
        if node is not None:
            with contextlib.suppress(Malformed):
                found[moves_codec.member_of(name)] = moves_codec.decode_report(node.data)
    return found

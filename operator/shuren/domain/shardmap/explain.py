"""What there is to say of one shard, of a change before it happens, and of what happened between two looks: for `shuren shards`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from shuren.domain.shardmap.snapshot import MapSeen
from shuren.domain.shards.assignment import VACANT, Assignment, Change, changes
from shuren.sharding.core.slots import redis_slot_of, slot_of
from shuren.sharding.core.table import NOBODY, KeyHash, ShardTable


@dataclass(frozen=True, kw_only=True)
class Holder:
    """One member that holds a shard. `share` is how many replicas its weight comes to, `holds` how many it has."""

    id: str
    role: str
    address: str
    rack: str
    live: bool
    generation: int
    holds: int
    leads: int
    share: float


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One shard: who holds it, by which epoch, and the move that is under way (sentences)."""

    slot: int
    shards: int
    epoch: int
    generation: int
    holders: tuple[Holder, ...]
    move: tuple[str, ...] = ()


def slot_of_key(table: ShardTable, key: str) -> int:
    """The shard of a key, as clients find it."""
    return redis_slot_of(key) if table.hash is KeyHash.CRC16 else slot_of(key, table.shards)


def shard(seen: MapSeen, table: ShardTable, slot: int) -> Shard:
    """What is known of a shard."""
    named = {m.number: m for m in table.members}
    held, led = Counter(table.owners), Counter(table.owners[: table.shards])
    weights = sum(m.weight for m in table.members) or 1
    holders: list[Holder] = []
    for place, number in enumerate(table.owners_of(slot)):
        member = named.get(number)
        if member is None:
            continue
        live = seen.live.get(member.id)
        holders.append(
            Holder(
                id=member.id,
                role="primary" if place == 0 else "replica",
                address=member.address,
                rack=member.rack,
                live=live is not None,
                generation=live.generation if live is not None else 0,
                holds=held[number],
                leads=led[number],
                share=table.shards * table.replicas * member.weight / weights,
            )
        )
    return Shard(
        slot=slot,
        shards=table.shards,
        epoch=table.epochs[slot],
        generation=table.generation,
        holders=tuple(holders),
        move=tuple(_move(seen, slot)),
    )


def _move(seen: MapSeen, slot: int) -> Iterator[str]:
    move = seen.moves.get(slot)
    if move is None:
        return
    what = "the primary goes" if move.primary else "a replica goes"
    yield f"{what} from {move.from_ or 'nobody'} to {move.to}: {move.state.value}, epoch {move.fence.epoch}"
    for member in sorted(move.parts()):
        report = seen.reports.get(slot, {}).get(member)
        if report is not None and report.answers(move):
            yield f"{member} has done its part"
        elif report is not None and report.error and report.state is move.state:
            yield f"{member} cannot: {report.error}"
        else:
            yield f"waiting for {member}"


@dataclass(frozen=True, kw_only=True)
class Load:
    """Replicas and primaries of a member, before a change and after it."""

    id: str
    before: int
    after: int
    leads_before: int
    leads_after: int


def rows_of(table: ShardTable) -> Assignment:
    """The published table in the planner's form."""
    planes = [table.owners[r * table.shards : (r + 1) * table.shards] for r in range(table.replicas)]
    flat = (VACANT if number == NOBODY else number for row in zip(*planes, strict=True) for number in row)
    return Assignment(replicas=table.replicas, holders=tuple(flat))


def loads(before: Assignment, after: Assignment, names: Mapping[int, str]) -> tuple[Load, ...]:
    """Every member that holds something before or after, by id."""
    held = before.held(), after.held()
    led = before.led(), after.led()
    numbers = sorted(held[0].keys() | held[1].keys(), key=lambda n: names.get(n, str(n)))
    return tuple(
        Load(
            id=names.get(n, str(n)),
            before=held[0].get(n, 0),
            after=held[1].get(n, 0),
            leads_before=led[0].get(n, 0),
            leads_after=led[1].get(n, 0),
        )
        for n in numbers
    )


def sentence(change: Change, names: Mapping[int, str]) -> str:
    """One shard that changes, for people."""

    def row(members: tuple[int, ...]) -> str:
        return ",".join(names.get(n, "-") for n in members)

    return f"{row(change.before)} -> {row(change.after)}"


def happened(before: MapSeen | None, now: MapSeen) -> Iterator[str]:
    """What is different since the last look, one sentence each."""
    was = before if before is not None else MapSeen()
    if now.broken and now.broken != was.broken:
        yield f"head: {now.broken}"
    if now.table is not None and (was.table is None or was.table.generation != now.table.generation):
        table = now.table
        changed = _changed(was.table, table) if was.table is not None else ""
        yield f"generation {table.generation}: {table.shards} shards, {len(table.members)} members{changed}"
    for member in sorted(now.live.keys() - was.live.keys()):
        yield f"{member} registered at {now.live[member].address}"
    for member in sorted(was.live.keys() - now.live.keys()):
        yield f"{member} is gone"
    for slot in sorted(now.moves):
        move, former = now.moves[slot], was.moves.get(slot)
        if former != move:
            yield f"shard {slot}: {move.state.value} {move.from_ or 'nobody'} -> {move.to}"
    done = sorted(was.moves.keys() - now.moves.keys())
    if done:
        shown = ", ".join(map(str, done[:10])) + (" …" if len(done) > 10 else "")  # noqa: PLR2004 - as many as fit a line
        yield f"over: shard{'s' if len(done) > 1 else ''} {shown}; {len(now.moves)} still move"
    if now.table is not None and was.table is not None:
        acted, before_that = _acknowledged(now), _acknowledged(was)
        if acted and acted != before_that:
            yield f"every member acts by generation {now.table.generation}"


def _changed(old: ShardTable, new: ShardTable) -> str:
    if old.shards != new.shards:
        return ", split" if old.shards < new.shards else ", no longer split"
    if old.replicas != new.replicas:
        return f", {new.replicas} replicas of each shard in place of {old.replicas}"
    count = len(changes(rows_of(old), rows_of(new)))
    return f", {count} shards have other holders" if count else ", nobody holds anything else"


def _acknowledged(seen: MapSeen) -> int:
    """The generation by which all registered members act; 0 while some are behind."""
    table = seen.table
    return table.generation if table is not None and seen.live and all(m.generation >= table.generation for m in seen.live.values()) else 0

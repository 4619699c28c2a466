"""Tables on their way to ZooKeeper: the first one, the next one, and a published one in the planner's form."""

from __future__ import annotations

from collections.abc import Mapping

from shuren.domain.shardmap.roster import Roster
from shuren.domain.shardmap.snapshot import MapSpec, Measured
from shuren.domain.shards.advance import Publish
from shuren.domain.shards.assignment import VACANT, Assignment
from shuren.domain.shards.members import SpreadLevel, group_of
from shuren.domain.shards.migration import World
from shuren.domain.shards.partitions import Relay, merged, merged_epochs, split, split_epochs
from shuren.sharding.core.table import NOBODY, ShardTable, make_table

FIRST_EPOCH = 1


def first_table(rows: Assignment, people: Roster, *, spec: MapSpec, shards: int, term: int) -> ShardTable:
    """Generation 1."""
    return make_table(
        shards=shards,
        replicas=rows.replicas,
        members=people.named,
        owners=_by_replica(rows),
        epochs=[FIRST_EPOCH] * shards,
        key_hash=spec.hash,
        generation=1,
        term=term,
    )


def relaid(table: ShardTable, rows: Assignment, relay: Relay, people: Roster, *, term: int) -> ShardTable | None:
    """The next generation with twice or half as many shards, or the same; None when siblings are apart that would have to be one."""
    epochs = list(table.epochs)
    match relay:
        case Relay.SPLIT:
            rows, epochs = split(rows), split_epochs(epochs)
        case Relay.MERGE:
            whole = merged(rows)
            if whole is None:
                return None
            rows, epochs = whole, merged_epochs(epochs)
        case Relay.KEEP:
            pass
    return make_table(
        shards=rows.slots,
        replicas=rows.replicas,
        members=people.named,
        owners=_by_replica(rows),
        epochs=epochs,
        key_hash=table.hash,
        generation=table.generation + 1,
        term=term,
    )


def with_replicas(table: ShardTable, rows: Assignment, replicas: int, people: Roster, world: World) -> ShardTable:
    """The next generation with rows of another length: places for nobody yet, or without those whose copies are worth least.

    Primaries stay. Of the others go first who is not there, then who lags, then the last.
    """

    def worth(member: int) -> tuple[bool, bool, bool]:
        return member == VACANT, not world.live(member), member in world.lagging

    padding = (VACANT,) * replicas
    resized = Assignment.of((row[0], *sorted(row[1:], key=worth), *padding)[:replicas] for row in rows.rows())
    return make_table(
        shards=table.shards,
        replicas=replicas,
        members=people.named,
        owners=_by_replica(resized),
        epochs=table.epochs,
        key_hash=table.hash,
        generation=table.generation + 1,
        term=world.term,
    )


def next_table(table: ShardTable, changed: Mapping[int, Publish], people: Roster, *, term: int) -> ShardTable | None:
    """The next generation with these rows, and with members as they are now; None when it would be the same."""
    if not changed and table.members == people.named:
        return None
    owners, epochs = list(table.owners), list(table.epochs)
    for slot, publish in changed.items():
        for replica, number in enumerate(publish.row):
            owners[replica * table.shards + slot] = NOBODY if number == VACANT else number
        epochs[slot] = publish.epoch
    return make_table(
        shards=table.shards,
        replicas=table.replicas,
        members=people.named,
        owners=owners,
        epochs=epochs,
        key_hash=table.hash,
        generation=table.generation + 1,
        term=term,
    )


def measured(known: Measured | None, table: ShardTable, people: Roster, level: SpreadLevel) -> Measured:
    """The table as rows, and how many shards have two replicas that should be apart; taken over while nothing has changed."""
    places = {m.id: group_of(m, level) for m in people.members}
    generation = table.generation
    same = known is not None and known.generation == generation
    rows = known.rows if known is not None and same else _rows(table)
    if known is not None and same and known.places == places:
        return known
    violations = 0
    if level is not SpreadLevel.NONE and table.replicas > 1:
        for row in rows.rows():
            found = [places[number] for number in row if number in places]
            violations += len(set(found)) != len(found)
    return Measured(generation=generation, rows=rows, places=places, violations=violations)


def _by_replica(rows: Assignment) -> list[int]:
    return [NOBODY if number == VACANT else number for replica in range(rows.replicas) for number in rows.holders[replica :: rows.replicas]]


def _rows(table: ShardTable) -> Assignment:
    planes = [table.owners[r * table.shards : (r + 1) * table.shards] for r in range(table.replicas)]
    flat = (VACANT if number == NOBODY else number for row in zip(*planes, strict=True) for number in row)
    return Assignment(replicas=table.replicas, holders=tuple(flat))

"""Which moves begin next: the shards that need one, in the order of their need, as far as the caps allow.

A shard goes to its row in the goal step by step: first somebody who leads it, then as many replicas as it should have, then the places
where they should be, the primary last. Each step is one move, and a shard has one move at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import compress
from operator import not_

from shuren.domain.shards.advance import Write, ordered
from shuren.domain.shards.assignment import VACANT, changes
from shuren.domain.shards.migration import World
from shuren.sharding.core.moves import Fence, Move, MoveState


class Need(IntEnum):
    """Why a shard moves, the most urgent first."""

    LEADER = 0
    """Its primary is gone; another holder takes over, nothing is copied."""
    REPLICA = 1
    """A replica is missing."""
    DRAIN = 2
    """A holder is to be emptied."""
    BALANCE = 3
    """It has its place elsewhere."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """A move that may begin."""

    need: Need
    rank: tuple[int, ...]
    write: Write


def beginnings(world: World) -> tuple[list[Write], int]:
    """The moves to begin now, and how many shards wait for theirs."""
    starts = sorted(_starts(world), key=lambda start: (start.need, start.rank, start.write.move.shard))
    load, chosen, waiting = _Load(world), list[Write](), 0
    held = [s.need is not Need.LEADER and (world.paused or _rests(world, s.write.move.shard)) for s in starts]
    racks = _racks_to_empty(world, compress(starts, map(not_, held)))
    for start, waits in zip(starts, held, strict=True):
        if waits or (start.need is Need.DRAIN and _rack_left(world, start.write.move) not in racks) or not load.take(start):
            waiting += 1
        else:
            chosen.append(start.write)
    return chosen, waiting


def _rests(world: World, slot: int) -> bool:
    """Whether the shard's last move failed so recently that the next one has to wait."""
    failure = world.failures.get(slot)
    return failure is not None and world.now < failure.not_before


def _starts(world: World) -> Iterator[Start]:
    for slot in _unsettled(world):
        start = _next(world, slot) if slot not in world.moves else None
        if start is not None:
            yield start


def _unsettled(world: World) -> list[int]:
    """Slots whose rows are not those of the goal, or whose primary is lost."""
    table = world.table
    lost = {number for number in set(table.primaries) if world.lost(number)}
    slots = {slot for slot, number in enumerate(table.primaries) if number in lost} if lost else set()
    if world.goal is not None:
        slots.update(change.slot for change in changes(table, world.goal))
    return sorted(slots)


def _next(world: World, slot: int) -> Start | None:
    row = world.table.row(slot)
    goal = world.goal.row(slot) if world.goal is not None else row
    if world.lost(row[0]):
        return _new_leader(world, slot, row, goal)
    leaving = [number for number in row if number not in goal]
    coming = [number for number in goal if number not in row and number != VACANT and not world.gone(number)]
    if coming and leaving:
        return _replica(world, slot, goal, leaving, coming)
    if goal[0] != row[0] and goal[0] in row[1:] and not world.lost(goal[0]):
        return _handover(world, slot, row[0], goal[0])
    return None


# ---------------------------------------------------------------------------------------------------- the steps


def _new_leader(world: World, slot: int, row: Sequence[int], goal: Sequence[int]) -> Start | None:
    heirs = world.heirs(row)
    if heirs:
        heir = goal[0] if goal[0] in heirs else min(heirs, key=lambda number: (number not in goal, row.index(number)))
        move = _move(world, slot, MoveState.ACTIVATE, former=row[0], to=heir, primary=True, epoch=world.epochs[slot] + 1)
        former = world.by_number.get(row[0])
        guard = (former.id,) if former is not None else ()
        return Start(need=Need.LEADER, rank=(0,), write=Write(move=move, unless_live=guard, why=f"{_name(world, row[0])} is gone"))
    if world.abandons and all(world.gone(number) for number in row):
        coming = next((number for number in goal if number not in row and world.live(number)), None)
        if coming is not None:
            move = _move(world, slot, MoveState.PREPARE, former=VACANT, to=coming, primary=True)
            return Start(need=Need.REPLICA, rank=(0,), write=Write(move=move, why="all its holders are gone"))
    return None


def _replica(world: World, slot: int, goal: Sequence[int], leaving: Sequence[int], coming: Sequence[int]) -> Start | None:
    row = world.table.row(slot)
    missing = [number for number in leaving if number == VACANT or world.gone(number)]
    if missing:
        there = sum(world.live(number) for number in row)
        former, to = _pair(world, row, missing, coming)
        move = _move(world, slot, MoveState.PREPARE, former=former, to=to, primary=False, source=row[0])
        return Start(need=Need.REPLICA, rank=(there,), write=Write(move=move, why=f"{_name(world, former)} is gone"))
    if any(world.lost(number) for number in leaving):
        return None
    if row[0] in leaving and goal[0] in row:
        return _handover(world, slot, row[0], goal[0])
    former, to = _pair(world, row, [number for number in leaving if number != row[0]] or leaving, coming)
    need = Need.DRAIN if world.by_number[former].draining else Need.BALANCE
    source = row[0] if former in world.lagging and former != row[0] else VACANT
    move = _move(world, slot, MoveState.PREPARE, former=former, to=to, primary=former == row[0], source=source)
    return Start(need=need, rank=(0,), write=Write(move=move))


def _handover(world: World, slot: int, former: int, to: int) -> Start | None:
    """The primary goes to a standby that has the data."""
    if to in world.lagging or not world.live(to):
        return None
    need = Need.DRAIN if world.by_number[former].draining else Need.BALANCE
    return Start(need=need, rank=(1,), write=Write(move=_move(world, slot, MoveState.CATCH_UP, former=former, to=to, primary=True)))


def _pair(world: World, row: Sequence[int], leaving: Sequence[int], coming: Sequence[int]) -> tuple[int, int]:
    """Who comes for whom: if it can be, so that no two holders are in one rack meanwhile."""

    def meets(former: int, to: int) -> int:
        rack = world.by_number[to].rack
        return sum(n in world.by_number and world.by_number[n].rack == rack for n in row if n != former)

    return min(((former, to) for former in leaving for to in coming), key=lambda pair: meets(*pair))


def _move(
    world: World, slot: int, state: MoveState, *, former: int, to: int, primary: bool, source: int = VACANT, epoch: int | None = None
) -> Move:
    named = world.by_number
    move = Move(
        shard=slot,
        state=state,
        from_=named[former].id if former in named else None,
        to=named[to].id,
        fence=Fence(term=world.term, epoch=world.epochs[slot]),
        primary=primary,
        source=named[source].id if source in named else None,
        shards=world.table.slots,
    )
    return ordered(world, move, state, epoch=epoch)


def _name(world: World, number: int) -> str:
    return world.by_number[number].id if number in world.by_number else "a replica"


# ---------------------------------------------------------------------------------------------------- caps


class _Load:
    """How much is in motion, planned moves and recovery apart."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._incoming: Counter[tuple[bool, str]] = Counter()
        self._outgoing: Counter[tuple[bool, str]] = Counter()
        self._total: Counter[bool] = Counter()
        for move in world.moves.values():
            if not _takes_over(world, move):
                self._count(move, recovery=recovers(world, move))

    def take(self, start: Start) -> bool:
        """Count a move in if there is room for it."""
        if start.need is Need.LEADER:
            return True
        move, recovery = start.write.move, start.need is Need.REPLICA
        caps = self._world.policy.recovery if recovery else self._world.policy.caps
        giver = move.source or move.from_
        if (
            self._total[recovery] >= caps.total(self._world.table.slots)
            or self._incoming[recovery, move.to or ""] >= caps.incoming
            or (giver is not None and self._outgoing[recovery, giver] >= caps.outgoing)
        ):
            return False
        self._count(move, recovery=recovery)
        return True

    def _count(self, move: Move, *, recovery: bool) -> None:
        self._total[recovery] += 1
        self._incoming[recovery, move.to or ""] += 1
        giver = move.source or move.from_
        if giver is not None:
            self._outgoing[recovery, giver] += 1


def recovers(world: World, move: Move) -> bool:
    """Whether a move replaces what was lost."""
    return move.from_ is None or world.gone(world.number(move.from_))


def _takes_over(world: World, move: Move) -> bool:
    """Whether a move only makes a standby the primary of one that is gone: it copies nothing and is not counted."""
    row = world.table.row(move.shard) if 0 <= move.shard < world.table.slots else ()
    return move.primary and world.number(move.to) in row and world.lost(world.number(move.from_))


# ---------------------------------------------------------------------------------------------------- one rack after the other


def _racks_to_empty(world: World, starts: Iterable[Start]) -> set[str]:
    """Members are emptied one rack after the other: the racks that are at it, else the first that could be."""
    givers = (world.by_id.get(move.from_ or "") for move in world.moves.values())
    at_it = {giver.rack for giver in givers if giver is not None and giver.draining and giver.absent_for == 0}
    could = (_rack_left(world, start.write.move) for start in starts if start.need is Need.DRAIN)
    return at_it or {min(could, default="")}


def _rack_left(world: World, move: Move) -> str:
    giver = world.by_id.get(move.from_ or "")
    return giver.rack if giver is not None else ""

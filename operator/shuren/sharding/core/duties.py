"""What a member has to do for each shard, decided from the table, the moves and what it holds. Pure: `member` carries it out.

A move speaks before the table, and an epoch seen in a move is never gone behind: a table that is older than a move that was seen says
nothing about that shard. Without a move, the table says it all: its primaries serve with the table's epoch, its other replicas follow,
and who is not in it forgets the shard.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from shuren.sharding.core.member import Member
from shuren.sharding.core.moves import Fence, Move, MoveState, Report
from shuren.sharding.core.table import NOBODY, ShardTable, find16, little_endian


class Role(Enum):
    """How a member holds a shard."""

    COPYING = "copying"
    """Has begun to copy, or has a copy that may lag."""
    STANDBY = "standby"
    """Has a copy that follows."""
    PRIMARY = "primary"
    """Serves."""
    FORWARDING = "forwarding"
    """Served until now, and passes requests on."""


class Step(Enum):
    """What the application is called for."""

    PREPARE = "prepare"
    CATCH_UP = "catch-up"
    FORWARD = "forward"
    ACTIVATE = "activate"
    DROP = "drop"


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """A shard that the member holds, and the fence that it last served or saw it under."""

    role: Role
    fence: Fence = Fence()  # noqa: RUF009  frozen


@dataclass(frozen=True, kw_only=True, slots=True)
class Duty:
    """What is to be done for one shard: `step` (None: nothing, it is as it should be), after which it is held as `becomes` (None: no more).

    `serves`: whether requests may be served meanwhile. `peer` is the other member's id: whom to copy from or to pass on to. `report` is
    what to tell the operator afterwards.
    """

    shard: int
    step: Step | None
    becomes: Held | None
    serves: bool = False
    peer: str | None = None
    report: Report | None = None


def duties(
    *,
    me: str,
    table: ShardTable | None,
    moves: Mapping[int, Move],
    held: Mapping[int, Held],
    seen: Mapping[int, Fence],
    answered: Mapping[int, Report],
) -> dict[int, Duty]:
    """The duties by shard, for all shards that this member holds or should hold.

    `seen` are the highest fences met in moves, `answered` the reports given for the moves that are there now; both by shard.
    """
    mine = next((m.number for m in table.members if m.id == me), NOBODY) if table is not None else NOBODY
    placed = _places(table, mine) if table is not None else {}
    by_number = {m.number: m for m in table.members} if table is not None else {}
    found: dict[int, Duty] = {}
    for shard, move in moves.items():
        report = Report(state=move.state, epoch=move.fence.epoch, shards=move.shards) if me in move.parts() else None
        done = report is not None and answered.get(shard) == report
        if me == move.to:
            mine_now = _overtaken(held.get(shard), table, shard, first=placed.get(shard) == 0)
            leader = by_number.get(table.owners[shard]) if table is not None and shard < table.shards else None
            source = move.from_ if move.primary or leader is None or leader.id == me else leader.id
            found[shard] = _of_new_holder(move, mine_now, report, placed=shard in placed, followed=source, done=done)
        elif me == move.from_:
            # before the commit the shard has the fence that it is published with, whatever term the order is of
            fence = Fence(term=table.term, epoch=move.fence.epoch) if table is not None else move.fence
            found[shard] = _of_old_holder(move, held.get(shard), report, fence=fence, done=done)
    if table is None:
        return found
    for shard in (placed.keys() | held.keys()) - found.keys():
        fence = seen.get(shard, Fence())
        if shard < table.shards and table.epochs[shard] < fence.epoch:
            found[shard] = _awaiting(shard, held.get(shard), fence)
        else:
            found[shard] = _of_table(shard, placed.get(shard), held.get(shard), table, by_number)
    return found


def _places(table: ShardTable, number: int) -> dict[int, int]:
    """The member's shards, with the replica that it is (0: primary)."""
    if number == NOBODY:
        return {}
    places: dict[int, int] = {}
    for at in find16(little_endian(table.owners), number):
        places.setdefault(at % table.shards, at // table.shards)
    return places


def _overtaken(held: Held | None, table: ShardTable | None, shard: int, *, first: bool) -> Held | None:
    """What is held: a copy that may lag, when somebody else was the primary since this member was. `first`: the table has it as primary."""
    led = held is not None and held.role in {Role.PRIMARY, Role.FORWARDING}
    if held is None or table is None or not led or first or shard >= table.shards or table.epochs[shard] <= held.fence.epoch:
        return held
    return Held(role=Role.COPYING, fence=held.fence)


def _as_it_is(shard: int, held: Held | None, *, report: Report | None = None, peer: str | None = None) -> Duty:
    return Duty(shard=shard, step=None, becomes=held, report=report, peer=peer)


def _activate(shard: int, fence: Fence, *, report: Report | None = None, peer: str | None = None) -> Duty:
    return Duty(shard=shard, step=Step.ACTIVATE, becomes=Held(role=Role.PRIMARY, fence=fence), report=report, peer=peer)


def _copy(shard: int, held: Held | None, fence: Fence, *, report: Report | None, peer: str | None) -> Duty:
    """One step nearer to a copy that follows; `report` when that step is the one asked for."""
    if held is None:
        return Duty(shard=shard, step=Step.PREPARE, becomes=Held(role=Role.COPYING, fence=fence), peer=peer, report=report)
    return Duty(shard=shard, step=Step.CATCH_UP, becomes=Held(role=Role.STANDBY, fence=fence), peer=peer, report=report)


def _dropped(shard: int, held: Held | None, report: Report | None) -> Duty:
    return Duty(shard=shard, step=Step.DROP if held is not None else None, becomes=None, report=report)


def _awaiting(shard: int, held: Held | None, fence: Fence) -> Duty:
    """The table is older than a move that was seen and is over: stay as you are. Only who that move made the primary serves."""
    serves = held is not None and held.role is Role.PRIMARY and held.fence.epoch >= fence.epoch
    return Duty(shard=shard, step=None, becomes=held, serves=serves)


# ----------------------------------------------------------------------------------------------------------------------------- moves


def _of_new_holder(move: Move, held: Held | None, report: Report | None, *, placed: bool, followed: str | None, done: bool) -> Duty:
    """`placed`: the table has this member in the shard already, as when a replica becomes the primary. `followed`: the shard's primary,
    with whom it catches up, whoever it copied from. `done`: its part in this state was reported already.
    """
    shard, source = move.shard, move.source if move.source is not None else move.from_
    lags = held is None or held.role is Role.COPYING
    if held is not None:
        source = followed
    match move.state:
        case MoveState.PREPARE if held is None:
            return _copy(shard, held, move.fence, report=report, peer=source)
        case MoveState.CATCH_UP if lags:
            return _copy(shard, held, move.fence, report=None if held is None else report, peer=source)
        case MoveState.ACTIVATE | MoveState.DROP if move.primary:
            if held is not None and held.role is Role.PRIMARY and held.fence.epoch == move.fence.epoch:
                # reported first: an operator that has no report, and finds the member gone, may take it that nothing was ever served
                serves = done or move.state is MoveState.DROP
                return Duty(shard=shard, step=None, becomes=held, serves=serves, report=report)
            if lags:
                # restarted after it had caught up: the old primary keeps everything until it is told to drop it
                return _copy(shard, held, move.fence, report=None, peer=source)
            return _activate(shard, move.fence, report=report, peer=move.from_)
        case MoveState.ABORT if not placed:
            return _dropped(shard, held, report)
    return _as_it_is(shard, held, report=report)


def _of_old_holder(move: Move, held: Held | None, report: Report | None, *, fence: Fence, done: bool) -> Duty:
    """`fence`: to serve with before the commit. `done`: its part in this state was reported already."""
    shard = move.shard
    if move.state is MoveState.DROP:
        return _dropped(shard, held, report)
    if not move.primary:
        return _as_it_is(shard, held, report=report)
    serving = held is not None and held.role is Role.PRIMARY
    match move.state:
        case MoveState.FORWARD | MoveState.ACTIVATE if held is None or held.role is not Role.FORWARDING:
            becomes = Held(role=Role.FORWARDING, fence=held.fence if held is not None else move.fence)
            return Duty(shard=shard, step=Step.FORWARD, becomes=becomes, peer=move.to, report=report)
        case MoveState.FORWARD | MoveState.ACTIVATE:
            return _as_it_is(shard, held, report=report, peer=move.to)
        case _ if not serving:
            # restarted, or told to go back: nobody else has been made the primary yet
            return _activate(shard, fence, report=report if move.state is MoveState.ABORT else None)
        case MoveState.CATCH_UP if not done:
            return Duty(shard=shard, step=Step.CATCH_UP, becomes=held, serves=True, peer=move.to, report=report)
    return Duty(shard=shard, step=None, becomes=held, serves=True, report=report)


# ----------------------------------------------------------------------------------------------------------------------------- table


def _of_table(shard: int, place: int | None, held: Held | None, table: ShardTable, members: Mapping[int, Member]) -> Duty:
    if place is None:
        return _dropped(shard, held, None)
    fence = Fence(term=table.term, epoch=table.epochs[shard])
    if place == 0:
        if held is not None and held.role is Role.PRIMARY and held.fence.epoch == fence.epoch:
            return Duty(shard=shard, step=None, becomes=held, serves=True)
        return _activate(shard, fence)
    primary = members.get(table.owners[shard])
    peer = primary.id if primary is not None else None
    if held is not None and held.role is Role.STANDBY:
        return _as_it_is(shard, held)
    if held is not None and held.role is Role.PRIMARY:
        return Duty(shard=shard, step=Step.FORWARD, becomes=Held(role=Role.FORWARDING, fence=held.fence), peer=peer)
    return _copy(shard, held, fence, report=None, peer=peer)

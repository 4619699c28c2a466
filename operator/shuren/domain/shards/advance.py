"""One move that is under way: what happens to it next.

A move is what lies in ZooKeeper and nothing besides, so an operator that starts anew goes on where the last one was stopped. Before the
commit a move can be given up, after it only be brought to its end. The commit of a primary is the writing of `activate`; that of another
replica is the table that names its new holder.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TypeAlias

from shuren.domain.shards.assignment import VACANT
from shuren.domain.shards.migration import World, outcome, published
from shuren.sharding.core.moves import Fence, Move, MoveState


@dataclass(frozen=True, kw_only=True, slots=True)
class Stay:
    """Nothing is to be done but wait; `for_` says for what, in the words of a status."""

    for_: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Write:
    """Write this into the move's node. `unless_live`: in a transaction that fails if one of these members has a live node.

    (ZooKeeper has no such check; creating and deleting that node in the same transaction is one.)
    """

    move: Move
    unless_live: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Publish:
    """The next generation is to have this row and this epoch for the shard; the move goes on when it has."""

    row: tuple[int, ...]
    epoch: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Remove:
    """The move is over: delete its node and the reports below it. `failed`: it came to nothing, for this reason."""

    failed: str = ""


Fate: TypeAlias = Stay | Write | Publish | Remove


def advance(world: World, move: Move) -> Fate:
    """What happens next to a move."""
    if not move.counts_by(world.table.slots):
        return Remove(failed="it was ordered before the map was split")
    if not 0 <= move.shard < world.table.slots or move.to is None:
        return Remove(failed="the map has no such shard" if move.to is not None else "it names nobody who gets the shard")
    match move.state:
        case MoveState.PREPARE | MoveState.CATCH_UP | MoveState.FORWARD:
            return _finish(world, move) if published(world, move) else _before_commit(world, move)
        case MoveState.ACTIVATE:
            return _finish(world, move) if published(world, move) else _committed(world, move)
        case MoveState.DROP:
            return _dropping(world, move)
        case MoveState.ABORT:
            return _aborting(world, move)


def holders(world: World, slot: int) -> tuple[str, ...]:
    """The ids of all who hold a slot, as far as they are known."""
    return tuple(world.by_number[number].id for number in world.table.row(slot) if number in world.by_number)


def ordered(world: World, move: Move, state: MoveState, *, epoch: int | None = None) -> Move:
    """A move in its next state, in our term and with a deadline of its own."""
    fence = Fence(term=world.term, epoch=move.fence.epoch if epoch is None else epoch)
    return replace(move, state=state, fence=fence, deadline=world.now + world.policy.deadlines.of(state))


def _unanswered(world: World, move: Move, *, among: Collection[str] | None = None) -> frozenset[str]:
    """Members that have not done their part in this state."""
    reports = world.reports.get(move.shard, {})
    wanted = move.parts() if among is None else move.parts() & frozenset(among)
    return frozenset(member for member in wanted if member not in reports or not reports[member].answers(move))


def _late(world: World, move: Move) -> bool:
    return world.now >= move.deadline


# ---------------------------------------------------------------------------------------------------- before the commit


def _before_commit(world: World, move: Move) -> Fate:
    why = _why_not(world, move)
    if why:
        return Write(move=ordered(world, move, MoveState.ABORT), why=why)
    alone = move.primary and world.gone(world.number(move.from_))
    waiting = _unanswered(world, move, among=None if not alone else (move.to or "",))
    if waiting:
        return Stay(for_=f"{move.state.value} of {', '.join(sorted(waiting))}")
    if move.state is MoveState.PREPARE:
        return Write(move=ordered(world, move, MoveState.CATCH_UP))
    if not move.primary:
        return Publish(row=outcome(world, move), epoch=world.epochs[move.shard])
    if alone:
        return Write(move=ordered(world, move, MoveState.ACTIVATE, epoch=move.fence.epoch + 1), unless_live=holders(world, move.shard))
    if move.state is MoveState.CATCH_UP:
        return Write(move=ordered(world, move, MoveState.FORWARD))
    return Write(move=ordered(world, move, MoveState.ACTIVATE, epoch=move.fence.epoch + 1))


def _why_not(world: World, move: Move) -> str:
    """Why a move is to be given up; empty when it is not."""
    why = _no_receiver(world, move) or _no_giver(world, move)
    if why is None or why:
        return why or ""
    if _late(world, move):
        errors = [report.error for report in world.reports.get(move.shard, {}).values() if report.error]
        return f"{move.state.value} took longer than {world.policy.deadlines.of(move.state):g} s" + "".join(f": {e}" for e in errors[:1])
    return ""


def _no_receiver(world: World, move: Move) -> str:
    to = world.by_id.get(move.to or "")
    if to is None:
        return f"{move.to} is no member any more"
    if world.gone(to.number):
        return f"{to.id}, which was to get it, is gone"
    if to.draining:
        return f"{to.id}, which was to get it, is to be emptied"
    return ""


def _no_giver(world: World, move: Move) -> str | None:
    """None: there is none at the moment, and nobody else has what the receiver has so far; it is kept, however long that takes."""
    row = world.table.row(move.shard)
    if move.fence.epoch != world.epochs[move.shard]:
        return "the shard has another epoch by now"
    if move.primary and move.from_ is None and any(world.live(number) for number in row):
        return "a holder of its data is back"
    if world.lost(row[0]):
        if world.heirs(row):
            return "its primary is gone: a standby comes first"
        if move.primary and not (world.gone(row[0]) and world.abandons):
            return None
    elif move.primary and move.from_ is not None and world.number(move.from_) != row[0]:
        return "it is not from the shard's primary"
    if not move.primary and world.lost(world.number(move.source or move.from_)):
        return f"{move.source or move.from_}, which it was copied from, is gone"
    return ""


# ---------------------------------------------------------------------------------------------------- behind the commit


def _committed(world: World, move: Move) -> Fate:
    """The new primary is named, the table is not published yet."""
    if not _unanswered(world, move):
        return Publish(row=outcome(world, move), epoch=move.fence.epoch)
    to, former = world.number(move.to), world.number(move.from_)
    if world.lost(to):
        if any(world.live(number) for number in outcome(world, move)[1:]):
            return Publish(row=outcome(world, move), epoch=move.fence.epoch)
        if world.live(former) and world.gone(to):
            back = replace(move, from_=move.to, to=move.from_, source=None)
            return Write(
                move=ordered(world, back, MoveState.ACTIVATE, epoch=move.fence.epoch + 1),
                unless_live=(move.to or "",),
                why=f"{move.to} is gone, and {move.from_} still has everything",
            )
    return Stay(for_=f"{move.to} to take over")


def _finish(world: World, move: Move) -> Fate:
    """The table has the outcome. Whoever may still act by an older one is waited for, then the former holder forgets the shard."""
    row = world.table.row(move.shard)
    behind = [m.id for m in world.members if m.absent_for == 0 and m.generation < world.generation]
    if behind and not _late(world, move) and not world.lost(row[0]):
        return Stay(for_=f"{len(behind)} members to see generation {world.generation}")
    former = world.number(move.from_)
    if former == VACANT or former in row or not world.live(former) or world.lost(row[0]):
        return Remove()
    return Write(move=ordered(world, move, MoveState.DROP))


def _dropping(world: World, move: Move) -> Fate:
    waiting = _unanswered(world, move)
    leaderless = world.lost(world.table.row(move.shard)[0])
    if waiting and world.live(world.number(move.from_)) and not _late(world, move) and not leaderless:
        return Stay(for_=f"{move.from_} to drop it")
    return Remove()


def _aborting(world: World, move: Move) -> Fate:
    """Given up. When not everybody has said so, a raised epoch sees to it that nobody's late answer is taken for one to the next move."""
    epoch = world.epochs[move.shard]
    if epoch > move.fence.epoch:
        return Remove(failed="given up")
    waiting = _unanswered(world, move)
    there = [member for member in waiting if world.live(world.number(member))]
    if there and not _late(world, move) and not world.lost(world.table.row(move.shard)[0]):
        return Stay(for_=f"{', '.join(sorted(there))} to give up the move")
    if waiting and move.primary:
        return Publish(row=world.table.row(move.shard), epoch=epoch + 1)
    return Remove(failed="given up")

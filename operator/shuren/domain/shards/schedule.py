"""One pass over a map's moves: what is written, published and removed now, and when to look again.

Pure and without memory but what is handed back: given the same world, the same step. Everything in a step may be carried out in any order,
or in part; the next pass starts from what there is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from shuren.domain.shards.advance import Fate, Publish, Remove, Stay, Write, advance
from shuren.domain.shards.assignment import VACANT
from shuren.domain.shards.begin import beginnings
from shuren.domain.shards.migration import Failure, World
from shuren.sharding.core.moves import Move, MoveState


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """Where a map's moves stand. Counts of shards.

    `active` by state, `queued` wait for theirs to begin, `failed` had moves that came to nothing and are tried again, `stalled` are past
    their deadline behind the commit. `leaderless` have no primary that is there, `lost` have no holder that is there, `short` have fewer
    holders there than replicas.
    """

    active: Mapping[MoveState, int] = field(default_factory=dict)
    queued: int = 0
    failed: int = 0
    stalled: int = 0
    leaderless: int = 0
    lost: int = 0
    short: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """What to do now. `publish` are rows and epochs of the next generation, by slot; empty: none is needed.

    `again_in`: seconds after which something may have changed without anybody writing anything; None: nothing will. `failures` go into the
    next world. `why` says what is waited for, or why a move begins or is given up, by slot.
    """

    write: tuple[Write, ...] = ()
    remove: tuple[int, ...] = ()
    publish: Mapping[int, Publish] = field(default_factory=dict)
    tally: Tally = Tally()
    again_in: float | None = None
    failures: Mapping[int, Failure] = field(default_factory=dict)
    why: Mapping[int, str] = field(default_factory=dict)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do now."""
        return not (self.write or self.remove or self.publish)


def step(world: World) -> Step:
    """What to do about a map's moves now."""
    fates: dict[int, Fate] = {slot: advance(world, move) for slot, move in sorted(world.moves.items())}
    begun, waiting = beginnings(world)
    writes = [fate for fate in fates.values() if isinstance(fate, Write)] + begun
    why = {fate.move.shard: fate.why for fate in writes if fate.why}
    why.update({slot: fate.for_ for slot, fate in fates.items() if isinstance(fate, Stay)})
    return Step(
        write=tuple(writes),
        remove=tuple(slot for slot, fate in fates.items() if isinstance(fate, Remove)),
        publish={slot: fate for slot, fate in fates.items() if isinstance(fate, Publish)},
        tally=_tally(world, fates, waiting),
        again_in=_again_in(world),
        failures=_failures(world, fates),
        why=why,
    )


def _failures(world: World, fates: Mapping[int, Fate]) -> dict[int, Failure]:
    """Those known, those that came, less those whose shard has moved."""
    known = {slot: failure for slot, failure in world.failures.items() if slot < world.table.slots}
    for slot, fate in fates.items():
        if not isinstance(fate, Remove):
            continue
        if not fate.failed:
            known.pop(slot, None)
            continue
        count = known[slot].count + 1 if slot in known else 1
        pause = min(world.policy.retry_most, world.policy.retry_after * 2 ** (count - 1))
        known[slot] = Failure(count=count, not_before=world.now + pause)
    return known


def _tally(world: World, fates: Mapping[int, Fate], waiting: int) -> Tally:
    moves = world.moves
    away = {number for number in set(world.table.holders) if number == VACANT or not world.live(number)}
    missing = [sum(number in away for number in row) for row in world.table.rows()] if away else []
    leaderless = sum(number in away for number in world.table.primaries) if away else 0
    return Tally(
        active=dict(Counter(move.state for move in moves.values())),
        queued=waiting,
        failed=len(world.failures),
        stalled=sum(isinstance(fates[s], Stay) and _behind_commit(m) and world.now >= m.deadline for s, m in moves.items()),
        leaderless=leaderless,
        lost=sum(count == world.table.replicas for count in missing),
        short=sum(count > 0 for count in missing),
    )


def _behind_commit(move: Move) -> bool:
    return move.state in {MoveState.ACTIVATE, MoveState.DROP}


def _again_in(world: World) -> float | None:
    """Until the next deadline, the next member that counts as gone, or the next retry."""
    policy = world.policy
    moments = [move.deadline - world.now for move in world.moves.values()]
    moments += [failure.not_before - world.now for failure in world.failures.values()]
    for member in world.members:
        if member.absent_for > 0:
            moments += [limit - member.absent_for for limit in (policy.patience, policy.delay)]
    ahead = [moment for moment in moments if moment > 0]
    return min(ahead) if ahead else None

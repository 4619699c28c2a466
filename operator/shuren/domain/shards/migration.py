"""The world of a map's moves as values, and what a move makes of its shard's row.

What a move is, and what members do for it, is the sharding library's (`shuren.sharding.core.moves`): members act by the same words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from shuren.domain.shards.assignment import VACANT, Assignment
from shuren.sharding.core.moves import Move, MoveState, Report

MOVES_AT_LEAST = 2
"""However few shards a map has, so many may move at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Caps:
    """How much may be in motion: moves into and out of each member, and `share` of all shards (but 2 at least)."""

    incoming: int = 2
    outgoing: int = 2
    share: float = 0.01

    def total(self, slots: int) -> int:
        """Shards of a map that may move at once."""
        return max(MOVES_AT_LEAST, int(slots * self.share))


@dataclass(frozen=True, kw_only=True, slots=True)
class Deadlines:
    """Seconds that a move may stay in a state before it is given up (before the commit) or goes on without who did not answer (after it).

    `forward` is short: while the old primary forwards, nobody serves the shard.
    """

    prepare: float = 3600.0
    catch_up: float = 600.0
    forward: float = 30.0
    activate: float = 60.0
    drop: float = 600.0
    abort: float = 60.0

    def of(self, state: MoveState) -> float:
        """The seconds for a state."""
        match state:
            case MoveState.PREPARE:
                return self.prepare
            case MoveState.CATCH_UP:
                return self.catch_up
            case MoveState.FORWARD:
                return self.forward
            case MoveState.ACTIVATE:
                return self.activate
            case MoveState.DROP:
                return self.drop
            case MoveState.ABORT:
                return self.abort


@dataclass(frozen=True, kw_only=True, slots=True)
class MovePolicy:
    """How a map moves. Planned moves and recovery have caps of their own, so that neither waits for the other.

    In seconds: a member that is absent counts as gone after `delay`; until then nothing is copied for it, so that a restart in place moves
    nothing. Its primaries go to standbys after `promote_after` (None: after `delay` too). A move that failed is tried again after
    `retry_after`, doubled with each failure up to `retry_most`.

    `abandon`: a shard all of whose holders are gone is given to new ones, which begin without its data. None: only where it has one
    replica, for then its data is either elsewhere or was never to be safe.
    """

    caps: Caps = Caps()
    recovery: Caps = Caps()
    deadlines: Deadlines = Deadlines()
    delay: float = 60.0
    promote_after: float | None = None
    retry_after: float = 10.0
    retry_most: float = 600.0
    abandon: bool | None = None

    @property
    def patience(self) -> float:
        """Seconds for which an absent member keeps its primaries."""
        return self.delay if self.promote_after is None else min(self.promote_after, self.delay)


@dataclass(frozen=True, kw_only=True, slots=True)
class Presence:
    """A member as it is now. `absent_for`: seconds since its live node went, 0 while it is there. `draining`: it is to be emptied.

    As its live node says, `generation` is what it acts by, and `copying` how many of its copies may lag: those that it makes, and those of
    shards that it passes on since somebody else has taken them over.
    """

    id: str
    number: int
    absent_for: float = 0.0
    generation: int = 0
    copying: int = 0
    draining: bool = False
    rack: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """Moves of one shard that came to nothing: how many in a row, and when the next one may begin."""

    count: int
    not_before: float


@dataclass(frozen=True, kw_only=True)
class World:
    """What the operator knows of a map when it decides.

    `table`, `epochs` and `generation` are what is published, `moves` and `reports` what lies under moves/. `members` are all that the table
    or a move names, and those that may get something; who is not in it counts as gone for ever. `goal` is the table to go to, None while
    there is none to be had. `now` is in seconds since 1970, as the deadlines in moves are. `term` is our fencing epoch.
    """

    table: Assignment
    epochs: Sequence[int]
    generation: int
    members: tuple[Presence, ...]
    now: float
    term: int = 0
    moves: Mapping[int, Move] = field(default_factory=dict)
    reports: Mapping[int, Mapping[str, Report]] = field(default_factory=dict)
    goal: Assignment | None = None
    policy: MovePolicy = MovePolicy()
    paused: bool = False
    failures: Mapping[int, Failure] = field(default_factory=dict)

    @cached_property
    def by_id(self) -> Mapping[str, Presence]:
        """Members by their id."""
        return {member.id: member for member in self.members}

    @cached_property
    def by_number(self) -> Mapping[int, Presence]:
        """Members by their number in tables."""
        return {member.number: member for member in self.members}

    @cached_property
    def lagging(self) -> frozenset[int]:
        """Numbers of members that have more copies that may lag than are just being made for moves: some of their shards are behind."""
        making: dict[str, int] = {}
        for slot, move in self.moves.items():
            report = self.reports.get(slot, {}).get(move.to or "")
            done = report is not None and report.answers(move)
            if move.to is not None and move.state is (MoveState.PREPARE if done else MoveState.CATCH_UP):
                making[move.to] = making.get(move.to, 0) + 1
        return frozenset(m.number for m in self.members if m.copying > making.get(m.id, 0))

    def live(self, number: int) -> bool:
        """Whether a member is there now."""
        member = self.by_number.get(number)
        return member is not None and member.absent_for == 0

    def lost(self, number: int) -> bool:
        """Whether a member has been away for so long that it keeps no primary."""
        member = self.by_number.get(number)
        return member is None or (member.absent_for > 0 and member.absent_for >= self.policy.patience)

    def gone(self, number: int) -> bool:
        """Whether a member has been away for so long that its replicas are made anew."""
        member = self.by_number.get(number)
        return member is None or (member.absent_for > 0 and member.absent_for >= self.policy.delay)

    def number(self, member_id: str | None) -> int:
        """The number of an id, VACANT for none and for one that is not known."""
        member = self.by_id.get(member_id) if member_id is not None else None
        return member.number if member is not None else VACANT

    def heirs(self, row: Sequence[int]) -> list[int]:
        """The standbys of a row that could serve at once: they are there, and their copies do not lag."""
        return [number for number in row[1:] if self.live(number) and number not in self.lagging]

    @property
    def abandons(self) -> bool:
        """Whether a shard may begin anew without its data."""
        return self.table.replicas == 1 if self.policy.abandon is None else self.policy.abandon


def outcome(world: World, move: Move) -> tuple[int, ...]:
    """The row of a move's shard once the move is done; the same row when it is done already.

    A primary comes first. When it was a standby before, the former one becomes a standby in its place, else the former one leaves.
    """
    row = list(world.table.row(move.shard))
    to, leaves = world.number(move.to), world.number(move.from_)
    if to == VACANT:
        return tuple(row)
    if move.primary:
        if to in row:
            place = row.index(to)
            row[0], row[place] = to, row[0]
        else:
            row[0] = to
    elif to not in row:
        left = leaves if leaves in row else VACANT
        if left in row:
            row[row.index(left)] = to
    return tuple(row)


def published(world: World, move: Move) -> bool:
    """Whether the published table has a move's outcome already."""
    if move.primary and (move.state not in {MoveState.ACTIVATE, MoveState.DROP} or world.epochs[move.shard] < move.fence.epoch):
        return False
    return outcome(world, move) == world.table.row(move.shard)


def effective(world: World) -> Assignment:
    """The table as it will be once all moves that are under way are done: what the next one is planned from.

    Moves that are being given up do not count.
    """
    holders = list(world.table.holders)
    for slot, move in world.moves.items():
        if move.state is not MoveState.ABORT and slot < world.table.slots:
            holders[slot * world.table.replicas : (slot + 1) * world.table.replicas] = outcome(world, move)
    return Assignment(replicas=world.table.replicas, holders=tuple(holders))

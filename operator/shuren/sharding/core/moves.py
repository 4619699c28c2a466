"""A shard on its way from one member to another: what the operator orders, and what members answer.

The operator alone writes a `Move`, one state after the other; a member that it names does its part and answers with a `Report`; the
operator goes on when every part has been reported.

    state      the new holder (`to`)                    the old one (`from`)
    prepare    copies the shard from `source`           –
    catch-up   follows until it lags no more            helps it to; still serves
    forward    –                                        accepts nothing more, passes requests on to `to`
    activate   serves, with the shard's new epoch       goes on passing on
    drop       serves                                   forgets the shard
    abort      forgets its copy                         serves again, with the epoch it had

Writing `activate` is the commit: it carries the raised epoch, and there is no way back behind it. Moves of a replica that is not the
primary leave out `forward` and `activate`. A primary that is gone has no part: its successor is activated at once. For that, the
transaction that writes `activate` has to create and delete the old primary's live node, so that it fails if that member has come back in
the meantime.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class MoveState(Enum):
    """What is to be done now."""

    PREPARE = "prepare"
    CATCH_UP = "catch-up"
    FORWARD = "forward"
    ACTIVATE = "activate"
    DROP = "drop"
    ABORT = "abort"


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Fence:
    """The token that fences an old primary off: storage and peers refuse a write whose fence is below the highest that they have seen."""

    term: int = 0
    epoch: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """One order of the operator. Members are named by id; None where there is no such part.

    `fence.epoch` is the shard's epoch before the commit, and one more from `activate` on. `source` is whom to copy from (None: `from_`).
    `deadline` is the operator's own, seconds since 1970; members go by what is written, not by the clock. `shards` is how many the map had
    when this was ordered, so that after a split nobody takes the number for another shard's; 0 when it is not said.
    """

    shard: int
    state: MoveState
    from_: str | None
    to: str | None
    fence: Fence
    primary: bool = True
    source: str | None = None
    deadline: float = 0.0
    shards: int = 0

    def counts_by(self, shards: int) -> bool:
        """Whether this is about a shard of a map of so many."""
        return self.shards in {0, shards}

    def parts(self) -> frozenset[str]:
        """The ids whose reports the operator waits for in this state."""
        helper = self.from_ if self.primary else None
        match self.state:
            case MoveState.PREPARE | MoveState.ACTIVATE:
                wanted: tuple[str | None, ...] = (self.to,)
            case MoveState.CATCH_UP | MoveState.ABORT:
                wanted = (self.to, helper)
            case MoveState.FORWARD | MoveState.DROP:
                wanted = (self.from_,)
        return frozenset(member for member in wanted if member is not None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """A member's answer: it has done `state` of the move with this epoch, or `error` says why it could not and tries again.

    `shards` is that of the move.
    """

    state: MoveState
    epoch: int
    error: str = ""
    shards: int = 0

    def answers(self, move: Move) -> bool:
        """Whether this says that a part of `move` is done."""
        return not self.error and (self.state, self.epoch, self.shards) == (move.state, move.fence.epoch, move.shards)


@dataclass(frozen=True, kw_only=True, slots=True)
class Live:
    """What a member says of itself in its ephemeral node: the generation that it acts by, and how many shards it has in which role.

    `instance` tells one run of the process from the next; `session_seconds` is the time after which its absence shows. `load` is what the
    shards that it leads are asked for, in a unit that all members of a map use, None when it does not measure that; `hottest` that of the
    busiest of them.
    """

    id: str
    instance: str = ""
    address: str = ""
    generation: int = 0
    session_seconds: float = 0.0
    counts: Mapping[str, int] = field(default_factory=dict)
    load: int | None = None
    hottest: Mapping[int, int] = field(default_factory=dict)

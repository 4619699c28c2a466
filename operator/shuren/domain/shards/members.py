"""What a table of shards is made for: the members, how many replicas, and how far apart they must be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from shuren.domain.errors import FieldError, Invalid

MAX_SLOTS = 65_536
"""Most shards of one map: what the published formats can number."""
WEIGHT_UNIT = 1_000_000
"""Weights are read as whole numbers of 1 / WEIGHT_UNIT."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One holder of shards.

    `id` is its small number in tables, never given to another member while a retained generation names it. `weight` is its share in
    relation to the others' (read to a millionth); 0 for a member that is to be emptied. Members without a `rack` count as being in one rack
    together; a member without a `host` is on a host of its own.
    """

    id: int
    name: str = ""
    weight: float = 1.0
    rack: str = ""
    host: str = ""

    @property
    def units(self) -> int:
        """The weight as a whole number, so that shares are exact."""
        return round(self.weight * WEIGHT_UNIT)

    @property
    def known_as(self) -> str:
        """For messages."""
        return self.name or f"#{self.id}"


class SpreadLevel(Enum):
    """What no two replicas of one shard should share."""

    RACK = "rack"
    HOST = "host"
    NONE = "none"


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """How far apart the replicas of a shard are kept.

    Preferred (the default): every member gets its share, and replicas meet in one rack (then: on one host) only as far as the shares force
    them to. Required: replicas never meet, and the members of a rack that is too large for that get less than their share.
    """

    level: SpreadLevel = SpreadLevel.RACK
    required: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What to make a table for. `salt` differs from map to map: it decides who gets odd shards, so that nobody gets those of all maps."""

    slots: int
    replicas: int
    members: tuple[Member, ...]
    spread: Spread = Spread()
    salt: int = 0

    def __post_init__(self) -> None:
        """Refuse what no table can be made for. Raises Invalid, with the field of each thing wrong."""
        errors = [*_wrong_counts(self), *_wrong_members(self.members)]
        if not errors:
            errors = _too_few(self)
        if errors:
            raise Invalid("; ".join(error.message for error in errors), errors=tuple(errors))

    @property
    def eligible(self) -> tuple[Member, ...]:
        """The members that may hold something."""
        return tuple(m for m in self.members if m.units > 0)


def _wrong_counts(wanted: Wanted) -> list[FieldError]:
    errors = []
    if not 1 <= wanted.slots <= MAX_SLOTS or wanted.slots & (wanted.slots - 1):
        message = f"the number of shards must be a power of two from 1 to {MAX_SLOTS}, not {wanted.slots}"
        errors.append(FieldError(path="/partitionings/shards", message=message))
    if wanted.replicas < 1:
        errors.append(FieldError(path="/replicas", message=f"a shard has at least 1 replica, not {wanted.replicas}"))
    return errors


def _wrong_members(members: Sequence[Member]) -> list[FieldError]:
    errors = []
    for member_id, count in Counter(m.id for m in members).items():
        if member_id < 0 or count > 1:
            what = f"number {member_id} is given to {count} members" if count > 1 else f"a member's number is not negative: {member_id}"
            errors.append(FieldError(path="/members", message=what))
    for member in members:
        if not 0 <= member.weight < float("inf"):
            message = f"the weight of member {member.known_as} must be 0 or more, not {member.weight}"
            errors.append(FieldError(path="/members/weight", message=message))
    if members and not errors and all(m.units == 0 for m in members):
        errors.append(FieldError(path="/members/weight", message="no member has a weight above 0: nobody may hold a shard"))
    return errors


def _too_few(wanted: Wanted) -> list[FieldError]:
    eligible = wanted.eligible
    if len(eligible) < wanted.replicas:
        there = f"{wanted.replicas} replicas need {wanted.replicas} members with a weight above 0; there are {len(eligible)}"
        return [FieldError(path="/replicas", message=f"{there}: add members or lower spec.replicas")]
    spread = wanted.spread
    if spread.required and spread.level is not SpreadLevel.NONE:
        groups = {group_of(m, spread.level) for m in eligible}
        if len(groups) < wanted.replicas:
            word = spread.level.value
            there = f"{wanted.replicas} replicas in distinct {word}s need {wanted.replicas} {word}s; the members are in {len(groups)}"
            return [FieldError(path="/spread", message=f"{there}: add {word}s, lower spec.replicas or let the spread be preferred")]
    return []


def group_of(member: Member, level: SpreadLevel) -> tuple[str, ...]:
    """The rack, host or member that a member counts for at a level. A host is one of its rack's."""
    match level:
        case SpreadLevel.RACK:
            return (member.rack,)
        case SpreadLevel.HOST:
            return (member.rack, member.host) if member.host else (member.rack, "", str(member.id))
        case SpreadLevel.NONE:
            return ("", "", str(member.id))

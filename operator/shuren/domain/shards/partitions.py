"""Splitting a map: twice as many shards for the same keys, while everybody goes on.

Shard s of S is shards 2s and 2s + 1 of 2S (`sharding.core.slots`), so a split copies nothing: each child begins where its parent is, with
its parent's epoch. What makes it safe is the order, which `next_layout` keeps:

    spec.partitionings          published                         meanwhile
    [old]                       old
    [old, new]                  old, until no move is under way   no planned move begins (`wait`)
    [old, new]                  new, `retiring` old               children stay together: readers of either table ask the right member,
                                                                  and the split can still be taken back
    [new]                       new                               children go their own ways (`planner.plan` for the new shards)
    [old], taken back           new, until children are together  goals are made with `together`, then `merged` is published as old

The number of shards stands in each move and report (`sharding.core.moves`), so nobody takes one of the old numbers for one of the new.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from shuren.domain.errors import FieldError
from shuren.domain.shards.assignment import Assignment
from shuren.domain.shards.members import MAX_SLOTS

MOST = 2
"""Partitionings at a time: the one in use, and what it is being split into."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Partitioning:
    """One entry of `spec.partitionings`. `shards` is a power of two and never changes under one name."""

    name: str
    shards: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """What the head says: the partitioning of the table, and the name of the one that it was split from, as long as that is kept."""

    partitioning: Partitioning
    retiring: str = ""


class Relay(Enum):
    """What the next generation does to the numbers of shards."""

    KEEP = "keep"
    SPLIT = "split"
    """`split` the table and its epochs."""
    MERGE = "merge"
    """`merged` takes the split back."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """What is to be published now, as far as partitionings are concerned.

    `partitioning` and `retiring` go into the head; when they differ from what is published, a new generation is due, after `relay` was done
    to the table. `wait` says why that has to wait, in the words of a status: until then begin no planned move. `together`: children have to
    stay with their siblings; make goals by `plan` for half the shards and `split` them.
    """

    partitioning: Partitioning
    retiring: str = ""
    relay: Relay = Relay.KEEP
    wait: str = ""
    together: bool = False


def faults(wanted: Sequence[Partitioning], published: Published | None) -> list[FieldError]:
    """What is wrong with `spec.partitionings`, by itself or with regard to what is published; nothing is changed while it is."""
    errors = [*_by_themselves(wanted)]
    if errors or published is None:
        return errors
    return [*_against(wanted, published)]


def _by_themselves(wanted: Sequence[Partitioning]) -> list[FieldError]:
    if not 1 <= len(wanted) <= MOST:
        return [FieldError(path="/partitionings", message=f"there are 1 or {MOST} partitionings, not {len(wanted)}")]
    errors = []
    for index, one in enumerate(wanted):
        if not 1 <= one.shards <= MAX_SLOTS or one.shards & (one.shards - 1):
            message = f"the number of shards must be a power of two from 1 to {MAX_SLOTS}, not {one.shards}"
            errors.append(FieldError(path=f"/partitionings/{index}/shards", message=message))
    if len(wanted) == MOST and not errors:
        old, new = wanted
        if old.name == new.name:
            errors.append(FieldError(path="/partitionings/1/name", message=f"both partitionings are named {old.name}"))
        if new.shards != 2 * old.shards:
            message = f"the second partitioning splits each shard of the first: it has {2 * old.shards} shards, not {new.shards}"
            errors.append(FieldError(path="/partitionings/1/shards", message=message))
    return errors


def _against(wanted: Sequence[Partitioning], published: Published) -> list[FieldError]:
    now = published.partitioning
    for index, one in enumerate(wanted):
        if one.name == now.name and one.shards != now.shards:
            message = f"partitioning {one.name} was published with {now.shards} shards, which cannot be changed; add a second partitioning"
            return [FieldError(path=f"/partitionings/{index}/shards", message=message)]
    names = [one.name for one in wanted]
    if now.name not in names and not _takes_back(wanted, published):
        message = f"the published map is of partitioning {now.name} ({now.shards} shards), which is not there; put it back"
        return [FieldError(path="/partitionings", message=message)]
    if len(wanted) == MOST and names[1] == now.name and published.retiring != names[0]:
        message = f"partitioning {names[0]} is retired: its shards have gone their own ways; take it out"
        return [FieldError(path="/partitionings/0", message=message)]
    return []


def _takes_back(wanted: Sequence[Partitioning], published: Published) -> bool:
    """Whether the split is to be undone: only what was split is there any more."""
    now = published.partitioning
    return [(one.name, one.shards) for one in wanted] == [(published.retiring, now.shards // 2)]


def next_layout(wanted: Sequence[Partitioning], published: Published | None, *, moving: int = 0, table: Assignment | None = None) -> Layout:
    """What to publish now, for partitionings without `faults`.

    `moving` is the number of moves under way, `table` what is published (asked only whether siblings are together).
    """
    if published is None:
        # nobody holds anything yet: there is nothing to be split
        return Layout(partitioning=wanted[-1])
    now = published.partitioning
    if _takes_back(wanted, published):
        apart = table is not None and merged(table) is None
        wait = _moves(moving) or ("shards that were split have to come together again" if apart else "")
        if wait:
            return Layout(partitioning=now, retiring=published.retiring, wait=wait, together=True)
        return Layout(partitioning=wanted[0], relay=Relay.MERGE)
    if len(wanted) == MOST and wanted[0].name == now.name:
        if moving:
            return Layout(partitioning=now, wait=_moves(moving))
        return Layout(partitioning=wanted[1], retiring=now.name, relay=Relay.SPLIT, together=True)
    both = len(wanted) == MOST
    return Layout(partitioning=now, retiring=published.retiring if both else "", together=both)


def _moves(count: int) -> str:
    return f"{count} moves have to end first" if count else ""


def split(table: Assignment) -> Assignment:
    """The table of twice as many shards: both children where their parent is. Epochs go the same way: each twice."""
    return Assignment.of(row for row in table.rows() for _ in range(2))


def split_epochs(epochs: Sequence[int]) -> list[int]:
    """The epochs of twice as many shards: a child's primary goes on with what its parent's had."""
    return [epoch for epoch in epochs for _ in range(2)]


def merged(table: Assignment) -> Assignment | None:
    """The table of half as many shards; None when some siblings are not led and held by the same members."""
    rows = list(table.rows())
    pairs = list(zip(rows[::2], rows[1::2], strict=True))
    if any(one[0] != other[0] or sorted(one) != sorted(other) for one, other in pairs):
        return None
    return Assignment.of(one for one, _ in pairs)


def merged_epochs(epochs: Sequence[int]) -> list[int]:
    """The epochs of half as many shards: above those of both children, so that each primary is activated anew."""
    return [max(one, other) + 1 for one, other in zip(epochs[::2], epochs[1::2], strict=True)]


def elder(table: Assignment) -> Assignment:
    """Half as many shards, each where its first child is: what a goal is made from while siblings are to be together."""
    return Assignment.of(list(table.rows())[::2])

"""A table of shards as a value: who holds each replica, the primary first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from operator import ne

VACANT = -1
"""In place of a member's number: nobody holds this replica."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Assignment:
    """Row by row, `replicas` numbers of members for each slot, its primary first."""

    replicas: int
    holders: tuple[int, ...]

    @classmethod
    def of(cls, rows: Iterable[Sequence[int]]) -> Assignment:
        """From one sequence of members for each slot; all are equally long."""
        listed = [tuple(row) for row in rows]
        return cls(replicas=len(listed[0]) if listed else 1, holders=tuple(m for row in listed for m in row))

    @property
    def slots(self) -> int:
        """How many there are."""
        return len(self.holders) // self.replicas

    def row(self, slot: int) -> tuple[int, ...]:
        """The holders of one slot, its primary first."""
        return self.holders[slot * self.replicas : (slot + 1) * self.replicas]

    def rows(self) -> Iterator[tuple[int, ...]]:
        """All rows in the order of slots."""
        each = iter(self.holders)
        return zip(*[each] * self.replicas, strict=True)

    @property
    def primaries(self) -> tuple[int, ...]:
        """The primary of each slot."""
        return self.holders[:: self.replicas]

    def held(self) -> Mapping[int, int]:
        """How many replicas each member holds; members that hold none are not in it."""
        counted = Counter(self.holders)
        del counted[VACANT]
        return counted

    def led(self) -> Mapping[int, int]:
        """Of how many slots each member is the primary."""
        counted = Counter(self.primaries)
        del counted[VACANT]
        return counted


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One slot that is held or led by others in one table than in another."""

    slot: int
    before: tuple[int, ...]
    after: tuple[int, ...]

    @property
    def gained(self) -> tuple[int, ...]:
        """Members that hold the slot only afterwards: what must be copied."""
        return tuple(m for m in self.after if m != VACANT and m not in self.before)

    @property
    def lost(self) -> tuple[int, ...]:
        """Members that hold the slot only before."""
        return tuple(m for m in self.before if m != VACANT and m not in self.after)


def changes(before: Assignment, after: Assignment) -> tuple[Change, ...]:
    """The slots that another member holds or leads afterwards, in ascending order. The order of those that only follow says nothing.

    Both tables have the same slots.
    """
    if before.replicas == after.replicas:
        places = compress(range(len(before.holders)), map(ne, before.holders, after.holders))
        slots: Iterable[int] = sorted({place // before.replicas for place in places})
    else:
        slots = range(before.slots)
    rows = ((slot, before.row(slot), after.row(slot)) for slot in slots)
    return tuple(Change(slot=slot, before=old, after=new) for slot, old, new in rows if old[0] != new[0] or sorted(old) != sorted(new))


def resized(table: Assignment, replicas: int) -> Assignment:
    """The table with rows of another length: VACANT where replicas are to come, the last ones gone where there are too many."""
    rows = (sorted(row[1:], key=lambda member: member == VACANT) for row in table.rows())
    padding = (VACANT,) * replicas
    holders = (m for lead, rest in zip(table.primaries, rows, strict=True) for m in (lead, *rest, *padding)[:replicas])
    return Assignment(replicas=replicas, holders=tuple(holders))

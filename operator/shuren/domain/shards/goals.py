"""What a map is to become: who counts as a member, and when it is planned anew.

Not whenever something changes: while a map moves, a new plan would send shards elsewhere that have just begun to move. Only for what cannot
wait: members that are gone or back, or that are to be emptied. Everything else is taken up when the map has come to rest.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from shuren.domain.shards.assignment import Assignment, changes
from shuren.domain.shards.members import Member, Wanted
from shuren.domain.shards.migration import World


@dataclass(frozen=True, kw_only=True, slots=True)
class Goal:
    """A table to go to, and what it was planned for."""

    table: Assignment
    wanted: Wanted


def counted(members: Iterable[Member], world: World) -> tuple[Member, ...]:
    """The members to plan for: not those that are gone, and without weight those that are to be emptied."""
    there = [member for member in members if not world.gone(member.id)]
    return tuple(replace(member, weight=0.0) if world.by_number[member.id].draining else member for member in there)


def why_plan(goal: Goal | None, wanted: Wanted, world: World) -> str:
    """Why a new goal is to be planned now; empty when it is not. `wanted` names the members that count now.

    Between a split and the end of its old partitioning, `wanted` has half the shards (`partitions.Layout.together`).
    """
    if goal is None:
        return "there is no goal"
    if goal.table.slots != world.table.slots:
        return "the shards of the map were divided anew"
    if goal.wanted == wanted:
        return ""
    if goal.wanted.slots != wanted.slots or goal.wanted.replicas != wanted.replicas:
        return "the shape of the map has changed"
    if not world.moves and not changes(world.table, goal.table):
        return "what is wanted has changed, and the map is at rest"
    before, after = {m.id: m for m in goal.wanted.members}, {m.id: m for m in wanted.members}
    if before.keys() - after.keys():
        return "a member is gone"
    if any(after[number].units == 0 < before[number].units for number in before):
        return "a member is to be emptied"
    if any(world.table.holders.count(number) for number in after.keys() - before.keys()):
        return "a member is back"
    return ""

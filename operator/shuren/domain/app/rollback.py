"""Which revisions a person takes back: those after the one to go back to, so that the operator finds that as the last good one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shuren.domain.app import revisions
from shuren.domain.app.snapshot import Revision, RevisionState
from shuren.domain.errors import Invalid


@dataclass(frozen=True, kw_only=True)
class Rollback:
    """`goal` runs in the end; `withdraw` are marked as taken back, `retry` as to be tried (`--undo`)."""

    goal: Revision
    withdraw: tuple[Revision, ...] = ()
    retry: tuple[Revision, ...] = ()


def chosen(known: Sequence[Revision], *, target: str, to: int = 0, undo: bool = False) -> Rollback:
    """The decision. `target` is the revision that the spec asks for, `to` the number of the one wanted, 0: the last good one before.

    Invalid when there is nothing to go back to, or that revision never ran well.
    """
    asked = revisions.find(known, target)
    if asked is None:
        raise Invalid("the revision that the spec asks for was never tried, so there is nothing to take back")
    if undo:
        if asked.state is not RevisionState.WITHDRAWN:
            raise Invalid(f"revision {asked.number} was not taken back")
        return Rollback(goal=asked, retry=(asked,))
    if to:
        goal = next((r for r in known if r.number == to), None)
        if goal is None:
            raise Invalid(f"there is no revision {to}")
        if goal.state is not RevisionState.GOOD:
            raise Invalid(f"revision {to} is {goal.state.value}, not Good: only what ran well can be gone back to")
        if goal.hash == target:
            raise Invalid(f"revision {to} is what the spec asks for already")
    else:
        earlier = [r for r in known if r.number < asked.number and r.app_id == asked.app_id]
        found = revisions.last_good(earlier, app_id=asked.app_id)
        if found is None:
            raise Invalid("there is no good revision before the present one")
        goal = found
    # the desired one, and every other good one that would be taken for the last good before the goal
    later = [r for r in known if r.hash not in {goal.hash, target} and r.number > goal.number and r.state is RevisionState.GOOD]
    # the desired one last: the operator begins as soon as that is marked
    return Rollback(goal=goal, withdraw=(*sorted(later, key=lambda r: r.number), asked))

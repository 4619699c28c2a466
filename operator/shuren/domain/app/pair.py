"""The two Marathon ids of a resource, and on which of them it lives.

A gated roll-out runs the new version as a second app beside the old one, and when it has turned out good the second app is the one that
lives on. So a resource has two ids that it uses in turn: the one that the spec names, and the same with a suffix. Which of them it lives on
is told by its newest revision: a single write to that record is what promotes or gives up a version.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shuren.domain.app import revisions
from shuren.domain.app.snapshot import Revision

SUFFIX = "-alt"
"""Of the second id. `<id>/alt` is not possible: Marathon takes no app and group of one name."""


def pair(named: str) -> tuple[str, str]:
    """Both ids of a resource whose spec names this one."""
    return named, named + SUFFIX


def other(named: str, lives: str) -> str:
    """The id beside the one that it lives on."""
    return next(app_id for app_id in pair(named) if app_id != lives)


def lives_on(named: str, known: Sequence[Revision], *, exists: Callable[[str], bool], claimed: Callable[[str], bool]) -> str:
    """The id of the app that serves. `claimed`: by this resource, or by one of its name before; `exists`: there is such an app.

    Without any record (the resource was made anew over what an earlier one left) the only claimed id is it.
    """
    second = named + SUFFIX
    newest = revisions.newest(known)
    if newest is None:
        return second if claimed(second) and not claimed(named) else named
    lives = newest.beside or newest.app_id
    return second if lives == second and (claimed(second) or exists(second)) else named

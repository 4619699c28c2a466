"""Which waiting writes of apps go to Marathon together.

A real Marathon pays for every root update in proportion to its whole estate, so many writes are cheap only as one array. But an array is
one deployment: its apps are locked until the slowest is done. Hence the rules here: what waits alone goes alone; new apps share an array,
and so do changes of instance numbers; changes of configuration share one only when many wait at once (a mass change); everything else, and
everything forced, goes by itself.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from shuren.domain.app.rollout import standing
from shuren.domain.errors import FieldError
from shuren.domain.marathon.state import ActualApp


class WriteKind(Enum):
    """What a write does, as far as sharing goes."""

    CREATE = "create"
    CONFIG = "config"
    SCALE = "scale"
    RESTART = "restart"
    RESTORE = "restore"
    DELETE = "delete"
    KILL = "kill"


_SHARING = frozenset({WriteKind.CREATE, WriteKind.CONFIG, WriteKind.SCALE})


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """One write that waits. `size` in bytes of its body.

    Writes of different `part` never share: an array that Marathon refused without naming a member is tried again in two parts. `alone`
    keeps a write from sharing at all.
    """

    ticket: int
    app_id: str
    kind: WriteKind
    size: int = 0
    force: bool = False
    part: int = 0
    alone: bool = False

    @property
    def shares(self) -> bool:
        """Whether it may go with others."""
        return self.kind in _SHARING and not self.force and not self.alone


@dataclass(frozen=True, kw_only=True, slots=True)
class ArrayLimits:
    """An array has at most `members` writes and (beyond its first) `size` bytes. `mass` waiting configuration changes are a mass change."""

    members: int = 500
    size: int = 8 * 1024 * 1024
    mass: int = 20


def next_batch(
    waiting: Sequence[Waiting], *, limits: ArrayLimits, held: Collection[str] = (), only_forced: bool = False
) -> tuple[Waiting, ...]:
    """The writes to send now, all of one kind; empty when none may go. `waiting` is in the order of arrival.

    The oldest write that may go decides. Writes of one app keep their order: only the first of each app is looked at. Apps in `held` wait.
    `only_forced` is for when no further deployment may run: a forced write takes the place of one.
    """
    eligible = [w for w in _first_of_each_app(waiting) if w.app_id not in held and (w.force or not only_forced)]
    if not eligible:
        return ()
    head = eligible[0]
    if not head.shares:
        return (head,)
    mates = [w for w in eligible if w.shares and w.kind is head.kind and w.part == head.part]
    if head.kind is WriteKind.CONFIG and head.part == 0 and len(mates) < limits.mass:
        return (head,)
    return tuple(_fitting(mates, limits))


def _first_of_each_app(waiting: Iterable[Waiting]) -> Iterable[Waiting]:
    seen: set[str] = set()
    for write in waiting:
        if write.app_id not in seen:
            seen.add(write.app_id)
            yield write


def _fitting(mates: Sequence[Waiting], limits: ArrayLimits) -> Iterable[Waiting]:
    size = 0
    for count, write in enumerate(mates):
        size += write.size
        if count and (count >= limits.members or size > limits.size):
            return
        yield write


_STRETCH = 3.0
_QUIET = 0.5


def worth_waiting(
    batch: Sequence[Waiting], *, limits: ArrayLimits, coming: bool, used: float, gather: float, waited: float, quiet: float
) -> float:
    """Seconds that a batch may wait for more of its kind; 0 when it should go.

    Each array is a deployment, and only so many of these may run, for as long as their tasks take to become healthy: small arrays early in
    a mass creation would use them up and leave the rest waiting. So while more writes are `coming`, an array waits for them until it is
    full, but not beyond `gather` seconds after its first member (`waited` so long already), up to four times that as more of the
    deployments are in use (`used`, a share), and not when nothing has arrived for half a second (`quiet`). What nothing follows, and
    what goes alone, never waits.
    """
    head = batch[0]
    if not coming or not head.shares or head.kind is WriteKind.CONFIG or len(batch) >= limits.members:
        return 0.0
    return max(0.0, min(gather * (1.0 + _STRETCH * min(used, 1.0)) - waited, _QUIET - quiet))


_MEMBER = re.compile(r"^/?\((\d+)\)(.*)$")


def blamed(errors: Sequence[FieldError], members: int) -> Mapping[int, tuple[FieldError, ...]]:
    """What of a refused array's errors is whose: by member, with paths as if it had gone alone.

    Marathon puts the index into the path (`(1)/cpus`). Errors without one are nobody's; an empty answer means that nobody was named.
    """
    found: dict[int, tuple[FieldError, ...]] = {}
    for error in errors:
        match = _MEMBER.match(error.path)
        if match is not None and int(match[1]) < members:
            index = int(match[1])
            found[index] = (*found.get(index, ()), FieldError(path=match[2] or "/", message=error.message))
    return found


def halves(batch: Sequence[Waiting], part: int) -> tuple[Mapping[int, int], int]:
    """Parts for the two halves of a refused array, by ticket, and the next unused part number; `part` is the first unused one."""
    middle = (len(batch) + 1) // 2
    return {write.ticket: part if index < middle else part + 1 for index, write in enumerate(batch)}, part + 2


def unfinished(app: ActualApp) -> bool:
    """Whether a deployment of this app still has something to do."""
    return not standing(app, desired=app.instances).complete


def half_done(app: ActualApp, waiting: int) -> bool:
    """Whether a cancelled deployment has left the app in a state that Marathon will not mend by itself.

    Tasks of an older configuration that run on, more tasks than instances, or instances that nothing will start (`waiting` counts those in
    the launch queue). Only a restart finishes it: writing the same definition again changes nothing.
    """
    now = standing(app, desired=app.instances)
    active = sum(1 for task in app.tasks if task.state.active)
    return now.old > 0 or active > app.instances or active + waiting < app.instances

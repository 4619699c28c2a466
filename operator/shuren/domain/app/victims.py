"""Which tasks go when an app is made smaller, and whether they may go now.

Every removal of a task by the operator passes through here: choose victims, wait for the release gates, then kill exactly these ids with
scale. A gate is something that must have happened to a task before it may go (drained on every load balancer; its shards moved); a plain
app has none.
"""

from __future__ import annotations

from dataclasses import dataclass

from shuren.domain.app.snapshot import Gates
from shuren.domain.marathon.state import ActualApp, Health, Task, TaskState

_STATE_ORDER = {
    TaskState.UNREACHABLE: 0,
    TaskState.STAGING: 1,
    TaskState.STARTING: 2,
    TaskState.RUNNING: 3,
}


@dataclass(frozen=True, kw_only=True)
class Removal:
    """How to make an app smaller: `kill` these tasks, `shrink` so many instances without a task; `held` wait for their gates."""

    kill: tuple[str, ...] = ()
    shrink: int = 0
    held: tuple[str, ...] = ()


def choose(app: ActualApp, remove: int, *, gates: Gates | None = None) -> Removal:
    """Victims for making `app` smaller by `remove` instances.

    Instances without a task go first, then tasks in Marathon's own order: unreachable, staging, starting, running; among running ones
    unhealthy before healthy, then by the app's killSelection. Those that drain already are kept to, and tasks that are being killed are
    not chosen again. With `gates` closed only tasks that were released are killed; a task that does not run has no traffic to let go of.
    """
    active = [t for t in app.tasks if t.state in _STATE_ORDER]
    killing = sum(1 for t in app.tasks if t.state is TaskState.KILLING)
    without_task = max(0, app.instances - len(active) - killing)
    shrink = min(without_task, remove)
    oldest_first = app.definition.get("killSelection") == "OLDEST_FIRST"
    by_age = sorted(active, key=lambda t: (t.staged_at or t.started_at or "", t.id), reverse=not oldest_first)
    gates = gates or Gates()
    in_order = sorted(sorted(by_age, key=_rank), key=lambda t: t.id not in gates.draining)
    chosen = in_order[: max(0, remove - shrink)]
    held = tuple(t.id for t in chosen if gates.closed and t.state is TaskState.RUNNING and t.id not in gates.released)
    return Removal(kill=tuple(t.id for t in chosen if t.id not in held), shrink=shrink, held=held)


def _rank(task: Task) -> tuple[int, int]:
    return (_STATE_ORDER[task.state], 0 if task.health is Health.UNHEALTHY else 1)

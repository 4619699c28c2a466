"""How far a roll-out has come, whether it still moves, and when it has failed. Marathon itself waits for ever."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum

from shuren.domain.app.snapshot import Memory, Snapshot
from shuren.domain.json import JsonValue
from shuren.domain.marathon.state import ActualApp, Health, Task, TaskState

_GRACE_AFTER_RESTART = 60.0
"""Seconds that a roll-out gets at least after the operator was away: its deadline may have passed unseen, or the clock have jumped."""
_SAME_MOMENT = timedelta(seconds=3)


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The instances of an app by what is known of them. `updated` counts running tasks of the current configuration.

    `outdated` counts tasks of an older configuration that run and that nobody kills.
    """

    desired: int
    staged: int
    running: int
    healthy: int
    unhealthy: int
    updated: int
    updated_healthy: int
    updated_unhealthy: int
    old: int
    outdated: int
    has_checks: bool

    @property
    def complete(self) -> bool:
        """All instances run the current configuration, none of the old is left, and health checks (if any) have all passed."""
        return (
            self.updated >= self.desired
            and self.old == 0
            and self.running == self.desired
            and (not self.has_checks or self.updated_healthy >= self.desired)
        )

    @property
    def serving(self) -> bool:
        """All instances run and none is known to be unhealthy: health that is unknown now (Marathon's leader changed) is not bad health."""
        return self.updated >= self.desired and self.running >= self.desired and self.unhealthy == 0

    @property
    def ready(self) -> int:
        """Instances that may be counted on."""
        return self.healthy if self.has_checks else self.running


def standing(app: ActualApp, *, desired: int) -> Standing:
    """Count an app's tasks. A task runs the current configuration when its version is not older than the last configuration change."""
    running = [t for t in app.tasks if t.state is TaskState.RUNNING]
    updated = [t for t in running if _current(t, app)]
    old = [t for t in app.tasks if t.state.active and not _current(t, app)]
    return Standing(
        desired=desired,
        staged=sum(1 for t in app.tasks if t.state in {TaskState.STAGING, TaskState.STARTING}),
        running=len(running),
        healthy=sum(1 for t in running if t.health is Health.HEALTHY),
        unhealthy=sum(1 for t in running if t.health is Health.UNHEALTHY),
        updated=len(updated),
        updated_healthy=sum(1 for t in updated if t.health is Health.HEALTHY),
        updated_unhealthy=sum(1 for t in updated if t.health is Health.UNHEALTHY),
        old=len(old),
        outdated=sum(1 for t in old if t.version is not None and t.state is TaskState.RUNNING),
        has_checks=bool(app.definition.get("healthChecks")),
    )


def _current(task: Task, app: ActualApp) -> bool:
    return task.version is not None and task.version >= app.last_config_change_at


class Verdict(Enum):
    """Of a roll-out under way."""

    MOVING = "moving"
    DEADLINE = "deadline"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """The verdict, the new memory, and how many seconds are left until the next limit could be passed."""

    verdict: Verdict
    memory: Memory
    left: float


def judge(snapshot: Snapshot, now: Standing, *, revision: str, reached: int | None = None, former: str | None = None) -> Judgement:
    """Has the roll-out of `revision` moved since the last look, and is any limit passed?

    Progress is a new high of (updated running, updated healthy, ready, old ones gone); a crash loop that starts instances again and again
    is none. The deadline counts from the last progress. After a restart of the operator it goes on from the deadline in the status.

    `reached` counts what else has been got past, where there is more to a roll-out than instances; `former` is the deadline (RFC 3339) that
    an earlier process has written down, where it does not stand with the deployment.
    """
    before, at = snapshot.memory, snapshot.monotonic
    watched = f"{revision}/{now.desired}"
    ready = len(snapshot.app.ready_tasks or ()) if snapshot.app is not None else 0
    measure = (now.updated, now.updated_healthy, ready, -now.old, *(() if reached is None else (reached,)))
    if before.revision != watched or before.progress_at is None or len(before.measure) != len(measure):
        passed = _passed_before_restart(snapshot, revision, now.desired) if former is None else _passed_until(snapshot, former)
        memory = replace(before, revision=watched, measure=measure, progress_at=at - passed, unhealthy_since=None, deadline="")
    elif any(new > old for new, old in zip(measure, before.measure, strict=True)):
        highest = tuple(max(pair) for pair in zip(measure, before.measure, strict=True))
        memory = replace(before, measure=highest, progress_at=at)
    else:
        memory = before
    unhealthy = (at if memory.unhealthy_since is None else memory.unhealthy_since) if now.updated_unhealthy else None
    since = at if memory.progress_at is None else memory.progress_at
    left = since + snapshot.rollout.deadline - at
    memory = replace(memory, unhealthy_since=unhealthy, deadline=_deadline(snapshot, memory.deadline, left))
    limit = snapshot.rollout.max_unhealthy
    if left <= 0:
        return Judgement(verdict=Verdict.DEADLINE, memory=memory, left=0.0)
    if limit is not None and unhealthy is not None:
        unhealthy_left = unhealthy + limit - at
        if unhealthy_left <= 0:
            return Judgement(verdict=Verdict.UNHEALTHY, memory=memory, left=0.0)
        left = min(left, unhealthy_left)
    return Judgement(verdict=Verdict.MOVING, memory=memory, left=left)


def _passed_before_restart(snapshot: Snapshot, revision: str, desired: int) -> float:
    """Seconds of the deadline that an earlier process has seen pass, by the deadline in the status."""
    status = snapshot.resource.status
    named, counts, marathon = status.get("revision"), status.get("counts"), status.get("marathon")
    if not (isinstance(named, Mapping) and isinstance(counts, Mapping) and isinstance(marathon, Mapping)):
        return 0.0
    if snapshot.memory.revision or (named.get("target"), counts.get("desired")) != (revision, desired):
        return 0.0
    if _had_failed(status):
        return snapshot.rollout.deadline
    deployment = marathon.get("deployment")
    if not isinstance(deployment, Mapping):
        return 0.0
    return _passed_until(snapshot, deployment.get("deadline"))


def _passed_until(snapshot: Snapshot, text: JsonValue) -> float:
    deadline = moment(text)
    if deadline is None or snapshot.memory.revision:
        return 0.0
    whole = snapshot.rollout.deadline
    left = (deadline - snapshot.now).total_seconds()
    return whole - max(min(left, whole), min(_GRACE_AFTER_RESTART, whole))


def why(snapshot: Snapshot, verdict: Verdict) -> str:
    """A verdict as a sentence, with the field that set the limit."""
    if verdict is Verdict.UNHEALTHY:
        return f"instances were unhealthy for {snapshot.rollout.max_unhealthy or 0:g} s (spec.rollout.maxUnhealthySeconds)"
    return f"no progress for {snapshot.rollout.deadline:g} s (spec.rollout.deadlineSeconds)"


EXCEEDED = "ProgressDeadlineExceeded"
"""Reason of the condition Ready when a roll-out does not move any more and nothing is to be done about it."""


def _had_failed(status: Mapping[str, JsonValue]) -> bool:
    conditions = status.get("conditions")
    items = conditions if isinstance(conditions, (list, tuple)) else ()
    return any(isinstance(c, Mapping) and c.get("type") == "Ready" and c.get("reason") == EXCEEDED for c in items)


def _deadline(snapshot: Snapshot, former: str, left: float) -> str:
    """The deadline for people; the former text while it still says the same, so that the status does not flicker."""
    at = snapshot.now + timedelta(seconds=left)
    before = moment(former)
    return former if before is not None and abs(before - at) <= _SAME_MOMENT else rfc3339(at)


def moment(text: object) -> datetime | None:
    """The moment of an RFC 3339 string; None when it is none."""
    try:
        value = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return value if value is not None and value.tzinfo is not None else None


def rfc3339(at: datetime) -> str:
    """A moment as Kubernetes writes it, to the second."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")

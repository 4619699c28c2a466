"""The status document of a pass, and what of it is worth a Kubernetes Event."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from shuren.domain.app import progress
from shuren.domain.app.plan import (
    Action,
    AppPlan,
    CancelDeployment,
    DeleteApp,
    KillTasks,
    PutApp,
    RecordRevision,
    RestartApp,
    RestoreVersion,
    ScaleApp,
    WriteKind,
)
from shuren.domain.app.progress import Stage
from shuren.domain.app.rollout import rfc3339
from shuren.domain.app.snapshot import Snapshot
from shuren.domain.conditions import ConditionType, written
from shuren.ports.events import Severity
from shuren.ports.kubernetes import Object

MANAGER = "shuren-status"
"""Field manager of the status."""


def document(snapshot: Snapshot, plan: AppPlan) -> Object | None:
    """The whole status; None when the pass has nothing to say."""
    if plan.conditions is None:
        return None
    before = snapshot.resource.status.get("conditions")
    previous = [c for c in before if isinstance(c, Mapping)] if isinstance(before, (list, tuple)) else []
    return {
        **plan.facts,
        "observedGeneration": snapshot.resource.generation,
        "conditions": written(plan.conditions, generation=snapshot.resource.generation, now=rfc3339(snapshot.now), previous=previous),
    }


@dataclass(frozen=True, kw_only=True)
class Notice:
    """One Kubernetes Event."""

    reason: str
    action: str
    note: str
    severity: Severity = Severity.NORMAL


def of_actions(done: Iterable[Action]) -> tuple[Notice, ...]:
    """What was done outside, as far as a person wants to know."""
    return tuple(notice for action in done if (notice := _of_action(action)) is not None)


def _of_action(action: Action) -> Notice | None:
    match action:
        case PutApp(corrects_drift=True):
            note = f"{action}, which somebody deleted in Marathon" if action.kind is WriteKind.CREATE else str(action)
            return Notice(reason="CorrectingDrift", action="Correct", note=note, severity=Severity.WARNING)
        case PutApp(kind=WriteKind.CREATE):
            return Notice(reason="Creating", action="Create", note=str(action))
        case PutApp():
            return Notice(reason="Updating", action="Update", note=str(action))
        case ScaleApp() | KillTasks():
            return Notice(reason="Scaling", action="Scale", note=str(action))
        case RestoreVersion():
            return Notice(reason="RollingBack", action="Rollback", note=str(action), severity=Severity.WARNING)
        case RestartApp():
            return Notice(reason="Restarting", action="Restart", note=str(action))
        case CancelDeployment():
            return Notice(reason="Cancelling", action="Cancel", note=str(action), severity=Severity.WARNING)
        case DeleteApp():
            return Notice(reason="Deleting", action="Delete", note=str(action))
        case RecordRevision(adopted=version, created=False) if version:
            return Notice(reason="Adopted", action="Adopt", note="took over the app as it is; nothing restarts")
        case _:
            return None


_CLUSTER_AWAY = "ClusterUnreachable"


def of_transition(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Notice, ...]:
    """What changed for the user: became ready, stopped being ready for good reason, stalled.

    A cluster that is away is told once, on the MesosCluster: ten thousand apps have nothing to add, and events may get lost in so many.
    """
    old, new = _reasons(before), _reasons(after)
    notices: list[Notice] = []
    stalled = new.get(ConditionType.STALLED.value)
    if stalled is not None and stalled != old.get(ConditionType.STALLED.value):
        notices.append(Notice(reason=stalled[1], action="Reconcile", note=stalled[2], severity=Severity.WARNING))
    ready, was = new.get(ConditionType.READY.value), old.get(ConditionType.READY.value)
    if any(one is not None and one[1] == _CLUSTER_AWAY for one in (ready, was)):
        return tuple(notices)
    if ready is not None and ready[0] == "True" and (was is None or was[0] != "True"):
        notices.append(Notice(reason="Ready", action="Reconcile", note=ready[2]))
    if ready is not None and ready[0] == "Unknown" and was is not None and was[0] == "True":
        notices.append(Notice(reason=ready[1], action="Reconcile", note=ready[2], severity=Severity.WARNING))
    rollout = _of_rollout(before, after)
    return (*notices, rollout) if rollout is not None else tuple(notices)


_AGAINST = frozenset({Stage.ABORTING, Stage.RETREATING, Stage.ABORTED})


def _of_rollout(before: Mapping[str, Any], after: Mapping[str, Any]) -> Notice | None:
    """A gated roll-out has come to another phase, step or weight."""
    was, now = progress.read(before), progress.read(after)
    if now is None or (was is not None and (was.stage, was.step, was.weight) == (now.stage, now.step, now.weight)):
        return None
    severity = Severity.WARNING if now.stage in _AGAINST else Severity.NORMAL
    where = f"step {now.step + 1} of {now.steps}, {now.weight} % of the traffic"
    note = f"revision {now.revision}: {where}" if not now.stage.over else f"revision {now.revision}"
    return Notice(
        reason=f"Rollout{now.stage.value}", action="Rollout", note=f"{note}; {now.message}" if now.message else note, severity=severity
    )


def _reasons(status: Mapping[str, Any]) -> dict[str, tuple[str, str, str]]:
    return {c["type"]: (c["status"], c["reason"], c.get("message", "")) for c in status.get("conditions") or () if "type" in c}

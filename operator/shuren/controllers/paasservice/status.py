"""The status document of a pass, and what of it is worth a Kubernetes Event."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from shuren.domain.app.rollout import rfc3339
from shuren.domain.conditions import ConditionType, written
from shuren.domain.errors import Denied
from shuren.domain.service.plan import Publish, ServiceAction, ServicePlan, Withdraw
from shuren.domain.service.snapshot import ServiceSnapshot
from shuren.domain.service.status import Finding, Phase, conditions, facts
from shuren.ports.events import Severity
from shuren.ports.kubernetes import Object

MANAGER = "shuren-status"
"""Field manager of the status."""


def document(snapshot: ServiceSnapshot, plan: ServicePlan) -> Object | None:
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


def denied(snapshot: ServiceSnapshot, error: Denied) -> ServicePlan:
    """The report when the API server or ZooKeeper refuses us."""
    finding = Finding(phase=Phase.UNKNOWN, reason="AccessDenied", message=str(error))
    return ServicePlan(conditions=conditions(snapshot, finding), facts=facts(snapshot, finding))


@dataclass(frozen=True, kw_only=True)
class Notice:
    """One Kubernetes Event."""

    reason: str
    action: str
    note: str
    severity: Severity = Severity.NORMAL


def of_actions(done: Iterable[ServiceAction]) -> tuple[Notice, ...]:
    """What was done outside, as far as a person wants to know: endpoints come and go too often to be told one by one."""
    notices: list[Notice] = []
    for action in done:
        match action:
            case Publish(before=0):
                notices.append(Notice(reason="Published", action="Publish", note=str(action)))
            case Publish(route=route) if route is not None:
                notices.append(Notice(reason="RouteChanged", action="Publish", note=str(action)))
            case Withdraw():
                notices.append(Notice(reason="Withdrawn", action="Withdraw", note=str(action)))
            case _:
                pass
    return tuple(notices)


_CLUSTER_AWAY = "ClusterUnreachable"


def of_transition(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Notice, ...]:
    """What changed for the user; a cluster that is away is told on the MesosCluster."""
    old, new = _reasons(before), _reasons(after)
    notices: list[Notice] = []
    for kind in (ConditionType.STALLED.value, ConditionType.PANIC.value):
        now = new.get(kind)
        if now is not None and now[:2] != old.get(kind, ("", "", ""))[:2]:
            notices.append(Notice(reason=now[1], action="Reconcile", note=now[2], severity=Severity.WARNING))
    ready, was = new.get(ConditionType.READY.value), old.get(ConditionType.READY.value)
    if any(one is not None and one[1] == _CLUSTER_AWAY for one in (ready, was)):
        return tuple(notices)
    if ready is not None and ready[0] == "True" and (was is None or was[0] != "True"):
        notices.append(Notice(reason="Ready", action="Reconcile", note=ready[2]))
    if ready is not None and was is not None and was[0] == "True" and ready[0] != "True":
        notices.append(Notice(reason=ready[1], action="Reconcile", note=ready[2], severity=Severity.WARNING))
    return tuple(notices)


def _reasons(status: Mapping[str, Any]) -> dict[str, tuple[str, str, str]]:
    return {c["type"]: (c["status"], c["reason"], c.get("message", "")) for c in status.get("conditions") or () if "type" in c}

"""The status document of a pass, and what of it is worth a Kubernetes Event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shuren.domain.app.rollout import rfc3339
from shuren.domain.conditions import ConditionType, written
from shuren.domain.errors import Denied
from shuren.domain.shardmap.plan import MapPlan
from shuren.domain.shardmap.snapshot import MapSnapshot
from shuren.domain.shardmap.status import Finding, Phase, conditions, facts
from shuren.ports.events import Severity
from shuren.ports.kubernetes import Object

MANAGER = "shuren-status"
"""Field manager of the status."""


def document(snapshot: MapSnapshot, plan: MapPlan) -> Object | None:
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


def denied(snapshot: MapSnapshot, error: Denied) -> MapPlan:
    """The report when the API server or ZooKeeper refuses us."""
    finding = Finding(phase=Phase.UNKNOWN, reason="AccessDenied", message=str(error))
    return MapPlan(conditions=conditions(finding), facts=facts(snapshot, finding), memory=snapshot.memory)


def only_counts(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether nothing but numbers has changed: such news can wait for a second."""
    return _outline(before) == _outline(after)


def _outline(status: Mapping[str, Any]) -> tuple[object, ...]:
    said = tuple((c.get("type"), c.get("status"), c.get("reason")) for c in status.get("conditions") or ())
    return (said, status.get("observedGeneration"), status.get("path"), status.get("partitioning"))


@dataclass(frozen=True, kw_only=True)
class Notice:
    """One Kubernetes Event."""

    reason: str
    action: str
    note: str
    severity: Severity = Severity.NORMAL


_CLUSTER_AWAY = "ClusterUnreachable"
_WARNINGS = (ConditionType.STALLED, ConditionType.DEGRADED)


def of_transition(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Notice, ...]:
    """What changed for the user; a cluster that is away is told on the MesosCluster."""
    old, new = _reasons(before), _reasons(after)
    notices: list[Notice] = []
    for kind in _WARNINGS:
        now = new.get(kind.value)
        if now is not None and now[:2] != old.get(kind.value, ("", "", ""))[:2]:
            notices.append(Notice(reason=now[1], action="Reconcile", note=now[2], severity=Severity.WARNING))
    if ConditionType.REBALANCING.value in old and ConditionType.REBALANCING.value not in new:
        notices.append(Notice(reason="Rebalanced", action="Reconcile", note="no shard moves any more"))
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

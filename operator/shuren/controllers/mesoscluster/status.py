"""Writes the status of a MesosCluster, when it differs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from shuren.domain.cluster import NUMBERS, ClusterReport
from shuren.domain.conditions import ConditionType, Truth, written
from shuren.ports.events import EventRecorder, Severity
from shuren.ports.kubernetes import MESOS_CLUSTERS, Kubernetes, Object

MANAGER = "shuren-mesoscluster"


def compose(item: Object, report: ClusterReport, *, now: datetime) -> Object:
    """The whole status for a report; what did not flip keeps its transition time."""
    previous = (item.get("status") or {}).get("conditions") or []
    generation = int(item["metadata"].get("generation", 0))
    return {
        "observedGeneration": generation,
        "conditions": written(
            report.conditions,
            generation=generation,
            now=now.isoformat(timespec="seconds").replace("+00:00", "Z"),
            previous=previous,
        ),
        **report.facts,
    }


def numbers(status: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a status that are shown on a slow beat only."""
    return {key: status[key] for key in NUMBERS if key in status}


async def write(kubernetes: Kubernetes, item: Object, status: Object) -> Object:
    """Apply the status."""
    metadata = item["metadata"]
    return await kubernetes.apply_status(MESOS_CLUSTERS, "", metadata["name"], status, manager=MANAGER, uid=metadata.get("uid", ""))


def announce(recorder: EventRecorder, item: Object, report: ClusterReport) -> None:
    """A Kubernetes Event when Ready flips, and none otherwise."""
    ready = next(c for c in report.conditions if c.type is ConditionType.READY)
    before = _status_of(item, ConditionType.READY.value)
    if before == ready.status.value or ready.status is Truth.UNKNOWN:
        return
    severity = Severity.NORMAL if ready.status is Truth.TRUE else Severity.WARNING
    recorder.record(item, severity=severity, reason=ready.reason, action="Connect", note=ready.message)


def _status_of(item: Mapping[str, Any], kind: str) -> str | None:
    conditions = (item.get("status") or {}).get("conditions") or []
    return next((str(c.get("status")) for c in conditions if c.get("type") == kind), None)

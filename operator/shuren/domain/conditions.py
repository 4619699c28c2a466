"""Conditions as kstatus, `kubectl wait`, Argo CD and Flux read them.

`Ready` is always there, exactly once. `Reconciling` and `Stalled` are there only while true. Every condition carries the generation that it
was computed from; `lastTransitionTime` moves only when `status` flips, so that an unchanged world gives an unchanged status.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from shuren.domain.json import JsonValue


class Truth(Enum):
    """Kubernetes' three values."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class ConditionType(Enum):
    """All condition types of all kinds, in the order in which they are written."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    ACCEPTED = "Accepted"
    DEPLOYED = "Deployed"
    TARGET_REACHABLE = "TargetReachable"
    MARATHON_REACHABLE = "MarathonReachable"
    ZOOKEEPER_REACHABLE = "ZooKeeperReachable"
    MESOS_REACHABLE = "MesosReachable"
    DELETIONS_HELD = "DeletionsHeld"
    IN_SYNC = "InSync"
    PANIC = "Panic"
    LOAD_BALANCER_SILENT = "LoadBalancerSilent"
    REBALANCING = "Rebalancing"
    DEGRADED = "Degraded"
    PAUSED = "Paused"
    SUSPENDED = "Suspended"
    ADVICE = "Advice"


_ORDER = {kind: position for position, kind in enumerate(ConditionType)}
_ONLY_WHILE_TRUE = frozenset(
    {
        ConditionType.RECONCILING,
        ConditionType.STALLED,
        ConditionType.SUSPENDED,
        ConditionType.ADVICE,
        ConditionType.DELETIONS_HELD,
        ConditionType.PANIC,
        ConditionType.LOAD_BALANCER_SILENT,
        ConditionType.REBALANCING,
        ConditionType.DEGRADED,
        ConditionType.PAUSED,
    }
)
_LONGEST_MESSAGE = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """One finding. `reason` is a stable CamelCase word, `message` says what it means and what to do."""

    type: ConditionType
    status: Truth
    reason: str
    message: str = ""


def is_true(conditions: Iterable[Condition], kind: ConditionType) -> bool:
    """Whether the condition is present and true."""
    return any(c.type is kind and c.status is Truth.TRUE for c in conditions)


def written(
    conditions: Iterable[Condition], *, generation: int, now: str, previous: Iterable[Mapping[str, JsonValue]] = ()
) -> list[dict[str, JsonValue]]:
    """The `status.conditions` list for these findings.

    `now` (RFC 3339) becomes the transition time of what flipped; what did not flip keeps the time in `previous`. Abnormal-true conditions
    that are not true are left out.
    """
    before = {str(item.get("type")): item for item in previous}
    result: list[dict[str, JsonValue]] = []
    for condition in sorted(conditions, key=lambda c: _ORDER[c.type]):
        if condition.type in _ONLY_WHILE_TRUE and condition.status is not Truth.TRUE:
            continue
        old = before.get(condition.type.value)
        unchanged = old is not None and old.get("status") == condition.status.value
        result.append(
            {
                "type": condition.type.value,
                "status": condition.status.value,
                "observedGeneration": generation,
                "lastTransitionTime": old["lastTransitionTime"] if old is not None and unchanged and "lastTransitionTime" in old else now,
                "reason": condition.reason,
                "message": condition.message[:_LONGEST_MESSAGE],
            }
        )
    return result

"""The status of a PaasService as a function of what was seen and found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from shuren.domain.conditions import Condition, ConditionType, Truth
from shuren.domain.json import JsonValue
from shuren.domain.service.observe import Observed, summary
from shuren.domain.service.snapshot import AppSeen, BalancerSeen, ServiceSnapshot
from shuren.domain.service.values import EndpointState

_MOST_BALANCERS = 64
_MOST_ROLLOUTS = 16


class Phase(Enum):
    """How a pass ended for the user."""

    READY = "ready"
    PROGRESSING = "progressing"
    WAITING = "waiting"
    STALLED = "stalled"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Flaw:
    """One part of the spec that is not followed, with the field to blame. `waits`: it may come right by itself."""

    path: str
    reason: str
    message: str
    waits: bool = False

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result of a pass. `seen` is None when nothing was looked at; then facts stay as they were."""

    phase: Phase
    reason: str
    message: str
    seen: Observed | None = None
    flaws: tuple[Flaw, ...] = ()
    generation: int = 0
    names: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    suspended: bool = False


_TRUTH = {Phase.READY: Truth.TRUE, Phase.UNKNOWN: Truth.UNKNOWN}


def conditions(s: ServiceSnapshot, finding: Finding) -> tuple[Condition, ...]:
    """The conditions, as kstatus reads them. A service that waits for endpoints is not Stalled: they may come."""
    truth = _TRUTH.get(finding.phase, Truth.FALSE)
    found = [Condition(type=ConditionType.READY, status=truth, reason=finding.reason, message=finding.message)]
    if finding.phase in {Phase.PROGRESSING, Phase.WAITING, Phase.UNKNOWN} and not finding.suspended:
        found.append(Condition(type=ConditionType.RECONCILING, status=Truth.TRUE, reason=finding.reason, message=finding.message))
    if finding.phase is Phase.STALLED:
        found.append(Condition(type=ConditionType.STALLED, status=Truth.TRUE, reason=finding.reason, message=finding.message))
    if finding.suspended:
        message = "nothing is published until spec.suspend is false"
        found.append(Condition(type=ConditionType.SUSPENDED, status=Truth.TRUE, reason="Suspended", message=message))
    if finding.seen is not None and finding.seen.panic:
        message = "more endpoints than spec.panicThreshold turned unhealthy at once; those that served go on serving"
        found.append(Condition(type=ConditionType.PANIC, status=Truth.TRUE, reason="TooManyUnhealthy", message=message))
    advice = [(f.reason, str(f)) for f in finding.flaws if f.waits and finding.phase is not Phase.WAITING]
    if finding.seen is not None and s.spec is not None and s.spec.group and not s.balancers:
        message = f"no load balancer of this group has registered: start `shuren lb --group {s.spec.group}`, or correct the group"
        advice.append(("NoLoadBalancer", f"spec.loadBalancer.group: {message}"))
    if advice:
        message = "; ".join(message for _, message in advice)
        found.append(Condition(type=ConditionType.ADVICE, status=Truth.TRUE, reason=advice[0][0], message=message))
    silent = [b.balancer.id for b in s.balancers if not b.balancer.live]
    if silent:
        message = f"no agent runs beside {', '.join(silent[:3])}; it may still serve, and holds up drains: start it, or delete its node"
        found.append(Condition(type=ConditionType.LOAD_BALANCER_SILENT, status=Truth.TRUE, reason="NotLive", message=message))
    return tuple(found)


def facts(s: ServiceSnapshot, finding: Finding) -> dict[str, JsonValue]:
    """All other fields of the status; what cannot be seen now keeps its former value."""
    before = s.resource.status
    if finding.seen is None:
        kept = {key: value for key, value in before.items() if key not in {"conditions", "observedGeneration"}}
        return dict(kept)
    counts = summary(finding.seen.endpoints)
    endpoints: dict[str, JsonValue] = {state.value: counts.by_state.get(state, 0) for state in EndpointState}
    result: dict[str, JsonValue] = {
        "cluster": s.cluster.name,
        "generation": finding.generation,
        "endpoints": {"total": counts.total, **endpoints},
        "ready": f"{counts.ready}/{counts.total}",
        "backends": _backends(s, finding.seen, finding.generation),
        "names": list(finding.names),
        "addresses": list(s.addresses),
        "records": list(finding.folders),
        "loadBalancers": [_balancer(b, finding.generation) for b in s.balancers[:_MOST_BALANCERS]],
    }
    return {key: value for key, value in result.items() if value not in (None, "", [], {})}


def _backends(s: ServiceSnapshot, seen: Observed, generation: int) -> list[JsonValue]:
    result: list[JsonValue] = []
    for backend, apps in zip(s.spec.backends if s.spec is not None else (), s.apps, strict=True):
        ids = {app_id for a in apps for app_id in a.ids}
        places = {f"{host}:{port}" for host, port in backend.addresses}
        own = [e for e in seen.endpoints if (e.app and e.app in ids) or (not e.app and e.id in places)]
        ready = sum(1 for e in own if e.state is EndpointState.READY)
        document: dict[str, JsonValue] = {"name": backend.name, "ready": ready, "total": len(own), "weight": backend.weight}
        rollouts: list[JsonValue] = [_rollout(s, a, seen, generation) for a in apps if a.beside is not None]
        result.append(document | ({"rollouts": rollouts[:_MOST_ROLLOUTS]} if rollouts else {}))
    return result


def _rollout(s: ServiceSnapshot, app: AppSeen, seen: Observed, generation: int) -> dict[str, JsonValue]:
    """A gated roll-out of one app of a backend, as far as this service carries it."""
    ready = sum(1 for e in seen.endpoints if e.app == app.beside_id and e.state is EndpointState.READY)
    behind = any(b.balancer.live and (b.applied is None or b.applied.endpoints < generation) for b in s.balancers)
    return {"app": app.name, "id": app.beside_id, "weight": app.weight, "ready": ready, "acknowledged": not behind}


def _balancer(b: BalancerSeen, generation: int) -> Mapping[str, JsonValue]:
    applied = b.applied
    document: dict[str, JsonValue] = {
        "id": b.balancer.id,
        "live": b.balancer.live,
        "generation": applied.endpoints if applied is not None else 0,
        "behind": max(0, generation - (applied.endpoints if applied is not None else 0)),
        "reloads": applied.reloads if applied is not None else 0,
    }
    if applied is not None and applied.last_reload:
        document["lastReload"] = applied.last_reload
    if applied is not None and applied.problem:
        document["problem"] = applied.problem[:2048]
    return document

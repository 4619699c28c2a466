"""The status of a PaasApp as a function of what was seen and found.

A finding is turned into conditions as kstatus reads them, and the snapshot into the other fields. What cannot be seen now (Marathon is
away) keeps its former value: an outage must not look like a change. The former status is also read here, by a few named questions, since it
is the only memory that outlives the process.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum

from shuren.domain.app import progress, revisions
from shuren.domain.app.progress import Progress, Stage
from shuren.domain.app.rollout import Standing, moment, rfc3339, standing
from shuren.domain.app.snapshot import OWNER_LABEL, Policy, RevisionState, Snapshot
from shuren.domain.conditions import Condition, ConditionType, Truth
from shuren.domain.json import JsonValue
from shuren.domain.marathon.diff import FieldChange
from shuren.domain.marathon.state import ActualApp, QueueItem, TaskFailure

_SHORT = 256
_SAMPLE = 5
_SAME_MOMENT = timedelta(seconds=3)
_WARNINGS = 16


SUSPENDED = Condition(
    type=ConditionType.SUSPENDED,
    status=Truth.TRUE,
    reason="Suspended",
    message="nothing is changed outside until spec.management.suspend is false",
)


class Phase(Enum):
    """How a pass ended for the user.

    READY; PROGRESSING: something is under way; WAITING: for something else, which will come; STALLED: a person must act; UNKNOWN: cannot be
    told now; HELD: nothing is under way and it is not ready, as asked (observing only, drift left alone).
    """

    READY = "ready"
    PROGRESSING = "progressing"
    WAITING = "waiting"
    STALLED = "stalled"
    UNKNOWN = "unknown"
    HELD = "held"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result of a pass.

    `current` names the revision that runs (empty: as before). `in_sync` None means not compared. `drift` are changes made by others.
    `also` is work that goes on although the app is ready, as (reason, message). `deadline` (RFC 3339) is when a roll-out fails. `kept` are
    paths that Marathon keeps otherwise than it was given them. `rollout` is how far a gated roll-out has come (None: as before).
    """

    phase: Phase
    reason: str
    message: str
    in_sync: bool | None = None
    drift: tuple[FieldChange, ...] = ()
    current: str = ""
    deadline: str = ""
    also: tuple[str, str] | None = None
    suspended: bool = False
    kept: tuple[str, ...] = ()
    rollout: Progress | None = None


# ---------------------------------------------------------------------------------------------------- conditions


def conditions(s: Snapshot, finding: Finding) -> tuple[Condition, ...]:
    """The conditions of a finding."""
    result = [Condition(type=ConditionType.READY, status=_READY[finding.phase], reason=finding.reason, message=finding.message)]
    also = (finding.reason, finding.message) if finding.phase in _UNDER_WAY else finding.also
    if also is not None and not finding.suspended:
        result.append(Condition(type=ConditionType.RECONCILING, status=Truth.TRUE, reason=also[0], message=also[1]))
    if finding.phase is Phase.STALLED:
        result.append(Condition(type=ConditionType.STALLED, status=Truth.TRUE, reason=finding.reason, message=finding.message))
    result.append(_in_sync(s, finding))
    if finding.suspended:
        result.append(SUSPENDED)
    if s.desired is not None and s.desired.advice:
        first = s.desired.advice[0]
        text = " ".join(a.message.rstrip(".") + "." for a in s.desired.advice)
        result.append(Condition(type=ConditionType.ADVICE, status=Truth.TRUE, reason=first.reason, message=text))
    return tuple(replace(condition, message=s.veil.over(condition.message)) for condition in result)


_READY = {
    Phase.READY: Truth.TRUE,
    Phase.PROGRESSING: Truth.FALSE,
    Phase.WAITING: Truth.FALSE,
    Phase.STALLED: Truth.FALSE,
    Phase.UNKNOWN: Truth.UNKNOWN,
    Phase.HELD: Truth.FALSE,
}
_UNDER_WAY = frozenset({Phase.PROGRESSING, Phase.WAITING, Phase.UNKNOWN})


def _in_sync(s: Snapshot, finding: Finding) -> Condition:
    kind = ConditionType.IN_SYNC
    if finding.drift:
        paths = ", ".join(c.path for c in finding.drift[:_SAMPLE]) + (", …" if len(finding.drift) > _SAMPLE else "")
        policy = s.management.drift.value
        message = f"changed in Marathon by somebody else: {paths} (spec.management.drift: {policy})"
        return Condition(type=kind, status=Truth.FALSE, reason="Drifted", message=message)
    match finding.in_sync:
        case None:
            return Condition(type=kind, status=Truth.UNKNOWN, reason="NotCompared", message="Marathon's definition could not be compared")
        case True if finding.kept:
            paths = ", ".join(finding.kept[:_SAMPLE]) + (", …" if len(finding.kept) > _SAMPLE else "")
            message = f"Marathon has taken the definition, but keeps these fields otherwise: {paths}; it may not know them"
            return Condition(type=kind, status=Truth.TRUE, reason="KeptOtherwise", message=message)
        case True:
            return Condition(type=kind, status=Truth.TRUE, reason="InSync", message="")
        case False:
            yet = "" if finding.phase in {Phase.STALLED, Phase.HELD} else " yet"
            return Condition(type=kind, status=Truth.FALSE, reason="Different", message=f"Marathon does not have this definition{yet}")


# ---------------------------------------------------------------------------------------------------- the other fields


def facts(s: Snapshot, finding: Finding) -> dict[str, JsonValue]:
    """All fields of the status but `conditions` and `observedGeneration`."""
    seen = _visible(s)
    before = {k: v for k, v in s.resource.status.items() if k not in {"conditions", "observedGeneration"}}
    result: dict[str, JsonValue] = before if not seen else {"cluster": _home(s)}
    result["selector"] = f"{OWNER_LABEL}={s.resource.uid}"
    if seen:
        result |= _of_marathon(s, finding)
    result["revision"] = _revisions(s, finding)
    result["rollout"] = _rollout(s, finding, before) if seen else before.get("rollout")
    result["drift"] = _drift(finding) if seen else before.get("drift")
    warnings = [*(a.message for a in s.desired.advice), *s.desired.warnings] if s.desired is not None else []
    result["warnings"] = [s.veil.over(warning)[:2048] for warning in warnings[:_WARNINGS]]
    return {key: value for key, value in result.items() if value not in (None, "", [], {})}


def _rollout(s: Snapshot, finding: Finding, before: Mapping[str, JsonValue]) -> JsonValue:
    """What is known of a gated roll-out: what this pass says, else as before while something is beside, else how the last one ended."""
    if finding.rollout is not None:
        return progress.document(finding.rollout)
    if s.owns_beside:
        return before.get("rollout")
    ended = progress.at_rest(s)
    return progress.document(ended) if ended is not None else None


def _visible(s: Snapshot) -> bool:
    """Whether the picture of Marathon is good enough to speak of."""
    cluster = s.cluster
    usable = cluster.exists and cluster.connected and cluster.synced and cluster.problem is None and cluster.unreachable_for is None
    return usable and (s.desired is not None or s.app is not None or s.claim is not None)


def _home(s: Snapshot) -> str:
    """The cluster that the app was written on; while one is being left, still that one, since it must be asked before the end."""
    before = former_cluster(s)
    leaving = any(old.cluster == before for old in s.elsewhere)
    return before if leaving and before else (s.cluster.name if s.owned else before)


def _of_marathon(s: Snapshot, finding: Finding) -> dict[str, JsonValue]:
    app = s.app if s.owned or s.management.policy is Policy.OBSERVE_ONLY else None
    wanted = s.wanted_instances
    if app is None:
        none: dict[str, JsonValue] = {"desired": wanted, "staged": 0, "running": 0, "healthy": 0, "unhealthy": 0, "updated": 0}
        return {"instances": 0, "counts": none, "ready": f"0/{wanted}"}
    now = _as_last_known(s, standing(app, desired=wanted))
    marathon: dict[str, JsonValue] = {"id": app.id[:1024], "version": app.version[:64]}
    deployment = _deployment(s, app, finding)
    if deployment is not None:
        marathon["deployment"] = deployment
    tried = _tried_beside(s, finding)
    if tried is not None:
        now = replace(now, updated=standing(tried, desired=wanted).updated)
    return {
        "instances": app.instances,
        "counts": counts(now),
        "ready": f"{now.ready}/{now.desired}",
        "marathon": marathon,
        "lastTaskFailure": _failure(s, tried or app),
        "waiting": _waiting(s if tried is None or s.beside is None else replace(s, queue=s.beside.queue)),
    }


def _tried_beside(s: Snapshot, finding: Finding) -> ActualApp | None:
    """The app that runs the target revision beside the one that serves, while it does."""
    told = finding.rollout
    if told is None or s.beside is None or s.desired is None or told.stage.over or told.stage is Stage.RETIRING:
        return None
    return s.beside.app if told.revision == s.desired.revision else None


def _as_last_known(s: Snapshot, now: Standing) -> Standing:
    """Instances whose health is unknown now count as they did before: a new leader of Marathon knows of none for a while."""
    if not (now.has_checks and now.serving and was_ready(s)):
        return now
    before = _mapping(s.resource.status.get("counts")).get("healthy")
    unknown = now.running - now.healthy - now.unhealthy
    known = before if isinstance(before, int) else 0
    return replace(now, healthy=now.healthy + max(0, min(unknown, known - now.healthy)))


def counts(now: Standing) -> dict[str, JsonValue]:
    """Instances by what they do."""
    return {
        "desired": now.desired,
        "staged": now.staged,
        "running": now.running,
        "healthy": now.healthy,
        "unhealthy": now.unhealthy,
        "updated": now.updated,
    }


def _deployment(s: Snapshot, app: ActualApp, finding: Finding) -> dict[str, JsonValue] | None:
    if not app.deployments:
        return None
    known = s.deployment
    result: dict[str, JsonValue] = {"id": app.deployments[0][:128], "step": 0, "totalSteps": 0}
    if known is not None and known.id == app.deployments[0]:
        result |= {"step": known.current_step, "totalSteps": known.total_steps}
    if finding.deadline:
        result["deadline"] = finding.deadline
    return result


def _failure(s: Snapshot, app: ActualApp) -> dict[str, JsonValue] | None:
    failure = present_failure(app)
    if failure is None:
        return None
    result: dict[str, JsonValue] = {
        "message": s.veil.over(failure.message)[:1024],
        "host": failure.host[:253],
        "time": failure.timestamp[:64],
        "taskId": failure.task_id[:1024],
        "state": failure.state[:64],
    }
    incarnation = failure.task_id.rpartition(".")[2]
    if _ATTEMPT.fullmatch(incarnation):
        result["attempt"] = int(incarnation)
    return {key: value for key, value in result.items() if value != ""}


_ATTEMPT = re.compile("[0-9]{1,9}")


def present_failure(app: ActualApp) -> TaskFailure | None:
    """The last failure if it is one of the current configuration: Marathon keeps the last one until the app is deleted."""
    failure = app.last_task_failure
    if failure is None or (failure.version or failure.timestamp) < app.last_config_change_at:
        return None
    return failure


# ---------------------------------------------------------------------------------------------------- why nothing starts

_REJECTIONS = {
    "UnfulfilledRole": "no agent offers resources for the app's role (acceptedResourceRoles, role)",
    "UnfulfilledConstraint": "no agent meets the constraints",
    "NoCorrespondingReservationFound": "no agent has the reservation that the volumes need",
    "AgentMaintenance": "the agents are in maintenance",
    "InsufficientCpus": "no agent has enough cpus free",
    "InsufficientMemory": "no agent has enough memory free",
    "InsufficientDisk": "no agent has enough disk free",
    "InsufficientGpus": "no agent has enough gpus free",
    "InsufficientPorts": "no agent has the ports free",
    "DeclinedScarceResources": "agents with gpus are kept for apps that ask for them",
}


def waiting_reason(item: QueueItem) -> tuple[str, str]:
    """Why instances wait, as (reason, message). No numbers: they change with every offer."""
    if not item.overdue and item.delay_seconds > 0:
        return "Backoff", "tasks failed and Marathon waits before the next launch"
    most = max(item.rejections.items(), key=lambda pair: pair[1], default=("", 0))
    if most[1] > 0:
        return most[0], _REJECTIONS.get(most[0], "Marathon declines all offers")
    return "WaitingForOffers", "Mesos has not made a suitable offer yet"


def waiting_clause(s: Snapshot) -> str:
    """Why the instances do not start, as the end of a sentence; empty when none waits."""
    clause = f"; {waiting_reason(s.queue)[1]}" if s.queue is not None and s.queue.count > 0 else ""
    failure = present_failure(s.app) if s.app is not None else None
    if failure is not None:
        clause += f"; last task failure on {failure.host or 'an unknown agent'}: {s.veil.over(failure.message)[:200]}"
    return clause


def _waiting(s: Snapshot) -> dict[str, JsonValue] | None:
    if s.queue is None or s.queue.count == 0:
        return None
    reason, message = waiting_reason(s.queue)
    result: dict[str, JsonValue] = {"reason": reason[:64], "message": message}
    if reason == "Backoff":
        until = s.now + timedelta(seconds=s.queue.delay_seconds)
        former = moment(_mapping(s.resource.status.get("waiting")).get("backoffUntil"))
        result["backoffUntil"] = rfc3339(former if former is not None and abs(former - until) <= _SAME_MOMENT else until)
    return result


# ---------------------------------------------------------------------------------------------------- revisions, drift


def _revisions(s: Snapshot, finding: Finding) -> dict[str, JsonValue]:
    before = _mapping(s.resource.status.get("revision"))
    if s.desired is None:
        return dict(before)
    record = revisions.find(s.revisions, s.desired.revision)
    good = revisions.last_good(s.revisions, app_id=s.desired.app_id)
    result: dict[str, JsonValue] = {
        "current": finding.current or before.get("current"),
        "target": s.desired.revision,
        "lastGood": good.hash if good is not None else None,
        "failed": record.hash if record is not None and record.state in {RevisionState.FAILED, RevisionState.WITHDRAWN} else None,
    }
    return {key: value for key, value in result.items() if value}


def _drift(finding: Finding) -> dict[str, JsonValue] | None:
    if not finding.drift:
        return None
    sample: list[JsonValue] = [
        {
            key: value
            for key, value in (("path", c.path[:512]), ("desired", _shown(c.after)), ("actual", _shown(c.before)))
            if value is not None
        }
        for c in finding.drift[:_SAMPLE]
    ]
    return {"detected": True, "count": len(finding.drift), "sample": sample}


def _shown(value: JsonValue) -> str | None:
    return None if value is None else str(value)[:_SHORT]


# ---------------------------------------------------------------------------------------------------- questions to the former status


def was_ready(s: Snapshot) -> bool:
    """Whether the former status said Ready."""
    return _condition(s, ConditionType.READY).get("status") == Truth.TRUE.value


def was_settled(s: Snapshot) -> bool:
    """Whether this generation had been brought about already, so that a difference now is somebody else's doing."""
    return (
        s.resource.status.get("observedGeneration") == s.resource.generation
        and not _condition(s, ConditionType.RECONCILING)
        and not _condition(s, ConditionType.STALLED)
    )


def former_cluster(s: Snapshot) -> str:
    """The cluster that the app was last written on."""
    return _text(s.resource.status.get("cluster"))


def former_reason(s: Snapshot) -> str:
    """The reason of the former Ready condition."""
    return _text(_condition(s, ConditionType.READY).get("reason"))


def former_generation(s: Snapshot) -> int:
    """The generation that the former status spoke of."""
    value = s.resource.status.get("observedGeneration")
    return value if isinstance(value, int) else 0


def former_deployment(s: Snapshot) -> Mapping[str, JsonValue]:
    """The deployment in the former status."""
    return _mapping(_mapping(s.resource.status.get("marathon")).get("deployment"))


def _condition(s: Snapshot, kind: ConditionType) -> Mapping[str, JsonValue]:
    items = s.resource.status.get("conditions")
    for item in items if isinstance(items, (list, tuple)) else ():
        if isinstance(item, Mapping) and item.get("type") == kind.value:
            return item
    return {}


def _mapping(value: JsonValue) -> Mapping[str, JsonValue]:
    return value if isinstance(value, Mapping) else {}


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else ""


def with_suspended(given: tuple[Condition, ...]) -> tuple[Condition, ...]:
    """The conditions of a pass that had nothing to do outside, for a suspended resource: nothing is under way by us."""
    kept = tuple(c for c in given if c.type is not ConditionType.RECONCILING)
    return (*kept, SUSPENDED)

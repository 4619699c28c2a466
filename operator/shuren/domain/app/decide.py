"""The decision about one PaasApp: snapshot in, plan out.

A chain of small checks says what holds a pass up; if nothing does, `converge` brings Marathon to the spec and `supervise` watches it.
`suspend` and former refusals by Marathon are filters over the finished plan. Deletion is a plan of its own (`deletion`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from shuren.domain.app import converge, deletion, status
from shuren.domain.app.plan import OUTSIDE, AppPlan, PutApp, RestoreVersion, ScaleApp, summary
from shuren.domain.app.snapshot import PENDING, Snapshot
from shuren.domain.app.status import Finding, Phase
from shuren.domain.app.work import SETTLE, report, signature, silent
from shuren.domain.errors import Unreachable

_LOOK_AGAIN = 30.0
REFUSAL_STANDS = 300.0
"""Seconds for which a definition that Marathon refused is not sent again: what it judges by (roles, features) may change, though rarely."""


def decide(snapshot: Snapshot) -> AppPlan:
    """What to do now. Never raises on any snapshot."""
    if snapshot.resource.deleting:
        return deletion.decide(snapshot)
    for check in CHECKS:
        held = check(snapshot)
        if held is not None:
            if not held.speaks:
                return silent(snapshot, requeue_after=held.requeue_after)
            finding = replace(held.finding, suspended=snapshot.management.suspend)
            return report(snapshot, finding, requeue_after=held.requeue_after)
    if snapshot.desired is None:  # a gatherer always says why; without a reason there is nothing to do
        return silent(snapshot, requeue_after=SETTLE)
    try:
        plan = converge.towards(snapshot, snapshot.desired)
    except Unreachable as error:
        message = f"{error}; nothing is changed until it can be read"
        return report(snapshot, Finding(phase=Phase.UNKNOWN, reason="NotUnderstood", message=message), requeue_after=_LOOK_AGAIN)
    for restrain in (_suspended, _refused_before):
        plan = restrain(snapshot, plan)
    return plan


# ---------------------------------------------------------------------------------------------------- what holds a pass up


@dataclass(frozen=True, kw_only=True)
class Held:
    """A pass ends here. `speaks` False leaves the status as it is: nothing is known better than before."""

    finding: Finding
    speaks: bool = True
    requeue_after: float | None = None


def namespace_is_going(s: Snapshot) -> Held | None:
    """This resource goes next. Its revisions may have gone before it, and without them what failed would be tried again."""
    if not s.namespace_going:
        return None
    finding = Finding(phase=Phase.UNKNOWN, reason="NamespaceTerminating", message="the namespace is being deleted")
    return Held(finding=finding, speaks=False)


def spec_is_invalid(s: Snapshot) -> Held | None:
    """Only the user can help: the schema, tenancy or a patch refuses the spec. What runs stays as it is."""
    if s.problem is None:
        return None
    return Held(finding=Finding(phase=Phase.STALLED, reason=s.problem.reason, message=s.problem.message))


def cluster_does_not_exist(s: Snapshot) -> Held | None:
    """The MesosCluster may come later, as in one `kubectl apply -f dir/`."""
    if s.cluster.exists:
        return None
    message = f"MesosCluster {s.cluster.name} does not exist (spec.clusterRef.name); waiting for it"
    return Held(finding=Finding(phase=Phase.WAITING, reason="ClusterNotFound", message=message))


def cluster_is_unusable(s: Snapshot) -> Held | None:
    """Its own conditions say what is the matter; ours point there."""
    if s.cluster.problem is None:
        return None
    message = f"MesosCluster {s.cluster.name} cannot be used: {s.cluster.problem.message}"
    return Held(finding=Finding(phase=Phase.UNKNOWN, reason="ClusterNotReady", message=message))


def cluster_is_unreachable(s: Snapshot) -> Held | None:
    """Within the grace nothing is said; after it Ready is Unknown, for the app itself may well be running."""
    away = s.cluster.unreachable_for
    if away is None:
        return None
    finding = Finding(
        phase=Phase.UNKNOWN,
        reason="ClusterUnreachable",
        message=f"MesosCluster {s.cluster.name}: {s.cluster.silence}; the app itself may well be running",
    )
    left = s.cluster.grace - away
    if left <= 0:
        return Held(finding=finding)
    # nobody tells when it is back within the grace: it is looked at again
    return _until_known(s, requeue_after=min(left, SETTLE), why=s.cluster.silence)


def cluster_is_not_read_yet(s: Snapshot) -> Held | None:
    """No decision on half a picture: what is not in it would look deleted."""
    if s.cluster.connected and s.cluster.synced:
        return None
    return _until_known(s, requeue_after=SETTLE)


def _until_known(s: Snapshot, *, requeue_after: float, why: str = "it has not been read yet") -> Held:
    finding = Finding(phase=Phase.UNKNOWN, reason=PENDING, message=f"MesosCluster {s.cluster.name}: {why}")
    # what was just written is told as soon as it is seen
    return Held(finding=finding, speaks=not s.resource.status and not s.memory.deployments, requeue_after=requeue_after)


def id_is_owned_by_another(s: Snapshot) -> Held | None:
    """The older claim wins."""
    if s.claim is None or s.owned or s.holder_gone:
        return None
    message = (
        f"app id {s.claim.app_id} is claimed by PaasApp {s.claim.namespace}/{s.claim.name}; choose another spec.id, or delete that "
        "resource (with spec.management.deletion: Orphan to keep the app running)"
    )
    return Held(finding=Finding(phase=Phase.STALLED, reason="OwnedByOther", message=message))


def references_are_not_read_yet(s: Snapshot) -> Held | None:
    """They are being read; what was said of them before stays said."""
    if s.waiting is None or s.waiting.reason != PENDING:
        return None
    finding = Finding(phase=Phase.UNKNOWN, reason=s.waiting.reason, message=s.waiting.message)
    return Held(finding=finding, speaks=not s.resource.status, requeue_after=SETTLE)


def something_is_missing(s: Snapshot) -> Held | None:
    """A Secret, a ConfigMap: it will come, and what runs stays as it is."""
    if s.waiting is None:
        return None
    return Held(finding=Finding(phase=Phase.WAITING, reason=s.waiting.reason, message=s.waiting.message))


CHECKS: tuple[Callable[[Snapshot], Held | None], ...] = (
    namespace_is_going,
    spec_is_invalid,
    cluster_does_not_exist,
    cluster_is_unusable,
    cluster_is_unreachable,
    cluster_is_not_read_yet,
    id_is_owned_by_another,
    references_are_not_read_yet,
    something_is_missing,
)


# ---------------------------------------------------------------------------------------------------- filters over the plan


def _suspended(s: Snapshot, plan: AppPlan) -> AppPlan:
    """Nothing is changed outside. Ready keeps its value while nothing is pending, else it is Unknown."""
    if not s.management.suspend:
        return plan
    outside = tuple(a for a in plan.actions if isinstance(a, OUTSIDE))
    if outside:
        finding = Finding(phase=Phase.UNKNOWN, reason="Suspended", message=f"suspended; pending: {summary(outside)}", suspended=True)
        return report(s, finding)
    return plan if plan.conditions is None else replace(plan, conditions=status.with_suspended(plan.conditions))


def _refused_before(s: Snapshot, plan: AppPlan) -> AppPlan:
    """What Marathon has refused is not sent again for a while; what runs stays as it is."""
    refusal = s.memory.refusal
    if refusal is None:
        return plan
    left = refusal.at + REFUSAL_STANDS - s.monotonic
    if left <= 0 or not any(signature_of(action) == refusal.body for action in plan.actions):
        return plan
    return refused(s, refusal.message, requeue_after=left)


def signature_of(action: object) -> str:
    """What a refusal of this action is remembered by; empty for actions that Marathon does not judge."""
    match action:
        case PutApp():
            return signature(action.definition)
        case ScaleApp():
            return signature({"id": action.app_id, "instances": action.instances})
        case RestoreVersion():
            return signature({"id": action.app_id, "restore": action.revision})
        case _:
            return ""


def refused(s: Snapshot, message: str, *, requeue_after: float) -> AppPlan:
    """The report after a refusal."""
    finding = Finding(phase=Phase.STALLED, reason="RefusedByMarathon", message=message, in_sync=False)
    return report(s, finding, requeue_after=requeue_after)

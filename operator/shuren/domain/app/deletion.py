"""The end of a PaasApp: what goes in Marathon, in which order, and when the finalizer may go.

Order: the app in Marathon, then the claim, then the finalizer; a crash in between repeats the rest. Only what our claim covers is touched.
An unreachable cluster holds the deletion up, and says so, until it answers or a person lets go with the force-orphan annotation.
"""

from __future__ import annotations

from shuren.domain.app.plan import Action, AppPlan, DeleteApp, ReleaseClaim, RemoveFinalizer
from shuren.domain.app.snapshot import FINALIZER, FORCE_ORPHAN, Deletion, Elsewhere, Policy, Snapshot
from shuren.domain.app.status import Finding, Phase
from shuren.domain.app.work import SETTLE, report, silent

_LOOK_AGAIN = 30.0


def decide(s: Snapshot) -> AppPlan:
    """The next steps of a deletion."""
    if FINALIZER not in s.resource.finalizers:
        return AppPlan(memory=s.memory)
    mine = _mine(s)
    if s.resource.annotations.get(FORCE_ORPHAN) == "true":
        released = tuple(ReleaseClaim(app_id=owned.app_id, cluster=owned.cluster, best_effort=True) for owned in mine if owned.reachable)
        return AppPlan(actions=(*released, RemoveFinalizer()), memory=s.memory)
    if s.management.suspend:
        message = f"nothing is deleted until spec.management.suspend is false; annotate {FORCE_ORPHAN}=true to let the app run on"
        return _hold(s, "Suspended", message, suspended=True)
    away = _unreachable(s)
    if away is not None:
        return away
    return _steps(s, mine)


def _steps(s: Snapshot, mine: tuple[Elsewhere, ...]) -> AppPlan:
    keeps = s.management.policy is not Policy.FULL or s.management.deletion is Deletion.ORPHAN
    actions: list[Action] = []
    deleting = ""
    for owned in mine:
        if owned.app is None or keeps:
            actions.append(ReleaseClaim(app_id=owned.app_id, cluster=owned.cluster))
        elif owned.deletion_wait > 0:
            message = "too many apps of this cluster were deleted within a minute (spec.deletionGuard of the MesosCluster); going on slowly"
            return _hold(s, "DeletionGuard", message, requeue_after=owned.deletion_wait)
        elif owned.locked_by_others:
            return _hold(s, "Locked", f"a deployment of several apps holds {owned.app_id}; waiting for it to end", requeue_after=SETTLE)
        else:
            actions.append(DeleteApp(app_id=owned.app_id, cluster=owned.cluster, force=bool(owned.app.deployments)))
            deleting = owned.app_id
    if deleting:
        finding = Finding(phase=Phase.PROGRESSING, reason="Deleting", message=f"{deleting} is being deleted in Marathon")
        return report(s, finding, actions=tuple(actions), requeue_after=SETTLE)
    return AppPlan(actions=(*actions, RemoveFinalizer()), memory=s.memory)


def _mine(s: Snapshot) -> tuple[Elsewhere, ...]:
    """All ids that this resource has claimed: the present one and older ones."""
    here: tuple[Elsewhere, ...] = ()
    if s.claim is not None and s.owned:
        foreign = s.deployment is not None and set(s.deployment.affected_apps) - {s.claim.app_id}
        here = (
            Elsewhere(
                cluster=s.cluster.name,
                app_id=s.claim.app_id,
                app=s.app,
                reachable=_usable(s),
                locked_by_others=bool(foreign),
                deletion_wait=s.deletion_wait,
            ),
        )
    return here + _beside(s) + s.elsewhere


def _beside(s: Snapshot) -> tuple[Elsewhere, ...]:
    found = s.beside
    if found is None or not s.owns_beside:
        return ()
    foreign = found.deployment is not None and set(found.deployment.affected_apps) - {found.app_id}
    return (
        Elsewhere(
            cluster=s.cluster.name,
            app_id=found.app_id,
            app=found.app,
            reachable=_usable(s),
            locked_by_others=bool(foreign),
            deletion_wait=s.deletion_wait,
        ),
    )


def _usable(s: Snapshot) -> bool:
    cluster = s.cluster
    return cluster.exists and cluster.connected and cluster.synced and cluster.problem is None


def _unreachable(s: Snapshot) -> AppPlan | None:
    """The plan while a cluster that must be asked cannot be; None when all can."""
    away = s.cluster.unreachable_for
    name = s.cluster.name
    if s.cluster.exists and s.cluster.problem is None:
        if away is not None and away < s.cluster.grace:
            return silent(s, requeue_after=min(s.cluster.grace - away, SETTLE))
        if away is None and not _usable(s):
            return silent(s, requeue_after=SETTLE)
    if _usable(s) and away is None:
        name = next((old.cluster for old in s.elsewhere if not old.reachable), "")
        if not name:
            return None
    why = f" ({s.cluster.silence})" if name == s.cluster.name and away is not None else ""
    message = f"MesosCluster {name} cannot be reached{why}, so its app cannot be deleted; annotate {FORCE_ORPHAN}=true to leave it running"
    return _hold(s, "ClusterUnreachable", message)


def _hold(s: Snapshot, reason: str, message: str, *, requeue_after: float = _LOOK_AGAIN, suspended: bool = False) -> AppPlan:
    return report(s, Finding(phase=Phase.UNKNOWN, reason=reason, message=message, suspended=suspended), requeue_after=requeue_after)

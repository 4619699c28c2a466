"""Marathon has what the spec asks for: watch the roll-out to its end, good or bad, and go back when it fails."""

from __future__ import annotations

from dataclasses import replace

from shuren.domain.app import revisions, rollout, status
from shuren.domain.app.plan import (
    Action,
    AppPlan,
    CancelDeployment,
    DeleteApp,
    MarkRevision,
    PruneRevision,
    RecordRevision,
    ReleaseClaim,
    RestartApp,
    RestoreVersion,
)
from shuren.domain.app.rollout import Standing, Verdict
from shuren.domain.app.snapshot import RESTART, Deletion, OnFailure, Policy, Revision, RevisionState, Snapshot
from shuren.domain.app.status import Finding, Phase
from shuren.domain.app.work import SETTLE, Work, footing, is_ours, just_created, preparations, report
from shuren.domain.marathon.state import ActualApp

_SOON = 0.2
"""Seconds after which a pass follows that only has to tell what this one has written down."""
_LOOK_AGAIN = 30.0
"""Seconds after which a roll-out is looked at although nothing was heard of it."""


def watch(work: Work, app: ActualApp) -> AppPlan:
    """One look at an app whose definition is as asked."""
    s = work.s
    now = rollout.standing(app, desired=app.instances)
    before = preparations(work)
    asked = _restart_asked(s, app)
    if asked and not app.deployments:
        finding = Finding(phase=Phase.PROGRESSING, reason="Restarting", message="replacing all tasks, as asked for", in_sync=True)
        return report(s, finding, actions=(*before, RestartApp(app_id=app.id, asked=asked)), requeue_after=SETTLE)
    if now.complete and not app.deployments:
        return _complete(work, app, now, before)
    trying = work.is_newest and work.record is not None and work.record.state is RevisionState.TRYING
    if not app.deployments and work.applied:
        return _steady(work, now, before)
    if not app.deployments and trying and now.outdated and not before:
        finding = Finding(phase=Phase.PROGRESSING, reason="RollingOut", message="finishing a roll-out that was broken off", in_sync=True)
        return report(s, finding, actions=(RestartApp(app_id=app.id),), requeue_after=SETTLE)
    judged = rollout.judge(s, now, revision=work.desired.revision)
    if trying and work.record is not None and judged.verdict is not Verdict.MOVING:
        return _fail(work, app, judged.verdict, work.record)
    ours = trying or all(is_ours(s, d) for d in app.deployments)
    message = f"instances of revision {work.desired.revision} are being started"
    if judged.verdict is not Verdict.MOVING:
        message = rollout.why(s, judged.verdict)
    reason = "RollingOut" if trying or just_created(s) else "Scaling" if ours else "Deploying"
    finding = Finding(
        phase=Phase.PROGRESSING,
        reason=reason if judged.verdict is Verdict.MOVING else rollout.EXCEEDED,
        message=message + status.waiting_clause(s),
        in_sync=True,
        deadline=judged.memory.deadline if judged.verdict is Verdict.MOVING else "",
        kept=work.kept,
    )
    requeue = min(max(judged.left, 0.1), _LOOK_AGAIN) if judged.verdict is Verdict.MOVING else _LOOK_AGAIN
    return report(s, finding, actions=before, requeue_after=requeue, memory=judged.memory)


def _restart_asked(s: Snapshot, app: ActualApp) -> str:
    """The value of the annotation that asks for a restart which has not happened yet; else empty.

    Tasks of a configuration that is newer are what was asked for, so that a restart happens once, whoever crashes in between. What this
    process has followed it does not follow again, even where Marathon's clock is behind.
    """
    asked = s.resource.annotations.get(RESTART, "")
    if not asked or asked == s.memory.restarted:
        return ""
    at, since = rollout.moment(asked), rollout.moment(app.last_config_change_at)
    return asked if at is not None and since is not None and since <= at else ""


# ---------------------------------------------------------------------------------------------------- it runs


def _complete(work: Work, app: ActualApp, now: Standing, before: tuple[Action, ...]) -> AppPlan:
    """All instances are there: the revision is good, old ones are forgotten, and what was left elsewhere may go."""
    s, record = work.s, work.record
    if just_created(s):
        before = tuple(replace(a, adopted=app.version, created=True) if isinstance(a, RecordRevision) else a for a in before)
        s = _with_recorded(s, before)
    actions = list(before)
    # a version older than what Marathon keeps otherwise would let the next process write that again
    outdated = bool(work.kept) and record is not None and record.marathon_version < app.last_config_change_at
    if record is not None and not before and (record.state is not RevisionState.GOOD or outdated):
        actions.append(MarkRevision(name=record.name, revision=record.hash, state=RevisionState.GOOD, marathon_version=app.version))
        s = _with_good(s, record, app.version)
    superfluous = revisions.superfluous(s.revisions, target=work.desired.revision, app_id=work.desired.app_id)
    actions += [PruneRevision(name=r.name, revision=r.hash) for r in superfluous]
    left, leaving = _leave_elsewhere(s)
    actions += left
    finding = Finding(
        phase=Phase.READY,
        reason="Stopped" if now.desired == 0 else "Ready",
        message="no instances are asked for" if now.desired == 0 else "all instances are ready",
        in_sync=True,
        current=work.desired.revision,
        also=leaving,
        kept=work.kept,
    )
    memory = replace(s.memory, revision="", measure=(), progress_at=None, deadline="", unhealthy_since=None, refusal=None)
    told = all(isinstance(action, RecordRevision) and action.created for action in before)
    requeue = _SOON if left or not told else SETTLE if leaving is not None else None
    return report(s, finding, actions=tuple(actions), requeue_after=requeue, memory=memory)


def _with_recorded(s: Snapshot, actions: tuple[Action, ...]) -> Snapshot:
    """The snapshot as it is once a good revision is recorded."""
    recorded = tuple(
        Revision(name="", hash=a.revision, number=a.number, state=RevisionState.GOOD, app_id=a.app_id, marathon_version=a.adopted)
        for a in actions
        if isinstance(a, RecordRevision)
    )
    return replace(s, revisions=(*s.revisions, *recorded))


def _with_good(s: Snapshot, record: Revision, version: str) -> Snapshot:
    """The snapshot as it is once the revision is marked: what the status says of it need not wait for another pass."""
    good = replace(record, state=RevisionState.GOOD, marathon_version=version, failure="", beside="", aborted=False)
    return replace(s, revisions=tuple(good if r == record else r for r in s.revisions))


def _steady(work: Work, now: Standing, before: tuple[Action, ...]) -> AppPlan:
    """A good revision runs and Marathon deploys nothing, yet something is missing: tasks crash or agents are away; Marathon replaces."""
    s = work.s
    ready = now.serving and status.was_ready(s)
    finding = Finding(
        phase=Phase.READY if ready else Phase.PROGRESSING,
        reason="Ready" if ready else "InstancesNotReady",
        message="all instances are ready" if ready else "not all instances are ready" + status.waiting_clause(s),
        in_sync=True,
        current=work.desired.revision,
        kept=work.kept,
    )
    return report(s, finding, actions=before, requeue_after=_SOON if before else None)


def _leave_elsewhere(s: Snapshot) -> tuple[list[Action], tuple[str, str] | None]:
    """What to do about apps under older ids, or in a cluster that was left, now that the new app is there; and what is still under way."""
    actions: list[Action] = []
    leaving: tuple[str, str] | None = None
    keeps = s.management.policy is not Policy.FULL or s.management.deletion is Deletion.ORPHAN
    for old in s.elsewhere:
        where = f"{old.app_id or 'the former app'} in MesosCluster {old.cluster}"
        if not old.reachable:
            leaving = ("LeavingCluster", f"{where} cannot be deleted yet: the cluster cannot be reached")
        elif old.app is None or keeps:
            actions.append(ReleaseClaim(app_id=old.app_id, cluster=old.cluster))
        elif old.deletion_wait > 0:
            leaving = ("DeletionGuard", f"{where} waits to be deleted: too many apps were deleted within a minute")
        elif old.locked_by_others:
            leaving = ("Locked", f"{where} waits to be deleted: a deployment of several apps holds it")
        else:
            actions.append(DeleteApp(app_id=old.app_id, cluster=old.cluster, force=bool(old.app.deployments)))
            leaving = ("DeletingFormer", f"{where} is being deleted")
    return actions, leaving


# ---------------------------------------------------------------------------------------------------- it fails


def _fail(work: Work, app: ActualApp, verdict: Verdict, record: Revision) -> AppPlan:
    s = work.s
    why = rollout.why(s, verdict) + status.waiting_clause(s)
    if s.rollout.on_failure is OnFailure.IGNORE:
        finding = Finding(phase=Phase.PROGRESSING, reason=rollout.EXCEEDED, message=why, in_sync=True, current=work.desired.revision)
        return report(s, finding, requeue_after=_LOOK_AGAIN)
    mark = MarkRevision(name=record.name, revision=record.hash, state=RevisionState.FAILED, failure=why[:512])
    restore = _restore(work, app)
    if restore is not None:
        message = f"revision {record.hash} failed: {why}; going back to {restore.revision}"
        finding = Finding(phase=Phase.PROGRESSING, reason="RollingBack", message=message, in_sync=False)
        return report(s, finding, actions=(*footing(work), mark, restore), requeue_after=SETTLE)
    actions: tuple[Action, ...] = (*footing(work), mark, *_pause(work, app))
    return report(s, failed_finding(work, why), actions=actions, requeue_after=SETTLE)


def _restore(work: Work, app: ActualApp) -> RestoreVersion | None:
    """The step back, if that is the policy and there is a revision to go back to."""
    good = revisions.last_good(work.s.revisions, app_id=app.id, other_than=work.desired.revision)
    withdrawn = work.record is not None and work.record.state is RevisionState.WITHDRAWN
    if good is None or not (withdrawn or work.s.rollout.on_failure is OnFailure.ROLLBACK):
        return None
    return RestoreVersion(app_id=app.id, marathon_version=good.marathon_version, revision=good.hash, instances=app.instances)


def _pause(work: Work, app: ActualApp) -> tuple[Action, ...]:
    if work.s.rollout.on_failure is not OnFailure.PAUSE:
        return ()
    return tuple(CancelDeployment(app_id=app.id, deployment_id=d) for d in app.deployments)


def failed_finding(work: Work, why: str) -> Finding:
    """What is said of a revision that failed and stays."""
    told = (
        work.record.why_not if work.record is not None and work.record.failure == why else f"revision {work.desired.revision} failed: {why}"
    )
    message = f"{told}; change the spec to try again"
    return Finding(phase=Phase.STALLED, reason="RolloutFailed", message=message, in_sync=True)


def failed_runs_on(work: Work, record: Revision, app: ActualApp) -> AppPlan:
    """The failed revision is what Marathon has: it may have healed meanwhile, or the step back was interrupted."""
    s = work.s
    now = rollout.standing(app, desired=app.instances)
    if now.complete and not app.deployments and record.state is RevisionState.FAILED:
        return _complete(work, app, now, preparations(work))
    restore = _restore(work, app)
    if restore is not None:
        message = f"{record.why_not}; going back to {restore.revision}"
        finding = Finding(phase=Phase.PROGRESSING, reason="RollingBack", message=message, in_sync=False)
        return report(s, finding, actions=(*footing(work), restore), requeue_after=SETTLE)
    pause = _pause(work, app)
    return report(s, failed_finding(work, record.failure), actions=(*footing(work), *pause), requeue_after=SETTLE if pause else None)


def rolled_back(work: Work, record: Revision, app: ActualApp) -> Finding:
    """What is said while, and after, an older revision has taken the place of the failed one."""
    s = work.s
    good = revisions.last_good(s.revisions, app_id=app.id, other_than=work.desired.revision)
    name = good.hash if good is not None else "the former version"
    now = rollout.standing(app, desired=app.instances)
    back = bool(app.deployments) or not (now.complete or (now.serving and status.former_reason(s) == "RolledBack"))
    return Finding(
        phase=Phase.PROGRESSING if back else Phase.STALLED,
        reason="RollingBack" if back else "RolledBack",
        message=f"{record.why_not}; " + (f"going back to {name}" if back else f"{name} runs again; change the spec to try another"),
        in_sync=False,
        current=name if good is not None and not back else "",
    )

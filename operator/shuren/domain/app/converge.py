"""From what Marathon has to what the spec asks for: adopt, create, change, scale, or leave a difference alone."""

from __future__ import annotations

from dataclasses import replace

from shuren.domain.app import gated, resize, retire, rollout, status, supervise
from shuren.domain.app.dependencies import unready
from shuren.domain.app.plan import AppPlan, PutApp, WriteKind
from shuren.domain.app.snapshot import Adoption, Desired, DriftPolicy, Policy, Revision, Snapshot
from shuren.domain.app.status import Finding, Phase
from shuren.domain.app.work import SETTLE, Work, assemble, footing, given_up, lock, preparations, report
from shuren.domain.marathon.diff import DifferenceKind
from shuren.domain.marathon.state import ActualApp, Health, TaskState


def towards(s: Snapshot, desired: Desired) -> AppPlan:
    """The next steps for a spec that nothing holds up."""
    work = assemble(s, desired)
    if s.management.policy is Policy.OBSERVE_ONLY:
        return _observe(work)
    plan = gated.towards(work) if gated.applies(work) else None
    return plan if plan is not None else retire.beside(s, _in_place(work))


def _in_place(work: Work) -> AppPlan:
    """The steps on the app that it lives on."""
    s = work.s
    if s.app is None:
        return _create(work)
    if not s.owned:
        refused = _adoption_refused(work)
        if refused is not None:
            return report(s, refused)
    record = work.record
    if record is not None and given_up(s, record):
        return _after_failure(work, record, s.app)
    if work.drifted and s.management.drift is not DriftPolicy.CORRECT:
        return _leave_drift(work, s.app)
    match work.gap.kind:
        case DifferenceKind.NONE:
            plan = supervise.watch(work, s.app)
            return replace(plan, actions=(*resize.serve_on(s.app, s.gates), *plan.actions))
        case DifferenceKind.SCALE:
            return _scale(work, s.app)
        case DifferenceKind.CONFIG:
            return _change(work, s.app)


def _observe(work: Work) -> AppPlan:
    """Status only: no finalizer, no claim, nothing in Marathon."""
    s = work.s
    if s.app is None:
        message = f"observing only: {work.desired.app_id} does not exist in Marathon and is not created"
        return report(s, Finding(phase=Phase.HELD, reason="ObserveOnly", message=message, in_sync=False))
    now = rollout.standing(s.app, desired=s.app.instances)
    ready = now.complete or (now.serving and status.was_ready(s))
    finding = Finding(
        phase=Phase.READY if ready else Phase.HELD,
        reason="Ready" if ready else "InstancesNotReady",
        message="observing only" + ("" if ready else "; not all instances are ready" + status.waiting_clause(s)),
        in_sync=not work.gap,
        drift=work.gap.changes,
    )
    return report(s, finding)


# ---------------------------------------------------------------------------------------------------- create, adopt


def _unready_dependencies(s: Snapshot) -> Finding | None:
    message = unready(s.dependencies)
    return Finding(phase=Phase.WAITING, reason="DependencyNotReady", message=message, in_sync=False) if message else None


def _create(work: Work) -> AppPlan:
    s = work.s
    if work.record is not None and given_up(s, work.record):
        return report(s, supervise.failed_finding(work, work.record.failure))
    if work.applied and s.management.drift is not DriftPolicy.CORRECT:
        message = f"{work.desired.app_id} was deleted in Marathon and spec.management.drift is {s.management.drift.value}"
        in_sync = s.management.drift is DriftPolicy.IGNORE
        return report(s, Finding(phase=Phase.HELD, reason="DeletedInMarathon", message=message, in_sync=in_sync))
    waiting = _unready_dependencies(s)
    if waiting is not None:
        return report(s, waiting)
    put = PutApp(app_id=work.desired.app_id, definition=work.body, kind=WriteKind.CREATE, asked=work.asked, corrects_drift=work.applied)
    # the very first revision is written down when its app is there: until then there is nothing to go back to or to give up
    actions = (*(preparations(work) if s.revisions else footing(work)), put)
    if s.hurried:
        return AppPlan(actions=actions, requeue_after=SETTLE, memory=s.memory, overtaken=True)
    finding = Finding(phase=Phase.PROGRESSING, reason="Creating", message=f"creating {work.desired.app_id} in Marathon", in_sync=False)
    return replace(report(s, finding, actions=actions, requeue_after=SETTLE), overtaken=True)


def _adoption_refused(work: Work) -> Finding | None:
    s, adoption = work.s, work.s.management.adoption
    key = s.resource.key
    if s.claim is not None and (s.claim.namespace, s.claim.name) == (key.namespace, key.name):
        return None  # an earlier resource of this very name made it, and went without its finalizer's work
    if adoption is Adoption.ADOPT or (adoption is Adoption.ADOPT_IF_IDENTICAL and not work.gap):
        return None
    if adoption is Adoption.REFUSE:
        how = "nothing would change" if not work.gap else f"{len(work.gap.changes)} fields differ"
        message = (
            f"{work.desired.app_id} exists in Marathon and no resource owns it ({how}); set spec.management.adoption to AdoptIfIdentical "
            "or Adopt to take it over, or choose another spec.id"
        )
        return Finding(phase=Phase.STALLED, reason="NotAdopted", message=message, in_sync=not work.gap)
    sample = "; ".join(str(c) for c in work.gap.changes[:5])
    message = (
        f"{work.desired.app_id} exists in Marathon and differs in {len(work.gap.changes)} fields ({sample}); make the spec equal, or set "
        "spec.management.adoption: Adopt, which changes the app and restarts its tasks"
    )
    return Finding(phase=Phase.STALLED, reason="NotIdentical", message=message, in_sync=False)


# ---------------------------------------------------------------------------------------------------- change, scale


def _change(work: Work, app: ActualApp) -> AppPlan:
    s = work.s
    waiting = _unready_dependencies(s)
    if waiting is not None:
        return report(s, waiting)
    force, held = lock(work, app)
    if held is not None:
        return held
    drifted = work.drifted
    if s.gates.unsettled:
        message = f"tasks restart when {s.gates.unsettled}"
        return report(s, Finding(phase=Phase.PROGRESSING, reason="ShardsMove", message=message, in_sync=False), requeue_after=SETTLE)
    if work.paced and force and (starting := _starting(app)):
        # Marathon decides once, when it begins, how many it may kill. With one not healthy yet it would be none, and none could start
        message = f"tasks restart when all are healthy: {starting} of them {'is' if starting == 1 else 'are'} starting"
        return report(s, Finding(phase=Phase.PROGRESSING, reason="Updating", message=message, in_sync=False), requeue_after=SETTLE)
    if work.instances < app.instances and not drifted:
        smaller = resize.fewer(app, work.instances, gates=s.gates, force=force)
        if smaller or s.gates.draining:
            # a full write with fewer instances would let Marathon choose the victims: they go first, by our own choice
            finding = Finding(
                phase=Phase.PROGRESSING,
                reason="Scaling",
                message="removing surplus instances before the change" + resize.waits_for(s.gates),
                in_sync=False,
            )
            return report(s, finding, actions=(*preparations(work), *smaller), requeue_after=resize.look_again(s.gates))
    put = PutApp(
        app_id=work.desired.app_id,
        definition=work.body,
        kind=WriteKind.CONFIG,
        asked=work.asked,
        over=app.version,
        changes=work.gap.changes,
        corrects_drift=drifted,
        force=force,
    )
    finding = Finding(
        phase=Phase.PROGRESSING,
        reason="CorrectingDrift" if drifted else "Updating",
        message=f"writing revision {work.desired.revision} to Marathon",
        drift=work.gap.changes if drifted else (),
        in_sync=False,
    )
    return report(s, finding, actions=(*preparations(work), put), requeue_after=SETTLE)


def _starting(app: ActualApp) -> int:
    """Tasks that are on their way up: sooner or later each is healthy, proven bad or gone, whatever is wrong with the version."""
    checked = bool(app.definition.get("healthChecks"))
    return sum(
        task.state in {TaskState.STAGING, TaskState.STARTING}
        or (task.state is TaskState.RUNNING and checked and task.health is Health.UNKNOWN)
        for task in app.tasks
    )


def _scale(work: Work, app: ActualApp, *, finding: Finding | None = None) -> AppPlan:
    """Bring the number of instances about. `finding` replaces the usual report (a roll-back scales as well)."""
    s = work.s
    force, held = lock(work, app)
    if held is not None:
        return held
    drift = work.gap.changes if work.drifted and s.management.drift is not DriftPolicy.IGNORE else ()
    found = finding or Finding(
        phase=Phase.PROGRESSING,
        reason="CorrectingDrift" if drift and s.management.drift is DriftPolicy.CORRECT else "Scaling",
        message=f"scaling to {work.instances} instances" + resize.waits_for(s.gates),
        in_sync=False,
        drift=drift,
    )
    actions = footing(work) if finding is not None else preparations(work)
    steps = resize.towards(app, work.instances, gates=s.gates, force=force)
    return report(s, found, actions=(*actions, *steps), requeue_after=resize.look_again(s.gates))


# ---------------------------------------------------------------------------------------------------- differences that stay


def _leave_drift(work: Work, app: ActualApp) -> AppPlan:
    """Somebody else's change is not corrected; a number of instances that is newly asked for is still brought about."""
    s = work.s
    if not status.was_settled(s) and app.instances != work.instances and s.resource.generation != status.former_generation(s):
        return _scale(work, app)
    now = rollout.standing(app, desired=app.instances)
    ready = now.complete or (now.serving and status.was_ready(s))
    ignored = s.management.drift is DriftPolicy.IGNORE
    finding = Finding(
        phase=Phase.READY if ready else Phase.HELD,
        reason="Ready" if ready else "InstancesNotReady",
        message="all instances are ready" if ready else "not all instances are ready" + status.waiting_clause(s),
        in_sync=ignored,
        drift=() if ignored else work.gap.changes,
        current=work.desired.revision,
    )
    return report(s, finding)


def _after_failure(work: Work, record: Revision, app: ActualApp) -> AppPlan:
    """The revision that is asked for has failed before and is not tried again."""
    if work.gap.kind is not DifferenceKind.CONFIG:
        return supervise.failed_runs_on(work, record, app)
    finding = supervise.rolled_back(work, record, app)
    if not app.deployments and app.instances != work.instances:
        return _scale(work, app, finding=finding)
    return report(work.s, finding, requeue_after=SETTLE if finding.phase is Phase.PROGRESSING else None)

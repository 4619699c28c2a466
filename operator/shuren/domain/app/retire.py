"""The end of the app beside: traffic leaves it, its tasks let go of what they have and go, then the app and the claim on its id.

What ends so is the former version after a roll-out, or the new one when it has failed or the spec has changed meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from shuren.domain.app import progress, resize, rollout
from shuren.domain.app.plan import Action, AppPlan, DeleteApp, ReleaseClaim
from shuren.domain.app.progress import Progress, Stage
from shuren.domain.app.snapshot import Beside, Policy, Snapshot
from shuren.domain.app.work import is_ours
from shuren.domain.conditions import Condition, ConditionType, Truth
from shuren.domain.marathon.state import ActualApp, Health, TaskState

_GIVEN_UP = frozenset({Stage.ABORTING, Stage.RETREATING})


@dataclass(frozen=True, kw_only=True)
class Leaving:
    """What is done about the app beside, how far that has come, and when to look again."""

    actions: tuple[Action, ...]
    progress: Progress
    message: str
    requeue_after: float


def beside(s: Snapshot, plan: AppPlan) -> AppPlan:
    """A plan for the app that the resource lives on, with the end of the one beside it."""
    if not s.owns_beside or plan.conditions is None:
        return plan
    leaving = leave(s, _stage(s))
    conditions = plan.conditions
    if not {c.type for c in conditions} & {ConditionType.RECONCILING, ConditionType.STALLED, ConditionType.SUSPENDED}:
        under_way = Condition(type=ConditionType.RECONCILING, status=Truth.TRUE, reason="RetiringFormer", message=leaving.message)
        conditions = (*conditions, under_way)
    return replace(
        plan,
        actions=(*plan.actions, *leaving.actions),
        conditions=conditions,
        facts={**plan.facts, "rollout": progress.document(leaving.progress)},
        requeue_after=leaving.requeue_after if plan.requeue_after is None else min(plan.requeue_after, leaving.requeue_after),
    )


def _stage(s: Snapshot) -> Stage:
    """Which end it is: the last revision of that id tells whether it has lived there, or was only tried."""
    former = progress.read(s.resource.status)
    if former is not None and former.stage in _GIVEN_UP and s.beside is not None and former.id == s.beside.app_id:
        return former.stage
    there = max((r for r in s.revisions if s.beside is not None and r.app_id == s.beside.app_id), key=lambda r: r.number, default=None)
    return Stage.RETREATING if there is None or there.beside else Stage.RETIRING


def leave(s: Snapshot, stage: Stage, *, why: str = "") -> Leaving:
    """The next steps towards an end without the app beside."""
    found = s.beside
    if found is None:  # whoever asks has one
        raise AssertionError
    before = progress.read(s.resource.status)
    _, handled = progress.asked(s, before)
    basis = before if before is not None else Progress(stage=stage, revision="", id="")
    if basis.id != found.app_id and stage is Stage.RETIRING:
        basis = replace(basis, revision=_newest_hash(s))
    # while suspended traffic stays where it is
    weight = basis.weight if s.management.suspend else 0
    now = replace(basis, stage=stage, id=found.app_id, weight=weight, deadline="", paused=False, skip=False, handled=handled)
    actions, message = _steps(s, found, now, before)
    # why it failed outlasts the steps that follow from it
    told = before.message if before is not None and before.stage is stage else ""
    now = replace(now, message=(why or told) if stage is Stage.ABORTING else message, deployment="")
    if found.app is not None and found.app.deployments:
        now = replace(now, deployment=found.app.deployments[0])
    return Leaving(
        actions=actions,
        progress=progress.entered(s, before, now),
        message=message,
        requeue_after=resize.look_again(found.gates),
    )


def _newest_hash(s: Snapshot) -> str:
    newest = max(s.revisions, key=lambda r: r.number, default=None)
    return newest.hash if newest is not None else ""


def _steps(s: Snapshot, found: Beside, now: Progress, before: Progress | None) -> tuple[tuple[Action, ...], str]:
    app = found.app
    if app is None:
        return (ReleaseClaim(app_id=found.app_id, cluster=s.cluster.name),), f"{found.app_id} is gone"
    if not _may_go(s, app):
        return (), f"{app.id} stays until {s.app.id if s.app is not None else 'the other app'} serves"
    held = _traffic(s, app, now, before)
    if held:
        return (), f"waiting until no traffic goes to {app.id} any more: {held}"
    others = found.deployment is not None and bool(set(found.deployment.affected_apps) - {app.id})
    if others and not all(_ours(s, before, d) for d in app.deployments):
        return (), f"a deployment of several apps holds {app.id}; waiting for it to end"
    force = bool(app.deployments)
    if app.instances:
        return resize.fewer(app, 0, gates=found.gates, force=force), f"removing the tasks of {app.id}" + resize.waits_for(found.gates)
    if any(t.state in {TaskState.RUNNING, TaskState.KILLING} for t in app.tasks):
        return (), f"the tasks of {app.id} are ending"
    if s.management.policy is not Policy.FULL:
        return (ReleaseClaim(app_id=app.id, cluster=s.cluster.name),), f"{app.id} is left without instances"
    return (DeleteApp(app_id=app.id, cluster=s.cluster.name, force=force, emptied=True),), f"deleting {app.id}"


def _ours(s: Snapshot, before: Progress | None, deployment: str) -> bool:
    return is_ours(s, deployment) or (before is not None and before.deployment == deployment)


def _may_go(s: Snapshot, app: ActualApp) -> bool:
    """Whether somebody else serves: what answers alone is not taken away, whatever records say."""
    serving = [t for t in app.tasks if t.state is TaskState.RUNNING and t.health is not Health.UNHEALTHY]
    if not serving or not s.wanted_instances:
        return True
    return s.app is not None and rollout.standing(s.app, desired=s.wanted_instances).ready > 0


def _traffic(s: Snapshot, app: ActualApp, now: Progress, before: Progress | None) -> str:
    """Who still sends to it. After the deadline of a roll-out nobody is waited for: drained it is in any case."""
    if found := next((c for c in s.carriers if c.share not in {0, None} or c.behind), None):
        moment = rollout.moment(before.since) if before is not None and before.stage is now.stage and before.id == app.id else None
        if moment is not None and (s.now - moment).total_seconds() > s.rollout.deadline:
            return ""
        return found.behind or f"{found.service} has yet to publish that it takes none"
    if before is None or before.id != app.id or before.weight:
        return "it is being told" if s.carriers else ""
    return ""

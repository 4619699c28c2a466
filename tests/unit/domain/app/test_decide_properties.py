"""What holds for the decision about any snapshot."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import event, example, given, settings

from app_snapshots import ID, MINE, SECRET, ending, snapshot, snapshots, unhindered
from shuren.domain.app.decide import decide
from shuren.domain.app.plan import (
    OUTSIDE,
    AddFinalizer,
    AppPlan,
    CancelDeployment,
    ClaimId,
    DeleteApp,
    Drain,
    KillTasks,
    PutApp,
    RecordRevision,
    ReleaseClaim,
    RemoveFinalizer,
    RestartApp,
    RestoreVersion,
    ScaleApp,
    WriteKind,
)
from shuren.domain.app.revisions import newest
from shuren.domain.app.snapshot import FINALIZER, FORCE_ORPHAN, Deletion, OnFailure, Policy, RevisionState, Snapshot
from shuren.domain.conditions import ConditionType, Truth, is_true
from shuren.domain.marathon.state import TaskState

pytestmark = pytest.mark.no_cover  # thousands of worlds on ways that the tables have gone

IN_MARATHON: tuple[type, ...] = (PutApp, ScaleApp, KillTasks, RestartApp, RestoreVersion, CancelDeployment, DeleteApp)
many = settings(max_examples=200)


def told(plan: AppPlan) -> AppPlan:
    """For hypothesis' statistics: which decisions the examples reach."""
    event(" ".join(type(action).__name__ for action in plan.actions) or "nothing")
    return plan


# ---------------------------------------------------------------------------------------------------- whatever it is


def holds_for_every_plan(s: Snapshot, plan: AppPlan) -> None:
    """What a plan of any kind is like."""
    assert decide(s) == plan
    assert str(plan)
    assert plan.requeue_after is None or plan.requeue_after > 0
    the_conditions_are_such_as_kstatus_reads(plan)
    secrets_are_shown_nowhere(s, plan)
    only_claimed_apps_are_deleted(s, plan)
    if s.management.suspend and s.resource.annotations.get(FORCE_ORPHAN) != "true":
        assert not any(isinstance(action, OUTSIDE) for action in plan.actions)


def the_conditions_are_such_as_kstatus_reads(plan: AppPlan) -> None:
    json.dumps(plan.facts)
    if plan.conditions is None:
        return
    kinds = [c.type for c in plan.conditions]
    assert len(set(kinds)) == len(kinds)
    ready = next(c for c in plan.conditions if c.type is ConditionType.READY)
    stalled, reconciling = (is_true(plan.conditions, kind) for kind in (ConditionType.STALLED, ConditionType.RECONCILING))
    assert not (stalled and reconciling)
    assert not stalled or ready.status is Truth.FALSE
    assert all(c.reason and c.reason[0].isupper() and c.reason.isalnum() for c in plan.conditions)


def secrets_are_shown_nowhere(s: Snapshot, plan: AppPlan) -> None:
    """What stood in the status before is not looked at: it may be anything here. Without a rendered spec nobody knows what is secret."""
    if s.desired is None:
        return
    news = {key: value for key, value in plan.facts.items() if s.resource.status.get(key) != value}
    for text in (str(plan), repr(plan.actions), json.dumps(news), *(c.message for c in plan.conditions or ())):
        assert SECRET not in text
        assert "former secret value" not in text


def only_claimed_apps_are_deleted(s: Snapshot, plan: AppPlan) -> None:
    mine = {(old.cluster, old.app_id) for old in s.elsewhere} | ({(s.cluster.name, ID)} if s.owned else set())
    for action in plan.actions:
        if isinstance(action, DeleteApp | ReleaseClaim):
            assert (action.cluster, action.app_id) in mine
        if isinstance(action, DeleteApp):
            assert (s.management.policy, s.management.deletion) == (Policy.FULL, Deletion.DELETE)


@many
@given(snapshots)
def test_of_any_snapshot(s: Snapshot) -> None:
    plan = told(decide(s))
    holds_for_every_plan(s, plan)
    c = s.cluster
    if not (c.exists and c.connected and c.synced) or c.problem is not None or c.unreachable_for is not None:
        assert plan.actions == (), "nothing is done on half a picture"


# ---------------------------------------------------------------------------------------------------- to be brought about


@many
@given(unhindered)
@example(snapshot(claim=None, app=None, revisions=()))
def test_of_a_resource_that_nothing_hinders(s: Snapshot) -> None:
    plan = told(decide(s))
    holds_for_every_plan(s, plan)
    if s.management.policy is Policy.OBSERVE_ONLY:
        assert plan.actions == ()
    finalizer_and_claim_come_first(s, plan)
    removals_are_bounded(s, plan)
    revisions_are_written_down_before_they_are_tried(s, plan)
    nothing_is_given_up(s, plan)
    if any(isinstance(action, IN_MARATHON) for action in plan.actions):
        assert plan.requeue_after is not None, "what came of a write is looked at"


def finalizer_and_claim_come_first(s: Snapshot, plan: AppPlan) -> None:
    finalizer, claimed = FINALIZER in s.resource.finalizers, s.owned
    for action in plan.actions:
        finalizer |= isinstance(action, AddFinalizer)
        if isinstance(action, OUTSIDE) and not (isinstance(action, Drain) and not action.task_ids):
            assert finalizer, action
        claimed |= isinstance(action, ClaimId)
        if isinstance(action, IN_MARATHON):
            assert claimed or isinstance(action, DeleteApp), action


def removals_are_bounded(s: Snapshot, plan: AppPlan) -> None:
    for action in plan.actions:
        if isinstance(action, KillTasks):
            assert s.app is not None
            assert set(action.task_ids) <= {t.id for t in s.app.tasks if t.state.active}
            if s.gates.closed:
                assert not {t.id for t in s.app.tasks if t.state is TaskState.RUNNING} & set(action.task_ids) - s.gates.released
            assert 0 < len(set(action.task_ids)) == len(action.task_ids) <= s.app.instances - s.wanted_instances
        if isinstance(action, ScaleApp):
            assert s.app is not None
            assert action.before == s.app.instances != action.instances
            assert action.before - action.instances <= max(0, s.app.instances - sum(1 for t in s.app.tasks if t.state.active))


def revisions_are_written_down_before_they_are_tried(s: Snapshot, plan: AppPlan) -> None:
    if s.desired is None or not any(isinstance(action, PutApp) for action in plan.actions):
        return
    last = newest(s.revisions)
    if last is None and [a.kind for a in plan.actions if isinstance(a, PutApp)] == [WriteKind.CREATE] and s.beside is None:
        return  # the very first one is written down once its app is there
    recorded = [action for action in plan.actions if isinstance(action, RecordRevision)]
    # a revision is written down anew for another id: that of a gated roll-out, or one that the spec has changed to
    if last is not None and last.hash == s.desired.revision and last.app_id in {"", s.desired.app_id}:
        assert recorded == []
        assert last.state is not RevisionState.FAILED or s.rollout.on_failure is OnFailure.IGNORE, "what failed is not tried again"
    else:
        assert [r.revision for r in recorded] == [s.desired.revision]
        assert recorded[0].number > max((r.number for r in s.revisions), default=0)
        assert plan.actions.index(recorded[0]) < min(n for n, a in enumerate(plan.actions) if isinstance(a, PutApp))


def nothing_is_given_up(s: Snapshot, plan: AppPlan) -> None:
    """The present app, its claim and the finalizer stay as long as the resource does."""
    for action in plan.actions:
        assert not isinstance(action, RemoveFinalizer)
        if isinstance(action, DeleteApp | ReleaseClaim):
            assert (action.cluster, action.app_id) in {(old.cluster, old.app_id) for old in s.elsewhere if old.reachable}


@many
@given(unhindered)
def test_an_unchanged_world_gives_an_unchanged_status(s: Snapshot) -> None:
    """Passes over a world that stands still say the same from the third one on, and write nothing but once."""
    said: list[object] = []
    for _ in range(4):
        plan = decide(s)
        said.append((plan.facts, plan.conditions, plan.actions))
        if plan.conditions is not None:
            conditions = [
                {"type": c.type.value, "status": c.status.value, "reason": c.reason, "message": c.message} for c in plan.conditions
            ]
            status = {**plan.facts, "conditions": conditions, "observedGeneration": s.resource.generation}
            s = replace(s, resource=replace(s.resource, status=status))
        s = replace(s, memory=plan.memory)
    assert said[2] == said[3]


@many
@given(unhindered)
def test_the_guard_on_deletions_holds_what_is_left_elsewhere(s: Snapshot) -> None:
    held = replace(s, elsewhere=tuple(replace(old, deletion_wait=9.0) for old in s.elsewhere))
    assert not any(isinstance(action, DeleteApp) for action in decide(held).actions)


# ---------------------------------------------------------------------------------------------------- to be deleted


@many
@given(ending)
def test_of_a_resource_that_is_being_deleted(s: Snapshot) -> None:
    plan = told(decide(s))
    holds_for_every_plan(s, plan)
    assert all(isinstance(action, DeleteApp | ReleaseClaim | RemoveFinalizer) for action in plan.actions)
    if FINALIZER not in s.resource.finalizers:
        assert plan.actions == ()
    if s.deletion_wait > 0:
        assert not any(isinstance(a, DeleteApp) and (a.cluster, a.app_id) == (s.cluster.name, ID) for a in plan.actions)
    the_finalizer_goes_last(s, plan)


def the_finalizer_goes_last(s: Snapshot, plan: AppPlan) -> None:
    if not any(isinstance(action, RemoveFinalizer) for action in plan.actions):
        return
    *before, last = plan.actions
    assert isinstance(last, RemoveFinalizer)
    assert all(isinstance(action, ReleaseClaim) for action in before)
    if s.resource.annotations.get(FORCE_ORPHAN) != "true":
        released = [(a.cluster, a.app_id) for a in before if isinstance(a, ReleaseClaim)]
        claimed = [(old.cluster, old.app_id) for old in s.elsewhere] + ([(s.cluster.name, ID)] if s.owned else [])
        assert sorted(released) == sorted(claimed), "a claim that nobody holds any more would keep its id for ever"


@many
@given(ending)
def test_letting_go_needs_no_cluster(s: Snapshot) -> None:
    """With the annotation a resource goes at once, whatever answers or does not."""
    s = replace(s, resource=replace(s.resource, annotations={FORCE_ORPHAN: "true"}, finalizers=(FINALIZER,)))
    plan = decide(s)
    assert isinstance(plan.actions[-1], RemoveFinalizer)
    assert all(isinstance(action, ReleaseClaim) and action.best_effort for action in plan.actions[:-1])


# ---------------------------------------------------------------------------------------------------- nothing to do


def test_a_converged_resource_needs_nothing() -> None:
    plan = decide(snapshot())
    assert plan.actions == ()
    assert plan.requeue_after is None
    assert plan.conditions is not None
    assert is_true(plan.conditions, ConditionType.READY)
    assert is_true(plan.conditions, ConditionType.IN_SYNC)
    assert not is_true(plan.conditions, ConditionType.RECONCILING)
    assert decide(snapshot(claim=MINE)).actions == ()

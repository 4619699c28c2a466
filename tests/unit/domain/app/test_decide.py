"""The decision as a table: a snapshot, what is done, what is said. Each row changes one thing of a converged resource."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app_snapshots import CURRENT, GOOD, ID, MINE, OLD, actual, desired, snapshot, status, task
from shuren.domain.app.decide import REFUSAL_STANDS, decide, signature_of
from shuren.domain.app.plan import OUTSIDE, AppPlan, PutApp, RestoreVersion, ScaleApp, WriteKind
from shuren.domain.app.snapshot import (
    PENDING,
    Adoption,
    Dependency,
    DriftPolicy,
    Elsewhere,
    Gates,
    OnFailure,
    Policy,
    Problem,
    Refusal,
    Revision,
    RevisionState,
    Snapshot,
)
from shuren.domain.conditions import Condition, ConditionType, Truth
from shuren.domain.marathon.state import Health, QueueItem, TaskState

LATER = "2026-01-03T00:00:00.000Z"
FOREIGN = replace(MINE, uid="uid-other", name="other")
NEXT = Revision(name="web-2", hash="bbbb", number=2, state=RevisionState.TRYING, app_id=ID)
NEW = desired("bbbb", cmd="sleep 2000")
NEW_APP: dict[str, Any] = {"cmd": "sleep 2000"}
FAILED = replace(NEXT, state=RevisionState.FAILED, failure="no progress for 600 s")
SICK: dict[str, Any] = {"healthChecks": [{"protocol": "TCP"}]}


def rolling(*tasks: Any, deployments: tuple[str, ...] = ("d1",), **changes: Any) -> Snapshot:
    """Revision bbbb is being rolled out by a deployment of ours."""
    basis: dict[str, Any] = {
        "desired": NEW,
        "app": actual(*(tasks or (task(1), task(2, version=OLD))), deployments=deployments, **NEW_APP),
        "revisions": (GOOD, NEXT),
        "memory": {"deployments": ("d1",)},
        "resource": {"status": status("Updating", "False")},
    }
    return snapshot(**basis | changes)


def overdue(**changes: Any) -> Snapshot:
    """The same, without progress for longer than the deadline."""
    memory = {"deployments": ("d1",), "revision": "bbbb/2", "measure": (9, 9, 9, 0), "progress_at": 100.0}
    return rolling(**{"memory": memory} | changes)


def ready(plan: AppPlan) -> Condition:
    return next(c for c in plan.conditions or () if c.type is ConditionType.READY)


# ---------------------------------------------------------------------------------------------------- what holds a pass up

HOLDS = [
    ("the namespace goes", {"namespace_going": True}, None),
    ("the spec is invalid", {"problem": Problem(reason="InvalidSpec", message="spec.cmd: no")}, ("False", "InvalidSpec")),
    ("there is no cluster", {"cluster": {"exists": False}}, ("False", "ClusterNotFound")),
    ("the cluster has a problem", {"cluster": {"problem": Problem(reason="X", message="no Secret")}}, ("Unknown", "ClusterNotReady")),
    ("Marathon is away for seconds", {"cluster": {"unreachable_for": 5.0}}, None),
    ("Marathon is away for long", {"cluster": {"unreachable_for": 60.0}}, ("Unknown", "ClusterUnreachable")),
    ("not connected yet", {"cluster": {"connected": False}}, None),
    ("not read yet", {"cluster": {"synced": False}}, None),
    ("the id is another's", {"claim": FOREIGN}, ("False", "OwnedByOther")),
    ("references are being read", {"desired": None, "waiting": Problem(reason=PENDING, message="reading")}, None),
    ("a Secret is missing", {"desired": None, "waiting": Problem(reason="SecretMissing", message="no db")}, ("False", "SecretMissing")),
    ("nobody says why there is nothing to want", {"desired": None}, None),
]


@pytest.mark.parametrize(("changes", "says"), [row[1:] for row in HOLDS], ids=[row[0] for row in HOLDS])
def test_what_holds_a_pass_up(changes: dict[str, Any], says: tuple[str, str] | None) -> None:
    plan = decide(snapshot(**changes))
    assert plan.actions == ()
    if says is None:
        assert plan.conditions is None, "nothing is known better than before: the status stays"
    else:
        assert (ready(plan).status.value, ready(plan).reason) == says


@pytest.mark.parametrize(
    "changes", [{"cluster": {"synced": False}}, {"desired": None, "waiting": Problem(reason=PENDING, message="reading")}]
)
def test_a_resource_without_status_gets_one_at_once(changes: dict[str, Any]) -> None:
    plan = decide(snapshot(resource={"status": {}}, **changes))
    assert (ready(plan).status, ready(plan).reason) == (Truth.UNKNOWN, PENDING)


def test_the_rest_of_the_grace_is_waited_for() -> None:
    assert decide(snapshot(cluster={"unreachable_for": 58.0})).requeue_after == 2.0
    assert decide(snapshot(cluster={"unreachable_for": 45.0})).requeue_after == 5.0, "nobody tells when it is back"


def test_a_claim_whose_holder_is_gone_holds_nothing_up() -> None:
    plan = decide(snapshot(claim=FOREIGN, holder_gone=True, app=None, revisions=()))
    assert str(plan).startswith(f"claim {ID} from a resource that is gone; create {ID}")


# ---------------------------------------------------------------------------------------------------- steps

STEPS: list[tuple[str, Snapshot, str, str]] = [
    (
        "a new one",
        snapshot(resource={"finalizers": (), "status": {}}, claim=None, app=None, revisions=()),
        f"add the finalizer; claim {ID}; create {ID}",
        "Creating",
    ),
    ("one that somebody deleted", snapshot(app=None), f"create {ID}", "Creating"),
    ("the same, left alone", snapshot(app=None, management={"drift": DriftPolicy.WARN}), "", "DeletedInMarathon"),
    (
        "it waits for another",
        snapshot(app=None, revisions=(), dependencies=(Dependency(name="db", exists=False, ready=False),)),
        "",
        "DependencyNotReady",
    ),
    (
        "a change waits too",
        snapshot(desired=NEW, dependencies=(Dependency(name="db", exists=True, ready=False),)),
        "",
        "DependencyNotReady",
    ),
    ("a revision that failed and whose app is gone", snapshot(desired=NEW, app=None, revisions=(GOOD, FAILED)), "", "RolloutFailed"),
    ("the same, unclaimed", snapshot(desired=NEW, app=None, claim=None, revisions=(GOOD, FAILED)), "", "RolloutFailed"),
    ("a change", snapshot(desired=NEW), f"record revision bbbb as number 2; update {ID} (/cmd)", "Updating"),
    (
        "a change of many fields",
        snapshot(desired=desired("bbbb", labels={c: c for c in "abcdefg"})),
        f"record revision bbbb as number 2; update {ID} (/labels/a, /labels/b, /labels/c, /labels/d, /labels/e, …)",
        "Updating",
    ),
    (
        "a change and fewer instances",
        snapshot(desired=desired("bbbb", cmd="sleep 2000", instances=1)),
        f"record revision bbbb as number 2; remove 1 tasks of {ID}: t2",
        "Scaling",
    ),
    (
        "behind load balancers the one that goes is asked to drain first",
        snapshot(desired=desired(instances=1), resource={"generation": 2}, gates=Gates(closed=True)),
        f"drain 1 tasks of {ID}: t2",
        "Scaling",
    ),
    (
        "and goes when it has let go",
        snapshot(
            desired=desired(instances=1),
            resource={"generation": 2},
            gates=Gates(closed=True, draining=frozenset({"t2"}), released=frozenset({"t2"})),
        ),
        f"remove 1 tasks of {ID}: t2",
        "Scaling",
    ),
    (
        "it stays after all",
        snapshot(desired=desired(instances=3), resource={"generation": 2}, gates=Gates(closed=True, draining=frozenset({"t2"}))),
        f"drain no task of {ID} any more; scale {ID} from 2 to 3",
        "Scaling",
    ),
    ("more instances", snapshot(desired=desired(instances=5), resource={"generation": 2}), f"scale {ID} from 2 to 5", "Scaling"),
    ("fewer instances", snapshot(desired=desired(instances=1), resource={"generation": 2}), f"remove 1 tasks of {ID}: t2", "Scaling"),
    (
        "fewer, of which some have no task",
        snapshot(desired=desired(instances=1), resource={"generation": 2}, app=actual(task(1), instances=3)),
        f"scale {ID} from 3 to 1",
        "Scaling",
    ),
    (
        "somebody changed it",
        snapshot(app=replace(actual(task(1), task(2), cmd="sleep 3"), version=LATER, last_config_change_at=LATER)),
        f"correct {ID} (/cmd)",
        "CorrectingDrift",
    ),
    ("Marathon keeps it otherwise", snapshot(app=actual(task(1), task(2), cmd="sleep 3")), "", "Ready"),
    (
        "its state was put back",
        snapshot(app=replace(actual(task(1), task(2), cmd="sleep 3"), version=OLD, last_config_change_at=OLD)),
        f"correct {ID} (/cmd)",
        "CorrectingDrift",
    ),
    ("somebody scaled it", snapshot(app=actual(task(1))), f"scale {ID} from 1 to 2", "CorrectingDrift"),
    (
        "the same, only to be told",
        snapshot(app=actual(task(1), task(2), cmd="sleep 3"), management={"drift": DriftPolicy.WARN}),
        "",
        "Ready",
    ),
    (
        "and asked for another number",
        snapshot(
            app=actual(task(1), task(2), cmd="sleep 3"),
            desired=desired(instances=3),
            resource={"generation": 2},
            management={"drift": DriftPolicy.WARN},
        ),
        f"scale {ID} from 2 to 3",
        "Scaling",
    ),
    ("the number belongs to somebody else", snapshot(app=actual(task(1)), management={"ignore_paths": ("/instances",)}), "", "Ready"),
    ("a foreign deployment holds it", snapshot(desired=NEW, app=actual(task(1), task(2), deployments=("x",))), "", "Locked"),
    (
        "and it holds a scaling",
        snapshot(desired=desired(instances=3), resource={"generation": 2}, app=actual(task(1), task(2), deployments=("x",))),
        "",
        "Locked",
    ),
    (
        "our own is replaced",
        snapshot(desired=NEW, app=actual(task(1), task(2), deployments=("d1",)), memory={"deployments": ("d1",)}),
        f"record revision bbbb as number 2; update {ID} (/cmd), replacing its running deployment",
        "Updating",
    ),
    ("a roll-out under way", rolling(), "", "RollingOut"),
    ("its end", rolling(task(1), task(2), deployments=()), "mark revision bbbb good", "Ready"),
    ("one that somebody broke off", rolling(deployments=()), f"restart {ID}, whose roll-out was broken off", "RollingOut"),
    ("one that does not come on", overdue(), f"mark revision bbbb failed; roll {ID} back to revision aaaa", "RollingBack"),
    (
        "the same, paused",
        overdue(rollout={"on_failure": OnFailure.PAUSE}),
        f"mark revision bbbb failed; cancel deployment d1 of {ID}",
        "RolloutFailed",
    ),
    (
        "one that is unhealthy for too long",
        overdue(
            app=actual(task(1, health=Health.UNHEALTHY), instances=2, deployments=("d1",), **NEW_APP),
            memory={"deployments": ("d1",), "revision": "bbbb/2", "measure": (9, 9, 9, 0), "progress_at": 999.0, "unhealthy_since": 900.0},
            rollout={"max_unhealthy": 60.0},
        ),
        f"mark revision bbbb failed; roll {ID} back to revision aaaa",
        "RollingBack",
    ),
    ("the same, ignored", overdue(rollout={"on_failure": OnFailure.IGNORE}), "", "ProgressDeadlineExceeded"),
    ("the same, with nothing to go back to", overdue(revisions=(NEXT,)), "mark revision bbbb failed", "RolloutFailed"),
    (
        "the same, after the finalizer was taken away",
        overdue(resource={"finalizers": (), "status": status("Updating", "False")}),
        f"add the finalizer; mark revision bbbb failed; roll {ID} back to revision aaaa",
        "RollingBack",
    ),
    ("a failed one still runs", rolling(revisions=(GOOD, FAILED)), f"roll {ID} back to revision aaaa", "RollingBack"),
    (
        "a failed one still runs, paused",
        rolling(revisions=(GOOD, FAILED), rollout={"on_failure": OnFailure.PAUSE}),
        f"cancel deployment d1 of {ID}",
        "RolloutFailed",
    ),
    ("a failed one has healed", rolling(task(1), task(2), deployments=(), revisions=(GOOD, FAILED)), "mark revision bbbb good", "Ready"),
    ("it was gone back from", snapshot(desired=NEW, revisions=(GOOD, FAILED)), "", "RolledBack"),
    (
        "and another number is asked for",
        snapshot(desired=desired("bbbb", cmd="sleep 2000", instances=3), revisions=(GOOD, FAILED), resource={"generation": 2}),
        f"scale {ID} from 2 to 3",
        "RolledBack",
    ),
    (
        "it is being gone back from",
        snapshot(desired=NEW, revisions=(GOOD, FAILED), app=actual(task(1, version=OLD), instances=2, deployments=("d2",))),
        "",
        "RollingBack",
    ),
    ("a task of a good one is gone", snapshot(app=actual(task(1), instances=2)), "", "InstancesNotReady"),
    ("health is not known for a moment", snapshot(desired=desired(**SICK), app=actual(task(1), task(2), **SICK)), "", "Ready"),
    (
        "a good one is unhealthy",
        snapshot(desired=desired(**SICK), app=actual(task(1, health=Health.UNHEALTHY), task(2), **SICK)),
        "",
        "InstancesNotReady",
    ),
    ("somebody restarts a good one", snapshot(app=actual(task(1), task(2, version=OLD), deployments=("x",))), "", "Deploying"),
    ("no instances", snapshot(desired=desired(instances=0), app=actual()), "", "Stopped"),
    (
        "the old id may go",
        snapshot(elsewhere=(Elsewhere(cluster="bj1", app_id="/shop/old", app=actual(task(1))),)),
        "delete /shop/old in bj1",
        "Ready",
    ),
    (
        "the old id is gone",
        snapshot(elsewhere=(Elsewhere(cluster="bj1", app_id="/shop/old", app=None),)),
        "release the claim on /shop/old in bj1",
        "Ready",
    ),
    (
        "the old id stays",
        snapshot(elsewhere=(Elsewhere(cluster="bj1", app_id="/shop/old", app=actual(task(1))),), management={"policy": Policy.NO_DELETE}),
        "release the claim on /shop/old in bj1",
        "Ready",
    ),
    (
        "the old id is held",
        snapshot(elsewhere=(Elsewhere(cluster="bj1", app_id="/shop/old", app=actual(task(1)), locked_by_others=True),)),
        "",
        "Ready",
    ),
    ("the old cluster is away", snapshot(elsewhere=(Elsewhere(cluster="sh2", app_id="", app=None, reachable=False),)), "", "Ready"),
    (
        "the old id waits for the guard",
        snapshot(elsewhere=(Elsewhere(cluster="bj1", app_id="/o", app=actual(), deletion_wait=3.0),)),
        "",
        "Ready",
    ),
    ("observing what is there", snapshot(management={"policy": Policy.OBSERVE_ONLY}, resource={"finalizers": ()}, claim=None), "", "Ready"),
    ("observing what is not there", snapshot(management={"policy": Policy.OBSERVE_ONLY}, app=None), "", "ObserveOnly"),
    (
        "observing what is not ready",
        snapshot(management={"policy": Policy.OBSERVE_ONLY}, app=actual(task(1, state=TaskState.STAGING))),
        "",
        "InstancesNotReady",
    ),
]


@pytest.mark.parametrize(("s", "does", "reason"), [row[1:] for row in STEPS], ids=[row[0] for row in STEPS])
def test_steps(s: Snapshot, does: str, reason: str) -> None:
    plan = decide(s)
    assert str(plan) == (does or "nothing to do")
    assert ready(plan).reason == reason


ADOPTION = [
    (Adoption.REFUSE, {}, "NotAdopted", "nothing would change"),
    (Adoption.REFUSE, {"cmd": "x"}, "NotAdopted", "1 fields differ"),
    (Adoption.ADOPT_IF_IDENTICAL, {}, "Ready", ""),
    (Adoption.ADOPT_IF_IDENTICAL, {"cmd": "x"}, "NotIdentical", "/cmd: x -> sleep 1000"),
    (Adoption.ADOPT, {"cmd": "x"}, "Updating", ""),
]


@pytest.mark.parametrize(("adoption", "differs", "reason", "words"), ADOPTION)
def test_an_app_that_nobody_claims(adoption: Adoption, differs: dict[str, Any], reason: str, words: str) -> None:
    plan = decide(snapshot(claim=None, revisions=(), app=actual(task(1), task(2), **differs), management={"adoption": adoption}))
    assert ready(plan).reason == reason
    assert words in ready(plan).message
    assert bool(plan.actions) is (reason in {"Ready", "Updating"})


def test_adopting_an_identical_app_makes_its_version_the_good_one() -> None:
    plan = decide(snapshot(claim=None, revisions=(), management={"adoption": Adoption.ADOPT_IF_IDENTICAL}))
    assert str(plan) == f"claim {ID}; record revision aaaa as number 1 (adopted)"


def test_the_app_of_a_namesake_that_vanished_is_ours_without_adoption() -> None:
    plan = decide(snapshot(claim=replace(MINE, uid="gone"), holder_gone=True, revisions=()))
    assert str(plan) == f"claim {ID} from a resource that is gone; record revision aaaa as number 1 (adopted)"


def test_an_app_whose_claim_was_lost_during_a_roll_out_is_claimed_before_it_is_gone_back() -> None:
    plan = decide(overdue(claim=None, management={"adoption": Adoption.ADOPT}))
    assert str(plan) == f"claim {ID}; mark revision bbbb failed; roll {ID} back to revision aaaa"


# ---------------------------------------------------------------------------------------------------- filters


@pytest.mark.parametrize("row", [row for row in STEPS if row[2]], ids=[row[0] for row in STEPS if row[2]])
def test_suspended_the_same_is_pending_and_not_done(row: tuple[str, Snapshot, str, str]) -> None:
    s = replace(row[1], management=replace(row[1].management, suspend=True))
    plan = decide(s)
    assert not any(isinstance(action, OUTSIDE) for action in plan.actions)
    if any(isinstance(action, OUTSIDE) for action in decide(row[1]).actions):
        assert (ready(plan).status, ready(plan).reason) == (Truth.UNKNOWN, "Suspended")
        assert "pending" in ready(plan).message
    else:
        assert ready(plan).reason == row[3]
    assert any(c.type is ConditionType.SUSPENDED for c in plan.conditions or ())


def test_suspended_with_nothing_pending_ready_keeps_its_value() -> None:
    plan = decide(snapshot(management={"suspend": True}))
    assert (ready(plan).status, plan.actions) == (Truth.TRUE, ())


def test_what_marathon_refused_is_not_sent_again_for_a_while_and_something_else_is() -> None:
    asked = next(action for action in decide(snapshot(desired=NEW)).actions if isinstance(action, PutApp))
    refusal = Refusal(body=signature_of(asked), message="Marathon refuses it: no", at=900.0)
    held = decide(snapshot(desired=NEW, memory={"refusal": refusal}))
    assert (ready(held).reason, held.actions, held.requeue_after) == ("RefusedByMarathon", (), REFUSAL_STANDS - 100.0)
    assert decide(snapshot(desired=NEW, memory={"refusal": refusal}, monotonic=900.0 + REFUSAL_STANDS)).actions
    assert decide(snapshot(desired=desired("cccc", cmd="sleep 3"), memory={"refusal": refusal})).actions


def test_what_a_refusal_is_remembered_by() -> None:
    scale = ScaleApp(app_id=ID, instances=3, before=2)
    restore = RestoreVersion(app_id=ID, marathon_version=CURRENT, revision="aaaa", instances=2)
    put = PutApp(app_id=ID, definition={"id": ID, "cmd": "x"}, kind=WriteKind.CONFIG)
    names = [signature_of(action) for action in (scale, restore, put)]
    assert len(set(names)) == 3
    assert signature_of(replace(scale, before=9, force=True)) == names[0]
    assert signature_of(replace(put, force=True, corrects_drift=True)) == names[2]
    assert signature_of("anything else") == ""


# ---------------------------------------------------------------------------------------------------- words


def test_why_nothing_starts_is_told_with_a_roll_out() -> None:
    queue = QueueItem(app_id=ID, count=1, delay_seconds=0.0, overdue=True, since=OLD, rejections={"InsufficientCpus": 3})
    assert "no agent has enough cpus free" in ready(decide(rolling(queue=queue))).message


def test_when_to_look_again() -> None:
    assert decide(rolling()).requeue_after == 30.0, "something may have been missed"
    soon = {"deployments": ("d1",), "revision": "bbbb/2", "measure": (9, 9, 9, 0), "progress_at": 405.0}
    assert decide(rolling(memory=soon)).requeue_after == 5.0, "the deadline"
    assert decide(snapshot()).requeue_after is None
    assert decide(snapshot(desired=NEW)).requeue_after == 5.0
    assert decide(rolling(task(1), task(2), deployments=())).requeue_after is None, "the status tells already what is written down"


def test_a_revision_that_turns_out_good_is_told_in_the_same_pass() -> None:
    plan = decide(rolling(task(1), task(2), deployments=()))
    assert str(plan).startswith("mark revision"), plan
    told = plan.facts["revision"]
    assert isinstance(told, dict)
    assert told["lastGood"] == told["current"] == told["target"]


def test_what_was_just_created_is_recorded_in_the_next_pass_and_counts_as_ours() -> None:
    created: dict[str, Any] = {"revisions": (), "resource": {"status": {}}}
    half = actual(task(1), task(2, state=TaskState.STAGING), deployments=("d1",))
    starting = decide(snapshot(app=half, **created))
    assert str(starting) == "record revision aaaa as number 1"
    assert ready(starting).reason == "RollingOut"
    there = decide(snapshot(**created))
    assert str(there) == "record revision aaaa as number 1 (it runs)"
    assert there.facts["revision"] == {"current": "aaaa", "target": "aaaa", "lastGood": "aaaa"}
    assert there.requeue_after is None
    assert "update" in str(decide(snapshot(app=half, desired=NEW, **created))), "its deployment holds nothing up"


def test_an_adopted_app_without_revisions_may_have_a_deployment_of_somebody_else() -> None:
    taken: dict[str, Any] = {"revisions": (), "resource": {"status": {}}, "management": {"adoption": Adoption.ADOPT}}
    half = actual(task(1), task(2, state=TaskState.STAGING), deployments=("d1",))
    assert ready(decide(snapshot(app=half, desired=NEW, **taken))).reason == "Locked"

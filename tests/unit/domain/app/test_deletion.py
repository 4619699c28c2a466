"""The end of a resource as a table: what is released, what is deleted, when the finalizer goes, and what is said while it waits."""

from __future__ import annotations

from typing import Any

import pytest

from app_snapshots import ID, MINE, actual, snapshot, task
from shuren.domain.app.decide import decide
from shuren.domain.app.snapshot import FINALIZER, FORCE_ORPHAN, Deletion, Elsewhere, Policy, Problem, Snapshot
from shuren.domain.conditions import ConditionType
from shuren.domain.marathon.state import Deployment

LET_GO = {"annotations": {FORCE_ORPHAN: "true"}}
OLD = Elsewhere(cluster="bj1", app_id="/shop/old", app=actual(task(1)))
AWAY = Elsewhere(cluster="sh2", app_id="", app=None, reachable=False)


def ending(*, resource: dict[str, Any] | None = None, **changes: Any) -> Snapshot:
    return snapshot(resource={"deleting": True} | (resource or {}), desired=None, **changes)


def deployment(*app_ids: str) -> Deployment:
    return Deployment(id="d1", version="v", affected_apps=app_ids, current_step=1, total_steps=1)


STEPS = [
    ("nothing was ever made", ending(resource={"finalizers": ()}), "nothing to do", None),
    ("another's finalizer is not ours", ending(resource={"finalizers": ("x/y",)}), "nothing to do", None),
    ("the app goes first", ending(), f"delete {ID} in bj1", "Deleting"),
    ("then claim and finalizer", ending(app=None), f"release the claim on {ID} in bj1; remove the finalizer", None),
    ("without a claim nothing is touched", ending(claim=None), "remove the finalizer", None),
    (
        "a deployment of its own is ended",
        ending(app=actual(task(1), deployments=("d1",)), deployment=deployment(ID)),
        f"delete {ID} in bj1, replacing its running deployment",
        "Deleting",
    ),
    ("one of several apps is waited for", ending(deployment=deployment(ID, "/other")), "nothing to do", "Locked"),
    ("the guard is waited for", ending(deletion_wait=7.0), "nothing to do", "DeletionGuard"),
    ("it is to run on", ending(management={"deletion": Deletion.ORPHAN}), f"release the claim on {ID} in bj1; remove the finalizer", None),
    (
        "deleting is forbidden",
        ending(management={"policy": Policy.NO_DELETE}),
        f"release the claim on {ID} in bj1; remove the finalizer",
        None,
    ),
    ("an older id goes too", ending(elsewhere=(OLD,)), f"delete {ID} in bj1; delete /shop/old in bj1", "Deleting"),
    ("the older one last", ending(app=None, elsewhere=(OLD,)), f"release the claim on {ID} in bj1; delete /shop/old in bj1", "Deleting"),
    ("suspended", ending(management={"suspend": True}), "nothing to do", "Suspended"),
    ("its cluster is gone", ending(cluster={"exists": False}), "nothing to do", "ClusterUnreachable"),
    ("its cluster cannot be used", ending(cluster={"problem": Problem(reason="X", message="no")}), "nothing to do", "ClusterUnreachable"),
    ("Marathon is away for seconds", ending(cluster={"unreachable_for": 10.0}), "nothing to do", None),
    ("Marathon is away for long", ending(cluster={"unreachable_for": 90.0}), "nothing to do", "ClusterUnreachable"),
    ("not read yet", ending(cluster={"synced": False}), "nothing to do", None),
    ("a former cluster is away", ending(elsewhere=(AWAY,)), "nothing to do", "ClusterUnreachable"),
    ("let go, with all at hand", ending(resource=LET_GO), f"release the claim on {ID} in bj1; remove the finalizer", None),
    (
        "let go of a dead Marathon",
        ending(resource=LET_GO, cluster={"unreachable_for": 9e9}),
        f"release the claim on {ID} in bj1; remove the finalizer",
        None,
    ),
    ("let go of a dead cluster", ending(resource=LET_GO, cluster={"connected": False, "synced": False}), "remove the finalizer", None),
    (
        "let go although suspended",
        ending(resource=LET_GO, management={"suspend": True}),
        f"release the claim on {ID} in bj1; remove the finalizer",
        None,
    ),
    (
        "let go of a former cluster too",
        ending(resource=LET_GO, elsewhere=(AWAY, OLD)),
        f"release the claim on {ID} in bj1; release the claim on /shop/old in bj1; remove the finalizer",
        None,
    ),
]


@pytest.mark.parametrize(("s", "does", "reason"), [row[1:] for row in STEPS], ids=[row[0] for row in STEPS])
def test_steps(s: Snapshot, does: str, reason: str | None) -> None:
    plan = decide(s)
    assert str(plan) == does
    said = [c.reason for c in plan.conditions or () if c.type is ConditionType.READY]
    assert said == ([] if reason is None else [reason])


def test_how_to_let_go_is_said_where_a_person_may_want_it() -> None:
    for s in (ending(cluster={"exists": False}), ending(elsewhere=(AWAY,)), ending(management={"suspend": True})):
        plan = decide(s)
        assert any(f"annotate {FORCE_ORPHAN}=true" in c.message for c in plan.conditions or ())


def test_which_cluster_is_away_is_said() -> None:
    messages = [c.message for c in decide(ending(elsewhere=(AWAY,))).conditions or ()]
    assert any("MesosCluster sh2 cannot be reached" in message for message in messages)


def test_when_to_look_again() -> None:
    assert decide(ending(deletion_wait=7.0)).requeue_after == 7.0
    assert decide(ending(cluster={"unreachable_for": 10.0})).requeue_after == 5.0
    assert decide(ending(cluster={"unreachable_for": 58.0})).requeue_after == 2.0
    assert decide(ending()).requeue_after == 5.0
    assert decide(ending(claim=MINE, app=None)).requeue_after is None
    assert FINALIZER in ending().resource.finalizers

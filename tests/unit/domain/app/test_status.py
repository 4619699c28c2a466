"""The status as a function of what was seen: facts, why nothing starts, what is kept while nothing can be seen."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app_snapshots import CURRENT, GOOD, ID, NOW, OLD, UID, actual, desired, snapshot, status, task
from shuren.domain.app.rollout import rfc3339
from shuren.domain.app.snapshot import DriftPolicy, Elsewhere, Policy, Problem, RevisionState, Snapshot
from shuren.domain.app.status import (
    Finding,
    Phase,
    conditions,
    facts,
    former_deployment,
    former_generation,
    former_reason,
    waiting_clause,
    waiting_reason,
    was_ready,
    was_settled,
)
from shuren.domain.conditions import ConditionType
from shuren.domain.marathon.diff import FieldChange
from shuren.domain.marathon.state import Deployment, Health, QueueItem, TaskFailure, TaskState

READY = Finding(phase=Phase.READY, reason="Ready", message="all instances are ready", in_sync=True)
FAILURE = TaskFailure(
    message="exit 1",
    state="TASK_FAILED",
    host="host-1",
    timestamp="2026-01-02T03:00:00Z",
    task_id="shop_web.instance-1._app.7",
    version=CURRENT,
)


def queue(**changes: Any) -> QueueItem:
    basis: dict[str, Any] = {"app_id": ID, "count": 1, "delay_seconds": 0.0, "overdue": True, "since": OLD}
    return QueueItem(**basis | changes)


def told(s: Snapshot, finding: Finding = READY) -> dict[str, tuple[str, str]]:
    return {c.type.value: (c.status.value, c.reason) for c in conditions(s, finding)}


# ---------------------------------------------------------------------------------------------------- conditions


@pytest.mark.parametrize(
    ("phase", "ready", "beside"),
    [
        (Phase.READY, "True", None),
        (Phase.PROGRESSING, "False", "Reconciling"),
        (Phase.WAITING, "False", "Reconciling"),
        (Phase.STALLED, "False", "Stalled"),
        (Phase.UNKNOWN, "Unknown", "Reconciling"),
        (Phase.HELD, "False", None),
    ],
)
def test_a_phase_is_ready_and_what_stands_beside_it(phase: Phase, ready: str, beside: str | None) -> None:
    found = told(snapshot(), Finding(phase=phase, reason="Why", message="because", in_sync=True))
    assert found.pop("Ready") == (ready, "Why")
    assert found.pop("InSync") == ("True", "InSync")
    assert found == ({} if beside is None else {beside: ("True", "Why")})


def test_work_that_goes_on_beside_a_ready_app_is_reconciling() -> None:
    found = told(snapshot(), replace(READY, also=("DeletingFormer", "the old one goes")))
    assert (found["Ready"], found["Reconciling"]) == (("True", "Ready"), ("True", "DeletingFormer"))


def test_nothing_is_under_way_while_suspended() -> None:
    found = told(snapshot(), Finding(phase=Phase.PROGRESSING, reason="Why", message="because", suspended=True))
    assert "Reconciling" not in found
    assert found["Suspended"] == ("True", "Suspended")


@pytest.mark.parametrize(
    ("changes", "says", "words"),
    [
        ({"in_sync": None}, ("Unknown", "NotCompared"), "could not be compared"),
        ({"in_sync": False, "phase": Phase.PROGRESSING}, ("False", "Different"), "does not have this definition yet"),
        ({"in_sync": False, "phase": Phase.STALLED}, ("False", "Different"), "does not have this definition"),
        ({"drift": (FieldChange(path="/cmd", before="a", after="b"),)}, ("False", "Drifted"), "/cmd (spec.management.drift: Correct)"),
    ],
)
def test_in_sync(changes: dict[str, Any], says: tuple[str, str], words: str) -> None:
    finding = replace(READY, **changes)
    assert told(snapshot(), finding)["InSync"] == says
    assert words in next(c.message for c in conditions(snapshot(), finding) if c.type is ConditionType.IN_SYNC)


def test_of_much_drift_a_sample_is_shown() -> None:
    drift = tuple(FieldChange(path=f"/labels/{n}", before=None, after="x" * 1000) for n in range(9))
    finding = replace(READY, drift=drift)
    message = next(c.message for c in conditions(snapshot(), finding) if c.type is ConditionType.IN_SYNC)
    assert "/labels/4, …" in message
    found = facts(snapshot(management={"drift": DriftPolicy.WARN}), finding)["drift"]
    assert isinstance(found, dict)
    assert (found["detected"], found["count"]) == (True, 9)
    sample = found["sample"]
    assert isinstance(sample, list)
    assert len(sample) == 5
    assert sample[0] == {"path": "/labels/0", "desired": "x" * 256}


def test_all_advice_is_one_condition_and_warnings_are_bounded() -> None:
    advice = tuple(Problem(reason=f"Trap{n}", message=f"trap {n}.") for n in range(20))
    s = snapshot(desired=replace(desired(), advice=advice, warnings=("ignored: version",)))
    assert told(s)["Advice"] == ("True", "Trap0")
    warnings = facts(s, READY)["warnings"]
    assert isinstance(warnings, list)
    assert (len(warnings), warnings[0]) == (16, "trap 0.")


# ---------------------------------------------------------------------------------------------------- facts


def test_everything_a_person_asks_for_is_there() -> None:
    app = replace(
        actual(
            task(1, health=Health.HEALTHY),
            task(2, version=OLD),
            task(3, state=TaskState.STAGING),
            deployments=("d1",),
            healthChecks=[{"protocol": "TCP"}],
        ),
        last_task_failure=FAILURE,
    )
    deployment = Deployment(id="d1", version="v", affected_apps=(ID,), current_step=1, total_steps=3)
    s = snapshot(
        app=app, desired=desired(instances=3), deployment=deployment, queue=queue(rejections={"InsufficientCpus": 2, "UnfulfilledRole": 0})
    )
    found = facts(s, replace(READY, deadline="2026-01-02T03:10:00Z", current="aaaa"))
    assert found == {
        "cluster": "bj1",
        "selector": f"paas.shurenyun.com/app-uid={UID}",
        "instances": 3,
        "counts": {"desired": 3, "staged": 1, "running": 2, "healthy": 1, "unhealthy": 0, "updated": 1},
        "ready": "1/3",
        "marathon": {
            "id": ID,
            "version": CURRENT,
            "deployment": {"id": "d1", "step": 1, "totalSteps": 3, "deadline": "2026-01-02T03:10:00Z"},
        },
        "lastTaskFailure": {
            "message": "exit 1",
            "host": "host-1",
            "time": "2026-01-02T03:00:00Z",
            "taskId": FAILURE.task_id,
            "state": "TASK_FAILED",
            "attempt": 7,
        },
        "waiting": {"reason": "InsufficientCpus", "message": "no agent has enough cpus free"},
        "revision": {"current": "aaaa", "target": "aaaa", "lastGood": "aaaa"},
    }


def test_a_deployment_that_is_not_listed_yet_is_told_by_its_id() -> None:
    found = facts(snapshot(app=actual(task(1), task(2), deployments=("d9",))), READY)["marathon"]
    assert isinstance(found, dict)
    assert found["deployment"] == {"id": "d9", "step": 0, "totalSteps": 0}


def test_of_an_app_that_is_not_ours_only_the_number_asked_for_is_told() -> None:
    found = facts(snapshot(claim=None), READY)
    assert (found["instances"], found["ready"]) == (0, "0/2")
    assert "marathon" not in found
    observed = facts(snapshot(claim=None, management={"policy": Policy.OBSERVE_ONLY}), READY)
    assert observed["ready"] == "2/2"


def test_the_number_asked_for_is_told_although_something_is_missing_for_the_rest_of_the_spec() -> None:
    found = facts(snapshot(desired=None, app=None, resource={"instances": 3}), READY)
    assert (found["instances"], found["ready"]) == (0, "0/3")
    counts = found["counts"]
    assert isinstance(counts, dict)
    assert counts["desired"] == 3


@pytest.mark.parametrize(
    "cluster", [{"synced": False}, {"exists": False}, {"unreachable_for": 1.0}, {"problem": Problem(reason="X", message="y")}]
)
def test_what_cannot_be_seen_keeps_its_value(cluster: dict[str, Any]) -> None:
    before = status(instances=7, ready="7/7", counts={"desired": 7}, drift={"detected": True}, cluster="bj1", revision={"current": "zzzz"})
    found = facts(snapshot(cluster=cluster, resource={"status": before}, app=None), READY)
    assert {key: found[key] for key in ("instances", "ready", "counts", "drift", "cluster")} == {
        "instances": 7,
        "ready": "7/7",
        "counts": {"desired": 7},
        "drift": {"detected": True},
        "cluster": "bj1",
    }
    revision = found["revision"]
    assert isinstance(revision, dict)
    assert revision["current"] == "zzzz"
    assert "conditions" not in found


def test_a_spec_that_cannot_be_read_keeps_the_revision_in_sight() -> None:
    before = status(revision={"current": "aaaa", "target": "aaaa"})
    assert facts(snapshot(desired=None, resource={"status": before}), READY)["revision"] == {"current": "aaaa", "target": "aaaa"}


def test_a_failed_target_is_named() -> None:
    failed = replace(GOOD, hash="bbbb", number=2, state=RevisionState.FAILED)
    found = facts(snapshot(desired=desired("bbbb"), revisions=(GOOD, failed)), READY)["revision"]
    assert found == {"target": "bbbb", "lastGood": "aaaa", "failed": "bbbb"}


def test_while_a_cluster_is_being_left_it_is_still_the_one_to_ask() -> None:
    before = status(cluster="sh2")
    leaving = snapshot(resource={"status": before}, elsewhere=(Elsewhere(cluster="sh2", app_id="/o", app=None),))
    assert facts(leaving, READY)["cluster"] == "sh2"
    assert facts(snapshot(resource={"status": before}), READY)["cluster"] == "bj1"
    assert facts(snapshot(resource={"status": before}, claim=None), READY)["cluster"] == "sh2"
    assert "cluster" not in facts(snapshot(resource={"status": {}}, claim=None), READY)


# ---------------------------------------------------------------------------------------------------- why nothing starts


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (queue(overdue=False, delay_seconds=30.0, rejections={"InsufficientCpus": 9}), "Backoff"),
        (queue(rejections={"InsufficientCpus": 1, "UnfulfilledConstraint": 5}), "UnfulfilledConstraint"),
        (queue(rejections={"InsufficientCpus": 0}), "WaitingForOffers"),
        (queue(), "WaitingForOffers"),
        (queue(rejections={"SomethingNew": 3}), "SomethingNew"),
    ],
)
def test_the_reason_is_that_of_most_declined_offers(item: QueueItem, reason: str) -> None:
    assert waiting_reason(item)[0] == reason


def test_the_end_of_a_back_off_is_a_moment_that_stays_the_same_between_reads() -> None:
    def until(s: Snapshot) -> object:
        found = facts(s, READY)["waiting"]
        assert isinstance(found, dict)
        return found["backoffUntil"]

    first = snapshot(queue=queue(overdue=False, delay_seconds=30.0))
    assert until(first) == rfc3339(NOW + timedelta(seconds=30))
    before = status(waiting={"backoffUntil": until(first)})
    later = replace(
        first,
        now=NOW + timedelta(seconds=11),
        queue=queue(overdue=False, delay_seconds=20.5),
        resource=replace(first.resource, status=before),
    )
    assert until(later) == until(first)
    longer = replace(later, queue=queue(overdue=False, delay_seconds=60.0))
    assert until(longer) == rfc3339(NOW + timedelta(seconds=71))


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({}, True),
        ({"version": OLD}, False),
        ({"version": "", "timestamp": OLD}, False),
        ({"version": "", "timestamp": "2026-01-03T00:00:00Z"}, True),
    ],
)
def test_a_failure_of_an_older_configuration_is_not_shown(changes: dict[str, Any], shown: bool) -> None:  # noqa: FBT001 - a table
    s = snapshot(app=replace(actual(task(1), task(2)), last_task_failure=replace(FAILURE, **changes)))
    assert ("lastTaskFailure" in facts(s, READY)) is shown
    assert ("exit 1" in waiting_clause(s)) is shown


def test_a_failure_without_host_or_attempt_is_told_all_the_same() -> None:
    s = snapshot(app=replace(actual(task(1), task(2)), last_task_failure=replace(FAILURE, host="", task_id="old-style")))
    found = facts(s, READY)["lastTaskFailure"]
    assert isinstance(found, dict)
    assert found.keys() == {"message", "time", "taskId", "state"}
    assert waiting_clause(s) == "; last task failure on an unknown agent: exit 1"


# ---------------------------------------------------------------------------------------------------- questions to the former status


def test_what_a_former_status_says() -> None:
    s = snapshot(resource={"status": status("Locked", "False", generation=4, marathon={"deployment": {"id": "d1"}})})
    assert (former_reason(s), former_generation(s), former_deployment(s), was_ready(s), was_settled(s)) == (
        "Locked",
        4,
        {"id": "d1"},
        False,
        False,
    )
    assert was_ready(snapshot())
    assert was_settled(snapshot())
    assert not was_settled(snapshot(resource={"generation": 2}))
    stalled = {"type": "Stalled", "status": "True", "reason": "X"}
    assert not was_settled(snapshot(resource={"status": {"observedGeneration": 1, "conditions": [stalled]}}))


@pytest.mark.parametrize(
    "odd",
    [{}, {"conditions": "?", "observedGeneration": "1", "marathon": 3}, {"conditions": [None, 5, {}], "marathon": {"deployment": []}}],
)
def test_a_former_status_of_any_shape_says_nothing(odd: dict[str, Any]) -> None:
    s = snapshot(resource={"status": odd})
    assert (former_reason(s), former_generation(s), dict(former_deployment(s)), was_ready(s)) == ("", 0, {}, False)

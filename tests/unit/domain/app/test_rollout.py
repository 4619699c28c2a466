"""How far a roll-out has come, and when it has failed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app_snapshots import NOW, OLD, actual, apps, snapshot, task
from shuren.domain.app.rollout import EXCEEDED, Verdict, judge, moment, rfc3339, standing
from shuren.domain.app.snapshot import Memory, Snapshot
from shuren.domain.marathon.state import ActualApp, Health, TaskState

CHECKED: dict[str, Any] = {"healthChecks": [{"protocol": "TCP"}]}


@pytest.mark.parametrize(
    ("app", "complete", "serving"),
    [
        pytest.param(actual(task(1), task(2)), True, True, id="all run"),
        pytest.param(actual(), True, True, id="none is asked for"),
        pytest.param(actual(task(1), instances=2), False, False, id="one is missing"),
        pytest.param(actual(task(1), task(2), task(3), instances=2), False, True, id="one too many"),
        pytest.param(actual(task(1), task(2, state=TaskState.STAGING)), False, False, id="one is being started"),
        pytest.param(actual(task(1), task(2, version=OLD)), False, False, id="one is of the old configuration"),
        pytest.param(
            actual(task(1), task(2), task(3, version=OLD, state=TaskState.KILLING), instances=2), False, True, id="an old one goes"
        ),
        pytest.param(
            actual(task(1), task(2), task(3, version=OLD, state=TaskState.FAILED), instances=2), True, True, id="an old one ended"
        ),
        pytest.param(actual(task(1), task(2), **CHECKED), False, True, id="health unknown"),
        pytest.param(actual(task(1, health=Health.HEALTHY), task(2, health=Health.HEALTHY), **CHECKED), True, True, id="healthy"),
        pytest.param(actual(task(1, health=Health.HEALTHY), task(2, health=Health.UNHEALTHY), **CHECKED), False, False, id="unhealthy"),
        pytest.param(actual(task(1, version=None), task(2)), False, False, id="a task without version counts as old"),
    ],
)
def test_complete_and_serving(app: ActualApp, complete: bool, serving: bool) -> None:  # noqa: FBT001 - a table
    now = standing(app, desired=app.instances)
    assert (now.complete, now.serving) == (complete, serving)


@given(apps, st.integers(min_value=0, max_value=4))
def test_counts_add_up_and_complete_implies_serving_unless_unhealthy(app: ActualApp, desired: int) -> None:
    now = standing(app, desired=desired)
    assert 0 <= now.updated_healthy + now.updated_unhealthy <= now.updated <= now.running
    assert now.healthy + now.unhealthy <= now.running
    assert now.outdated <= now.old
    assert now.ready in {now.healthy, now.running}
    if now.complete:
        assert now.running == desired
        assert now.serving or now.unhealthy


def rolling(*, monotonic: float = 1000.0, **memory: Any) -> Snapshot:
    return snapshot(app=actual(task(1), instances=2), monotonic=monotonic, memory=memory)


def verdict(s: Snapshot, revision: str = "aaaa") -> tuple[Verdict, float, Memory]:
    assert s.app is not None
    found = judge(s, standing(s.app, desired=2), revision=revision)
    return found.verdict, found.left, found.memory


def test_the_deadline_counts_from_the_last_progress() -> None:
    first = verdict(rolling())
    assert first[:2] == (Verdict.MOVING, 600.0)
    assert first[2].revision == "aaaa/2"
    assert first[2].deadline == rfc3339(NOW + timedelta(seconds=600))
    later = replace(rolling(monotonic=1500.0), memory=first[2])
    assert verdict(later)[:2] == (Verdict.MOVING, 100.0)
    moved = replace(later, app=actual(task(1), task(2), instances=2))
    assert verdict(moved)[:2] == (Verdict.MOVING, 600.0)
    assert verdict(replace(later, monotonic=1600.0))[0] is Verdict.DEADLINE


def test_falling_back_and_coming_up_again_is_no_progress() -> None:
    _, _, seen = verdict(replace(rolling(), app=actual(task(1), task(2), instances=2)))
    _, _, fallen = verdict(replace(rolling(monotonic=1300.0), memory=seen))
    again = replace(rolling(monotonic=1599.0), app=actual(task(1), task(2), instances=2), memory=fallen)
    assert verdict(again)[:2] == (Verdict.MOVING, 1.0)


def test_readiness_is_progress() -> None:
    _, _, seen = verdict(rolling())
    ready = replace(rolling(monotonic=1500.0), memory=seen, app=replace(actual(task(1), instances=2), ready_tasks=("t1",)))
    assert verdict(ready)[:2] == (Verdict.MOVING, 600.0)


def test_another_revision_or_number_of_instances_is_watched_from_its_own_beginning() -> None:
    _, _, seen = verdict(rolling())
    late = replace(rolling(monotonic=5000.0), memory=seen)
    assert verdict(late)[0] is Verdict.DEADLINE
    assert verdict(late, "bbbb")[:2] == (Verdict.MOVING, 600.0)
    assert verdict(replace(late, memory=replace(seen, measure=(1,))))[0] is Verdict.MOVING, "a memory of another release"


def test_unhealthy_for_too_long_is_a_verdict_of_its_own_and_one_healthy_look_resets_it() -> None:
    sick = replace(
        rolling(),
        rollout=replace(snapshot().rollout, max_unhealthy=20.0),
        app=actual(task(1, health=Health.UNHEALTHY), instances=2, **CHECKED),
    )
    verdict_, left, memory = verdict(sick)
    assert (verdict_, left, memory.unhealthy_since) == (Verdict.MOVING, 20.0, 1000.0)
    assert verdict(replace(sick, monotonic=1019.0, memory=memory))[:2] == (Verdict.MOVING, 1.0)
    assert verdict(replace(sick, monotonic=1020.0, memory=memory))[0] is Verdict.UNHEALTHY
    well = replace(sick, monotonic=1019.0, memory=memory, app=actual(task(1, health=Health.HEALTHY), instances=2, **CHECKED))
    assert verdict(well)[2].unhealthy_since is None


# ---------------------------------------------------------------------------------------------------- after a restart


def restarted(**status: Any) -> Snapshot:
    """A new process finds this status of a roll-out that it has not watched."""
    basis: dict[str, Any] = {
        "revision": {"target": "aaaa"},
        "counts": {"desired": 2},
        "marathon": {"deployment": {"id": "d1", "deadline": rfc3339(NOW + timedelta(seconds=200))}},
    }
    return replace(rolling(), resource=replace(snapshot().resource, status=basis | status))


def test_the_deadline_in_the_status_goes_on() -> None:
    assert verdict(restarted())[:2] == (Verdict.MOVING, 200.0)


@pytest.mark.parametrize(
    ("status", "left"),
    [
        pytest.param({"revision": {"target": "bbbb"}}, 600.0, id="of another revision"),
        pytest.param({"counts": {"desired": 3}}, 600.0, id="of another number"),
        pytest.param({"revision": "?"}, 600.0, id="of another release"),
        pytest.param({"marathon": {"deployment": "?"}}, 600.0, id="without deployment"),
        pytest.param({"marathon": {"deployment": {"deadline": "soon"}}}, 600.0, id="not a moment"),
        pytest.param({"marathon": {"deployment": {"deadline": "2026-01-02T03:00:00"}}}, 600.0, id="without time zone"),
        pytest.param({"marathon": {"deployment": {"deadline": rfc3339(NOW - timedelta(days=9))}}}, 60.0, id="long past: a grace"),
        pytest.param({"marathon": {"deployment": {"deadline": rfc3339(NOW + timedelta(days=9))}}}, 600.0, id="a clock that jumped back"),
    ],
)
def test_what_the_status_says_is_believed_within_reason(status: dict[str, Any], left: float) -> None:
    found, seconds, _ = verdict(restarted(**status))
    assert found is Verdict.MOVING
    assert seconds == pytest.approx(left, abs=1)


def test_a_roll_out_that_had_failed_before_the_restart_has_failed() -> None:
    failed = restarted(conditions=[{"type": "Ready", "status": "False", "reason": EXCEEDED}])
    assert verdict(failed)[0] is Verdict.DEADLINE


def test_the_deadline_for_people_does_not_flicker_by_a_second() -> None:
    _, _, first = verdict(rolling())
    later = replace(rolling(monotonic=1000.9), memory=first, now=NOW + timedelta(seconds=2))
    assert verdict(later)[2].deadline == first.deadline
    far = replace(later, now=NOW + timedelta(seconds=60))
    assert verdict(far)[2].deadline != first.deadline


def test_moments_are_read_and_written_as_kubernetes_does() -> None:
    assert moment(rfc3339(NOW)) == NOW
    for nonsense in (None, 5, "", "soon", "2026-01-02", "2026-01-02T03:04:05"):
        assert moment(nonsense) is None

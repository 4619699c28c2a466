"""Which tasks go when an app is made smaller."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app_snapshots import actual, apps, task
from shuren.domain.app.snapshot import Gates
from shuren.domain.app.victims import Removal, choose
from shuren.domain.marathon.state import ActualApp, Health, TaskState


@pytest.mark.parametrize(
    ("app", "remove", "kill", "shrink"),
    [
        pytest.param(actual(task(1), task(2), task(3)), 1, ("t3",), 0, id="the youngest first"),
        pytest.param(
            actual(task(1), task(2), task(3), killSelection="OLDEST_FIRST"), 2, ("t1", "t2"), 0, id="or the oldest, as the app says"
        ),
        pytest.param(actual(task(1, health=Health.UNHEALTHY), task(2)), 1, ("t1",), 0, id="unhealthy before healthy"),
        pytest.param(
            actual(task(1), task(2, state=TaskState.STARTING), task(3, state=TaskState.STAGING), task(4, state=TaskState.UNREACHABLE)),
            4,
            ("t4", "t3", "t2", "t1"),
            0,
            id="unreachable, staging, starting, running",
        ),
        pytest.param(actual(task(1), task(2), instances=5), 2, (), 2, id="instances without a task go first"),
        pytest.param(actual(task(1), task(2), instances=3), 2, ("t2",), 1, id="then tasks"),
        pytest.param(actual(task(1), task(2, state=TaskState.KILLING), instances=2), 1, ("t1",), 0, id="what is being killed is neither"),
        pytest.param(actual(task(1), task(2, state=TaskState.FAILED), instances=2), 1, (), 1, id="an ended task is none"),
        pytest.param(actual(task(1)), 0, (), 0, id="nothing to remove"),
        pytest.param(actual(task(1)), 5, ("t1",), 0, id="no more than there are"),
        pytest.param(actual(task(2, started_at=None), task(1, started_at=None)), 1, ("t2",), 0, id="by name when nothing else is known"),
    ],
)
def test_who_goes(app: ActualApp, remove: int, kill: tuple[str, ...], shrink: int) -> None:
    assert choose(app, remove) == Removal(kill=kill, shrink=shrink)


def test_behind_a_gate_only_what_was_released_goes_and_the_others_are_held() -> None:
    app = actual(task(1), task(2), task(3))
    assert choose(app, 2, gates=Gates(closed=True, released=frozenset({"t2"}))) == Removal(kill=("t2",), held=("t3",))
    assert choose(app, 2, gates=Gates(closed=False)) == Removal(kill=("t3", "t2"))


def test_what_drains_already_is_kept_to() -> None:
    app = actual(task(1), task(2), task(3))
    draining = Gates(closed=True, draining=frozenset({"t1"}), released=frozenset({"t1"}))
    assert choose(app, 1, gates=draining) == Removal(kill=("t1",))


def test_what_does_not_run_has_no_traffic_to_let_go_of() -> None:
    app = actual(task(1), task(2, state=TaskState.STAGING))
    assert choose(app, 1, gates=Gates(closed=True)) == Removal(kill=("t2",))


@given(apps, st.integers(min_value=0, max_value=6))
def test_never_more_than_asked_nobody_twice_and_only_the_living(app: ActualApp, remove: int) -> None:
    removal = choose(app, remove)
    alive = {t.id for t in app.tasks if t.state.active and t.state is not TaskState.KILLING}
    assert len(removal.kill) + removal.shrink <= remove
    assert len(set(removal.kill)) == len(removal.kill)
    assert set(removal.kill) <= alive
    assert removal.kill == () or removal.shrink == max(0, app.instances - len(alive) - sum(t.state is TaskState.KILLING for t in app.tasks))

"""The arithmetic of the rolling restart."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_room import Room, labels
from shuren.sandbox.engine.rolling import begin_restart, marathon_checks, may_start

SHARES = st.integers(0, 20).map(lambda n: n / 20)


@pytest.mark.parametrize(
    ("target", "current", "healthy", "minimum", "over", "kill", "capacity"),
    [
        (4, 4, 4, 1.0, 1.0, 0, 8),
        (4, 4, 4, 0.5, 0.0, 2, 4),
        (4, 4, 4, 1.0, 0.0, 0, 5),
        (4, 4, 0, 1.0, 0.0, 0, 4),  # Marathon's own checks: old ones count as not healthy, and nothing ever moves
        (4, 4, 4, 0.75, 0.25, 1, 5),
        (10, 10, 10, 1.0, 0.1, 0, 11),
        (2, 5, 5, 1.0, 0.0, 3, 3),
        (3, 3, 3, 0.0, 0.0, 3, 3),
    ],
)
def test_first_moves(  # noqa: PLR0917 - one row of a table
    target: int, current: int, healthy: int, minimum: float, over: float, kill: int, capacity: int
) -> None:
    start = begin_restart(target=target, current=current, healthy=healthy, minimum_health=minimum, over_capacity=over)
    assert (start.kill_now, start.max_capacity) == (kill, capacity)


def test_a_resident_app_gives_up_one_instead_of_going_over() -> None:
    start = begin_restart(target=3, current=3, healthy=3, minimum_health=1.0, over_capacity=0.0, resident=True)
    assert (start.kill_now, start.max_capacity) == (1, 3)


@given(target=st.integers(1, 50), minimum=SHARES, over=SHARES)
def test_a_healthy_app_never_falls_below_its_minimum_and_always_moves(target: int, minimum: float, over: float) -> None:
    start = begin_restart(target=target, current=target, healthy=target, minimum_health=minimum, over_capacity=over)
    assert target - start.kill_now >= math.ceil(round(target * minimum, 9))
    first = may_start(target=target, started=0, old_active=target - start.kill_now, max_capacity=start.max_capacity)
    assert start.kill_now > 0 or first > 0


@given(target=st.integers(0, 50), started=st.integers(0, 60), old=st.integers(0, 60), capacity=st.integers(0, 100))
def test_starts_stay_within_target_and_capacity(target: int, started: int, old: int, capacity: int) -> None:
    count = may_start(target=target, started=started, old_active=old, max_capacity=capacity)
    assert count >= 0
    if count:
        assert started + count <= target
        assert started + old + count <= capacity


def test_whose_checks() -> None:
    assert marathon_checks({"healthChecks": [{"protocol": "TCP"}]})
    assert not marathon_checks({"healthChecks": [{"protocol": "MESOS_TCP"}, {"protocol": "COMMAND"}]})


async def test_an_old_instance_that_dies_half_way_is_replaced_by_a_new_one(room: Room) -> None:
    await room.settled("/a", instances=3)
    old = room.instances("/a")
    await room.put(
        "/a", instances=3, cmd="sleep 3", labels=labels(start=30), upgradeStrategy={"minimumHealthCapacity": 1, "maximumOverCapacity": 0.4}
    )
    room.advance(2)
    await room.leading.kill_tasks([old[0].task_id], wipe=False)
    room.advance(2)
    assert old[0] not in room.instances("/a")
    room.until(lambda: not room.deployments(), seconds=200)
    assert {i.definition["cmd"] for i in room.instances("/a")} == {"sleep 3"}
    assert room.running("/a") == 3


async def test_a_restart_that_also_scales_down_ends_with_the_new_count(room: Room) -> None:
    await room.settled("/a", instances=5)
    await room.settled("/a", instances=2, cmd="sleep 3")
    assert room.running("/a") == 2
    assert len(room.instances("/a")) == 2


async def test_a_broken_version_can_be_forced_away(room: Room) -> None:
    await room.settled("/a", instances=2)
    await room.put("/a", instances=2, cmd="sleep 3", labels=labels(launch="no such image"))
    room.advance(20)
    assert room.deployments()
    await room.put("/a", force=True, instances=2, cmd="sleep 4")
    room.until(lambda: not room.deployments())
    assert {i.definition["cmd"] for i in room.instances("/a")} == {"sleep 4"}
    assert room.running("/a") == 2


async def test_replaced_waiting_instances_do_not_linger(room: Room) -> None:
    await room.put("/a", instances=3, constraints=[["hostname", "LIKE", "nowhere"]])
    room.advance(1)
    await room.put("/a", force=True, instances=3)
    room.until(lambda: not room.deployments())
    assert len(room.instances("/a")) == 3

"""The arithmetic of the rolling restart."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_room import Room, labels
from shuren.sandbox.engine.model import Condition, Goal
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


def test_fractions_are_doubles_as_in_marathon() -> None:
    start = begin_restart(target=100, current=100, healthy=100, minimum_health=0.07, over_capacity=0.0)
    assert start.kill_now == 92  # 100 * 0.07 is a little more than 7


async def test_instances_on_their_way_out_count_as_there(room: Room) -> None:
    """A forced update over a scale-down: what dies already makes the app too big, so as many more are killed at once."""
    await room.settled("/a", instances=4, labels=labels(stop=50), taskKillGracePeriodSeconds=60)
    await room.put("/a", instances=2, labels=labels(stop=50), taskKillGracePeriodSeconds=60)
    strategy = {"minimumHealthCapacity": 1, "maximumOverCapacity": 1}
    await room.put("/a", force=True, instances=2, cmd="sleep 9", upgradeStrategy=strategy)
    assert [i.goal for i in room.instances("/a") if i.definition["cmd"] != "sleep 9"] == [Goal.DECOMMISSIONED] * 4


async def test_old_instances_that_never_ran_hold_their_place_without_room_above(room: Room) -> None:
    """Marathon counts what waits for an offer as old, so without over-capacity a broken version has to be scaled away first."""
    broken: dict[str, Any] = {"instances": 3, "upgradeStrategy": {"minimumHealthCapacity": 1, "maximumOverCapacity": 0}}
    await room.put("/a", **broken, constraints=[["hostname", "LIKE", "nowhere"]])
    room.advance(1)
    await room.put("/a", force=True, **broken, cmd="sleep 9")
    room.advance(300)
    assert len(room.deployments()) == 1
    assert room.running("/a") == 0


async def test_after_a_change_of_leader_new_instances_do_not_pay_twice(room: Room) -> None:
    strategy = {"minimumHealthCapacity": 1, "maximumOverCapacity": 0.25}
    await room.settled("/a", instances=4, upgradeStrategy=strategy)
    await room.put("/a", instances=4, upgradeStrategy=strategy, cmd="sleep 9", labels=labels(start=5))

    def new() -> int:
        return sum(i.definition["cmd"] == "sleep 9" for i in room.instances("/a"))

    room.until(lambda: (len(room.instances("/a")), new(), room.running("/a")) == (5, 2, 4))
    await room.restart()
    # Five instances are one too many for four, so one goes at once; the new one that was up already had paid for an old one before.
    assert [i.goal for i in room.instances("/a") if i.definition["cmd"] != "sleep 9"].count(Goal.DECOMMISSIONED) == 1
    room.until(lambda: not room.deployments(), seconds=100)
    assert [i.definition["cmd"] for i in room.instances("/a")] == ["sleep 9"] * 4


async def test_a_backed_off_version_does_not_hold_up_the_next(room: Room) -> None:
    await room.put("/a", instances=2, labels=labels(fail_after=0.1), backoffSeconds=60)
    room.until(lambda: all(i.condition is Condition.SCHEDULED and i.attempt for i in room.instances("/a")))
    room.advance(1)
    await room.put("/a", force=True, instances=2, cmd="sleep 9")
    room.until(lambda: not room.deployments(), seconds=20)
    assert room.running("/a") == 2

"""An app that holds shards is rolled member by member: an upgradeStrategy of ours, a start that waits for moves, no roll for that alone."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from app_snapshots import actual, desired, snapshot, task
from shuren.domain.app.decide import decide
from shuren.domain.app.plan import PutApp
from shuren.domain.app.snapshot import Gates, Snapshot
from shuren.domain.marathon.state import Health, Task, TaskState
from shuren.sandbox.engine.rolling import begin_restart

HOSTS = Gates(closed=True, at_once=1)


def changed(gates: Gates, *, instances: int = 3, **definition: Any) -> Snapshot:
    app = actual(*(task(n) for n in range(1, instances + 1)), instances=instances)
    return snapshot(desired=desired("bbbb", cmd="sleep 2000", instances=instances, **definition), app=app, gates=gates)


def written(s: Snapshot) -> PutApp | None:
    return next((action for action in decide(s).actions if isinstance(action, PutApp)), None)


@pytest.mark.parametrize("instances", [1, 2, 3, 7, 10, 41, 1000])
@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_so_many_restart_at_once_and_none_is_started_beyond(instances: int, at_once: int) -> None:
    put = written(changed(replace(HOSTS, at_once=at_once), instances=instances))
    assert put is not None
    strategy = put.definition["upgradeStrategy"]
    assert isinstance(strategy, dict)
    # as Marathon computes how many it keeps (DeploymentPlan, TaskReplaceActor)
    assert math.ceil(instances * strategy["minimumHealthCapacity"]) == max(0, instances - at_once)
    assert strategy["maximumOverCapacity"] == 0


def test_the_apps_own_strategy_stands() -> None:
    own = {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0.1}
    put = written(changed(HOSTS, upgradeStrategy=own))
    assert put is not None
    assert put.definition["upgradeStrategy"] == own


def test_checks_that_marathon_performs_let_nothing_be_replaced_in_place() -> None:
    put = written(changed(HOSTS, healthChecks=[{"protocol": "TCP"}]))
    assert put is not None
    assert "upgradeStrategy" not in put.definition
    put = written(changed(HOSTS, healthChecks=[{"protocol": "MESOS_TCP"}]))
    assert put is not None
    assert "upgradeStrategy" in put.definition


def test_an_app_without_shards_is_rolled_as_marathon_rolls() -> None:
    put = written(changed(Gates()))
    assert put is not None
    assert "upgradeStrategy" not in put.definition


def test_to_become_a_host_of_shards_restarts_nothing() -> None:
    s = snapshot(gates=HOSTS)
    assert written(s) is None
    paced = actual(task(1), task(2), upgradeStrategy={"minimumHealthCapacity": 0.25, "maximumOverCapacity": 0.0})
    assert written(snapshot(gates=HOSTS, app=paced)) is None


def test_a_new_version_waits_for_moves_that_are_under_way() -> None:
    plan = decide(changed(replace(HOSTS, unsettled="the 3 shards of ShardMap cart that move now have arrived")))
    assert plan.actions == ()
    assert [c.message for c in plan.conditions or () if c.reason == "ShardsMove"] != []


CHECKED = [{"protocol": "MESOS_TCP", "portIndex": 0}]


def among(*tasks: Task, deployments: tuple[str, ...] = ()) -> Snapshot:
    """A new version of an app with checks of Mesos' own, these its tasks."""
    app = actual(*tasks, deployments=deployments, healthChecks=CHECKED)
    wanted = desired("bbbb", cmd="sleep 2000", instances=len(tasks), healthChecks=CHECKED)
    return snapshot(desired=wanted, app=app, gates=HOSTS, memory={"deployments": deployments})


@pytest.mark.parametrize(
    "starting",
    [task(3, state=TaskState.STAGING), task(3, state=TaskState.STARTING), task(3, health=Health.UNKNOWN)],
    ids=["staging", "starting", "not checked yet"],
)
def test_a_member_that_starts_is_waited_for_since_marathon_decides_once_how_many_it_may_kill(starting: Task) -> None:
    well = (task(1, health=Health.HEALTHY), task(2, health=Health.HEALTHY))
    plan = decide(among(*well, starting, deployments=("d1",)))
    assert plan.actions == ()
    assert [c.message for c in plan.conditions or () if "1 of them is starting" in c.message] != []
    assert plan.requeue_after is not None
    assert written(among(*well, task(3, health=Health.HEALTHY), deployments=("d1",))) is not None


def test_a_member_that_is_proven_bad_is_replaced_first_and_holds_up_nothing() -> None:
    put = written(among(task(1, health=Health.HEALTHY), task(2, health=Health.HEALTHY), task(3, health=Health.UNHEALTHY)))
    assert put is not None
    strategy = put.definition["upgradeStrategy"]
    assert isinstance(strategy, dict)
    restart = begin_restart(
        target=3, current=3, healthy=2, minimum_health=strategy["minimumHealthCapacity"], over_capacity=strategy["maximumOverCapacity"]
    )
    assert restart.kill_now == 1, "Marathon kills what is not healthy first"

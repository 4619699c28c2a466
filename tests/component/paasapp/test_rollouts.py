"""Roll-outs that fail, and what follows: deadline, unhealthy limit, roll-back, pause; a corrected spec heals by itself."""

from __future__ import annotations

from typing import Any

import pytest

from paasapp_scenarios import broken
from paasapp_world import World
from shuren.clients.fakes.marathon_tasks import Behaviour
from shuren.ports.kubernetes import CONTROLLER_REVISIONS

CHECKS = [{"protocol": "MESOS_HTTP", "path": "/"}]


async def world_with(**spec: Any) -> World:
    world = World()
    world.marathon.behave = broken
    world.apply(**spec)
    await world.settle()
    assert world.ready(), (world.conditions(), world.message())
    world.steps.clear()
    return world


def marathon_steps(world: World) -> list[str]:
    return [step.removeprefix("marathon ") for step in world.steps if step.startswith("marathon ")]


@pytest.mark.parametrize("behaviour", ["fails", "unplaced", "stuck", "unhealthy"])
async def test_a_revision_that_does_not_come_up_is_rolled_back_to_marathons_own_copy(behaviour: str) -> None:
    world = await world_with(instances=2, healthChecks=CHECKS)
    world.apply(instances=2, healthChecks=CHECKS, cmd=f"{behaviour} 1", rollout={"deadlineSeconds": 60})
    await world.settle()
    assert marathon_steps(world) == ["put_apps /shop/web", "restore /shop/web force"]
    assert world.conditions()["Stalled"] == ("True", "RolledBack")
    assert world.conditions()["Ready"] == ("False", "RolledBack")
    assert "no progress for 60 s" in world.message()
    revision = world.status()["revision"]
    assert revision["failed"] == revision["target"] != revision["lastGood"] == revision["current"]
    app = world.marathon.actual("/shop/web")
    assert app is not None
    assert app.counts.healthy == 2
    await world.assert_quiet()


async def test_a_failed_revision_is_not_tried_again_but_a_corrected_spec_heals() -> None:
    world = await world_with(instances=1)
    bad: dict[str, Any] = {"instances": 1, "cmd": "unplaced 1", "rollout": {"deadlineSeconds": 60}}
    world.apply(**bad)
    await world.settle()
    world.apply(instances=1)
    await world.settle()
    assert world.ready()
    world.steps.clear()
    world.apply(**bad)
    await world.settle()
    assert marathon_steps(world) == []
    assert "Stalled" in world.conditions()
    world.apply(instances=1, cmd="sleep 3")
    await world.settle()
    assert world.ready()
    assert world.status()["revision"].get("failed") is None


async def test_unhealthy_for_too_long_fails_before_the_deadline() -> None:
    world = await world_with(instances=1, healthChecks=CHECKS)
    begun = world.clock.monotonic()
    world.apply(instances=1, healthChecks=CHECKS, cmd="unhealthy 1", rollout={"maxUnhealthySeconds": 20})
    for _ in range(60):
        await world.round()
        world.clock.shift(1.0)
        if "restore /shop/web force" in marathon_steps(world):
            break
    assert 20 <= world.clock.monotonic() - begun < 40
    await world.settle()
    assert "unhealthy for 20 s" in world.message()


async def test_progress_moves_the_deadline() -> None:
    """Each new instance that runs gives the rest another deadline's time."""
    world = await world_with(instances=1)
    world.marathon.behave = broken
    world.apply(
        instances=4,
        cmd="sleep 2",
        upgradeStrategy={"minimumHealthCapacity": 1, "maximumOverCapacity": 0.25},
        rollout={"deadlineSeconds": 10},
    )
    for _ in range(60):
        await world.round()
        world.clock.shift(5.0)
    assert world.ready(), world.message()
    assert "restore /shop/web force" not in marathon_steps(world)


async def test_a_crash_loop_is_no_progress() -> None:
    world = await world_with(instances=1)
    world.apply(instances=1, cmd="fails 1", rollout={"deadlineSeconds": 30})
    begun = world.clock.monotonic()
    while "restore /shop/web force" not in marathon_steps(world):
        await world.round()
        world.clock.shift(1.0)
        assert world.clock.monotonic() - begun < 60
    assert world.clock.monotonic() - begun >= 30


async def test_the_deadline_outlives_the_operator() -> None:
    world = await world_with(instances=1)
    world.apply(instances=1, cmd="unplaced 1", rollout={"deadlineSeconds": 300})
    begun = world.clock.monotonic()
    while "restore /shop/web force" not in marathon_steps(world):
        await world.round()
        world.clock.shift(10.0)
        if int(world.clock.monotonic()) % 50 == 0:
            await world.start()
        assert world.clock.monotonic() - begun < 500, "an operator that restarts again and again must not keep a roll-out alive"


async def test_a_clock_that_jumped_does_not_fail_a_roll_out_at_once() -> None:
    world = await world_with(instances=1)
    world.apply(instances=1, cmd="unplaced 1", rollout={"deadlineSeconds": 300})
    await world.round()
    await world.round()
    world.clock.shift(100_000.0)
    await world.start()
    await world.round()
    assert "restore /shop/web force" not in marathon_steps(world)


async def test_pause_cancels_and_leaves_things_as_they_are() -> None:
    world = await world_with(instances=2, rollout={"onFailure": "Pause"})
    world.apply(instances=2, cmd="unplaced 1", rollout={"onFailure": "Pause", "deadlineSeconds": 60})
    await world.settle()
    assert [s.split()[0] for s in marathon_steps(world)] == ["put_apps", "cancel_deployment"]
    assert world.conditions()["Stalled"] == ("True", "RolloutFailed")
    assert world.marathon.definitions["/shop/web"]["cmd"] == "unplaced 1"
    await world.assert_quiet()


async def test_ignore_only_says_so() -> None:
    world = await world_with(instances=2, rollout={"onFailure": "Ignore"})
    world.apply(instances=2, cmd="unplaced 1", rollout={"onFailure": "Ignore", "deadlineSeconds": 60})
    await world.settle()
    assert marathon_steps(world) == ["put_apps /shop/web"]
    assert world.conditions()["Ready"] == ("False", "ProgressDeadlineExceeded")
    await world.assert_quiet()


async def test_without_anything_good_to_go_back_to_it_stalls_and_heals_when_it_comes_up() -> None:
    world = World()
    world.marathon.behave = broken
    world.apply(cmd="stuck 1", rollout={"deadlineSeconds": 60})
    await world.settle()
    assert world.conditions()["Stalled"] == ("True", "RolloutFailed")
    world.marathon.behave = lambda _: Behaviour.RUNS
    await world.settle()
    assert world.ready()


async def test_rolling_back_brings_the_old_secret_back_and_shows_it_nowhere() -> None:
    world = World()
    world.marathon.behave = broken
    world.secret("db", password="old-value")
    reference = [{"name": "PASSWORD", "secretKeyRef": {"name": "db", "key": "password"}}]
    world.apply(envRefs=reference)
    await world.settle()
    world.secret("db", password="new-value")
    await world.settle()
    assert world.marathon.definitions["/shop/web"]["env"]["PASSWORD"] == "new-value"
    world.secret("db", password="newer-value")
    world.apply(envRefs=reference, cmd="unplaced 1", rollout={"deadlineSeconds": 60})
    await world.settle()
    assert world.conditions()["Stalled"] == ("True", "RolledBack")
    assert world.marathon.definitions["/shop/web"]["env"]["PASSWORD"] == "new-value"
    shown = repr(world.resource()) + repr(world.kubernetes.all(CONTROLLER_REVISIONS)) + repr(world.recorder.events) + repr(world.steps)
    assert "-value" not in shown


async def test_rolling_back_keeps_the_number_of_instances_of_now() -> None:
    world = await world_with(instances=1)
    world.apply(instances=3)
    await world.settle()
    world.apply(instances=3, cmd="unplaced 1", rollout={"deadlineSeconds": 60})
    await world.settle()
    app = world.marathon.actual("/shop/web")
    assert app is not None
    assert (app.definition["cmd"], app.instances, app.counts.running) == ("sleep 1000", 3, 3)
    assert [s.split()[0] for s in marathon_steps(world)] == ["patch_apps", "put_apps", "put_apps"], "Marathon's copy asks for one instance"


async def test_rolling_back_renders_anew_when_marathon_has_forgotten() -> None:
    world = await world_with(instances=1, env={"A": "1"})
    version = world.marathon.definitions["/shop/web"]["version"]
    world.apply(instances=1, cmd="unplaced 1", rollout={"deadlineSeconds": 60})
    await world.round()
    world.marathon.forget_version("/shop/web", version)
    await world.settle()
    assert world.conditions()["Stalled"] == ("True", "RolledBack")
    assert world.marathon.definitions["/shop/web"]["env"] == {"A": "1"}


async def test_scaling_while_rolled_back_works() -> None:
    world = await world_with(instances=1)
    bad: dict[str, Any] = {"cmd": "unplaced 1", "rollout": {"deadlineSeconds": 60}}
    world.apply(instances=1, **bad)
    await world.settle()
    world.apply(instances=3, **bad)
    await world.settle()
    app = world.marathon.actual("/shop/web")
    assert app is not None
    assert (app.definition["cmd"], app.counts.running) == ("sleep 1000", 3)


async def test_an_edit_in_the_middle_of_a_roll_out_replaces_it() -> None:
    world = await world_with(instances=2)
    world.apply(instances=2, cmd="unplaced 1")
    await world.round()
    await world.round()
    world.apply(instances=2, cmd="sleep 5")
    await world.settle()
    assert world.ready()
    assert marathon_steps(world)[:2] == ["put_apps /shop/web", "put_apps /shop/web force"]


async def test_an_edit_after_a_crash_in_the_middle_of_a_roll_out_replaces_it_too() -> None:
    world = await world_with(instances=2)
    world.apply(instances=2, cmd="unplaced 1")
    await world.round(tick=False)
    await world.start()
    world.apply(instances=2, cmd="sleep 5")
    await world.settle()
    assert world.ready()


async def test_a_roll_out_that_somebody_broke_off_is_finished() -> None:
    world = await world_with(instances=3)
    slow: dict[str, Any] = {"upgradeStrategy": {"minimumHealthCapacity": 1, "maximumOverCapacity": 0.34}}
    world.apply(instances=3, cmd="sleep 5", **slow)
    await world.round()
    await world.round()
    for plan in list(world.marathon.plans):
        world.marathon.cancel(plan)
    await world.settle()
    assert world.ready()
    app = world.marathon.actual("/shop/web")
    assert app is not None
    assert all((t.version or "") >= app.last_config_change_at for t in app.tasks)
    assert "restart /shop/web" in marathon_steps(world)


async def test_a_foreign_deployment_is_waited_for() -> None:
    world = await world_with(instances=1)
    world.marathon.foreign_put({**world.marathon.definitions["/shop/web"], "cmd": "stuck 1"})
    world.apply(instances=1, cmd="sleep 5")
    for _ in range(6):
        await world.round()
    assert world.conditions()["Reconciling"] == ("True", "Locked")
    assert marathon_steps(world) == []
    await world.settle()
    await world.assert_quiet()
    for plan in list(world.marathon.plans):
        world.marathon.cancel(plan)
    await world.settle()
    assert world.ready()


async def test_a_foreign_deployment_is_replaced_when_the_spec_changes_again_while_it_is_waited_for() -> None:
    world = await world_with(instances=1)
    world.marathon.foreign_put({**world.marathon.definitions["/shop/web"], "cmd": "stuck 1"})
    world.apply(instances=1, cmd="sleep 5")
    await world.round()
    assert world.conditions()["Reconciling"] == ("True", "Locked")
    await world.start()
    world.apply(instances=1, cmd="sleep 6")
    await world.settle()
    assert world.ready()
    assert marathon_steps(world)[0] == "put_apps /shop/web force"


async def test_revisions_are_pruned_and_the_good_one_is_kept() -> None:
    world = await world_with(instances=1)
    for number in range(14):
        world.apply(instances=1, cmd=f"sleep {number + 1}")
        await world.settle()
    assert len(world.revisions()) == 10
    assert world.status()["revision"]["lastGood"] in world.revisions()


async def test_health_forgotten_by_a_new_leader_is_not_bad_health() -> None:
    world = await world_with(instances=2, healthChecks=CHECKS)
    before = world.status()
    world.marathon.fail_over()
    await world.round(tick=False)
    assert world.conditions()["Ready"] == ("True", "Ready")
    assert world.status() == before, "of ten thousand apps none is written"
    await world.settle()
    assert world.status() == before


async def test_a_crashed_task_of_a_good_revision_is_told_and_left_to_marathon() -> None:
    world = await world_with(instances=2)
    app = world.marathon.actual("/shop/web")
    assert app is not None
    world.marathon.crash_task(app.tasks[0].id, message="Out of memory")
    await world.round(tick=False)
    assert world.conditions()["Ready"] == ("False", "InstancesNotReady")
    assert world.status()["lastTaskFailure"]["message"] == "Out of memory"
    assert world.status()["lastTaskFailure"]["attempt"] == 1
    await world.settle()
    assert world.ready()
    assert marathon_steps(world) == []

"""Gated roll-outs: what is told of them, what people may say to them, and what holds them up."""

from __future__ import annotations

from typing import Any

from gated_scenarios import ALT, WEB, Balanced, apply, command, lives, phase
from paasapp_scenarios import prepare
from paasapp_world import World
from shuren.ports.kubernetes import PAAS_APPS

CHECKED: dict[str, Any] = {"healthChecks": [{"protocol": "MESOS_HTTP", "path": "/"}]}
PAUSES: list[dict[str, Any]] = [{"weight": 25, "pause": True}, {"weight": 75, "pause": True}]


async def rolled(*steps: Any, world: World | None = None) -> World:
    """A world in which these things happened one after the other."""
    world = world or Balanced()
    prepare(world)
    for step in steps:
        step(world)
        await world.settle()
    return world


def weight(world: World) -> int:
    return int(world.status()["rollout"]["weight"])


def running(world: World, app_id: str) -> int:
    return len([task for task in world.marathon_tasks(app_id) if task.state.value == "TASK_RUNNING"])


# ---------------------------------------------------------------------------------------------------- step by step


async def test_a_pause_is_no_stall_and_the_old_version_stays_whole() -> None:
    world = await rolled(apply(instances=4), apply("sleep 7", instances=4, steps=PAUSES))
    assert phase(world) == "Paused"
    assert world.conditions()["Ready"] == ("False", "RolloutPaused")
    assert world.conditions()["Reconciling"] == ("True", "RolloutPaused")
    assert "Stalled" not in world.conditions()
    assert "annotate paas.shurenyun.com/rollout-promote with any new value to go on" in world.message()
    assert (weight(world), running(world, WEB), running(world, ALT)) == (25, 4, 1)
    assert world.status()["counts"]["updated"] == 1
    assert world.status()["marathon"]["id"] == WEB
    command("promote")(world)
    await world.settle()
    assert (weight(world), running(world, WEB), running(world, ALT), phase(world)) == (75, 4, 3, "Paused")
    # the same value again is not another command
    command("promote")(world)
    await world.settle()
    assert weight(world) == 75
    command("promote", "2")(world)
    await world.settle()
    assert lives(world, ALT, "sleep 7", 4)
    assert world.status()["rollout"]["handled"] == {"promote": "2"}


async def test_the_order_of_things_scale_shift_hold_retire() -> None:
    world = await rolled(apply(), apply("sleep 7", steps=[{"weight": 50}]))
    told = [reason for reason, _ in world.recorder.events if reason.startswith("Rollout")]
    assert list(dict.fromkeys(told)) == [
        "RolloutStarting",
        "RolloutScaling",
        "RolloutShifting",
        "RolloutHolding",
        "RolloutRetiring",
        "RolloutCompleted",
    ]
    writes = [step for step in world.steps if step.startswith("marathon")]
    assert writes == [
        "marathon put_apps /shop/web",
        "marathon put_apps /shop/web-alt",
        "marathon patch_apps /shop/web-alt",
        "marathon kill_tasks /shop/web",
        "marathon delete_app /shop/web",
    ]


async def test_the_two_ids_take_turns() -> None:
    world = await rolled(apply(), apply("sleep 7"), apply())
    assert lives(world, WEB, "sleep 1000")
    apply("sleep 8")(world)
    await world.settle()
    assert lives(world, ALT, "sleep 8")
    assert world.ready()
    assert len(world.revisions()) == 3


async def test_before_a_person_has_looked_nothing_goes_to_the_new_version() -> None:
    steps = [{"weight": 0, "scale": 100, "pause": True}]
    world = await rolled(apply(instances=3), apply("sleep 7", instances=3, steps=steps))
    assert (phase(world), weight(world), running(world, ALT)) == ("Paused", 0, 3)
    command("promote-full")(world)
    await world.settle()
    assert lives(world, ALT, "sleep 7", 3)


async def test_what_a_person_says_before_anything_is_under_way_is_noted_and_does_nothing_later() -> None:
    world = await rolled(apply(), command("abort"), command("pause"))
    world.apply(cmd="sleep 7", instances=2, rollout={"strategy": "Gated"}, annotations={"paas.shurenyun.com/rollout-abort": "1"})
    await world.settle()
    assert lives(world, ALT, "sleep 7")


async def test_paused_and_resumed_by_annotation_and_by_the_spec() -> None:
    world = Balanced()
    world.follows_after = 30.0
    await rolled(apply(), world=world)
    apply("sleep 7", steps=[{"weight": 50, "durationSeconds": 100}])(world)
    while phase(world) != "Holding":
        await world.round()
        world.clock.shift(1.0)
    command("pause")(world)
    await world.settle()
    assert (phase(world), weight(world)) == ("Paused", 50)
    assert "paused by the annotation" in world.message()
    apply("sleep 7", steps=[{"weight": 50, "durationSeconds": 100}], paused=True)(world)
    world.annotate(**{"paas.shurenyun.com/rollout-resume": "1"})
    await world.settle()
    assert (phase(world), weight(world)) == ("Paused", 50)
    assert "paused by spec.rollout.paused" in world.message()
    apply("sleep 7", steps=[{"weight": 50, "durationSeconds": 100}])(world)
    await world.settle()
    assert lives(world, ALT, "sleep 7")


async def test_held_by_the_spec_from_the_beginning_no_traffic_moves() -> None:
    world = await rolled(apply(), apply("sleep 7", paused=True))
    assert (phase(world), weight(world), running(world, ALT)) == ("Paused", 0, 1)


# ---------------------------------------------------------------------------------------------------- limits


async def test_slow_answers_take_it_back_and_the_same_is_not_tried_again() -> None:
    steps = [{"weight": 50, "durationSeconds": 60, "maxLatencyMillis": 100}]
    world = await rolled(apply(), apply("slow 1", steps=steps))
    assert lives(world, WEB, "sleep 1000")
    assert "requests took 900 ms on average (maxLatencyMillis is 100)" in world.message()
    made = len(world.steps)
    world.annotate(note="again")
    await world.settle()
    assert not [step for step in world.steps[made:] if step.startswith("marathon")]


async def test_without_traffic_a_step_with_limits_is_not_passed() -> None:
    world = Balanced()
    world.requests_per_second = 0.0
    await rolled(apply(), world=world)
    apply("sleep 7", steps=[{"weight": 50, "maxErrorRate": 0.1, "minRequests": 30}])(world)
    await world.settle()
    assert lives(world, WEB, "sleep 1000")
    assert "no progress for 60 s (spec.rollout.deadlineSeconds): waiting for 30 requests to judge it by (minRequests)" in world.message()


async def test_a_failed_one_stays_as_it_is_when_that_is_the_policy_until_a_person_gives_it_up() -> None:
    steps = [{"weight": 50, "durationSeconds": 60, "maxErrorRate": 0.1}]
    world = await rolled(apply(), apply("bad 1", steps=steps, onFailure="Pause"))
    assert world.conditions()["Stalled"] == ("True", "RolloutFailed")
    assert "annotate paas.shurenyun.com/rollout-abort, or change the spec" in world.message()
    assert (weight(world), running(world, ALT)) == (50, 1)
    await world.assert_quiet()
    command("abort")(world)
    await world.settle()
    assert lives(world, WEB, "sleep 1000")
    assert world.conditions()["Stalled"] == ("True", "RolledBack")


async def test_what_does_not_come_on_and_is_ignored_is_told_once() -> None:
    world = Balanced()
    prepare(world)
    world.apply(cmd="sleep 1", instances=2, rollout={"strategy": "Gated"}, **CHECKED)
    await world.settle()
    ignoring = {"strategy": "Gated", "onFailure": "Ignore", "deadlineSeconds": 30}
    world.apply(cmd="unhealthy 1", instances=2, rollout=ignoring, **CHECKED)
    await world.settle()
    assert "which spec.rollout.onFailure ignores" in world.message()
    assert world.conditions()["Ready"] == ("False", "RollingOut")
    await world.assert_quiet()


# ---------------------------------------------------------------------------------------------------- what holds it up


async def test_load_balancers_that_do_not_follow_hold_it_up_and_then_it_has_failed() -> None:
    world = await rolled(apply())
    apply("sleep 7")(world)
    await until_weight(world, 10)
    world.follows_after = 1e6
    for _ in range(5):
        await world.round()
        world.clock.shift(1.0)
    assert (phase(world), weight(world)) == ("Shifting", 10)
    assert "load balancer lb-1 has yet to follow shop.web" in world.message()
    await world.settle()
    assert lives(world, WEB, "sleep 1000"), "not even going back waits for ever"
    assert "no progress for 60 s" in world.message()


async def until_weight(world: World, wanted: int) -> None:
    for _ in range(60):
        if world.status().get("rollout", {}).get("weight") == wanted:
            return
        await world.round()
        world.clock.shift(1.0)
    raise AssertionError(world.status())


async def test_no_traffic_moves_before_load_balancers_own_checks_pass() -> None:
    world = await rolled(apply())
    world.checks_pass = False
    apply("sleep 7")(world)
    for _ in range(30):
        await world.round()
        world.clock.shift(1.0)
    assert (phase(world), weight(world)) == ("Scaling", 0)
    assert "load balancer lb-1 has 0 of 1 endpoints of /shop/web-alt up" in world.message()
    world.checks_pass = True
    await world.settle()
    assert lives(world, ALT, "sleep 7")


async def test_checks_of_load_balancers_that_never_pass_take_it_back() -> None:
    world = await rolled(apply())
    world.checks_pass = False
    apply("sleep 7")(world)
    await world.settle()
    assert lives(world, WEB, "sleep 1000")
    assert "no progress for 60 s" in world.message()


async def test_without_a_load_balancer_it_takes_over_as_soon_as_it_is_healthy() -> None:
    world = World()
    steps = [{"weight": 10, "durationSeconds": 3600, "maxErrorRate": 0.01}, {"weight": 50, "pause": True}]
    await rolled(apply(steps=steps), apply("sleep 7", steps=steps), world=world)
    assert (phase(world), weight(world)) == ("Paused", 0)
    assert "while no PaasService with a load balancer carries it, so that there is no traffic to move" in world.message()
    command("promote")(world)
    await world.settle()
    assert lives(world, ALT, "sleep 7")


async def test_the_second_id_of_somebody_else_is_left_alone() -> None:
    world = await rolled(apply(), lambda w: w.apply("web-alt", cmd="sleep 3"))
    apply("sleep 7")(world)
    await world.settle()
    assert world.conditions()["Stalled"] == ("True", "OwnedByOther")
    assert "needs the app id /shop/web-alt, which is claimed by PaasApp shop/web-alt" in world.message()
    assert world.marathon.definitions[WEB]["cmd"] == "sleep 1000"
    world.delete("web-alt")
    await world.settle()
    assert lives(world, ALT, "sleep 7")


async def test_an_app_that_nobody_owns_is_no_second_app() -> None:
    world = await rolled(apply())
    world.marathon.foreign_put({"id": ALT, "cmd": "sleep 4", "instances": 1})
    apply("sleep 7")(world)
    await world.settle()
    assert world.conditions()["Stalled"] == ("True", "NotAdopted")
    assert world.marathon.definitions[ALT]["cmd"] == "sleep 4"
    world.marathon.foreign_delete(ALT)
    await world.settle()
    assert lives(world, ALT, "sleep 7")


async def test_suspended_in_the_middle_nothing_moves() -> None:
    world = await rolled(apply(), apply("sleep 7", steps=PAUSES))
    before = len([step for step in world.steps if step.startswith("marathon")])
    world.apply(cmd="sleep 7", instances=3, rollout={"strategy": "Gated", "steps": PAUSES}, management={"suspend": True})
    command("promote-full")(world)
    await world.settle()
    assert len([step for step in world.steps if step.startswith("marathon")]) == before
    assert weight(world) == 25
    world.apply(
        cmd="sleep 7",
        instances=3,
        rollout={"strategy": "Gated", "steps": PAUSES},
        annotations={"paas.shurenyun.com/rollout-promote-full": "9"},
    )
    await world.settle()
    assert lives(world, ALT, "sleep 7", 3)


async def test_marathon_away_in_the_middle_costs_time_only() -> None:
    world = await rolled(apply(), apply("sleep 7", steps=PAUSES))
    world.site.unreachable_since = world.clock.monotonic()
    command("promote")(world)
    await world.settle()
    assert weight(world) == 25
    world.site.unreachable_since = None
    await world.settle()
    assert weight(world) == 75


async def test_what_serves_alone_is_never_taken_away() -> None:
    """Somebody deletes the app that serves, in the middle: the one beside goes only when the other serves again."""
    world = await rolled(apply(), apply("sleep 7", steps=PAUSES))
    world.marathon.foreign_delete(WEB)
    for _ in range(60):
        await world.round()
        world.clock.shift(1.0)
        assert running(world, WEB) + running(world, ALT) > 0
    await world.settle()
    assert lives(world, WEB, "sleep 7")


async def test_an_app_that_never_served_is_changed_in_place() -> None:
    world = await rolled(apply("unplaced 1"), apply("sleep 7"))
    assert lives(world, WEB, "sleep 7")
    assert "marathon put_apps /shop/web-alt" not in world.steps


async def test_made_anew_under_its_name_it_takes_over_what_is_left_of_the_former_one() -> None:
    world = await rolled(apply(), apply("sleep 7"))
    assert lives(world, ALT, "sleep 7")
    await world.kubernetes.patch_json(PAAS_APPS, "shop", "web", [{"op": "add", "path": "/metadata/finalizers", "value": []}])
    world.delete()
    apply("sleep 7")(world)
    await world.settle()
    assert lives(world, ALT, "sleep 7")
    assert world.ready()

"""What somebody else changes in Marathon: corrected, told or left alone; and what belongs to somebody else by agreement."""

from __future__ import annotations

from typing import Any

import pytest

from paasapp_world import World


async def running(**spec: Any) -> World:
    world = World()
    world.apply(**spec)
    await world.settle()
    assert world.ready()
    world.steps.clear()
    return world


def meddle(world: World, **fields: Any) -> None:
    world.marathon.foreign_put({**world.marathon.definitions["/shop/web"], **fields})
    world.marathon.settle()


def marathon_steps(world: World) -> list[str]:
    return [step.removeprefix("marathon ") for step in world.steps if step.startswith("marathon ")]


@pytest.mark.parametrize("fields", [{"cmd": "rm -rf /"}, {"instances": 5}, {"instances": 1}, {"labels": {"a": "b"}}, {"env": {"A": "2"}}])
async def test_drift_is_corrected(fields: dict[str, Any]) -> None:
    world = await running(instances=2)
    meddle(world, **fields)
    await world.settle()
    assert world.ready()
    definition = world.marathon.definitions["/shop/web"]
    assert (definition["cmd"], definition["instances"], definition["labels"], definition.get("env")) == ("sleep 1000", 2, {}, None)
    assert len(world.revisions()) == 1


async def test_drift_is_corrected_in_the_pass_after_the_event_that_reveals_it() -> None:
    world = await running(instances=2)
    meddle(world, cmd="sleep 1")
    await world.round(tick=False)
    assert marathon_steps(world) == ["put_apps /shop/web"]
    assert ("CorrectingDrift", "correct /shop/web (/cmd)") in world.recorder.events


async def test_surplus_instances_of_others_go_by_the_victims_decision_too() -> None:
    world = await running(instances=2)
    meddle(world, instances=4)
    await world.settle()
    assert [s.split()[0] for s in marathon_steps(world)] == ["kill_tasks"]


async def test_warn_tells_which_fields_and_changes_nothing() -> None:
    world = await running(instances=2, env={"KEY": "mine"}, management={"drift": "Warn"})
    meddle(world, cmd="sleep 1", env={"KEY": "theirs"})
    await world.settle()
    assert marathon_steps(world) == []
    assert world.conditions()["InSync"] == ("False", "Drifted")
    assert world.conditions()["Ready"] == ("True", "Ready")
    drift = world.status()["drift"]
    assert drift["count"] == 2
    assert {"path": "/cmd", "desired": "sleep 1000", "actual": "sleep 1"} in drift["sample"]
    assert "theirs" not in repr(drift), "values of the environment are never shown"
    await world.assert_quiet()


async def test_ignore_says_nothing() -> None:
    world = await running(management={"drift": "Ignore"})
    meddle(world, cmd="sleep 1")
    await world.settle()
    assert marathon_steps(world) == []
    assert world.conditions() == {"Ready": ("True", "Ready"), "InSync": ("True", "InSync")}
    assert "drift" not in world.status()


@pytest.mark.parametrize("policy", ["Warn", "Ignore"])
async def test_scaling_works_although_drift_is_left_alone(policy: str) -> None:
    world = await running(instances=1, management={"drift": policy})
    meddle(world, cmd="sleep 1")
    await world.settle()
    world.apply(instances=3, management={"drift": policy})
    await world.settle()
    assert (world.marathon.definitions["/shop/web"]["cmd"], world.marathon.definitions["/shop/web"]["instances"]) == ("sleep 1", 3)


async def test_a_new_spec_overrides_drift_that_was_left_alone() -> None:
    world = await running(management={"drift": "Warn"})
    meddle(world, labels={"a": "b"})
    await world.settle()
    world.apply(cmd="sleep 2", management={"drift": "Warn"})
    await world.settle()
    assert world.ready()
    assert world.marathon.definitions["/shop/web"]["labels"] == {}


async def test_an_app_that_somebody_deleted_is_made_again_unless_drift_is_left_alone() -> None:
    world = await running()
    world.recorder.events.clear()
    world.marathon.foreign_delete("/shop/web")
    await world.settle()
    assert world.ready()
    assert [reason for reason, _ in world.recorder.events] == ["CorrectingDrift", "Ready"]
    world = await running(management={"drift": "Warn"})
    world.marathon.foreign_delete("/shop/web")
    await world.settle()
    assert marathon_steps(world) == []
    assert world.conditions()["Ready"] == ("False", "DeletedInMarathon")


async def test_ignored_paths_belong_to_somebody_else() -> None:
    """An autoscaler owns the number of instances, a feature switch one variable."""
    world = await running(instances=2, env={"A": "1"}, management={"ignorePaths": ["/instances", "/env/FEATURE"]})
    meddle(world, instances=5, env={"A": "1", "FEATURE": "on"})
    await world.settle()
    assert marathon_steps(world) == []
    assert world.status()["counts"]["desired"] == 5
    world.apply(instances=2, cmd="sleep 2", env={"A": "1"}, management={"ignorePaths": ["/instances", "/env/FEATURE"]})
    await world.settle()
    definition = world.marathon.definitions["/shop/web"]
    assert (definition["cmd"], definition["instances"], definition["env"]) == ("sleep 2", 5, {"A": "1", "FEATURE": "on"})
    await world.assert_quiet()


async def test_a_restart_by_somebody_else_is_no_drift() -> None:
    world = await running(instances=2)
    world.marathon.update([], restarts=["/shop/web"])
    await world.round(tick=False)
    assert world.conditions()["Reconciling"] == ("True", "Deploying")
    await world.settle()
    assert world.ready()
    assert marathon_steps(world) == []


async def test_what_marathon_adds_is_no_drift() -> None:
    world = await running(
        instances=2,
        portDefinitions=[{"port": 0, "name": "http"}],
        healthChecks=[{"protocol": "HTTP", "path": "/", "portIndex": 0}],
        constraints=[["hostname", "UNIQUE"]],
        fetch=[{"uri": "http://files/a.tgz"}],
    )
    await world.assert_quiet()
    assert world.marathon.definitions["/shop/web"]["portDefinitions"][0]["port"] >= 10_000

"""A Marathon that takes a definition and keeps it otherwise, for it does not know a field or is of another release.

It is written once, told, and never again; what people change is still seen.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest

from paasapp_world import World

PATCH = [{"op": "add", "path": "/taskKillGracePeriodSeconds", "value": 7}]


def forgetful() -> World:
    """Its Marathon knows no `taskKillGracePeriodSeconds`, and adds a field of its own."""
    world = World()

    def keeps(definition: dict[str, Any]) -> dict[str, Any]:
        known = {key: value for key, value in definition.items() if key != "taskKillGracePeriodSeconds"}
        return {**known, "tty": definition.get("tty", True)}

    world.marathon.keeps = keeps
    return world


def marathon_steps(world: World) -> list[str]:
    return [step.removeprefix("marathon ") for step in world.steps if step.startswith("marathon ")]


async def ready(**spec: Any) -> World:
    world = forgetful()
    world.apply(patches=PATCH, **spec)
    await world.settle()
    assert world.ready()
    return world


async def test_it_is_written_once_and_told() -> None:
    world = await ready(instances=2)
    assert marathon_steps(world) == ["put_apps /shop/web"]
    assert world.conditions()["InSync"] == ("True", "KeptOtherwise")
    assert "/taskKillGracePeriodSeconds, /tty" in world.message(kind="InSync")
    await world.assert_quiet()
    assert marathon_steps(world) == ["put_apps /shop/web"], "another process knows it from the record"


@pytest.mark.parametrize("restarted", [False, True])
async def test_what_people_change_is_still_corrected_once(*, restarted: bool) -> None:
    world = await ready()
    if restarted:
        await world.start()
    world.steps.clear()
    world.marathon.foreign_put({**world.marathon.definitions["/shop/web"], "cmd": "rm -rf /"})
    world.marathon.settle()
    await world.settle()
    assert world.ready()
    assert world.marathon.definitions["/shop/web"]["cmd"] == "sleep 1000"
    assert marathon_steps(world) == ["put_apps /shop/web"]
    await world.assert_quiet()
    assert marathon_steps(world) == ["put_apps /shop/web"]


async def test_scaling_and_changes_go_on_as_ever() -> None:
    world = await ready()
    world.steps.clear()
    world.apply(patches=PATCH, instances=3)
    await world.settle()
    assert (world.ready(), [step.split()[0] for step in marathon_steps(world)]) == (True, ["patch_apps"])
    world.steps.clear()
    world.apply(patches=PATCH, instances=3, cmd="sleep 2")
    await world.settle()
    assert (world.ready(), marathon_steps(world)) == (True, ["put_apps /shop/web"])
    assert world.marathon.definitions["/shop/web"]["cmd"] == "sleep 2"
    assert len(world.revisions()) == 2


async def test_a_field_that_is_no_longer_left_to_others_is_written() -> None:
    world = await ready(env={"A": "mine"}, management={"ignorePaths": ["/env/A"]})
    world.marathon.foreign_put({**world.marathon.definitions["/shop/web"], "env": {"A": "theirs"}})
    world.marathon.settle()
    await world.settle()
    assert world.marathon.definitions["/shop/web"]["env"] == {"A": "theirs"}
    world.apply(patches=PATCH, env={"A": "mine"})
    await world.settle()
    assert world.ready()
    assert world.marathon.definitions["/shop/web"]["env"] == {"A": "mine"}


@pytest.mark.parametrize("restarted", [False, True])
async def test_an_app_that_was_put_back_is_drift(*, restarted: bool) -> None:
    """A restored backup of Marathon's state: its definition is older than the one that was taken."""
    world = await ready()
    old = copy.deepcopy(world.marathon.definitions["/shop/web"])
    world.apply(patches=PATCH, cmd="sleep 2")
    await world.settle()
    assert world.ready()
    if restarted:
        await world.start()
    world.steps.clear()
    world.marathon.definitions["/shop/web"] = old
    world.marathon.settle()
    await world.round(everything=True)
    await world.settle()
    assert world.marathon.definitions["/shop/web"]["cmd"] == "sleep 2"
    assert marathon_steps(world) == ["put_apps /shop/web"]


async def test_a_change_of_nothing_but_the_unknown_is_written_once() -> None:
    world = await ready()
    world.steps.clear()
    world.apply(patches=[{**PATCH[0], "value": 8}])
    await world.settle()
    assert world.ready()
    await world.assert_quiet()
    assert len(marathon_steps(world)) <= 1

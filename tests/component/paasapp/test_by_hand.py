"""What a person asks for beside the spec, so that nothing in Git has to change: all tasks anew, and a revision taken back."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from paasapp_scenarios import broken
from paasapp_world import World
from preview_room import foreseen, happens, plan
from shuren.clients.fakes.crash import CrashPoint, Moment
from shuren.domain.app.snapshot import RESTART
from shuren.ports.kubernetes import CONTROLLER_REVISIONS


async def world_with(**spec: Any) -> World:
    world = World()
    world.marathon.behave = broken
    world.apply(instances=2, **spec)
    await world.settle()
    assert world.ready(), world.message()
    return world


def version(world: World) -> str:
    return str(world.status()["marathon"]["version"])


def withdraw(world: World, revision: str) -> None:
    """As `shuren rollback` does."""
    for item in world.kubernetes.all(CONTROLLER_REVISIONS):
        if item["metadata"]["labels"]["paas.shurenyun.com/revision"] == revision:
            notes = item["metadata"]["annotations"]
            notes |= {"paas.shurenyun.com/state": "Withdrawn", "paas.shurenyun.com/failure": "by hand"}
            world._outside(partial(world.kubernetes.user_apply, CONTROLLER_REVISIONS, item))


async def test_a_restart_that_is_asked_for_replaces_all_tasks_once() -> None:
    world = await world_with()
    world.apply(instances=2, annotations={RESTART: version(world)})
    found = await plan(world)
    assert [len(f.tasks.replaced) for _, f in found.apps] == [2]
    happened = await happens(world)
    assert happened.calls == foreseen(found) == (("restart", "/shop/web"),)
    assert len(happened.gone) == 2
    assert world.ready()
    await world.assert_quiet()


@pytest.mark.parametrize("asked", ["2000-01-01T00:00:00Z", "soon", ""])
async def test_a_restart_that_has_happened_or_makes_no_sense_is_none(asked: str) -> None:
    world = await world_with()
    world.apply(instances=2, annotations={RESTART: asked})
    assert (await happens(world)).calls == ()


async def test_a_moment_that_marathons_clock_has_not_reached_yet_restarts_once_all_the_same() -> None:
    world = await world_with()
    world.apply(instances=2, annotations={RESTART: "2999-01-01T00:00:00Z"})
    assert (await happens(world)).calls == (("restart", "/shop/web"),)


@pytest.mark.parametrize("moment", list(Moment), ids=lambda m: m.value)
@pytest.mark.parametrize("write", range(3))
async def test_a_restart_survives_a_crash_and_happens_once(write: int, moment: Moment) -> None:
    world = await world_with()
    world.apply(instances=2, annotations={RESTART: version(world)})
    world.crash = CrashPoint(at=write, moment=moment)
    assert (await happens(world)).calls == (("restart", "/shop/web"),)
    assert world.ready()


async def test_a_revision_that_ran_well_is_taken_back_and_stays_back() -> None:
    world = await world_with()
    first = world.status()["revision"]["current"]
    world.apply(instances=2, cmd="sleep 7")
    await world.settle()
    second = world.status()["revision"]["current"]
    withdraw(world, second)
    happened = await happens(world)
    assert happened.calls == (("restore", "/shop/web"),)
    app = world.marathon.actual("/shop/web")
    assert app is not None
    assert app.definition["cmd"] == "sleep 1000"
    assert world.conditions()["Stalled"] == ("True", "RolledBack")
    assert f"revision {second} was taken back: by hand; {first} runs again" in world.message()
    await world.assert_quiet()
    world.apply(instances=2, cmd="sleep 9")
    await world.settle()
    assert world.ready()


async def test_a_roll_out_under_way_is_taken_back_too() -> None:
    world = await world_with()
    world.apply(instances=2, cmd="unplaced 1", rollout={"onFailure": "Ignore"})
    for _ in range(5):
        await world.round()
    withdraw(world, world.status()["revision"]["target"])
    await world.settle()
    app = world.marathon.actual("/shop/web")
    assert app is not None
    assert (app.definition["cmd"], app.counts.running) == ("sleep 1000", 2)
    assert "was taken back" in world.message()


async def test_the_only_revision_cannot_be_taken_back_to_anything() -> None:
    world = await world_with()
    withdraw(world, world.status()["revision"]["current"])
    assert (await happens(world)).calls == ()
    assert world.conditions()["Stalled"][1] == "RolloutFailed"
    assert "was taken back" in world.message()

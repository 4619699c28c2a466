"""Gated roll-outs: whole stories, and the same end wherever the operator dies."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gated_scenarios import STORIES, Balanced
from paasapp_scenarios import Story, tell
from paasapp_world import World
from shuren.clients.fakes.crash import CrashPoint, Moment
from shuren.domain.identity import ObjectKey


async def _settle(world: World) -> None:
    await world.settle()


async def _run(story: Story, point: CrashPoint | None) -> World:
    world = Balanced(crash=point, sites=story.sites)
    _judge_removals(world)
    await tell(story, world, settle=_settle)
    return world


def _judge_removals(world: World) -> None:
    """Whoever is sent traffic keeps a task: an app is emptied only when load balancers were told that it has none, and have followed."""
    inner = world.hook

    def watched(moment: Moment, what: str) -> None:
        _, name, app_id = [*what.split(" "), "", ""][:3]
        if moment is Moment.BEFORE and name == "kill_tasks":
            told, at = world.splits[ObjectKey(kind="PaasApp", namespace="shop", name="web")]
            followed = world.clock.monotonic() - at >= world.follows_after
            smaller = app_id == told.lives_on and world.marathon.definitions[app_id]["instances"] > 1
            assert smaller or (told.beside == app_id and told.weight == 0 and followed), f"{what}: {told}"
        inner(moment, what)

    world.hook = watched  # type: ignore[method-assign]  # every client of a process made later reports here


@pytest.mark.parametrize("story", STORIES, ids=lambda s: s.name)
async def test_the_end_is_the_same_wherever_it_crashes(story: Story) -> None:
    count = CrashPoint()
    first = await _run(replace(story, steps=story.steps[:1]), CrashPoint())
    told = await _run(story, count)
    assert story.expect(told), f"the story itself ends wrong: {told.conditions()} {told.status() if told.resource() else ''} {told.steps}"
    expected = told.end_state()
    await told.assert_quiet()
    # crashes while the app is first created are told elsewhere, and before a write is after the one before, but for Marathon's ticks
    begin = first.crash.writes if first.crash is not None else []
    assert len(count.writes) > len(begin) > 0
    for index in range(len(begin), len(count.writes)):
        what = count.writes[index]
        for moment in Moment if what.startswith("marathon ") else (Moment.AFTER,):
            world = await _run(story, CrashPoint(at=index, moment=moment))
            where = f"crash {moment.value} write {index} ({what})"
            assert world.end_state() == expected, where
            await world.assert_quiet(rounds=1)

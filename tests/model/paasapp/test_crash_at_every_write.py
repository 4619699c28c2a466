"""The operator process ends before or after each of its external writes, and another one takes over: the end is always the same."""

from __future__ import annotations

import pytest

from paasapp_scenarios import STORIES, Story, tell
from paasapp_world import World
from shuren.clients.fakes.crash import CrashPoint, Moment


async def _settle(world: World) -> None:
    await world.settle()


async def _run(story: Story, point: CrashPoint | None) -> World:
    world = World(crash=point, sites=story.sites)
    await tell(story, world, settle=_settle)
    return world


@pytest.mark.parametrize("story", STORIES, ids=lambda s: s.name)
async def test_the_end_is_the_same_wherever_it_crashes(story: Story) -> None:
    count = CrashPoint()
    told = await _run(story, count)
    assert story.expect(told), f"the story itself ends wrong: {told.conditions()} {told.steps}"
    expected = told.end_state()
    await told.assert_quiet()
    assert count.writes
    for index, what in enumerate(count.writes):
        for moment in Moment:
            world = await _run(story, CrashPoint(at=index, moment=moment))
            where = f"crash {moment.value} write {index} ({what})"
            assert world.end_state() == expected, where
            await world.assert_quiet()

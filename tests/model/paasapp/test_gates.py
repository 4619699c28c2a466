"""Behind a load balancer: exactly the drained tasks go, none before it has let go, wherever the operator dies."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from paasapp_scenarios import STORIES, Story, tell
from paasapp_world import World
from shuren.clients.fakes.crash import CrashPoint, Moment


class Balanced(World):
    balanced = True


async def _settle(world: World) -> None:
    await world.settle()


async def _run(story: Story, point: CrashPoint | None) -> World:
    world = Balanced(crash=point, sites=story.sites)
    await tell(story, world, settle=_settle)
    return world


def _apply(instances: int, cmd: str = "sleep 1000") -> Callable[[World], None]:
    return lambda world: world.apply(instances=instances, cmd=cmd)


SHRINKING = (
    Story(name="scale down", steps=(_apply(4), _apply(1)), expect=lambda w: w.ready() and len(w.marathon_tasks("/shop/web")) == 1),
    Story(
        name="change and shrink at once",
        steps=(_apply(3), _apply(1, "sleep 7")),
        expect=lambda w: w.ready() and w.marathon.definitions["/shop/web"]["cmd"] == "sleep 7",
    ),
)


@pytest.mark.parametrize("story", SHRINKING, ids=lambda s: s.name)
async def test_the_end_is_the_same_wherever_it_crashes(story: Story) -> None:
    count = CrashPoint()
    told = await _run(story, count)
    assert story.expect(told), f"{told.conditions()} {told.steps}"
    expected = told.end_state()
    await told.assert_quiet()
    for index, what in enumerate(count.writes):
        for moment in Moment:
            world = await _run(story, CrashPoint(at=index, moment=moment))
            assert world.end_state() == expected, f"crash {moment.value} write {index} ({what})"


async def test_no_task_is_killed_before_it_has_let_go_and_only_drained_ones_are() -> None:
    world = Balanced()
    world.apply(instances=3)
    await world.settle()
    before = {task.id for task in world.marathon_tasks("/shop/web")}
    world.apply(instances=1)
    await world.round()
    assert len(world.drained) == 2
    for _ in range(11):
        world.clock.shift(1.0)
        await world.round(everything=True)
        assert {task.id for task in world.marathon_tasks("/shop/web")} == before, "the load balancer has sessions still"
    item = world.resource()
    assert item is not None
    message = next(c["message"] for c in item["status"]["conditions"] if c["type"] == "Ready")
    assert "waiting until tasks have let go of their traffic: load balancer lb-1 has sessions with it" in message
    await world.settle()
    left = {task.id for task in world.marathon_tasks("/shop/web")}
    assert before - left == world.drained


async def test_who_is_needed_after_all_serves_on() -> None:
    world = Balanced()
    world.apply(instances=3)
    await world.settle()
    world.apply(instances=1)
    await world.round()
    assert world.draining["/shop/web"]
    world.apply(instances=3)
    await world.settle()
    assert world.draining["/shop/web"] == frozenset()
    assert len(world.marathon_tasks("/shop/web")) == 3
    assert not any("kill" in step for step in world.steps)


@pytest.mark.parametrize("story", STORIES, ids=lambda s: s.name)
async def test_every_other_story_ends_as_without_a_load_balancer(story: Story) -> None:
    plain = World(sites=story.sites)
    await tell(story, plain, settle=_settle)
    balanced = await _run(story, None)
    assert balanced.end_state() == plain.end_state()
    await balanced.assert_quiet()

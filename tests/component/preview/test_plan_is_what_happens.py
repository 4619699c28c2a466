"""Plan, apply, look at what happened: over all stories of a PaasApp, step by step."""

from __future__ import annotations

import pytest

import gated_scenarios
from paasapp_scenarios import STORIES, Story, prepare, tell
from paasapp_world import World
from preview_room import Judged, foreseen, happens, plan, to_be_drained

FAILING = {"roll back", "roll back and correct", "fail and pause"}
"""Stories in which a new revision does badly, which no plan foresees."""


class Balanced(World):
    """Every app is behind a load balancer, which its tasks must have left before they go."""

    balanced = True


@pytest.mark.parametrize("kind", [World, Balanced])
@pytest.mark.parametrize("story", [s for s in STORIES if s.name not in FAILING], ids=lambda s: s.name)
async def test_what_is_foreseen_happens_and_nothing_else(story: Story, kind: type[World]) -> None:
    world = kind(sites=story.sites)
    prepare(world)
    for step in story.steps:
        step(world)
        found = await plan(world)
        happened = await happens(world)
        assert sorted(happened.calls) == sorted(foreseen(found))
        assert happened.drained == to_be_drained(found)
        fates = [forecast.tasks for _, forecast in found.apps]
        assert happened.gone == {task for fate in fates for task in (*fate.replaced, *fate.removed)}
        assert happened.kept >= {task for fate in fates for task in fate.kept}
        after = [forecast.after for _, forecast in found.apps]
        assert happened.tasks == sum(app.instances for app in after if app is not None) + (0 if found.apps else happened.tasks)
        assert not found.unknown
    assert story.expect(world)
    assert world.drained or kind is World or "scale" not in story.name


@pytest.mark.parametrize("story", [s for s in STORIES if s.name in FAILING], ids=lambda s: s.name)
async def test_what_begins_is_foreseen_even_where_it_ends_badly(story: Story) -> None:
    world = World(sites=story.sites)
    prepare(world)
    for step in story.steps:
        step(world)
        found = await plan(world)
        happened = await happens(world)
        assert happened.calls[: len(foreseen(found))] == foreseen(found)
    assert story.expect(world)


@pytest.mark.parametrize("story", STORIES, ids=lambda s: s.name)
async def test_once_it_has_happened_nothing_more_is_planned(story: Story) -> None:
    world = World(sites=story.sites)
    prepare(world)
    for step in story.steps:
        step(world)
        await world.settle()
    found = await plan(world)
    assert foreseen(found) == ()
    assert not found.changes


class JudgedBalanced(Judged):
    """The same with every app behind a load balancer."""

    balanced = True


async def settle(world: World) -> None:
    await world.settle()


@pytest.mark.parametrize("kind", [Judged, JudgedBalanced])
@pytest.mark.parametrize("story", STORIES, ids=lambda s: s.name)
async def test_each_pass_does_what_a_plan_says_right_before_it(story: Story, kind: type[Judged]) -> None:
    world = kind(sites=story.sites)
    await tell(story, world, settle=settle)
    assert story.expect(world)
    assert world.judged >= (0 if "identical" in story.name else 1)


@pytest.mark.parametrize("story", gated_scenarios.STORIES, ids=lambda s: s.name)
async def test_each_pass_of_a_gated_roll_out_does_what_a_plan_says_right_before_it(story: Story) -> None:
    """What its later steps will be depends on how the new version does, so each is planned when its time has come."""
    world = JudgedBalanced(sites=story.sites)
    await tell(story, world, settle=settle)
    assert story.expect(world)
    assert world.judged > 2
    assert foreseen(await plan(world)) == ()


@pytest.mark.parametrize("steps", [gated_scenarios.CANARY, None], ids=["canary", "blue-green"])
async def test_the_begin_of_a_gated_roll_out_is_foreseen_and_said_to_be_no_more(steps: object) -> None:
    world = gated_scenarios.Balanced()
    gated_scenarios.apply(steps=steps)(world)
    await world.settle()
    gated_scenarios.apply("sleep 7", steps=steps)(world)
    found = await plan(world)
    ((_, forecast),) = found.apps
    assert "what follows depends on how the new version does beside the old one" in forecast.open_end
    happened = await happens(world)
    assert happened.calls[: len(foreseen(found))] == foreseen(found) == (("put_apps", gated_scenarios.ALT),)

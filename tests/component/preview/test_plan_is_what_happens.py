"""Plan, apply, look at what happened: over all stories of a PaasApp, step by step."""

from __future__ import annotations

import pytest

from paasapp_scenarios import STORIES, Story, prepare
from paasapp_world import World
from preview_room import foreseen, happens, plan, to_be_drained

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

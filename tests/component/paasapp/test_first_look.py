"""The first look of a new leader at apps that are at rest: short, and full for whatever is not plainly as its status says.

In every other test on this world, `Process._compare` holds the short look against the full one before each pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from paasapp_world import World
from shuren.domain.identity import ObjectKey
from shuren.domain.marathon.state import TaskState
from shuren.ports.kubernetes import NAMESPACES, PAAS_APPS

KEY = ObjectKey(kind="PaasApp", namespace="shop", name="web")


async def settled(**spec: Any) -> tuple[World, list[str]]:
    """A world at rest, and where each full look is noted."""
    world, looks = World(), list[str]()

    def adviser(definition: Any, _cluster: Any) -> tuple[()]:
        looks.append(definition["cmd"])
        return ()

    world.adviser = adviser
    world.apply(instances=2, **spec)
    await world.settle()
    assert world.ready()
    return world, looks


def at_rest(world: World) -> bool:
    process = world.process
    assert process is not None
    process.sync()
    item = process.store.get(KEY)
    return item is not None and process.controller._gatherer.at_rest(KEY, item)


async def test_a_new_leader_finds_apps_as_they_were_and_looks_in_full_from_then_on() -> None:
    world, looks = await settled()
    assert at_rest(world)
    await world.round(everything=True)
    assert world.at_rest > 0, "the short look was held against the full one"
    process = await world.start()
    await world.round(tick=False)
    full = len(looks)
    fresh = await world.start()
    written = len(world.steps)
    fresh.controller._gatherer._adviser = lambda _definition, _cluster: pytest.fail("a full look")
    assert await fresh.controller.reconcile(KEY) == (await process.controller.reconcile(KEY))
    assert len(world.steps) == written
    assert len(looks) > full, "the second pass of the other process was a full one"


async def test_after_another_release_every_app_is_looked_at_in_full() -> None:
    world, looks = await settled()
    process = await world.start()
    process.controller.begin(trusting=False)
    process.sync()
    before = len(looks)
    await process.controller.reconcile(KEY)
    assert len(looks) == before + 1


def _crash_a_task(world: World) -> None:
    world.marathon.crash_task(world.marathon.instances["/shop/web"][0].task_id)


def _foreign_change(world: World) -> None:
    world.marathon.foreign_put({**world.marathon.definitions["/shop/web"], "id": "/shop/web", "cmd": "sleep 3"})


def _foreign_scale(world: World) -> None:
    world.marathon.foreign_put({**world.marathon.definitions["/shop/web"], "id": "/shop/web", "instances": 1})


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w.apply(instances=2, cmd="sleep 2"),
        lambda w: w.apply(instances=3),
        lambda w: w.apply(instances=2, management={"drift": "Report"}),
        lambda w: w.apply(instances=2, rollout={"deadlineSeconds": 60}),
        lambda w: w.annotate(**{"paas.shurenyun.com/restart": "2030-01-01T00:00:00Z"}),
        lambda w: w.delete(),
        lambda w: w.apply(instances=2, cluster="elsewhere"),
        lambda w: w.marathon.foreign_delete("/shop/web"),
        _foreign_change,
        _foreign_scale,
        _crash_a_task,
        lambda w: setattr(w.site, "unreachable_since", w.clock.monotonic() - 100.0),
        lambda w: setattr(w.site, "read", False),
    ],
    ids=lambda change: getattr(change, "__name__", ""),
)
async def test_whatever_has_changed_is_looked_at_in_full(change: Callable[[World], None]) -> None:
    world, _ = await settled()
    assert at_rest(world)
    change(world)
    assert not at_rest(world)


@pytest.mark.parametrize(
    "status",
    [
        {"observedGeneration": 7},
        {"cluster": "other"},
        {"conditions": "?"},
        {"conditions": ["?"]},
        {"conditions": []},
        {"marathon": 3},
        {"counts": {}},
        {"ready": "1/2"},
        {"instances": 1},
        {"revision": []},
        {"warnings": ["something"]},
    ],
    ids=str,
)
async def test_a_status_that_tells_something_else_is_looked_at_in_full(status: dict[str, Any]) -> None:
    world, _ = await settled()
    before = world.status()
    await world.kubernetes.apply_status(PAAS_APPS, "shop", "web", {**before, **status}, manager="x")
    assert not at_rest(world)
    await world.kubernetes.apply_status(PAAS_APPS, "shop", "web", before, manager="x")
    assert at_rest(world)


async def test_a_task_that_is_not_there_yet_is_no_rest() -> None:
    world, _ = await settled()
    instance = world.marathon.instances["/shop/web"][0]
    instance.state = TaskState.STAGING
    assert not at_rest(world)


async def test_without_our_finalizer_or_in_a_namespace_that_goes_it_is_looked_at_in_full() -> None:
    world, _ = await settled()
    put: dict[str, Any] = {"op": "add", "path": "/metadata/finalizers", "value": ["x/y"]}
    await world.kubernetes.patch_json(NAMESPACES, "", "shop", [put])
    assert at_rest(world)
    world.kubernetes.user_delete(NAMESPACES, "", "shop")
    assert not at_rest(world)
    other, _ = await settled()
    await other.kubernetes.patch_json(PAAS_APPS, "shop", "web", [put])
    assert not at_rest(other)

"""What a plan says that a shard map will move is what then moves."""

from __future__ import annotations

import pytest

from shardmap_world import World
from shuren.domain.identity import ObjectKey
from shuren.domain.preview import shards
from shuren.domain.preview.shards import ShardForecast

HOSTS = ("n1", "n2", "n3")


async def mapped() -> World:
    world = World()
    world.app()
    world.site.run("/shop/cart", HOSTS)
    world.site.join(*HOSTS)
    world.apply()
    await world.settle()
    return world


async def forecast(world: World, *, instances: int | None = None) -> ShardForecast:
    assert world.process is not None
    world.process.see()
    key = ObjectKey(kind="ShardMap", namespace="shop", name="cart")
    item = world.process.store.get(key)
    assert item is not None
    seen, now = await world.process.controller.plan(key, item)
    return shards.foresee(seen.snapshot, now, instances=instances, weights={})


async def test_nothing_moves_when_nothing_changes() -> None:
    found = await forecast(await mapped())
    assert (found.moves, found.changes, found.problem) == (0, False, "")


@pytest.mark.parametrize("hosts", [("n1", "n2", "n3", "n4"), ("n1", "n2", "n3", "n4", "n5")])
async def test_members_that_come_move_as_many_as_was_foreseen_and_no_more(hosts: tuple[str, ...]) -> None:
    world = await mapped()
    found = await forecast(world, instances=len(hosts))
    assert found.changes
    assert found.moves == found.bound > 0
    world.site.run("/shop/cart", hosts)
    world.site.join(*set(hosts) - set(HOSTS))
    await world.settle()
    done = world.status()["moves"]
    assert (done["planned"], done["lowerBound"]) == (found.moves, found.bound)


async def test_an_app_that_shrinks_is_foreseen_to_move_what_goes() -> None:
    world = await mapped()
    found = await forecast(world, instances=2)
    assert found.moves == found.bound == world.held()["n3"]

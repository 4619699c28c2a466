"""Each kind of migration, with the operator ended before any one of its writes: the next process brings it to the same end.

A crash after a write is, for a process that knows nothing more, one before the write that follows. Between any two passes no two members
serve one shard (`World.lonely`), and generations and epochs only rise (`World.rises`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from shardmap_world import World, read_moves
from shuren.clients.fakes.crash import CrashPoint

TWO, THREE = ("n1", "n2"), ("n1", "n2", "n3")
LIMITS = {"delaySeconds": 30, "deadlines": {"prepareSeconds": 10, "abortSeconds": 5}, "retrySeconds": 10}
APP = {"appRef": {"name": "cart"}}
P1, P2 = {"name": "p1", "shards": 2}, {"name": "p2", "shards": 4}


def want(world: World, **spec: Any) -> None:
    """The map as it is wanted, but for what is given here as it was."""
    before = (world.resource() or {}).get("spec", {})
    kept = {name: before[name] for name in ("partitionings", "replicas") if name in before}
    world.apply(**{"moves": LIMITS, **kept, **spec})


async def joins(world: World) -> None:
    world.site.run("/shop/cart", THREE)
    world.site.join("n3")
    await world.settle(patience=20)


async def leaves(world: World) -> None:
    """Its task is gone, its process goes on: it is emptied once the delay is over."""
    world.site.run("/shop/cart", ("n1",))
    await world.settle(patience=60)


async def dies(world: World) -> None:
    await world.site.leave("n2")
    world.site.run("/shop/cart", ("n1",))
    await world.settle(patience=60)


async def dies_and_had_copies(world: World) -> None:
    """Standbys lead what it led, and what it held is copied anew."""
    await world.site.leave("n1")
    world.site.run("/shop/cart", ("n2", "n3"))
    await world.settle(patience=90)


async def is_emptied(world: World) -> None:
    want(world, members={**APP, "drain": ["n2"]})
    await world.settle(patience=20)


async def answers_elsewhere(world: World) -> None:
    world.site.members["n2"].address = "n2:9999"
    await world.settle(patience=20)


async def cannot_copy(world: World) -> None:
    """Its moves are aborted, and tried again when it can."""
    world.site.run("/shop/cart", THREE)
    world.site.join("n3")
    world.site.members["n3"].fails = {"prepare"}
    await world.settle(patience=12)
    world.site.members["n3"].fails = set()
    await world.settle(patience=120)


async def comes_and_is_not_wanted(world: World) -> None:
    """Emptied while it gets its first shards: what has begun is given up, what is done goes back."""
    world.site.run("/shop/cart", THREE)
    world.site.join("n3")
    await world.site.members["n3"].act()
    world.site.members["n3"].deaf = True
    await world.settle()
    want(world, members={**APP, "drain": ["n3"]})
    await world.settle()
    world.site.members["n3"].deaf = False
    await world.settle(patience=60)


async def splits(world: World) -> None:
    want(world, partitionings=[P1, P2])
    await world.settle(patience=20)
    want(world, partitionings=[P2])
    await world.settle(patience=20)


async def takes_a_split_back(world: World) -> None:
    want(world, partitionings=[P1, P2])
    await world.settle(patience=20)
    want(world, partitionings=[P1])
    await world.settle(patience=20)


async def gets_more_copies_and_fewer_again(world: World) -> None:
    want(world, replicas=2)
    await world.settle(patience=20)
    assert world.held() == {"n1": 2, "n2": 2}
    want(world, replicas=1)
    await world.settle(patience=20)


Story = Callable[[World], Awaitable[None]]
STORIES: tuple[tuple[Story, int, dict[str, int]], ...] = (
    (joins, 4, {"n1": 1, "n2": 2, "n3": 1}),
    (leaves, 2, {"n1": 2}),
    (dies, 2, {"n1": 2}),
    (dies_and_had_copies, 2, {"n2": 2, "n3": 2}),
    (is_emptied, 2, {"n1": 2}),
    (answers_elsewhere, 2, {"n1": 1, "n2": 1}),
    (cannot_copy, 4, {"n1": 1, "n2": 2, "n3": 1}),
    (comes_and_is_not_wanted, 4, {"n1": 2, "n2": 2}),
    (splits, 2, {"n1": 2, "n2": 2}),
    (takes_a_split_back, 2, {"n1": 1, "n2": 1}),
    (gets_more_copies_and_fewer_again, 2, {"n1": 1, "n2": 1}),
)


async def first_table(*, shards: int, copies: bool = False, crash: CrashPoint | None = None) -> World:
    world = World(crash=crash)
    world.app()
    hosts = THREE if copies else TWO
    world.site.run("/shop/cart", hosts)
    world.site.join(*hosts)
    want(world, partitionings=[{"name": "p1", "shards": shards}], replicas=1 + copies)
    await world.settle()
    await world.end()
    return world


def check(world: World, held: dict[str, int], where: str) -> None:
    # which of two equal members has the odd shard may depend on the process that planned
    assert set(world.held()) == set(held), where
    assert sorted(world.held().values()) == sorted(held.values()), where
    assert world.conditions()["Ready"] == ("True", "Ready"), where
    assert "Advice" not in world.conditions(), where
    assert read_moves(world.site.tree) == {}, where


async def test_a_crash_before_any_write_of_the_first_table_comes_to_the_same_end() -> None:
    at = 0
    while True:
        point = CrashPoint(at=at)
        world = await first_table(shards=4, crash=point)
        check(world, {"n1": 2, "n2": 2}, f"before write {at}: {point.writes[-1:]}")
        assert world.table().generation == 1
        if not point.fired:
            assert at > 2, "finalizer, path, pieces, head"
            return
        at += 1


@pytest.mark.parametrize(("story", "shards", "held"), STORIES, ids=[story.__name__ for story, _, _ in STORIES])
async def test_a_crash_before_any_write_comes_to_the_same_end(story: Story, shards: int, held: dict[str, int]) -> None:
    at = 0
    while True:
        world = await first_table(shards=shards, copies=story is dies_and_had_copies)
        world.crash = point = CrashPoint(at=at)
        await story(world)
        await world.end()
        check(world, held, f"before write {at}: {point.writes[-1:]}")
        if story is answers_elsewhere:
            assert {m.id: m.address for m in world.table().members}["n2"] == "n2:9999"
        if not point.fired:
            assert at > 2, "the story has writes"
            return
        at += 1

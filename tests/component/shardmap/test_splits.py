"""A map is split into twice as many shards by a second partitioning, the first is retired, or the split is taken back."""

from __future__ import annotations

from typing import Any

from shardmap_world import World, read_moves

HOSTS = ("n1", "n2", "n3")
OLD, NEW = {"name": "p1", "shards": 8}, {"name": "p2", "shards": 16}


async def mapped(**spec: Any) -> World:
    world = World()
    world.app()
    world.site.run("/shop/cart", HOSTS)
    world.site.join(*HOSTS)
    world.apply(partitionings=[OLD], **spec)
    await world.settle()
    return world


async def test_a_split_copies_nothing_and_the_new_shards_go_their_own_ways_when_the_old_partitioning_is_retired() -> None:
    world = await mapped()
    before = world.table()
    world.apply(partitionings=[OLD, NEW])
    await world.settle()
    table = world.table()
    assert (table.shards, world.status()["partitioning"]) == (16, "p2")
    assert [(table.owners[s], table.epochs[s]) for s in range(16)] == [(before.owners[s // 2], before.epochs[s // 2]) for s in range(16)]
    assert world.conditions()["Ready"] == ("True", "Ready")
    assert world.conditions()["Advice"] == ("True", "SplitDone")
    assert sorted(world.held().values()) == [4, 6, 6]
    world.apply(partitionings=[NEW])
    await world.settle()
    assert sorted(world.held().values()) == [5, 5, 6]
    assert world.conditions() == {"Ready": ("True", "Ready")}
    assert (world.status()["moves"]["planned"], world.status()["moves"]["lowerBound"]) == (1, 1)
    assert [note for reason, note in world.told.notes if reason == "Repartitioned"] != []


async def test_a_split_can_be_taken_back() -> None:
    world = await mapped(replicas=2)
    before = world.table()
    world.apply(partitionings=[OLD, NEW], replicas=2)
    await world.settle()
    world.site.run("/shop/cart", (*HOSTS, "n4"))
    world.site.join("n4")
    await world.settle()
    assert world.held()["n4"] == 8
    assert world.conditions()["Ready"] == ("True", "Ready")
    world.apply(partitionings=[OLD], replicas=2)
    await world.settle()
    table = world.table()
    assert (table.shards, world.status()["partitioning"]) == (8, "p1")
    assert min(table.epochs) > max(before.epochs)
    assert world.conditions() == {"Ready": ("True", "Ready")}


async def test_a_split_waits_for_moves_that_are_under_way() -> None:
    world = await mapped()
    world.site.run("/shop/cart", (*HOSTS, "n4"))
    world.site.join("n4")
    await world.site.members["n4"].act()
    world.site.members["n4"].deaf = True
    await world.settle()
    assert read_moves(world.site.tree) != {}
    world.apply(partitionings=[OLD, NEW])
    await world.settle()
    assert world.table().shards == 8
    assert world.conditions()["Ready"] == ("True", "Repartitioning")
    world.site.members["n4"].deaf = False
    await world.settle()
    assert world.table().shards == 16
    assert read_moves(world.site.tree) == {}

"""A map of one namespace against the shards and members of another's."""

from __future__ import annotations

from shardmap_world import World
from shuren.ports.kubernetes import SHARD_MAPS


async def test_a_map_of_the_same_name_elsewhere_has_neither_the_shards_nor_the_members_of_the_other() -> None:
    world = World()
    world.app()
    world.site.run("/shop/cart", ("n1", "n2"))
    world.site.join("n1", "n2")
    world.apply()
    await world.settle()
    before, held = world.nodes(), world.held()
    assert held == {"n1": 8, "n2": 8}

    world.apply("cart", namespace="other")
    await world.settle()

    theirs = next(item for item in world.kubernetes.all(SHARD_MAPS) if item["metadata"]["namespace"] == "other")
    ready = next(one for one in theirs["status"]["conditions"] if one["type"] == "Ready")
    assert ready["status"] == "False", ready
    assert (world.nodes(), world.held()) == (before, held)
    assert not any(b"n1" in data for path, data in world.site.tree.dump().items() if "/shards/other.cart" in path)

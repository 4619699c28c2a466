"""What the operator sees of members in ZooKeeper is what is there, also after answers that did not come."""

from __future__ import annotations

import pytest

from shardmap_world import MAP, World
from shuren.domain.errors import Unreachable
from shuren.domain.shardmap.snapshot import MapSeen

HOSTS = ("n1", "n2")


async def at_rest() -> World:
    world = World()
    world.app()
    world.site.run("/shop/cart", HOSTS)
    world.site.join(*HOSTS)
    world.apply(shards=4)
    await world.settle()
    return world


def seen(world: World) -> MapSeen:
    assert world.process is not None
    found = world.process.cluster.shards.get(world.name)
    assert found is not None
    return found


@pytest.mark.parametrize("lost", [False, True])
async def test_what_a_member_wrote_while_no_server_answered_is_seen_afterwards(*, lost: bool) -> None:
    world = await at_rest()
    assert world.process is not None
    session = world.process.cluster.session
    if lost:
        session.expire()
    else:
        session.disconnect()
    world.site.members["n1"].address = "n1:9999"
    await world.site.members["n1"].act()
    session.reconnect()
    await world.settle()
    assert {m.id: m.address for m in world.table().members} == {"n1": "n1:9999", "n2": "n2:7000"}


async def test_a_member_that_could_not_be_read_when_it_came_is_read_later() -> None:
    world = await at_rest()
    assert world.process is not None
    # it is in the list, and then no answer comes
    world.process.cluster.session.fail_next(Unreachable("no answer"), after=1)
    world.site.join("n3")
    await world.site.members["n3"].act()
    await world.pass_time(0.05)
    assert "n3" not in seen(world).live
    await world.pass_time(1.0)
    assert seen(world).live["n3"].address == "n3:7000"


async def test_members_of_a_map_that_was_taken_away_by_hand_are_seen_when_it_is_there_again() -> None:
    world = await at_rest()
    kept = {path: data for path, data in world.site.tree.dump().items() if path.startswith(MAP)}
    for path in sorted(kept, reverse=True):
        await world.meddle(path, None)
    await world.pass_time(1.0)
    assert not seen(world).exists
    for path in sorted(kept):
        await world.meddle(path, kept[path])
    await world.pass_time(1.0)
    assert set(seen(world).live) == set(HOSTS)

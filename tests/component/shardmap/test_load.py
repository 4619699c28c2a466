"""A map that is balanced by what its members measure: left alone inside the band, rounds with a budget outside of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from shardmap_world import MAP, World
from shuren.sharding.core.codec import moves as moves_codec

HOSTS = ("n1", "n2", "n3", "n4")
BY_LOAD = {"by": "Load", "roundSeconds": 60, "budgetPercent": 25}


async def measured(loads: Mapping[int, int] | None, *, replicas: int = 2, **balance: Any) -> World:
    """A map of 32 shards on four members, at rest; then shards are asked for so much (others: 1)."""
    world = World()
    world.app()
    world.site.run("/shop/cart", HOSTS)
    world.site.join(*HOSTS)
    world.apply(
        shards=32, replicas=replicas, balance={**BY_LOAD, **balance}, moves={"planned": {"percent": 100, "incoming": 9, "outgoing": 9}}
    )
    await world.settle()
    ask(world, loads)
    return world


def ask(world: World, loads: Mapping[int, int] | None) -> None:
    for member in world.site.members.values():
        member.loads = loads


def primaries(world: World) -> dict[int, str]:
    table = world.table()
    names = {m.number: m.id for m in table.members}
    return {shard: names[table.owners[shard]] for shard in range(table.shards)}


def ratios(world: World, loads: Mapping[int, int]) -> dict[str, float]:
    """Load of each member in relation to its share."""
    led = dict.fromkeys(world.site.members, 0)
    for shard, member in primaries(world).items():
        led[member] += loads.get(shard, 1)
    fair = sum(led.values()) / len(led)
    return {member: load / fair for member, load in led.items()}


def hot(world: World, member: str, load: int, *, shards: int) -> dict[int, int]:
    """Some of a member's shards are asked for much."""
    return dict.fromkeys([shard for shard, who in primaries(world).items() if who == member][:shards], load)


async def test_a_hot_member_gives_shards_away_round_by_round_until_it_is_well_inside_the_band() -> None:
    world = await measured(None)
    assert "load" in world.status()
    first = world.status()["moves"]["done"]
    loads = hot(world, "n1", 6, shards=6)
    ask(world, loads)
    assert ratios(world, loads)["n1"] > 1.25
    before = primaries(world)
    await world.settle(patience=61)
    # one round: no more than a quarter of 32 shards, a hand-over counting a quarter of one
    moved = [shard for shard, who in primaries(world).items() if who != before[shard]]
    assert 0 < len(moved) <= 32
    await world.settle(patience=600)
    after = ratios(world, loads)
    assert max(after.values()) <= 1.10
    found = world.status()["load"]
    assert (found["balancing"], found["reporting"], found["shifts"]) == (False, 4, 0)
    assert found["hottestPercent"] <= 110
    assert world.conditions() == {"Ready": ("True", "Ready")}
    assert any(reason == "Planned" and "times its share of the load" in note for reason, note in world.told.notes)
    assert world.status()["moves"]["done"] >= first


async def test_inside_the_band_nothing_moves_however_long_it_lasts() -> None:
    world = await measured(None)
    loads = hot(world, "n1", 2, shards=1)
    ask(world, loads)
    assert 1.0 < max(ratios(world, loads).values()) < 1.25
    before = world.table()
    await world.settle(patience=300)
    assert world.table() == before
    assert world.status()["load"]["balancing"] is False


async def test_a_round_keeps_to_its_budget() -> None:
    world = await measured(None, budgetPercent=3, replicas=1)
    loads = hot(world, "n1", 6, shards=6)
    ask(world, loads)
    before = primaries(world)
    await world.settle(patience=61)
    assert sum(who != before[shard] for shard, who in primaries(world).items()) == 1
    assert world.status()["load"]["balancing"] is True


@pytest.mark.parametrize("loads", [None, {}, dict.fromkeys(range(32), 0)])
async def test_without_a_load_members_come_and_go_as_they_do_by_count(loads: Mapping[int, int] | None) -> None:
    world = await measured(loads)
    world.site.run("/shop/cart", (*HOSTS, "n5"))
    world.site.join("n5")
    world.site.members["n5"].loads = loads
    await world.settle(patience=600)
    assert world.held()["n5"] > 0
    world.apply(shards=32, replicas=2, balance=BY_LOAD, members={"appRef": {"name": "cart"}, "drain": ["n2"]})
    await world.settle(patience=600)
    assert "n2" not in world.held()
    assert sum(world.held().values()) == 64


async def test_an_operator_that_starts_anew_leaves_what_the_load_has_made_of_a_map() -> None:
    world = await measured(None)
    loads = hot(world, "n1", 6, shards=6)
    ask(world, loads)
    await world.settle(patience=600)
    before = world.table()
    assert len({sum(who == member for who in primaries(world).values()) for member in HOSTS}) > 1, "counts differ"
    await world.end()
    await world.settle(patience=120)
    assert (world.table().owners, world.table().epochs) == (before.owners, before.epochs)


OLD, NEW = {"name": "p1", "shards": 32}, {"name": "p2", "shards": 64}


async def test_a_split_leaves_what_the_load_has_made_of_a_map_and_siblings_are_balanced_together() -> None:
    world = await measured(None)
    ask(world, hot(world, "n1", 6, shards=6))
    await world.settle(patience=600)
    before = primaries(world)
    assert len({sum(who == member for who in before.values()) for member in HOSTS}) > 1, "counts differ"
    ask(world, {})
    assert max(ratios(world, {}).values()) < 1.25
    spec: dict[str, Any] = {"replicas": 2, "balance": BY_LOAD}
    world.apply(partitionings=[OLD, NEW], **spec)
    await world.settle(patience=120)
    assert primaries(world) == {child: before[child // 2] for child in range(64)}
    pairs = [shard // 2 for shard, who in primaries(world).items() if who == "n1"]
    loads = {2 * pair + child: 9 for pair in pairs[:8] for child in (0, 1)}
    ask(world, loads)
    assert ratios(world, loads)["n1"] > 1.25
    await world.settle(patience=600)
    assert max(ratios(world, loads).values()) <= 1.25
    table = world.table()
    assert all(sorted(table.owners_of(2 * pair)) == sorted(table.owners_of(2 * pair + 1)) for pair in range(32))
    assert all(who == primaries(world)[shard ^ 1] for shard, who in primaries(world).items())
    world.apply(partitionings=[NEW], **spec)
    await world.settle(patience=600)
    assert world.conditions() == {"Ready": ("True", "Ready")}
    assert max(ratios(world, loads).values()) <= 1.25


async def test_a_map_by_load_gets_more_replicas_and_its_primaries_stay() -> None:
    world = await measured(None, replicas=1)
    ask(world, hot(world, "n1", 6, shards=6))
    await world.settle(patience=600)
    before = primaries(world)
    world.apply(shards=32, replicas=2, balance=BY_LOAD)
    await world.settle(patience=600)
    assert sum(world.held().values()) == 64
    assert primaries(world) == before
    assert world.conditions() == {"Ready": ("True", "Ready")}


async def test_a_shard_that_is_hot_by_itself_is_told() -> None:
    world = await measured(None)
    ask(world, hot(world, "n1", 200, shards=1))
    await world.settle(patience=600)
    assert world.conditions()["Advice"] == ("True", "ShardTooHot")
    assert "split the map or the key" in world.message("Advice")


async def test_a_load_that_wavers_wakes_nobody() -> None:
    world = await measured({})
    await world.settle(patience=5)
    assert world.process is not None
    told: list[object] = []
    shards = world.process.cluster.shards
    shards._changed = told.append
    live = f"{MAP}/live/n1"
    there = moves_codec.decode_live(world.site.tree.dump()[live])
    assert there.load is not None
    ask(world, {0: 3})
    await world.site.members["n1"].act()
    await world.pass_time(1.0)
    assert told == []
    seen = shards.get(world.name)
    assert seen is not None
    assert seen.live["n1"].load is not None
    await world.site.leave("n1")
    await world.pass_time(1.0)
    assert told

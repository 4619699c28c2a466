"""What a plan says that a shard map will move is what then moves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest

from shardmap_world import World
from shuren.domain.explain import shards as explained
from shuren.domain.explain.links import Link, Verdict, first_broken
from shuren.domain.identity import ObjectKey
from shuren.domain.preview import shards
from shuren.domain.preview.shards import ShardForecast
from shuren.sharding.core.table import ShardTable

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


async def test_more_replicas_are_foreseen_too() -> None:
    world = await mapped()
    world.apply(replicas=2)
    found = await forecast(world)
    assert found.changes
    assert (found.moves, found.bound) == (16, 16)
    await world.settle()
    done = world.status()["moves"]
    assert (done["planned"], done["lowerBound"], done["done"]) == (16, 16, 16)


async def test_an_app_that_shrinks_is_foreseen_to_move_what_goes() -> None:
    world = await mapped()
    found = await forecast(world, instances=2)
    assert found.moves == found.bound == world.held()["n3"]


STATIC = [{"id": host, "rack": f"r{host[-1]}"} for host in HOSTS]


def static(world: World, *, shards: int = 16, **members: Any) -> None:
    world.apply(shards=shards, members={"static": STATIC, **members}, turndownPolicy="Immediate")


async def listed() -> World:
    """A map whose members stand in its spec."""
    world = World()
    world.site.join(*HOSTS, "n4")
    static(world)
    await world.settle()
    return world


def owners(table: ShardTable) -> list[set[str]]:
    """Who has each shard."""
    found = [[table.member(number) for number in table.owners_of(shard)] for shard in range(table.shards)]
    return [{member.id for member in row if member is not None} for row in found]


def copied(before: ShardTable, after: ShardTable) -> int:
    """Replicas that somebody has now who did not have them."""
    return sum(len(now - was) for was, now in zip(owners(before), owners(after), strict=True))


CHANGES: dict[str, Callable[[World], None]] = {
    "a member more": lambda world: static(world, static=[*STATIC, {"id": "n4", "rack": "r4"}]),
    "a member less": lambda world: static(world, static=STATIC[:2]),
    "a member is drained": lambda world: static(world, drain=["n2"]),
    "another weight": lambda world: static(world, static=[{**STATIC[0], "weight": 300}, *STATIC[1:]]),
    "one goes and another comes": lambda world: static(world, static=[*STATIC[1:], {"id": "n4", "rack": "r4"}]),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_what_a_change_of_the_spec_moves_was_foreseen(change: str) -> None:
    world = await listed()
    before = world.table()
    CHANGES[change](world)
    found = await forecast(world)
    assert found.changes
    assert (found.moves, found.problem) == (found.bound, "")
    await world.settle(patience=600.0)
    after = world.table()
    assert copied(before, after) == found.moves > 0
    # somebody who comes now, and remembers no plan, sees nothing to do
    await world.end()
    await world.settle()
    assert not (await forecast(world)).changes


async def test_a_split_copies_nothing_and_is_foreseen_so() -> None:
    world = await listed()
    before = world.table()
    partitionings = [{"name": "p1", "shards": 16}, {"name": "p2", "shards": 32}]
    world.apply(members={"static": STATIC}, turndownPolicy="Immediate", partitionings=partitionings)
    found = await forecast(world)
    assert (found.moves, found.changes, found.problem) == (0, True, "")
    await world.settle(patience=600.0)
    after = world.table()
    assert after.shards == 2 * before.shards
    assert owners(after) == [row for row in owners(before) for _ in range(2)]


# ---------------------------------------------------------------------------------------------------- why


async def way(world: World, *, behind: Mapping[str, Sequence[Link]] | None = None) -> tuple[Link, ...]:
    assert world.process is not None
    world.process.see()
    key = ObjectKey(kind="ShardMap", namespace="shop", name="cart")
    item = world.process.store.get(key)
    assert item is not None
    seen, _ = await world.process.controller.plan(key, item)
    return explained.way(seen.snapshot, behind=behind or {})


async def test_a_map_at_rest_has_no_broken_link() -> None:
    found = await way(await mapped())
    names = ["shard map", "operator", "cluster bj1", "members", "published table", "registration", "moves"]
    assert [link.name for link in found] == names
    assert {link.verdict for link in found} == {Verdict.HOLDS}


async def lost(world: World) -> None:
    await world.site.leave("n3")
    await world.pass_time(1.0)


async def refusing(world: World) -> None:
    world.site.run("/shop/cart", (*HOSTS, "n4"))
    world.site.join("n4")
    world.site.members["n4"].fails.add("prepare")
    for _ in range(6):
        await world.one_round()
        await world.pass_time(1.0)


async def suspended(world: World) -> None:
    world.apply(suspend=True)


async def misspelt(world: World) -> None:
    world.apply(members={"appRef": {"name": "cat"}})
    await world.settle()


async def elsewhere(world: World) -> None:
    world.apply(clusterRef={"name": "bj9"})
    await world.settle()


async def unread(world: World) -> None:
    world.apply(replicas=2)


@pytest.mark.parametrize(
    ("step", "link", "evidence", "advice"),
    [
        (lost, "registration", "n3 hold shards and are not registered; 5 shards have no primary that is there", "shuren shards watch cart"),
        (refusing, "moves", "n4 cannot: no space left", "see that member's log"),
        (suspended, "shard map", "spec.suspend is true", "shuren resume shm/cart"),
        (misspelt, "members", "PaasApp cat does not exist", "spec.members"),
        (elsewhere, "cluster bj9", "MesosCluster bj9 does not exist", "spec.clusterRef.name"),
        (unread, "operator", "generation 1, the spec is at 2", "is the operator running?"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
async def test_the_first_broken_link_of_a_map(step: Callable[[World], Awaitable[None]], link: str, evidence: str, advice: str) -> None:
    world = await mapped()
    await step(world)
    found = first_broken(await way(world))
    assert found is not None
    assert (found.name, evidence in found.evidence, advice in found.advice) == (link, True, True), found


async def test_what_ails_the_app_of_its_members_is_told_first() -> None:
    ill = (Link(name="tasks", verdict=Verdict.BROKEN, evidence="2 of 3 run", advice="look"),)
    found = first_broken(await way(await mapped(), behind={"PaasApp cart": ill}))
    assert found is not None
    assert (found.name, found.evidence) == ("members", "PaasApp cart: tasks: 2 of 3 run")

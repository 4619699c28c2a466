"""The release gate of shard maps before the removal of an app's tasks, and all gates of an app as one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shardmap_world import MAP, World
from shuren.controllers.gates import AllGates
from shuren.domain.app.snapshot import Gates
from shuren.domain.identity import ObjectKey
from shuren.sharding.core.codec import moves as moves_codec

APP = ObjectKey(kind="PaasApp", namespace="shop", name="cart")
HOSTS = ("n1", "n2", "n3")


async def mapped(**members: object) -> World:
    world = World()
    world.app()
    world.site.run("/shop/cart", HOSTS)
    world.site.join(*HOSTS)
    world.apply(members={"appRef": {"name": "cart"}, **members})
    await world.settle()
    return world


def look(world: World) -> Gates:
    assert world.process is not None
    return world.process.controller.gates.look("bj1", "/shop/cart", APP, limit=60.0)


def drain(world: World, *hosts: str) -> None:
    assert world.process is not None
    world.process.controller.gates.drain("bj1", "/shop/cart", frozenset(f"shop_cart.{host}" for host in hosts))


async def test_a_task_goes_when_its_shards_have_moved() -> None:
    world = await mapped()
    assert look(world) == Gates(closed=True, at_once=1)
    drain(world, "n2")
    assert world.process is not None
    assert world.process.controller.gates.waiting("bj1") == {APP}
    gates = look(world)
    assert (gates.closed, gates.released) == (True, frozenset())
    assert gates.why == {"shop_cart.n2": "ShardMap cart still has 5 shards on it"} or "6 shards" in gates.why["shop_cart.n2"]
    await world.settle()
    assert look(world).released == {"shop_cart.n2"}
    assert "n2" not in world.held()


async def test_a_roll_out_waits_for_moves_between_members_that_are_there() -> None:
    world = await mapped()
    world.apply(members={"appRef": {"name": "cart"}, "drain": ["n2"]}, rollout={"maxUnavailable": 2})
    for member in world.site.members.values():
        member.deaf = True
    await world.settle()
    gates = look(world)
    assert gates.at_once == 2
    assert "shards of ShardMap cart that move now have arrived" in gates.unsettled
    await world.site.leave("n2")
    await world.settle()
    assert look(world).unsettled == ""


async def test_a_roll_out_waits_for_copies_that_have_not_caught_up() -> None:
    world = await mapped()
    world.site.members["n2"].deaf = True
    live = f"{MAP}/live/n2"
    there = moves_codec.decode_live(world.site.tree.dump()[live])
    await world.meddle(live, moves_codec.encode_live(replace(there, counts={"copying": 2, "standby": 4})))
    await world.settle()
    assert look(world).unsettled == "the copies of ShardMap cart on n2 have caught up"
    await world.meddle(live, moves_codec.encode_live(there))
    await world.settle()
    assert look(world).unsettled == ""


async def test_a_task_that_is_to_stay_after_all_gets_shards_again() -> None:
    world = await mapped()
    drain(world, "n2")
    await world.settle()
    drain(world)
    await world.settle()
    assert sorted(world.held().values()) == [5, 5, 6]
    assert look(world) == Gates(closed=True, at_once=1)


async def test_nobody_else_could_hold_them_so_the_task_stays() -> None:
    world = World()
    world.app()
    world.site.run("/shop/cart", ("n1", "n2"))
    world.site.join("n1", "n2")
    world.apply(replicas=2)
    await world.settle()
    drain(world, "n2")
    await world.settle()
    assert look(world).released == frozenset()
    assert world.conditions()["Ready"] == ("False", "TooFewMembers")
    assert "2 replicas need 2 members" in world.message()


async def test_after_a_restart_nothing_moves_before_it_is_known_who_drains() -> None:
    world = await mapped()
    drain(world, "n2")
    await world.settle()
    before = world.held()
    await world.end()
    world.apps_pass = False
    await world.settle()
    assert world.held() == before
    assert world.conditions() == {"Ready": ("True", "Ready")}
    world.apps_pass = True
    await world.end()
    # the app's pass asks nobody to go
    await world.settle()
    assert sorted(world.held().values()) == [5, 5, 6]


@pytest.mark.parametrize("kind", ["Ordinal", "Resident"])
async def test_tasks_are_known_by_other_identities_too(kind: str) -> None:
    world = World()
    world.app()
    world.site.run("/shop/cart", HOSTS, unique=False)
    ids = [str(n) for n in range(3)] if kind == "Ordinal" else [f"instance-{n}1e934b0-e965-11f1-8fe8-02fc00000001" for n in range(3)]
    tasks = world.site.apps["/shop/cart"].tasks
    for n, identity in enumerate(ids):
        world.site.join(identity)
        world.site.members[identity].address = f"{HOSTS[n]}:7000"
    if kind == "Resident":
        world.site.rename("/shop/cart", [f"shop_cart.{identity}._app.1" for identity in ids])
        tasks = world.site.apps["/shop/cart"].tasks
    world.apply(members={"appRef": {"name": "cart"}, "identity": kind}, spread={"attribute": "rack"})
    await world.settle()
    assert set(world.held()) == set(ids)
    assert {m.rack for m in world.table().members} == {"r1", "r2", "r3"}
    assert world.process is not None
    world.process.controller.gates.drain("bj1", "/shop/cart", frozenset({tasks[1].id}))
    await world.settle()
    assert set(world.held()) == {ids[0], ids[2]}
    assert look(world).released == {tasks[1].id}


class Fixed:
    """Gates as they are given."""

    def __init__(self, gates: Gates) -> None:
        self.gates = gates
        self.drained: list[frozenset[str]] = []

    def look(self, cluster: str, app_id: str, owner: ObjectKey, *, limit: float) -> Gates:
        assert cluster
        assert app_id
        assert owner
        assert limit
        return self.gates

    def drain(self, cluster: str, app_id: str, task_ids: frozenset[str]) -> None:
        assert cluster
        assert app_id
        self.drained.append(task_ids)

    def passed(self, cluster: str, app_id: str) -> None:
        assert cluster
        assert app_id


def test_all_gates_release_what_every_closed_one_has_released() -> None:
    both = frozenset({"a", "b"})
    services = Fixed(Gates(closed=True, draining=both, released=frozenset({"a"}), why={"b": "sessions"}, left=5.0))
    shards = Fixed(Gates(closed=True, draining=both, released=both))
    found = AllGates(services, shards).look("bj1", "/a", APP, limit=1.0)
    assert found == Gates(closed=True, draining=both, released=frozenset({"a"}), why={"b": "sessions"}, left=5.0)
    nothing = Fixed(Gates())
    assert AllGates(nothing, shards).look("bj1", "/a", APP, limit=1.0).released == both
    assert AllGates(nothing, nothing).look("bj1", "/a", APP, limit=1.0) == Gates()
    AllGates(services, shards).drain("bj1", "/a", both)
    assert services.drained == shards.drained == [both]

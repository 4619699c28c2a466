"""What is wrong outside: refused or held, with a reason that says what to do; the published table stays."""

from __future__ import annotations

from typing import Any

import pytest

from shardmap_world import MAP, SimMember, World, read_moves
from shuren.domain.errors import Denied
from shuren.ports.kubernetes import PAAS_APPS, SHARD_MAPS
from shuren.sharding.core.codec import head as head_codec

HOSTS = ("n1", "n2", "n3")


async def mapped(hosts: tuple[str, ...] = HOSTS, **spec: Any) -> World:
    world = World()
    world.app()
    world.site.run("/shop/cart", hosts)
    world.site.join(*hosts)
    world.apply(**spec)
    await world.settle()
    return world


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"theirs", "no record of a ShardMap"),
        (b'{"kind":"ShardMap","namespace":"other","name":"cart","uid":"u"}', "it belongs to ShardMap other/cart"),
        (b"[]", "no record of a ShardMap"),
    ],
)
async def test_a_foreign_node_at_the_path_is_left_alone(data: bytes, why: str) -> None:
    world = World()
    await world.meddle(MAP, data)
    before = world.nodes()
    world.app()
    world.site.run("/shop/cart", HOSTS)
    world.apply()
    await world.settle()
    assert world.conditions()["Stalled"] == ("True", "PathOwnedByOther")
    assert why in world.message()
    world.delete()
    await world.settle()
    assert world.resource() is None
    assert world.nodes() == before


async def test_members_may_be_there_before_the_map_is() -> None:
    world = World()
    world.app()
    world.site.run("/shop/cart", ("n1",))
    world.site.join("n1")
    member: SimMember = world.site.members["n1"]
    await member.act()
    world.apply(shards=4)
    await world.settle()
    assert world.conditions() == {"Ready": ("True", "Ready")}


async def test_a_resource_made_anew_takes_over_what_was_left() -> None:
    world = await mapped()
    before = world.table()
    no_finalizers = [{"op": "add", "path": "/metadata/finalizers", "value": []}]
    await world.kubernetes.patch_json(SHARD_MAPS, "shop", "cart", no_finalizers)
    world.delete()
    await world.settle()
    assert world.resource() is None
    assert world.table() == before
    world.apply()
    await world.settle()
    assert world.conditions() == {"Ready": ("True", "Ready")}
    assert world.table() == before


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("what", ["corrupt", "older", "deleted"])
async def test_a_head_that_somebody_changed_is_held_and_nothing_is_written(what: str, *, restarted: bool) -> None:
    world = await mapped()
    first = world.nodes()[f"{MAP}/head"]
    for extra in ("n4", "n5"):
        world.site.run("/shop/cart", (*HOSTS, extra))
        world.site.join(extra)
        await world.settle()
    good = world.nodes()[f"{MAP}/head"]
    assert head_codec.decode(good).generation > 3
    for member in world.site.members.values():
        member.deaf = True
    if restarted:
        await world.end()
    await world.meddle(f"{MAP}/head", {"corrupt": b"{", "older": first, "deleted": None}[what])
    before = world.nodes()
    await world.settle()
    assert world.nodes() == before
    assert world.conditions()["Stalled"] == ("True", "HeadBroken")
    assert f"{MAP}/head" in world.message()
    # put back as it was, everything goes on
    await world.meddle(f"{MAP}/head", good)
    for member in world.site.members.values():
        member.deaf = False
    await world.settle(patience=5)
    assert world.conditions()["Ready"][0] == "True"


async def test_members_whose_source_vanished_keep_what_they_have() -> None:
    world = await mapped()
    before = world.table()
    world.kubernetes.user_delete(PAAS_APPS, "shop", "cart")
    world.site.apps.clear()
    world.site.join("n9")
    await world.settle(patience=200)
    assert world.table() == before
    assert world.conditions()["Ready"] == ("False", "MembersSourceGone")
    assert "PaasApp cart does not exist" in world.message()
    world.app()
    world.site.run("/shop/cart", HOSTS)
    await world.end()
    await world.settle(patience=10)
    assert world.conditions() == {"Ready": ("True", "Ready")}


async def test_marathon_away_changes_nothing_and_lost_primaries_are_still_replaced() -> None:
    world = await mapped(replicas=2, moves={"delaySeconds": 30})
    world.site.away = 500.0
    await world.site.leave("n2")
    await world.settle(patience=100)
    names = {m.number: m.id for m in world.table().members}
    assert "n2" not in {names[number] for number in world.table().owners[:16]}


@pytest.mark.parametrize(
    ("spec", "reason", "words"),
    [
        ({"replicas": 4}, "TooFewMembers", "4 replicas need 4 members with a weight above 0; there are 3"),
        ({"members": {"appRef": {"name": "cart"}, "weights": [{"id": h, "weight": 0} for h in HOSTS]}}, "TooFewMembers", "nobody may hold"),
        ({"members": {"appRef": {"name": "none"}}}, "MembersSourceGone", "PaasApp none does not exist"),
        ({"members": {"serviceRef": {"name": "none"}}}, "MembersSourceGone", "PaasService none does not exist"),
        ({"members": {"static": [{"id": "n1"}]}}, "", ""),
    ],
)
async def test_what_cannot_be_planned_is_held_and_the_table_stays(spec: dict[str, Any], reason: str, words: str) -> None:
    world = await mapped()
    before = world.table()
    world.apply(**spec)
    await world.settle()
    if not reason:
        # a list is taken at its word: who is not on it is emptied after the delay
        await world.settle(patience=120)
        assert world.held() == {"n1": 16}
        return
    assert (world.table().owners, world.table().epochs) == (before.owners, before.epochs)
    assert world.conditions()["Ready"] == ("False", reason)
    assert words in world.message()
    assert read_moves(world.site.tree) == {}


async def test_replicas_in_distinct_racks_are_demanded_or_it_is_said_that_they_are_not() -> None:
    world = await mapped(("n1", "m1", "n2"), replicas=3)
    assert world.conditions()["Advice"] == ("True", "TooFewRacks")
    assert world.status()["rackViolations"] == 16
    world.apply(replicas=3, spread={"required": True})
    await world.settle()
    assert world.conditions()["Ready"] == ("False", "TooFewMembers")
    assert "3 replicas in distinct racks need 3 racks" in world.message()


async def test_two_tasks_may_not_be_on_one_agent() -> None:
    world = World()
    world.app()
    world.site.run("/shop/cart", HOSTS, unique=False)
    world.site.join(*HOSTS)
    world.apply()
    await world.settle()
    assert world.conditions()["Stalled"] == ("True", "HostNotUnique")
    assert "hostname" in world.message()


async def test_a_partitioning_that_is_not_the_published_one_is_held() -> None:
    world = await mapped()
    before = world.table()
    world.apply(shards=64)
    await world.settle()
    assert world.conditions()["Stalled"] == ("True", "PartitioningUnknown")
    assert world.table() == before


async def test_a_spec_that_only_an_older_schema_let_in_says_which_field_is_wrong() -> None:
    world = await mapped()
    before = world.table()
    world.apply(shards=100)
    await world.settle()
    assert world.conditions()["Stalled"] == ("True", "InvalidSpec")
    assert "the number of shards is a power of two" in world.message()
    assert world.table() == before


async def test_zookeeper_that_refuses_us_is_told() -> None:
    world = await mapped()
    world.site.run("/shop/cart", (*HOSTS, "n4"))
    world.site.join("n4")
    await world.site.members["n4"].act()
    assert world.process is not None
    world.process.see()
    await world.pass_time(1.0)
    # everything has been read: the next requests are writes
    world.process.cluster.session.fail_next(Denied("the ACL excludes us"), times=3)
    await world.one_round()
    assert world.conditions()["Ready"] == ("Unknown", "AccessDenied")
    await world.settle(patience=120)
    assert set(world.held().values()) == {4}


async def test_a_deposed_operator_writes_nothing_more() -> None:
    world = await mapped()
    old = world.process
    assert old is not None
    world.process = None
    await world.settle()
    world.site.run("/shop/cart", (*HOSTS, "n4"))
    world.site.join("n4")
    await world.settle()
    before = world.nodes()
    world.process, new = old, world.process
    with pytest.raises(Exception, match="somebody else has taken over"):
        await world.process.cluster.root.commit([])
    assert world.nodes() == before
    world.process = new
    await old.stop()

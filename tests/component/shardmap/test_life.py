"""The ShardMap controller over whole stories: first table, members that come, go, restart and are emptied, and a crash at every write."""

from __future__ import annotations

from typing import Any

import pytest

from shardmap_world import MAP, World, read_moves
from shuren.clients.fakes.crash import CrashPoint

HOSTS = ("n1", "n2", "n3")


async def mapped(hosts: tuple[str, ...] = HOSTS, *, crash: CrashPoint | None = None, **spec: Any) -> World:
    """A map over an app whose tasks run on these hosts."""
    world = World(crash=crash)
    world.app()
    world.site.run("/shop/cart", hosts)
    world.site.join(*hosts)
    world.apply(**spec)
    await world.settle()
    return world


async def test_the_first_table_waits_for_everybody_and_then_nothing_is_written() -> None:
    world = World()
    world.app()
    world.site.run("/shop/cart", HOSTS)
    world.site.join("n1", "n2")
    world.apply()
    await world.settle()
    assert world.conditions()["Ready"] == ("False", "WaitingForMembers")
    assert "n3" in world.message()
    world.site.join("n3")
    await world.settle()
    assert world.conditions() == {"Ready": ("True", "Ready")}
    assert sorted(world.held().values()) == [5, 5, 6]
    status = world.status()
    assert status["path"] == MAP
    assert status["generations"] == {"published": 1, "acknowledged": 1, "behind": 0}
    assert status["hash"] == world.table().digest()
    assert (status["progress"], status["perMember"], status["members"]["live"]) == ("16/16", {"min": 5, "max": 6}, 3)
    before = world.kubernetes.writes, len(world.site.tree.commits)
    await world.end()
    await world.settle(patience=10)
    # the next leader's epoch is the one thing that it writes
    assert (world.kubernetes.writes, len(world.site.tree.commits)) == (before[0], before[1] + 1)


async def test_a_member_that_joins_gets_its_share_with_the_fewest_moves() -> None:
    world = await mapped()
    world.site.run("/shop/cart", (*HOSTS, "n4"))
    world.site.join("n4")
    await world.settle()
    assert set(world.held().values()) == {4}
    status = world.status()
    assert (status["moves"]["planned"], status["moves"]["lowerBound"], status["moves"]["done"]) == (4, 4, 4)
    assert status["moves"]["proven"]
    assert world.conditions() == {"Ready": ("True", "Ready")}
    assert [note for reason, note in world.told.notes if reason == "Planned"] != []
    assert read_moves(world.site.tree) == {}
    # who moved has the next epoch, all others the first
    assert sorted(world.table().epochs) == [1] * 12 + [2] * 4


async def test_a_restart_in_place_moves_nothing_and_an_absence_beyond_the_delay_does() -> None:
    world = await mapped(moves={"delaySeconds": 60}, replicas=2)
    before = world.table()
    await world.site.leave("n2")
    world.site.run("/shop/cart", ("n1", "n3"))
    await world.settle(patience=40)
    assert world.table() == before
    assert world.conditions()["Ready"] == ("False", "NoPrimary")
    assert world.conditions()["Degraded"] == ("True", "NoPrimary")
    world.site.run("/shop/cart", HOSTS)
    world.site.join("n2")
    await world.settle()
    assert (world.table().owners, world.table().epochs) == (before.owners, before.epochs)
    assert world.conditions() == {"Ready": ("True", "Ready")}
    await world.site.leave("n2")
    world.site.run("/shop/cart", ("n1", "n3"))
    await world.settle(patience=90)
    assert world.held() == {"n1": 16, "n3": 16}
    assert world.conditions() == {"Ready": ("True", "Ready")}


async def test_an_address_is_data_a_task_that_answers_elsewhere_moves_nothing() -> None:
    world = await mapped()
    before = world.table()
    world.site.members["n1"].address = "n1:9999"
    await world.settle()
    assert (world.table().owners, world.table().epochs) == (before.owners, before.epochs)
    assert {m.id: m.address for m in world.table().members}["n1"] == "n1:9999"


@pytest.mark.parametrize("how", ["spec", "label", "maintenance", "weight"])
async def test_a_member_that_is_to_be_emptied_is(how: str) -> None:
    world = await mapped(replicas=2)
    members: dict[str, object] = {"appRef": {"name": "cart"}}
    match how:
        case "spec":
            world.apply(replicas=2, members={**members, "drain": ["n2"]})
        case "weight":
            world.apply(replicas=2, members={**members, "weights": [{"id": "n2", "weight": 0}]})
        case "label":
            world.cluster(**{"drain.paas.shurenyun.com/n2": ""})
        case _:
            world.site.going = frozenset({"n2"})
    await world.settle()
    assert world.held() == {"n1": 16, "n3": 16}
    assert world.conditions() == {"Ready": ("True", "Ready")}
    assert world.status()["members"]["draining"] == 1
    assert world.status()["perMember"] == {"min": 16, "max": 16}


async def test_who_holds_shards_and_is_no_task_any_more_is_emptied_after_the_delay() -> None:
    world = await mapped(moves={"delaySeconds": 60})
    world.site.run("/shop/cart", ("n1", "n3"))
    await world.settle(patience=30)
    assert "n2" in world.held()
    await world.settle(patience=60)
    assert "n2" not in world.held()


async def test_a_paused_map_begins_no_move_and_still_replaces_lost_primaries() -> None:
    world = await mapped(replicas=2, moves={"delaySeconds": 30, "paused": True})
    await world.site.leave("n2")
    await world.settle(patience=60)
    assert world.conditions()["Ready"][0] == "True"
    assert world.conditions()["Paused"] == ("True", "Paused")
    assert world.conditions()["Degraded"] == ("True", "ReplicasMissing")
    names = {m.number: m.id for m in world.table().members}
    assert "n2" not in {names[number] for number in world.table().owners[:16]}
    assert "n2" in world.held()


async def test_a_suspended_map_is_left_as_it_is() -> None:
    world = await mapped(suspend=True)
    assert world.conditions() == {"Ready": ("Unknown", "Suspended"), "Suspended": ("True", "Suspended")}
    assert MAP + "/head" not in world.nodes()
    world.apply()
    await world.settle()
    world.apply(suspend=True)
    world.site.run("/shop/cart", (*HOSTS, "n4"))
    world.site.join("n4")
    before = world.nodes()
    await world.settle()
    assert world.nodes() == before
    assert world.conditions()["Ready"] == ("Unknown", "Suspended")


async def test_a_move_that_fails_is_given_up_told_and_tried_again() -> None:
    limits = {"prepareSeconds": 20, "abortSeconds": 10}
    world = await mapped(moves={"deadlines": limits, "retrySeconds": 10})
    world.site.run("/shop/cart", (*HOSTS, "n4"))
    world.site.join("n4")
    world.site.members["n4"].fails = {"prepare"}
    await world.settle(patience=25)
    assert world.conditions()["Advice"] == ("True", "MovesFailed")
    assert world.status()["moves"]["failed"] > 0
    assert "n4" not in world.held()
    world.site.members["n4"].fails = set()
    await world.settle(patience=120)
    assert set(world.held().values()) == {4}
    assert world.conditions() == {"Ready": ("True", "Ready")}


async def test_old_generations_go_and_their_numbers_are_not_given_away_before() -> None:
    world = await mapped()
    for turn in range(4):
        hosts = (*HOSTS, f"m{turn}4")
        world.site.run("/shop/cart", hosts)
        world.site.join(f"m{turn}4")
        await world.settle()
        assert len({m.number for m in world.table().members}) == 4
        world.site.run("/shop/cart", HOSTS)
        await world.site.leave(f"m{turn}4")
        await world.settle(patience=90)
    kept = world.site.tree.children(f"{MAP}/gen") or ()
    newest = world.table().generation
    assert sorted(int(g) for g in kept) == list(range(newest - 4, newest + 1))


async def test_more_replicas_are_copied_and_then_let_go_again_while_primaries_stay() -> None:
    world = await mapped()
    primaries, epochs = list(world.table().owners), list(world.table().epochs)
    for replicas, held in ((2, [10, 11, 11]), (3, [16, 16, 16]), (2, [10, 11, 11]), (1, [5, 5, 6])):
        world.apply(replicas=replicas)
        await world.settle()
        table = world.table()
        assert table.replicas == replicas
        assert sorted(world.held().values()) == held
        assert sum(world.held().values()) == 16 * replicas
        assert list(table.owners[:16]) == primaries
        assert list(table.epochs) == epochs
        assert world.conditions() == {"Ready": ("True", "Ready")}
        assert (world.status()["shards"]["short"], world.status()["shards"]["settled"]) == (0, 16)
    assert [note for reason, note in world.told.notes if reason == "Planned"] != []


async def test_fewer_replicas_wait_for_primaries_and_keep_the_copies_that_are_there() -> None:
    world = await mapped(replicas=2, moves={"promoteAfterSeconds": 30, "delaySeconds": 600})
    await world.site.leave("n2")
    world.apply(replicas=1, moves={"promoteAfterSeconds": 30, "delaySeconds": 600})
    await world.settle(patience=10)
    assert world.table().replicas == 2
    assert world.conditions()["Ready"] == ("False", "NoPrimary")
    await world.settle(patience=60)
    assert world.table().replicas == 1
    assert "n2" not in world.held(), "nobody's only copy is with who is not there"
    assert world.conditions()["Ready"] == ("True", "Ready")


async def test_other_replicas_wait_for_moves_and_for_what_was_paused() -> None:
    world = await mapped(moves={"paused": True})
    world.apply(replicas=2, moves={"paused": True})
    await world.settle()
    assert world.table().replicas == 1
    assert world.conditions()["Reconciling"] == ("True", "Resizing")
    assert "spec.moves.paused" in world.message()
    world.apply()
    world.site.run("/shop/cart", (*HOSTS, "n4"))
    world.site.join("n4")
    world.site.members["n4"].deaf = False
    await world.site.members["n4"].act()
    world.site.members["n4"].deaf = True
    await world.settle()
    assert read_moves(world.site.tree) != {}
    world.apply(replicas=2)
    await world.settle()
    assert world.table().replicas == 1
    assert "have to end" in world.message()
    world.site.members["n4"].deaf = False
    await world.settle()
    assert (world.table().replicas, set(world.held().values())) == (2, {8})


# ---------------------------------------------------------------------------------------------------- the end


async def test_a_map_in_use_is_not_deleted_and_an_idle_one_leaves_nothing() -> None:
    world = await mapped()
    world.delete()
    await world.settle()
    assert world.conditions()["Ready"] == ("False", "InUse")
    assert world.table().generation == 1
    await world.site.leave(*HOSTS)
    await world.settle()
    assert world.resource() is None
    assert world.nodes() == {}


async def test_an_immediate_turndown_waits_for_nobody() -> None:
    world = await mapped(turndownPolicy="Immediate")
    world.delete()
    for member in world.site.members.values():
        member.deaf = True
    await world.settle()
    assert world.resource() is None
    assert world.nodes() == {}


# ---------------------------------------------------------------------------------------------------- crashes


async def test_a_crash_at_any_write_of_the_end_leaves_nothing() -> None:
    at = 0
    while True:
        world = await mapped(("n1", "n2"), turndownPolicy="Immediate", shards=4)
        await world.site.leave("n1", "n2")
        await world.end()
        world.crash = point = CrashPoint(at=at)
        world.delete()
        await world.settle()
        await world.end()
        assert world.resource() is None, at
        assert world.nodes() == {}, at
        if not point.fired:
            return
        at += 1

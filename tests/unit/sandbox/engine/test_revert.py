"""Rolling a deployment back: what it changed goes back, what others did meanwhile stays."""

from __future__ import annotations

from typing import Any

from sandbox_room import Room
from shuren.sandbox.contract import Group
from shuren.sandbox.definition import changes, groups, tree
from shuren.sandbox.engine.plan import GroupChange, Plan
from shuren.sandbox.engine.revert import revert

NOWHERE = [["hostname", "LIKE", "nowhere"]]
STUCK = {"id": "a", "cmd": "sleep 1", "constraints": NOWHERE}
NOW = "2027-01-15T08:00:00.000Z"


def plan(**groups_: GroupChange) -> Plan:
    return Plan(id="p", version=NOW, steps=(), groups={"/" + name.replace("_", "/"): change for name, change in groups_.items()})


def root(**dependencies: tuple[str, ...]) -> Group:
    made = Group(id="/", version=NOW)
    for name, needs in dependencies.items():
        group = tree.new_group("/" + name.replace("_", "/"), NOW)
        made = tree.put_group(made, Group(id=group.id, version=NOW, dependencies=needs), NOW)
    return made


def needs(found: Group, group_id: str) -> tuple[str, ...] | None:
    group = tree.find(found, group_id)
    return None if group is None else group.dependencies


def test_a_new_group_goes_with_the_groups_in_it() -> None:
    change = GroupChange(before=None, after=())
    assert revert(root(g=(), g_h=()), plan(g=change, g_h=change), NOW).groups == {}


def test_a_new_group_that_got_members_from_others_stays_without_its_dependencies() -> None:
    found = revert(root(g=("/x", "/mine"), g_other=()), plan(g=GroupChange(before=None, after=("/x",))), NOW)
    assert (needs(found, "/g"), needs(found, "/g/other")) == (("/mine",), ())


def test_a_new_group_that_others_removed_is_no_trouble() -> None:
    assert revert(root(), plan(g=GroupChange(before=None, after=())), NOW).groups == {}


def test_a_removed_group_is_there_again() -> None:
    found = revert(root(), plan(g=GroupChange(before=("/x",), after=None)), NOW)
    assert needs(found, "/g") == ("/x",)


def test_dependencies_go_back_and_those_of_others_stay() -> None:
    found = revert(root(g=("/new", "/others")), plan(g=GroupChange(before=("/old",), after=("/new",))), NOW)
    assert needs(found, "/g") == ("/others", "/old")


async def put_group(room: Room, group_id: str, body: dict[str, Any]) -> str:
    update = groups.read(body)
    change = changes.update_group(group_id, update, room.settings, lambda *_: None)
    return (await room.leading.update(change, group_id="/")).deployment_id


async def test_a_group_update_is_undone_as_a_whole_even_after_a_change_of_leader(room: Room) -> None:
    await put_group(room, "/g", {"groups": [{"id": "old", "dependencies": ["/x"]}], "dependencies": ["/db"]})
    started = await put_group(room, "/g", {"apps": [STUCK], "groups": [{"id": "new"}], "dependencies": ["/web"]})
    await room.restart()
    await room.leading.roll_back(started)
    room.until(lambda: not room.deployments())
    g = room.leading.world.root.groups["/g"]
    assert g.dependencies == ("/db",)
    assert {i: child.dependencies for i, child in g.groups.items()} == {"/g/old": ("/x",)}
    assert not g.apps


async def test_a_removed_app_comes_back_with_its_group(room: Room) -> None:
    """A delete that hangs (its tasks do not die) can be undone."""
    await room.settled("/g/a", labels={"SIM_STOP": "500"}, taskKillGracePeriodSeconds=1000)
    started = await room.leading.update(changes.delete_group("/g", room.settings))
    await room.leading.roll_back(started.deployment_id)
    assert room.leading.world.definition("/g/a") is not None
    dying = room.instances("/g/a")[0].id
    room.until(lambda: not room.deployments() and [i.id for i in room.instances("/g/a")] != [dying], seconds=600)
    room.until(lambda: dying not in [i.id for i in room.instances("/g/a")], seconds=600)
    assert room.running("/g/a") == 1

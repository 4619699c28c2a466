"""A change of leader: everything but health is as it was, and work goes on."""

from __future__ import annotations

from pathlib import Path

from sandbox_room import Room, labels
from shuren.sandbox.contract import Settings
from shuren.sandbox.definition import apps, changes, groups
from shuren.sandbox.engine.model import Condition, Goal

NOWHERE = [["hostname", "LIKE", "nowhere"]]
CHECK = {"protocol": "HTTP", "portIndex": 0, "path": "/", "intervalSeconds": 5, "gracePeriodSeconds": 5}


async def test_tasks_are_taken_over_under_their_ids_with_health_unknown(room: Room) -> None:
    await room.settled("/a", instances=3, healthChecks=[CHECK])
    before = {i.task_id: (i.host, i.ports) for i in room.instances("/a")}
    framework = room.leading.world.framework_id
    await room.restart()
    assert {i.task_id: (i.host, i.ports) for i in room.instances("/a")} == before
    assert room.leading.world.framework_id == framework
    assert room.leading.world.instances.counts("/a") == (0, 3, 0, 0)
    room.until(lambda: room.leading.world.instances.counts("/a") == (0, 3, 3, 0))
    assert sum(len(a.used_ports) for a in room.leading.world.agents) == 3


async def test_the_tree_and_its_history_come_back(room: Room) -> None:
    group = apps.read(groups.GROUP_UPDATE, {"dependencies": ["/x"]})
    await room.leading.update(changes.update_group("/g/h", group, room.settings, lambda *_: None))
    await room.settled("/g/h/a", instances=0)
    first = room.leading.world.root
    await room.settled("/g/h/a", instances=0, cmd="sleep 2")
    await room.settled("/b", instances=0)
    await room.delete("/b")
    room.advance(0)
    last = room.leading.world.root
    await room.restart()
    assert room.leading.world.root == last
    assert room.leading.store.root_at(first.version, last) == first
    assert set(room.leading.store.definitions["/b"])  # history outlives what it is about
    assert room.leading.store.root_at("2010-01-01T00:00:00.000Z", last) is None


async def test_deployments_are_resumed_under_their_ids(room: Room) -> None:
    await room.settled("/a", instances=4)
    started = await room.put("/a", instances=4, cmd="sleep 7", labels=labels(start=2))
    room.advance(1)
    room.leading.flush()
    await room.restart()
    assert [d["id"] for d in room.deployments()] == [started.deployment_id]
    room.until(lambda: not room.deployments())
    assert {i.definition["cmd"] for i in room.instances("/a")} == {"sleep 7"}
    assert room.running("/a") == 4
    await room.restart()
    assert room.deployments() == []


async def test_what_waits_goes_on_waiting_and_is_launched_later(room: Room) -> None:
    await room.put("/a", constraints=NOWHERE)
    room.advance(1)
    await room.restart()
    assert [i.condition for i in room.instances("/a")] == [Condition.SCHEDULED]
    room.advance(1)
    assert room.queue()[0]["count"] == 1


async def test_a_kill_under_way_is_repeated(room: Room) -> None:
    await room.settled("/a", labels=labels(stop=2))
    await room.delete("/a")
    assert room.instances("/a")[0].goal is Goal.DECOMMISSIONED
    await room.restart()
    room.until(lambda: not room.instances("/a"))
    assert room.deployments() == []


async def test_the_last_failure_comes_back(room: Room) -> None:
    await room.put("/a", labels=labels(fail_after=0))
    room.advance(3)
    before = room.leading.world.failures["/a"]
    await room.restart()
    assert room.leading.world.failures["/a"] == before


async def test_versions_are_pruned_but_never_those_in_use(tmp_path: Path) -> None:
    room = Room(tmp_path, settings=Settings(max_zk_versions=3))
    await room.settled("/a", instances=1)
    used = room.instances("/a")[0].version
    room.leading.store.remember(
        [{**room.instances("/a")[0].definition, "version": f"2030-01-01T00:00:0{i}.000Z"} for i in range(5)], {used}
    )
    assert len(room.leading.store.definitions["/a"]) <= 4
    assert used in room.leading.store.definitions["/a"]
    await room.close()


async def test_agents_come_from_disk_after_the_first_start(tmp_path: Path) -> None:
    room = Room(tmp_path)
    ids = [a.id for a in room.leading.world.agents]
    await room.close()
    again = Room(tmp_path, agents=[])
    assert [a.id for a in again.leading.world.agents] == ids
    await again.close()

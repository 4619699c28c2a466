"""Apps with persistent volumes: the volume and its place outlive tasks, scale-downs and updates."""

from __future__ import annotations

from typing import Any

from sandbox_room import Room
from shuren.sandbox.engine.model import Goal

RESIDENT: dict[str, Any] = {
    "container": {"type": "MESOS", "volumes": [{"containerPath": "data", "mode": "RW", "persistent": {"size": 10}}]},
    "role": "marathon",
}


def volume(room: Room) -> tuple[str, str]:
    (instance,) = room.instances("/db")
    return str(instance.host), instance.json()["localVolumes"][0]["persistenceId"]


async def resident(tmp_room: Room, **fields: Any) -> None:
    await tmp_room.settled("/db", **{**RESIDENT, "upgradeStrategy": {"minimumHealthCapacity": 0, "maximumOverCapacity": 0}, **fields})


async def test_the_volume_outlives_its_task(resident_room: Room) -> None:
    room = resident_room
    await resident(room)
    before = volume(room)
    for _ in range(3):
        attempt = room.instances("/db")[0].attempt
        await room.leading.kill_tasks([room.instances("/db")[0].task_id], wipe=False)
        room.until(lambda attempt=attempt: room.running("/db") == 1 and room.instances("/db")[0].attempt > attempt)  # type: ignore[misc]
    assert volume(room) == before
    task = room.tasks("/db")[0]
    assert set(task["localVolumes"][0]) == {"runSpecId", "containerPath", "uuid", "persistenceId"}


async def test_it_outlives_an_update_a_suspension_and_a_change_of_leader(resident_room: Room) -> None:
    room = resident_room
    await resident(room)
    before = volume(room)
    await resident(room, cmd="sleep 3")
    assert room.instances("/db")[0].definition["cmd"] == "sleep 3"
    assert volume(room) == before
    await resident(room, cmd="sleep 3", instances=0)
    assert [i.goal for i in room.instances("/db")] == [Goal.STOPPED]
    await room.restart()
    await resident(room, cmd="sleep 3", instances=1)
    assert volume(room) == before


async def test_it_goes_with_a_wipe_and_with_the_app(resident_room: Room) -> None:
    room = resident_room
    await resident(room)
    before = volume(room)
    instance = room.instances("/db")[0]
    room.leading.lifecycle.wipe(instance)
    room.until(lambda: room.running("/db") == 1 and instance not in room.instances("/db"))
    assert volume(room) != before
    await room.delete("/db")
    room.until(lambda: not room.deployments())
    assert room.instances("/db") == []

"""Names of tasks and addresses of Mesos for name servers: only what differs is written, and only while this process leads."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from estate_room import ROOT, pass_time, running
from shuren.clients.fakes.clock import ManualClock
from shuren.clients.fakes.zookeeper import FakeZooKeeper, ZooTree
from shuren.clients.zookeeper.fenced import FencedRoot
from shuren.controllers.estate.directory import Directory
from shuren.domain.errors import ShurenError, UnknownOutcome, Unreachable
from shuren.domain.service import wire
from shuren.domain.service.values import MesosNames, TaskAddress, TaskNames


@dataclass
class Room:
    """A directory on fakes, and the picture that it reads."""

    tree: ZooTree = field(default_factory=ZooTree)
    clock: ManualClock = field(default_factory=ManualClock)
    apps: dict[str, int] = field(default_factory=dict)
    known: bool = True
    wanted: bool = True
    mesos: MesosNames = field(default_factory=lambda: MesosNames(leader="127.0.0.1"))

    def __post_init__(self) -> None:
        self.session = FakeZooKeeper(self.tree)
        self.root = FencedRoot(self.session, ROOT)
        self.directory = Directory(
            zookeeper=self.root,
            clock=self.clock,
            names=self.names,
            apps=lambda: frozenset(self.apps) if self.known else None,
            mesos=lambda: self.mesos,
            wanted=lambda: self.wanted,
        )

    def names(self, app_id: str) -> TaskNames | None:
        count = self.apps.get(app_id, 0)
        tasks = tuple(TaskAddress(task=f"{app_id}.{n}", agent_id="S1", agent_address="127.0.0.2") for n in range(count))
        return TaskNames(app=app_id, framework="marathon", tasks=tasks) if tasks else None

    async def lead(self) -> None:
        await self.root.take_over(holder="x", installation="i")
        self.directory.changed()

    async def pass_time(self) -> None:
        await pass_time(self.clock, 0.2)

    def told(self) -> dict[str, int]:
        base = f"{ROOT}{wire.TASKS}/"
        return {
            wire.unescaped(p.removeprefix(base)): len(wire.decode_tasks(d).tasks) for p, d in self.tree.dump().items() if p.startswith(base)
        }

    @property
    def writes(self) -> int:
        return len(self.tree.commits)


async def test_running_tasks_and_mesos_are_told_and_then_nothing_is_written() -> None:
    room = Room(apps={"/shop/web": 2, "/shop/idle": 0})
    async with running(room.directory.run()):
        await room.lead()
        await room.pass_time()
        assert room.told() == {"/shop/web": 2}
        node = room.tree.node(ROOT + wire.MESOS)
        assert node is not None
        assert wire.decode_mesos(node.data) == room.mesos
        before = room.writes
        room.directory.changed()
        await room.pass_time()
        assert room.writes == before


async def test_only_apps_that_changed_are_written() -> None:
    room = Room(apps={"/a": 1, "/b": 1})
    async with running(room.directory.run()):
        await room.lead()
        await room.pass_time()
        room.apps = {"/a": 3, "/b": 2}
        room.directory.changed(["/a"])
        await room.pass_time()
        assert room.told() == {"/a": 3, "/b": 1}
        assert room.tree.commits[-1] == (f"{ROOT}/epoch", f"{ROOT}/tasks/a")


async def test_apps_that_are_gone_or_stopped_are_not_told_any_more() -> None:
    room = Room(apps={"/a": 1, "/b": 1, "/c": 1})
    async with running(room.directory.run()):
        await room.lead()
        await room.pass_time()
        room.apps = {"/b": 0, "/c": 1}
        room.directory.changed(["/a", "/b"])
        await room.pass_time()
        assert room.told() == {"/c": 1}


async def test_the_next_leader_clears_what_it_does_not_know() -> None:
    room = Room(apps={"/a": 1, "/b": 1})
    async with running(room.directory.run()):
        await room.lead()
        await room.pass_time()
    other = Room(tree=room.tree, apps={"/b": 1})
    async with running(other.directory.run()):
        await other.lead()
        await other.pass_time()
        assert other.told() == {"/b": 1}


async def test_nothing_is_cleared_before_marathon_was_read() -> None:
    room = Room(apps={"/a": 1})
    async with running(room.directory.run()):
        await room.lead()
        await room.pass_time()
        room.known, room.apps = False, {}
        room.directory.changed()
        await room.pass_time()
        assert room.told() == {"/a": 1}


async def test_without_a_zone_there_is_nothing() -> None:
    room = Room(apps={"/a": 1}, wanted=False)
    async with running(room.directory.run()):
        await room.lead()
        before = room.writes
        await room.pass_time()
        assert room.writes == before
        room.wanted = True
        room.directory.changed()
        await room.pass_time()
        assert room.told() == {"/a": 1}
        room.wanted = False
        room.directory.changed()
        await room.pass_time()
        assert room.told() == {}
        assert room.tree.node(ROOT + wire.MESOS) is None


async def test_a_deposed_leader_writes_nothing() -> None:
    room = Room(apps={"/a": 1})
    async with running(room.directory.run()):
        await room.lead()
        await room.pass_time()
        await Room(tree=room.tree).lead()
        before = room.writes
        room.apps["/a"] = 2
        room.directory.changed(["/a"])
        await room.pass_time()
        assert room.writes == before


@pytest.mark.parametrize("error", [Unreachable("away"), UnknownOutcome("lost")])
async def test_what_could_not_be_written_is_written_later(error: ShurenError) -> None:
    room = Room(apps={"/a": 1})
    async with running(room.directory.run()):
        await room.lead()
        await room.pass_time()
        room.apps["/a"] = 2
        room.session.fail_next(error)
        room.directory.changed(["/a"])
        await pass_time(room.clock, 2.0)
        assert room.told() == {"/a": 2}

"""The picture that names are answered from, as it follows ZooKeeper."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from shuren.clients.fakes.zookeeper import FakeZooKeeper, ZooTree
from shuren.domain.dns.zone import RecordType, Zone
from shuren.domain.errors import Invalid
from shuren.domain.service import wire
from shuren.domain.service.values import Endpoint, EndpointSet, EndpointState, MesosNames, Names, ServiceName, TaskAddress, TaskNames
from shuren.edge.dns.world import Follower, Picture
from shuren.ports.zookeeper import Create, Delete, Operation, SetData

ROOT = "/shuren/bj1"
WEB = ServiceName(namespace="shop", name="web")


@dataclass
class Room:
    """An operator's side that writes, and a follower that reads."""

    tree: ZooTree = field(default_factory=ZooTree)
    picture: Picture = field(default_factory=Picture)
    rounds: int = 0

    def __post_init__(self) -> None:
        self.operator = FakeZooKeeper(self.tree)
        self.session = FakeZooKeeper(self.tree)

    async def begin(self) -> None:
        for path in ("/meta", wire.NAMES, wire.ENDPOINTS, wire.TASKS):
            await self.operator.ensure_path(ROOT + path)

    async def write(self, *operations: Operation) -> None:
        await self.operator.commit(operations)

    async def put(self, path: str, data: bytes) -> None:
        there = self.tree.node(ROOT + path)
        await self.write(Create(path=ROOT + path, data=data) if there is None else SetData(path=ROOT + path, data=data, version=-1))

    async def service(self, *states: EndpointState, generation: int = 1) -> None:
        await self.put(f"{wire.NAMES}/{WEB}", wire.encode_names(Names(service=WEB, names=("web.shop",))))
        await self.put(f"{wire.ENDPOINTS}/{WEB}", wire.encode_endpoints(endpoints(*states, generation=generation)).head)

    def changed(self) -> None:
        self.rounds += 1

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        follower = Follower(zookeeper=self.session, root=ROOT, picture=self.picture, changed=self.changed)
        task = asyncio.create_task(follower.run())
        try:
            await until(lambda: follower.synced or self.rounds > 0)
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def zone(self) -> Zone:
        return self.picture.zone()

    def addresses(self, name: str = "web.shop") -> tuple[object, ...]:
        return self.zone().names.get(name, {}).get(RecordType.A, ())


def endpoints(*states: EndpointState, generation: int = 1) -> EndpointSet:
    found = (Endpoint(id=f"web.{n}:0", address=f"10.0.0.{n}", port=80, state=s) for n, s in enumerate(states, 1))
    return EndpointSet(generation=generation, endpoints=tuple(found))


async def until(question: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not question():
            await asyncio.sleep(0.005)


READY, SICK = EndpointState.READY, EndpointState.UNHEALTHY


async def test_what_is_there_at_the_start_and_what_changes() -> None:
    room = Room()
    await room.begin()
    await room.service(READY)
    async with room.following():
        assert room.addresses() == ("10.0.0.1",)
        await room.service(READY, READY, generation=2)
        await until(lambda: room.addresses() == ("10.0.0.1", "10.0.0.2"))
        await room.write(Delete(path=f"{ROOT}{wire.NAMES}/{WEB}"), Delete(path=f"{ROOT}{wire.ENDPOINTS}/{WEB}"))
        await until(lambda: not room.zone().has("web.shop"))


async def test_the_last_good_endpoints_are_answered_when_none_is_ready() -> None:
    room = Room()
    await room.begin()
    await room.service(READY, SICK)
    async with room.following():
        await room.service(SICK, SICK, generation=2)
        await until(lambda: room.picture.endpoints[WEB].generation == 2)
        assert room.addresses() == ("10.0.0.1",)
        await room.service(SICK, READY, generation=3)
        await until(lambda: room.addresses() == ("10.0.0.2",))


async def test_tasks_and_mesos() -> None:
    room = Room()
    await room.begin()
    async with room.following():
        task = TaskAddress(task="t.1", agent_id="x-S1", agent_address="10.0.0.9")
        await room.put(
            f"{wire.TASKS}/{wire.escaped('/shop/web')}", wire.encode_tasks(TaskNames(app="/shop/web", framework="marathon", tasks=(task,)))
        )
        await room.put(wire.MESOS, wire.encode_mesos(MesosNames(leader="10.0.0.5")))
        await until(lambda: room.addresses("web-shop.marathon") == ("10.0.0.9",) and room.addresses("leader") == ("10.0.0.5",))
        await room.write(Delete(path=f"{ROOT}{wire.TASKS}/{wire.escaped('/shop/web')}"))
        await until(lambda: not room.zone().has("web-shop.marathon"))


async def test_what_cannot_be_read_leaves_what_was_heard() -> None:
    room = Room()
    await room.begin()
    await room.service(READY)
    async with room.following():
        await room.put(f"{wire.ENDPOINTS}/{WEB}", b"nonsense")
        await room.put(
            f"{wire.NAMES}/other.svc", wire.encode_names(Names(service=ServiceName(namespace="other", name="svc"), names=("x",)))
        )
        await until(lambda: len(room.picture.names) == 2)
        assert room.addresses() == ("10.0.0.1",)


async def test_a_zookeeper_that_is_away_or_empty_takes_nothing_away() -> None:
    room = Room()
    await room.begin()
    await room.service(READY)
    async with room.following():
        room.session.disconnect()
        await room.service(READY, READY, generation=2)
        assert room.addresses() == ("10.0.0.1",)
        room.session.reconnect()
        await until(lambda: len(room.addresses()) == 2)
    empty = Room(picture=room.picture)
    async with empty.following():
        assert len(empty.addresses()) == 2


async def test_chunks() -> None:
    room = Room()
    await room.begin()
    many = endpoints(*[READY] * 50)
    encoded = wire.encode_endpoints(many, limit=1000)
    await room.service(SICK)
    async with room.following():
        path = f"{ROOT}{wire.ENDPOINTS}/{WEB}"
        chunks = [Create(path=f"{path}/{name}", data=data) for name, data in encoded.children.items()]
        await room.write(*chunks, SetData(path=path, data=encoded.head, version=-1))
        await until(lambda: len(room.addresses()) == 50)


def test_a_picture_comes_back_from_its_file() -> None:
    picture = Picture()
    picture.names[WEB] = Names(service=WEB, names=("web.shop",))
    picture.put_endpoints(WEB, endpoints(READY, SICK))
    picture.tasks["/a"] = TaskNames(app="/a", framework="marathon", tasks=(TaskAddress(task="t", agent_id="S1", agent_address="10.0.0.1"),))
    picture.mesos = MesosNames(leader="10.0.0.1")
    assert Picture.decode(picture.encode()).zone() == picture.zone()


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b'{"names":[],"endpoints":{},"tasks":[]}', b'{"names":{"a.b":"x"},"endpoints":{},"tasks":[]}']
)
def test_what_is_no_picture_is_invalid(data: bytes) -> None:
    with pytest.raises(Invalid):
        Picture.decode(data)


async def test_what_went_while_nobody_followed_is_gone_after_a_restart() -> None:
    room = Room()
    await room.begin()
    await room.service(EndpointState.READY)
    app = TaskNames(app="/shop/web.v2", framework="marathon", tasks=(TaskAddress(task="t", agent_id="a-S1", agent_address="10.0.0.1"),))
    await room.put(f"{wire.TASKS}/{wire.escaped(app.app)}", wire.encode_tasks(app))
    async with room.following():
        await until(lambda: WEB in room.picture.names and app.app in room.picture.tasks)
    later = Room(tree=room.tree, picture=Picture.decode(room.picture.encode()))
    assert WEB in later.picture.names
    names, tasks = f"{ROOT}{wire.NAMES}/{WEB}", f"{ROOT}{wire.TASKS}/{wire.escaped(app.app)}"
    await later.write(Delete(path=names), Delete(path=tasks))
    async with later.following():
        await until(lambda: not later.picture.names and not later.picture.tasks)
    assert later.picture.zone() == Zone(names={"": {}})

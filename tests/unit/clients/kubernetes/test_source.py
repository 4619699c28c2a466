from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from shuren.clients.fakes.clock import ManualClock
from shuren.clients.fakes.kubernetes import FakeKubernetes
from shuren.clients.kubernetes.source import Reflector
from shuren.domain.errors import Denied, Unreachable
from shuren.domain.identity import ObjectKey
from shuren.ports.kubernetes import CONFIG_MAPS, Change, Expired, Object, Page, Resource, WatchEvent


class Log:
    """A sink that remembers, and fails when told to."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.present: set[str] = set()
        self.poison = ""

    def upsert(self, key: ObjectKey, item: Object, *, initial: bool) -> None:
        if key.name == self.poison:
            self.poison = ""
            raise RuntimeError("a mistake in the program")
        assert item["metadata"]["name"] == key.name
        self.seen.append(f"{'initial' if initial else 'upsert'} {key.name}")
        self.present.add(key.name)

    def delete(self, key: ObjectKey) -> None:
        self.seen.append(f"delete {key.name}")
        self.present.discard(key.name)


class Rig:
    def __init__(self, kubernetes: FakeKubernetes | None = None) -> None:
        self.clock = ManualClock()
        self.kubernetes = kubernetes or FakeKubernetes()
        self.log = Log()
        self.reflector = Reflector(
            kubernetes=self.kubernetes, resource=CONFIG_MAPS, sink=self.log, clock=self.clock, namespace="n", chance=lambda: 1.0
        )

    def put(self, name: str, value: str = "") -> None:
        self.kubernetes.user_apply(CONFIG_MAPS, {"metadata": {"name": name, "namespace": "n"}, "data": {"k": value}})

    def drop(self, name: str) -> None:
        self.kubernetes.user_delete(CONFIG_MAPS, "n", name)

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    async def advance(self, seconds: float) -> None:
        await self.settle()
        await self.clock.advance(seconds)
        await self.settle()


@pytest.fixture
async def start() -> AsyncIterator[Callable[[Rig], None]]:
    tasks: list[asyncio.Task[None]] = []
    yield lambda rig: tasks.append(asyncio.create_task(rig.reflector.run()))
    for task in tasks:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


Start = Callable[[Rig], None]


async def test_what_is_there_comes_first_and_then_every_change(start: Start) -> None:
    rig = Rig()
    rig.put("a")
    assert not rig.reflector.synced
    start(rig)
    await asyncio.wait_for(rig.reflector.wait_synced(), 5)
    rig.put("b")
    rig.put("a", "changed")
    rig.drop("b")
    await rig.settle()
    assert rig.log.seen == ["initial a", "upsert b", "upsert a", "delete b"]


async def test_other_namespaces_are_none_of_its_business(start: Start) -> None:
    rig = Rig()
    start(rig)
    await rig.settle()
    rig.kubernetes.user_apply(CONFIG_MAPS, {"metadata": {"name": "x", "namespace": "other"}})
    await rig.settle()
    assert rig.log.seen == []


async def test_deletes_in_a_gap_are_found_by_the_next_list(start: Start) -> None:
    rig = Rig()
    rig.put("a")
    rig.put("b")
    start(rig)
    await rig.settle()
    rig.put("c")
    await rig.settle()
    # the connection breaks, and while it is broken the server forgets
    rig.kubernetes.fail("watch", "configmaps", Unreachable("reset"))
    rig.put("d")
    await rig.settle()
    rig.drop("a")
    rig.kubernetes.forget_history()
    await rig.advance(1)
    await rig.settle()
    assert rig.log.present == {"b", "c", "d"}
    assert "delete a" in rig.log.seen


async def test_a_broken_connection_goes_on_where_it_was(start: Start) -> None:
    rig = Rig()
    rig.put("a")
    start(rig)
    await rig.settle()
    rig.kubernetes.fail("watch", "configmaps", Unreachable("reset"))
    rig.put("b")
    await rig.settle()
    rig.put("c")
    rig.drop("c")
    await rig.advance(1)
    assert rig.log.seen == ["initial a", "upsert b", "upsert c", "delete c"]


async def test_a_failed_list_means_nothing_was_deleted(start: Start) -> None:
    rig = Rig()
    rig.put("a")
    start(rig)
    await rig.settle()
    rig.kubernetes.fail("watch", "configmaps", Expired("too old"))
    rig.kubernetes.fail("list", "configmaps", Unreachable("no"), times=3)
    rig.put("b")
    await rig.advance(5)
    assert rig.log.seen == ["initial a"]
    await rig.advance(20)
    assert rig.log.seen == ["initial a", "upsert a", "upsert b"]


async def test_pauses_grow_while_nothing_works_and_start_small_again(start: Start) -> None:
    rig = Rig()
    rig.put("z")
    rig.kubernetes.fail("list", "configmaps", Unreachable("no"), times=4)
    start(rig)
    await rig.advance(14.9)
    assert rig.log.present == set()
    await rig.advance(0.2)  # 1 + 2 + 4 + 8
    assert rig.log.present == {"z"}
    rig.put("y")
    await rig.settle()
    rig.kubernetes.fail("watch", "configmaps", Unreachable("reset"))
    rig.put("a")
    await rig.advance(0.9)
    rig.put("b")
    assert rig.log.present == {"z", "y"}
    await rig.advance(0.2)
    assert rig.log.present == {"z", "y", "a", "b"}


async def test_an_error_is_told_once_while_it_lasts(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    rig.kubernetes.fail("list", "configmaps", Denied("list configmaps: forbidden"), times=5)
    start(rig)
    await rig.advance(100)
    assert caplog.text.count("list configmaps: forbidden") == 1
    assert rig.reflector.synced


async def test_a_server_that_expires_its_own_list_is_not_hammered(start: Start) -> None:
    rig = Rig()
    rig.kubernetes.fail("watch", "configmaps", Expired("too old"), times=1000)
    start(rig)
    await rig.advance(60)
    assert 0 < 1000 - len(rig.kubernetes._faults) <= 10


class Hasty(FakeKubernetes):
    """Something between us and the server that ends each watch at once."""

    def __init__(self) -> None:
        super().__init__()
        self.watches = 0

    async def watch(self, resource: Resource, *, resource_version: str, **_: str) -> AsyncIterator[WatchEvent]:
        self.watches += 1
        for item in (await self.list(resource)).items:
            if int(item["metadata"]["resourceVersion"]) > int(resource_version):
                yield WatchEvent(change=Change.MODIFIED, object=item)


async def test_watches_that_end_at_once_are_not_hammered(start: Start) -> None:
    kubernetes = Hasty()
    rig = Rig(kubernetes)
    start(rig)
    await rig.settle()
    rig.put("a")
    await rig.advance(10)
    assert rig.log.seen == ["upsert a"]
    assert 5 <= kubernetes.watches <= 12


async def test_an_object_nobody_foresaw_does_not_end_the_watch(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    start(rig)
    await rig.settle()
    rig.log.poison = "a"
    rig.put("a")
    rig.put("b")
    await rig.advance(2)
    assert rig.log.present == {"a", "b"}
    assert "mistake in the program" in caplog.text


class Bookmarks(FakeKubernetes):
    """Sends a bookmark, then breaks; remembers from where it was asked to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    async def list(self, resource: Resource, **_: str | bool) -> Page:
        del resource
        return Page(items=[], resource_version="10")

    async def watch(self, resource: Resource, *, resource_version: str, **_: str) -> AsyncIterator[WatchEvent]:
        del resource
        self.asked.append(resource_version)
        yield WatchEvent(change=Change.BOOKMARK, object={"metadata": {"resourceVersion": str(int(resource_version) + 5)}})
        raise Unreachable("reset")


async def test_a_bookmark_moves_on_where_to_continue(start: Start) -> None:
    kubernetes = Bookmarks()
    rig = Rig(kubernetes)
    start(rig)
    await rig.advance(3)
    assert kubernetes.asked[:3] == ["10", "15", "20"]
    assert rig.log.seen == []

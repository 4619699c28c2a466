"""List-and-diff on a fake API server: what a watch lost comes back, and nothing that a list says is believed without asking."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from shuren.clients.fakes.clock import ManualClock
from shuren.clients.fakes.kubernetes import FakeKubernetes
from shuren.domain.errors import Denied, Unreachable
from shuren.domain.identity import ObjectKey
from shuren.ports.kubernetes import MESOS_CLUSTERS, PAAS_APPS, Object, Page, Resource
from shuren.runtime.resync import Resync
from shuren.runtime.store import Store


def key(name: str, namespace: str = "n") -> ObjectKey:
    return ObjectKey(kind="PaasApp", namespace=namespace, name=name)


class Holes(FakeKubernetes):
    """A server whose lists leave out what `hidden` names, as a stale cache or a cut answer would; `version` replaces the lists' own."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden: set[str] = set()
        self.version: str | None = None

    async def list(
        self, resource: Resource, *, namespace: str = "", name: str = "", label_selector: str = "", metadata_only: bool = False
    ) -> Page:
        page = await super().list(resource, namespace=namespace, name=name, label_selector=label_selector, metadata_only=metadata_only)
        items = [item for item in page.items if item["metadata"]["name"] not in self.hidden]
        return Page(items=items, resource_version=page.resource_version if self.version is None else self.version)


class Room:
    """A server, a store that a watch keeps (until the test says otherwise), and the resync between them."""

    def __init__(self, *namespaces: str, resources: tuple[Resource, ...] = (PAAS_APPS,)) -> None:
        self.clock = ManualClock()
        self.kubernetes = Holes()
        self.store = Store()
        self.told: list[str] = []
        self.missed: list[ObjectKey] = []
        self.resync = Resync(
            kubernetes=self.kubernetes,
            resources=resources,
            namespaces=namespaces,
            store=self.store,
            sink=self,
            clock=self.clock,
            chance=lambda: 0.5,
            period=100.0,
            missed=self.missed.append,
        )

    def upsert(self, key: ObjectKey, item: Object, *, initial: bool) -> None:
        assert not initial
        self.told.append(f"upsert {key.name}")
        self.store.put(key, item)

    def delete(self, key: ObjectKey) -> None:
        self.told.append(f"delete {key.name}")
        self.store.remove(key)

    def make(self, name: str, *, namespace: str = "n", seen: bool = True, **spec: Any) -> None:
        """Apply an app; the watch brings it, unless it is not `seen`."""
        body: Object = {"metadata": {"name": name, "namespace": namespace}, "spec": spec}
        item = self.kubernetes.user_apply(PAAS_APPS, body)
        if seen:
            self.store.put(key(name, namespace), {**item, "metadata": dict(item["metadata"])})

    async def compare(self, resource: Resource = PAAS_APPS, *, meanwhile: Callable[[], None] = lambda: None) -> int:
        """One comparison; `meanwhile` happens while a difference gets its moment to go away by itself."""
        comparing = asyncio.create_task(self.resync.compare(resource))
        await self.clock.advance(1)
        meanwhile()
        await self.clock.advance(60)
        return await comparing

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.resync.run())
        await self.clock.advance(0)
        try:
            yield
        finally:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


async def test_nothing_is_asked_for_when_list_and_store_agree() -> None:
    room = Room()
    room.make("a")
    assert await room.compare() == 0
    assert room.told == []


async def test_a_lost_creation_change_and_deletion_are_brought_in() -> None:
    room = Room()
    room.make("old", instances=1)
    room.make("gone")
    room.make("old", instances=2, seen=False)
    room.make("new", seen=False)
    room.kubernetes.user_delete(PAAS_APPS, "n", "gone")
    assert await room.compare() == 3
    assert sorted(room.told) == ["delete gone", "upsert new", "upsert old"]
    assert sorted(room.missed) == [key("gone"), key("new"), key("old")]
    assert room.store.get(key("old")) == room.kubernetes.all(PAAS_APPS)[1]
    assert await room.compare() == 0


async def test_an_object_made_anew_under_its_name_is_brought_in() -> None:
    room = Room()
    room.make("a")
    room.kubernetes.user_delete(PAAS_APPS, "n", "a")
    room.make("a", seen=False)
    assert await room.compare() == 1
    known = room.store.get(key("a"))
    assert known is not None
    assert known["metadata"]["uid"] == room.kubernetes.all(PAAS_APPS)[0]["metadata"]["uid"]


async def test_what_the_watch_brings_a_moment_later_was_not_missed() -> None:
    room = Room()
    room.make("a", seen=False)
    room.make("b")
    room.kubernetes.user_delete(PAAS_APPS, "n", "b")

    def arrive() -> None:
        room.store.put(key("a"), room.kubernetes.all(PAAS_APPS)[0])
        room.store.remove(key("b"))

    assert await room.compare(meanwhile=arrive) == 0
    assert (room.told, room.missed) == ([], [])


async def test_a_list_with_holes_deletes_nothing() -> None:
    room = Room()
    for name in "abc":
        room.make(name)
    room.kubernetes.hidden = set("abc")
    assert await room.compare() == 0
    assert room.store.count("PaasApp") == 3


async def test_a_list_without_a_usable_version_deletes_nothing_that_is_there() -> None:
    room = Room()
    room.make("a")
    room.kubernetes.hidden, room.kubernetes.version = {"a"}, "not-a-number"
    assert await room.compare() == 0
    room.kubernetes.user_delete(PAAS_APPS, "n", "a")
    assert await room.compare() == 1


async def test_only_the_chosen_namespaces_are_listed() -> None:
    room = Room("n")
    room.make("mine", seen=False)
    room.make("foreign", namespace="other", seen=False)
    room.store.put(key("stray", "other"), {"metadata": {"name": "stray", "namespace": "other", "uid": "u", "resourceVersion": "1"}})
    assert await room.compare() == 1
    assert room.told == ["upsert mine"]


async def test_a_cluster_scoped_kind_is_listed_once_whatever_the_namespaces() -> None:
    room = Room("n", "m", resources=(MESOS_CLUSTERS,))
    room.kubernetes.user_apply(MESOS_CLUSTERS, {"metadata": {"name": "bj1"}, "spec": {}})
    assert await room.compare(MESOS_CLUSTERS) == 1
    assert room.told == ["upsert bj1"]


async def test_it_compares_every_period_and_a_failed_list_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    room = Room()
    room.make("a")
    room.kubernetes.user_delete(PAAS_APPS, "n", "a")
    room.kubernetes.fail("list", "paasapps", Unreachable("no answer"))
    async with room.running():
        await room.clock.advance(99)
        assert room.told == []
        await room.clock.advance(2)
        assert "list and diff of paasapps: no answer" in caplog.text
        assert room.store.count("PaasApp") == 1
        await room.clock.advance(120)
        assert room.told == ["delete a"]
        assert "the watch has missed a change of PaasApp/n/a" in caplog.text


async def test_one_kind_that_may_not_be_listed_does_not_hold_up_the_others(caplog: pytest.LogCaptureFixture) -> None:
    room = Room(resources=(MESOS_CLUSTERS, PAAS_APPS))
    room.make("a", seen=False)
    room.kubernetes.fail("list", "mesosclusters", Denied("forbidden"))
    with caplog.at_level(logging.WARNING):
        async with room.running():
            await room.clock.advance(150)
    assert room.told == ["upsert a"]
    assert "list and diff of mesosclusters: forbidden" in caplog.text

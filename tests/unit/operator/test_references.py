"""Watches of Secrets and ConfigMaps by name, and by namespace where many are wanted, on an API server in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from shuren.clients.fakes.clock import ManualClock
from shuren.clients.fakes.kubernetes import FakeKubernetes
from shuren.domain.errors import Denied, Unreachable
from shuren.domain.identity import ObjectKey
from shuren.operator.references import ReferenceWatch
from shuren.ports.kubernetes import CONFIG_MAPS, SECRETS, Object, Page, Resource


def app(name: str) -> ObjectKey:
    return ObjectKey(kind="PaasApp", namespace="n", name=name)


def secret(name: str) -> ObjectKey:
    return ObjectKey(kind="Secret", namespace="n", name=name)


A, B = app("a"), app("b")


class Narrow(FakeKubernetes):
    """An API server that may refuse lists of a whole namespace, as a Role with resourceNames does."""

    def __init__(self) -> None:
        super().__init__()
        self.names_only = False
        self.lists: list[str] = []

    async def list(
        self, resource: Resource, *, namespace: str = "", name: str = "", label_selector: str = "", metadata_only: bool = False
    ) -> Page:
        self.lists.append(f"{namespace}/{name or '*'}")
        if self.names_only and not name:
            raise Denied(f'{resource.plural} is forbidden in the namespace "{namespace}"')
        return await super().list(resource, namespace=namespace, name=name, label_selector=label_selector, metadata_only=metadata_only)


class Room:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.kubernetes = Narrow()
        self.told: list[str] = []
        self.watch = ReferenceWatch(
            kubernetes=self.kubernetes, clock=self.clock, changed=lambda key: self.told.append(key.name), chance=lambda: 0.0
        )

    def put(self, name: str, value: str = "1", *, resource: Resource = SECRETS) -> None:
        self.kubernetes.user_apply(resource, {"metadata": {"name": name, "namespace": "n"}, "data": {"k": value}})

    def require(self, owner: ObjectKey, *names: str) -> dict[str, str | None] | None:
        """The values that are known, by name."""
        found = self.watch.require(owner, frozenset(secret(name) for name in names))
        return None if found is None else {key.name: None if item is None else _value(item) for key, item in found.items()}

    async def settle(self) -> None:
        for _ in range(60):
            await asyncio.sleep(0)

    async def heard(self) -> list[str]:
        """Owners that were told since the last look."""
        await self.settle()
        told, self.told = self.told, []
        return told


def _value(item: Object) -> str:
    return str(item["data"]["k"])


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    made = Room()
    yield made
    await made.watch.close()


async def test_the_first_answer_comes_with_a_signal_and_then_every_change_does(room: Room) -> None:
    room.put("s")
    assert room.require(A, "s") is None
    assert await room.heard() == ["a"]
    assert room.require(A, "s") == {"s": "1"}
    room.put("s", "2")
    assert await room.heard() == ["a"]
    assert room.require(A, "s") == {"s": "2"}
    room.kubernetes.user_delete(SECRETS, "n", "s")
    assert await room.heard() == ["a"]
    assert room.require(A, "s") == {"s": None}


async def test_what_does_not_exist_is_known_to_be_missing_until_it_appears(room: Room) -> None:
    assert room.require(A, "later") is None
    assert await room.heard() == ["a"]
    assert room.require(A, "later") == {"later": None}
    room.put("later")
    assert await room.heard() == ["a"]
    assert room.require(A, "later") == {"later": "1"}


async def test_two_owners_share_one_watch_and_both_hear_of_it(room: Room) -> None:
    room.put("s")
    room.require(A, "s")
    await room.heard()
    assert room.require(B, "s") == {"s": "1"}
    assert room.watch.streams == 1
    room.put("s", "2")
    assert await room.heard() == ["a", "b"]
    assert room.require(A) == {}
    assert room.watch.streams == 1
    room.put("s", "3")
    assert await room.heard() == ["b"]
    room.require(B)
    room.require(B)
    await room.settle()
    assert room.watch.streams == 0


async def test_kinds_are_watched_apart(room: Room) -> None:
    room.put("x", "secret")
    room.put("x", "map", resource=CONFIG_MAPS)
    wanted = frozenset({secret("x"), ObjectKey(kind="ConfigMap", namespace="n", name="x")})
    assert room.watch.require(A, wanted) is None
    await room.settle()
    found = room.watch.require(A, wanted)
    assert found is not None
    assert sorted(_value(item) for item in found.values() if item is not None) == ["map", "secret"]


async def test_many_of_one_namespace_become_one_watch(room: Room) -> None:
    names = [f"s{n}" for n in range(20)]
    for name in names:
        room.put(name)
    room.require(A, *names)
    await room.settle()
    assert room.require(A, *names) == dict.fromkeys(names, "1")
    assert room.watch.streams == 1
    room.told.clear()
    room.put("s7", "2")
    room.put("nobody-wants-it")
    assert await room.heard() == ["a"]
    room.kubernetes.user_delete(SECRETS, "n", "s7")
    assert await room.heard() == ["a"]
    assert (room.require(A, *names) or {})["s7"] is None
    room.require(A, "s0")
    assert room.watch.streams == 1, "the watch of the namespace still speaks for it"
    room.require(A)
    assert room.watch.streams == 0


async def test_a_change_between_the_single_watches_and_that_of_the_namespace_is_not_lost(room: Room) -> None:
    names = [f"s{n}" for n in range(20)]
    room.require(A, *names[:10])
    await room.settle()
    room.put("s3")
    room.require(A, *names)
    room.put("s4")
    await room.settle()
    found = room.require(A, *names) or {}
    assert (found["s3"], found["s4"], found["s5"]) == ("1", "1", None)


async def test_without_the_right_to_list_the_namespace_each_stays_with_its_name(room: Room) -> None:
    room.kubernetes.names_only = True
    names = [f"s{n}" for n in range(20)]
    for name in names:
        room.put(name)
    room.require(A, *names)
    await room.settle()
    assert room.require(A, *names) == dict.fromkeys(names, "1")
    assert room.watch.streams == 20
    room.kubernetes.lists.clear()
    room.require(A, *names, "one-more")
    await room.settle()
    assert room.kubernetes.lists == ["n/one-more"], "the namespace is not asked for again"


async def test_an_api_server_that_is_away_is_waited_for(room: Room) -> None:
    room.put("s")
    room.kubernetes.fail("list", "secrets", Unreachable("no answer"))
    assert room.require(A, "s") is None
    assert await room.heard() == []
    assert room.require(A, "s") is None
    await room.clock.advance(30)
    assert await room.heard() == ["a"]
    assert room.require(A, "s") == {"s": "1"}


async def test_values_that_were_read_stay_while_the_right_to_read_them_is_gone(room: Room) -> None:
    room.put("s")
    room.require(A, "s")
    await room.settle()
    room.kubernetes.fail("watch", "secrets", Denied("forbidden"), times=3)
    room.put("s", "2")
    await room.settle()
    assert room.require(A, "s") == {"s": "1"}
    await room.clock.advance(120)
    await room.settle()
    assert room.require(A, "s") == {"s": "2"}


async def test_after_the_end_nothing_is_watched(room: Room) -> None:
    room.require(A, "s")
    await room.watch.close()
    assert room.watch.streams == 0
    room.put("s")
    assert await room.heard() == []

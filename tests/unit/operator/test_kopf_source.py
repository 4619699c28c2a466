"""What is ours around kopf: its settings, what its events become, and how the end of its first list is told."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import kopf
import pytest

from eventsource_world import KINDS, Recording
from shuren.clients.fakes.clock import ManualClock
from shuren.clients.fakes.kubernetes import FakeKubernetes
from shuren.clients.kubernetes.config import Access
from shuren.domain.errors import Unreachable
from shuren.domain.identity import ObjectKey
from shuren.operator.kopf_source import Arrivals, Connections, configure, declare, deliver
from shuren.ports.kubernetes import MESOS_CLUSTERS, PAAS_APPS, Object, Resource
from tls_room import Certificates, answering, serving


def key(name: str, namespace: str = "n") -> ObjectKey:
    return ObjectKey(kind="PaasApp", namespace=namespace, name=name)


def item(name: str, namespace: str = "n") -> Object:
    return {"metadata": {"name": name, "namespace": namespace, "uid": name, "resourceVersion": "1"}}


class Room:
    """An API server with apps, and arrivals that have not come yet."""

    def __init__(self, *apps: str, namespaces: tuple[str, ...] = ()) -> None:
        self.clock = ManualClock()
        self.kubernetes = FakeKubernetes()
        for name in apps:
            self.kubernetes.user_apply(PAAS_APPS, {"metadata": {"name": name, "namespace": "n"}})
        self.arrivals = Arrivals(kubernetes=self.kubernetes, resources=KINDS, namespaces=namespaces, clock=self.clock)

    def complete(self) -> bool:
        return self.arrivals.complete

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.arrivals.watch())
        await self.clock.advance(0)
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_nothing_to_come_is_complete_at_once() -> None:
    room = Room()
    async with room.watching():
        assert room.complete()


async def test_it_is_complete_when_all_that_was_listed_has_come_in_any_order() -> None:
    room = Room("a", "b", "c")
    room.arrivals.came(key("b"))
    async with room.watching():
        room.arrivals.came(key("a"))
        room.arrivals.came(key("stranger"))
        assert not room.complete()
        room.arrivals.came(key("c"))
        assert room.complete()
        room.arrivals.came(key("d"))
        assert room.complete()


async def test_what_was_deleted_before_kopf_looked_is_not_waited_for_for_ever() -> None:
    room = Room("a", "gone")
    async with room.watching():
        room.arrivals.came(key("a"))
        room.kubernetes.user_delete(PAAS_APPS, "n", "gone")
        await room.clock.advance(3)
        assert not room.complete()
        await room.clock.advance(5)
        assert room.complete()


async def test_a_list_that_fails_is_asked_for_again(caplog: pytest.LogCaptureFixture) -> None:
    room = Room()
    room.kubernetes.fail("list", "paasapps", Unreachable("no answer"))
    async with room.watching():
        assert not room.complete()
        assert "waiting for the first list: no answer" in caplog.text
        await room.clock.advance(1)
        assert room.complete()


async def test_only_the_chosen_namespaces_are_waited_for() -> None:
    room = Room("a", namespaces=("other",))
    async with room.watching():
        assert room.complete()


async def test_events_become_calls_of_the_sink() -> None:
    room, sink = Room("a"), Recording()
    async with room.watching():
        deliver(sink, room.arrivals, PAAS_APPS, "", item("a"))
        deliver(sink, room.arrivals, PAAS_APPS, "", item("b"))
        deliver(sink, room.arrivals, PAAS_APPS, "MODIFIED", item("b"))
        deliver(sink, room.arrivals, PAAS_APPS, "DELETED", item("a"))
        deliver(sink, room.arrivals, MESOS_CLUSTERS, "ADDED", {"metadata": {"name": "bj1", "uid": "x", "resourceVersion": "1"}})
    assert sink.calls == [
        ("initial", key("a")),
        ("upsert", key("b")),  # a list after everything had come: news like any other
        ("upsert", key("b")),
        ("delete", key("a")),
        ("upsert", ObjectKey(kind="MesosCluster", namespace="", name="bj1")),
    ]


async def test_handlers_only_forward_copies() -> None:
    registry = kopf.OperatorRegistry()
    forwarded: list[tuple[Resource, str, Object]] = []
    access = Access(server="http://127.0.0.1:9", context=ssl.create_default_context(), token=lambda: "", namespace="n")
    declare(registry, KINDS, forward=lambda *event: forwarded.append(event), access=lambda: access)
    handlers = list(registry._watching.get_all_handlers())
    assert [handler.selector.any_name for handler in handlers if handler.selector] == ["mesosclusters", "paasapps"]
    assert not registry._changing.get_all_handlers(), "anything else would write to every object"
    assert not registry._spawning.get_all_handlers()
    given = item("a")
    function: Any = handlers[1].fn
    await function(event={"type": None, "object": given}, memo=None)
    await function(event={"type": "DELETED", "object": given})
    assert [(resource, change) for resource, change, _ in forwarded] == [(PAAS_APPS, ""), (PAAS_APPS, "DELETED")]
    assert forwarded[0][2] == given
    forwarded[0][2]["metadata"]["name"] = "changed"
    assert given["metadata"]["name"] == "a"


async def test_kopf_talks_to_our_server_with_our_token_of_the_moment() -> None:
    seen: list[str] = []
    tokens = iter(["first", "second", ""])
    async with serving(answering({"items": []}, seen), None) as port:
        server = f"http://127.0.0.1:{port}"
        access = Access(server=server, context=ssl.create_default_context(), token=lambda: next(tokens), namespace="ours")
        registry = kopf.OperatorRegistry()
        declare(registry, KINDS, forward=lambda *_: None, access=lambda: access)
        (login,) = registry._activities.get_all_handlers()
        function: Any = login.fn
        session = await function()
        assert (session.server, session.default_namespace) == (server, "ours")
        async with session.aiohttp_session as http:
            for _ in range(3):
                async with http.get(f"{server}/api"):
                    pass
    sent = [next((line for line in head.split("\r\n") if line.startswith("Authorization:")), "") for head in seen]
    assert sent == ["Authorization: Bearer first", "Authorization: Bearer second", ""]


async def test_the_end_of_a_watch_that_was_let_go_is_waited_for(tmp_path: Path) -> None:
    certificates, connections, registry = Certificates(tmp_path), Connections(), kopf.OperatorRegistry()

    async def watch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{")
        await reader.read()

    async with serving(watch, certificates.server_context()) as port:
        server, context = f"https://127.0.0.1:{port}", ssl.create_default_context(cadata=certificates.ca.decode())
        access = Access(server=server, context=context, token=lambda: "", namespace="ours")
        declare(registry, KINDS, forward=lambda *_: None, access=lambda: access, connections=connections)
        (login,) = registry._activities.get_all_handlers()
        function: Any = login.fn
        session = await function()
        assert await connections.closed(0), "nothing was opened yet"
        async with session.aiohttp_session as http:
            response = await http.get(f"{server}/api")
            response.close()
        assert not await connections.closed(0), "the TLS session of what was let go has not ended yet"
        assert await connections.closed()


def test_kopf_is_kept_from_everything_that_is_ours() -> None:
    settings = kopf.OperatorSettings()
    configure(settings)
    assert not settings.posting.enabled
    assert settings.peering.standalone
    assert settings.scanning.disabled
    assert settings.queueing.worker_limit is None
    assert settings.persistence.finalizer.startswith("paas.shurenyun.com/")
    backoffs = settings.networking.error_backoffs
    assert not isinstance(backoffs, (int, float))
    assert max(itertools.islice(backoffs, 1000)) == 5, "an API server that is away for hours does not end the process"
    assert settings.watching.inactivity_timeout > 62, "bookmarks come every minute: less would cut healthy watches"

"""The composition root: real parts put together, an API server that answers from a script or not at all."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

import shuren
from shuren.clients.clock import SystemClock
from shuren.clients.fakes.clock import ManualClock
from shuren.clients.kubernetes.config import Access
from shuren.domain.errors import Invalid, ShurenError
from shuren.domain.identity import ObjectKey
from shuren.operator import run
from shuren.operator.application import Application, Surroundings
from shuren.operator.kopf_source import KopfSource
from shuren.operator.native_source import NativeSource
from shuren.operator.settings import EventSourceKind, Settings
from shuren.ports.clock import Clock
from shuren.ports.leadership import VERSION_ANNOTATION
from shuren.ports.source import EventSource, Sink
from shuren.runtime.queue import Priority
from tls_room import answering, serving

APP = ObjectKey(kind="PaasApp", namespace="shop", name="web")
OTHER = ObjectKey(kind="PaasApp", namespace="shop", name="other")
CLUSTER = ObjectKey(kind="MesosCluster", namespace="", name="bj1")


@dataclass
class Handed:
    """A source that has delivered everything at once."""

    sink: Sink
    fails: Exception | None = None
    all_there: bool = True
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        self.begun.set()
        if self.fails is not None:
            raise self.fails
        await asyncio.Event().wait()

    def synced(self) -> bool:
        return self.all_there


def make(*, clock: Clock | None = None, fails: Exception | None = None, native: bool | None = None, **settings: Any) -> Application:
    """An application whose API server is not there; `native` chooses one of the real sources."""
    kind = EventSourceKind.NATIVE if native else EventSourceKind.KOPF
    return Application(
        settings=Settings(identity="me", metrics_port=settings.pop("metrics_port", 0), event_source=kind, **settings),
        surroundings=Surroundings(
            access=Access(server="http://127.0.0.1:9", context=ssl.create_default_context(), token=lambda: ""),
            clock=clock or SystemClock(),
            installation="test",
        ),
        make_source=None if native is not None else lambda sink: Handed(sink, fails=fails),
    )


@asynccontextmanager
async def made(**options: Any) -> AsyncIterator[Application]:
    """One that is not run; its connections end with the test."""
    application = make(**options)
    try:
        yield application
    finally:
        await application._shut_down(())


def put(application: Application, key: ObjectKey, **content: Any) -> None:
    metadata = {"name": key.name, "namespace": key.namespace, "uid": f"uid-{key.name}", "resourceVersion": "1", "generation": 3}
    application.store.put(key, {"metadata": metadata, **content})


def waiting(application: Application) -> dict[str, int]:
    """Keys that wait, by name, with their priority."""
    application.queue.resume()
    found: dict[str, int] = {}
    while (taken := application.queue.take_now()) is not None:
        found[taken.key.name] = taken.priority
        application.queue.done(taken.key)
    application.queue.pause()
    return found


async def test_the_settings_choose_the_source() -> None:
    kinds: list[type[EventSource]] = []
    for native in (True, False):
        async with made(native=native) as application:
            kinds.append(type(application.source))
    assert kinds == [NativeSource, KopfSource]


async def test_namespaces_and_revisions_are_watched_in_the_chosen_namespaces_only() -> None:
    async with made() as application:
        assert [(r._resource.plural, r._namespace, r._name) for r in application.beside] == [
            ("namespaces", "", ""),
            ("controllerrevisions", "", ""),
            ("services", "", ""),
            ("endpointslices", "", ""),
        ]
    async with made(namespaces=("a", "b")) as application:
        assert [(r._resource.plural, r._namespace, r._name) for r in application.beside] == [
            ("namespaces", "", "a"),
            ("namespaces", "", "b"),
            ("controllerrevisions", "a", ""),
            ("controllerrevisions", "b", ""),
            ("services", "a", ""),
            ("services", "b", ""),
            ("endpointslices", "a", ""),
            ("endpointslices", "b", ""),
        ]


async def test_a_new_leader_passes_everything_those_without_status_first() -> None:
    async with made() as application:
        put(application, APP, status={})
        put(application, OTHER)
        put(application, CLUSTER, status={})
        application._start_leading()
        assert waiting(application) == {"web": Priority.RESYNC, "other": Priority.USER, "bj1": Priority.RESYNC}


@pytest.mark.parametrize(("version", "trusted"), [(shuren.__version__, True), ("0.0.0-other", False), (None, False)])
async def test_a_new_leader_trusts_statuses_of_its_own_release_only(version: str | None, trusted: bool) -> None:  # noqa: FBT001 - a table
    async with made() as application:
        application.election.found = {} if version is None else {VERSION_ANNOTATION: version}
        application._start_leading()
        assert application.apps._trusting is trusted


async def test_a_new_leader_does_not_pass_apps_whose_cluster_it_has_not_read_yet() -> None:
    clock = ManualClock()
    async with made(clock=clock) as application:
        put(application, CLUSTER, status={})
        put(application, APP, spec={"clusterRef": {"name": "bj1"}}, status={})
        put(application, OTHER, spec={"clusterRef": {"name": "nowhere"}}, status={})
        application.queue.add(APP, priority=Priority.USER)  # as a standby gathers it
        application._start_leading()
        assert waiting(application) == {"bj1": Priority.RESYNC, "other": Priority.RESYNC}
        application.all_changed("bj1")
        assert waiting(application) == {"web": Priority.RESYNC}
        application._start_leading()
        waiting(application)
        clock.shift(5)
        assert waiting(application) == {"web": Priority.RESYNC}, "a cluster that cannot be read is told all the same"


async def test_news_of_a_cluster_reach_those_they_concern() -> None:
    async with made() as application:
        put(application, APP, spec={"clusterRef": {"name": "bj1"}})
        put(application, OTHER, spec={"clusterRef": {"name": "sh2"}})
        application.apps_changed("bj1", frozenset({"/shop/web", "/foreign"}))
        assert waiting(application) == {"web": Priority.EXTERNAL}
        application.all_changed("bj1")
        assert waiting(application) == {"web": Priority.RESYNC}
        application.cluster_changed("bj1")
        assert waiting(application) == {"bj1": Priority.EXTERNAL}
        application.apps_changed("bj1", frozenset({"/foreign"}))
        assert waiting(application) == {}


async def test_an_outage_is_told_to_apps_one_after_the_other() -> None:
    async with made() as application:
        for number in range(2000):
            key = ObjectKey(kind="PaasApp", namespace="shop", name=f"a{number:04}")
            put(application, key, spec={"clusterRef": {"name": "bj1"}})
        application.reachability_changed("bj1")
        at_once = waiting(application)
        assert len(at_once) < 1000, "they come over ten seconds"
        assert set(at_once.values()) <= {Priority.RESYNC}
        application.all_changed("bj1")
        assert len(waiting(application)) == 2000


async def test_a_status_of_a_cluster_is_news_for_people_only() -> None:
    async with made() as application:
        put(application, APP, spec={"clusterRef": {"name": "bj1"}})
        item: dict[str, Any] = {"metadata": {"name": "bj1"}}
        assert set(application._related(CLUSTER, item, True)) == set()
        assert set(application._related(CLUSTER, item, False)) == {APP}


async def test_log_lines_of_a_pass_carry_the_generation_in_the_store() -> None:
    async with made() as application:
        put(application, APP)
        assert application._generation(APP) == 3
        assert application._generation(OTHER) == 0


async def test_alive_means_that_the_election_goes_round_once_it_has_begun() -> None:
    clock = ManualClock()
    async with made(clock=clock) as application:
        clock.shift(1000)
        assert application.why_not_alive() == ""
        application._electing = True
        assert application.why_not_alive() == "the election has not gone round for 1000 s"
        application.election.heartbeat = clock.monotonic()
        assert application.why_not_alive() == ""


async def test_ready_waits_for_every_watch_but_not_for_those_that_are_forbidden() -> None:
    async with made() as application:
        source = application.source
        assert isinstance(source, Handed)
        source.all_there = False
        assert application.why_not_ready() == "the first list of our kinds is not complete"
        source.all_there = True
        assert application.why_not_ready().startswith("4 watches have not delivered yet")
        application.stop()
        assert application.why_not_ready() == "shutting down"


async def test_it_runs_until_it_is_stopped_and_ends_in_order() -> None:
    application = make()
    running = asyncio.create_task(application.run())
    source = application.source
    assert isinstance(source, Handed)
    async with asyncio.timeout(30):
        await source.begun.wait()
        application.stop()
        await running
    assert application.asked_to_stop


async def test_a_part_that_fails_ends_the_process_with_its_error(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(ShurenError):
        pass

    with pytest.raises(Broken, match="the watch is broken"):
        async with asyncio.timeout(30):
            await make(fails=Broken("the watch is broken")).run()
    assert "source has ended" in caplog.text


async def test_a_port_that_is_taken_is_told_before_anything_starts() -> None:
    async with serving(answering({}), None) as port:
        with pytest.raises(Invalid, match="SHUREN_METRICS_PORT"):
            await make(metrics_port=port, metrics_address="127.0.0.1").run()


# ---------------------------------------------------------------------------------------------------- the program


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"SHUREN_WORKERS": "none"}, "SHUREN_WORKERS must be a whole number from 1 to 10000, not 'none'\n"),
        ({"KUBECONFIG": "/nowhere/config"}, "/nowhere/config"),
    ],
)
def test_what_cannot_work_is_said_in_one_line_and_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kept_loggers: None, environment: dict[str, str], says: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert run() == 1
    printed = capsys.readouterr().err
    assert says in printed
    assert len(printed.splitlines()) == 1


def test_arguments_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--verbose"]) == 2
    assert "its settings come from the environment: --verbose" in capsys.readouterr().err

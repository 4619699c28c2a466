from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from shuren.clients.fakes.clock import ManualClock
from shuren.clients.fakes.kubernetes import FakeKubernetes
from shuren.clients.kubernetes.events import Recorder
from shuren.domain.errors import Denied, Unreachable
from shuren.ports.events import Severity
from shuren.ports.kubernetes import EVENTS, MESOS_CLUSTERS, PAAS_APPS, Object, Resource


class Rig:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.kubernetes = FakeKubernetes()
        self.recorder = Recorder(kubernetes=self.kubernetes, clock=self.clock, instance="me")
        self.app = self.thing(PAAS_APPS, namespace="n", name="a")

    def thing(self, resource: Resource, **metadata: str) -> Object:
        return self.kubernetes.user_apply(resource, {"metadata": metadata})

    async def record(self, note: str = "it broke", *, about: Object | None = None) -> None:
        self.recorder.record(about or self.app, severity=Severity.WARNING, reason="Broken", action="Deploy", note=note)
        await self.settle()

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    def events(self) -> list[Object]:
        return self.kubernetes.all(EVENTS)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    task = asyncio.create_task(made.recorder.run())
    yield made
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_event_names_what_it_is_about(rig: Rig) -> None:
    await rig.record()
    (event,) = rig.events()
    assert event["metadata"]["namespace"] == "n"
    assert event["metadata"]["name"].startswith("a.")
    assert event["regarding"] == {
        "apiVersion": "paas.shurenyun.com/v1alpha1",
        "kind": "PaasApp",
        "namespace": "n",
        "name": "a",
        "uid": rig.app["metadata"]["uid"],
    }
    assert (event["type"], event["reason"], event["action"], event["note"]) == ("Warning", "Broken", "Deploy", "it broke")
    assert event["eventTime"] == "2026-01-01T00:00:00.000000Z"
    assert event["reportingInstance"] == "me"
    assert "series" not in event


async def test_repeats_become_a_series_that_is_written_now_and_then(rig: Rig) -> None:
    for _ in range(10):
        await rig.record()
        rig.clock.shift(10)
    (event,) = rig.events()
    assert event["series"] == {"count": 8, "lastObservedTime": "2026-01-01T00:01:10.000000Z"}
    assert rig.kubernetes.writes == 3  # the event, the first repeat, one refresh after a minute


async def test_another_note_is_another_event(rig: Rig) -> None:
    await rig.record("one")
    await rig.record("two")
    assert sorted(e["note"] for e in rig.events()) == ["one", "two"]


async def test_after_ten_quiet_minutes_a_new_event_begins(rig: Rig) -> None:
    await rig.record()
    rig.clock.shift(601)
    await rig.record()
    assert len(rig.events()) == 2
    assert all("series" not in e for e in rig.events())


async def test_an_event_the_server_has_forgotten_begins_anew(rig: Rig) -> None:
    await rig.record()
    (event,) = rig.events()
    rig.kubernetes.user_delete(EVENTS, "n", event["metadata"]["name"])
    rig.clock.shift(1)
    await rig.record()
    assert len(rig.events()) == 1


async def test_events_about_cluster_wide_objects_lie_in_default(rig: Rig) -> None:
    await rig.record(about=rig.thing(MESOS_CLUSTERS, name="c"))
    assert [e["metadata"]["namespace"] for e in rig.events()] == ["default"]


async def test_long_names_and_notes_are_cut_to_what_the_server_takes(rig: Rig) -> None:
    await rig.record("é" * 2000, about=rig.thing(PAAS_APPS, namespace="n", name="x" * 253))
    (event,) = rig.events()
    assert len(event["metadata"]["name"]) <= 253
    assert len(event["note"].encode()) <= 1024
    assert event["note"].endswith("é…")


async def test_missing_rights_are_said_once(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.kubernetes.fail("create", "events", Denied("events is forbidden"), times=2)
    await rig.record("one")
    await rig.record("two")
    await rig.record("three")
    assert caplog.text.count("needed: create, patch on events.events.k8s.io") == 1
    assert [e["note"] for e in rig.events()] == ["three"]


async def test_an_event_that_cannot_be_written_hinders_no_other(rig: Rig) -> None:
    rig.kubernetes.fail("create", "events", Unreachable("gone"))
    await rig.record("one")
    await rig.record("two")
    assert [e["note"] for e in rig.events()] == ["two"]


async def test_a_flood_is_dropped_and_counted_and_series_are_not_kept_for_ever() -> None:
    rig = Rig()
    for number in range(1005):
        rig.recorder.record(rig.app, severity=Severity.NORMAL, reason="R", action="A", note=str(number))
    assert rig.recorder.dropped == 5
    task = asyncio.create_task(rig.recorder.run())
    await rig.settle()
    for _ in range(50):
        await rig.settle()
    assert len(rig.events()) in {100, 101}  # then so many a second
    await rig.clock.advance(1)
    assert len(rig.events()) in {150, 151}
    await rig.clock.advance(30)
    assert len(rig.events()) == 1000
    rig.clock.shift(1000)
    await rig.record("last")
    assert len(rig.recorder._series) == 1
    task.cancel()

"""Clock, ids, event bus, back-off, environment, metrics: the small parts."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_room import Room
from shuren.sandbox.engine import about
from shuren.sandbox.engine.backoff import Backoff
from shuren.sandbox.engine.clock import RealClock, VirtualClock, seconds, stamp
from shuren.sandbox.engine.events import EventBus
from shuren.sandbox.engine.ids import instance_of, new_instance_id, parent, task_id, task_name

APP: dict[str, Any] = {"id": "/shop/web", "version": "2026-01-01T00:00:00.000Z", "cpus": 0.1, "mem": 128.0, "disk": 0.0, "gpus": 0}


@given(st.integers(0, 4_000_000_000_000))
def test_timestamps_go_there_and_back(millis: int) -> None:
    assert stamp(seconds(stamp(millis / 1000))) == stamp(millis / 1000)


@given(st.lists(st.sampled_from(["a", "b-c", "d0"]), min_size=1, max_size=4), st.integers(1, 99))
def test_task_ids_name_their_instance(path: list[str], attempt: int) -> None:
    app_id = "/" + "/".join(path)
    instance = new_instance_id(app_id)
    assert instance.startswith("_".join(path) + ".instance-")
    assert instance_of(task_id(instance, "_app", attempt)) == instance
    assert instance_of(instance) == instance
    assert task_name(app_id) == ".".join(reversed(path))
    assert parent(app_id) == ("/" + "/".join(path[:-1]))


def test_what_is_no_id() -> None:
    assert instance_of("foo") is None
    assert parent("/") == "/"


async def test_real_timers_run_in_order_and_can_be_cancelled() -> None:
    clock, seen, done = RealClock(), list[str](), asyncio.Event()
    clock.after(0.02, lambda: seen.append("second"))
    clock.after(0.0, lambda: seen.append("first"))
    clock.after(0.01, lambda: seen.append("never")).cancel()
    clock.after(0.03, done.set)
    await asyncio.wait_for(done.wait(), 5)
    clock.close()
    assert seen == ["first", "second"]


def test_virtual_timers_may_plant_timers() -> None:
    clock, seen = VirtualClock(), list[float]()
    start = clock.now()

    def tick() -> None:
        seen.append(clock.now() - start)
        clock.after(1, tick)

    clock.after(1, tick)
    clock.advance(3.5)
    assert seen == pytest.approx([1, 2, 3])


async def test_subscribers_get_what_they_asked_for() -> None:
    bus = EventBus(VirtualClock())
    everything, some = bus.subscribe(None, "1.2.3.4"), bus.subscribe(["wanted"], "5.6.7.8")
    bus.publish("other", {"x": 1})
    bus.publish("wanted", {"x": 2})
    assert [json.loads((await anext(everything))[1])["eventType"] for _ in range(4)] == [
        "event_stream_attached", "event_stream_attached", "other", "wanted",
    ]  # fmt: skip
    kind, text = await anext(some)
    assert (kind, json.loads(text)["x"]) == ("wanted", 2)
    await some.aclose()
    assert json.loads((await anext(everything))[1])["eventType"] == "event_stream_detached"
    bus.drop_all()
    with pytest.raises(StopAsyncIteration):
        await anext(everything)


async def test_an_event_wakes_a_waiting_consumer() -> None:
    bus = EventBus(VirtualClock())
    stream = bus.subscribe(["x"], "")
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    assert not waiting.done()
    bus.publish("x", {})
    assert (await waiting)[0] == "x"


def test_a_delay_is_forgotten_after_its_cap() -> None:
    clock = VirtualClock()
    backoff = Backoff(clock)
    app = {**APP, "backoffSeconds": 2, "backoffFactor": 3, "maxLaunchDelaySeconds": 10}
    for expected in (2, 6, 10, 10):
        assert backoff.failed(app) - clock.now() == expected
    clock.advance(15)
    backoff.advanced(app)
    assert backoff.until(app) - clock.now() == 10, "a launch begins the delay again"
    clock.advance(20.5)
    backoff.advanced(app)
    assert backoff.until(app) < clock.now(), "but not one that is forgotten"
    assert backoff.failed(app) - clock.now() == 2
    assert backoff.until({**app, "version": "2027-01-01T00:00:00.000Z"}) == 0
    other = {**app, "version": "2027-01-01T00:00:00.000Z"}
    backoff.failed(other)
    backoff.reset(app)
    assert backoff.until(app) == 0
    assert backoff.until(other) > clock.now()
    backoff.forget("/shop/web")
    assert backoff.until(other) == 0


async def test_metrics_count(room: Room) -> None:
    await room.settled("/g/a", instances=2)
    metrics = about.metrics(room.leading)
    gauges = {k: v["value"] for k, v in metrics["gauges"].items()}
    assert (gauges["marathon.apps.active.gauge"], gauges["marathon.groups.active.gauge"]) == (1, 2)
    assert gauges["marathon.instances.running.gauge"] == 2
    assert metrics["counters"]["marathon.mesos.task-updates.task-running.counter"]["count"] == 2


async def test_task_stats(room: Room) -> None:
    assert room.leading.task_stats("/none") == {}
    await room.settled("/a", instances=2)
    room.advance(10)
    stats = room.leading.task_stats("/a")
    assert set(stats) == {"startedAfterLastScaling", "withLatestConfig", "totalSummary"}
    assert stats["totalSummary"]["stats"]["counts"] == {"staged": 0, "running": 2, "healthy": 0, "unhealthy": 0}
    assert stats["totalSummary"]["stats"]["lifeTime"]["averageSeconds"] == pytest.approx(10, abs=1)

"""The process' HTTP endpoints on a real socket, and the watch over the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter

from engine_process import free_port
from shuren.clients.fakes.clock import ManualClock
from shuren.domain.errors import Invalid
from shuren.operator.endpoints import Endpoints
from shuren.operator.health import LoopWatch


class Room:
    def __init__(self) -> None:
        self.alive = self.ready = ""
        self.registry = CollectorRegistry()
        self.port = free_port()
        self.endpoints = Endpoints(registry=self.registry, alive=lambda: self.alive, ready=lambda: self.ready)

    async def get(self, path: str) -> tuple[int, str]:
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"http://127.0.0.1:{self.port}{path}")
            return answer.status_code, answer.text


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    made = Room()
    await made.endpoints.start("127.0.0.1", made.port)
    yield made
    await made.endpoints.stop()


async def test_alive_and_ready_are_two_questions(room: Room) -> None:
    assert await room.get("/healthz") == (200, "ok")
    assert await room.get("/readyz") == (200, "ok")
    room.ready = "the first list of our kinds is not complete"
    assert await room.get("/healthz") == (200, "ok")
    assert await room.get("/readyz") == (503, "the first list of our kinds is not complete")
    room.alive, room.ready = "the election has not gone round for 70 s", ""
    assert await room.get("/healthz") == (503, "the election has not gone round for 70 s")
    assert await room.get("/readyz") == (200, "ok")


async def test_metrics_are_served_as_prometheus_reads_them(room: Room) -> None:
    Counter("things", "Things", registry=room.registry).inc()
    status, text = await room.get("/metrics")
    assert status == 200
    assert "things_total 1.0" in text
    assert (await room.get("/"))[0] == 404


async def test_a_port_in_use_is_told_with_the_setting_to_change(room: Room) -> None:
    second = Endpoints(registry=room.registry, alive=str, ready=str)
    with pytest.raises(Invalid, match="SHUREN_METRICS_PORT"):
        await second.start("127.0.0.1", room.port)
    await second.stop()


async def test_stopping_what_never_started_is_nothing() -> None:
    await Room().endpoints.stop()


async def test_the_lag_of_the_loop_is_measured_again_and_again() -> None:
    clock = ManualClock()
    lags: list[float] = []
    watch = asyncio.create_task(LoopWatch(clock=clock, observe=lags.append).run())
    await clock.advance(0)
    clock.shift(2.0)
    await clock.advance(0)
    await clock.advance(0.5)
    assert lags == [1.5, 0.0]
    watch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watch

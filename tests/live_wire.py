"""A whole engine behind its HTTP room, without sockets and without waiting: simulated tasks on a clock that only the test moves."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

from aiohttp import web

from shuren.sandbox.agents.agent import AgentSpec
from shuren.sandbox.agents.registry import numbered
from shuren.sandbox.contract import Settings
from shuren.sandbox.engine.clock import Clock, VirtualClock
from shuren.sandbox.engine.events import Subscription
from shuren.sandbox.engine.leading import Leading
from shuren.sandbox.engine.live import Engine
from shuren.sandbox.http.app import build_app
from shuren.sandbox.runners.port import Runner
from shuren.sandbox.runners.simulated import SimulatedRunner
from wire import Reply, Wire

ADDRESS = "127.0.0.1:8080"
Json = dict[str, Any]


class Live:
    """`send` is one exchange, `advance` lets time pass, `events` are those since the last call."""

    def __init__(self, engine: Engine, wire: Wire, clock: VirtualClock, stream: Subscription) -> None:
        self.engine, self.wire, self.clock, self._stream = engine, wire, clock, stream

    @classmethod
    @contextlib.asynccontextmanager
    async def of(
        cls,
        directory: Path,
        *,
        agents: Iterable[AgentSpec] | None = None,
        settings: Settings | None = None,
        runner: Callable[[Clock], Runner] = SimulatedRunner,
    ) -> AsyncIterator[Live]:
        clock = VirtualClock()
        engine = Engine(
            directory=directory,
            address=ADDRESS,
            settings=settings or Settings(),
            runner=runner,
            agents=list(numbered(2) if agents is None else agents),
            clock=clock,
        )
        engine.bus.max_outstanding = 10**9
        stream = engine.bus.subscribe(None, "test")
        await engine.start()
        app: web.Application = build_app(engine, address=ADDRESS)
        app.middlewares.insert(0, engine.faults.middleware)
        async with Wire(app) as wire:
            try:
                yield cls(engine, wire, clock, stream)
            finally:
                await engine.close(kill_tasks=True)

    @property
    def leading(self) -> Leading:
        return self.engine.leading

    async def send(self, method: str, path: str, body: Any = None, *, headers: dict[str, str] | None = None) -> Reply:
        return await self.wire.send(method, path, body, headers=headers)

    async def waited(self, method: str, path: str, body: Any = None) -> Reply:
        """One exchange whose answer takes its time: meanwhile time passes, timer by timer."""
        asked = asyncio.ensure_future(self.send(method, path, body))
        async with asyncio.timeout(10):
            while not asked.done():
                await asyncio.sleep(0)
                self.clock.advance(0.005)
        return await asked

    async def get(self, path: str) -> Any:
        """The JSON of a read that must succeed."""
        reply = await self.wire.get(path)
        assert reply.status == 200, reply.body
        return reply.json

    async def put(self, app_id: str, *, query: str = "", **fields: Any) -> Json:
        """PUT of an app (`cmd`, `cpus` and `mem` are given when they are not named) that must succeed."""
        body = {"cmd": "sleep 1000", "cpus": 0.1, "mem": 32, **fields}
        reply = await self.wire.put(f"/v2/apps{app_id}{query}", body)
        assert reply.status in {200, 201}, reply.body
        answer: Json = reply.json
        return answer

    async def app(self, app_id: str, query: str = "") -> Json:
        found: Json = (await self.get(f"/v2/apps{app_id}{query}"))["app"]
        return found

    async def tasks(self, app_id: str) -> list[Json]:
        found: list[Json] = (await self.get(f"/v2/apps{app_id}/tasks"))["tasks"]
        return found

    def advance(self, seconds: float = 0.0) -> None:
        self.clock.advance(seconds)

    def settle(self, *, seconds: float = 120.0) -> None:
        """Lets time pass, timer by timer, until no deployment runs."""
        end = self.clock.now() + seconds
        while len(self.leading.deployments):
            due = self.clock.next_time()
            assert due is not None and due <= end, f"still deploying after {seconds} s: {self.leading.deployments.json()}"  # noqa: PT018
            self.clock.advance(max(0.0, due - self.clock.now()))

    async def settled(self, app_id: str, *, query: str = "", **fields: Any) -> Json:
        """PUT, and let time pass until no deployment runs."""
        answer = await self.put(app_id, query=query, **fields)
        self.settle()
        return answer

    def events(self) -> list[Json]:
        """All events since the last call."""
        found = [json.loads(text) for _, text in self._stream._waiting]
        self._stream._waiting.clear()
        return found

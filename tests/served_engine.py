"""An engine with its HTTP room inside the test's own loop, tasks simulated, on a free port."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp

from engine_process import free_port
from shuren.sandbox.agents.registry import numbered
from shuren.sandbox.contract import Settings
from shuren.sandbox.engine.clock import Clock
from shuren.sandbox.engine.live import Engine
from shuren.sandbox.http.app import build_app
from shuren.sandbox.http.call import StreamTiming
from shuren.sandbox.http.connection import listening
from shuren.sandbox.mesos.app import serve_mesos
from shuren.sandbox.runners.port import Runner
from shuren.sandbox.runners.simulated import SimulatedRunner


class Served:
    """`engine` behind `url`; `mesos` is the base of the Mesos API."""

    def __init__(self, engine: Engine, session: aiohttp.ClientSession, url: str, mesos: str) -> None:
        self.engine, self.session, self.url, self.mesos = engine, session, url, mesos

    @classmethod
    @contextlib.asynccontextmanager
    async def of(
        cls, directory: Path, *, agents: int = 2, streams: StreamTiming | None = None, runner: Callable[[Clock], Runner] = SimulatedRunner
    ) -> AsyncIterator[Served]:
        port, mesos_port = free_port(), free_port()
        address = f"127.0.0.1:{port}"
        engine = Engine(
            directory=directory, address=address, settings=Settings(), runner=runner, agents=numbered(agents),
            mesos_url=f"http://127.0.0.1:{mesos_port}/",
        )  # fmt: skip
        app = build_app(engine, address=address, streams=streams)
        app.middlewares.insert(0, engine.faults.middleware)
        async with listening(app, "127.0.0.1", port), aiohttp.ClientSession() as session:
            await engine.start()
            mesos = await serve_mesos(engine, "127.0.0.1", mesos_port)
            try:
                yield cls(engine, session, f"http://{address}", f"http://127.0.0.1:{mesos_port}")
            finally:
                await engine.close(kill_tasks=True)
                await mesos.cleanup()

    async def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        async with self.session.request(method, self.url + path, json=body) as answer:
            raw = await answer.read()
            return answer.status, raw.decode() if answer.content_type == "text/html" else json.loads(raw) if raw else None

    async def get(self, path: str) -> Any:
        status, body = await self.call("GET", path)
        assert status == 200, body
        return body

    async def put(self, app_id: str, **fields: Any) -> None:
        status, body = await self.call("PUT", f"/v2/apps{app_id}", {"cmd": "sleep 1000", "cpus": 0.1, "mem": 32, **fields})
        assert status in {200, 201}, body

    async def running(self, app_id: str, count: int) -> None:
        async def there() -> bool:
            return bool((await self.get(f"/v2/apps{app_id}"))["app"]["tasksRunning"] == count)

        await until(there)

    async def ask_mesos(self, path: str, **options: Any) -> Any:
        async with self.session.request(options.pop("method", "GET"), self.mesos + path, **options) as answer:
            return await answer.json(content_type=None)


async def until(question: Callable[[], Any], *, seconds: float = 15.0) -> None:
    """Asks (a function or a coroutine function) until the answer is yes."""
    async with asyncio.timeout(seconds):
        while True:
            answer = question()
            if asyncio.iscoroutine(answer):
                answer = await answer
            if answer:
                return
            await asyncio.sleep(0.02)

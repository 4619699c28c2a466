"""A standby in front of its leader, over real connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from quiet_engine import QuietEngine
from shuren.sandbox.contract import Settings
from shuren.sandbox.http.app import build_app

pytestmark = pytest.mark.contract


async def serve(engine: QuietEngine) -> web.AppRunner:
    """The engine's API on a free port; its address goes into the engine."""
    runner = web.AppRunner(build_app(engine, address=engine.address), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(engine.address.split(":")[1])).start()
    return runner


@pytest.fixture
async def pair(two_free_ports: list[int]) -> AsyncIterator[tuple[QuietEngine, QuietEngine]]:
    first, second = (f"127.0.0.1:{port}" for port in two_free_ports)
    leader, standby = QuietEngine(address=first, leading=first), QuietEngine(address=second, leading=first)
    runners = [await serve(leader), await serve(standby)]
    yield leader, standby
    for runner in runners:
        await runner.cleanup()


async def test_standby_passes_everything_on(pair: tuple[QuietEngine, QuietEngine]) -> None:
    leader, standby = pair
    async with aiohttp.ClientSession(f"http://{standby.address}") as client:
        async with client.put("/v2/apps/g/a%2Db?force=true", json={"cmd": "sleep 1"}) as created:
            assert created.status == 201
            assert created.headers["X-Marathon-Via"] == f"1.1 {standby.address}"
            assert created.headers["X-Marathon-Leader"] == f"http://{leader.address}"
            assert created.headers["Location"] == f"http://{standby.address}/g/a-b", "as the client knows the way"
        async with client.get("/v2/apps") as listed:
            assert [app["id"] for app in (await listed.json())["apps"]] == ["/g/a-b"]
        for path, body in (("/ping", "pong"), ("/v2/leader", f'{{"leader":"{leader.address}"}}')):
            async with client.get(path) as answer:
                assert await answer.text() == body
        async with client.get("/v2/nosuch") as unknown:
            assert unknown.status == 500
    assert standby.history == []


async def test_standby_without_a_leader_that_answers(pair: tuple[QuietEngine, QuietEngine]) -> None:
    _, standby = pair
    standby.leading = "127.0.0.1:1"
    async with aiohttp.ClientSession(f"http://{standby.address}") as client, client.get("/v2/apps") as answer:
        assert (answer.status, answer.content_type) == (502, "text/html")


async def test_nobody_leads(pair: tuple[QuietEngine, QuietEngine]) -> None:
    _, standby = pair
    standby.leading = None
    async with aiohttp.ClientSession(f"http://{standby.address}") as client, client.get("/v2/apps") as answer:
        assert (answer.status, answer.content_type) == (502, "text/html")
        assert "Could not determine the current leader" in await answer.text()


async def test_a_standby_holds_so_many_connections_to_the_leader_and_no_more(two_free_ports: list[int]) -> None:
    asked, go_on = asyncio.Semaphore(0), asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        del request
        asked.release()
        await go_on.wait()
        return web.Response(text="pong")

    first, second = (f"127.0.0.1:{port}" for port in two_free_ports)
    leader = web.Application()
    leader.router.add_get("/ping", slow)
    behind = web.AppRunner(leader, access_log=None)
    await behind.setup()
    await web.TCPSite(behind, "127.0.0.1", two_free_ports[0]).start()
    standby = await serve(QuietEngine(address=second, leading=first, settings=Settings(leader_proxy_max_open_connections=2)))
    try:
        async with aiohttp.ClientSession(f"http://{second}") as client:

            async def ping() -> tuple[int, str]:
                async with client.get("/ping") as answer:
                    return answer.status, answer.content_type

            held = [asyncio.create_task(ping()) for _ in range(2)]
            for _ in held:
                await asyncio.wait_for(asked.acquire(), 10)
            assert await ping() == (500, "text/html")
            go_on.set()
            assert await asyncio.gather(*held) == [(200, "text/plain")] * 2
            assert (await ping())[0] == 200
    finally:
        await standby.cleanup()
        await behind.cleanup()

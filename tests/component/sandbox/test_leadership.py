"""Giving up the lead and getting it back."""

from __future__ import annotations

import asyncio

from served_engine import Served, until

GONE = (404, {"message": "There is no leader", "details": []})


async def test_after_abdication_there_is_no_leader_until_one_is_elected(served: Served) -> None:
    assert await served.call("DELETE", "/v2/leader") == (200, {"message": "Leadership abdicated", "details": []})
    assert await served.call("GET", "/v2/leader") == GONE
    assert await served.call("DELETE", "/v2/leader") == GONE
    await until(lambda: not served.engine.is_leader())

    async def leads() -> bool:
        status, body = await served.call("GET", "/v2/leader")
        return status == 200 and body == {"leader": served.engine.address}

    await until(leads)


async def test_streams_end_and_requests_wait_while_nobody_leads(served: Served) -> None:
    await served.put("/a", instances=0)
    async with served.session.get(served.url + "/v2/events", headers={"Accept": "text/event-stream"}) as answer:
        await served.call("DELETE", "/v2/leader")
        async with asyncio.timeout(10):
            while await answer.content.read(1000):
                continue
    await until(lambda: not served.engine.is_leader())
    status, body = await served.call("GET", "/v2/apps")  # held until there is a leader again; a very slow machine may take too long
    assert (status, status == 502 or [app["id"] for app in body["apps"]]) in [(200, ["/a"]), (502, True)]

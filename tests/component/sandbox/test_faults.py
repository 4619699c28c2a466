"""The fault switch: each fault is felt by a client, and gone when switched off."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from served_engine import Served, until


async def faults(served: Served, body: dict[str, Any]) -> None:
    status, answer = await served.call("PUT", "/sandbox/faults", body)
    assert status == 200, answer


async def test_an_error_with_a_count_ends_by_itself(served: Served) -> None:
    await faults(served, {"http": [{"path": "^/v2/apps", "status": 503, "body": {"message": "busy"}, "count": 2}]})
    answers = [(await served.call("GET", "/v2/apps"))[0] for _ in range(3)]
    assert answers == [503, 503, 200]
    assert (await served.call("GET", "/v2/groups"))[0] == 200
    assert (await served.get("/sandbox/faults"))["http"][0]["count"] == 0


async def test_methods_probability_and_removal(served: Served) -> None:
    await faults(
        served, {"http": [{"path": "/v2/apps", "methods": ["put"], "status": 500}, {"path": "/v2/info", "status": 500, "probability": 0.0}]}
    )
    assert (await served.call("GET", "/v2/apps"))[0] == 200
    assert (await served.call("PUT", "/v2/apps/a", {"cmd": "sleep 1"}))[0] == 500
    assert (await served.call("GET", "/v2/info"))[0] == 200
    assert await served.call("DELETE", "/sandbox/faults") == (200, {})
    assert (await served.call("PUT", "/v2/apps/a", {"cmd": "sleep 1"}))[0] == 201


async def test_latency(served: Served) -> None:
    await faults(served, {"http": [{"path": "/v2/apps", "latencySeconds": 0.2}]})
    before = asyncio.get_running_loop().time()
    await served.get("/v2/apps")
    assert asyncio.get_running_loop().time() - before >= 0.2


async def test_a_request_that_is_held_is_carried_out_when_the_rules_end_though_nobody_waits_for_it(served: Served) -> None:
    rule = {"path": "/v2/apps", "methods": ["PUT"], "hold": True, "count": 1}
    await faults(served, {"http": [rule]})
    asking = asyncio.create_task(served.call("PUT", "/v2/apps/late", {"cmd": "sleep 1", "instances": 0}))

    async def held() -> bool:
        shown: dict[str, Any] = await served.get("/sandbox/faults")
        return bool(shown["http"][0]["count"] == 0)

    await until(held)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert (await served.call("PUT", "/v2/apps/next", {"cmd": "sleep 1", "instances": 0}))[0] == 201
    assert (await served.call("GET", "/v2/apps/late"))[0] == 404
    await served.call("DELETE", "/sandbox/faults")

    async def there() -> bool:
        return (await served.call("GET", "/v2/apps/late"))[0] == 200

    await until(there)


async def test_a_dropped_answer_may_have_been_carried_out(served: Served) -> None:
    for when, exists in (("before", False), ("after", True)):
        await faults(served, {"http": [{"path": "/v2/apps", "methods": ["PUT"], "drop": when}]})
        with pytest.raises(aiohttp.ClientError):
            await served.call("PUT", f"/v2/apps/{when}", {"cmd": "sleep 1", "instances": 0})
        status, _ = await served.call("GET", f"/v2/apps/{when}")
        assert (status == 200) is exists


async def test_empty_truncated_and_stale_reads(served: Served) -> None:
    for name in "abcd":
        await served.put(f"/{name}", instances=0)
    await faults(served, {"http": [{"path": "^/v2/apps$", "list": "empty"}]})
    assert (await served.get("/v2/apps"))["apps"] == []
    await faults(served, {"http": [{"path": "^/v2/apps$", "list": "truncated"}]})
    assert len((await served.get("/v2/apps"))["apps"]) == 2
    await faults(served, {"http": [{"path": "^/v2/apps$", "stale": True}]})
    assert len((await served.get("/v2/apps"))["apps"]) == 4
    await served.put("/e", instances=0)
    assert len((await served.get("/v2/apps"))["apps"]) == 4
    await faults(served, {})
    assert len((await served.get("/v2/apps"))["apps"]) == 5


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"htpp": []}, "htpp"),
        ({"http": [{"paht": "x"}]}, r"http[0].paht"),
        ({"http": [{"path": "("}]}, "http[0]"),
        ({"http": [{"drop": "sometimes"}]}, "http[0]"),
        ([], "object"),
    ],
)
async def test_a_wrong_fault_says_where_and_changes_nothing(served: Served, body: Any, word: str) -> None:
    await faults(served, {"http": [{"path": "/v2/apps", "status": 503}]})
    status, answer = await served.call("PUT", "/sandbox/faults", body)
    assert status == 422
    assert word in answer["message"]
    assert (await served.call("GET", "/v2/apps"))[0] == 503


class Reader:
    """Reads an event stream in the background."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.lines: list[bytes] = []
        self.ended = False
        self.job = asyncio.create_task(self._read(answer))

    async def _read(self, answer: aiohttp.ClientResponse) -> None:
        try:
            async for line in answer.content:
                self.lines.append(line)
        except aiohttp.ClientError:
            pass
        self.ended = True

    def has(self, word: bytes) -> bool:
        return any(word in line for line in self.lines)


async def test_silent_and_dropped_streams(served: Served) -> None:
    async with served.session.get(served.url + "/v2/events", headers={"Accept": "text/event-stream"}) as answer:
        reader = Reader(answer)
        await until(lambda: reader.has(b"event_stream_attached"))
        await faults(served, {"events": {"silent": True}})
        await served.put("/quiet", instances=0)
        await faults(served, {})
        await served.put("/loud", instances=0)
        await until(lambda: reader.has(b"/loud"))
        assert not reader.has(b"/quiet")
        await faults(served, {"events": {"drop": True}})
        await until(lambda: reader.ended)
    async with served.session.get(served.url + "/v2/events", headers={"Accept": "text/event-stream"}) as answer:
        again = Reader(answer)
        await faults(served, {"events": {"dropAfter": 2}})
        await served.put("/more", instances=0)
        await until(lambda: again.ended)


async def test_a_consumer_that_falls_behind_is_cut_off(served: Served) -> None:
    stream = served.engine.subscribe(None, "slow")
    for number in range(1100):
        served.engine.publish("test_event", {"number": number})
    seen = [event async for event in stream]
    assert len(seen) == 1024
    assert served.engine.bus.streams == 0


async def test_health_is_unknown_after_a_change_of_leader(served: Served) -> None:
    check = {"protocol": "HTTP", "portIndex": 0, "path": "/", "intervalSeconds": 1, "gracePeriodSeconds": 1}
    await served.put("/a", healthChecks=[check])

    async def healthy() -> bool:
        return bool((await served.get("/v2/apps/a"))["app"]["tasksHealthy"] == 1)

    await until(healthy)
    await served.call("POST", "/sandbox/leader/change")
    await until(served.engine.is_leader)
    app = (await served.get("/v2/apps/a"))["app"]
    assert (app["tasksRunning"], app["tasksHealthy"], app["tasks"][0]["healthCheckResults"]) == (1, 0, [])
    await until(healthy)


async def test_simulated_tasks_can_be_made_sick(served: Served) -> None:
    check = {"protocol": "MESOS_HTTP", "portIndex": 0, "path": "/", "intervalSeconds": 1, "gracePeriodSeconds": 0, "delaySeconds": 0,
             "maxConsecutiveFailures": 1000}  # fmt: skip
    await served.put("/a", healthChecks=[check])

    async def shows(field: str) -> bool:
        return bool((await served.get("/v2/apps/a"))["app"][field] == 1)

    await until(lambda: shows("tasksHealthy"))
    await faults(served, {"simulated": {"^/a": {"SIM_UNHEALTHY_AFTER": 0}}})
    await until(lambda: shows("tasksUnhealthy"))
    await faults(served, {})
    await until(lambda: shows("tasksHealthy"))


async def test_agents_come_and_go_at_run_time(served: Served) -> None:
    await served.put("/a", constraints=[["rack", "IS", "r9"]])
    status, agent = await served.call("POST", "/sandbox/agents", {"hostname": "127.0.0.9", "cpus": 2, "attributes": {"rack": "r9"}})
    assert status == 201
    await served.running("/a", 1)
    assert (await served.call("POST", f"/sandbox/agents/{agent['id']}/partition"))[0] == 200
    await served.running("/a", 0)
    assert (await served.call("POST", "/sandbox/agents/127.0.0.9/return"))[0] == 200
    await served.running("/a", 1)
    assert len((await served.get("/sandbox/agents"))["agents"]) == 3
    assert (await served.call("DELETE", "/sandbox/agents/127.0.0.9?gone=true"))[0] == 200
    assert len((await served.get("/sandbox/agents"))["agents"]) == 2
    assert (await served.call("DELETE", "/sandbox/agents/127.0.0.9"))[0] == 404
    assert (await served.call("POST", "/sandbox/agents", {"hostname": "x", "cpus": "many"}))[1]["message"].startswith("cpus: a number")
    assert (await served.call("POST", "/sandbox/agents/127.0.0.1/maintenance", {"enabled": True}))[1]["maintenance"] is True
    assert (await served.call("POST", "/sandbox/agents/127.0.0.1/dance"))[0] == 404
    assert (await served.call("GET", "/sandbox/nothing"))[0] == 404


async def test_shutdown_is_asked_for(served: Served) -> None:
    assert (await served.call("POST", "/sandbox/shutdown", {"tasks": "kill"}))[0] == 202
    assert served.engine.stopping.is_set()
    assert served.engine.kill_tasks_on_exit

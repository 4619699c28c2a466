"""The Mesos client: which master leads, what it says, and how its silence is told."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from shuren.clients.mesos.client import MesosClient
from shuren.domain.cluster import Amounts, MesosAgent
from shuren.domain.errors import Denied, Unreachable

_METRICS = {
    "master/elected": 1.0,
    "master/slaves_active": 3.0,
    "master/cpus_total": 12.0,
    "master/cpus_used": 2.5,
    "master/mem_total": 4096.0,
    "master/mem_used": 512.0,
    "master/disk_total": 100.0,
    "master/gpus_total": 1.0,
}


def _client(answer: Callable[[httpx.Request], httpx.Response], *masters: str) -> MesosClient:
    return MesosClient(masters or ("http://m1:5050",), transport=httpx.MockTransport(answer))


async def test_the_leader_is_found_and_asked_first_from_then_on() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        if request.url.path == "/version":
            return httpx.Response(200, json={"version": "1.11.0"})
        return httpx.Response(200, json=_METRICS | {"master/elected": 1.0 if request.url.host == "m2" else 0.0})

    client = _client(answer, "http://m1:5050/", "http://m2:5050")
    summary = await client.summary()
    assert (summary.version, summary.leader, summary.agents) == ("1.11.0", "m2:5050", 3)
    assert summary.total == Amounts(cpus=12.0, mem=4096.0, disk=100.0, gpus=1.0)
    assert summary.used == Amounts(cpus=2.5, mem=512.0)
    assert asked == ["m1", "m2", "m2"]
    await client.summary()
    assert asked[3:] == ["m2", "m2"]
    await client.close()


async def test_a_master_that_is_away_is_passed_over() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "m1":
            raise httpx.ConnectError("refused")
        return httpx.Response(200, json=_METRICS | {"version": "1.11.0"})

    client = _client(answer, "http://m1:5050", "http://m2:5050")
    assert (await client.summary()).leader == "m2:5050"
    await client.close()


@pytest.mark.parametrize(
    ("response", "error", "words"),
    [
        (httpx.Response(401), Denied, "refuses us: 401"),
        (httpx.Response(503), Unreachable, "503"),
        (httpx.Response(200, text="<html>"), Unreachable, "does not answer"),
        (httpx.Response(200, json=[1]), Unreachable, "something else"),
        (httpx.Response(200, json={"master/elected": 0}), Unreachable, "does not lead"),
    ],
    ids=["denied", "error", "html", "array", "standby"],
)
async def test_what_is_no_answer(response: httpx.Response, error: type[Exception], words: str) -> None:
    client = _client(lambda _: response)
    with pytest.raises(error, match=words):
        await client.summary()
    await client.close()


async def test_odd_numbers_count_as_none() -> None:
    client = _client(lambda _: httpx.Response(200, json={"master/elected": 1, "master/slaves_active": "many"}))
    assert (await client.summary()).agents == 0
    await client.close()


async def test_agents_with_address_and_zone() -> None:
    agents = [
        {"id": "S2", "hostname": "b", "pid": "slave(1)@[2001:db8::1]:5051", "attributes": {"zone": "z2"}, "active": False},
        {"id": "S6", "hostname": "c", "drain_info": {"state": "DRAINING"}, "attributes": {"rack": 7.0}},
        {"id": "S7", "hostname": "d", "deactivated": True},
        {"id": "S1", "hostname": "a", "pid": "slave(1)@10.0.0.1:5051", "domain": {"fault_domain": {"zone": {"name": "z1"}}}},
        {"id": "S3"},
        {"hostname": "no id"},
        "nonsense",
    ]
    client = _client(lambda _: httpx.Response(200, json={"slaves": agents}))
    assert await client.agents() == (
        MesosAgent(id="S1", hostname="a", address="10.0.0.1", zone="z1"),
        MesosAgent(id="S2", hostname="b", address="2001:db8::1", zone="z2", active=False, attributes={"zone": "z2"}),
        MesosAgent(id="S3", hostname=""),
        MesosAgent(id="S6", hostname="c", going=True, attributes={"rack": "7"}),
        MesosAgent(id="S7", hostname="d", going=True),
    )
    await client.close()


async def test_agents_of_the_first_master_that_names_them() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"slaves": []} if request.url.host == "m2" else {})

    client = _client(answer, "http://m1:5050", "http://m2:5050")
    assert await client.agents() == ()
    await client.close()
    nobody = _client(lambda _: httpx.Response(307))
    with pytest.raises(Unreachable):
        await nobody.agents()
    await nobody.close()

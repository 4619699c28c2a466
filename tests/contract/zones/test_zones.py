"""What a name server that is told a zone must do: the one in memory, and a real PowerDNS."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from powerdns_process import KEY, PowerDns, needs_powerdns, powerdns
from shuren.clients.fakes.zones import FakeZones
from shuren.clients.powerdns import PowerDnsClient
from shuren.domain.dns.rrsets import RecordSet, ZoneChange
from shuren.domain.errors import Denied, Invalid, Unreachable
from shuren.ports.zones import ZoneKeeper

pytestmark = pytest.mark.contract
SERVERS = ["ns1.example.org."]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PowerDns]:
    with powerdns(tmp_path_factory.mktemp("pdns")) as running:
        yield running


@pytest.fixture(params=["in memory", pytest.param("PowerDNS", marks=needs_powerdns)])
async def keeper(request: pytest.FixtureRequest) -> AsyncIterator[ZoneKeeper]:
    if request.param == "in memory":
        yield FakeZones()
        return
    client = PowerDnsClient(request.getfixturevalue("real").url, key=KEY)
    yield client
    await client.close()


@pytest.fixture
def zone() -> str:
    return f"z{uuid.uuid4().hex[:8]}.test."


def a(name: str, *addresses: str, ttl: int = 5) -> RecordSet:
    return RecordSet(name=name, type="A", ttl=ttl, records=tuple(sorted(addresses)))


async def test_a_zone_that_is_not_there_is_none_until_it_is_made(keeper: ZoneKeeper, zone: str) -> None:
    assert await keeper.read(zone) is None
    await keeper.create(zone, SERVERS)
    assert await keeper.read(zone) == ()
    with pytest.raises(Invalid):
        await keeper.create(zone, SERVERS)


async def test_sets_are_replaced_and_removed_whole(keeper: ZoneKeeper, zone: str) -> None:
    await keeper.create(zone, SERVERS)
    srv = RecordSet(name=f"_web._tcp.{zone}", type="SRV", ttl=5, records=(f"0 100 31000 e-1.web.{zone}",))
    v6 = RecordSet(name=f"web.{zone}", type="AAAA", ttl=5, records=("2001:db8::1",))
    await keeper.change(zone, ZoneChange(replace=(a(f"web.{zone}", "10.0.0.1", "10.0.0.2"), srv, v6)))
    assert await keeper.read(zone) == (srv, a(f"web.{zone}", "10.0.0.1", "10.0.0.2"), v6)
    await keeper.change(zone, ZoneChange(replace=(a(f"web.{zone}", "10.0.0.3", ttl=9),), remove=((srv.name, "SRV"),)))
    assert await keeper.read(zone) == (a(f"web.{zone}", "10.0.0.3", ttl=9), v6)


async def test_many_sets_at_once(keeper: ZoneKeeper, zone: str) -> None:
    await keeper.create(zone, SERVERS)
    many = tuple(sorted(a(f"n{number}.{zone}", f"10.0.{number // 250}.{number % 250 + 1}") for number in range(1200)))
    await keeper.change(zone, ZoneChange(replace=many))
    assert await keeper.read(zone) == many


async def test_what_cannot_be_is_refused_in_the_servers_words(keeper: ZoneKeeper, zone: str) -> None:
    with pytest.raises(Invalid, match=zone):
        await keeper.change(zone, ZoneChange(replace=(a(f"web.{zone}", "10.0.0.1"),)))
    await keeper.create(zone, SERVERS)
    with pytest.raises(Invalid, match=r"elsewhere\.example\."):
        await keeper.change(zone, ZoneChange(replace=(a("elsewhere.example.", "10.0.0.1"),)))


@needs_powerdns
async def test_sets_of_others_are_told_apart(real: PowerDns, zone: str) -> None:
    client = PowerDnsClient(real.url, key=KEY)
    await client.create(zone, SERVERS)
    await client.change(zone, ZoneChange(replace=(a(f"ours.{zone}", "10.0.0.1"),)))
    by_hand = {
        "name": f"theirs.{zone}",
        "type": "A",
        "ttl": 60,
        "changetype": "REPLACE",
        "records": [{"content": "10.9.9.9", "disabled": False}],
    }
    async with httpx.AsyncClient(headers={"X-API-Key": KEY}, trust_env=False) as hand:
        answer = await hand.patch(f"{real.url}/api/v1/servers/localhost/zones/{zone}", json={"rrsets": [by_hand]})
        assert answer.status_code == 204
    found = await client.read(zone)
    await client.close()
    assert found is not None
    assert {one.name: one.ours for one in found} == {f"ours.{zone}": True, f"theirs.{zone}": False}


@needs_powerdns
async def test_a_wrong_key_is_told(real: PowerDns, zone: str) -> None:
    client = PowerDnsClient(real.url, key="another")
    with pytest.raises(Denied, match="api-key"):
        await client.read(zone)
    await client.close()


async def test_nobody_there_is_unreachable(zone: str) -> None:
    client = PowerDnsClient("http://127.0.0.1:1", key=KEY)
    with pytest.raises(Unreachable, match="PowerDNS does not answer"):
        await client.read(zone)
    await client.close()

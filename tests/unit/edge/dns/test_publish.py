"""What another name server is told, and when."""

from __future__ import annotations

import asyncio

import pytest

from shuren.clients.fakes.zones import FakeZones
from shuren.domain.dns.rrsets import RecordSet, ZoneChange, compare, record_sets
from shuren.domain.dns.zone import Zone, build
from shuren.domain.errors import Unreachable
from shuren.domain.service.values import Endpoint, EndpointState, Names, ServiceName
from shuren.edge.dns.answers import Authority
from shuren.edge.dns.publish import Publisher

ORIGIN = "mesos.example."


def zone(*addresses: str, name: str = "web.shop") -> Zone:
    found = [Endpoint(id=f"e{n}", address=a, port=31000, state=EndpointState.READY, weight=7) for n, a in enumerate(addresses)]
    return build([(Names(service=ServiceName(namespace="shop", name="web"), names=(name,)), found)])


def by_name(sets: tuple[RecordSet, ...]) -> dict[tuple[str, str], tuple[str, ...]]:
    return {(one.name, one.type): one.records for one in sets}


def test_names_are_absolute_and_what_cannot_be_one_is_left_out() -> None:
    found = by_name(record_sets(zone("10.0.0.1", "2001:db8::1"), name="Mesos.Example", ttl=5))
    assert found["web.shop.mesos.example.", "A"] == ("10.0.0.1",)
    assert found["web.shop.mesos.example.", "AAAA"] == ("2001:db8::1",)
    assert all(record.startswith("0 7 31000 e-") for record in found["_web._tcp.shop.mesos.example.", "SRV"])
    assert all(record.endswith(".web.shop.mesos.example.") for record in found["_web._tcp.shop.mesos.example.", "SRV"])
    assert record_sets(zone("10.0.0.1", name="x" * 64), name=ORIGIN, ttl=5) == ()
    outside = by_name(record_sets(zone("db.example.org"), name=ORIGIN, ttl=5))
    assert outside == {("_web._tcp.shop.mesos.example.", "SRV"): ("0 7 31000 db.example.org.",)}


def test_only_ours_are_changed() -> None:
    wanted = record_sets(zone("10.0.0.1"), name=ORIGIN, ttl=5)
    foreign = RecordSet(name="web.shop.mesos.example.", type="A", ttl=60, records=("10.9.9.9",), ours=False)
    stale = RecordSet(name="old.mesos.example.", type="A", ttl=5, records=("10.0.0.9",))
    alone = RecordSet(name="mail.mesos.example.", type="MX", ttl=60, records=("10 m.example.",), ours=False)
    change = compare(wanted, [foreign, stale, alone])
    assert change.foreign == (("web.shop.mesos.example.", "A"),)
    assert change.remove == (("old.mesos.example.", "A"),)
    assert ("web.shop.mesos.example.", "A") not in {(one.name, one.type) for one in change.replace}
    assert change.replace
    assert not compare(wanted, wanted)
    assert compare(wanted, wanted) == ZoneChange()


async def test_a_zone_is_made_followed_and_not_written_twice() -> None:
    fake, now = FakeZones(), [zone("10.0.0.1")]
    publisher = Publisher(keeper=fake, authority=Authority(name="mesos.example", servers=("ns1.x",)), zone=lambda: now[0])
    await publisher.tell()
    await publisher.tell()
    assert fake.writes == 1
    now[0] = zone("10.0.0.2")
    await publisher.tell()
    assert fake.zones[ORIGIN]["web.shop.mesos.example.", "A"].records == ("10.0.0.2",)
    now[0] = build()
    await publisher.tell()
    assert fake.zones[ORIGIN] == {}
    assert fake.writes == 3


async def test_failures_pass_and_what_others_changed_is_put_right() -> None:
    fake = FakeZones(refuse=Unreachable("away"))
    authority = Authority(name="mesos.example", servers=("ns1.x",))
    publisher = Publisher(keeper=fake, authority=authority, zone=lambda: zone("10.0.0.1"), resync=0.05)
    running = asyncio.create_task(publisher.run())
    try:
        await asyncio.sleep(0)
        assert not publisher.published
        fake.refuse = None
        await _until(lambda: publisher.published)
        fake.zones[ORIGIN].clear()
        await _until(lambda: len(fake.zones[ORIGIN]) == 3)
    finally:
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running


async def _until(question: object) -> None:
    assert callable(question)
    async with asyncio.timeout(30):
        while not question():
            await asyncio.sleep(0.01)

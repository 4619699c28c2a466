"""Names of services, and Mesos-DNS's names of tasks."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuren.domain.dns import mesosdns
from shuren.domain.dns.zone import RecordType, Srv, Zone, build, ready
from shuren.domain.service.values import Endpoint, EndpointState, MesosNames, Names, ServiceName, TaskAddress, TaskNames

A, AAAA, SRV = RecordType
WEB = Names(service=ServiceName(namespace="shop", name="web"), names=("web.shop", "shop"))
ONE = Endpoint(id="web.1:0", address="10.0.0.1", port=31000, state=EndpointState.READY, ports={"http": 31000, "admin": 31001})
TWO = replace(ONE, id="web.2:0", address="10.0.0.2", port=31005, ports={}, weight=50)


def addresses(zone: Zone, name: str, kind: RecordType = A) -> tuple[object, ...]:
    return zone.names[name].get(kind, ())


def test_a_service_has_an_address_for_each_endpoint_under_each_of_its_names() -> None:
    zone = build([(WEB, [ONE, TWO])])
    assert addresses(zone, "web.shop") == addresses(zone, "shop") == ("10.0.0.1", "10.0.0.2")


def test_service_records_point_to_names_that_have_the_address() -> None:
    zone = build([(WEB, [ONE, TWO])])
    records = zone.names["_web._tcp.shop"][SRV]
    assert [(r.port, r.weight) for r in records if isinstance(r, Srv)] == [(31000, 100), (31005, 50)]
    assert [addresses(zone, r.target) for r in records if isinstance(r, Srv)] == [("10.0.0.1",), ("10.0.0.2",)]
    (admin,) = zone.names["_admin._tcp.web.shop"][SRV]
    assert isinstance(admin, Srv)
    assert admin.port == 31001
    assert zone.names["_shop._tcp"][SRV]


def test_a_host_outside_is_its_own_target() -> None:
    zone = build([(WEB, [replace(TWO, address="DB.example")])])
    (record,) = zone.names["_web._tcp.shop"][SRV]
    assert record == Srv(target="db.example.", port=31005, weight=50)
    assert not zone.has("web.shop")


def test_ipv6_and_udp() -> None:
    zone = build([(replace(WEB, protocol="udp"), [replace(ONE, address="2001:db8::1")])])
    assert addresses(zone, "web.shop", AAAA) == ("2001:db8::1",)
    assert "_web._udp.shop" in zone.names


def test_only_ready_endpoints_are_answered_and_the_last_good_ones_when_there_is_none() -> None:
    sick = replace(ONE, state=EndpointState.UNHEALTHY)
    assert ready([sick, TWO]) == (TWO,)
    assert ready([sick], [TWO]) == (TWO,)
    assert ready([replace(TWO, weight=0)]) == ()


# ---------------------------------------------------------------------------------------------------- Mesos-DNS

TASK = TaskAddress(
    task="shop_web.instance-1._app.1",
    agent_id="7c2b-S12",
    agent_address="10.0.1.1",
    ports=(31000, 31001),
    port_names=("http", ""),
    protocols=("tcp", "tcp,udp"),
)
APP = TaskNames(app="/shop/web", framework="marathon", tasks=(TASK,))


def test_tasks_of_an_app_in_mesos_dns_names() -> None:
    zone = build(tasks=[APP])
    canonical = f"{mesosdns.canonical_label('/shop/web', TASK.task, TASK.agent_id)}.marathon"
    assert canonical.startswith("web-shop-")
    assert canonical.endswith("-s12.marathon")
    for name in ("web-shop.marathon", "web-shop.marathon.slave", canonical, f"{canonical}.slave"):
        assert addresses(zone, name) == ("10.0.1.1",)
    assert zone.names["_web-shop._tcp.marathon"][SRV] == (Srv(target=canonical, port=31000), Srv(target=canonical, port=31001))
    assert zone.names["_web-shop._udp.marathon"][SRV] == (Srv(target=canonical, port=31001),)
    assert zone.names["_http._web-shop._tcp.marathon"][SRV] == (Srv(target=canonical, port=31000),)
    assert zone.names["_web-shop._tcp.marathon.slave"][SRV][0] == Srv(target=f"{canonical}.slave", port=31000)


def test_a_task_with_an_address_of_its_own() -> None:
    zone = build(tasks=[replace(APP, tasks=(replace(TASK, addresses=("172.17.0.5",)),))])
    assert addresses(zone, "web-shop.marathon") == ("172.17.0.5",)
    assert addresses(zone, "web-shop.marathon.slave") == ("10.0.1.1",)


def test_masters_and_agents() -> None:
    zone = build(mesos=MesosNames(leader="10.0.0.1", masters=("10.0.0.1", "10.0.0.2"), agents=("10.0.1.1",)))
    assert addresses(zone, "leader") == ("10.0.0.1",)
    assert addresses(zone, "master") == ("10.0.0.1", "10.0.0.2")
    assert addresses(zone, "master1") == ("10.0.0.2",)
    assert addresses(zone, "slave") == ("10.0.1.1",)
    assert zone.names["_leader._tcp"][SRV] == (Srv(target="leader", port=5050),)


@pytest.mark.parametrize(
    ("text", "label"),
    [("Web_App.v1", "web-app-v1"), ("-a-", "a"), ("数人云", ""), ("a" * 70, "a" * 63), ("x" * 62 + "-y", "x" * 62)],
)
def test_labels(text: str, label: str) -> None:
    assert mesosdns.label(text) == label


def test_zbase32_of_a_known_value() -> None:
    # from the specification: the octets f0 bf c7 are "6n9hq"
    assert mesosdns.zbase32(bytes.fromhex("f0bfc7")) == "6n9hq"


@given(st.text(max_size=80), st.text(max_size=40), st.text(max_size=20))
def test_a_canonical_label_is_always_a_label_of_bounded_length(app: str, task: str, agent: str) -> None:
    made = mesosdns.canonical_label(f"/{app}", task, agent)
    assert len(made) <= 63


# ---------------------------------------------------------------------------------------------------- the zone itself


def test_names_between_exist_and_are_empty() -> None:
    zone = build([(WEB, [ONE])], [APP])
    for name in ("", "marathon", "_tcp.shop", "marathon.slave"):
        assert zone.has(name)
    assert zone.names["_tcp.shop"] == {}
    assert not zone.has("nobody")


def test_an_empty_zone_is_there() -> None:
    assert build().names == {"": {}}

"""Who gets which port, host and path."""

from __future__ import annotations

import pytest

from haproxy_room import Json, http, route, service, tcp
from shuren.domain.haproxy.claims import Kind, PortSet, Resolution, resolve
from shuren.domain.haproxy.compose import Options, read_routes
from shuren.domain.service.values import Route


def _resolved(*routes: Route, ports: str = "1-65535", everywhere: str = "*") -> Resolution:
    carried, problems = read_routes(routes, Options())
    assert not problems
    return resolve(carried, ports=PortSet.parse(ports), everywhere=everywhere)


def _tls(*hosts: str, mode: str = "Passthrough", port: int = 443) -> Json:
    tls = {"mode": mode} if mode == "Passthrough" else {"mode": mode, "certificates": [{"file": "x.pem"}]}
    return {"name": "tls", "protocol": "TLS", "port": port, "tls": tls, **({"hosts": list(hosts)} if hosts else {})}


def test_services_share_a_port_by_host_and_path() -> None:
    got = _resolved(route("a", http("a.example")), route("b", http("b.example", "a.example", paths=["/b"]), age=2))
    assert not got.problems
    front = got.fronts[0]
    assert (front.kind, front.name, len(got.fronts)) == (Kind.HTTP, "http:any:80", 1)
    assert [(r.service.name, r.host, r.path) for r in front.rules] == [
        ("a", "a.example", "/"),
        ("b", "b.example", "/b"),
        ("b", "a.example", "/b"),
    ]


def test_a_load_balancer_with_one_address_opens_it_where_none_is_named() -> None:
    got = _resolved(route("a", http("a.example"), http("b.example", name="b", port=81, addresses=["*", "10.0.0.1"])), everywhere="10.0.0.1")
    assert not got.problems
    assert [(front.address, front.port) for front in got.fronts] == [("10.0.0.1", 80), ("10.0.0.1", 81)]


def test_the_older_keeps_host_and_path_and_the_younger_the_rest_of_its_own() -> None:
    got = _resolved(route("young", http("a.example", "c.example"), age=5), route("old", http("a.example"), age=2))
    assert [(r.service.name, r.host) for r in got.fronts[0].rules] == [("old", "a.example"), ("young", "c.example")]
    assert got.problems == {
        service("young"): ("spec.loadBalancer.listeners[0]: a.example/ on port 80 belongs to shop.old, which is older",)
    }


def test_of_the_same_age_the_uid_decides_whatever_the_order() -> None:
    first, second = route("a", http("x")), route("b", http("x"))
    assert _resolved(first, second) == _resolved(second, first)
    assert set(_resolved(first, second).problems) == {service("b")}


def test_a_tcp_port_belongs_to_one_service() -> None:
    got = _resolved(route("a", tcp(5432)), route("b", tcp(5432), tcp(5433, name="more"), age=2))
    assert [(f.port, f.rules[0].service.name) for f in got.fronts] == [(5432, "a"), (5433, "b")]
    assert got.problems[service("b")] == ("spec.loadBalancer.listeners[0].port: port 5432 belongs to shop.a, which is older, as tcp",)


@pytest.mark.parametrize(
    ("mine", "theirs", "kind"),
    [(http("x", port=443), _tls("x"), "sni"), (_tls("x"), http("y", port=443), "http"), (_tls("x", mode="Terminate"), _tls("y"), "sni")],
)
def test_a_port_is_of_one_kind(mine: Json, theirs: Json, kind: str) -> None:
    got = _resolved(route("old", theirs), route("young", mine, age=2))
    assert got.problems[service("young")] == (
        f"spec.loadBalancer.listeners[0].port: port 443 belongs to shop.old, which is older, as {kind}",
    )


def test_sni_is_shared_by_name() -> None:
    got = _resolved(route("a", _tls("a.example")), route("b", _tls("b.example", "a.example"), age=2), route("rest", _tls(), age=3))
    assert [(r.service.name, r.host) for r in got.fronts[0].rules] == [("a", "a.example"), ("b", "b.example"), ("rest", "*")]
    assert set(got.problems) == {service("b")}


def test_headers_tell_two_services_of_one_host_apart() -> None:
    canary = [{"name": "x-canary", "value": "1"}]
    got = _resolved(route("a", http("x")), route("b", http("x", headers=canary), age=2), route("c", http("x", headers=canary), age=3))
    assert [r.service.name for r in got.fronts[0].rules] == ["a", "b"]
    assert set(got.problems) == {service("c")}


def test_two_listeners_of_one_service_are_told_so() -> None:
    got = _resolved(route("a", http("x"), http("x", name="again")))
    assert got.problems[service("a")] == ("spec.loadBalancer.listeners[1]: x/ on port 80 belongs to another listener of the service",)


def test_ports_that_may_not_be_opened() -> None:
    got = _resolved(route("a", tcp(22), http("x")), ports="80,443,10000-10999")
    assert [f.port for f in got.fronts] == [80]
    assert got.problems[service("a")] == (
        "spec.loadBalancer.listeners[0].port: port 22 is none of those that this load balancer opens (80,443,10000-10999)",
    )


def test_a_port_that_the_host_does_not_give() -> None:
    carried, _ = read_routes([route("a", tcp(22), http("x"))], Options())
    got = resolve(carried, ports=PortSet(), blocked={("*", 22): "port 22 is in use"})
    assert [f.port for f in got.fronts] == [80]
    assert got.problems[service("a")] == ("spec.loadBalancer.listeners[0].port: port 22 is in use",)


def test_the_proxy_protocol_is_of_the_port() -> None:
    got = _resolved(route("a", http("x", acceptProxy=True)), route("b", http("y"), age=2))
    assert got.problems[service("b")] == ("spec.loadBalancer.listeners[0].acceptProxy: is true on port 80 for shop.a, which is older",)


def test_addresses_are_frontends_of_their_own() -> None:
    got = _resolved(route("a", tcp(80, addresses=["10.0.0.1", "::1"])), route("b", tcp(80, addresses=["10.0.0.2"]), age=2))
    assert [f.name for f in got.fronts] == ["tcp:10.0.0.1:80", "tcp:10.0.0.2:80", "tcp:::1:80"]


@pytest.mark.parametrize("text", ["0", "70000", "9-1", "x", "80-", "80-x", "-1", ""])
def test_ranges_of_ports_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no range of ports; ports look like"):
        PortSet.parse(text)

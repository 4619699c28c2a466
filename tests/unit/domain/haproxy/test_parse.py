"""What a route's JSON means, and every way in which it is refused."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haproxy_room import Json, http, tcp
from shuren.api.v1alpha1.loadbalancer import LoadBalancer, listener_document
from shuren.domain.errors import Invalid
from shuren.domain.haproxy.parse import parse
from shuren.domain.haproxy.settings import (
    Algorithm,
    Balance,
    CertificateName,
    CheckType,
    HeaderMatch,
    HeaderRule,
    Listener,
    LoadBalancing,
    Protocol,
    Redirect,
    RetryOn,
    StickyBy,
    TlsMode,
)


def _with(*listeners: Json, **settings: Any) -> Json:
    return {"group": "edge", "listeners": list(listeners or (http("a.example"),)), **settings}


def test_the_least_one_can_say_gets_all_defaults() -> None:
    assert parse({"group": "edge", "listeners": [{"name": "web", "protocol": "HTTP"}]}) == LoadBalancing(
        group="edge", listeners=(Listener(name="web", protocol=Protocol.HTTP, port=80),)
    )


def test_defaults_are_those_of_the_custom_resource() -> None:
    spec: Json = {
        "group": "edge",
        "listeners": [
            {"name": "web", "protocol": "HTTP"},
            {"name": "s", "protocol": "HTTPS", "tls": {"certificates": [{"file": "x.pem"}]}},
        ],
        "sticky": {"cookie": {}},
        "balance": {},
        "timeouts": {},
        "healthCheck": {"type": "Http"},
        "retries": {},
        "connections": {},
        "outlierEjection": {},
        "access": {},
        "http": {"hsts": {}, "rewrite": {}, "requestHeaders": {}},
        "upstream": {"tls": {}},
    }
    assert parse(listener_document(LoadBalancer.model_validate(spec))) == parse(spec)


def test_all_of_a_listener_is_read() -> None:
    listener = {
        "name": "api",
        "protocol": "HTTP",
        "port": 8080,
        "addresses": ["::1", "10.0.0.9"],
        "hosts": ["a.example", "*.b.example"],
        "paths": ["/api/", "/"],
        "headers": [{"name": "X-Canary", "value": "yes"}, {"name": "x-any", "match": "Present"}],
        "targetPort": "admin",
        "redirectToHttps": {"code": 308, "port": 8443},
        "acceptProxy": True,
    }
    assert parse(_with(listener)).listeners[0] == Listener(
        name="api",
        protocol=Protocol.HTTP,
        port=8080,
        addresses=("::1", "10.0.0.9"),
        hosts=("a.example", "*.b.example"),
        paths=("/api", "/"),
        headers=(HeaderRule(name="x-canary", value="yes"), HeaderRule(name="x-any", match=HeaderMatch.PRESENT)),
        target_port="admin",
        redirect=Redirect(code=308, port=8443),
        accept_proxy=True,
    )


def test_the_rest_is_read_too() -> None:
    passed = {"name": "db", "protocol": "TLS", "port": 443, "hosts": ["db.example"], "tls": {"mode": "Passthrough"}}
    got = parse(
        _with(
            passed,
            tcp(5432),
            balance={"algorithm": "Source", "boundedLoadPercent": 150},
            sticky={"by": "Source", "expireSeconds": 60},
            retries={"attempts": 0, "on": ["ConnectFailure", "503"], "redispatch": False},
            healthCheck={"type": "Http", "path": "/up", "intervalMs": 100},
            access={"allow": ["10.1.2.3/8"], "deny": ["2001:db8::/32"]},
        )
    )
    assert got.balance == Balance(algorithm=Algorithm.SOURCE, bounded_load=150)
    assert got.sticky is not None
    assert (got.sticky.by, got.sticky.expire) == (StickyBy.SOURCE, 60)
    assert (got.retries.attempts, got.retries.on, got.retries.redispatch) == (0, (RetryOn.CONNECT_FAILURE, RetryOn.STATUS_503), False)
    assert (got.health_check.type, got.health_check.path, got.health_check.interval) == (CheckType.HTTP, "/up", 100)
    assert (got.access.allow, got.access.deny) == (("10.0.0.0/8",), ("2001:db8::/32",))
    assert got.listeners[0].tls is not None
    assert got.listeners[0].tls.mode is TlsMode.PASSTHROUGH


def test_certificates_are_named_by_secret_or_file() -> None:
    tls = {"certificates": [{"secretRef": {"name": "web-tls"}}, {"file": "wild.pem"}]}
    got = parse(_with({"name": "s", "protocol": "HTTPS", "tls": tls})).listeners[0].tls
    assert got is not None
    assert got.certificates == (CertificateName(secret="web-tls"), CertificateName(file="wild.pem"))


_TLS = {"certificates": [{"file": "x.pem"}]}
BAD: dict[str, tuple[Json, str]] = {
    "no listeners": ({"group": "edge"}, "listeners: needs at least one"),
    "listeners that are no list": ({"group": "edge", "listeners": {"a": 1}}, "listeners: must be a list"),
    "two of one name": (_with(http(), http()), "listeners: two listeners have the same name"),
    "unknown protocol": (_with({"name": "x", "protocol": "UDP"}), "listeners[0].protocol: must be one of HTTP, HTTPS, TCP, TLS"),
    "no protocol": (_with({"name": "x"}), "listeners[0].protocol: is required"),
    "no name": (_with({"protocol": "HTTP"}), "listeners[0].name: is required"),
    "port out of range": (_with(http(port=70000)), "listeners[0].port: must be a whole number from 1 to 65535"),
    "port as text": (_with({"name": "a", "protocol": "HTTP", "port": "80"}), "listeners[0].port: must be a whole number"),
    "port as truth": (_with({"name": "a", "protocol": "HTTP", "port": True}), "listeners[0].port: must be a whole number"),
    "tcp without port": (_with({"name": "a", "protocol": "TCP"}), "listeners[0].port: TCP and TLS listeners need a port"),
    "host in capitals": (_with(http("A.example")), "listeners[0].hosts[0]: must be a lower-case host name"),
    "host with a line break": (_with(http("a.example\nbind *:22")), "listeners[0].hosts[0]: has a control character"),
    "path with a space": (_with(http(paths=["/a b"])), "listeners[0].paths[0]: must begin with /"),
    "address": (_with(http(addresses=["localhost"])), "listeners[0].addresses[0]: must be *, an IPv4 or an IPv6 address"),
    "paths of tcp": (_with(tcp(1, paths=["/a"])), "listeners[0]: paths and headers belong to HTTP and HTTPS listeners"),
    "hosts of tcp": (_with(tcp(1, hosts=["a"])), "listeners[0].hosts: a TCP listener cannot tell hosts apart"),
    "https without tls": (_with({"name": "a", "protocol": "HTTPS"}), "listeners[0].tls: HTTPS and TLS listeners need tls"),
    "http with tls": (_with(http(tls=_TLS)), "listeners[0].tls: HTTPS and TLS listeners need tls; HTTP and TCP listeners take none"),
    "https passed through": (
        _with({"name": "a", "protocol": "HTTPS", "tls": {"mode": "Passthrough"}}),
        "listeners[0].tls.mode: only protocol TLS can pass TLS through",
    ),
    "no certificates": (_with({"name": "a", "protocol": "HTTPS", "tls": {}}), "tls.certificates: Terminate needs certificates"),
    "certificate of two places": (
        _with({"name": "a", "protocol": "HTTPS", "tls": {"certificates": [{"file": "x", "secretRef": {"name": "y"}}]}}),
        "tls.certificates[0]: give exactly one of secretRef and file",
    ),
    "file elsewhere": (
        _with({"name": "a", "protocol": "HTTPS", "tls": {"certificates": [{"file": "../etc/key"}]}}),
        "certificates[0].file: must be a file name without /",
    ),
    "tls version": (_with({"name": "a", "protocol": "HTTPS", "tls": {**_TLS, "minVersion": "SSLv3"}}), "minVersion: must be one of"),
    "redirect of https": (
        _with({"name": "a", "protocol": "HTTPS", "tls": _TLS, "redirectToHttps": {}}),
        "redirectToHttps: belongs to HTTP listeners",
    ),
    "redirect code": (_with(http(redirectToHttps={"code": 304})), "redirectToHttps.code: is 301, 302, 303, 307 or 308"),
    "header value and presence": (_with(http(headers=[{"name": "x", "match": "Present", "value": "y"}])), "headers[0].value: belongs to"),
    "header without value": (_with(http(headers=[{"name": "x"}])), "headers[0].value: belongs to"),
    "header name": (_with(http(headers=[{"name": "x y", "value": "z"}])), "headers[0].name: must be the name of a header"),
    "static-rr": (_with(balance={"algorithm": "static-rr"}), "balance.algorithm: must be one of RoundRobin"),
    "hash of nothing": (_with(balance={"algorithm": "Header"}), "balance.name: belongs to Header"),
    "bound without hash": (_with(balance={"boundedLoadPercent": 150}), "balance.boundedLoadPercent: belongs to algorithms that hash"),
    "hash of requests on tcp": (_with(tcp(1), balance={"algorithm": "Uri"}), "balance: this algorithm reads requests"),
    "cookie on tcp": (_with(tcp(1), sticky={}), "sticky: a cookie needs HTTP"),
    "ejection without checks": (_with(outlierEjection={}, healthCheck={"enabled": False}), "outlierEjection: needs healthCheck.enabled"),
    "check path of tcp": (_with(healthCheck={"path": "/x"}), "healthCheck.type: path, method, host and expectStatus belong to type Http"),
    "status range": (_with(healthCheck={"type": "Http", "expectStatus": "2xx"}), "healthCheck.expectStatus: must match"),
    "network": (_with(access={"allow": ["10.0.0.0/33"]}), "access.allow[0]: must be a network"),
    "users without realm": (_with(access={"basicAuth": {"secretRef": {"name": "x"}}}), "access.basicAuth: needs realm and secretRef"),
    "upstream without authority": (_with(upstream={"tls": {"verify": "Required"}}), "upstream.tls.caSecretRef: verify: Required needs"),
    "line of another section": (_with(backendLines=["server evil 1.2.3.4:80"]), "backendLines[0]: does not begin with a keyword"),
    "line that runs a program": (_with(backendLines=["option external-check"]), "backendLines[0]: reaches outside this service"),
    "line that reads a file": (_with(backendLines=["http-request return status 200 file /etc/passwd"]), "backendLines[0]: reaches outside"),
    "line that reads the environment": (_with(backendLines=["http-request set-header X %[env(HOME)]"]), "backendLines[0]: reaches outside"),
    "line break in a line": (_with(backendLines=["option forwardfor\nserver x 1.2.3.4:80"]), "backendLines[0]: has a control character"),
    "header value with a line break": (
        _with(http={"requestHeaders": {"set": [{"name": "X", "value": "a\nb"}]}}),
        "http.requestHeaders.set[0].value: has a control character",
    ),
    "flag as text": (_with(http={"forwarded": "yes"}), "http.forwarded: must be true or false"),
    "object as text": (_with(timeouts="1s"), "timeouts: must be an object"),
}


@pytest.mark.parametrize(("document", "told"), BAD.values(), ids=BAD.keys())
def test_what_is_wrong_is_told_with_its_path(document: Json, told: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse(document)
    assert any(told in f"{e.path.removeprefix('spec.loadBalancer.')}: {e.message}" for e in caught.value.errors), caught.value
    assert all(e.path.startswith("spec.loadBalancer.") for e in caught.value.errors)


def test_everything_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(Invalid) as caught:
        parse(_with(http("A"), tcp(0), balance={"algorithm": "x"}))
    assert len(caught.value.errors) == 3


def test_unknown_fields_of_a_newer_operator_are_ignored() -> None:
    assert parse(_with(http("a", shiny=1), shinier={"x": 1})) == parse(_with(http("a")))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "protocol", "tls", "hosts", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(
            ["group", "listeners", "balance", "sticky", "timeouts", "healthCheck", "retries", "access", "http", "upstream", "backendLines"]
        ),
        json_values,
    )
)
def test_no_document_whatever_raises_anything_but_invalid(document: Json) -> None:
    with contextlib.suppress(Invalid):
        assert parse(document).listeners

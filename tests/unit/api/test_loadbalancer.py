"""Reading spec.loadBalancer: defaults, refusals, and that whoever reads the route beside traffic agrees."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from shuren.api.problems import problems
from shuren.api.schema import structural
from shuren.api.v1alpha1.loadbalancer import LoadBalancer, listener_document
from shuren.domain.errors import Invalid
from shuren.domain.haproxy.parse import parse

Json = dict[str, Any]
HTTP: Json = {"name": "web", "protocol": "HTTP"}
TCP: Json = {"name": "db", "protocol": "TCP", "port": 5432}
TLS: Json = {"certificates": [{"secretRef": {"name": "web-tls"}}]}


def _spec(*listeners: Json, **settings: Any) -> Json:
    return {"group": "edge", "listeners": list(listeners or (HTTP,)), **settings}


def test_the_least_one_can_say() -> None:
    got = LoadBalancer.model_validate(_spec())
    assert listener_document(got) == {
        "group": "edge",
        "listeners": [{"name": "web", "protocol": "HTTP", "acceptProxy": False}],
        "slowStartSeconds": 0,
    }


BAD: dict[str, tuple[Json, str, str]] = {
    "no listeners": (_spec() | {"listeners": []}, "listeners", "must not be empty"),
    "unknown algorithm": (_spec(balance={"algorithm": "static-rr"}), "balance.algorithm", "must be 'RoundRobin'"),
    "tcp without port": (_spec({"name": "x", "protocol": "TCP"}), "listeners[0].port", "TCP and TLS listeners need a port"),
    "https without certificates": (
        _spec({"name": "x", "protocol": "HTTPS", "tls": {}}),
        "listeners[0].tls.certificates",
        "Terminate needs",
    ),
    "passed through with certificates": (
        _spec({"name": "x", "protocol": "TLS", "port": 443, "tls": {**TLS, "mode": "Passthrough"}}),
        "listeners[0].tls.certificates",
        "Terminate needs certificates; Passthrough takes none",
    ),
    "https passed through": (
        _spec({"name": "x", "protocol": "HTTPS", "tls": {"mode": "Passthrough"}}),
        "listeners[0].tls",
        "only protocol TLS can pass TLS through",
    ),
    "http with tls": (_spec({**HTTP, "tls": TLS}), "listeners[0].tls", "HTTPS and TLS listeners need tls"),
    "hosts of tcp": (_spec({**TCP, "hosts": ["a.example"]}), "listeners[0].hosts", "a TCP listener cannot tell hosts apart"),
    "paths of tcp": (_spec({**TCP, "paths": ["/"]}), "listeners[0]", "paths and headers belong to HTTP"),
    "host in capitals": (_spec({**HTTP, "hosts": ["A.example"]}), "listeners[0].hosts[0]", "a host is a lower-case name"),
    "path without slash": (_spec({**HTTP, "paths": ["a"]}), "listeners[0].paths[0]", "a path begins with /"),
    "address": (_spec({**HTTP, "addresses": ["host"]}), "listeners[0].addresses[0]", "an address is *"),
    "redirect of tcp": (_spec({**TCP, "redirectToHttps": {}}), "listeners[0].redirectToHttps", "belongs to HTTP listeners"),
    "redirect code": (_spec({**HTTP, "redirectToHttps": {"code": 305}}), "listeners[0].redirectToHttps.code", "code is 301"),
    "limit of http": (_spec({**HTTP, "maxConnections": 5}), "listeners[0].maxConnections", "belongs to TCP listeners"),
    "header without value": (_spec({**HTTP, "headers": [{"name": "x"}]}), "listeners[0].headers[0].value", "value belongs to Exact"),
    "header with a space": (
        _spec({**HTTP, "headers": [{"name": "x y", "value": "1"}]}),
        "listeners[0].headers[0].name",
        "the name of a header",
    ),
    "hash without name": (_spec(balance={"algorithm": "Header"}), "balance.name", "name belongs to Header"),
    "bound without hash": (_spec(balance={"boundedLoadPercent": 150}), "balance.boundedLoadPercent", "belongs to algorithms that hash"),
    "cookie on tcp": (_spec(TCP, sticky={}), "sticky", "a cookie needs HTTP"),
    "hash of requests on tcp": (_spec(TCP, balance={"algorithm": "Uri"}), "balance", "this algorithm reads requests"),
    "ejection without checks": (_spec(outlierEjection={}, healthCheck={"enabled": False}), "outlierEjection", "needs healthCheck.enabled"),
    "path of a tcp check": (_spec(healthCheck={"path": "/"}), "healthCheck", "belong to type Http"),
    "authority without verify": (
        _spec(upstream={"tls": {"caSecretRef": {"name": "x"}}}),
        "upstream.tls.caSecretRef",
        "verify: Required needs",
    ),
    "line of another section": (_spec(backendLines=["server x 1.2.3.4:1"]), "backendLines[0]", "a line begins with acl"),
    "line break": (_spec(backendLines=["acl x\ny"]), "backendLines[0]", "a line begins with acl"),
    "two names": (_spec(HTTP, {**HTTP, "port": 81}), "listeners", "two listeners have the same name"),
    "bad network": (_spec(access={"allow": ["x"]}), "access.allow[0]", "a network is such as"),
}


@pytest.mark.parametrize(("spec", "path", "message"), BAD.values(), ids=BAD.keys())
def test_refusals(spec: Json, path: str, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        LoadBalancer.model_validate(spec)
    found = problems(caught.value)
    assert any(p.path == path and message in p.message for p in found), found


@pytest.mark.parametrize("spec", [spec for spec, _, _ in BAD.values()], ids=BAD.keys())
def test_what_the_models_refuse_the_load_balancer_refuses_too(spec: Json) -> None:
    with pytest.raises(Invalid):
        parse(spec)


def test_the_schema_is_structural_and_lists_merge_by_name() -> None:
    schema = structural(LoadBalancer)
    assert schema["properties"]["listeners"]["x-kubernetes-list-map-keys"] == ["name"]
    assert "static-rr" not in str(schema)

"""From Marathon's definitions and marathon-lb's labels to resources."""

from __future__ import annotations

from typing import Any

import pytest

from shuren.api.v1alpha1 import paasservice
from shuren.domain.importing.apps import imported
from shuren.domain.importing.marathonlb import Converted, convert
from shuren.domain.importing.naming import Place, places
from shuren.domain.marathon.state import MarathonInfo

INFO = MarathonInfo(version="1.11", framework_id=None, leader=None)
Json = dict[str, Any]


def converted(labels: Json, **fields: Any) -> Converted:
    definition = {"labels": labels, "portDefinitions": [{"port": 10001}, {"port": 10002}], **fields}
    found = convert(definition, app="web", cluster="bj1")
    for service in found.services:
        body = {"apiVersion": "paas.shurenyun.com/v1alpha1", "kind": "PaasService", "metadata": {"name": "web"}, "spec": service.spec}
        paasservice.read(body)
    return found


# ---------------------------------------------------------------------------------------------------- names


def test_ids_become_names_and_no_two_the_same() -> None:
    found = places(["/shop/web", "/a-b/c", "/a/b-c", "/top"], namespace="default")
    assert found["/shop/web"] == Place(namespace="default", name="shop-web")
    assert found["/top"].name == "top"
    assert len({place.name for place in found.values()}) == 4
    assert found["/a-b/c"].name.startswith("a-b-c-")


def test_groups_become_namespaces() -> None:
    found = places(["/shop/team/web", "/a.b/c", "/top"], namespace="default", by_group=True)
    assert found["/shop/team/web"] == Place(namespace="shop", name="team-web")
    assert found["/a.b/c"].namespace == "a-b"
    assert found["/top"] == Place(namespace="default", name="top")


# ---------------------------------------------------------------------------------------------------- apps


def test_what_marathon_would_fill_in_the_same_way_is_left_out() -> None:
    definition: Json = {
        "id": "/shop/web",
        "cmd": "sleep 1",
        "cpus": 1,
        "mem": 128,
        "disk": 0,
        "instances": 2,
        "backoffFactor": 1.15,
        "backoffSeconds": 1,
        "maxLaunchDelaySeconds": 300,
        "killSelection": "YOUNGEST_FIRST",
        "upgradeStrategy": {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 1},
        "version": "2020-01-01T00:00:00.000Z",
        "versionInfo": {"lastScalingAt": "x"},
        "labels": {},
        "env": {},
    }
    found = imported(definition, namespace="shop", name="web", cluster="bj1", info=INFO)
    assert found.spec == {
        "clusterRef": {"name": "bj1"},
        "cmd": "sleep 1",
        "cpus": 1,
        "mem": 128,
        "instances": 2,
        "upgradeStrategy": {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 1},
        "management": {"adoption": "AdoptIfIdentical"},
    }
    assert found.differs == ()
    elsewhere = imported(definition, namespace="team", name="web", cluster="bj1", info=INFO, whole=True)
    assert (elsewhere.spec["id"], elsewhere.spec["backoffFactor"]) == ("/shop/web", 1.15)


def test_what_looks_like_a_secret_goes_into_one() -> None:
    env: Json = {"DB_PASSWORD": "x", "API_KEY": "y", "PASSENGERS": "3", "MODE": "z", "TOKEN": {"secret": "dcos"}}
    found = imported({"id": "/a", "cmd": "x", "env": env}, namespace="n", name="a", cluster="c", info=INFO, secret="a-env")
    assert found.secrets == {"API_KEY": "y", "DB_PASSWORD": "x"}
    assert found.spec["env"] == {"PASSENGERS": "3", "MODE": "z", "TOKEN": {"secret": "dcos"}}
    assert found.spec["envRefs"][0] == {"name": "API_KEY", "secretKeyRef": {"name": "a-env", "key": "API_KEY"}}


# ---------------------------------------------------------------------------------------------------- marathon-lb


def test_an_app_without_labels_or_without_group_has_no_service() -> None:
    assert converted({}) == Converted()
    assert converted({"HAPROXY_0_VHOST": "a.example.org"}).services == ()
    assert "without HAPROXY_GROUP" in converted({"HAPROXY_0_VHOST": "a.example.org"}).notes[0]


def test_hosts_become_listeners_on_80_and_443() -> None:
    labels = {
        "HAPROXY_GROUP": "external",
        "HAPROXY_0_VHOST": "A.example.org, b.example.org",
        "HAPROXY_0_PATH": "/api",
        "HAPROXY_0_SSL_CERT": "/etc/ssl/shop.pem",
        "HAPROXY_0_REDIRECT_TO_HTTPS": "true",
        "HAPROXY_0_STICKY": "true",
        "HAPROXY_0_USE_HSTS": "true",
        "HAPROXY_0_BALANCE": "leastconn",
        "HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL": "10.0.0.0/8 192.168.0.0/16",
        "HAPROXY_0_HTTP_BACKEND_PROXYPASS_PATH": "/api",
        "HAPROXY_1_ENABLED": "false",
    }
    found = converted(labels)
    (service,) = found.services
    balancer = service.spec["loadBalancer"]
    assert balancer["group"] == "external"
    way = {"hosts": ["a.example.org", "b.example.org"], "paths": ["/api"]}
    assert balancer["listeners"] == [
        {"name": "port", "protocol": "HTTP", "port": 10001},
        {"name": "http", "protocol": "HTTP", "port": 80, **way, "redirectToHttps": {}},
        {"name": "https", "protocol": "HTTPS", "port": 443, **way, "tls": {"certificates": [{"file": "shop.pem"}]}},
    ]
    assert balancer["sticky"] == {"by": "Cookie"}
    assert balancer["balance"] == {"algorithm": "LeastConnections"}
    assert balancer["access"] == {"allow": ["10.0.0.0/8", "192.168.0.0/16"]}
    assert balancer["http"] == {"hsts": {}, "rewrite": {"removePrefix": "/api"}}
    assert any("HAPROXY_1_ENABLED" in note for note in found.notes)


def test_a_port_without_host_is_tcp_unless_it_is_checked_by_http() -> None:
    labels = {"HAPROXY_GROUP": "internal", "HAPROXY_1_PORT": "9000", "HAPROXY_1_BIND_ADDR": "10.0.0.1"}
    first, second = converted(labels, healthChecks=[{"protocol": "HTTP", "portIndex": 0}]).services
    assert first.spec["loadBalancer"]["listeners"] == [{"name": "port", "protocol": "HTTP", "port": 10001}]
    assert second.suffix == "-1"
    assert second.spec["backends"] == [{"name": "main", "appRef": {"name": "web"}, "portIndex": 1}]
    assert second.spec["loadBalancer"]["listeners"] == [{"name": "port", "protocol": "TCP", "port": 9000, "addresses": ["10.0.0.1"]}]


def test_checks_access_and_what_is_bound() -> None:
    labels = {
        "HAPROXY_GROUP": "external",
        "HAPROXY_0_VHOST": "a.example.org",
        "HAPROXY_0_BIND_OPTIONS": "accept-proxy ciphers AES128+EECDH",
        "HAPROXY_0_AUTH": "staff only:ann:$6$salt$hash",
        "HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL": "10.0.0.0/8",
        "HAPROXY_0_BACKEND_HEALTHCHECK_PORT_INDEX": "1",
    }
    ports = [{"port": 10001, "name": "http"}, {"port": 10002, "name": "admin"}]
    checks = [{"protocol": "MESOS_HTTP", "path": "/one"}, {"protocol": "HTTPS", "path": "/two", "portIndex": 1}]
    found = converted(labels, portDefinitions=ports, healthChecks=checks)
    first, second = (service.spec["loadBalancer"] for service in found.services)
    assert all(listener["acceptProxy"] for listener in first["listeners"])
    assert first["access"] == {"allow": ["10.0.0.0/8"], "basicAuth": {"realm": "staff only", "secretRef": {"name": "web-auth"}}}
    assert first["healthCheck"] == {"type": "Http", "path": "/two", "tls": True, "port": "admin"}
    assert second["healthCheck"] == {"type": "Http", "path": "/two", "tls": True}
    told = "\n".join(found.notes)
    assert "'ciphers AES128+EECDH' is not converted" in told
    assert "make a Secret web-auth with the key `auth`: ann:" in told
    assert "hash, as in the label" in told
    assert "$6$" not in told, "what lies beside resources in Git holds no hash"


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({"HAPROXY_0_BACKEND_HTTP_OPTIONS": "option x"}, "HAPROXY_0_BACKEND_HTTP_OPTIONS: has no equal"),
        ({"HAPROXY_DEPLOYMENT_GROUP": "blue"}, "zero-downtime"),
        ({"HAPROXY_0_VHOST": "a_b!c"}, "is no host name"),
        ({"HAPROXY_0_BALANCE": "rdp-cookie"}, "has no equal"),
        ({"HAPROXY_GROUP": "external,internal"}, "make another service for internal"),
        ({"HAPROXY_GROUP": "*"}, "cannot be the name of a group"),
    ],
)
def test_labels_that_have_no_equal_are_named(labels: Json, words: str) -> None:
    assert any(words in note for note in converted({"HAPROXY_GROUP": "external", **labels}).notes)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({"HAPROXY_0_PORT": "many"}, "'many' is no port"),
        ({"HAPROXY_0_PATH": "api", "HAPROXY_0_VHOST": "a.example.org"}, "does not begin with /"),
        ({"HAPROXY_0_BACKEND_WEIGHT": "3"}, "the longest path wins"),
        ({"HAPROXY_0_SSL_CERT": "/a.pem"}, "TLS on the service port is not converted"),
        ({"HAPROXY_0_VHOST": "a.example.org", "HAPROXY_0_REDIRECT_TO_HTTPS": "1"}, "where nothing listens before that"),
        ({"HAPROXY_0_BACKEND_HEALTHCHECK_PORT_INDEX": "two", "HAPROXY_0_VHOST": "a.example.org"}, "'two' is no index of a port"),
        ({"HAPROXY_0_BACKEND_HEALTHCHECK_PORT_INDEX": "1", "HAPROXY_0_VHOST": "a.example.org"}, "no check by HTTP of port 1"),
        ({"HAPROXY_0_AUTH": "r:ann:x"}, "a TCP listener asks nobody"),
        ({"HAPROXY_x": "y"}, "no label of marathon-lb that is known here"),
    ],
)
def test_more_labels_that_need_a_look(labels: Json, words: str) -> None:
    assert any(words in note for note in converted({"HAPROXY_GROUP": "external", **labels}).notes)


def test_a_port_that_listens_nowhere_has_no_service() -> None:
    found = convert({"labels": {"HAPROXY_GROUP": "external", "HAPROXY_0_MODE": "tcp"}}, app="web", cluster="bj1")
    assert (found.services, "neither a host nor a port" in found.notes[0]) == ((), True)
    bridged = {"container": {"portMappings": [{"containerPort": 80, "servicePort": 10005}]}}
    (service,) = convert({"labels": {"HAPROXY_GROUP": "external"}, **bridged}, app="web", cluster="bj1").services
    assert service.spec["loadBalancer"]["listeners"][0]["port"] == 10005
    sticky = {"HAPROXY_GROUP": "external", "HAPROXY_0_STICKY": "true", "HAPROXY_0_HTTP_BACKEND_REVPROXY_PATH": "/x"}
    balanced = converted(sticky).services[0].spec["loadBalancer"]
    assert (balanced["sticky"], "http" in balanced) == ({"by": "Source"}, False)

"""A PaasService on the real API server, ZooKeeper and engine: what lies where, and what is left when it goes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from kazoo.client import KazooClient

from service_bodies import app, put, service
from shuren.devenv.background import Sandbox
from shuren.devenv.errors import DevenvError
from waiting import eventually

ROOT = "/shuren/sandbox"


def head(client: KazooClient, namespace: str, name: str) -> dict[str, Any]:
    if client.exists(f"{ROOT}/endpoints/{namespace}.{name}") is None:
        return {}
    document: dict[str, Any] = json.loads(client.get(f"{ROOT}/endpoints/{namespace}.{name}")[0])
    return document


def ready(client: KazooClient, namespace: str, name: str) -> int:
    return sum(e["state"] == "ready" for e in head(client, namespace, name).get("endpoints", ()))


def test_a_service_follows_its_app_and_leaves_nothing_behind(
    operated: Sandbox, operated_namespace: str, zookeeper: KazooClient, records: str
) -> None:
    namespace, folder = operated_namespace, f"{records}/{operated_namespace}"
    discovery = {
        "curator": {"path": f"{folder}/curator"},
        "serverset": {"path": f"{folder}/serverset"},
        "nerve": {"path": f"{folder}/nerve"},
    }
    put(operated, namespace, app("web"))
    put(operated, namespace, service("web", discovery=discovery))
    operated.kubectl("-n", namespace, "wait", "paasservice/web", "--for=condition=Ready", "--timeout=90s")
    eventually(lambda: ready(zookeeper, namespace, "web") == 2, seconds=30)
    for kind in discovery:
        assert len(zookeeper.get_children(f"{folder}/{kind}")) == 2
    assert json.loads(zookeeper.get(f"{ROOT}/names/{namespace}.web")[0])["names"] == [f"web.{namespace}"]
    shown = operated.get("-n", namespace, "paasservice", "web")["status"]
    assert shown["names"] == [f"web.{namespace}.mesos.test"]
    generation = head(zookeeper, namespace, "web")["generation"]
    operated.kubectl("-n", namespace, "scale", "paasapp/web", "--replicas=1")
    eventually(lambda: ready(zookeeper, namespace, "web") == 1, seconds=60)
    assert head(zookeeper, namespace, "web")["generation"] > generation
    eventually(lambda: all(len(zookeeper.get_children(f"{folder}/{kind}")) == 1 for kind in discovery), seconds=30)
    operated.kubectl("-n", namespace, "delete", "paasservice/web", "--timeout=60s")
    assert head(zookeeper, namespace, "web") == {}
    assert all(zookeeper.get_children(f"{folder}/{kind}") == [] for kind in discovery)


def test_pods_reach_what_lies_outside_of_mesos_by_a_selectorless_service(operated: Sandbox, operated_namespace: str) -> None:
    namespace = operated_namespace
    addresses = [{"host": f"10.9.{n // 250}.{n % 250 + 1}", "port": 5432} for n in range(120)]
    backends = [{"name": "outside", "addresses": addresses}]
    put(operated, namespace, service("db", backends=backends, discovery={"kubernetes": {"service": "db", "port": 5432}}))
    operated.kubectl("-n", namespace, "wait", "paasservice/db", "--for=condition=Ready", "--timeout=60s")

    def sizes() -> list[int]:
        found = json.loads(operated.kubectl("-n", namespace, "get", "endpointslices", "-l", "kubernetes.io/service-name=db", "-o", "json"))
        return sorted(len(item["endpoints"]) for item in found["items"])

    eventually(lambda: sizes() == [20, 100], seconds=30)
    shown = operated.get("-n", namespace, "service", "db")
    assert "selector" not in shown["spec"]
    fewer = [{"name": "outside", "addresses": addresses[:50]}]
    put(operated, namespace, service("db", backends=fewer, discovery={"kubernetes": {"service": "db", "port": 5432}}))
    eventually(lambda: sum(sizes()) == 50, seconds=30)
    operated.kubectl("-n", namespace, "delete", "paasservice/db", "--timeout=60s")
    # the garbage collector takes what the PaasService owned
    eventually(lambda: sizes() == [], seconds=60)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"backends": [{"name": "x"}]}, "give exactly one of appRef, selector and addresses"),
        ({"backends": [{"name": "x", "appRef": {"name": "a"}, "portName": "h", "portIndex": 1}]}, "give portName or portIndex, not both"),
        ({"backends": [{"name": "x", "addresses": [{"host": "a", "port": 1}], "portIndex": 1}]}, "addresses carry their own ports"),
        ({"backends": []}, "spec.backends"),
        ({"dns": {"names": ["Web"]}}, "a name is relative to the cluster's zone, in lower case"),
        ({"discovery": {"nerve": {"path": "discovery"}}}, "path is a ZooKeeper path"),
        ({"panicThreshold": 2}, "spec.panicThreshold"),
    ],
)
def test_the_api_server_refuses_what_it_can_and_names_the_field(
    operated: Sandbox, operated_namespace: str, spec: dict[str, Any], words: str
) -> None:
    body = json.dumps(service("bad", **spec))
    with pytest.raises(DevenvError) as caught:
        operated.kubectl("-n", operated_namespace, "apply", "-f", "-", stdin=body)
    assert words in str(caught.value)

"""The admission policy for tenancy on a real API server: it says what the operator would say, and judges nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kube_rest import Answer, Rest
from shuren.controllers.mesoscluster.gather import settings
from shuren.devenv.background import Sandbox
from shuren.domain.tenancy import Namespace, refusal
from waiting import eventually

POLICY = Path(__file__).parents[3] / "manifests" / "tenancy" / "admission.yaml"
API = "paas.shurenyun.com/v1alpha1"
PREFIX = "tenancy"

NAMESPACES: dict[str, dict[str, str]] = {
    f"{PREFIX}-shop": {"tier": "prod", "team": "shop"},
    f"{PREFIX}-lab": {"tier": "test"},
    f"{PREFIX}-plain": {},
}
TENANCIES: dict[str, dict[str, Any] | None] = {
    "open": None,
    "prod": {"namespaces": {"matchLabels": {"tier": "prod"}}},
    "one-of": {"namespaces": {"matchExpressions": [{"key": "tier", "operator": "In", "values": ["prod", "test"]}]}},
    "none-of": {"namespaces": {"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["test"]}]}},
    "labelled": {"namespaces": {"matchExpressions": [{"key": "team", "operator": "Exists"}]}},
    "unlabelled": {"namespaces": {"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]}},
    "grants": {
        "idPrefixes": [
            {"namespaceSelector": {"matchLabels": {"team": "shop"}}, "prefixes": ["/front", "/back/"]},
            {"namespaceSelector": {"matchExpressions": [{"key": "tier", "operator": "In", "values": ["test"]}]}, "prefixes": ["/"]},
        ]
    },
}
IDS = (
    "",
    "/{namespace}/web",
    "{namespace}/web",
    "/{namespace}",
    "/{namespace}x/web",
    "/front",
    "/front/web",
    "/frontier",
    "/back/web",
    "/back",
    "/x/y",
)


def cluster(name: str, tenancy: dict[str, Any] | None) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "marathon": {"urls": ["http://127.0.0.1:9"]},
        "zookeeper": {"hosts": ["127.0.0.1:9"], "root": f"/shuren/{name}"},
    }
    return {
        "apiVersion": API,
        "kind": "MesosCluster",
        "metadata": {"name": name},
        "spec": {**spec, **({"tenancy": tenancy} if tenancy else {})},
    }


def app(namespace: str, of: str, app_id: str = "") -> dict[str, Any]:
    spec = {"clusterRef": {"name": of}, "cmd": "sleep 1", "instances": 1, **({"id": app_id} if app_id else {})}
    return {"apiVersion": API, "kind": "PaasApp", "metadata": {"name": "web", "namespace": namespace}, "spec": spec}


@pytest.fixture(scope="module")
def rest(kube: Sandbox) -> Iterator[Rest]:
    client = Rest(kube.endpoints.kubeconfig)
    clusters = [cluster(f"{PREFIX}-{name}", tenancy) for name, tenancy in TENANCIES.items()]
    records = {"recordRoots": ["/discovery"]}
    spaces = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}} for name, labels in NAMESPACES.items()
    ]
    made = json.dumps({"apiVersion": "v1", "kind": "List", "items": [*clusters, cluster(f"{PREFIX}-records", records), *spaces]})
    kube.kubectl("apply", "-f", "-", stdin=made)
    kube.kubectl("apply", "-f", str(POLICY))
    eventually(lambda: client.create(app(f"{PREFIX}-lab", f"{PREFIX}-prod")).status == 403)
    eventually(lambda: client.create(app(f"{PREFIX}-lab", f"{PREFIX}-open")).status == 201)
    yield client
    kube.kubectl("delete", "-f", str(POLICY))
    kube.kubectl("delete", "-f", "-", "--wait=false", stdin=made)
    client.close()


def _says(answer: Answer) -> str:
    return "" if answer.status == 201 else str(answer.body["message"])


@pytest.mark.parametrize("name", TENANCIES)
def test_who_may_use_a_cluster_and_which_ids_is_judged_as_the_operator_judges_it(rest: Rest, name: str) -> None:
    of = f"{PREFIX}-{name}"
    tenancy = settings(cluster(of, TENANCIES[name])).tenancy
    judged = {True: 0, False: 0}
    for namespace, labels in NAMESPACES.items():
        # Kubernetes adds this label to every namespace
        seen = Namespace(name=namespace, labels={**labels, "kubernetes.io/metadata.name": namespace})
        for pattern in IDS:
            app_id = pattern.format(namespace=namespace)
            absolute = f"/{app_id.lstrip('/')}" if app_id else f"/{namespace}/web"
            expected = refusal(tenancy, seen, absolute, cluster=of)

            answer = rest.create(app(namespace, of, app_id))

            assert (answer.status == 201) == (expected is None), f"{namespace} {app_id}: {expected or 'allowed'} / {answer.body}"
            judged[expected is None] += 1
            if expected is not None:
                assert answer.status == 403
                field = "spec.clusterRef" if "may not use cluster" in expected else "spec.id"
                assert f"{field}: namespace {namespace} may not" in _says(answer)
    assert judged[True] > 0
    assert judged[False] > 0


def test_a_cluster_that_is_not_there_yet_is_no_reason_to_refuse(rest: Rest) -> None:
    assert rest.create(app(f"{PREFIX}-plain", "to-come", "/anything/at-all")).status == 201


@pytest.mark.parametrize(
    ("path", "allowed"), [("/discovery/web", True), ("/discovery", False), ("/discoveries/web", False), ("/shuren/other/owners", False)]
)
def test_records_lie_below_the_roots_that_the_cluster_grants(rest: Rest, path: str, *, allowed: bool) -> None:
    namespace = f"{PREFIX}-plain"
    backend = {"name": "web", "appRef": {"name": "web"}, "portName": "http"}
    spec = {"clusterRef": {"name": f"{PREFIX}-records"}, "backends": [backend], "discovery": {"serverset": {"path": path}}}

    answer = rest.create({"apiVersion": API, "kind": "PaasService", "metadata": {"name": "web", "namespace": namespace}, "spec": spec})

    assert answer.status == (201 if allowed else 403), answer.body
    if not allowed:
        assert "spec.discovery.serverset: the path lies outside spec.tenancy.recordRoots" in _says(answer)


def test_a_resource_from_before_a_rule_keeps_what_it_has_and_can_be_let_go(rest: Rest, kube: Sandbox) -> None:
    namespace, name = f"{PREFIX}-lab", f"{PREFIX}-later"
    kube.apply(cluster(name, None))
    kube.apply({**app(namespace, name), "metadata": {"name": "old", "namespace": namespace, "finalizers": ["example.com/hold"]}})
    kube.apply(cluster(name, TENANCIES["prod"]))
    eventually(lambda: rest.create(app(namespace, name)).status == 403)
    kube.kubectl("-n", namespace, "annotate", "paasapp/old", "seen=yes")
    kube.kubectl("-n", namespace, "patch", "paasapp/old", "--type=merge", '-p={"metadata": {"finalizers": []}}')
    kube.kubectl("-n", namespace, "delete", "paasapp/old", "--timeout=30s")
    kube.kubectl("delete", "mesoscluster", name)

"""Status, scale, columns and rights on a real API server."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

import app_corpus
from kube_rest import GROUP, Answer, Rest
from shuren.devenv.background import Sandbox

CONDITION = {
    "type": "Ready",
    "status": "True",
    "observedGeneration": 1,
    "lastTransitionTime": "2026-01-01T00:00:00Z",
    "reason": "Deployed",
    "message": "3 of 3 instances are healthy",
}
FULL_STATUS: dict[str, Any] = {
    "observedGeneration": 1,
    "conditions": [CONDITION],
    "instances": 3,
    "selector": "paas.shurenyun.com/app=web",
    "counts": {"desired": 3, "staged": 0, "running": 3, "healthy": 3, "unhealthy": 0, "updated": 3},
    "ready": "3/3",
    "cluster": "bj1",
    "marathon": {
        "id": "/default/web",
        "version": "2026-01-01T00:00:00.000Z",
        "deployment": {"id": "5f7a", "step": 1, "totalSteps": 2, "deadline": "2026-01-01T00:10:00Z"},
    },
    "revision": {"current": "a1", "target": "b2", "lastGood": "a1", "failed": "c3"},
    "lastTaskFailure": {
        "message": "Command exited with status 1",
        "host": "127.1.0.1",
        "time": "2026-01-01T00:00:00.000Z",
        "attempt": 2,
        "taskId": "default_web.instance-1._app.2",
        "state": "TASK_FAILED",
    },
    "waiting": {"reason": "Backoff", "message": "next launch in 4 s", "backoffUntil": "2026-01-01T00:00:04Z"},
    "drift": {"detected": True, "count": 1, "sample": [{"path": "/cpus", "desired": "0.1", "actual": "1"}]},
    "warnings": ["spec.uris: deprecated"],
}
CLUSTER_STATUS: dict[str, Any] = {
    "observedGeneration": 1,
    "conditions": [CONDITION],
    "marathon": {"reachable": True, "version": "1.11.24", "leader": "m1:8080", "frameworkId": "f-1"},
    "mesos": {"reachable": True, "version": "1.11.0", "leader": "10.0.0.1:5050", "agents": 3},
    "zookeeper": {"reachable": True, "version": "3.8.0"},
    "counts": {"apps": 7, "managed": 5, "tasks": 20, "deployments": 1},
    "resources": {
        "total": {"cpus": 12.0, "mem": 4096, "disk": 0, "gpus": 0},
        "used": {"cpus": 1.5, "mem": 512, "disk": 0, "gpus": 0},
    },
    "lastFullSync": "2026-01-01T00:00:00Z",
}


@pytest.fixture(scope="module")
def admin(kube: Sandbox) -> Iterator[Rest]:
    client = Rest(kube.endpoints.kubeconfig)
    yield client
    client.close()


@pytest.fixture(scope="module")
def operator(kube: Sandbox) -> Iterator[Rest]:
    client = Rest(kube.endpoints.operator_kubeconfig)
    yield client
    client.close()


def _app(admin: Rest, namespace: str) -> str:
    answer = admin.create(app_corpus.paas_app("web", {"cmd": "sleep 1", "instances": 3}, namespace=namespace), dry_run=False)
    assert answer.status == 201, answer.body
    return f"{GROUP}/namespaces/{namespace}/paasapps/web"


def _apply_status(client: Rest, path: str, kind: str, status: dict[str, Any]) -> Answer:
    name = path.rsplit("/", 1)[-1]
    body = {"apiVersion": "paas.shurenyun.com/v1alpha1", "kind": kind, "metadata": {"name": name}, "status": status}
    query = {"fieldManager": "test", "force": "true", "fieldValidation": "Strict"}
    return client.call("PATCH", f"{path}/status", body, content_type="application/apply-patch+yaml", **query)


def test_the_operator_writes_a_full_status_and_nothing_is_dropped(admin: Rest, operator: Rest, kube_namespace: str) -> None:
    path = _app(admin, kube_namespace)

    answer = _apply_status(operator, path, "PaasApp", FULL_STATUS)

    assert (answer.status, answer.warnings) == (200, ())
    assert answer.body["status"] == FULL_STATUS
    assert len(json.dumps(FULL_STATUS)) < 4096


def test_a_full_status_of_a_cluster_too(admin: Rest, operator: Rest) -> None:
    spec = {"marathon": {"urls": ["http://m:8080"]}, "zookeeper": {"hosts": ["zk:2181"], "root": "/shuren/status"}}
    cluster = {"apiVersion": "paas.shurenyun.com/v1alpha1", "kind": "MesosCluster", "metadata": {"name": "status"}, "spec": spec}
    admin.create(cluster, dry_run=False)
    path = f"{GROUP}/mesosclusters/status"
    try:
        answer = _apply_status(operator, path, "MesosCluster", CLUSTER_STATUS)
        assert (answer.status, answer.warnings) == (200, ())
        assert answer.body["status"] == CLUSTER_STATUS
    finally:
        admin.call("DELETE", path)


def test_scale_reads_status_and_writes_instances(admin: Rest, operator: Rest, kube: Sandbox, kube_namespace: str) -> None:
    path = _app(admin, kube_namespace)
    _apply_status(operator, path, "PaasApp", FULL_STATUS)

    kube.kubectl("-n", kube_namespace, "scale", "papp/web", "--replicas=5")

    scale = admin.call("GET", f"{path}/scale").body
    assert scale["spec"]["replicas"] == 5
    assert scale["status"] == {"replicas": 3, "selector": "paas.shurenyun.com/app=web"}
    assert admin.call("GET", path).body["spec"]["instances"] == 5


def test_columns_and_waiting_for_ready(admin: Rest, operator: Rest, kube: Sandbox, kube_namespace: str) -> None:
    path = _app(admin, kube_namespace)
    _apply_status(operator, path, "PaasApp", FULL_STATUS)

    table = kube.kubectl("-n", kube_namespace, "get", "papp").split("\n")
    wide = kube.kubectl("-n", kube_namespace, "get", "shuren", "-o", "wide")
    kube.kubectl("-n", kube_namespace, "wait", "papp/web", "--for=condition=Ready", "--timeout=5s")

    assert table[0].split() == ["NAME", "READY", "INSTANCES", "UPDATED", "CLUSTER", "MARATHON-ID", "AGE"]
    assert table[1].split()[:6] == ["web", "True", "3/3", "3", "bj1", "/default/web"]
    assert "3 of 3 instances are healthy" in wide


def test_apps_of_one_cluster_by_field_selector(admin: Rest, kube_namespace: str) -> None:
    path = _app(admin, kube_namespace).rsplit("/", 1)[0]

    assert [item["metadata"]["name"] for item in admin.call("GET", path, fieldSelector="spec.clusterRef.name=bj1").body["items"]] == ["web"]
    assert admin.call("GET", path, fieldSelector="spec.clusterRef.name=other").body["items"] == []


def test_every_field_is_explained(kube: Sandbox) -> None:
    assert "Marathon's default: 1." in kube.kubectl("explain", "paasapp.spec.cpus")
    assert "ZooKeeper" in kube.kubectl("explain", "mesoscluster.spec.zookeeper")


ALLOWED = [
    "list paasapps.paas.shurenyun.com -A",
    "watch mesosclusters.paas.shurenyun.com",
    "patch paasapps.paas.shurenyun.com -A",
    "patch paasapps.paas.shurenyun.com --subresource=status -A",
    "patch mesosclusters.paas.shurenyun.com --subresource=status",
    "create controllerrevisions.apps -A",
    "delete controllerrevisions.apps -A",
    "create events.events.k8s.io -A",
    "list namespaces",
    "create leases.coordination.k8s.io -n shuren-system",
    "list secrets -n shuren-system",
]
DENIED = [
    "create paasapps.paas.shurenyun.com -A",
    "delete paasapps.paas.shurenyun.com -A",
    "update paasapps.paas.shurenyun.com -A",
    "update paasapps.paas.shurenyun.com --subresource=scale -A",
    "list secrets -A",
    "get secrets -n default",
    "list configmaps -A",
    "create leases.coordination.k8s.io -n default",
    "get pods -A",
    "create customresourcedefinitions.apiextensions.k8s.io",
    "create tokenreviews.authentication.k8s.io",
]


def _can(kube: Sandbox, question: str) -> bool:
    return kube.kubectl("auth", "can-i", *question.split(), as_operator=True, check=False).strip().startswith("yes")


@pytest.mark.parametrize("question", ALLOWED)
def test_the_operator_may(kube: Sandbox, question: str) -> None:
    assert _can(kube, question)


@pytest.mark.parametrize("question", DENIED)
def test_the_operator_may_not(kube: Sandbox, question: str) -> None:
    assert not _can(kube, question)


@pytest.mark.parametrize(
    ("role", "yes", "no"), [("view", "list", "create"), ("edit", "create", "bind"), ("admin", "deletecollection", "bind")]
)
def test_people_get_rights_through_the_common_roles(admin: Rest, role: str, yes: str, no: str) -> None:
    rules = admin.call("GET", f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{role}").body["rules"]

    verbs = {verb for rule in rules if "paasapps" in rule.get("resources", []) for verb in rule["verbs"]}
    assert yes in verbs or "*" in verbs
    assert no not in verbs


def test_manifests_apply_twice_without_a_change(kube: Sandbox) -> None:
    """`kubectl diff` exits with 1 when applying would change something."""
    endpoints = kube.endpoints
    base = __file__.rsplit("/tests/", 1)[0] + "/manifests/base"
    kubectl = [f"{endpoints.path_prefix}/kubectl", f"--kubeconfig={endpoints.kubeconfig}"]

    result = subprocess.run(
        [*kubectl, "diff", "--server-side", "--force-conflicts", "-k", base], capture_output=True, text=True, check=False
    )

    assert (result.returncode, result.stdout) == (0, "")

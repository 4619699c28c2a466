"""The control plane is a real one: garbage collection, namespace deletion, RBAC and audit do what Kubernetes does."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from shuren.devenv.background import OPERATOR_USER, Sandbox
from shuren.devenv.errors import DevenvError
from waiting import eventually


def config_map(name: str, namespace: str, owner: dict[str, str]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "ownerReferences": [owner]}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


def test_a_child_is_collected_after_its_owner(kube: Sandbox, kube_namespace: str) -> None:
    kube.kubectl("-n", kube_namespace, "create", "configmap", "parent")
    uid = kube.get("-n", kube_namespace, "configmap", "parent")["metadata"]["uid"]
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "parent", "uid": uid}
    kube.apply(config_map("child", kube_namespace, owner))
    kube.kubectl("-n", kube_namespace, "delete", "configmap", "parent")

    def gone() -> bool:
        return "child" not in kube.kubectl("-n", kube_namespace, "get", "configmaps", "-o", "name")

    eventually(gone)


def test_an_owned_object_goes_with_its_custom_resource(kube: Sandbox, kube_namespace: str) -> None:
    """The collector knows our kinds from its start, because the CRDs were there before it."""
    app = {"apiVersion": "paas.shurenyun.com/v1alpha1", "kind": "PaasApp", "metadata": {"name": "web", "namespace": kube_namespace}}
    kube.apply({**app, "spec": {"clusterRef": {"name": "sandbox"}, "cmd": "sleep 1"}})
    uid = kube.get("-n", kube_namespace, "paasapp", "web")["metadata"]["uid"]
    owner = {"apiVersion": app["apiVersion"], "kind": "PaasApp", "name": "web", "uid": uid}
    kube.apply(config_map("child", kube_namespace, owner))
    kube.kubectl("-n", kube_namespace, "delete", "paasapp", "web")
    eventually(lambda: "child" not in kube.kubectl("-n", kube_namespace, "get", "configmaps", "-o", "name"))


def test_a_deleted_namespace_takes_its_content_along(kube: Sandbox, kube_namespace: str) -> None:
    kube.kubectl("-n", kube_namespace, "create", "configmap", "content")
    kube.kubectl("delete", "namespace", kube_namespace, "--timeout=60s")
    with pytest.raises(DevenvError, match="NotFound"):
        kube.get("namespace", kube_namespace)


@pytest.mark.parametrize(
    ("allowed", "question"),
    [
        (True, ("watch", "paasapps.paas.shurenyun.com", "--all-namespaces")),
        (True, ("patch", "paasapps.paas.shurenyun.com", "--subresource=status", "--all-namespaces")),
        (True, ("create", "leases.coordination.k8s.io", "-n", "shuren-system")),
        (False, ("create", "leases.coordination.k8s.io", "-n", "default")),
        (False, ("get", "secrets", "-n", "default")),
        (False, ("create", "paasapps.paas.shurenyun.com", "--all-namespaces")),
        (False, ("delete", "paasapps.paas.shurenyun.com", "--all-namespaces")),
        (False, ("create", "pods", "-n", "default")),
        (False, ("*", "*")),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else None,
)
def test_the_operator_has_the_rights_of_the_manifests_and_no_more(kube: Sandbox, *, allowed: bool, question: tuple[str, ...]) -> None:
    answer = kube.kubectl("auth", "can-i", *question, as_operator=True, check=False)
    assert answer.strip() == ("yes" if allowed else "no")


def test_what_is_not_granted_is_refused_and_stands_in_the_audit_log(kube: Sandbox, kube_namespace: str) -> None:
    with pytest.raises(DevenvError, match="is forbidden"):
        kube.kubectl("-n", kube_namespace, "create", "configmap", "not-mine", as_operator=True)
    refused = [
        event
        for event in kube.audit(user=OPERATOR_USER)
        if event["verb"] == "create" and event.get("objectRef", {}).get("namespace") == kube_namespace
    ]
    assert [event["responseStatus"]["code"] for event in refused] == [403]


def test_a_stranger_is_not_let_in(kube: Sandbox) -> None:
    config = json.loads((kube.place.kube / "admin.kubeconfig").read_text())
    config["users"][0]["user"] = {"token": "made-up"}
    (kube.place.kube / "stranger.kubeconfig").write_text(json.dumps(config))
    result = subprocess.run(
        [f"{kube.endpoints.path_prefix}/kubectl", f"--kubeconfig={kube.place.kube / 'stranger.kubeconfig'}", "get", "namespaces"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode != 0
    assert "Unauthorized" in result.stderr or "must be logged in" in result.stderr


def test_helm_and_kubectl_on_the_exported_path_are_the_cached_ones(kube: Sandbox) -> None:
    out = subprocess.run(["sh", "-c", "command -v kubectl helm"], env=kube.environment(), capture_output=True, text=True, check=True).stdout
    assert {line.rsplit("/", 1)[0] for line in out.splitlines()} == {kube.endpoints.path_prefix}

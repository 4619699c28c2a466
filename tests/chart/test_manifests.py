"""Manifests: what kustomize makes of them, and that they say the same as the chart."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart_room import Body, Helm, Rendered, grants, parsed
from kubernetes_schemas import VERSIONS, problems
from shuren.api import argogen
from shuren.api.crdgen import ROOT
from shuren.api.kinds import KINDS

MANIFESTS = ROOT / "manifests"
OVERLAYS = ("cluster-wide", "ha", "namespaced")


@pytest.fixture(scope="session")
def overlays(helm: Helm) -> dict[str, Rendered]:
    return {name: kustomized(helm, MANIFESTS / "overlays" / name) for name in OVERLAYS}


def kustomized(helm: Helm, place: Path) -> Rendered:
    done = subprocess.run([helm.program.with_name("kubectl"), "kustomize", place], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Rendered(bodies=parsed(done.stdout))


def pod(rendered: Rendered) -> Body:
    found: Body = rendered.one("Deployment")["spec"]["template"]["spec"]
    return found


def essence(spec: Body) -> Body:
    """A pod without what the chart's values add to the program's own defaults."""
    found: Body = json.loads(json.dumps(spec))
    one = found["containers"][0]
    one["env"] = {entry["name"]: entry for entry in one["env"] if entry["name"] in {"SHUREN_NAMESPACE", "SHUREN_IDENTITY"}}
    for constraint in found.get("topologySpreadConstraints", ()):
        constraint["labelSelector"]["matchLabels"].pop("app.kubernetes.io/instance", None)
    return found


@pytest.mark.parametrize("name", OVERLAYS)
def test_overlays_are_valid_in_three_versions_of_kubernetes(overlays: dict[str, Rendered], name: str) -> None:
    assert [problem for version in VERSIONS for body in overlays[name].bodies for problem in problems(version, body)] == []


def test_the_deployment_of_two_replicas_is_the_charts(overlays: dict[str, Rendered], plain: Rendered) -> None:
    assert essence(pod(overlays["ha"])) == essence(pod(plain))
    ours, charts = overlays["ha"].one("Deployment")["spec"], plain.one("Deployment")["spec"]
    assert (ours["replicas"], ours["strategy"]) == (charts["replicas"], charts["strategy"])
    assert overlays["ha"].one("PodDisruptionBudget")["spec"]["minAvailable"] == 1
    assert overlays["cluster-wide"].one("Deployment")["spec"]["replicas"] == 1


def test_the_network_policy_is_the_charts(overlays: dict[str, Rendered], helm: Helm) -> None:
    charts = helm.render({"networkPolicy": {"enabled": True}}).one("NetworkPolicy")["spec"]
    ours = overlays["ha"].one("NetworkPolicy")["spec"]
    assert (ours["ingress"], ours["egress"]) == (charts["ingress"], charts["egress"])


def test_in_chosen_namespaces_the_rights_are_the_charts(overlays: dict[str, Rendered], helm: Helm) -> None:
    ours = grants(overlays["namespaced"].rules("shuren-operator"))
    charts = grants(helm.render({"watch": {"namespaces": ["default"]}}).rules("shuren-operator"))
    # rules for what has no namespace say nothing in a RoleBinding, and base opens the Secrets of its own namespace
    nothing = {right for right in ours if right[0] == "default" and right[2].split("/")[0] in {"mesosclusters", "namespaces"}}
    own = {right for right in ours if right[0] == "shuren-system" and right[2] in {"secrets", "configmaps"}}
    assert ours - nothing - own == charts
    assert {"name": "SHUREN_NAMESPACES", "value": "default"} in pod(overlays["namespaced"])["containers"][0]["env"]


def test_environments_differ_in_what_they_say_and_in_nothing_else(helm: Helm) -> None:
    place = MANIFESTS / "examples" / "kustomize"
    staging, production = (kustomized(helm, place / "overlays" / name) for name in ("staging", "production"))
    assert staging.one("PaasApp")["spec"]["env"] == {"LOG_LEVEL": "debug"}
    assert (staging.one("PaasApp")["spec"]["instances"], production.one("PaasApp")["spec"]["instances"]) == (1, 3)
    assert {body["metadata"]["namespace"] for body in production.bodies} == {"shop-production"}
    # a patch of something that is not in the schema would replace whole lists
    assert staging.one("PaasApp")["spec"]["envRefs"] == production.one("PaasApp")["spec"]["envRefs"]
    assert not [body for body in (*staging.bodies, *production.bodies) if body["kind"] == "Secret"]


@pytest.mark.parametrize("name", ["staging", "production"])
def test_helm_values_of_each_environment(helm: Helm, name: str) -> None:
    values: dict[str, Any] = yaml.safe_load((MANIFESTS / "examples" / "helm" / f"values-{name}.yaml").read_text())
    rendered = helm.render(values)
    cluster = rendered.one("MesosCluster")
    assert cluster["spec"]["zookeeper"]["root"] == f"/shuren/{name}"
    reads = {right[:4] for right in grants(rendered.rules("shuren-operator")) if right[2] == "secrets"}
    secret = cluster["spec"]["marathon"]["authSecretRef"]
    assert (secret["namespace"], "", "secrets", secret["name"]) in reads
    assert not [body for body in rendered.bodies if body["kind"] == "Secret"]


def test_argo_cd_knows_every_kind() -> None:
    data = argogen.customizations()
    assert argogen.main(["--check"]) == 0
    health = (MANIFESTS / "argocd" / "health.lua").read_text()
    for kind in KINDS:
        assert data[f"resource.customizations.health.paas.shurenyun.com_{kind.name}"] == health
    app = yaml.safe_load(data["resource.customizations.actions.paas.shurenyun.com_PaasApp"])
    assert {"suspend", "resume", "restart"} <= {one["name"] for one in app["definitions"]}
    assert "resource.customizations.actions.paas.shurenyun.com_MesosCluster" not in data
    service = yaml.safe_load(data["resource.customizations.actions.paas.shurenyun.com_PaasService"])
    assert [one["name"] for one in service["definitions"]] == ["suspend", "resume"]
    assert "restart" not in service["discovery.lua"]

"""What the chart makes of its values."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart_room import CHARTS, Body, Helm, Rendered, grants
from kubernetes_schemas import VERSIONS, problems
from shuren.api.chartgen import BASE, documents
from shuren.api.crdgen import ROOT
from shuren.api.kinds import KINDS
from shuren.operator.metrics import Metrics
from shuren.operator.settings import Settings
from shuren.operator.settings import from_environment as settings_from_environment
from shuren.ports.leadership import Leadership
from shuren.runtime.backoff import Backoff
from shuren.runtime.queue import WorkQueue
from shuren.runtime.store import Store

PROMETHEUS = {"ServiceMonitor", "PrometheusRule"}
"""Kinds of the Prometheus operator, not of Kubernetes."""
NAMESPACED = {"watch": {"namespaces": ["shop", "web"]}}


def container(rendered: Rendered, name: str = "shuren-operator") -> Body:
    found: Body = rendered.one("Deployment", name)["spec"]["template"]["spec"]["containers"][0]
    return found


# ---------------------------------------------------------------------------------------------------- both charts as a whole


@pytest.mark.parametrize("chart", ["shuren", "shuren-crds"])
@pytest.mark.parametrize("values", ["defaults", "everything"])
def test_lint_finds_nothing(helm: Helm, chart: str, values: str) -> None:
    file = CHARTS / chart / "ci" / "everything-values.yaml"
    options = [f"--values={file}"] if values == "everything" and file.exists() else []
    done = helm.run("lint", "--strict", str(CHARTS / chart), *options)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_valid_in_three_versions_of_kubernetes(helm: Helm, plain: Rendered, full: Rendered, version: str) -> None:
    bodies = [*plain.bodies, *full.bodies, *helm.render(NAMESPACED).bodies]
    assert [problem for body in bodies if body["kind"] not in PROMETHEUS for problem in problems(version, body)] == []


def test_a_wrong_field_would_be_found(plain: Rendered) -> None:
    body = json.loads(json.dumps(plain.one("Deployment")))
    body["spec"]["template"]["spec"]["containers"][0]["redinessProbe"] = {}
    assert any("redinessProbe" in problem for version in VERSIONS for problem in problems(version, body))


def test_every_object_has_the_common_labels(full: Rendered) -> None:
    for body in full.bodies:
        if body["metadata"]["name"] != "shuren-extra":
            labels = body["metadata"]["labels"]
            assert labels["app.kubernetes.io/name"] == "shuren", body["metadata"]["name"]
            assert labels["app.kubernetes.io/managed-by"] == "Helm"
            assert labels["team"] == "platform"


def test_names_follow_the_release(helm: Helm) -> None:
    assert helm.render({}, release="bj").names("Deployment") == {"bj-shuren-operator"}
    assert helm.render({"fullnameOverride": "paas"}, release="bj").names("Deployment") == {"paas-operator"}


def test_selectors_hold_nothing_that_an_upgrade_changes(full: Rendered) -> None:
    for body in full.bodies:
        if body["kind"] == "Deployment":
            selector = body["spec"]["selector"]["matchLabels"]
            assert set(selector) == {f"app.kubernetes.io/{word}" for word in ("name", "instance", "component")}
            labels = body["spec"]["template"]["metadata"]["labels"]
            assert selector.items() <= labels.items()
            assert "helm.sh/chart" not in labels


# ---------------------------------------------------------------------------------------------------- definitions


def crds(rendered: Rendered) -> dict[str, Body]:
    return {body["metadata"]["name"]: body for body in rendered.bodies if body["kind"] == "CustomResourceDefinition"}


def test_definitions_are_those_of_the_models(helm: Helm, plain: Rendered) -> None:
    expected = {kind.crd_name: yaml.safe_load((ROOT / "crds" / f"paas.shurenyun.com_{kind.plural}.yaml").read_text()) for kind in KINDS}
    for rendered in (plain, helm.render({}, chart="shuren-crds", release="shuren-crds")):
        found = crds(rendered)
        assert {name: body["spec"] for name, body in found.items()} == {name: body["spec"] for name, body in expected.items()}


@pytest.mark.parametrize(("chart", "on", "off"), [("shuren", {}, {"crds": {"keep": False}}), ("shuren-crds", {}, {"keep": False})])
def test_definitions_are_kept_unless_told_otherwise(helm: Helm, chart: str, on: dict[str, Any], off: dict[str, Any]) -> None:
    kept = crds(helm.render(on, chart=chart))
    assert {body["metadata"]["annotations"]["helm.sh/resource-policy"] for body in kept.values()} == {"keep"}
    assert all("annotations" not in body["metadata"] for body in crds(helm.render(off, chart=chart)).values())


def test_definitions_can_be_left_to_others(helm: Helm) -> None:
    assert crds(helm.render({"crds": {"enabled": False}})) == {}


def test_nothing_else_is_in_the_chart_of_definitions(helm: Helm) -> None:
    assert {body["kind"] for body in helm.render({}, chart="shuren-crds").bodies} == {"CustomResourceDefinition"}


def test_admission_policies_are_those_of_the_manifests(helm: Helm, plain: Rendered) -> None:
    expected = {(body["kind"], body["metadata"]["name"]): body["spec"] for body in documents(BASE / "admission.yaml")}
    found = {(b["kind"], b["metadata"]["name"]): b["spec"] for b in plain.bodies if b["kind"].startswith("ValidatingAdmissionPolicy")}
    assert found == expected
    off = helm.render({"admissionPolicies": False})
    assert not [body for body in off.bodies if body["kind"].startswith("ValidatingAdmissionPolicy")]


def test_tenancy_at_admission_is_asked_for_and_is_that_of_the_manifests(helm: Helm) -> None:
    expected = {(body["kind"], body["metadata"]["name"]): body["spec"] for body in documents(BASE.parent / "tenancy" / "admission.yaml")}
    bodies = helm.render({"tenancyPolicy": True, "admissionPolicies": False}).bodies
    assert {(b["kind"], b["metadata"]["name"]): b["spec"] for b in bodies if b["kind"].startswith("ValidatingAdmissionPolicy")} == expected


# ---------------------------------------------------------------------------------------------------- rights


def base_rights() -> Rendered:
    return Rendered(bodies=[body for name in ("rbac.yaml", "user-roles.yaml") for body in documents(BASE / name)])


def test_the_operator_has_the_rights_of_the_manifests_and_no_more(plain: Rendered) -> None:
    assert grants(plain.rules("shuren-operator")) == grants(base_rights().rules("shuren-operator"))


def test_in_chosen_namespaces_it_has_the_same_rights_there_and_elsewhere_none(helm: Helm, plain: Rendered) -> None:
    everywhere = {right for right in grants(plain.rules("shuren-operator")) if right[0] == ""}
    scoped = grants(helm.render(NAMESPACED).rules("shuren-operator"))
    for namespace in ("shop", "web"):
        there = {("", *right[1:]) for right in scoped if right[0] == namespace}
        names = {right for right in scoped if right[0] == "" and right[2] == "namespaces" and right[3] == namespace}
        cluster = {right for right in scoped if right[0] == "" and right[2].startswith("mesosclusters")}
        assert there | cluster | {("", "", "namespaces", "", right[4]) for right in names} == everywhere
    assert {right[2] for right in scoped if right[0] == ""} == {"mesosclusters", "mesosclusters/status", "namespaces"}
    assert {right for right in scoped if right[0] == "default"} == {
        ("default", "events.k8s.io", "events", "", v) for v in ("create", "patch")
    }
    assert {right[0] for right in scoped} == {"", "default", "shop", "web", "shuren-system"}
    assert ("", "", "namespaces", "kube-system", "get") in scoped


def test_it_reads_no_secret_unless_allowed(helm: Helm, plain: Rendered) -> None:
    def secrets(rendered: Rendered) -> set[tuple[str, ...]]:
        return {right for right in grants(rendered.rules("shuren-operator")) if right[2] in {"secrets", "configmaps"}}

    assert secrets(plain) == set()
    whole = secrets(helm.render({"rbac": {"secrets": {"namespaces": ["shop"]}}}))
    assert {(right[0], right[3]) for right in whole} == {("shop", "")}
    named = secrets(helm.render({"rbac": {"secrets": {"names": [{"namespace": "shop", "secrets": ["db"], "configMaps": ["flags"]}]}}}))
    expected = {("shop", "", kind, name, v) for kind, name in (("secrets", "db"), ("configmaps", "flags")) for v in ("list", "watch")}
    assert named == expected


def test_a_namespace_without_names_is_refused(helm: Helm) -> None:
    assert "namespace shop names no secrets" in helm.refusal({"rbac": {"secrets": {"names": [{"namespace": "shop"}]}}})


def test_people_get_the_roles_of_the_manifests(helm: Helm, plain: Rendered) -> None:
    for role in documents(BASE / "user-roles.yaml"):
        found = plain.one("ClusterRole", role["metadata"]["name"])
        assert found["rules"] == role["rules"]
        added = {label for label in role["metadata"]["labels"] if "aggregate" in label}
        assert {label for label in found["metadata"]["labels"] if "aggregate" in label} == added
    separate = helm.render({"rbac": {"aggregate": False}})
    assert not [r for r in separate.bodies if any("aggregate" in label for label in r["metadata"].get("labels", {}))]


def test_rights_can_be_left_to_others(helm: Helm) -> None:
    rendered = helm.render({"rbac": {"create": False}, "serviceAccount": {"create": False, "name": "mine"}})
    assert not [body for body in rendered.bodies if "rbac" in body["apiVersion"] or body["kind"] == "ServiceAccount"]
    assert rendered.one("Deployment")["spec"]["template"]["spec"]["serviceAccountName"] == "mine"
    assert "serviceAccount.name" in helm.refusal({"serviceAccount": {"create": False}})


# ---------------------------------------------------------------------------------------------------- pods


def restricted(spec: Body) -> list[str]:
    """What restricted Pod Security would say, without what the tests on a real node show anyway."""
    found = []
    pod = spec.get("securityContext", {})
    if not pod.get("runAsNonRoot"):
        found.append("runAsNonRoot")
    if pod.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        found.append("seccompProfile")
    found += [field for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field)]
    for one in spec["containers"]:
        context = one.get("securityContext", {})
        if context.get("allowPrivilegeEscalation") is not False or context.get("capabilities", {}).get("drop") != ["ALL"]:
            found.append(f"securityContext of {one['name']}")
        if not context.get("readOnlyRootFilesystem"):
            found.append(f"root filesystem of {one['name']}")
    return found


def test_all_pods_hold_under_restricted_pod_security(full: Rendered) -> None:
    pods = {body["metadata"]["name"]: body["spec"]["template"]["spec"] for body in full.bodies if body["kind"] == "Deployment"}
    assert set(pods) == {"shuren-operator", "shuren-lb", "shuren-dns"}
    assert [problem for spec in pods.values() for problem in restricted(spec)] == []


def test_the_node_network_is_the_exception(helm: Helm, everything: dict[str, Any]) -> None:
    values = {**everything, "loadBalancer": {**everything["loadBalancer"], "hostNetwork": True}}
    spec = helm.render(values).one("Deployment", "shuren-lb")["spec"]["template"]["spec"]
    assert restricted(spec) == ["hostNetwork"]
    assert "sysctls" not in spec["securityContext"]


def test_two_replicas_of_which_one_stays(helm: Helm, plain: Rendered) -> None:
    deployment = plain.one("Deployment")["spec"]
    assert deployment["replicas"] == 2
    assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert {c["topologyKey"] for c in deployment["template"]["spec"]["topologySpreadConstraints"]} == {
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
    }
    budget = plain.one("PodDisruptionBudget")["spec"]
    assert budget["minAvailable"] == 1
    assert budget["selector"] == deployment["selector"]
    assert helm.render({"operator": {"replicas": 1}}).names("PodDisruptionBudget") == set()


def test_the_pod_gets_more_time_than_passes_under_way(helm: Helm) -> None:
    spec = helm.render({"operator": {"shutdownSeconds": 45}}).one("Deployment")["spec"]["template"]["spec"]
    assert spec["terminationGracePeriodSeconds"] == 55


def test_probes_ask_the_process_and_not_marathon(plain: Rendered) -> None:
    paths = {probe: container(plain)[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {probe: get["path"] for probe, get in paths.items()} == {
        "startupProbe": "/healthz",
        "livenessProbe": "/healthz",
        "readinessProbe": "/readyz",
    }
    assert {get["port"] for get in paths.values()} == {"metrics"}


@pytest.mark.parametrize(("name", "secret"), [("operator", "operator-pages"), ("lb", "lb-pages"), ("dns", "dns-pages")])
def test_pages_under_tls_are_probed_and_read_so(full: Rendered, name: str, secret: str) -> None:
    pod = full.one("Deployment", f"shuren-{name}")["spec"]["template"]["spec"]
    (main,) = pod["containers"]
    assert {main[probe]["httpGet"]["scheme"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")} == {"HTTPS"}
    (mount,) = [mount["mountPath"] for mount in main["volumeMounts"] if mount["name"] == "metrics-tls"]
    (volume,) = [volume["secret"]["secretName"] for volume in pod["volumes"] if volume["name"] == "metrics-tls"]
    given = {one["name"]: one.get("value", "") for one in main["env"]}
    assert (volume, given["SHUREN_METRICS_CERTIFICATE"], given["SHUREN_METRICS_KEY"]) == (secret, f"{mount}/tls.crt", f"{mount}/tls.key")
    assert given.get("SHUREN_METRICS_CLIENT_CA") == (f"{mount}/ca.crt" if name == "operator" else None)
    (endpoint,) = full.one("ServiceMonitor")["spec"]["endpoints"]
    assert endpoint == {"port": "metrics", "interval": "15s", "scheme": "https", "tlsConfig": {"serverName": "shuren"}}


def test_one_service_monitor_cannot_read_in_two_ways(helm: Helm) -> None:
    zookeeper = {"hosts": "zk-1:2181", "root": "/shuren/bj1"}
    values = {"operator": {"metricsTls": {"secretName": "a"}}, "dns": {"enabled": True, "zookeeper": zookeeper}}
    assert helm.render(values).names("Deployment") == {"shuren-operator", "shuren-dns"}
    said = helm.refusal({**values, "serviceMonitor": {"enabled": True}})
    assert "set metricsTls.secretName of operator, loadBalancer and dns, or of none" in said


def environment(rendered: Rendered) -> dict[str, str]:
    return {one["name"]: one.get("value", "-") for one in container(rendered)["env"]}


def test_settings_reach_the_program(helm: Helm) -> None:
    values = {
        "watch": {"namespaces": ["shop", "web"]},
        "operator": {
            "installation": "bj",
            "workers": 8,
            "eventSource": "native",
            "resyncSeconds": 60,
            "log": {"format": "console", "level": "DEBUG"},
            "metricsPort": 9999,
            "shutdownSeconds": 7,
        },
    }
    found = settings_from_environment(environment(helm.render(values)))
    assert (found.namespaces, found.installation, found.workers, found.metrics_port) == (("shop", "web"), "bj", 8, 9999)
    assert (found.event_source.value, found.log_format.value, found.log_level) == ("native", "console", "DEBUG")
    assert (found.resync_seconds, found.shutdown_seconds) == (60.0, 7.0)


def test_every_setting_of_the_program_can_be_set(full: Rendered, plain: Rendered) -> None:
    text = (ROOT / "operator" / "shuren" / "operator" / "settings.py").read_text()
    known = set(re.findall(r"# (SHUREN_[A-Z_]+)", text))
    assert len(known) >= len(Settings.__dataclass_fields__) - 1
    given = set(environment(full)) | {
        "SHUREN_NAMESPACES",
        "SHUREN_METRICS_ADDRESS",
    }  # the first in its own mode, the second is right as it is
    assert known <= given
    assert set(environment(plain)) <= known


def test_what_is_added_to_the_operator(full: Rendered) -> None:
    spec = full.one("Deployment", "shuren-operator")["spec"]["template"]
    one = container(full)
    assert one["image"] == "shurenyun/shuren@sha256:" + "0" * 64
    assert {"name": "HTTPS_PROXY", "value": "http://proxy:3128"} in one["env"]
    assert one["envFrom"] == [{"secretRef": {"name": "more", "optional": True}}]
    assert {"name": "trust", "mountPath": "/etc/trust", "readOnly": True} in one["volumeMounts"]
    assert {"name": "trust", "configMap": {"name": "trust"}} in spec["spec"]["volumes"]
    assert spec["metadata"]["labels"]["example.org/part"] == "operator"
    assert spec["metadata"]["annotations"]["example.org/note"] == "yes"
    assert spec["spec"]["imagePullSecrets"] == [{"name": "registry"}]
    assert spec["spec"]["topologySpreadConstraints"][0]["topologyKey"] == "rack"
    assert spec["spec"]["priorityClassName"] == "system-cluster-critical"


def test_the_image_is_the_charts_own_version(helm: Helm, plain: Rendered) -> None:
    version = yaml.safe_load((CHARTS / "shuren" / "Chart.yaml").read_text())["appVersion"]
    assert container(plain)["image"] == f"shurenyun/shuren:{version}"
    assert container(helm.render({"image": {"repository": "mirror:5000/paas", "tag": "x"}}))["image"] == "mirror:5000/paas:x"


# ---------------------------------------------------------------------------------------------------- beside traffic


def test_load_balancer_and_dns_only_when_asked_for(plain: Rendered) -> None:
    assert plain.names("Deployment") == {"shuren-operator"}


@pytest.mark.parametrize("part", ["loadBalancer", "dns"])
@pytest.mark.parametrize("missing", ["hosts", "root"])
def test_they_must_know_their_zookeeper(helm: Helm, part: str, missing: str) -> None:
    zookeeper = {"hosts": "zk:2181", "root": "/shuren/bj1"}
    del zookeeper[missing]
    assert f"{part}.zookeeper.{missing}" in helm.refusal({part: {"enabled": True, "zookeeper": zookeeper}})


def test_the_load_balancer_ends_with_its_haproxy_and_reads_only_named_secrets(full: Rendered) -> None:
    assert "--on-exit=stop" in container(full, "shuren-lb")["args"]
    assert "--threads=4" in container(full, "shuren-lb")["args"]
    assert grants(full.rules("shuren-lb")) == {("shop", "", "secrets", "web-tls", "get")}
    assert [port["port"] for port in full.one("Service", "shuren-lb")["spec"]["ports"]] == [80, 443]


def test_dns_answers_on_port_53_and_has_no_token(full: Rendered) -> None:
    ports = {(port["port"], port["protocol"]) for port in full.one("Service", "shuren-dns")["spec"]["ports"]}
    assert {(53, "UDP"), (53, "TCP")} <= ports
    spec = full.one("Deployment", "shuren-dns")["spec"]["template"]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert {"--zone=bj1.example.org", "--ns=ns1.example.org", "--ns=ns2.example.org"} <= set(spec["containers"][0]["args"])


def test_credentials_of_zookeeper_come_from_a_secret(full: Rendered) -> None:
    found = {one["name"]: one["valueFrom"] for one in container(full, "shuren-lb")["env"] if "PASSWORD" in one["name"]}
    assert found == {"SHUREN_ZOOKEEPER_PASSWORD": {"secretKeyRef": {"name": "zookeeper", "key": "password"}}}


# ---------------------------------------------------------------------------------------------------- network


def flows(rules: list[Body]) -> set[tuple[str, object, str]]:
    """Rules taken apart: (protocol, port, peer or *)."""
    return {
        (port["protocol"], port["port"], peer.get("ipBlock", {}).get("cidr", json.dumps(peer)) if peer else "*")
        for rule in rules
        for port in rule.get("ports") or [{"protocol": "*", "port": "*"}]
        for peer in (rule.get("to") or rule.get("from") or [{}])
    }


def test_the_policy_allows_exactly_the_flows_that_the_operator_needs(helm: Helm) -> None:
    spec = helm.render({"networkPolicy": {"enabled": True}}).one("NetworkPolicy")["spec"]
    assert set(spec["policyTypes"]) == {"Ingress", "Egress"}
    assert flows(spec["ingress"]) == {("TCP", "metrics", "*")}
    resolvers = {("UDP", 53, "*"), ("TCP", 53, "*")}
    assert flows(spec["egress"]) == resolvers | {("TCP", port, "*") for port in (443, 6443, 8080, 8443, 5050, 2181)}


def test_the_policy_can_name_addresses(full: Rendered) -> None:
    spec = full.one("NetworkPolicy", "shuren-operator")["spec"]
    api = {("TCP", port, "10.0.0.1/32") for port in (443, 6443)}
    mesos = {("TCP", port, "10.1.0.0/16") for port in (8080, 8443, 5050, 2181)}
    assert flows(spec["egress"]) == {("UDP", 53, "*"), ("TCP", 53, "*"), ("TCP", 3128, "*")} | api | mesos
    assert "monitoring" in json.dumps(spec["ingress"])


def test_dns_needs_no_api_server(full: Rendered) -> None:
    spec = full.one("NetworkPolicy", "shuren-dns")["spec"]
    assert flows(spec["egress"]) == {("UDP", 53, "*"), ("TCP", 53, "*"), ("TCP", 2181, "10.1.0.0/16")}
    assert {("UDP", "dns", "*"), ("TCP", "dns-tcp", "*")} <= flows(spec["ingress"])


# ---------------------------------------------------------------------------------------------------- monitoring


class Nobody(Leadership):
    def held(self) -> bool:
        return False

    def check(self) -> None:
        raise AssertionError

    def remaining(self) -> float:
        return 0.0


def exported() -> set[str]:
    """Every name that a scrape of the operator holds."""
    metrics = Metrics()
    queue: WorkQueue[Any] = WorkQueue(monotonic=lambda: 0.0, backoff=Backoff(chance=lambda: 0.5))
    metrics.watch(queue=queue, store=Store(), leadership=Nobody(), kinds=("PaasApp",), open_breakers=lambda: {"marathon": 0})
    names: set[str] = set()
    for family in metrics.registry.collect():
        names |= {family.name} if family.type == "gauge" else {f"{family.name}{end}" for end in ("_total", "_bucket", "_count", "_sum")}
    return names


def asked(expression: str) -> set[str]:
    """Metrics that an expression reads: what stands before a selector."""
    return set(re.findall(r"([a-z_]+)\{", expression))


def test_alerts_ask_for_metrics_that_there_are_and_each_is_explained(full: Rendered) -> None:
    rules = [rule for group in full.one("PrometheusRule")["spec"]["groups"] for rule in group["rules"]]
    assert rules
    explained = (ROOT / "docs" / "alerts.md").read_text()
    for rule in rules:
        assert asked(rule["expr"]), rule["alert"]
        assert asked(rule["expr"]) <= exported(), rule["alert"]
        assert 'job="shuren-operator-metrics", namespace="shuren-system"' in rule["expr"]
        assert f"## {rule['alert']}\n" in explained
        assert rule["labels"]["team"] == "platform"
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert set(re.findall(r"^## (Shuren\w+)$", explained, re.MULTILINE)) == {rule["alert"] for rule in rules}


def test_the_dashboard_shows_metrics_that_there_are(full: Rendered) -> None:
    dashboard = json.loads(full.one("ConfigMap", "shuren-dashboard")["data"]["shuren.json"])
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(expressions) >= len(dashboard["panels"])
    assert set().union(*(asked(expression) for expression in expressions)) <= exported()


def test_prometheus_understands_every_expression(full: Rendered, tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool: apt-get install prometheus")
    groups = full.one("PrometheusRule")["spec"]["groups"]
    dashboard = json.loads(full.one("ConfigMap", "shuren-dashboard")["data"]["shuren.json"])
    expressions = [target["expr"].replace("$job", ".*") for panel in dashboard["panels"] for target in panel["targets"]]
    shown = [{"record": f"panel:{number}", "expr": expression} for number, expression in enumerate(expressions)]
    file = tmp_path / "rules.json"
    file.write_text(json.dumps({"groups": [*groups, {"name": "dashboard", "rules": shown}]}))
    done = subprocess.run([promtool, "check", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_service_monitor_finds_every_port_with_metrics(full: Rendered) -> None:
    monitor = full.one("ServiceMonitor")["spec"]
    selected = {
        body["metadata"]["name"]
        for body in full.bodies
        if body["kind"] == "Service"
        and monitor["selector"]["matchLabels"].items() <= body["metadata"]["labels"].items()
        and any(port["name"] == monitor["endpoints"][0]["port"] for port in body["spec"]["ports"])
    }
    assert selected == {"shuren-operator-metrics", "shuren-lb-metrics", "shuren-dns"}


def test_monitoring_only_when_asked_for(plain: Rendered) -> None:
    assert not {"ServiceMonitor", "PrometheusRule", "ConfigMap"} & {body["kind"] for body in plain.bodies}

"""Values: what is wrong is refused with its name, and what there is is described."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
import yaml

from chart_room import CHARTS, Helm
from shuren.api import chartgen
from shuren.api.chartvalues import read_values, schema
from shuren.api.crdgen import write

ON = {"enabled": True, "zookeeper": {"hosts": "zk:2181", "root": "/shuren"}}
WRONG: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"replicas": 3}, ("replicas",)),
    ({"operator": {"replica": 3}}, ("operator", "replica")),
    ({"operator": {"replicas": "3"}}, ("operator", "replicas", "integer")),
    ({"operator": {"replicas": 9}}, ("operator", "replicas", "5")),
    ({"operator": {"log": {"level": "LOUD"}}}, ("operator", "log", "level", "DEBUG")),
    ({"operator": {"eventSource": "polling"}}, ("operator", "eventSource", "native")),
    ({"operator": {"metricsPort": 80}}, ("operator", "metricsPort", "minimum")),
    ({"operator": {"extraEnv": {"A": "b"}}}, ("operator", "extraEnv", "array")),
    ({"image": {"tga": "1"}}, ("image", "tga")),
    ({"image": {"digest": "abc"}}, ("image", "digest", "sha256")),
    ({"image": {"pullPolicy": "Sometimes"}}, ("image", "pullPolicy", "IfNotPresent")),
    ({"crds": {"enabled": "yes"}}, ("crds", "enabled", "boolean")),
    ({"crds": {"kept": True}}, ("crds", "kept")),
    ({"watch": {"namespaces": "shop"}}, ("watch", "namespaces", "array")),
    ({"watch": {"namespaces": ["Shop"]}}, ("watch", "namespaces")),
    ({"rbac": {"secrets": {"names": [{"namespace": "shop", "secret": ["a"]}]}}}, ("rbac", "secrets", "names", "secret")),
    ({"rbac": {"secrets": {"names": [{"secrets": ["a"]}]}}}, ("rbac", "secrets", "names", "namespace")),
    ({"networkPolicy": {"mesos": {"ports": []}}}, ("networkPolicy", "mesos", "ports")),
    ({"serviceMonitor": {"interval": "often"}}, ("serviceMonitor", "interval")),
    ({"loadBalancer": {"service": {"ports": [{"name": "http"}]}}}, ("loadBalancer", "service", "ports", "port")),
    ({"loadBalancer": {"secrets": [{"namespace": "shop"}]}}, ("loadBalancer", "secrets", "names")),
    ({"dns": {"zookeeper": {"root": "shuren"}}}, ("dns", "zookeeper", "root")),
    ({"image": None}, ("missing property 'image'",)),
    ({"operator": {"log": None}}, ("operator", "missing property 'log'")),
    ({"operator": {"podDisruptionBudget": None}}, ("operator", "missing property 'podDisruptionBudget'")),
    ({"networkPolicy": {"mesos": {"ports": None}}}, ("networkPolicy", "mesos", "missing property 'ports'")),
    ({"image": {"repository": ""}}, ("image", "repository")),
    ({"image": {"repository": "shuren:0.1.0"}}, ("image", "repository")),
    ({"image": {"tag": "with space"}}, ("image", "tag")),
    ({"image": {"pullSecrets": [""]}}, ("image", "pullSecrets")),
    ({"commonLabels": {"app.kubernetes.io/name": "other"}}, ("commonLabels", "app.kubernetes.io~1name")),
    ({"commonLabels": {"two words": "x"}}, ("commonLabels", "two words")),
    ({"operator": {"podLabels": {"app.kubernetes.io/component": "x"}}}, ("operator", "podLabels", "app.kubernetes.io~1component")),
    ({"operator": {"podLabels": {"team": "two words"}}}, ("operator", "podLabels", "team")),
    ({"operator": {"resources": {"request": {}}}}, ("operator", "resources", "request")),
    ({"operator": {"affinity": {"nodeAfinity": {}}}}, ("operator", "affinity", "nodeAfinity")),
    ({"operator": {"tolerations": [{"key": "infra", "effect": "Never"}]}}, ("operator", "tolerations", "effect", "NoSchedule")),
    ({"operator": {"extraEnv": [{"value": "x"}]}}, ("operator", "extraEnv", "name")),
    ({"operator": {"extraEnv": [{"name": "A", "valuefrom": {}}]}}, ("operator", "extraEnv", "valuefrom")),
    ({"operator": {"extraVolumeMounts": [{"name": "trust"}]}}, ("operator", "extraVolumeMounts", "mountPath")),
    ({"operator": {"extraVolumes": [{"configMap": {}}]}}, ("operator", "extraVolumes", "name")),
    ({"operator": {"topologySpreadConstraints": [{"maxSkew": 1}]}}, ("operator", "topologySpreadConstraints", "topologyKey")),
    ({"serviceAccount": {"name": "Bad Name"}}, ("serviceAccount", "name")),
    ({"rbac": {"secrets": {"namespaces": ["Shop"]}}}, ("rbac", "secrets", "namespaces")),
    ({"networkPolicy": {"mesos": {"cidrs": ["10.0.0.1"]}}}, ("networkPolicy", "mesos", "cidrs")),
    ({"networkPolicy": {"metricsFrom": [{"podSelektor": {}}]}}, ("networkPolicy", "metricsFrom", "podSelektor")),
    ({"loadBalancer": {"group": "Edge LB"}}, ("loadBalancer", "group")),
    ({"loadBalancer": {"ports": "http"}}, ("loadBalancer", "ports")),
    ({"loadBalancer": {"zookeeper": {"hosts": "zk-1:2181 zk-2:2181"}}}, ("loadBalancer", "zookeeper", "hosts")),
    ({"dns": {"zone": "bad zone"}}, ("dns", "zone")),
    ({"dns": {"service": {"clusterIP": "abc"}}}, ("dns", "service", "clusterIP")),
    ({"rbac": {"secrets": {"names": [{"namespace": "a", "secrets": [x]} for x in "bc"]}}}, ("rbac.secrets.names", "namespace a", "twice")),
    (
        {"loadBalancer": {**ON, "secrets": [{"namespace": "a", "names": [x]} for x in "bc"]}},
        ("loadBalancer.secrets", "namespace a", "twice"),
    ),
    (
        {"loadBalancer": {**ON, "service": {"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 80}]}}},
        ("loadBalancer.service.ports", "port 80", "twice"),
    ),
]


@pytest.mark.parametrize(("values", "named"), WRONG, ids=[".".join(named) for _, named in WRONG])
def test_a_wrong_value_is_refused_with_its_name(helm: Helm, values: dict[str, Any], named: tuple[str, ...]) -> None:
    said = helm.refusal(values)
    assert [word for word in named if word not in said] == [], said


def test_the_chart_of_definitions_refuses_too(helm: Helm) -> None:
    assert "keeep" in helm.refusal({"keeep": True}, chart="shuren-crds")


@pytest.mark.parametrize("chart", ["shuren", "shuren-crds"])
def test_defaults_and_the_values_of_ci_are_valid(chart: str) -> None:
    place = CHARTS / chart
    text = (place / "values.yaml").read_text(encoding="utf-8")
    validator = jsonschema.Draft7Validator(schema(read_values(text)))
    for file in [place / "values.yaml", *place.glob("ci/*.yaml")]:
        values = over(yaml.safe_load(text), yaml.safe_load(file.read_text(encoding="utf-8")))
        assert [error.message for error in validator.iter_errors(values)] == []


def over(defaults: Any, given: Any) -> Any:
    """Values with the defaults below them, as Helm lays them."""
    if not (isinstance(defaults, dict) and isinstance(given, dict)):
        return given
    return {key: over(defaults.get(key), given[key]) if key in given else defaults[key] for key in defaults | given}


def test_lists_and_maps_that_are_empty_by_default_may_be_taken_away(helm: Helm) -> None:
    helm.render({"commonLabels": None, "operator": {"nodeSelector": None, "extraEnv": None, "affinity": None}, "extraObjects": None})


def test_a_subchart_may_be_given_global_values(helm: Helm) -> None:
    helm.render({"global": {"team": "x"}})


def test_a_value_without_a_description_does_not_get_into_the_chart() -> None:
    with pytest.raises(ValueError, match=r"image\.tag has no description"):
        read_values("image:\n  tag: ''\n")


def test_generated_files_are_up_to_date() -> None:
    assert chartgen.main(["--check"]) == 0


def test_a_stale_file_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    file = CHARTS / "shuren" / "Chart.yaml"
    assert write({file: file.read_text(encoding="utf-8") + "# by hand\n"}, check=True) == 1
    assert "charts/shuren/Chart.yaml: out of date" in capsys.readouterr().err


def test_names_that_yaml_would_read_as_something_else_stay_texts(helm: Helm) -> None:
    values = {
        "watch": {"namespaces": ["1234"]},
        "rbac": {"secrets": {"namespaces": ["1234"], "names": [{"namespace": "true", "secrets": ["1"]}]}},
        "serviceAccount": {"name": "5678"},
    }
    rendered = helm.render(values)
    assert {body["metadata"]["namespace"] for body in rendered.bodies if body["kind"] == "Role"} >= {"1234", "true"}
    assert rendered.one("Deployment")["spec"]["template"]["spec"]["serviceAccountName"] == "5678"
    assert rendered.one("ServiceAccount")["metadata"]["name"] == "5678"

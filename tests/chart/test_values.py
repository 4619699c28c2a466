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
        assert [error.message for error in validator.iter_errors(yaml.safe_load(file.read_text(encoding="utf-8")))] == []


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

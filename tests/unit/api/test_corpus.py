"""The models on the corpus: good definitions are read, bad ones are refused at the right field with the right words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

import app_corpus
import cluster_corpus
from shuren.api import crdgen
from shuren.api.kinds import KINDS
from shuren.api.nodes import Node, Rule
from shuren.api.problems import problems
from shuren.api.schema import reachable
from shuren.api.v1alpha1 import mesoscluster, paasapp, paasservice, shardmap
from shuren.domain.marathon.advice import advise

GOOD = app_corpus.good()
BAD = app_corpus.bad()
SAMPLES = Path(__file__).parents[3] / "manifests" / "samples"


def test_the_corpus_is_large() -> None:
    assert len(GOOD) >= 40
    assert len(BAD) >= 100


@pytest.mark.parametrize("name", GOOD)
def test_a_pasted_definition_is_read_and_given_back_unchanged(name: str) -> None:
    obj = app_corpus.paas_app(name, GOOD[name])

    app = paasapp.read(obj)

    assert app.spec.cluster_ref.name == "bj1"
    expected = {key: value for key, value in GOOD[name].items() if key not in paasapp.READ_ONLY_FIELDS}
    assert paasapp.marathon_definition(obj["spec"]) == expected


@pytest.mark.parametrize("name", BAD)
def test_a_bad_definition_is_refused_with_the_field_and_the_fix(name: str) -> None:
    with pytest.raises(ValidationError) as refused:
        paasapp.read(app_corpus.paas_app(name, BAD[name].spec))

    assert tuple((problem.path, problem.message) for problem in problems(refused.value)) == BAD[name].problems


def _rules(model: type[Node]) -> list[Rule]:
    return [rule for node in reachable(model) for rule in node.all_rules() if rule.holds is not None]


@pytest.mark.parametrize("rule", _rules(paasapp.PaasAppSpec), ids=lambda rule: rule.message[:60])
def test_every_rule_of_a_paasapp_is_broken_by_some_bad_definition(rule: Rule) -> None:
    assert rule.message in {message for bad in BAD.values() for _, message in bad.problems}


def _messages(schema: object) -> Iterator[str]:
    """Of all CEL rules below a schema: those of values (enumerations, forms of names) too, which are no rules of models."""
    if isinstance(schema, dict):
        yield from (rule["message"] for rule in schema.get("x-kubernetes-validations", ()))
        for inner in schema.values():
            yield from _messages(inner)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("PaasApp", {message for bad in BAD.values() for _, message in bad.problems}),
        ("MesosCluster", {message for _, _, message in cluster_corpus.BAD.values()}),
    ],
)
def test_every_rule_of_the_schema_is_broken_by_something_bad(name: str, told: set[str]) -> None:
    kind = next(kind for kind in KINDS if crdgen.definition(kind)["spec"]["names"]["kind"] == name)
    spec = crdgen.definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]

    of_updates = {message for message in _messages(spec) if "cannot change" in message}  # they need two resources: test_api_server
    assert set(_messages(spec)) - of_updates <= told


def test_rules_only_models_can_check_are_marked_as_refused_by_the_policy() -> None:
    for_models = {rule.message for rule in _rules(paasapp.PaasAppSpec) if not rule.cel}

    assert {bad.name for bad in BAD.values() if any(message in for_models for _, message in bad.problems)} <= {
        bad.name for bad in BAD.values() if bad.refused_by is app_corpus.RefusedBy.POLICY
    }


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_samples_are_good(path: Path) -> None:
    for obj in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        match obj["kind"]:
            case "PaasApp":
                assert paasapp.read(obj).metadata.name == obj["metadata"]["name"]
            case "MesosCluster":
                assert mesoscluster.read(obj).metadata.name == obj["metadata"]["name"]
            case "PaasService":
                assert paasservice.read(obj).metadata.name == obj["metadata"]["name"]
            case "ShardMap":
                assert shardmap.read(obj).metadata.name == obj["metadata"]["name"]
            case other:
                assert other in ("Secret", "ConfigMap")


@pytest.mark.parametrize("path", sorted(SAMPLES.rglob("*.yaml")), ids=lambda path: str(path.relative_to(SAMPLES)))
def test_no_sample_walks_into_a_trap_that_we_know(path: Path) -> None:
    for item in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        if (item or {}).get("kind") == "PaasApp":
            assert advise(paasapp.marathon_definition(item["spec"])) == (), item["metadata"]["name"]

"""Reading a MesosCluster: defaults and refusals."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from cluster_corpus import BAD, cluster
from shuren.api.nodes import Rule
from shuren.api.problems import problems
from shuren.api.schema import reachable
from shuren.api.v1alpha1 import mesoscluster
from shuren.controllers.mesoscluster import gather


def test_a_small_cluster_with_defaults() -> None:
    spec = mesoscluster.read(cluster(marathon={"urls": ["http://m:8080/base"], "limits": {}})).spec

    assert spec.unreachable_grace_seconds == 60
    assert spec.marathon.limits is not None
    assert (spec.marathon.limits.requests_per_second, spec.marathon.limits.max_concurrent_deployments) == (50, 20)
    assert spec.tenancy is None


@pytest.mark.parametrize(
    "url", ["http://m", "https://m-1.example.org:8443/marathon/", "http://[::1]:8080", "http://10.0.0.1:65535", "http://m_1./x"]
)
def test_urls_of_every_usual_form_are_taken(url: str) -> None:
    assert mesoscluster.read(cluster(marathon={"urls": [url]})).spec.marathon.urls == [url]


@pytest.mark.parametrize("name", BAD)
def test_refusals_name_field_and_fix(name: str) -> None:
    changes, path, message = BAD[name]

    with pytest.raises(ValidationError) as refused:
        mesoscluster.read(cluster(**changes))

    assert [(problem.path, problem.message) for problem in problems(refused.value)] == [(path, message)]


@pytest.mark.parametrize(
    "rule", [rule for node in reachable(mesoscluster.MesosClusterSpec) for rule in node.all_rules()], ids=lambda rule: rule.message[:60]
)
def test_every_rule_is_broken_by_some_bad_cluster(rule: Rule) -> None:
    assert rule.message in {message for _, _, message in BAD.values()}


def test_a_good_status_is_typed_and_another_version_reads_as_none() -> None:
    good = mesoscluster.read({**cluster(), "status": {"marathon": {"reachable": True, "version": "1.11.24"}}}).status

    assert good is not None
    assert good.marathon is not None
    assert good.marathon.version == "1.11.24"
    assert mesoscluster.read({**cluster(), "status": {"marathon": 1}}).status is None


@pytest.mark.parametrize(("given", "scheme"), [({}, "Digest"), ({"authScheme": "Digest"}, "Digest"), ({"authScheme": "Sasl"}, "Sasl")])
def test_how_a_password_is_shown_to_zookeeper(given: dict[str, str], scheme: str) -> None:
    item = cluster(zookeeper={"hosts": ["zk:2181"], "root": "/shuren/bj1", **given})
    assert gather.settings(item).zookeeper.sasl is (scheme == "Sasl")

"""Reading a MesosCluster: defaults and refusals."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from shuren.api.nodes import Rule
from shuren.api.problems import problems
from shuren.api.schema import reachable
from shuren.api.v1alpha1 import mesoscluster

SPEC: dict[str, Any] = {"marathon": {"urls": ["http://m:8080"]}, "zookeeper": {"hosts": ["zk:2181"], "root": "/shuren/bj1"}}
SECRET = {"namespace": "a", "name": "b"}
SELECTOR = {"namespaceSelector": {"matchLabels": {"a": "b"}}}

URL = "a base URL is needed, such as http://marathon1.example.org:8080, without user or password (they go into authSecretRef)"

BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "no urls": ({"marathon": {"urls": []}}, "spec.marathon.urls", "must not be empty"),
    "url without scheme": ({"marathon": {"urls": ["m:8080"]}}, "spec.marathon.urls[0]", URL),
    "url with a password": ({"marathon": {"urls": ["http://m:1", "http://u:p@m:8080"]}}, "spec.marathon.urls[1]", URL),
    "url with a port that is none": ({"marathon": {"urls": ["http://m:65536"]}}, "spec.marathon.urls[0]", URL),
    "master without host": ({"mesos": {"masters": ["http://:5050"]}}, "spec.mesos.masters[0]", URL),
    "no rate": (
        {"marathon": {"urls": ["http://m"], "limits": {"requestsPerSecond": 0}}},
        "spec.marathon.limits.requestsPerSecond",
        "must be greater than 0",
    ),
    "zookeeper without port": (
        {"zookeeper": {"hosts": ["zk"], "root": "/a"}},
        "spec.zookeeper.hosts[0]",
        "a server is host:port, such as zk1.example.org:2181",
    ),
    "zookeeper with a port that is none": (
        {"zookeeper": {"hosts": ["zk:0"], "root": "/a"}},
        "spec.zookeeper.hosts[0]",
        "a server is host:port, such as zk1.example.org:2181",
    ),
    "zookeeper root": ({"zookeeper": {"hosts": ["zk:1"], "root": "/"}}, "spec.zookeeper.root", "must have at least 2 characters"),
    "zookeeper root with dots": (
        {"zookeeper": {"hosts": ["zk:1"], "root": "/a/../b"}},
        "spec.zookeeper.root",
        "a ZooKeeper path is needed, below /, such as /shuren/bj1",
    ),
    "trusts all and some": (
        {"marathon": {"urls": ["https://m"], "tls": {"insecureSkipVerify": True, "caSecretRef": SECRET}}},
        "spec.marathon.tls.insecureSkipVerify",
        "insecureSkipVerify and caSecretRef exclude each other",
    ),
    "prefix without slash": (
        {"tenancy": {"idPrefixes": [{**SELECTOR, "prefixes": ["shop"]}]}},
        "spec.tenancy.idPrefixes[0].prefixes[0]",
        "a prefix is a path of Marathon ids, such as /shop; / grants everything",
    ),
    "selector without values": (
        {"tenancy": {"namespaces": {"matchExpressions": [{"key": "a", "operator": "In"}]}}},
        "spec.tenancy.namespaces.matchExpressions[0]",
        "In and NotIn need values; Exists and DoesNotExist take none",
    ),
    "more than all": ({"deletionGuard": {"maxPercentPerMinute": 101}}, "spec.deletionGuard.maxPercentPerMinute", "must be at most 100"),
}


def cluster(**changes: Any) -> dict[str, Any]:
    return {"metadata": {"name": "bj1"}, "spec": {**SPEC, **changes}}


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

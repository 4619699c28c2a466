"""The custom resources on a real API server: it accepts and refuses what the models accept and refuse, with the same words."""

from __future__ import annotations

import copy
import inspect
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

import app_corpus
import cluster_corpus
from app_corpus import RefusedBy
from kube_rest import GROUP, Rest
from shuren.api import crdgen
from shuren.api.kinds import KINDS
from shuren.api.v1alpha1 import paasapp
from shuren.devenv.background import Sandbox
from shuren.domain.marathon import advice as advice_module
from shuren.domain.marathon.advice import advise


def rules_of(schema: Any) -> Iterator[dict[str, str]]:
    """All CEL rules anywhere in a schema."""
    if isinstance(schema, dict):
        yield from schema.get("x-kubernetes-validations", ())
        for inner in schema.values():
            yield from rules_of(inner)


GOOD = app_corpus.good()
BAD = app_corpus.bad()
RULE_MESSAGES = {
    rule["message"] for kind in KINDS for rule in rules_of(crdgen.definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
}
SAMPLES = Path(__file__).parents[3] / "manifests" / "samples"


@pytest.fixture(scope="module")
def rest(kube: Sandbox) -> Iterator[Rest]:
    client = Rest(kube.endpoints.kubeconfig)
    # A policy is in force a moment after it was applied, each in its own: wait until one refuses and the other warns as it must.
    deadline = time.monotonic() + 30
    while not (
        client.create(app_corpus.paas_app("probe", {"cmd": "sleep 1", "env": {"A": 1}})).status != 201
        and client.create(app_corpus.paas_app("probe", {"cmd": "sleep 1", "ports": [0]})).warnings
    ):
        assert time.monotonic() < deadline, "the admission policies are not in force"
    yield client
    client.close()


@pytest.mark.parametrize("name", GOOD)
def test_a_good_definition_is_accepted(rest: Rest, name: str) -> None:
    answer = rest.create(app_corpus.paas_app(name, GOOD[name]))

    assert (answer.status, answer.causes) == (201, ())
    stored = answer.body["spec"]
    assert paasapp.marathon_definition(stored) == {"instances": 1, **_without_nulls(paasapp.marathon_definition(GOOD[name]))}


def _without_nulls(definition: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in definition.items() if value is not None}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_definition_is_refused_with_the_same_field_and_words(rest: Rest, name: str) -> None:
    bad = BAD[name]

    answer = rest.create(app_corpus.paas_app(name, bad.spec))

    assert answer.status == 422, answer.body
    if bad.refused_by is RefusedBy.POLICY:
        assert "paasapp-values.paas.shurenyun.com" in answer.body["message"]
        assert bad.problems[0][0].split(".")[1].split("[")[0] in answer.body["message"]
        return
    told = dict(answer.causes)
    for path, message in bad.problems:
        assert path in told, answer.causes
        # What plain OpenAPI refuses has the API server's own words; a rule has ours.
        if message in RULE_MESSAGES:
            assert message in told[path]


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_samples_are_accepted_without_a_warning(rest: Rest, path: Path) -> None:
    for obj in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        if obj["kind"] in ("PaasApp", "PaasService", "ShardMap", "MesosCluster"):
            answer = rest.create(obj)
            assert (answer.status, answer.warnings) == (201, ())


PORT_NAMES = st.sampled_from(["http", "http-api", "default", "bad_name", ""])
PORTS = st.lists(st.fixed_dictionaries({}, optional={"name": PORT_NAMES, "port": st.sampled_from([0, 80])}), max_size=2)
MODES = st.sampled_from(["host", "container", "container/bridge"])
NETWORKS = st.lists(st.fixed_dictionaries({}, optional={"mode": MODES, "name": st.just("a")}), max_size=2)
READINESS = st.lists(st.fixed_dictionaries({}, optional={"portName": PORT_NAMES, "timeoutSeconds": st.just(30)}), max_size=1)
CHECKS = st.fixed_dictionaries(
    {},
    optional={
        "protocol": st.sampled_from(["HTTP", "tcp", "COMMAND", "MESOS_HTTP", "Mesos_Tcp", "GRPC"]),
        "command": st.just({"value": "true"}),
        "portIndex": st.integers(-1, 2),
        "port": st.sampled_from([0, 80, 65536]),
        "path": st.just("/"),
        "ipProtocol": st.sampled_from(["IPv4", "ipv6"]),
        "timeoutSeconds": st.sampled_from([0, 5, "5"]),
    },
)
MAPPINGS = st.lists(
    st.fixed_dictionaries({}, optional={"name": PORT_NAMES, "hostPort": st.just(0), "networkNames": st.just(["a"])}), max_size=2
)
CONTAINERS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["MESOS", "docker", "PODMAN"]),
        "docker": st.fixed_dictionaries({"image": st.sampled_from(["nginx", ""])}, optional={"network": st.sampled_from(["HOST", "NONE"])}),
        "portMappings": MAPPINGS,
        "volumes": st.lists(
            st.fixed_dictionaries(
                {"containerPath": st.sampled_from(["data", "/data"])},
                optional={
                    "mode": st.sampled_from(["RW", "ro"]),
                    "hostPath": st.just("/b"),
                    "persistent": st.fixed_dictionaries({"size": st.integers(0, 2)}, optional={"type": st.sampled_from(["root", "mount"])}),
                },
            ),
            max_size=1,
        ),
    },
)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "args": st.sampled_from([[], ["a"]]),
    "id": st.sampled_from(["/a/b", "a", "/", "/a/tasks", "/A"]),
    "instances": st.sampled_from([0, 1, 2, -1]),
    "gpus": st.sampled_from([0, 1]),
    "container": CONTAINERS,
    "networks": NETWORKS,
    "portDefinitions": PORTS,
    "ports": st.sampled_from([[], [0], [80]]),
    "healthChecks": st.lists(CHECKS, max_size=2),
    "readinessChecks": READINESS,
    "constraints": st.lists(st.lists(st.sampled_from(["hostname", "UNIQUE", "MAX_PER", "2"]), min_size=1, max_size=3), max_size=1),
    "env": st.dictionaries(st.sampled_from(["A", ""]), st.sampled_from(["x", 1, {"secret": "s"}]), max_size=1),
    "secrets": st.just({"s": {"source": "/s"}}),
    "labels": st.sampled_from([{}, {"MARATHON_SINGLE_INSTANCE_APP": "true"}]),
    "upgradeStrategy": st.fixed_dictionaries(
        {"minimumHealthCapacity": st.sampled_from([0, 0.5])}, optional={"maximumOverCapacity": st.sampled_from([0, 1, 2])}
    ),
    "unreachableStrategy": st.sampled_from(["disabled", {}, {"inactiveAfterSeconds": 5}, 5]),
    "resourceLimits": st.sampled_from([{"cpus": "unlimited"}, {"mem": 64}, {"cpus": 2, "mem": 256.5}, {"mem": True}]),
    "cpus": st.sampled_from([0.5, 2, 0, -1]),
    "killSelection": st.sampled_from(["oldest_first", "NONE"]),
}
COMMANDS: list[dict[str, Any]] = [{"cmd": "sleep 1"}, {"cmd": "sleep 1"}, {"cmd": "x"}, {}]


@st.composite
def specs(draw: st.DrawFn) -> dict[str, Any]:
    """A few fields at a time: about a quarter of them are good, so that both answers are tried often."""
    names = draw(st.sets(st.sampled_from(sorted(FIELDS)), min_size=1, max_size=3))
    return {**draw(st.sampled_from(COMMANDS)), **{name: draw(FIELDS[name]) for name in sorted(names)}}


REPLACEMENTS: list[Any] = [None, "", "x", "8080", "x" * 300, 0, 1, -1, 70000, 1.5, True, [], ["a"], {}, {"a": "b"}, {"secret": "s"}]


@st.composite
def spoiled(draw: st.DrawFn) -> dict[str, Any]:
    """A good definition in which one value, at any depth, is another."""
    spec: dict[str, Any] = copy.deepcopy(GOOD[draw(st.sampled_from(sorted(GOOD)))])
    node: Any = spec
    while True:
        key = draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
        if isinstance(node[key], dict | list) and node[key] and draw(st.integers(0, 3)):
            node = node[key]
            continue
        node[key] = draw(st.sampled_from(REPLACEMENTS))
        return spec


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(spec=specs() | spoiled())
def test_models_and_api_server_agree(rest: Rest, spec: dict[str, Any]) -> None:
    """Nothing that one of the two accepts is refused by the other."""
    obj = app_corpus.paas_app("a", spec)
    try:
        paasapp.read(obj)
    except ValidationError as refused:
        expected, why = 422, str(refused)
    else:
        expected, why = 201, ""

    answer = rest.create(obj, strict=False)

    assert answer.status == expected, (why, answer.body.get("message"))


WARNED: dict[str, tuple[dict[str, Any], str]] = {
    "read-only": ({"version": "x"}, "spec.version: ignored"),
    "deprecated": ({"ports": [0]}, "spec.ports: deprecated"),
    "docker network": ({"container": {"docker": {"image": "a", "network": "HOST"}}}, "network and portMappings are deprecated"),
    "no room": (
        {"healthChecks": [{"protocol": "TCP"}], "upgradeStrategy": {"minimumHealthCapacity": 1, "maximumOverCapacity": 0}},
        "leaves no room for an extra instance",
    ),
    "delay": ({"healthChecks": [{"protocol": "HTTP", "delaySeconds": 3}]}, "delaySeconds is ignored"),
    "ignore 1xx": ({"healthChecks": [{"ignoreHttp1xx": True}]}, "ignoreHttp1xx is ignored"),
    "overlap": ({"healthChecks": [{"intervalSeconds": 5}]}, "probes overlap"),
    "zero failures": ({"healthChecks": [{"maxConsecutiveFailures": 0}]}, "maxConsecutiveFailures 0 means never kill"),
    "no grace": ({"healthChecks": [{"gracePeriodSeconds": 0}]}, "gracePeriodSeconds 0"),
    "two checks": (
        {"healthChecks": [{"protocol": "MESOS_TCP"}, {"protocol": "COMMAND", "command": {"value": "true"}}]},
        "Mesos runs one check per task",
    ),
    "no tag": ({"container": {"docker": {"image": "r:5000/a/nginx"}}}, "names no fixed version"),
    "latest": ({"container": {"docker": {"image": "nginx:latest"}}}, "names no fixed version"),
    "service port": ({"portDefinitions": [{"port": 8080}]}, "is only the service port"),
    "old service port": ({"ports": [8080]}, "is only the service port"),
    "executor resources": ({"executorResources": {"cpus": 1}}, "spec.executorResources: dropped"),
    "definitions off host": ({"networks": [{"mode": "container/bridge"}], "portDefinitions": [{}]}, "spec.portDefinitions: dropped"),
    "mappings on host": ({"container": {"type": "MESOS", "portMappings": [{}]}}, "spec.container.portMappings: dropped"),
    "require ports": ({"networks": [{"name": "a"}], "requirePorts": True}, "spec.requirePorts: ignored"),
    "word": ({"unreachableStrategy": "off"}, 'any word as "disabled"'),
}


@pytest.mark.parametrize("name", WARNED)
def test_a_known_trap_is_told_and_accepted(rest: Rest, name: str) -> None:
    spec, words = WARNED[name]

    answer = rest.create(app_corpus.paas_app("a", {"cmd": "sleep 1", **spec}))

    assert answer.status == 201
    assert [warning for warning in answer.warnings if words in warning], answer.warnings


@pytest.mark.parametrize(
    "spec",
    [
        {"healthChecks": [{"protocol": "MESOS_TCP"}], "upgradeStrategy": {"minimumHealthCapacity": 1, "maximumOverCapacity": 0}},
        {"healthChecks": [{"protocol": "HTTP"}, {"protocol": "COMMAND", "command": {"value": "true"}}]},
        {"healthChecks": [{"protocol": "MESOS_TCP", "gracePeriodSeconds": 0}]},
        {"healthChecks": [{"protocol": "MESOS_TCP", "intervalSeconds": 20}]},
        {"container": {"docker": {"image": "r:5000/a/nginx:1.27"}}},
        {"container": {"docker": {"image": "nginx@sha256:0"}}},
        {"portDefinitions": [{"port": 8080}], "requirePorts": True},
    ],
)
def test_its_harmless_neighbour_gives_no_warning(rest: Rest, spec: dict[str, Any]) -> None:
    assert rest.create(app_corpus.paas_app("a", {"cmd": "sleep 1", **spec})).warnings == ()


NEEDS_THE_CLUSTER = {"NoRoomForExtraInstance", "MoreInstancesThanAgents", "MoreThanTheClusterHas"}
REFUSED = {"ReadinessPortMissing", "HealthCheckPortMissing", "CommandTooShort"}


def test_every_advice_that_can_be_given_at_apply_is(rest: Rest) -> None:
    """Whatever the operator would say of these as the condition Advice, kubectl says at once."""
    said: set[str] = set()
    for spec, _ in WARNED.values():
        found = {advice.reason for advice in advise({"id": "/a", "instances": 1, "cmd": "sleep 1", **spec})}
        if found:
            assert rest.create(app_corpus.paas_app("a", {"cmd": "sleep 1", **spec})).warnings, spec
        said |= found
    reasons = set(re.findall(r'reason="(\w+)"', inspect.getsource(advice_module)))
    assert said == reasons - NEEDS_THE_CLUSTER - REFUSED


def test_a_typo_is_refused_by_name(rest: Rest) -> None:
    answer = rest.create(app_corpus.paas_app("a", {"cmd": "sleep 1", "instnces": 2}))

    assert answer.status == 400
    assert 'unknown field "spec.instnces"' in answer.body["message"]


@pytest.mark.parametrize("name", cluster_corpus.BAD)
def test_a_bad_cluster_is_refused_with_the_same_field_and_words(rest: Rest, name: str) -> None:
    changes, path, message = cluster_corpus.BAD[name]

    answer = rest.create(cluster_corpus.cluster(**changes))

    assert answer.status == 422, answer.body
    told = dict(answer.causes)
    # a rule of an object is told at the object or, where the rule names it, at its field
    assert path in told or path.rpartition(".")[0] in told, answer.causes
    if message in RULE_MESSAGES:
        assert message in " ".join(told.values())


def test_an_id_that_ends_in_a_reserved_name_is_refused_in_metadata_too(rest: Rest) -> None:
    answer = rest.create(app_corpus.paas_app("tasks", {"cmd": "sleep 1"}))

    assert answer.status == 422
    assert "Marathon reserves the names restart, tasks and versions" in answer.body["message"]
    assert rest.create(app_corpus.paas_app("tasks", {"cmd": "sleep 1", "id": "/shop/jobs"})).status == 201


def test_the_root_of_a_cluster_cannot_change(rest: Rest) -> None:
    path = f"{GROUP}/mesosclusters/immutable"
    rest.create({**cluster_corpus.cluster(), "metadata": {"name": "immutable"}}, dry_run=False)
    try:
        patch = {"spec": {"zookeeper": {"root": "/shuren/y"}}}
        answer = rest.call("PATCH", path, patch, content_type="application/merge-patch+json")
        assert answer.status == 422
        assert "root cannot change" in answer.body["message"]
    finally:
        rest.call("DELETE", path)

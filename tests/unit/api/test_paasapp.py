"""Reading a PaasApp: each Marathon field alone, our own part, null, wrong types, a status of another version."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import app_corpus
from shuren.api.problems import Problem, problems
from shuren.api.v1alpha1 import paasapp
from shuren.api.v1alpha1.marathon.checks import HealthProtocol
from shuren.api.v1alpha1.marathon.container import Engine
from shuren.api.v1alpha1.marathon.placement import KillSelection, UnreachableStrategy

ALONE: dict[str, Any] = {
    "id": "/team/app",
    "cmd": "sleep 1",
    "args": ["sleep", "1"],
    "user": "nobody",
    "env": {"A": "1"},
    "instances": 3,
    "cpus": 0.25,
    "mem": 64,
    "disk": 10,
    "gpus": 1,
    "executor": "/opt/executor",
    "executorResources": {"cpus": 0.5, "mem": 64, "disk": 20},
    "constraints": [["hostname", "UNIQUE"]],
    "fetch": [{"uri": "http://a/b.tgz", "extract": False}],
    "uris": ["http://a/b.tgz"],
    "container": {"type": "MESOS", "volumes": [{"containerPath": "/a", "hostPath": "/b", "mode": "RO"}]},
    "networks": [{"mode": "container/bridge"}],
    "portDefinitions": [{"port": 0, "name": "http"}],
    "ports": [0, 0],
    "requirePorts": True,
    "ipAddress": {"networkName": "a"},
    "healthChecks": [{"protocol": "TCP"}],
    "check": {"tcp": {"portIndex": 0}},
    "readinessChecks": [{"portName": "default"}],
    "dependencies": ["/db"],
    "labels": {"团队": "订单"},
    "upgradeStrategy": {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0},
    "unreachableStrategy": {"inactiveAfterSeconds": 1, "expungeAfterSeconds": 2},
    "killSelection": "OLDEST_FIRST",
    "taskKillGracePeriodSeconds": 5,
    "backoffSeconds": 2,
    "backoffFactor": 1.5,
    "maxLaunchDelaySeconds": 60,
    "acceptedResourceRoles": ["*"],
    "role": "web",
    "residency": {"taskLostBehavior": "WAIT_FOREVER"},
    "resourceLimits": {"cpus": "unlimited", "mem": 256},
    "secrets": {"db": {"source": "/db"}},
    "tty": True,
}


def refusal(spec: dict[str, Any], **rest: Any) -> tuple[Problem, ...]:
    with pytest.raises(ValidationError) as refused:
        paasapp.read({**app_corpus.paas_app("a", spec), **rest})
    return problems(refused.value)


def test_every_field_of_marathon_is_in_the_table() -> None:
    assert set(ALONE) == paasapp.MARATHON_FIELDS


@pytest.mark.parametrize("field", sorted(ALONE))
def test_each_field_alone_reaches_the_definition_unchanged(field: str) -> None:
    command = {} if field in ("cmd", "args") else {"cmd": "sleep 1"}
    obj = app_corpus.paas_app("a", {**command, field: ALONE[field]})

    paasapp.read(obj)

    definition = paasapp.marathon_definition(obj["spec"])
    assert definition == {**command, field: ALONE[field]}
    assert definition[field] is obj["spec"][field]


@pytest.mark.parametrize("field", sorted(paasapp.OWN_FIELDS))
def test_our_own_fields_never_reach_the_definition(field: str) -> None:
    assert paasapp.marathon_definition({"cmd": "sleep 1", field: object()}) == {"cmd": "sleep 1"}


@pytest.mark.parametrize("field", sorted(paasapp.READ_ONLY_FIELDS))
def test_read_only_fields_are_dropped_and_told(field: str) -> None:
    spec = {"cmd": "sleep 1", field: "x"}

    assert paasapp.marathon_definition(spec) == {"cmd": "sleep 1"}
    assert paasapp.pasted_read_only(spec) == (field,)


def test_a_field_nobody_knows_is_dropped() -> None:
    assert paasapp.marathon_definition({"cmd": "sleep 1", "color": "red"}) == {"cmd": "sleep 1"}


def test_defaults_of_our_own_part() -> None:
    app = paasapp.read(app_corpus.paas_app("a", {"cmd": "sleep 1"}))

    assert app.spec.instances == 1
    assert (app.rollout.deadline_seconds, app.rollout.on_failure, app.rollout.max_unhealthy_seconds) == (
        600,
        paasapp.OnFailure.ROLLBACK,
        None,
    )
    management = app.management
    assert (management.policy, management.adoption) == (paasapp.Policy.FULL, paasapp.Adoption.REFUSE)
    assert (management.deletion, management.drift) == (paasapp.Deletion.DELETE, paasapp.DriftPolicy.CORRECT)
    assert not management.suspend


def test_our_own_part_is_typed() -> None:
    app = paasapp.read(
        app_corpus.paas_app(
            "a",
            {
                "cmd": "sleep 1",
                "envRefs": [{"name": "TOKEN", "secretKeyRef": {"name": "s", "key": "k", "optional": True}}],
                "filesFrom": [{"path": "conf/a.yaml", "configMapKeyRef": {"name": "c", "key": "a.yaml"}}],
                "rollout": {"deadlineSeconds": 30, "onFailure": "Pause", "maxUnhealthySeconds": 5},
                "management": {
                    "policy": "NoDelete",
                    "adoption": "Adopt",
                    "deletion": "Orphan",
                    "drift": "Warn",
                    "ignorePaths": ["/env/A~1B"],
                },
                "patches": [{"op": "add", "path": "/labels/a", "value": "b"}, {"op": "move", "from": "/a", "path": "/b"}],
                "dependsOn": [{"name": "db"}],
            },
        )
    )

    env, file = (app.spec.env_refs or [])[0], (app.spec.files_from or [])[0]
    assert env.secret_key_ref is not None
    assert env.secret_key_ref.optional
    assert (file.path, file.mode) == ("conf/a.yaml", "0400")
    assert app.rollout.on_failure is paasapp.OnFailure.PAUSE
    assert app.management.ignore_paths == ["/env/A~1B"]
    assert [patch.from_ for patch in app.spec.patches or []] == [None, "/a"]


def test_derived_facts_of_the_marathon_part() -> None:
    spec = paasapp.read(
        app_corpus.paas_app(
            "a",
            {
                "cmd": "sleep 1",
                "container": {"type": "mesos", "volumes": [{"containerPath": "d", "mode": "rw", "persistent": {"size": 1}}]},
                "healthChecks": [{}, {"protocol": "mesos_http"}],
                "killSelection": "oldest_first",
            },
        )
    ).spec

    assert spec.engine is Engine.MESOS
    assert spec.resident
    assert [check.kind for check in spec.health_checks or []] == [HealthProtocol.HTTP, HealthProtocol.MESOS_HTTP]
    assert spec.kill_selection is KillSelection.OLDEST_FIRST


def test_a_word_or_an_object_for_unreachable_strategy() -> None:
    word = paasapp.read(app_corpus.paas_app("a", {"cmd": "sleep 1", "unreachableStrategy": "disabled"}))
    times = paasapp.read(app_corpus.paas_app("a", {"cmd": "sleep 1", "unreachableStrategy": {"expungeAfterSeconds": 5}}))

    assert word.spec.unreachable_strategy == "disabled"
    assert times.spec.unreachable_strategy == UnreachableStrategy(expunge_after_seconds=5)


def test_null_means_absent_as_for_the_api_server() -> None:
    app = paasapp.read(
        app_corpus.paas_app("a", {"cmd": "sleep 1", "instances": None, "labels": {"a": None}, "healthChecks": [{"path": None}]})
    )

    assert app.spec.instances == 1
    assert app.spec.labels == {}
    assert (app.spec.health_checks or [])[0].path is None


def test_all_problems_are_told_at_once() -> None:
    told = refusal({"cmd": "x", "cpus": "1", "healthChecks": [{"port": 70000}, {"protocol": "GRPC"}]})

    assert [problem.path for problem in told] == ["spec.cmd", "spec.cpus", "spec.healthChecks[0].port", "spec.healthChecks[1].protocol"]


def test_all_broken_rules_of_one_node_are_told_at_once() -> None:
    told = refusal({"cmd": "sleep 1", "args": ["a"], "uris": ["a"], "fetch": [{"uri": "b"}]})

    assert [problem.path for problem in told] == ["spec.args", "spec.uris"]


def test_a_value_is_never_quoted() -> None:
    told = refusal({"cmd": "sleep 1", "env": {"PASSWORD": ["hunter2"]}, "labels": {"a": 4711}, "user": {"name": "hunter2"}})

    assert not [problem for problem in told if "hunter2" in str(problem) or "4711" in str(problem)]
    assert str(told[0]).startswith("spec.")


def test_a_missing_spec_is_told() -> None:
    with pytest.raises(ValidationError) as refused:
        paasapp.read({"metadata": {"name": "a"}})

    assert problems(refused.value) == (Problem(path="spec", message="is required"),)


def test_a_reserved_name_needs_an_id() -> None:
    with pytest.raises(ValidationError, match="reserves the names"):
        paasapp.read(app_corpus.paas_app("tasks", {"cmd": "sleep 1"}))

    assert paasapp.read(app_corpus.paas_app("tasks", {"cmd": "sleep 1", "id": "/a/b"})).spec.id == "/a/b"


def test_a_status_of_another_version_reads_as_none() -> None:
    obj = app_corpus.paas_app("a", {"cmd": "sleep 1"})

    assert paasapp.read({**obj, "status": {"counts": "many"}}).status is None
    assert paasapp.read({**obj, "status": {"observedGeneration": 3, "future": 1}}).status == paasapp.PaasAppStatus(observed_generation=3)


WORDS = st.sampled_from([word.value for word in HealthProtocol])


@given(word=WORDS, upper=st.lists(st.booleans(), min_size=12, max_size=12))
def test_words_of_marathon_are_read_in_any_case(word: str, upper: list[bool]) -> None:
    mixed = "".join(letter.upper() if up else letter.lower() for letter, up in zip(word, (*upper, *upper), strict=False))
    command = {"command": {"value": "true"}} if word == "COMMAND" else {}

    app = paasapp.read(app_corpus.paas_app("a", {"cmd": "sleep 1", "healthChecks": [{"protocol": mixed, **command}]}))

    assert (app.spec.health_checks or [])[0].protocol is HealthProtocol(word)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(spec=st.dictionaries(st.sampled_from(sorted(paasapp.MARATHON_FIELDS | paasapp.OWN_FIELDS)), JSON, max_size=6))
def test_whatever_stands_in_a_spec_is_read_or_refused_with_paths(spec: dict[str, Any]) -> None:
    try:
        paasapp.read(app_corpus.paas_app("a", spec))
    except ValidationError as refused:
        told = problems(refused)
        assert told
        assert all(problem.path == "spec" or problem.path.startswith("spec.") for problem in told)
        assert all(problem.message for problem in told)

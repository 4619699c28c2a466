"""Normalisation: what a real Marathon answered is the truth; beyond its samples, properties."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from app_corpus import good
from recorded_definitions import Recorded, recorded
from shuren.domain.marathon.advice import advise
from shuren.domain.marathon.diff import difference
from shuren.domain.marathon.normalise import normalise, without_nulls
from shuren.domain.marathon.state import MarathonInfo
from strategies import definitions

_REFUSED_AS_A_WHOLE = {"partial_iso: iso partial ipAddress+ports"}
"""Only reachable by a partial update; Marathon refuses the same as one definition."""
_RECORDED = [pair for pair in recorded() if pair.label not in _REFUSED_AS_A_WHOLE]


def _with(**fields: Any) -> dict[str, Any]:
    return normalise({"id": "/a", "cmd": "sleep 1", **fields})


def test_there_is_something_to_compare_with() -> None:
    assert len(_RECORDED) > 100


@pytest.mark.parametrize("pair", _RECORDED, ids=lambda pair: pair.label)
def test_a_definition_becomes_what_marathon_answered(pair: Recorded) -> None:
    assert difference(normalise(pair.given), normalise(pair.answered)).changes == ()


@pytest.mark.parametrize("pair", _RECORDED, ids=lambda pair: pair.label)
def test_what_marathon_answers_is_left_as_it_is(pair: Recorded) -> None:
    own = {
        key: value for key, value in pair.answered.items() if key not in {"version", "versionInfo", "executorResources", "residency", "tty"}
    }
    assert _without_order(normalise(pair.answered)) == _without_order(own)


def _without_order(app: dict[str, Any]) -> dict[str, Any]:
    sets = ("constraints", "healthChecks", "dependencies", "acceptedResourceRoles")
    return {key: sorted(map(repr, _plain(value))) if key in sets else value for key, value in app.items()}


def _plain(items: list[Any]) -> list[Any]:
    """Health checks without what is levelled on purpose: Marathon shows these differently after a change of its leader."""
    return [{k: item[k] for k in sorted(item.keys() - {"portIndex", "ipProtocol"})} if isinstance(item, dict) else item for item in items]


@given(definitions)
def test_it_is_idempotent(definition: dict[str, Any]) -> None:
    once = normalise(definition)
    assert normalise(once) == once


@given(definitions)
def test_it_changes_nothing_in_place_and_knows_no_null(definition: dict[str, Any]) -> None:
    before = repr(definition)
    result = normalise(definition)
    assert repr(definition) == before
    assert without_nulls(result) == result


@given(definitions)
def test_a_null_is_as_good_as_nothing(definition: dict[str, Any]) -> None:
    assert normalise(definition) == normalise(without_nulls(definition))


@given(definitions)
def test_a_definition_never_differs_from_what_it_becomes(definition: dict[str, Any]) -> None:
    assert not difference(normalise(definition), normalise(normalise(definition)))


@pytest.mark.parametrize("definition", good().values(), ids=good().keys())
def test_real_definitions_settle_at_once(definition: dict[str, Any]) -> None:
    once = normalise(definition)
    assert normalise(once) == once
    assert advise(definition, agents=3) == advise(definition, agents=3)


# ---------------------------------------------------------------------------------------------------- rules, one by one


def test_nothing_declared_in_host_mode_is_one_port_called_default() -> None:
    assert _with()["portDefinitions"] == [{"port": 0, "protocol": "tcp", "name": "default"}]
    assert _with(portDefinitions=[])["portDefinitions"] == []


def test_ports_become_definitions_without_names() -> None:
    assert _with(ports=[0, 81])["portDefinitions"] == [{"port": 0, "protocol": "tcp"}, {"port": 81, "protocol": "tcp"}]


@pytest.mark.parametrize(
    ("uri", "unpacked"),
    [
        ("http://h/a.tar.gz", True),
        ("http://h/a.gz", True),
        ("http://h/a.zip?token=1#x", True),
        ("http://h/a%2Etgz", True),
        ("a.txz", True),
        ("http://h/a.jar", False),
        ("http://h/a.ZIP", False),
        ("http://h/get?file=a.tgz", False),
        ("http://a.zip", False),
        ("mailto:a.zip", False),
        ("http://[h/a.zip", False),
    ],
)
def test_uris_become_fetch_and_what_is_unpacked_is_told_by_the_end_of_the_path(uri: str, *, unpacked: bool) -> None:
    assert [(f["uri"], f["extract"]) for f in _with(uris=[uri])["fetch"]] == [(uri, unpacked)]
    assert _with(fetch=[{"uri": uri}])["fetch"][0]["extract"] is True


def test_legacy_docker_network_and_mappings_move() -> None:
    docker = {"image": "nginx", "network": "BRIDGE", "portMappings": [{"containerPort": 80}]}
    app = _with(container={"type": "DOCKER", "docker": docker})
    assert app["networks"] == [{"mode": "container/bridge"}]
    assert app["container"]["portMappings"][0] | {"labels": {}} == {
        "containerPort": 80,
        "hostPort": 0,
        "labels": {},
        "protocol": "tcp",
        "servicePort": 0,
    }
    assert set(app["container"]["docker"]) == {"image", "forcePullImage", "parameters", "privileged"}


def test_port_definitions_off_host_mode_are_dropped_after_padding_the_mappings() -> None:
    ports = [{"port": 1, "name": "x"}, {"port": 2}]
    app = _with(networks=[{"mode": "container/bridge"}], container={"type": "MESOS"}, portDefinitions=ports)
    assert "portDefinitions" not in app
    assert [m.get("name") for m in app["container"]["portMappings"]] == ["default", None]
    # a container that Marathon adds itself comes too late for that
    app = _with(networks=[{"mode": "container/bridge"}], portDefinitions=ports)
    assert [m.get("name") for m in app["container"]["portMappings"]] == ["default"]


def test_a_container_network_without_a_name_gets_the_default_one() -> None:
    info = MarathonInfo(version="1.11", framework_id=None, leader=None, default_network_name="dcos")
    assert normalise({"id": "/a", "networks": [{"labels": {}}]}, info=info)["networks"] == [{"mode": "container", "name": "dcos"}]


def test_require_ports_is_false_off_host_mode() -> None:
    assert _with(requirePorts=True)["requirePorts"] is True
    assert _with(requirePorts=True, networks=[{"mode": "container/bridge"}])["requirePorts"] is False


@pytest.mark.parametrize(
    ("volume", "strategy", "unreachable"),
    [
        ({"containerPath": "d", "mode": "RW", "persistent": {"size": 1}}, (0.5, 0.0), "disabled"),
        (
            {"containerPath": "/d", "mode": "RW", "external": {"name": "v", "provider": "dvdi"}},
            (0.5, 0.0),
            {"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0},
        ),
        ({"containerPath": "/d", "mode": "RW", "hostPath": "/h"}, (1.0, 1.0), {"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0}),
    ],
    ids=["persistent", "external", "host"],
)
def test_strategies_depend_on_volumes(volume: Any, strategy: tuple[float, float], unreachable: object) -> None:
    app = _with(container={"type": "MESOS", "volumes": [volume]})
    assert (app["upgradeStrategy"]["minimumHealthCapacity"], app["upgradeStrategy"]["maximumOverCapacity"]) == strategy
    assert app["unreachableStrategy"] == unreachable


def test_the_delay_of_marathons_own_checks_always_reads_15() -> None:
    checks = _with(healthChecks=[{"protocol": "HTTP", "delaySeconds": 3}, {"protocol": "MESOS_HTTP", "delaySeconds": 3}])["healthChecks"]
    assert {c["protocol"]: c["delaySeconds"] for c in checks} == {"HTTP": 15, "MESOS_HTTP": 3}


def test_what_a_leader_change_would_show_differently_is_levelled() -> None:
    bare = _with(healthChecks=[{"protocol": "HTTP"}])
    assert bare == _with(healthChecks=[{"protocol": "HTTP", "portIndex": 0}])
    assert _with(healthChecks=[{"protocol": "HTTP", "port": 80, "portIndex": 0}]) == _with(healthChecks=[{"protocol": "HTTP", "port": 80}])
    assert _with(tty=False) == _with()


def test_sets_have_no_order_and_no_duplicates() -> None:
    one = _with(constraints=[["b", "UNIQUE"], ["a", "UNIQUE"]], acceptedResourceRoles=["x", "*", "x"])
    other = _with(constraints=[["a", "UNIQUE"], ["b", "UNIQUE"], ["a", "UNIQUE"]], acceptedResourceRoles=["*", "x"])
    assert one == other


def test_dependencies_are_relative_to_the_root() -> None:
    assert normalise({"id": "/g/h/a", "cmd": "sleep 1", "dependencies": ["../x", "y", "/z"]})["dependencies"] == ["/x", "/y", "/z"]


def test_both_protocols_have_one_spelling() -> None:
    for spelling in ("udp,tcp", "tcp,udp", "UDP,TCP"):
        assert _with(portDefinitions=[{"port": 0, "protocol": spelling}])["portDefinitions"][0]["protocol"] == "udp,tcp"


def test_read_only_keys_and_unknown_ones_are_no_part_of_it() -> None:
    extra = {"version": "x", "versionInfo": {}, "tasks": [], "tasksRunning": 1, "deployments": [], "lastTaskFailure": {}, "foo": 1}
    assert _with(**extra) == _with()

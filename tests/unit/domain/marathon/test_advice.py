"""Each trap is told, and its harmless neighbour is not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from shuren.domain.cluster import Amounts
from shuren.domain.marathon.advice import CHECKS, Advice, advise
from strategies import definitions

_HTTP = {"protocol": "HTTP", "path": "/", "portIndex": 0}
_NO_EXTRA = {"minimumHealthCapacity": 1, "maximumOverCapacity": 0}
_UNIQUE = [["hostname", "UNIQUE"]]
_MAPPED = {"type": "MESOS", "portMappings": [{"containerPort": 80, "hostPort": 31000}]}


def _advise(agents: int | None = None, total: Amounts | None = None, **fields: Any) -> tuple[Advice, ...]:
    return advise({"id": "/a", "cmd": "sleep 1", "instances": 2, **fields}, agents=agents, total=total)


@pytest.mark.parametrize(
    ("fields", "agents", "reason", "path"),
    [
        ({"healthChecks": [_HTTP], "upgradeStrategy": _NO_EXTRA}, None, "RolloutNeverEnds", "spec.upgradeStrategy.maximumOverCapacity"),
        (
            {"healthChecks": [{"protocol": "tcp"}], "upgradeStrategy": {"minimumHealthCapacity": 0, "maximumOverCapacity": 0.4}},
            None,
            "RolloutNeverEnds",
            "spec.upgradeStrategy.maximumOverCapacity",
        ),
        ({"constraints": _UNIQUE}, 2, "NoRoomForExtraInstance", "spec.upgradeStrategy.minimumHealthCapacity"),
        ({"constraints": [["x", "LIKE", "y"], ["@hostname", "UNIQUE"]]}, 1, "MoreInstancesThanAgents", "spec.constraints[1]"),
        ({"constraints": [["hostname", "MAX_PER", "1"]]}, 1, "MoreInstancesThanAgents", "spec.constraints[0]"),
        ({"requirePorts": True, "portDefinitions": [{"port": 80}]}, 1, "MoreInstancesThanAgents", "spec.portDefinitions[0].port"),
        (
            {"networks": [{"mode": "container/bridge"}], "container": _MAPPED},
            1,
            "MoreInstancesThanAgents",
            "spec.container.portMappings[0].hostPort",
        ),
        ({"readinessChecks": [{"portName": "nope"}]}, None, "ReadinessPortMissing", "spec.readinessChecks[0].portName"),
        ({"healthChecks": [{"portIndex": 3}]}, None, "HealthCheckPortMissing", "spec.healthChecks[0].portIndex"),
        ({"healthChecks": [{"portIndex": 0}], "portDefinitions": []}, None, "HealthCheckPortMissing", "spec.healthChecks[0].portIndex"),
        ({"cmd": "x"}, None, "CommandTooShort", "spec.cmd"),
        ({"healthChecks": [{"protocol": "HTTP", "delaySeconds": 60}]}, None, "DelayIgnored", "spec.healthChecks[0].delaySeconds"),
        ({"healthChecks": [{"ignoreHttp1xx": True}]}, None, "Http1xxNotIgnored", "spec.healthChecks[0].ignoreHttp1xx"),
        ({"healthChecks": [{"maxConsecutiveFailures": 0}]}, None, "ZeroFailures", "spec.healthChecks[0].maxConsecutiveFailures"),
        (
            {"healthChecks": [{"protocol": "MESOS_TCP", "maxConsecutiveFailures": 0}]},
            None,
            "ZeroFailures",
            "spec.healthChecks[0].maxConsecutiveFailures",
        ),
        ({"healthChecks": [{"gracePeriodSeconds": 0}]}, None, "NoGracePeriod", "spec.healthChecks[0].gracePeriodSeconds"),
        ({"healthChecks": [{"intervalSeconds": 5}]}, None, "TimeoutAboveInterval", "spec.healthChecks[0].timeoutSeconds"),
        (
            {"healthChecks": [{"protocol": "MESOS_TCP"}, {"protocol": "COMMAND", "command": {"value": "true"}}]},
            None,
            "OneCheckIsRun",
            "spec.healthChecks[1]",
        ),
        ({"container": {"docker": {"image": "r:5000/a/nginx"}}}, None, "ImageNotPinned", "spec.container.docker.image"),
        ({"container": {"docker": {"image": "nginx:latest"}}}, None, "ImageNotPinned", "spec.container.docker.image"),
        ({"container": _MAPPED}, None, "PortsDropped", "spec.container.portMappings"),
        (
            {"networks": [{"mode": "container/bridge"}], "portDefinitions": [{"port": 80}], "container": {"type": "MESOS"}},
            None,
            "PortsDropped",
            "spec.portDefinitions",
        ),
        ({"portDefinitions": [{"port": 8080}]}, None, "PortNotOnHost", "spec.requirePorts"),
        ({"executorResources": {"cpus": 1}}, None, "ExecutorResourcesDropped", "spec.executorResources"),
        ({"networks": [{"mode": "container/bridge"}], "requirePorts": True}, None, "RequirePortsIgnored", "spec.requirePorts"),
        ({"uris": ["http://a"]}, None, "Deprecated", "spec.uris"),
        ({"ports": [0]}, None, "Deprecated", "spec.ports"),
        ({"ipAddress": {"networkName": "n"}}, None, "Deprecated", "spec.ipAddress"),
        ({"residency": {"taskLostBehavior": "WAIT_FOREVER"}}, None, "Deprecated", "spec.residency"),
        ({"container": {"docker": {"image": "a:1", "network": "HOST"}}}, None, "Deprecated", "spec.container.docker.network"),
    ],
)
def test_traps(fields: dict[str, Any], agents: int | None, reason: str, path: str) -> None:
    found = [advice for advice in _advise(agents, **fields) if advice.reason == reason]
    assert [advice.path for advice in found] == [path]
    assert path in str(found[0])


@pytest.mark.parametrize(
    ("fields", "agents"),
    [
        ({}, None),
        ({}, 1),
        ({"healthChecks": [_HTTP]}, None),
        ({"healthChecks": [_HTTP], "upgradeStrategy": {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0.5}}, None),
        ({"healthChecks": [{"protocol": "MESOS_HTTP"}], "upgradeStrategy": _NO_EXTRA}, None),
        ({"healthChecks": [_HTTP], "upgradeStrategy": _NO_EXTRA, "instances": 0}, None),
        ({"constraints": _UNIQUE}, 3),
        ({"constraints": _UNIQUE}, None),
        ({"constraints": _UNIQUE, "upgradeStrategy": {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0}}, 2),
        ({"constraints": [["rack", "UNIQUE"]]}, 1),
        ({"constraints": [["hostname", "MAX_PER", "2"]]}, 1),
        ({"healthChecks": [{"protocol": "MESOS_HTTP", "delaySeconds": 60}]}, None),
        ({"healthChecks": [{"protocol": "MESOS_HTTP", "portIndex": 9}]}, None),
        ({"healthChecks": [{"port": 80, "portIndex": 9}]}, None),
        ({"readinessChecks": [{"portName": "http"}], "portDefinitions": [{"name": "http"}]}, None),
        (
            {
                "readinessChecks": [{"portName": "http"}],
                "networks": [{"mode": "container/bridge"}],
                "container": {"type": "MESOS", "portMappings": [{"containerPort": 80, "name": "http"}]},
            },
            None,
        ),
        ({"container": {"docker": {"image": "r:5000/a/nginx:1.27"}}}, None),
        ({"container": {"docker": {"image": "nginx@sha256:0"}}}, None),
        ({"requirePorts": True, "portDefinitions": [{"port": 80}]}, 3),
        ({"cmd": "./x"}, None),
        ({"healthChecks": [{"intervalSeconds": 20}]}, None),
    ],
)
def test_no_false_alarm(fields: dict[str, Any], agents: int | None) -> None:
    assert _advise(agents, **fields) == ()


_ROOM = Amounts(cpus=4, mem=1024, disk=100, gpus=0)


@pytest.mark.parametrize(
    ("fields", "reason", "path"),
    [
        ({"cpus": 2.5}, "MoreThanTheClusterHas", "spec.cpus"),
        ({"cpus": 0.1, "mem": 600}, "MoreThanTheClusterHas", "spec.mem"),
        ({"cpus": 0.1, "mem": 1, "disk": 60}, "MoreThanTheClusterHas", "spec.disk"),
        ({"cpus": 0.1, "mem": 1, "gpus": 1}, "MoreThanTheClusterHas", "spec.gpus"),
        ({"cpus": 2, "mem": 1}, "NoRoomForExtraInstance", "spec.upgradeStrategy.minimumHealthCapacity"),
        ({"cpus": 0.1, "mem": 512}, "NoRoomForExtraInstance", "spec.upgradeStrategy.minimumHealthCapacity"),
    ],
)
def test_the_arithmetic_of_the_cluster(fields: dict[str, Any], reason: str, path: str) -> None:
    assert [(found.reason, found.path) for found in _advise(total=_ROOM, **fields)] == [(reason, path)]


@pytest.mark.parametrize(
    "fields",
    [
        {"cpus": 1, "mem": 1},
        {"cpus": 2, "mem": 1, "upgradeStrategy": {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 1}},
        {"cpus": 100, "instances": 0},
    ],
)
def test_what_has_room_is_no_trap(fields: dict[str, Any]) -> None:
    assert _advise(total=_ROOM, **fields) == ()


@pytest.mark.parametrize(("instances", "least"), [(1, 1.0), (2, 0.5), (3, 0.34), (10, 0.1), (7, 0.15)])
def test_the_share_that_is_proposed_is_enough_and_the_smallest(instances: int, least: float) -> None:
    strategy = {"minimumHealthCapacity": 1, "maximumOverCapacity": 0}
    (advice,) = _advise(instances=instances, healthChecks=[_HTTP], upgradeStrategy=strategy)
    assert f"at least {least:g}" in advice.message
    assert _advise(instances=instances, healthChecks=[_HTTP], upgradeStrategy={**strategy, "maximumOverCapacity": least}) == ()


@given(definitions)
def test_nothing_that_the_schema_takes_makes_it_fail(definition: dict[str, Any]) -> None:
    for advice in advise(definition, agents=2):
        assert advice.path.startswith("spec.")
        assert advice.message


def test_every_check_says_what_it_is_about() -> None:
    assert all(check.__doc__ for check in CHECKS)
    assert len({check.__name__ for check in CHECKS}) == len(CHECKS)

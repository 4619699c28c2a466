"""Fields of apps that may be one thing or another, and small objects that are read more strictly or more kindly than the rest."""

# ruff: noqa: E501 - tables read best with one case a line
from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from quiet_engine import QuietEngine
from shuren.sandbox.contract import Settings
from shuren.sandbox.http.app import build_app
from wire import Wire

Json = dict[str, Any]


def app(**fields: Any) -> Json:
    return {"id": "/a", "cmd": "sleep 1", "instances": 0} | fields


def volume(**fields: Any) -> Json:
    return app(container={"type": "MESOS", "volumes": [{"containerPath": "d", "mode": "RW"} | fields]})


@pytest.mark.parametrize(
    ("body", "path", "error"),
    [
        (app(env={"A": 1}), "/env/A", "error.expected.jsobject"),
        (app(env={"A": {}}), "/env/A/secret", "error.path.missing"),
        (app(env={"A": {"secret": 1}}), "/env/A/secret", "error.expected.jsstring"),
        (app(resourceLimits={"cpus": True}), "/resourceLimits/cpus", "error.expected.jsnumber"),
        (app(resourceLimits="unlimited"), "/resourceLimits", "error.expected.jsobject"),
        (app(unreachableStrategy={"inactiveAfterSeconds": -1}), "/unreachableStrategy/inactiveAfterSeconds", "error.min"),
        (app(healthChecks=[{"protocol": "COMMAND", "command": {}}]), "/healthChecks(0)/command/value", "error.path.missing"),
        (app(healthChecks=[{"protocol": "COMMAND", "command": "true"}]), "/healthChecks(0)/command", "error.expected.jsobject"),
        (app(check={"exec": {}}), "/check/exec/command", "error.path.missing"),
        (app(check={"exec": {"command": {}}}), "/check/exec/command/argv", "'argv' is undefined on object: {}"),
        (app(readinessChecks=[{"name": ""}]), "/readinessChecks(0)/name", "error.minLength"),
        (app(readinessChecks=[{"portName": "Web"}]), "/readinessChecks(0)/portName", "error.pattern"),
        (app(readinessChecks=[{"httpStatusCodesForReady": []}]), "/readinessChecks(0)/httpStatusCodesForReady", "error.minLength"),
        (app(versionInfo={}), "/versionInfo/lastScalingAt", "error.path.missing"),
        (app(container={"type": "DOCKER", "docker": {"image": "x", "credential": {}}}), "/container/docker/credential/principal", "error.path.missing"),
        (app(container={"type": "MESOS", "docker": {"image": "x", "pullConfig": {"secret": ""}}}), "/container/docker/pullConfig/secret", "error.minLength"),
        (app(container={"type": "MESOS", "linuxInfo": "x"}), "/container/linuxInfo", "error.expected.jsobject"),
        (app(container={"type": "MESOS", "linuxInfo": {"ipcInfo": {}}}), "/container/linuxInfo/ipcInfo/mode", "'mode' is undefined on object: {}"),
    ],
)  # fmt: skip
async def test_what_is_wrong(wire: Wire, body: Json, path: str, error: str) -> None:
    reply = await wire.post("/v2/apps", body)
    assert (reply.status, reply.json["message"]) == (422, "Invalid JSON")
    assert {"path": path, "errors": [error]} in reply.json["details"]


@pytest.mark.parametrize(
    "odd", [{"persistent": {"size": "x"}}, {"external": {"size": -1}}, {"external": {"options": {"a": 1}}}, {"secret": 1}]
)
async def test_a_volume_that_is_nothing_else_should_be_a_host_volume(wire: Wire, odd: Json) -> None:
    reply = await wire.post("/v2/apps", volume(**odd))
    (detail,) = reply.json["details"]
    assert detail["path"] == "/container/volumes(0)/hostPath"
    assert detail["errors"][0].startswith("'hostPath' is undefined on object: ")
    shown = (await wire.post("/v2/apps", volume(hostPath="/h", **odd))).json["container"]["volumes"]
    assert shown == [{"containerPath": "d", "hostPath": "/h", "mode": "RW"}]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("disabled", "disabled"),
        ("whatever", "disabled"),
        ({}, {"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0}),
        (5, {"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0}),
    ],
)
async def test_strategies_for_the_unreachable(wire: Wire, given: Any, shown: Any) -> None:
    assert (await wire.post("/v2/apps", app(unreachableStrategy=given))).json["unreachableStrategy"] == shown


async def test_seccomp_says_whether_it_is_unconfined(wire: Wire) -> None:
    info = {"seccomp": {"profileName": "default"}}
    shown = (await wire.post("/v2/apps", app(container={"type": "MESOS", "linuxInfo": info}))).json["container"]["linuxInfo"]
    assert shown == {"seccomp": {"profileName": "default", "unconfined": False}}


async def test_limits_are_numbers_or_one_word(wire: Wire) -> None:
    for number, limits in enumerate(({"cpus": "unlimited"}, {"cpus": 2, "mem": 256.5}), start=1):
        assert (await wire.post("/v2/apps", app(id=f"/a{number}", resourceLimits=limits))).json["resourceLimits"] == limits
    reply = await wire.post("/v2/apps", app(resourceLimits={"cpus": "Infinity", "mem": -1}))
    assert reply.json["details"] == [
        {"path": "/resourceLimits/cpus", "errors": ["'Infinity' is an invalid resource limit. It must be 'unlimited' or a number"]},
        {"path": "/resourceLimits/mem", "errors": ["resource limit must be greater than or equal to requested resource (128.0)"]},
    ]


DVDI: Json = {"provider": "dvdi", "name": "v", "options": {"dvdi/driver": "pxd"}}
AT = "/container/volumes(0)"


@pytest.mark.parametrize(
    ("kind", "fields", "expected"),
    [
        ("MESOS", {"external": {"provider": "acme", "name": "v"}}, {f"{AT}/external/provider": ["is unknown provider"]}),
        ("MESOS", {"external": {"size": 10}}, {f"{AT}/external/name": ["not defined"], f"{AT}/external/provider": ["not defined"]}),
        ("MESOS", {"external": DVDI, "containerPath": "."}, {f"{AT}/containerPath": ["can not be one of (.,..)"]}),
        ("MESOS", {"external": DVDI, "mode": "RO"}, {f"{AT}/mode": ["does not equal RW"]}),
        ("MESOS", {"external": DVDI | {"options": {}}}, {f'{AT}/external/options("dvdi/driver")': ["not defined"]}),
        ("MESOS", {"external": DVDI | {"options": {"dvdi/driver": "rexray", "dvdi/iops": "0"}}}, {f'{AT}/external/options/"dvdi/iops"': ["Expected a valid, positive integer instead of 0"]}),
        ("MESOS", {"external": DVDI | {"options": {"dvdi/driver": "rexray", "dvdi/overwritefs": "false"}}}, {f'{AT}/external/options/"dvdi/overwritefs"': ["Expected a valid boolean"]}),
        ("DOCKER", {"external": DVDI | {"size": 42}}, {f"{AT}/external/size": ["must be undefined for Docker containers"]}),
        ("DOCKER", {"external": DVDI | {"options": DVDI["options"] | {"dvdi/x": "1"}}}, {f"{AT}/external/options": ["must only contain dvdi/driver"]}),
        ("DOCKER", {"external": DVDI, "containerPath": "relative/path"}, {}),
        ("MESOS", {"external": DVDI | {"size": 10}, "containerPath": "/var"}, {}),
        ("MESOS", {"external": DVDI | {"name": "name=team,repl=1,secret_key=k", "options": {"dvdi/driver": "pxd", "dvdi/secret_key": "x"}}}, {}),
        ("MESOS", {"external": {"provider": "csi", "name": "v", "options": {"pluginName": "nfs", "capability": {"accessType": "mount", "accessMode": "SINGLE_NODE_WRITER"}}}}, {}),
    ],
)  # fmt: skip
async def test_external_volumes(kind: str, fields: Json, expected: Json) -> None:
    engine = QuietEngine()
    engine.settings = replace(Settings(), features=frozenset({"external_volumes"}))
    container = {"type": kind, "docker": {"image": "x"}, "volumes": [{"containerPath": "d", "mode": "RW"} | fields]}
    async with Wire(build_app(engine, address=engine.address)) as wire:
        reply = await wire.post("/v2/apps", app(container=container))
    found = {detail["path"]: detail["errors"] for detail in reply.json.get("details", ())}
    assert (reply.status, found) == (422 if expected else 201, expected)


async def test_driven_volumes_belong_to_one_instance() -> None:
    engine = QuietEngine()
    engine.settings = replace(Settings(), features=frozenset({"external_volumes"}))
    twice = [{"containerPath": path, "mode": "RW", "external": DVDI} for path in ("a", "b")]
    strategy = {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0.1}
    async with Wire(build_app(engine, address=engine.address)) as wire:
        body = app(instances=2, upgradeStrategy=strategy, container={"type": "MESOS", "volumes": twice})
        reply = await wire.post("/v2/apps", body)
        found = {detail["path"]: detail["errors"] for detail in reply.json["details"]}
        assert found["/upgradeStrategy/maximumOverCapacity"] == ["got 0.1, expected 0.0"]
        assert found["/"] == [
            "Number of instances is limited to 1 when declaring DVDI volumes in app [/a]",
            "Requested DVDI volume 'v' is declared more than once within app /a",
        ]
        alone = await wire.post("/v2/apps", app(instances=1, container={"type": "MESOS", "volumes": twice[:1]}))
        assert alone.json["upgradeStrategy"] == {"maximumOverCapacity": 0.0, "minimumHealthCapacity": 0.5}


async def test_doubles_have_a_fraction(wire: Wire) -> None:
    """Rule 2.4-19: what is read back is written as a floating point number, whole or not."""
    await wire.post("/v2/apps", app(cpus=1, mem=64, backoffFactor=2))
    text = (await wire.get("/v2/apps/a")).body
    for part in (b'"cpus":1.0', b'"mem":64.0', b'"disk":0.0', b'"backoffFactor":2.0', b'"gpus":0', b'"backoffSeconds":1,'):
        assert part in text

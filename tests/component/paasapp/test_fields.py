"""Each field of a Marathon app, set alone, on its whole way: read from the resource, rendered, written to a Marathon, read back.

It has its effect there, or Marathon refuses it with a path. And nothing is left to write: what Marathon made of it equals what was asked.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings

import app_corpus
from quiet_engine import QuietEngine
from shuren.api.v1alpha1.paasapp import MARATHON_FIELDS
from shuren.clients.marathon import parse
from shuren.controllers.paasapp import reading
from shuren.domain.app.render import render
from shuren.domain.identity import ObjectKey
from shuren.domain.marathon.advice import advise
from shuren.domain.marathon.diff import FieldChange, difference
from shuren.domain.marathon.normalise import normalise
from shuren.domain.marathon.render import full_body
from shuren.sandbox.contract import Settings
from shuren.sandbox.http.app import build_app
from strategies import some_fields
from wire import Wire

_KEY = ObjectKey(kind="PaasApp", namespace="shop", name="web")
_EVERYTHING = Settings(features=frozenset({"secrets", "gpu_resources", "external_volumes", "vips", "task_killing"}))


@dataclass(frozen=True, kw_only=True)
class Came:
    """What became of a spec: what Marathon has, and what would still be written; or how it refused."""

    id: str
    held: dict[str, Any]
    gap: tuple[FieldChange, ...] = ()
    refused: Any = None


def read_as_resource(spec: dict[str, Any]) -> reading.Reading:
    item = app_corpus.paas_app("web", spec, namespace="shop")
    item["metadata"]["uid"] = "u"
    return reading.read(_KEY, item)


async def through(spec: dict[str, Any], settings: Settings = _EVERYTHING) -> Came:
    read = read_as_resource(spec)
    assert read.problem is None, read.problem
    assert read.recipe is not None
    body = full_body(render(read.recipe, {}, digest_key="u").definition)
    engine = QuietEngine(settings=settings)
    async with Wire(build_app(engine, address=engine.address)) as wire:
        reply = await wire.send("PUT", f"/v2/apps{read.app_id}?partialUpdate=false&force=false", body)
        if reply.status >= 400:
            return Came(id=read.app_id, held={}, refused=reply.json)
        app = parse.app((await wire.get(f"/v2/apps{read.app_id}")).json["app"])
    return Came(id=app.id, held=dict(app.definition), gap=difference(normalise(body), normalise(app.definition)).changes)


_DEFAULT_MAPPING = {"containerPort": 0, "labels": {}, "name": "default", "protocol": "tcp", "servicePort": 10000}
EFFECTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "id": ("/shop/other", {"id": "/shop/other"}),
    "cmd": ("sleep 2", {"cmd": "sleep 2"}),
    "args": (["sleep", "1"], {"args": ["sleep", "1"]}),
    "user": ("nobody", {"user": "nobody"}),
    "env": ({"A": "1"}, {"env": {"A": "1"}}),
    "instances": (3, {"instances": 3}),
    "cpus": (0.25, {"cpus": 0.25}),
    "mem": (64, {"mem": 64.0}),
    "disk": (10, {"disk": 10.0}),
    "gpus": (1, {"gpus": 1}),
    "executor": ("/opt/executor", {"executor": "/opt/executor"}),
    "constraints": ([["hostname", "UNIQUE"]], {"constraints": [["hostname", "UNIQUE"]]}),
    "fetch": (
        [{"uri": "http://a/b.tgz", "extract": False}],
        {"fetch": [{"uri": "http://a/b.tgz", "extract": False, "executable": False, "cache": False}]},
    ),
    "uris": (["http://a/b.tgz"], {"fetch": [{"uri": "http://a/b.tgz", "extract": True, "executable": False, "cache": False}]}),
    "container": (
        {"type": "MESOS", "volumes": [{"containerPath": "/a", "hostPath": "/b", "mode": "RO"}]},
        {"container": {"type": "MESOS", "volumes": [{"containerPath": "/a", "hostPath": "/b", "mode": "RO"}]}},
    ),
    "networks": ([{"mode": "container/bridge"}], {"networks": [{"mode": "container/bridge"}]}),
    "portDefinitions": ([{"port": 0, "name": "http"}], {"portDefinitions": [{"port": 10000, "name": "http", "protocol": "tcp"}]}),
    "ports": ([0, 0], {"portDefinitions": [{"port": 10000, "protocol": "tcp"}, {"port": 10001, "protocol": "tcp"}]}),
    "requirePorts": (True, {"requirePorts": True}),
    "ipAddress": (
        {"networkName": "a"},
        {
            "networks": [{"name": "a", "mode": "container"}],
            "container": {"type": "MESOS", "volumes": [], "portMappings": [_DEFAULT_MAPPING]},
        },
    ),
    "healthChecks": (
        [{"protocol": "TCP"}],
        {
            "healthChecks": [
                {
                    "protocol": "TCP",
                    "portIndex": 0,
                    "gracePeriodSeconds": 300,
                    "intervalSeconds": 60,
                    "timeoutSeconds": 20,
                    "maxConsecutiveFailures": 3,
                    "delaySeconds": 15,
                    "ipProtocol": "IPv4",
                }
            ]
        },
    ),
    "check": (
        {"tcp": {"portIndex": 0}},
        {"check": {"tcp": {"portIndex": 0}, "intervalSeconds": 60, "timeoutSeconds": 20, "delaySeconds": 15}},
    ),
    "readinessChecks": (
        [{"portName": "default"}],
        {
            "readinessChecks": [
                {
                    "name": "readinessCheck",
                    "protocol": "HTTP",
                    "path": "/",
                    "portName": "default",
                    "intervalSeconds": 30,
                    "timeoutSeconds": 10,
                    "httpStatusCodesForReady": [200],
                    "preserveLastResponse": False,
                }
            ]
        },
    ),
    "dependencies": (["/db"], {"dependencies": ["/db"]}),
    "labels": ({"团队": "订单"}, {"labels": {"团队": "订单"}}),
    "upgradeStrategy": (
        {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0},
        {"upgradeStrategy": {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0.0}},
    ),
    "unreachableStrategy": (
        {"inactiveAfterSeconds": 1, "expungeAfterSeconds": 2},
        {"unreachableStrategy": {"inactiveAfterSeconds": 1, "expungeAfterSeconds": 2}},
    ),
    "killSelection": ("OLDEST_FIRST", {"killSelection": "OLDEST_FIRST"}),
    "taskKillGracePeriodSeconds": (5, {"taskKillGracePeriodSeconds": 5}),
    "backoffSeconds": (2, {"backoffSeconds": 2}),
    "backoffFactor": (1.5, {"backoffFactor": 1.5}),
    "maxLaunchDelaySeconds": (60, {"maxLaunchDelaySeconds": 60}),
    "acceptedResourceRoles": (["*"], {"acceptedResourceRoles": ["*"]}),
    "role": ("shop", {"role": "shop"}),
    "resourceLimits": ({"cpus": "unlimited", "mem": 256}, {"resourceLimits": {"cpus": "unlimited", "mem": 256.0}}),
    "secrets": ({"db": {"source": "/db"}}, {"secrets": {"db": {"source": "/db"}}}),
    "tty": (True, {"tty": True}),
}
"""Field -> what is asked for, and what Marathon's GET then shows."""

WITHOUT_EFFECT: dict[str, Any] = {
    "executorResources": {"cpus": 0.5, "mem": 64, "disk": 20},
    "residency": {"taskLostBehavior": "WAIT_FOREVER"},
}
"""What Marathon takes and forgets: said in the descriptions, and as advice."""


def test_every_field_is_in_one_of_the_tables() -> None:
    assert EFFECTS.keys() | WITHOUT_EFFECT.keys() == MARATHON_FIELDS
    assert not EFFECTS.keys() & WITHOUT_EFFECT.keys()


@pytest.mark.parametrize("field", sorted(EFFECTS))
async def test_a_field_alone_has_its_effect_and_leaves_nothing_to_write(field: str) -> None:
    given, effect = EFFECTS[field]
    command = {} if field in {"cmd", "args"} else {"cmd": "sleep 1"}
    came = await through({**command, field: given})
    assert came.refused is None
    assert {key: came.held.get(key) for key in effect} == effect
    assert came.gap == ()
    before = await through({"cmd": "sleep 1"})
    assert any(before.held.get(key) != value for key, value in effect.items()), "the table must show a difference"


@pytest.mark.parametrize("field", sorted(WITHOUT_EFFECT))
async def test_what_marathon_forgets_is_taken_and_told_and_not_written_again_and_again(field: str) -> None:
    came = await through({"cmd": "sleep 1", field: WITHOUT_EFFECT[field]})
    assert (came.refused, came.gap) == (None, ())
    assert field not in came.held
    advice = advise({"id": "/a", "cmd": "sleep 1", field: WITHOUT_EFFECT[field]})
    assert any(found.path == f"spec.{field}" for found in advice)


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"gpus": 1}, "/"),
        ({"secrets": {"db": {"source": "/db"}}}, "/secrets"),
        ({"role": "somebody-else"}, "/role"),
        ({"acceptedResourceRoles": ["somebody-else"]}, "/acceptedResourceRoles"),
    ],
)
async def test_what_only_marathon_can_judge_is_refused_with_a_path(spec: dict[str, Any], path: str) -> None:
    came = await through({"cmd": "sleep 1", **spec}, Settings())
    assert came.refused is not None
    assert path in [detail["path"] for detail in came.refused["details"]]


_DOCKER = {"type": "DOCKER", "docker": {"image": "a:1"}}
_BRIDGE = {"networks": [{"mode": "container/bridge"}]}
_SECRETS = {"secrets": {"s": {"source": "x"}}}


def _volume(**volume: Any) -> dict[str, Any]:
    return {"container": {"type": "MESOS", "volumes": [volume]}}


NESTED: dict[str, dict[str, Any]] = {
    "check http": {"check": {"http": {"path": "/"}}},
    "check http, all": {"check": {"http": {"path": "/", "scheme": "https", "portIndex": 0}, "intervalSeconds": 3, "timeoutSeconds": 2}},
    "check tcp by port": {"check": {"tcp": {"port": 80}}},
    "check http by port": {"check": {"http": {"port": 80, "portIndex": 0, "scheme": "HTTPS"}}},
    "check by shell": {"check": {"exec": {"command": {"shell": "true"}}}},
    "check by argv": {"check": {"exec": {"command": {"argv": ["true"]}}, "delaySeconds": 2}},
    "docker": {
        "container": {
            **_DOCKER,
            "docker": {"image": "a", "forcePullImage": True, "privileged": True, "parameters": [{"key": "a", "value": "b"}]},
        }
    },
    "docker on a bridge": {"container": {**_DOCKER, "portMappings": [{"containerPort": 80}]}, **_BRIDGE},
    "mapping, all": {
        "container": {
            **_DOCKER,
            "portMappings": [
                {"containerPort": 80, "hostPort": 0, "servicePort": 9000, "protocol": "UDP,TCP", "name": "a", "labels": {"x": "y"}}
            ],
        },
        **_BRIDGE,
    },
    "no mappings": {"container": {**_DOCKER, "portMappings": []}, **_BRIDGE},
    "default mapping": {"container": _DOCKER, **_BRIDGE},
    "bridge with port definitions": {"container": _DOCKER, **_BRIDGE, "portDefinitions": [{"port": 0}, {"port": 8080, "name": "x"}]},
    "bridge with ports": {"container": _DOCKER, **_BRIDGE, "ports": [0, 0]},
    "bridge without container": {**_BRIDGE, "portDefinitions": [{"port": 0}, {"port": 0}]},
    "mappings beside an empty legacy list": {
        "container": {"type": "DOCKER", "docker": {"image": "a", "portMappings": []}, "portMappings": [{"containerPort": 80}]},
        **_BRIDGE,
    },
    "legacy bridge": {
        "container": {"type": "DOCKER", "docker": {"image": "a", "network": "BRIDGE", "portMappings": [{"containerPort": 80}]}}
    },
    "legacy host": {"container": {"type": "DOCKER", "docker": {"image": "a", "network": "host"}}},
    "legacy user": {"container": {"type": "DOCKER", "docker": {"image": "a", "network": "USER"}}, "ipAddress": {"networkName": "n"}},
    "image for Mesos": {"container": {"type": "MESOS", "docker": {"image": "a:1"}}},
    "image with pull secret": {"container": {"type": "MESOS", "docker": {"image": "a:1", "pullConfig": {"secret": "s"}}}, **_SECRETS},
    "seccomp profile": {"container": {"type": "MESOS", "linuxInfo": {"seccomp": {"profileName": "p"}}}},
    "seccomp off": {"container": {"type": "MESOS", "linuxInfo": {"seccomp": {"unconfined": True}}}},
    "seccomp on": {"container": {"type": "MESOS", "linuxInfo": {"seccomp": {"unconfined": False, "profileName": "p"}}}},
    "shared memory": {"container": {"type": "MESOS", "linuxInfo": {"ipcInfo": {"mode": "private", "shmSize": 3}}}},
    "linuxInfo, empty": {"container": {"type": "MESOS", "linuxInfo": {}}},
    "host volume": _volume(containerPath="/a", hostPath="/b", mode="rw"),
    "persistent volume": {"role": "shop", **_volume(containerPath="a", mode="RW", persistent={"size": 10})},
    "mount volume": {
        "role": "shop",
        **_volume(
            containerPath="a",
            mode="RW",
            persistent={"size": 10, "type": "MOUNT", "maxSize": 20, "constraints": [["path", "LIKE", "/d.*"]], "profileName": "p"},
        ),
    },
    "path volume": {"role": "shop", **_volume(containerPath="a", mode="RW", persistent={"size": 10, "type": "path"})},
    "external volume": _volume(
        containerPath="/a", mode="RW", external={"name": "n", "provider": "dvdi", "options": {"dvdi/driver": "rexray"}, "size": 3}
    ),
    "shared external volume": {
        "container": {
            **_DOCKER,
            "volumes": [
                {
                    "containerPath": "/a",
                    "mode": "RW",
                    "external": {"name": "n", "provider": "dvdi", "options": {"dvdi/driver": "x"}, "shared": True},
                }
            ],
        }
    },
    "secret volume": {**_SECRETS, **_volume(containerPath="/a", secret="s")},
    "secret variable": {**_SECRETS, "env": {"A": {"secret": "s"}, "B": "b"}},
    "discovery": {
        "ipAddress": {"networkName": "n", "labels": {"a": "b"}, "groups": ["g"], "discovery": {"ports": [{"number": 80, "name": "http"}]}}
    },
    "discovery, all": {
        "ipAddress": {"networkName": "n", "discovery": {"ports": [{"name": "a", "protocol": "udp", "labels": {"VIP_0": "x"}}]}}
    },
    "container network": {"networks": [{"name": "n", "mode": "container", "labels": {"a": "b"}}]},
    "two networks": {
        "networks": [{"name": "n"}, {"name": "m"}],
        "container": {"type": "MESOS", "portMappings": [{"containerPort": 1, "hostPort": 0, "networkNames": ["n"]}, {"containerPort": 2}]},
    },
    "host network": {"networks": [{"mode": "HOST"}]},
    "no ports": {"portDefinitions": []},
    "port, all": {"portDefinitions": [{"port": 9001, "protocol": "udp", "name": "a", "labels": {"VIP_0": "x"}}], "requirePorts": True},
    "HTTP check, all": {
        "healthChecks": [
            {
                "protocol": "http",
                "path": "/x",
                "portIndex": 0,
                "gracePeriodSeconds": 1,
                "intervalSeconds": 2,
                "timeoutSeconds": 3,
                "maxConsecutiveFailures": 4,
                "delaySeconds": 5,
                "ignoreHttp1xx": True,
            }
        ]
    },
    "check of a fixed port": {"healthChecks": [{"protocol": "TCP", "port": 80}]},
    "check by default": {"healthChecks": [{}]},
    "command check": {"healthChecks": [{"protocol": "COMMAND", "command": {"value": "true"}, "portIndex": 0}]},
    "Mesos check": {"healthChecks": [{"protocol": "MESOS_HTTP", "path": "/", "delaySeconds": 3}]},
    "Mesos check without ports": {"portDefinitions": [], "healthChecks": [{"protocol": "MESOS_TCP", "path": "/"}]},
    "check over IPv6": {"container": _DOCKER, "healthChecks": [{"protocol": "MESOS_HTTPS", "ipProtocol": "IPv6"}]},
    "check in lower case": {"container": _DOCKER, "healthChecks": [{"protocol": "mesos_https", "ipProtocol": "ipv6"}]},
    "three checks": {"healthChecks": [{"protocol": "TCP"}, {"protocol": "HTTP"}, {"protocol": "COMMAND", "command": {"value": "a"}}]},
    "readiness by default": {"portDefinitions": [{"name": "http-api"}], "readinessChecks": [{}]},
    "readiness, all": {
        "portDefinitions": [{"name": "a"}],
        "readinessChecks": [
            {
                "name": "r",
                "protocol": "https",
                "path": "/x",
                "portName": "a",
                "intervalSeconds": 3,
                "timeoutSeconds": 2,
                "httpStatusCodesForReady": [202, 200],
                "preserveLastResponse": True,
            }
        ],
    },
    "fetch, all": {"fetch": [{"uri": "http://a/b", "extract": True, "executable": True, "cache": True, "destPath": "x"}]},
    "uris of all kinds": {"uris": ["http://a/b.ZIP", "http://a/b.txt", "a.tar.bz2", "x.tgz?y=1"]},
    "uris beside an empty fetch": {"uris": ["http://a/b.tgz"], "fetch": []},
    "fetch beside empty uris": {"uris": [], "fetch": [{"uri": "http://a/b.tgz"}]},
    "constraints of every operator": {
        "constraints": [
            ["hostname", "UNIQUE"],
            ["rack", "GROUP_BY", "3"],
            ["rack", "GROUP_BY"],
            ["@zone", "CLUSTER", "a"],
            ["rack", "CLUSTER"],
            ["x", "MAX_PER", "2"],
            ["os", "LIKE", "a.*"],
            ["os", "UNLIKE", "b"],
            ["a", "IS", "b"],
        ]
    },
    "unreachable: disabled": {"unreachableStrategy": "disabled"},
    "unreachable: any word": {"unreachableStrategy": "never"},
    "unreachable: half": {"unreachableStrategy": {"expungeAfterSeconds": 3}},
    "single instance": {
        "labels": {"MARATHON_SINGLE_INSTANCE_APP": "true"},
        "upgradeStrategy": {"minimumHealthCapacity": 0, "maximumOverCapacity": 0},
    },
    "limit of memory": {"resourceLimits": {"mem": "unlimited"}},
    "limits, empty": {"resourceLimits": {}},
    "lower case": {"killSelection": "oldest_first"},
    "relative dependencies": {"dependencies": ["db", "../x/y", "/z"]},
    "no terminal": {"tty": False},
    "whole numbers": {"cpus": 2, "mem": 1.5, "disk": 3, "backoffFactor": 2},
    "everything empty": {
        "env": {},
        "labels": {},
        "constraints": [],
        "fetch": [],
        "healthChecks": [],
        "readinessChecks": [],
        "dependencies": [],
        "secrets": {},
        "args": [],
        "networks": [],
    },
    "roles": {"acceptedResourceRoles": ["*", "shop"], "role": "shop"},
    "nulls": {"user": None, "env": {"A": "1"}, "container": None, "upgradeStrategy": None},
}
"""Parts of fields, defaults that depend on each other, and forms that Marathon rewrites."""


@pytest.mark.parametrize("name", NESTED)
async def test_whatever_marathon_makes_of_it_leaves_nothing_to_write(name: str) -> None:
    settings = Settings(features=_EVERYTHING.features, mesos_role="shop") if "role" in NESTED[name] else _EVERYTHING
    came = await through({"cmd": "sleep 1", **NESTED[name]}, settings)
    assert came.refused is None, came.refused
    assert came.gap == ()


@pytest.mark.parametrize("name", sorted(app_corpus.good()))
async def test_a_pasted_definition_leaves_nothing_to_write(name: str) -> None:
    """Those that this Marathon refuses need roles, volumes or networks of another."""
    came = await through(app_corpus.good()[name])
    assert came.gap == ()
    if came.refused is not None:
        assert came.refused["details"], "a refusal names fields"


@settings(max_examples=80, deadline=None)
@given(spec=some_fields)
def test_whatever_is_taken_leaves_nothing_to_write_and_neither_does_its_answer_pasted_back(spec: dict[str, Any]) -> None:
    if read_as_resource(spec).problem is not None:
        return
    came = asyncio.run(through(spec))
    if came.refused is not None:
        return
    assert came.gap == ()
    again = asyncio.run(through(came.held))
    assert (again.refused, again.gap) == (None, ())

"""Two hundred apps of one estate, no two alike: the corpus, what was recorded from a real Marathon, and combinations of fields."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from typing import Any

import app_corpus
from recorded_definitions import recorded
from shuren.domain.marathon.normalise import READ_ONLY

Json = dict[str, Any]

_HEALTH: tuple[Json, ...] = (
    {},
    {"healthChecks": [{"protocol": "HTTP", "path": "/health", "portIndex": 0}]},
    {"healthChecks": [{"protocol": "COMMAND", "command": {"value": "true"}, "intervalSeconds": 7}]},
    {"healthChecks": [{"protocol": "MESOS_TCP", "portIndex": 0, "gracePeriodSeconds": 9}]},
)
_PORTS: tuple[Json, ...] = (
    {"portDefinitions": [{"port": 0, "name": "http", "protocol": "tcp"}]},
    {"networks": [{"mode": "host"}], "portDefinitions": [{"port": 0}, {"port": 0, "name": "admin", "labels": {"a": "b"}}]},
    {
        "networks": [{"mode": "container/bridge"}],
        "container": {"type": "MESOS", "portMappings": [{"containerPort": 80, "hostPort": 0, "name": "web"}]},
    },
    {"networks": [{"mode": "container", "name": "dcos"}], "container": {"type": "MESOS", "portMappings": [{"containerPort": 8080}]}},
)
_REST: tuple[Json, ...] = (
    {},
    {"upgradeStrategy": {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0.2}},
    {"constraints": [["hostname", "UNIQUE"]], "killSelection": "OLDEST_FIRST"},
    {"env": {"A": "1", "DB_PASSWORD": "marker-of-a-secret"}, "labels": {"HAPROXY_GROUP": "external", "HAPROXY_0_VHOST": "a.example.org"}},
    {"unreachableStrategy": "disabled", "taskKillGracePeriodSeconds": 5},
    {"fetch": [{"uri": "https://example.org/a.tgz"}], "acceptedResourceRoles": ["*"], "backoffSeconds": 2},
    {"resourceLimits": {"cpus": "unlimited"}, "tty": True},
    {"readinessChecks": [{"name": "ready", "portName": "http", "path": "/ready"}]},
)


def definitions() -> Iterator[Json]:
    """Definitions with ids of their own, small enough to run beside one another; some of them no Marathon takes."""
    for name, definition in app_corpus.good().items():
        yield _own(f"corpus/{name.lower().replace('_', '-')}", definition)
    for number, pair in enumerate(recorded()):
        yield _own(f"recorded/n{number}", {k: v for k, v in pair.answered.items() if k not in READ_ONLY})
    for number, parts in enumerate(itertools.product(_HEALTH, _PORTS, _REST)):
        whole: Json = {"cmd": "sleep 1000"}
        for part in parts:
            whole |= copy.deepcopy(part)
        yield _own(f"made/n{number}", whole)


def _own(path: str, definition: Json) -> Json:
    own = {k: v for k, v in copy.deepcopy(definition).items() if k not in {"id", "dependencies", "role"}}
    return {**own, "id": f"/estate/{path}", "cpus": 0.01, "mem": 4, "disk": 0, "instances": min(int(own.get("instances", 1)), 2)}

"""Where checks go, in every networking mode."""

from __future__ import annotations

from typing import Any

import pytest

from shuren.sandbox.engine.model import Instance
from shuren.sandbox.engine.targets import Target, of_check, of_name

Json = dict[str, Any]
APP: Json = {"id": "/a", "version": "2026-01-01T00:00:00.000Z"}
HOST, INSIDE = "127.0.0.2", "172.17.0.5"
CONTAINER: Json = {
    "networks": [{"mode": "container", "name": "n"}],
    "container": {"portMappings": [{"containerPort": 80, "name": "in"}, {"containerPort": 81, "hostPort": 0, "name": "out"}]},
}
ENDPOINTS = [{"name": "admin", "containerPort": 90}, {"name": "http", "hostPort": 0, "containerPort": 80}]
POD: Json = {"id": "/p", "version": "v", "containers": [{"name": "c", "endpoints": ENDPOINTS}]}


def instance(definition: Json, *ports: int) -> Instance:
    made = Instance(id="i", definition={**APP, **definition}, now=0)
    made.host, made.ip, made.ports = HOST, INSIDE, ports
    return made


@pytest.mark.parametrize(
    ("definition", "ports", "check", "address", "port"),
    [
        ({"portDefinitions": [{"port": 0}, {"port": 0}]}, (31_001, 31_002), {}, HOST, 31_001),
        ({"portDefinitions": [{"port": 0}, {"port": 0}]}, (31_001, 31_002), {"portIndex": 1}, HOST, 31_002),
        ({"portDefinitions": [{"port": 0}]}, (31_001,), {"portIndex": 1}, HOST, None),
        ({"portDefinitions": [{"port": 0}]}, (31_001,), {"port": 8080, "portIndex": 0}, HOST, 8080),
        ({"portDefinitions": []}, (), {"port": 8080}, HOST, 8080),
        ({"portDefinitions": []}, (), {}, HOST, None),
        ({"networks": [{"mode": "container/bridge"}], "container": {"portMappings": [{"containerPort": 80}]}}, (31_003,), {}, HOST, 31_003),
        (CONTAINER, (31_004,), {"portIndex": 0}, INSIDE, 80),
        (CONTAINER, (31_004,), {"portIndex": 1}, HOST, 31_004),
        (CONTAINER, (31_004,), {"port": 9}, INSIDE, 9),
        (POD, (31_005,), {"endpoint": "http"}, HOST, 31_005),
        (POD, (31_005,), {"endpoint": "admin"}, INSIDE, 90),
        (POD, (31_005,), {"endpoint": "none"}, HOST, None),
    ],
)  # fmt: skip
def test_health_checks(definition: Json, ports: tuple[int, ...], check: Json, address: str, port: int | None) -> None:
    assert of_check(instance(definition, *ports), check) == Target(address=address, port=port)


def test_readiness_checks_go_by_name() -> None:
    assert of_name(instance(CONTAINER, 31_004), "out") == Target(address=HOST, port=31_004)
    assert of_name(instance(CONTAINER, 31_004), "in") == Target(address=INSIDE, port=80)

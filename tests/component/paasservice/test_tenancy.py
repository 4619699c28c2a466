"""A namespace against the hosts, ports, names, records and apps of another: whose they are keeps them."""

from __future__ import annotations

from typing import Any

import pytest

from paasservice_world import World


def carried(*hosts: str, protocol: str = "HTTP", port: int = 80) -> dict[str, Any]:
    listener = {"name": "main", "protocol": protocol, "port": port, **({"hosts": list(hosts)} if hosts else {})}
    return {"loadBalancer": {"group": "public", "listeners": [listener]}}


def addresses(*numbers: int) -> list[dict[str, Any]]:
    """Backends that need no app."""
    return [{"name": "outside", "addresses": [{"host": f"10.9.9.{number}", "port": 80} for number in numbers]}]


@pytest.mark.parametrize(
    ("own", "other", "what"),
    [
        (carried("shop.example"), carried("shop.example"), "shop.example/ on port 80"),
        (carried(protocol="TCP", port=5432), carried(protocol="TCP", port=5432), "port 5432"),
        (carried("shop.example"), carried(protocol="TCP"), "port 80"),
        ({"dns": {"names": ["pay"]}}, {"dns": {"names": ["pay"]}}, "pay"),
        (
            {"discovery": {"curator": {"path": "/discovery/pay"}}},
            {"discovery": {"serverset": {"path": "/discovery/pay"}}},
            "/discovery/pay",
        ),
    ],
    ids=["host", "port", "port-of-another-kind", "name", "records"],
)
async def test_what_a_service_of_one_namespace_has_no_service_of_another_takes(
    own: dict[str, Any], other: dict[str, Any], what: str
) -> None:
    world = World()
    world.apply("pay", backends=addresses(1), **own)
    await world.settle()
    before = {path: data for path, data in world.nodes().items() if "other" not in path}
    assert before

    world.apply("thief", namespace="other", backends=addresses(2), **other)
    await world.settle()

    status, _ = world.condition("Stalled", "thief") or ("", "")
    assert status == "True"
    assert what in world.message("Stalled", "thief")
    assert "shop" in world.message("Stalled", "thief")
    assert world.condition(name="pay") == ("True", "Ready")
    assert {path: data for path, data in world.nodes().items() if "other" not in path} == before


@pytest.mark.parametrize(
    "backend", [{"appRef": {"name": "web"}}, {"selector": {"matchLabels": {"tier": "web"}}}], ids=["by name", "by label"]
)
async def test_apps_of_another_namespace_are_no_backends(backend: dict[str, Any]) -> None:
    world = World()
    world.app("web", tier="web")
    world.site.run("/shop/web", 2)
    world.apply("thief", namespace="other", backends=[{"name": "main", "portName": "http", **backend}])
    await world.settle()
    assert world.condition(name="thief") == ("False", "AppNotFound")
    assert not any(b"10.0.0." in data for path, data in world.nodes().items() if "other" in path)

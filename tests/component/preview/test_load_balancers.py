"""What a plan says that load balancers will be told is what their agent then tells HAProxy: a reload or not, entries of maps, commands."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from haproxy_room import WEB, endpoint, http, route, service, tcp
from lb_room import Room, eventually
from shuren.domain.preview import balancers
from shuren.domain.preview.balancers import BalancerForecast, Carrying
from shuren.domain.service.values import Endpoint, EndpointSet, EndpointState, Route, ServiceName

API = service("api")
UNCHECKED: dict[str, Any] = {"healthCheck": {"enabled": False}}
A, B, C = endpoint("a"), endpoint("b", port=31001), endpoint("c", port=31002)


@dataclass(frozen=True, kw_only=True)
class Published:
    """Routes with the endpoints of their services."""

    routes: tuple[Route, ...]
    endpoints: Mapping[ServiceName, tuple[Endpoint, ...]]

    def carrying(self) -> Carrying:
        sets = {
            name: EndpointSet(generation=1, endpoints=tuple(sorted(given, key=lambda e: e.id))) for name, given in self.endpoints.items()
        }
        return Carrying(routes={one.service: one for one in self.routes}, endpoints=sets)


def web(*given: Endpoint, listeners: Any = None, **settings: Any) -> Published:
    first = listeners or [http("web.example.org")]
    return Published(routes=(route("web", *first, **{**UNCHECKED, **settings}),), endpoints={WEB: given})


def with_api(first: Published, **settings: Any) -> Published:
    more = route("api", http("api.example.org", port=settings.pop("port", 80)), age=2, **UNCHECKED)
    return Published(routes=(*first.routes, more), endpoints={**first.endpoints, API: (C,)})


NOW = web(A, B)
CHANGES: dict[str, tuple[Published, Published]] = {
    "nothing": (NOW, NOW),
    "an endpoint comes": (NOW, web(A, B, C)),
    "an endpoint goes": (web(A, B, C), NOW),
    "an endpoint drains": (NOW, web(A, endpoint("b", port=31001, state=EndpointState.DRAINING))),
    "an endpoint is ill": (NOW, web(A, endpoint("b", port=31001, state=EndpointState.UNHEALTHY))),
    "an endpoint is well again": (web(A, endpoint("b", port=31001, state=EndpointState.UNHEALTHY)), NOW),
    "another weight": (NOW, web(A, endpoint("b", port=31001, weight=7))),
    "another place": (NOW, web(A, endpoint("b", port=31099))),
    "all are replaced": (NOW, web(C)),
    "another host": (NOW, web(A, B, listeners=[http("shop.example.org")])),
    "one host more": (NOW, web(A, B, listeners=[http("web.example.org", "shop.example.org")])),
    "another port": (NOW, web(A, B, listeners=[http("web.example.org", port=81)])),
    "TCP instead": (NOW, web(A, B, listeners=[tcp(5432)])),
    "checks": (NOW, web(A, B, healthCheck={"type": "Http", "path": "/"})),
    "another balance": (NOW, web(A, B, balance={"algorithm": "LeastConnections"})),
    "a service comes": (NOW, with_api(NOW)),
    "a service comes on a port of its own": (NOW, with_api(NOW, port=8080)),
    "a service goes": (with_api(NOW), NOW),
    "a host moves to another service": (
        with_api(NOW),
        Published(
            routes=(
                route("web", http("other.example.org"), **UNCHECKED),
                route("api", http("api.example.org", "web.example.org"), age=2, **UNCHECKED),
            ),
            endpoints={WEB: (A, B), API: (C,)},
        ),
    ),
}


async def publish(room: Room, before: Published, after: Published) -> None:
    """Put it into ZooKeeper, and wait until the agent has acknowledged it."""
    wanted = {}
    for one in after.routes:
        if one not in before.routes:
            wanted[one.service, "route"] = await room.publish.route(one)
        given = after.endpoints[one.service]
        if before.endpoints.get(one.service) != given:
            wanted[one.service, "endpoints"] = await room.publish.endpoints(one.service, *given)
    for gone in before.routes:
        if gone.service not in after.endpoints:
            await room.publish.remove(gone.service)
            await eventually(lambda name=gone.service: room.applied(name) is None)  # type: ignore[misc]  # bound at once
    for name in after.endpoints:
        await room.acknowledged(name, endpoints=wanted.get((name, "endpoints")), route=wanted.get((name, "route")))


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    made = Room(tmp_path, settings={"coalesce": 0.05})  # all of one change is seen at once
    await made.publish.prepare()
    yield made
    await made.haproxy.stop()


async def test_what_is_foreseen_is_told(room: Room) -> None:
    """Each change, and the way from its end to the begin of the next one."""
    last, foreseen = NOW, 0
    async with room.running():
        await publish(room, Published(routes=(), endpoints={}), NOW)
        begin = room.haproxy.reloads
        for change, steps in CHANGES.items():
            for step in steps:
                foreseen += await judge(room, change, last, step)
                last = step
    assert room.haproxy.reloads - begin == foreseen


async def judge(room: Room, change: str, before: Published, after: Published) -> bool:
    """Whether there was a reload, which was foreseen."""
    found: BalancerForecast = balancers.foresee(before.carrying(), after.carrying(), group="edge")
    assert not found.problems
    assert found.changes == (before != after), change
    reloads = room.haproxy.reloads
    room.haproxy.model.done.clear()
    await publish(room, before, after)
    if found.reload:
        await eventually(lambda: room.haproxy.reloads > reloads)
        return True
    assert room.haproxy.reloads == reloads, change
    done = room.haproxy.model.done
    told = [command for commands in found.commands.values() for command in commands]
    assert sorted(c for c in done if not c.startswith("commit map")) == sorted(told), change
    assert sorted(c.split()[2] for c in done if c.startswith("commit map")) == sorted(found.maps), change
    return False

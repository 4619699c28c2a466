"""What a plan says of services, load balancers and names is what is published, told and answered afterwards."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from paasservice_world import World
from shuren.domain.haproxy.converge import converge
from shuren.domain.identity import ObjectKey
from shuren.domain.marathon.state import Task, TaskState
from shuren.domain.preview import balancers, names, services
from shuren.domain.preview.apps import PLACED_LATER
from shuren.domain.preview.balancers import Carrying
from shuren.domain.preview.services import ServiceForecast
from shuren.domain.service.snapshot import Published
from shuren.domain.service.values import ServiceName
from shuren.edge.dns.world import Picture

WEB = ServiceName(namespace="shop", name="web")
LISTENER = {"name": "http", "protocol": "HTTP", "port": 80, "hosts": ["a.example.org"]}


def balanced(**listener: Any) -> dict[str, Any]:
    return {"loadBalancer": {"group": "edge", "listeners": [{**LISTENER, **listener}]}}


async def started(**spec: Any) -> World:
    world = World()
    world.app("web")
    world.site.run("/shop/web", 2)
    world.apply(**spec)
    await world.settle()
    return world


async def forecast(world: World, *, apps: Any = None) -> ServiceForecast:
    assert world.process is not None
    world.process.see()
    key = ObjectKey(kind="PaasService", namespace="shop", name="web")
    item = world.process.store.get(key)
    assert item is not None
    seen, plan = await world.process.controller.plan(key, item)
    found = services.foresee(seen.snapshot, apps=apps or {})
    assert found.now == plan, "the first step is the very plan of the next pass"
    return found


def published(world: World) -> Published:
    assert world.process is not None
    found = world.process.clusters["bj1"].published(WEB)
    assert found is not None
    return found


CHANGES: dict[str, Any] = {
    "nothing": lambda world: world.app("web"),
    "a task more": lambda world: world.site.run("/shop/web", 3),
    "a task less": lambda world: world.site.run("/shop/web", 1),
    "no task left": lambda world: world.site.run("/shop/web", 0),
    "a route": lambda world: world.apply(**balanced()),
    "other hosts": lambda world: world.apply(**balanced(hosts=["b.example.org"])),
    "another group": lambda world: world.apply(loadBalancer={"group": "inner", "listeners": [LISTENER]}),
    "names": lambda world: world.apply(dns={"names": ["front.shop"]}),
    "records": lambda world: world.apply(discovery={"curator": {"path": "/discovery/web"}}),
    "addresses": lambda world: world.apply(backends=[{"name": "m", "addresses": [{"host": "10.1.1.1", "port": 80}]}]),
    "suspended": lambda world: world.apply(suspend=True, dns={"names": ["front.shop"]}),
    "deleted": lambda world: world.delete(),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_what_is_foreseen_is_published(change: str) -> None:
    world = await started()
    CHANGES[change](world)
    found = await forecast(world)
    assert found.before == published(world)
    await world.settle()
    assert found.after == published(world)
    assert found.changes == (change not in {"nothing", "suspended"})


async def test_tasks_without_a_place_are_counted_and_those_that_go_are_named() -> None:
    world = await started()
    app = world.site.apps["/shop/web"]
    fresh = tuple(
        Task(id=f"{PLACED_LATER} {n}", app_id=app.id, state=TaskState.RUNNING, version=app.version, health=app.tasks[0].health)
        for n in range(3)
    )
    found = await forecast(world, apps={"/shop/web": replace(app, tasks=(app.tasks[0], *fresh), instances=4)})
    assert (found.arriving, [e.address for e in found.leaving]) == (3, ["10.0.0.2"])
    assert (await forecast(world, apps={"/shop/web": None})).leaving == published(world).endpoints.endpoints  # type: ignore[union-attr]


# ---------------------------------------------------------------------------------------------------- load balancers


def carrying(found: Published) -> Carrying:
    routes = {WEB: found.routes["edge"]} if "edge" in found.routes else {}
    return Carrying(routes=routes, endpoints={WEB: found.endpoints} if found.endpoints is not None else {})


async def test_a_first_route_needs_a_reload_other_hosts_do_not() -> None:
    world = await started()
    world.apply(**balanced())
    first = await forecast(world)
    told = balancers.foresee(carrying(first.before), carrying(first.after), group="edge")
    assert any(reason.startswith("new frontend") for reason in told.reload)
    await world.settle()
    world.apply(**balanced(hosts=["b.example.org"]))
    second = await forecast(world)
    told = balancers.foresee(carrying(second.before), carrying(second.after), group="edge")
    assert (told.reload, bool(told.maps), told.changes) == ((), True, True)
    world.apply(**balanced(hosts=["b.example.org"], tls={"certificates": [{"file": "a.pem"}]}, protocol="HTTPS"))
    third = await forecast(world)
    assert balancers.foresee(carrying(second.after), carrying(third.after), group="edge").reload


async def test_endpoints_become_the_commands_of_the_very_function_that_load_balancers_use() -> None:
    world = await started(**balanced())
    before = published(world)
    world.site.run("/shop/web", 3)
    after = (await forecast(world)).after
    told = balancers.foresee(carrying(before), carrying(after), group="edge")
    assert told.reload == ()
    assert any(command.startswith("add server") for commands in told.commands.values() for command in commands)
    was = balancers._plans(balancers._composed(carrying(before)), carrying(before))
    will = balancers._plans(balancers._composed(carrying(after)), carrying(after))
    for name, commands in told.commands.items():
        assert commands == converge(will[name], balancers._observed(was[name])).commands
    assert not balancers.foresee(carrying(after), carrying(after), group="edge").changes


# ---------------------------------------------------------------------------------------------------- names


async def test_names_follow_endpoints() -> None:
    world = await started()
    before = published(world)
    world.site.run("/shop/web", 1)
    after = (await forecast(world)).after
    found = {(c.name, c.type): (c.before, c.after) for c in names.foresee([before], [after], zone="mesos.test")}
    assert found["web.shop.mesos.test", "A"] == (("10.0.0.1", "10.0.0.2"), ("10.0.0.1",))
    assert any(kind == "SRV" for _, kind in found)
    assert names.foresee([after], [after], zone="mesos.test") == ()


def answered(picture: Picture, found: Published) -> dict[tuple[str, str], int]:
    """How many addresses and places a name server has for each name, once it has read this."""
    picture.names = {WEB: found.names} if found.names is not None else {}
    picture.put_endpoints(WEB, found.endpoints)
    zone = picture.zone()
    return {(name, kind.value): len(data) for name, kinds in zone.names.items() for kind, data in kinds.items() if data}


@pytest.mark.parametrize("change", CHANGES)
async def test_name_servers_answer_as_was_foreseen(change: str) -> None:
    world = await started()
    server = Picture()
    before = answered(server, published(world))
    CHANGES[change](world)
    found = await forecast(world)
    told = {(c.name.removesuffix(".mesos.test"), c.type): c for c in names.foresee([found.before], [found.after], zone="mesos.test")}
    await world.settle()
    after = answered(server, published(world))
    for key in before.keys() | after.keys() | told.keys():
        if key in told:
            assert (len(told[key].before), len(told[key].after)) == (before.get(key, 0), after.get(key, 0)), key
        else:
            assert before.get(key, 0) == after.get(key, 0), key
    assert bool(told) == (change in {"a task more", "a task less", "names", "addresses", "deleted"})

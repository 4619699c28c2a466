"""The release gate between an app that is made smaller and the load balancers of its services."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from paasservice_world import World
from shuren.domain.app.snapshot import Gates
from shuren.domain.identity import ObjectKey
from shuren.domain.service import wire
from shuren.domain.service.snapshot import BalancerSeen
from shuren.domain.service.values import Applied, EndpointState, LoadBalancer, ServiceName

APP = ObjectKey(kind="PaasApp", namespace="shop", name="web")
HEAD = "/shuren/bj1/endpoints/shop.web"
CARRIED: dict[str, Any] = {"loadBalancer": {"group": "public", "listeners": [{"name": "main", "protocol": "HTTP"}]}}


async def serving(**spec: Any) -> World:
    world = World()
    world.app("web")
    world.site.run("/shop/web", 2)
    world.apply(**spec)
    await world.settle()
    return world


def look(world: World, limit: float = 60.0) -> Gates:
    assert world.process is not None
    return world.process.controller.gates.look("bj1", "/shop/web", APP, limit=limit)


def drain(world: World, *tasks: str) -> None:
    assert world.process is not None
    world.process.controller.gates.drain("bj1", "/shop/web", frozenset(tasks))


def passed(world: World) -> None:
    assert world.process is not None
    world.process.controller.gates.passed("bj1", "/shop/web")


def states(world: World) -> dict[str, EndpointState]:
    return {e.task: e.state for e in wire.decode_head(world.nodes()[HEAD]).endpoints}


def acknowledge(world: World, *, sessions: int) -> None:
    generation = wire.decode_head(world.nodes()[HEAD]).generation
    busy = {"shop_web.2:0": sessions} if sessions else {}
    applied = Applied(service=ServiceName(namespace="shop", name="web"), endpoints=generation, route=1, sessions=busy)
    world.site.balancers = (BalancerSeen(balancer=LoadBalancer(id="lb-1", group="public"), applied=applied),)


async def test_an_app_behind_no_load_balancer_has_no_gate() -> None:
    world = await serving()
    assert not look(world).closed


async def test_a_victim_is_published_as_draining_and_released_when_its_last_session_ends() -> None:
    world = await serving(**CARRIED)
    acknowledge(world, sessions=0)
    assert look(world).closed
    drain(world, "shop_web.2")
    assert look(world).why["shop_web.2"] == "shop.web has yet to publish that it drains"
    await world.settle()
    assert states(world) == {"shop_web.1": EndpointState.READY, "shop_web.2": EndpointState.DRAINING}
    assert look(world).why["shop_web.2"] == "load balancer lb-1 has yet to follow shop.web"
    acknowledge(world, sessions=3)
    assert look(world).why["shop_web.2"] == "load balancer lb-1 has sessions with it"
    acknowledge(world, sessions=0)
    assert look(world).released == {"shop_web.2"}
    world.site.run("/shop/web", 1)
    passed(world)
    assert look(world) == Gates(closed=True)


async def test_a_victim_that_is_kept_after_all_serves_again() -> None:
    world = await serving(**CARRIED)
    drain(world, "shop_web.2")
    await world.settle()
    drain(world)
    await world.settle()
    assert set(states(world).values()) == {EndpointState.READY}


async def test_after_a_restart_it_drains_on_until_the_app_was_passed() -> None:
    world = await serving(**CARRIED)
    drain(world, "shop_web.2")
    await world.settle()
    await world.restart()
    await world.settle()
    assert states(world)["shop_web.2"] is EndpointState.DRAINING
    assert look(world).draining == {"shop_web.2"}
    await world.restart()
    await world.settle()
    passed(world)
    await world.settle()
    # the app's pass did not ask for it again, and its own removal is not under way
    assert states(world)["shop_web.2"] is EndpointState.READY


async def test_time_overrules_load_balancers() -> None:
    world = await serving(**CARRIED)
    silent = BalancerSeen(balancer=LoadBalancer(id="lb-1", group="public", live=False))
    world.site.balancers = (replace(silent),)
    drain(world, "shop_web.2")
    await world.settle()
    assert look(world).released == frozenset()
    assert look(world, limit=0.0).released == {"shop_web.2"}


async def test_apps_that_are_gone_are_forgotten_unless_their_tasks_still_drain() -> None:
    world = await serving(**CARRIED)
    assert world.process is not None
    gates = world.process.controller.gates
    look(world)
    for number in range(200):
        owner = ObjectKey(kind="PaasApp", namespace="shop", name=f"gone-{number}")
        gates.look("bj1", f"/shop/gone-{number}", owner, limit=60)
        gates.passed("bj1", f"/shop/gone-{number}")
        if number == 0:
            gates.drain("bj1", "/shop/gone-0", frozenset({"t"}))
    assert len(gates._owners) <= 40
    assert {("bj1", "/shop/web"), ("bj1", "/shop/gone-0")} <= gates._owners.keys()
    assert len(gates._draining) <= 40

"""A gated roll-out of an app as its services carry it: both versions behind one name, by the weight that the app's status tells."""

from __future__ import annotations

from typing import Any

from paasservice_world import World, keys_of
from shuren.controllers.paasservice import triggers
from shuren.domain.app.snapshot import Carrier, Count
from shuren.domain.identity import Claim, ObjectKey
from shuren.domain.service import wire
from shuren.domain.service.snapshot import BalancerSeen
from shuren.domain.service.values import Applied, EndpointState, LoadBalancer, ServiceName
from shuren.ports.kubernetes import ENDPOINT_SLICES, PAAS_APPS

APP = ObjectKey(kind="PaasApp", namespace="shop", name="web")
WEB = ServiceName(namespace="shop", name="web")
HEAD = "/shuren/bj1/endpoints/shop.web"
CARRIED: dict[str, Any] = {
    "loadBalancer": {"group": "public", "listeners": [{"name": "main", "protocol": "HTTP"}]},
    "discovery": {"kubernetes": {"service": "web", "port": 80}},
}


async def rolling(weight: int, **spec: Any) -> World:
    """Two tasks of the old version, one of the new."""
    world = World()
    world.app("web")
    world.site.run("/shop/web", 2)
    world.site.run("/shop/web-alt", 1)
    await tell(world, weight)
    world.apply(**(CARRIED | spec))
    await world.settle()
    return world


async def tell(world: World, weight: int, *, lives_on: str = "/shop/web", beside: str = "/shop/web-alt") -> None:
    """What the app's controller writes down."""
    rollout = {"phase": "Holding", "revision": "b", "step": 0, "steps": 2, "weight": weight, "id": beside}
    uid = next(item["metadata"]["uid"] for item in world.kubernetes.all(PAAS_APPS))
    status = {"marathon": {"id": lives_on}, "rollout": {key: value for key, value in rollout.items() if value != ""}}
    await world.kubernetes.apply_status(PAAS_APPS, "shop", "web", status, manager="test", uid=uid)


def weights(world: World) -> dict[str, int]:
    return {e.task: e.weight for e in wire.decode_head(world.nodes()[HEAD]).endpoints}


def carriers(world: World) -> tuple[Carrier, ...]:
    assert world.process is not None
    return world.process.controller.gates.carriers("bj1", ("/shop/web", "/shop/web-alt"), APP)


async def test_both_versions_are_endpoints_by_their_share() -> None:
    world = await rolling(10)
    assert weights(world) == {"shop_web.1": 256, "shop_web.2": 256, "shop_web-alt.1": 57}
    assert wire.decode_head(world.nodes()[HEAD]).shares == {"/shop/web-alt": 10}
    item = world.resource()
    assert item is not None
    (backend,) = item["status"]["backends"]
    assert (backend["ready"], backend["total"]) == (3, 3)
    assert backend["rollouts"] == [{"app": "web", "id": "/shop/web-alt", "weight": 10, "ready": 1, "acknowledged": True}]


async def test_before_it_is_meant_to_have_traffic_nobody_sends_any() -> None:
    world = await rolling(0)
    assert weights(world) == {"shop_web.1": 256, "shop_web.2": 256, "shop_web-alt.1": 0}
    (slice_,) = world.kubernetes.all(ENDPOINT_SLICES)
    assert [e["conditions"]["ready"] for e in slice_["endpoints"]] == [False, True, True], "pods know no weights"
    assert (await carried_by(world, 0)).share == 0


async def carried_by(world: World, weight: int) -> Carrier:
    await tell(world, weight)
    await world.settle()
    (carrier,) = carriers(world)
    return carrier


async def test_a_weight_is_there_when_it_is_published_and_every_load_balancer_has_acknowledged_it() -> None:
    world = await rolling(10)
    generation = wire.decode_head(world.nodes()[HEAD]).generation
    counters: Any = {"backends": {"/shop/web-alt": {"requests": 9, "errors": 1, "latencyMs": 4}}}
    applied = Applied(service=WEB, endpoints=generation, route=1, counters=counters)
    world.site.balancers = (BalancerSeen(balancer=LoadBalancer(id="lb-1", group="public"), applied=applied),)
    assert carriers(world) == (Carrier(service="shop.web", share=10, ready=1, counts={"lb-1": Count(requests=9, errors=1, latency=4)}),)
    moved = await carried_by(world, 50)
    assert (moved.share, moved.behind) == (50, "load balancer lb-1 has yet to follow shop.web")
    item = world.resource()
    assert item is not None
    assert item["status"]["backends"][0]["rollouts"][0]["acknowledged"] is False


async def test_who_waits_for_traffic_to_move_gets_a_pass_until_it_has_settled() -> None:
    world = await rolling(10)
    assert world.process is not None
    gates = world.process.controller.gates
    assert gates.waiting("bj1") == frozenset()
    carriers(world)
    assert gates.waiting("bj1") == {APP}
    assert gates.waiting("bj2") == frozenset()
    gates.settled(APP)
    assert gates.waiting("bj1") == frozenset()


async def test_changes_of_either_app_concern_the_service() -> None:
    world = await rolling(10)
    assert world.process is not None
    mine = keys_of(world, {"kind": "PaasService", "metadata": {"name": "web", "namespace": "shop"}})
    for app_id in ("/shop/web", "/shop/web-alt"):
        assert triggers.on_apps(world.process.store, "bj1", [app_id]) == mine


async def test_after_the_roll_out_the_other_app_is_the_one() -> None:
    world = await rolling(100)
    assert weights(world) == {"shop_web.1": 0, "shop_web.2": 0, "shop_web-alt.1": 256}
    await tell(world, 0, lives_on="/shop/web-alt", beside="/shop/web")
    await world.settle()
    assert weights(world) == {"shop_web.1": 0, "shop_web.2": 0, "shop_web-alt.1": 256}
    await tell(world, 0, lives_on="/shop/web-alt", beside="")
    await world.settle()
    assert weights(world) == {"shop_web-alt.1": 100}
    assert wire.decode_head(world.nodes()[HEAD]).shares == {}


async def test_a_status_that_was_lost_is_made_up_for_by_the_claim() -> None:
    world = World()
    world.app("web")
    world.site.run("/shop/web-alt", 1)
    world.site.claims["/shop/web-alt"] = Claim(app_id="/shop/web-alt", uid="u", namespace="shop", name="web", epoch=1)
    world.apply(**CARRIED)
    await world.settle()
    assert weights(world) == {"shop_web-alt.1": 100}


async def test_draining_tasks_of_the_former_version_finish_what_they_have() -> None:
    world = await rolling(100)
    assert world.process is not None
    gates = world.process.controller.gates
    gates.look("bj1", "/shop/web", APP, limit=60.0)
    gates.drain("bj1", "/shop/web", frozenset({"shop_web.1", "shop_web.2"}))
    await world.settle()
    states = {e.task: e.state for e in wire.decode_head(world.nodes()[HEAD]).endpoints}
    assert states == {
        "shop_web.1": EndpointState.DRAINING,
        "shop_web.2": EndpointState.DRAINING,
        "shop_web-alt.1": EndpointState.READY,
    }

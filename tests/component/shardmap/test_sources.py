"""Members from the endpoints of a PaasService and from a list; a source that vanishes; and what `shuren shards watch` says of it all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shardmap_world import World
from shuren.domain.service.snapshot import Published
from shuren.domain.service.values import Endpoint, EndpointSet, EndpointState
from shuren.domain.shardmap.explain import happened
from shuren.domain.shardmap.snapshot import MapSeen
from shuren.ports.kubernetes import PAAS_SERVICES, Object
from shuren.sharding.core.moves import MoveState

HOSTS = ("n1", "n2", "n3")
SERVICE = {"serviceRef": {"name": "cart"}}


def endpoint(host: str, *, agent: str = "", state: EndpointState = EndpointState.READY) -> Endpoint:
    return Endpoint(id=f"e-{host}", address=f"10.0.0.{host[-1]}", port=7000, state=state, agent=agent or host, zone=f"z{host[-1]}")


def publish(world: World, *endpoints: Endpoint) -> None:
    world.site.services["shop.cart"] = Published(endpoints=EndpointSet(generation=1, endpoints=endpoints))


def service(world: World, *backends: dict[str, Any]) -> None:
    body: Object = {
        "apiVersion": "paas.shurenyun.com/v1alpha1",
        "kind": "PaasService",
        "metadata": {"name": "cart", "namespace": "shop"},
        "spec": {"clusterRef": {"name": "bj1"}, "backends": list(backends)},
    }
    world.kubernetes.user_apply(PAAS_SERVICES, body)


async def served(**spec: Any) -> World:
    """A map over a service with an endpoint on each host."""
    world = World()
    service(world)
    publish(world, *(endpoint(host) for host in HOSTS))
    world.site.join(*HOSTS)
    world.apply(members=SERVICE, **spec)
    await world.settle()
    return world


async def test_endpoints_of_a_service_are_members_with_its_zones_as_racks() -> None:
    world = await served(replicas=2)
    assert world.conditions() == {"Ready": ("True", "Ready")}
    assert set(world.held()) == set(HOSTS)
    assert {m.id: m.rack for m in world.table().members} == {"n1": "z1", "n2": "z2", "n3": "z3"}


async def test_an_endpoint_that_drains_is_emptied_and_one_that_comes_gets_its_share() -> None:
    world = await served()
    publish(world, endpoint("n1"), endpoint("n2", state=EndpointState.DRAINING), endpoint("n3"))
    await world.settle()
    assert set(world.held()) == {"n1", "n3"}
    publish(world, endpoint("n1"), endpoint("n3"), endpoint("n4"))
    await world.site.leave("n2")
    world.site.join("n4")
    await world.settle(patience=120)
    assert sorted(world.held().values()) == [5, 5, 6]
    assert "n4" in world.held()


async def test_two_endpoints_on_one_agent_are_no_two_members() -> None:
    world = await served()
    before = world.table()
    publish(world, endpoint("n1"), endpoint("n2", agent="n1"))
    await world.settle()
    assert world.conditions()["Stalled"] == ("True", "HostNotUnique")
    assert "two endpoints on n1" in world.message()
    assert world.table() == before


async def test_a_service_that_vanished_moves_nothing_and_its_members_go_on_when_it_is_back() -> None:
    world = await served()
    before = world.table()
    world.kubernetes.user_delete(PAAS_SERVICES, "shop", "cart")
    world.site.services.clear()
    await world.settle(patience=200)
    assert world.conditions()["Ready"] == ("False", "MembersSourceGone")
    assert "PaasService cart does not exist" in world.message()
    service(world)
    await world.settle(patience=10)
    assert world.conditions()["Ready"] == ("False", "ServiceNotPublished")
    assert world.table() == before
    publish(world, *(endpoint(host) for host in HOSTS))
    await world.settle(patience=10)
    assert world.conditions() == {"Ready": ("True", "Ready")}
    assert world.table() == before


HTTP = [{"protocol": "HTTP", "path": "/health"}]


@pytest.mark.parametrize(
    ("spec", "definition", "reasons"),
    [
        ({}, {}, []),
        ({}, {"readinessChecks": []}, ["CopiesNotAwaited"]),
        ({}, {"healthChecks": HTTP}, ["NotRolledInPlace"]),
        ({"upgradeStrategy": {"minimumHealthCapacity": 0.5}}, {"readinessChecks": []}, ["OwnUpgradeStrategy", "CopiesNotAwaited"]),
        ({"rollout": {"strategy": "Gated"}}, {"readinessChecks": []}, []),
    ],
)
@pytest.mark.parametrize("of", ["app", "service"])
async def test_what_keeps_an_app_from_being_rolled_member_by_member_is_told_with_the_field(
    of: str, spec: dict[str, Any], definition: dict[str, Any], reasons: list[str]
) -> None:
    world = World()
    world.app(**spec)
    world.site.run("/shop/cart", HOSTS, **definition)
    world.site.join(*HOSTS)
    if of == "service":
        service(world, {"appRef": {"name": "cart"}, "port": 0})
        publish(world, *(endpoint(host) for host in HOSTS))
    world.apply(members=SERVICE if of == "service" else {"appRef": {"name": "cart"}})
    await world.settle()
    assert world.conditions()["Ready"] == ("True", "Ready")
    assert world.conditions().get("Advice") == (("True", reasons[0]) if reasons else None)
    words = {"CopiesNotAwaited": "spec.readinessChecks", "NotRolledInPlace": "MESOS_HTTP", "OwnUpgradeStrategy": "spec.upgradeStrategy"}
    assert [reason for reason in words if words[reason] in world.message("Advice")] == sorted(reasons, key=list(words).index)


def listed(*hosts: str, weight: int = 100) -> dict[str, Any]:
    members = [{"id": host, "rack": f"r{host[-1]}", "host": f"agent-{host}", "weight": 100} for host in hosts]
    members[0]["weight"] = weight
    return {"static": members}


async def test_a_list_is_taken_at_its_word_and_an_agent_is_emptied_by_a_label() -> None:
    world = World()
    world.site.join(*HOSTS)
    world.apply(members=listed(*HOSTS), replicas=2)
    await world.settle()
    assert set(world.held().values()) <= {10, 11}
    world.cluster(**{"drain.paas.shurenyun.com/agent-n3": ""})
    await world.settle()
    assert world.held() == {"n1": 16, "n2": 16}
    world.cluster()
    await world.settle()
    world.apply(members=listed(*HOSTS, weight=0), replicas=2)
    await world.settle()
    assert world.held() == {"n2": 16, "n3": 16}


async def test_who_is_taken_off_the_list_is_emptied_after_the_delay() -> None:
    world = World()
    world.site.join(*HOSTS)
    world.apply(members=listed(*HOSTS))
    await world.settle()
    world.apply(members=listed("n1", "n2"))
    await world.settle(patience=30)
    assert "n3" in world.held()
    await world.settle(patience=90)
    assert world.held() == {"n1": 8, "n2": 8}


async def test_watching_tells_another_number_of_replicas_and_of_shards_by_name() -> None:
    world = await served()

    def look() -> MapSeen:
        assert world.process is not None
        seen = world.process.cluster.shards.get(world.name)
        assert seen is not None
        return seen

    before = look()
    world.apply(members=SERVICE, replicas=2)
    await world.settle()
    copied = look()
    assert next(happened(before, copied)).endswith(", 2 replicas of each shard in place of 1")
    both = [{"name": "p1", "shards": 16}, {"name": "p2", "shards": 32}]
    world.apply(members=SERVICE, replicas=2, partitionings=both)
    await world.settle()
    halved = look()
    assert next(happened(copied, halved)).endswith(": 32 shards, 3 members, split")
    assert next(happened(halved, replace(copied))).endswith(", no longer split")


async def test_watching_tells_each_step_once() -> None:
    world = await served()
    said: list[str] = []

    def look(before: MapSeen | None) -> MapSeen:
        assert world.process is not None
        seen = world.process.cluster.shards.get(world.name)
        assert seen is not None
        said.extend(happened(before, seen))
        return seen

    before = look(None)
    assert said[0] == "generation 1: 16 shards, 3 members"
    assert "n1 registered at n1:7000" in said
    assert list(happened(before, before)) == []
    publish(world, *(endpoint(host) for host in (*HOSTS, "n4")))
    world.site.join("n4")
    said.clear()
    for _ in range(60):
        await world.one_round()
        before = look(before)
    assert "n4 registered at n4:7000" in said
    for state in (MoveState.PREPARE, MoveState.CATCH_UP, MoveState.FORWARD, MoveState.ACTIVATE, MoveState.DROP):
        assert any(f": {state.value} n" in sentence and sentence.endswith("-> n4") for sentence in said), state
    assert sum(sentence.startswith("shard ") and ": prepare " in sentence for sentence in said) == 4
    assert any("shards have other holders" in sentence for sentence in said)
    assert any(sentence.startswith("every member acts by generation") for sentence in said)
    assert said[-1].startswith(("over: shard", "every member", "generation"))
    gone = replace(before, live={m: live for m, live in before.live.items() if m != "n4"}, broken="somebody has deleted it")
    assert list(happened(before, gone)) == ["head: somebody has deleted it", "n4 is gone"]

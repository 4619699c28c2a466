"""Why something does not work: the first broken link is the right one, with evidence and something to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from paasapp_scenarios import broken
from paasapp_world import World
from paasservice_world import World as ServiceWorld
from preview_room import seen
from shuren.domain.app.snapshot import Problem
from shuren.domain.explain import apps, services
from shuren.domain.explain.links import Link, Verdict, first_broken
from shuren.domain.identity import ObjectKey
from shuren.domain.service.snapshot import BalancerSeen, ServiceSnapshot
from shuren.domain.service.values import Applied, LoadBalancer, ServiceName

CHECKS = [{"protocol": "MESOS_HTTP", "path": "/"}]


async def world_after(*steps: Callable[[World], object], settle: bool = True) -> World:
    world = World()
    world.marathon.behave = broken
    for step in steps:
        step(world)
        for _ in range(60 if settle else 0):  # a task that fails again and again never comes to rest
            await world.round()
            world.clock.shift(1.0)
    return world


def apply(name: str = "web", **spec: Any) -> Callable[[World], object]:
    return lambda world: world.apply(name, **spec)


async def test_an_app_that_runs_has_no_broken_link() -> None:
    world = await world_after(apply(instances=2, healthChecks=CHECKS))
    way = apps.way(await seen(world))
    assert {link.verdict for link in way} == {Verdict.HOLDS}
    assert [link.name for link in way] == ["resource", "operator", "cluster bj1", "claim", "Marathon app", "tasks", "health"]
    assert all(not link.advice for link in way)


def foreign(world: World) -> None:
    world.marathon.foreign_put({"id": "/shop/web", "cmd": "sleep 1"})
    world.marathon.settle()


def away(world: World) -> None:
    world.site.unreachable_since = world.clock.monotonic()
    world.clock.shift(100)


def unusable(world: World) -> None:
    world.site.problem = Problem(reason="ForeignInstallation", message="the root belongs to another installation")


@pytest.mark.parametrize(
    ("steps", "link", "evidence", "advice"),
    [
        ((apply(), apply(management={"suspend": True}, cmd="sleep 2")), "resource", "suspend is true", "shuren resume web"),
        ((apply(id="no good"),), "resource", "InvalidSpec", "change the spec"),
        ((apply(cluster="nowhere"),), "cluster nowhere", "no MesosCluster", "spec.clusterRef.name"),
        ((apply(envRefs=[{"name": "A", "secretKeyRef": {"name": "db", "key": "a"}}]),), "references", "db", "create it"),
        ((apply(dependsOn=[{"name": "db"}]),), "dependencies", "db (does not exist)", "shuren why db"),
        ((foreign, apply()), "claim", "nobody has claimed it (NotAdopted", "adoption"),
        ((apply("other", id="/shop/web"), apply()), "claim", "belongs to PaasApp shop/other", "another spec.id"),
        ((apply(cmd="unplaced 1", rollout={"onFailure": "Ignore"}),), "launch queue", "1 instances wait", ""),
        ((apply(cmd="fails 1", rollout={"onFailure": "Ignore"}),), "launch queue", "tasks failed and Marathon waits", "shuren logs web"),
        ((apply(cmd="unhealthy 1", healthChecks=CHECKS, rollout={"onFailure": "Ignore"}),), "health", "1 of 1 fail", "shuren logs"),
        ((apply(), apply(cmd="stuck 1", rollout={"deadlineSeconds": 30})), "Marathon app", "failed: no progress for 30 s", "history web"),
        ((apply(instances=0),), "tasks", "no instances are asked for", "spec.instances"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_the_first_broken_link_of_an_app(steps: Any, link: str, evidence: str, advice: str) -> None:
    found = first_broken(apps.way(await seen(await world_after(*steps))))
    assert found is not None
    assert (found.name, evidence in found.evidence, advice in found.advice) == (link, True, True), found


async def test_nobody_reconciles() -> None:
    world = await world_after(apply(), settle=False)
    found = first_broken(apps.way(await seen(world)))
    assert found is not None
    assert (found.name, "never said anything" in found.evidence) == ("operator", True)
    await world.settle()
    world.apply(cmd="sleep 2")
    found = first_broken(apps.way(await seen(world)))
    assert found is not None
    assert "generation 1, the spec is at 2" in found.evidence


@pytest.mark.parametrize("step", [away, unusable])
async def test_what_cannot_be_looked_at_is_unknown(step: Callable[[World], None]) -> None:
    world = await world_after(apply())
    step(world)
    last = apps.way(await seen(world))[-1]
    assert (last.name, last.verdict) == ("cluster bj1", Verdict.UNKNOWN)


async def test_a_deployment_and_a_pending_change_are_told() -> None:
    world = await world_after(apply(instances=2))
    world.marathon.foreign_put({"id": "/shop/web", "cmd": "sleep 3", "instances": 2})
    found = first_broken(apps.way(await seen(world)))
    assert found is not None
    assert (found.name, "which this operator did not start" in found.evidence) == ("deployment", True)
    world.marathon.settle()
    found = first_broken(apps.way(await seen(world)))
    assert found is not None
    assert (found.name, "/cmd" in found.evidence) == ("Marathon app", True)
    world.delete()
    found = first_broken(apps.way(await seen(world)))
    assert found is not None
    assert "it is being deleted" in found.evidence


# ---------------------------------------------------------------------------------------------------- services


async def service_way(world: ServiceWorld, *, apps: dict[str, tuple[Link, ...]] | None = None, answers: Any = None) -> tuple[Link, ...]:
    return services.way(await snapshot(world), apps=apps or {}, answers=answers)


async def snapshot(world: ServiceWorld) -> ServiceSnapshot:
    assert world.process is not None
    world.process.see()
    key = ObjectKey(kind="PaasService", namespace="shop", name="web")
    item = world.process.store.get(key)
    assert item is not None
    return (await world.process.controller.plan(key, item))[0].snapshot


async def service_world(**spec: Any) -> ServiceWorld:
    world = ServiceWorld()
    world.app("web")
    world.site.run("/shop/web", 2)
    world.apply(**spec)
    await world.settle()
    return world


BALANCED: dict[str, Any] = {
    "loadBalancer": {"group": "edge", "listeners": [{"name": "http", "protocol": "HTTP", "port": 80, "hosts": ["a.example.org"]}]}
}


def balancer(*, live: bool = True, endpoints: int = 1, route: int = 1, up: int = 2, problem: str = "", seen: bool = True) -> BalancerSeen:
    applied = Applied(service=ServiceName(namespace="shop", name="web"), endpoints=endpoints, route=route, up=up, problem=problem)
    return BalancerSeen(balancer=LoadBalancer(id="lb-1", group="edge", live=live), applied=applied if seen else None)


async def test_a_service_that_is_carried_has_no_broken_link() -> None:
    world = await service_world(**BALANCED)
    world.site.balancers = (balancer(),)
    way = await service_way(world, answers={"web.shop.mesos.test": ["10.0.0.1"]})
    assert first_broken(way) is None
    assert [link.name for link in way][-4:] == ["ZooKeeper record", "load balancers of group edge", "DNS", "DNS answer"]


@pytest.mark.parametrize(
    ("seen_balancers", "evidence"),
    [
        ((), "none is registered"),
        ((balancer(live=False),), "the agent of lb-1 does not run"),
        ((balancer(seen=False),), "lb-1 has acknowledged nothing"),
        ((balancer(problem="port 80 is taken"),), "lb-1 leaves it out: port 80 is taken"),
        ((balancer(endpoints=0),), "lb-1 is behind (endpoints 0 of 1"),
        ((balancer(up=0),), "no server of it is up in lb-1's HAProxy"),
    ],
)
async def test_the_broken_load_balancer(seen_balancers: tuple[BalancerSeen, ...], evidence: str) -> None:
    world = await service_world(**BALANCED)
    world.site.balancers = seen_balancers
    found = first_broken(await service_way(world))
    assert found is not None
    assert (found.name, evidence in found.evidence) == ("load balancers of group edge", True), found


async def test_the_broken_link_of_a_service_before_it_is_carried() -> None:
    world = await service_world()
    world.site.run("/shop/web", 0)
    behind = first_broken(await service_way(world))
    assert behind is not None
    assert (behind.name, "is behind" in behind.evidence) == ("ZooKeeper record", True)
    await world.settle()
    nobody = first_broken(await service_way(world))
    assert nobody is not None
    assert (nobody.name, "has no ready endpoint" in nobody.evidence) == ("ZooKeeper record", True)
    way = (Link(name="tasks", verdict=Verdict.BROKEN, evidence="0 of 2 run", advice="look"),)
    found = first_broken(await service_way(world, apps={"web": way}))
    assert found is not None
    assert (found.name, found.evidence) == ("backends", "PaasApp web: tasks: 0 of 2 run")
    world.apply(backends=[{"name": "main", "appRef": {"name": "gone"}}])
    await world.settle()
    found = first_broken(await service_way(world))
    assert found is not None
    assert "PaasApp gone does not exist" in found.evidence
    world.apply(suspend=True)
    found = first_broken(await service_way(world))
    assert found is not None
    assert "spec.suspend is true" in found.evidence
    world.apply(cluster="nowhere")
    await world.settle()
    found = first_broken(await service_way(world))
    assert found is not None
    assert found.name == "cluster nowhere"


async def test_answers_of_a_name_server_are_held_against_what_is_published() -> None:
    world = await service_world()
    nothing = first_broken(await service_way(world, answers={}))
    assert nothing is not None
    assert "no address for web.shop.mesos.test" in nothing.evidence
    stale = first_broken(await service_way(world, answers={"web.shop.mesos.test": ["10.9.9.9"]}))
    assert stale is not None
    assert "answers 10.9.9.9, ready are 10.0.0.1, 10.0.0.2" in stale.evidence

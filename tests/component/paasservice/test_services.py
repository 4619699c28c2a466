"""The PaasService controller over whole stories: what is published, what is refused, what is left, and a crash at every write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from paasservice_world import World, keys_of
from shuren.clients.fakes.crash import CrashPoint, Moment
from shuren.clients.fakes.zookeeper import FakeZooKeeper
from shuren.domain.errors import Denied
from shuren.domain.marathon.state import Health
from shuren.domain.service import wire
from shuren.domain.service.values import EndpointState, ServiceName
from shuren.domain.tenancy import Operator, Requirement, Selector, Tenancy
from shuren.ports.kubernetes import ENDPOINT_SLICES, PAAS_APPS, PAAS_SERVICES, SERVICES
from shuren.ports.zookeeper import SetData

WEB = ServiceName(namespace="shop", name="web")
HEAD = "/shuren/bj1/endpoints/shop.web"
KUBE: dict[str, Any] = {"discovery": {"kubernetes": {"service": "web", "port": 80}, "curator": {"path": "/discovery/web"}}}


async def serving(count: int = 2, **spec: Any) -> World:
    world = World()
    world.app("web")
    world.site.run("/shop/web", count)
    world.apply(**spec)
    await world.settle()
    return world


def states(world: World) -> list[EndpointState]:
    return [e.state for e in wire.decode_head(world.nodes()[HEAD]).endpoints]


async def test_a_service_is_published_and_ready_and_then_nothing_is_written() -> None:
    world = await serving(**KUBE)
    assert world.condition() == ("True", "Ready")
    assert states(world) == [EndpointState.READY] * 2
    (slice_,) = world.kubernetes.all(ENDPOINT_SLICES)
    assert [e["addresses"] for e in slice_["endpoints"]] == [["10.0.0.1"], ["10.0.0.2"]]
    assert sum(path.startswith("/discovery/web/") for path in world.nodes()) == 2
    item = world.resource()
    assert item is not None
    assert item["status"]["names"] == ["web.shop.mesos.test"]
    before = world.kubernetes.writes, len(world.site.tree.commits)
    await world.restart()
    await world.settle()
    # the next leader's epoch is the one thing that it writes
    assert (world.kubernetes.writes, len(world.site.tree.commits)) == (before[0], before[1] + 1)


async def test_changed_tasks_are_a_new_generation_in_every_record() -> None:
    world = await serving(**KUBE)
    world.site.run("/shop/web", 3)
    await world.settle()
    assert wire.decode_head(world.nodes()[HEAD]).generation == 2
    assert sum(path.startswith("/discovery/web/") for path in world.nodes()) == 3
    assert sum(len(s["endpoints"]) for s in world.kubernetes.all(ENDPOINT_SLICES)) == 3


async def test_health_that_marathon_forgot_withdraws_nobody() -> None:
    world = await serving()
    world.site.run("/shop/web", 2, health=Health.UNKNOWN)
    await world.restart()
    await world.settle()
    assert states(world) == [EndpointState.READY] * 2


async def test_an_unreachable_cluster_leaves_everything_as_it_is() -> None:
    world = await serving()
    before = world.nodes()
    world.site.away = 100.0
    world.site.apps.clear()
    await world.settle()
    assert world.nodes() == before
    assert world.condition() == ("Unknown", "ClusterUnreachable")
    item = world.resource()
    assert item is not None
    assert item["status"]["ready"] == "2/2"


async def test_an_app_by_label_joins_and_leaves() -> None:
    world = World()
    world.apply(backends=[{"name": "all", "selector": {"matchLabels": {"tier": "web"}}, "portName": "http"}])
    await world.settle()
    assert world.condition() == ("False", "AppNotFound")
    world.app("web", tier="web")
    world.site.run("/shop/web", 1)
    await world.settle()
    assert world.condition() == ("True", "Ready")
    world.app("web", tier="other")
    await world.settle()
    assert states(world) == []


async def test_the_older_keeps_a_name_and_the_younger_heals_when_it_goes() -> None:
    world = await serving(dns={"names": ["shop"]})
    world.apply("second", dns={"names": ["shop", "second"]})
    await world.settle()
    assert world.condition("Stalled", "second") == ("True", "Taken")
    assert "belongs to PaasService shop/web, which is older" in world.message("Stalled", "second")
    second = ServiceName(namespace="shop", name="second")
    assert wire.decode_names(world.nodes()[f"/shuren/bj1/names/{second}"], service=second).names == ("second",)
    item = world.resource("second")
    assert item is not None
    assert {key.name for key in keys_of(world, world.resource() or {})} == {"web", "second"}
    world.delete()
    await world.settle()
    assert world.condition(name="second") == ("True", "Ready")


async def test_a_folder_of_somebody_else_is_left_alone() -> None:
    world = World()
    await _stranger(world)
    world.app("web")
    world.site.run("/shop/web", 1)
    world.apply(discovery={"curator": {"path": "/discovery/web"}})
    await world.settle()
    assert world.condition("Stalled") == ("True", "PathOwnedByOther")
    assert [p for p in world.nodes() if p.startswith("/discovery/web/")] == ["/discovery/web/theirs"]
    world.delete()
    await world.settle()
    assert [p for p in world.nodes() if p.startswith("/discovery/web/")] == ["/discovery/web/theirs"]


async def _stranger(world: World) -> None:
    session = FakeZooKeeper(world.site.tree)
    await session.ensure_path("/discovery/web/theirs")
    await session.commit([SetData(path="/discovery/web/theirs", data=b"x", version=-1)])


async def test_a_service_of_somebody_else_in_kubernetes_is_left_alone() -> None:
    world = World()
    theirs = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"}, "spec": {"selector": {"a": "b"}}}
    await world.kubernetes.create(SERVICES, "shop", theirs)
    world.app("web")
    world.site.run("/shop/web", 1)
    world.apply(**KUBE)
    await world.settle()
    assert world.condition("Stalled") == ("True", "Taken")
    (service,) = world.kubernetes.all(SERVICES)
    assert service["spec"] == {"selector": {"a": "b"}}
    assert states(world) == [EndpointState.READY]


async def test_a_renamed_kubernetes_service_takes_its_slices_along() -> None:
    world = await serving(**KUBE)
    world.apply(discovery={"kubernetes": {"service": "other", "port": 81}})
    await world.settle()
    assert [s["metadata"]["name"] for s in world.kubernetes.all(SERVICES)] == ["other"]
    (slice_,) = world.kubernetes.all(ENDPOINT_SLICES)
    assert slice_["metadata"]["labels"]["kubernetes.io/service-name"] == "other"
    world.apply()
    await world.settle()
    assert (world.kubernetes.all(SERVICES), world.kubernetes.all(ENDPOINT_SLICES)) == ([], [])


async def test_an_edited_service_is_put_right_and_keeps_its_address() -> None:
    world = await serving(**KUBE)
    (service,) = world.kubernetes.all(SERVICES)
    service["spec"] |= {"selector": {"app": "x"}, "clusterIP": "10.96.0.9"}
    await world.kubernetes.replace(SERVICES, "shop", "web", service)
    await world.settle()
    (service,) = world.kubernetes.all(SERVICES)
    assert "selector" not in service["spec"]
    assert service["spec"]["clusterIP"] == "10.96.0.9"


async def test_a_namespace_that_may_not_use_the_cluster_is_told() -> None:
    world = World()
    world.site.tenancy = Tenancy(namespaces=Selector(requirements=(Requirement(key="team", operator=Operator.EXISTS),)))
    world.apply()
    await world.settle()
    assert world.condition("Stalled") == ("True", "NotAllowed")
    assert world.nodes() == {}


async def test_a_spec_that_no_schema_stopped_is_told_and_what_is_published_stays() -> None:
    world = await serving()
    before = world.nodes()
    world.apply(backends=[{"name": "x"}])
    await world.settle()
    assert world.condition("Stalled") == ("True", "InvalidSpec")
    assert "exactly one of appRef, selector and addresses" in world.message("Stalled")
    assert world.nodes() == before


async def test_a_refused_right_is_told() -> None:
    world = World()
    world.kubernetes.fail("create", "services", Denied("services is forbidden: grant create"), times=100)
    world.app("web")
    world.site.run("/shop/web", 1)
    world.apply(**KUBE)
    await world.settle()
    assert world.condition() == ("Unknown", "AccessDenied")
    assert "services is forbidden" in world.message()


async def test_what_was_left_by_a_resource_that_is_gone_is_withdrawn() -> None:
    world = await serving(**KUBE)
    item = world.resource()
    assert item is not None
    await world.kubernetes.patch_json(PAAS_SERVICES, "shop", "web", [{"op": "add", "path": "/metadata/finalizers", "value": []}])
    await world.restart()
    world.delete()
    await world.settle()
    assert world.nodes() == {}


async def test_news_of_an_app_reaches_its_services() -> None:
    world = await serving()
    world.apply("chosen", backends=[{"name": "all", "selector": {"matchLabels": {"tier": "web"}}}])
    await world.settle()
    (app,) = world.kubernetes.all(PAAS_APPS)
    assert {key.name for key in keys_of(world, app)} == {"web", "chosen"}


def carried(*hosts: str, protocol: str = "HTTP", port: int = 80) -> dict[str, Any]:
    listener: dict[str, Any] = {"name": "main", "protocol": protocol, "port": port}
    return {"loadBalancer": {"group": "public", "listeners": [listener | ({"hosts": list(hosts)} if hosts else {})]}}


async def test_a_route_is_published_with_defaults_and_its_addresses_shown() -> None:
    world = await serving(**carried("shop.example"))
    route = wire.decode_route(world.nodes()["/shuren/bj1/routes/public/shop.web"], service=WEB, group="public")
    assert route.listener["listeners"] == [
        {"name": "main", "protocol": "HTTP", "port": 80, "hosts": ["shop.example"], "acceptProxy": False}
    ]
    item = world.resource()
    assert item is not None
    assert item["status"]["addresses"] == ["http://shop.example"]


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (carried("shop.example"), carried("shop.example", "b.example"), "shop.example/ on port 80 belongs to shop.web, which is older"),
        (carried(protocol="TCP", port=5432), carried(protocol="TCP", port=5432), "port 5432 belongs to shop.web, which is older"),
        (carried("shop.example"), carried(protocol="TCP"), "port 80 belongs to shop.web, which is older, as http"),
    ],
)
async def test_two_that_want_the_same_of_a_load_balancer(first: dict[str, Any], second: dict[str, Any], words: str) -> None:
    world = await serving(**first)
    world.apply("second", **second)
    await world.settle()
    assert world.condition("Stalled") is None
    assert world.condition("Stalled", "second") == ("True", "Taken")
    assert words in world.message("Stalled", "second")
    assert "spec.loadBalancer.listeners[0]" in world.message("Stalled", "second")
    assert {key.name for key in keys_of(world, world.resource() or {})} == {"web", "second"}
    world.delete()
    await world.settle()
    assert world.condition(name="second") == ("True", "Ready")


async def test_other_hosts_of_a_port_are_nobodys_business() -> None:
    world = await serving(**carried("shop.example"))
    world.apply("second", **carried("other.example"))
    await world.settle()
    assert world.condition(name="second") == ("True", "Ready")


# ---------------------------------------------------------------------------------------------------- crashes

Step = Callable[[World], None]


@dataclass(frozen=True, kw_only=True)
class Story:
    """Steps, each followed by `settle`, and what must hold in the end."""

    name: str
    steps: tuple[Step, ...]
    expect: Callable[[World], bool]
    sites: tuple[str, ...] = ("bj1",)


def _begin(**spec: Any) -> Step:
    def act(world: World) -> None:
        world.app("web")
        world.site.run("/shop/web", 2)
        world.apply(**spec)

    return act


def _move(world: World) -> None:
    world.app("web", cluster="bj2")
    world.apply(cluster="bj2")


STORIES = (
    Story(
        name="publish everything",
        steps=(_begin(**KUBE),),
        expect=lambda w: w.condition() == ("True", "Ready") and len(w.kubernetes.all(ENDPOINT_SLICES)) == 1,
    ),
    Story(
        name="scale",
        steps=(_begin(**KUBE), lambda w: w.site.run("/shop/web", 4), lambda w: w.site.run("/shop/web", 1)),
        expect=lambda w: w.condition() == ("True", "Ready") and len(wire.decode_head(w.nodes()[HEAD]).endpoints) == 1,
    ),
    Story(
        name="change what is asked for",
        steps=(_begin(**KUBE), lambda w: w.apply(dns={"names": ["other"]}, discovery={"nerve": {"path": "/discovery/nerve"}})),
        expect=lambda w: not w.kubernetes.all(SERVICES) and not any(p.startswith("/discovery/web/") for p in w.nodes()),
    ),
    Story(
        name="delete",
        steps=(_begin(**KUBE), lambda w: w.delete()),
        expect=lambda w: w.resource() is None and w.nodes() == {},
    ),
    Story(
        name="move to another cluster",
        steps=(_begin(), lambda w: w.sites["bj2"].run("/shop/web", 1), _move),
        expect=lambda w: w.nodes() == {} and "/shuren/bj2/endpoints/shop.web" in w.nodes("bj2"),
        sites=("bj1", "bj2"),
    ),
)


async def _tell(story: Story, crash: CrashPoint | None) -> World:
    world = World(sites=story.sites, crash=crash)
    for step in story.steps:
        step(world)
        await world.settle()
    return world


def _end(world: World) -> tuple[Any, ...]:
    """What must be the same however often a process died: generations may be more."""
    heads = {
        name: {path: [e.id for e in wire.decode_head(data).endpoints] for path, data in world.nodes(name).items() if "/endpoints/" in path}
        for name in world.sites
    }
    others = {name: {p: d for p, d in world.nodes(name).items() if "/endpoints/" not in p} for name in world.sites}
    item = world.resource()
    conditions = [(c["type"], c["status"], c["reason"]) for c in ((item or {}).get("status") or {}).get("conditions") or []]
    slices = [[e["addresses"] for e in s["endpoints"]] for s in world.kubernetes.all(ENDPOINT_SLICES)]
    return heads, others, conditions, slices, [s["metadata"]["name"] for s in world.kubernetes.all(SERVICES)]


@pytest.mark.parametrize("story", STORIES, ids=lambda s: s.name)
async def test_the_end_is_the_same_wherever_it_crashes(story: Story) -> None:
    count = CrashPoint()
    told = await _tell(story, count)
    assert story.expect(told), told.message()
    expected = _end(told)
    assert count.writes
    for index, what in enumerate(count.writes):
        for moment in Moment:
            world = await _tell(story, CrashPoint(at=index, moment=moment))
            assert _end(world) == expected, f"crash {moment.value} write {index} ({what})"

"""Decisions about services: what is published, what holds a pass up, what is left out, and the end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuren.domain.app.snapshot import FORCE_ORPHAN, ClusterView, Problem
from shuren.domain.conditions import Condition, ConditionType, Truth
from shuren.domain.identity import ObjectKey
from shuren.domain.json import Document
from shuren.domain.marathon.state import ActualApp, Health, Task, TaskState
from shuren.domain.service.decide import decide
from shuren.domain.service.plan import (
    AddFinalizer,
    DeleteService,
    DeleteSlice,
    Publish,
    RemoveFinalizer,
    ServicePlan,
    Withdraw,
    WriteService,
    WriteSlice,
)
from shuren.domain.service.records import RecordFolder, RecordFormat
from shuren.domain.service.snapshot import (
    FINALIZER,
    AppSeen,
    BackendSpec,
    BalancerSeen,
    KubernetesSeen,
    KubernetesTarget,
    Published,
    Rival,
    ServiceResource,
    ServiceSnapshot,
    ServiceSpec,
)
from shuren.domain.service.values import Applied, EndpointState, LoadBalancer, ServiceName

KEY = ObjectKey(kind="PaasService", namespace="shop", name="web")
NAME = ServiceName(namespace="shop", name="web")
RESOURCE = ServiceResource(key=KEY, uid="u", generation=1, created="2026-01-01T00:00:00Z", finalizers=(FINALIZER,))
LISTENER: Document = {"listeners": [{"port": 80, "hosts": ["shop.example"]}]}
FOLDER = RecordFolder(format=RecordFormat.CURATOR, path="/discovery/web")


def task(number: int, **fields: Any) -> Task:
    given: dict[str, Any] = {"state": TaskState.RUNNING, "host": "127.0.0.1", "ports": (31000 + number,), "health": Health.HEALTHY}
    return Task(id=f"web.{number}", app_id="/shop/web", **(given | fields))


def marathon_app(*tasks: Task) -> ActualApp:
    definition: Mapping[str, Any] = {
        "networks": [{"mode": "host"}],
        "portDefinitions": [{"name": "http"}],
        "healthChecks": [{"protocol": "HTTP"}],
    }
    at = "2026-01-01T00:00:00.000Z"
    return ActualApp(
        id="/shop/web",
        definition=definition,
        version=at,
        last_config_change_at=at,
        last_scaling_at=at,
        instances=len(tasks),
        tasks=tasks,
    )


def seen(*tasks: Task, **fields: Any) -> AppSeen:
    given: dict[str, Any] = {"name": "web", "cluster": "bj1", "app_id": "/shop/web", "app": marathon_app(*tasks)}
    return AppSeen(**(given | fields))


SPEC = ServiceSpec(cluster="bj1", backends=(BackendSpec(name="stable", app="web", port="http"),), names=("web.shop",))


def snapshot(*tasks: Task, spec: ServiceSpec = SPEC, **fields: Any) -> ServiceSnapshot:
    given: dict[str, Any] = {
        "resource": RESOURCE,
        "cluster": ClusterView(name="bj1"),
        "spec": spec,
        "zone": "mesos.example",
        "record_roots": ("/discovery",),
        "apps": tuple((seen(*(tasks or (task(1), task(2)))),) if b.app else () for b in spec.backends),
        "published": Published(),
    }
    return ServiceSnapshot(**(given | fields))


def publish_of(plan: ServicePlan) -> Publish:
    (found,) = (a for a in plan.actions if isinstance(a, Publish))
    return found


def applied(before: Published, plan: ServicePlan) -> Published:
    """What is published after a plan was carried out."""
    for action in plan.actions:
        match action:
            case Publish():
                routes = {g: r for g, r in before.routes.items() if g not in action.drop_routes}
                if action.route is not None:
                    routes[action.route.group] = action.route
                before = Published(
                    endpoints=action.endpoints or before.endpoints,
                    routes=routes,
                    names=None if action.drop_names else action.names or before.names,
                    journal=before.journal if action.records is None else action.records.kept,
                )
            case Withdraw():
                before = Published()
    return before


def reason_of(plan: ServicePlan, kind: ConditionType = ConditionType.READY) -> tuple[Truth, str] | None:
    found: Condition | None = next((c for c in plan.conditions or () if c.type is kind), None)
    return None if found is None else (found.status, found.reason)


# ---------------------------------------------------------------------------------------------------- publishing


def test_the_first_pass_publishes_everything_in_one_write_after_the_finalizer() -> None:
    spec = replace(SPEC, folders=(FOLDER,), group="public", listener=LISTENER)
    plan = decide(snapshot(spec=spec, resource=replace(RESOURCE, finalizers=())))
    assert [type(a) for a in plan.actions] == [AddFinalizer, Publish]
    publish = publish_of(plan)
    assert publish.endpoints is not None
    assert (publish.endpoints.generation, [e.id for e in publish.endpoints.endpoints]) == (1, ["web.1:0", "web.2:0"])
    assert publish.names is not None
    assert publish.names.names == ("web.shop",)
    assert publish.route is not None
    assert (publish.route.group, publish.route.since, publish.route.generation) == ("public", "2026-01-01T00:00:00Z", 1)
    assert publish.records is not None
    assert len(publish.records.create) == 2
    assert reason_of(plan) == (Truth.TRUE, "Ready")
    assert plan.facts["names"] == ["web.shop.mesos.example"]
    assert plan.facts["ready"] == "2/2"
    assert str(publish) == (
        "publish shop.web: endpoints generation 1 (2 ready); route of group public, generation 1; names web.shop; "
        "records: 2 new, 0 changed, 0 gone"
    )


def test_a_second_pass_writes_nothing() -> None:
    spec = replace(SPEC, folders=(FOLDER,), group="public", listener=LISTENER)
    first = decide(snapshot(spec=spec))
    again = decide(snapshot(spec=spec, published=applied(Published(), first)))
    assert again.actions == ()
    assert again.conditions == first.conditions


def test_a_generation_rises_only_when_endpoints_change() -> None:
    there = applied(Published(), decide(snapshot(task(1))))
    renamed = decide(snapshot(task(1), spec=replace(SPEC, names=("other",)), published=there))
    assert publish_of(renamed).endpoints is None
    assert publish_of(renamed).names is not None
    grown = publish_of(decide(snapshot(task(1), task(2), published=there)))
    assert grown.endpoints is not None
    assert (grown.before, grown.endpoints.generation) == (1, 2)


def test_a_changed_group_moves_the_route() -> None:
    spec = replace(SPEC, group="public", listener=LISTENER)
    there = applied(Published(), decide(snapshot(spec=spec)))
    moved = publish_of(decide(snapshot(spec=replace(spec, group="inner"), published=there)))
    assert (moved.drop_routes, moved.route is not None and moved.route.group) == (("public",), "inner")
    gone = publish_of(decide(snapshot(published=there)))
    assert (gone.drop_routes, gone.route) == (("public",), None)


def test_without_a_zone_there_are_no_names() -> None:
    there = applied(Published(), decide(snapshot()))
    plan = decide(snapshot(zone="", published=there))
    assert publish_of(plan).drop_names
    assert "names" not in plan.facts


def test_backends_of_every_kind() -> None:
    backends = (
        BackendSpec(name="stable", app="web", port="http", weight=90),
        BackendSpec(name="outside", addresses=(("127.0.0.9", 5432),), weight=10),
    )
    plan = decide(snapshot(task(1), spec=replace(SPEC, backends=backends)))
    assert plan.facts["backends"] == [
        {"name": "stable", "ready": 1, "total": 1, "weight": 90},
        {"name": "outside", "ready": 1, "total": 1, "weight": 10},
    ]


# ---------------------------------------------------------------------------------------------------- what holds a pass up


@pytest.mark.parametrize(
    ("fields", "ready"),
    [
        ({"problem": Problem(reason="InvalidSpec", message="spec.backends: …")}, (Truth.FALSE, "InvalidSpec")),
        ({"cluster": ClusterView(name="bj1", exists=False)}, (Truth.FALSE, "ClusterNotFound")),
        ({"cluster": ClusterView(name="bj1", problem=Problem(reason="x", message="y"))}, (Truth.UNKNOWN, "ClusterNotReady")),
        ({"cluster": ClusterView(name="bj1", unreachable_for=100.0)}, (Truth.UNKNOWN, "ClusterUnreachable")),
        ({"cluster": ClusterView(name="bj1", synced=False)}, (Truth.UNKNOWN, "Pending")),
        ({"published": None}, (Truth.UNKNOWN, "Pending")),
        ({"kubernetes": KubernetesSeen(read=False)}, (Truth.UNKNOWN, "Pending")),
    ],
)
def test_what_cannot_be_decided_changes_nothing(fields: Mapping[str, Any], ready: tuple[Truth, str]) -> None:
    plan = decide(snapshot(**fields))
    assert plan.actions == ()
    assert reason_of(plan) == ready


@pytest.mark.parametrize("cluster", [ClusterView(name="bj1", unreachable_for=5.0), ClusterView(name="bj1", connected=False)])
def test_a_short_outage_changes_no_status(cluster: ClusterView) -> None:
    plan = decide(snapshot(cluster=cluster, resource=replace(RESOURCE, status={"ready": "2/2"})))
    assert plan.conditions is None
    assert plan.requeue_after is not None


def test_an_outage_keeps_the_facts() -> None:
    status: Document = {"ready": "2/2", "generation": 4, "conditions": [], "observedGeneration": 1}
    plan = decide(snapshot(cluster=ClusterView(name="bj1", unreachable_for=100.0), resource=replace(RESOURCE, status=status)))
    assert plan.facts == {"ready": "2/2", "generation": 4}


# ---------------------------------------------------------------------------------------------------- what is left out


@pytest.mark.parametrize(
    ("fields", "reason", "words"),
    [
        (
            {"rivals": (Rival(path="spec.dns.names", value="web.shop", holder="shop/old"),)},
            "Taken",
            "spec.dns.names: the name web.shop belongs to PaasService shop/old, which is older",
        ),
        (
            {"route_problems": ("spec.loadBalancer.listeners[0]: shop.example/ on port 80 belongs to shop.old, which is older",)},
            "Taken",
            "spec.loadBalancer.listeners[0]: shop.example/ on port 80 belongs to shop.old, which is older",
        ),
        (
            {"rivals": (Rival(path="spec.discovery.curator.path", value="/discovery/web", holder="shop/old"),)},
            "Taken",
            "spec.discovery.curator.path: /discovery/web belongs to PaasService shop/old",
        ),
        ({"record_roots": ()}, "PathNotAllowed", "below spec.tenancy.recordRoots of MesosCluster bj1 (which allows nothing)"),
        ({"record_roots": ("/discovery/web",)}, "PathNotAllowed", "which allows /discovery/web"),
        ({"foreign": {"/discovery/web": ("0f3c",)}}, "PathOwnedByOther", "/discovery/web holds nodes of somebody else (0f3c)"),
        ({"apps": ((seen(task(1), cluster="sh1"),),)}, "OtherCluster", "spec.backends[0]: PaasApp web is in MesosCluster sh1"),
    ],
)  # fmt: skip
def test_a_wrong_part_is_told_and_everything_else_goes_on(fields: Mapping[str, Any], reason: str, words: str) -> None:
    spec = replace(SPEC, folders=(FOLDER,), group="public", listener=LISTENER)
    plan = decide(snapshot(spec=spec, **fields))
    assert reason_of(plan, ConditionType.STALLED) == (Truth.TRUE, reason)
    message = next(c.message for c in plan.conditions or () if c.type is ConditionType.STALLED)
    assert words in message
    publish = publish_of(plan)
    assert publish.endpoints is not None
    left_out = sum(x is None or not x for x in (publish.route, publish.names, publish.records))
    assert left_out == (0 if "route_problems" in fields else 1)


def test_a_port_that_the_app_has_not_is_blamed_on_its_field() -> None:
    plan = decide(snapshot(spec=replace(SPEC, backends=(BackendSpec(name="a", app="web", port="https"),))))
    assert reason_of(plan, ConditionType.STALLED) == (Truth.TRUE, "PortNotFound")
    message = next(c.message for c in plan.conditions or () if c.type is ConditionType.STALLED)
    assert message == "spec.backends[0].portName: /shop/web has no port named 'https': it has http"


def test_an_app_that_does_not_exist_is_waited_for_and_others_serve() -> None:
    alone = decide(snapshot(apps=((AppSeen(name="web", exists=False),),)))
    assert reason_of(alone) == (Truth.FALSE, "AppNotFound")
    assert reason_of(alone, ConditionType.STALLED) is None
    backends = (*SPEC.backends, BackendSpec(name="canary", app="web2"))
    apps = ((seen(task(1)),), (AppSeen(name="web2", exists=False),))
    beside = decide(snapshot(spec=replace(SPEC, backends=backends), apps=apps))
    assert reason_of(beside) == (Truth.TRUE, "Ready")
    assert reason_of(beside, ConditionType.ADVICE) == (Truth.TRUE, "AppNotFound")


def test_no_ready_endpoint_is_not_ready_and_not_stalled() -> None:
    plan = decide(snapshot(task(1, health=Health.UNKNOWN)))
    assert reason_of(plan) == (Truth.FALSE, "NoReadyEndpoint")
    assert reason_of(plan, ConditionType.RECONCILING) == (Truth.TRUE, "NoReadyEndpoint")


def test_panic_is_told() -> None:
    there = applied(Published(), decide(snapshot()))
    sick = decide(snapshot(task(1, health=Health.UNHEALTHY), task(2, health=Health.UNHEALTHY), published=there))
    assert sick.actions == ()
    assert reason_of(sick, ConditionType.PANIC) == (Truth.TRUE, "TooManyUnhealthy")


# ---------------------------------------------------------------------------------------------------- load balancers


def balancer(*, live: bool = True, endpoints: int | None = 1, route: int = 1, problem: str = "") -> BalancerSeen:
    done = None if endpoints is None else Applied(service=NAME, endpoints=endpoints, route=route, problem=problem)
    return BalancerSeen(balancer=LoadBalancer(id="lb-1", group="public", live=live), applied=done)


@pytest.mark.parametrize(
    ("given_balancer", "ready"),
    [
        (balancer(), (Truth.TRUE, "Ready")),
        (balancer(endpoints=0), (Truth.FALSE, "LoadBalancerBehind")),
        (balancer(endpoints=None), (Truth.FALSE, "LoadBalancerBehind")),
        (balancer(route=0), (Truth.FALSE, "LoadBalancerBehind")),
        (balancer(live=False, endpoints=0), (Truth.TRUE, "Ready")),
        (balancer(problem="port 80 is taken"), (Truth.FALSE, "RouteRefused")),
    ],
)
def test_ready_needs_every_live_balancer_at_the_generation(given_balancer: BalancerSeen, ready: tuple[Truth, str]) -> None:
    plan = decide(snapshot(spec=replace(SPEC, group="public", listener=LISTENER), balancers=(given_balancer,)))
    assert reason_of(plan) == ready


def test_the_whole_status_has_counts_and_load_balancers_and_no_endpoint() -> None:
    """Issue B §5."""
    spec = replace(SPEC, group="public", listener=LISTENER)
    own = (task(1), task(2), task(3, health=Health.UNHEALTHY), task(4))
    draining: dict[str, Any] = {"draining": frozenset({task(4).id})}
    first = decide(snapshot(*(task(n) for n in range(1, 5)), spec=spec))
    there = applied(Published(), first)
    assert there.endpoints is not None
    ahead = replace(there, endpoints=replace(there.endpoints, generation=7))
    reloaded = "2026-01-02T03:04:05Z new frontend http:any:80"
    seen_there = [
        Applied(service=NAME, endpoints=7, route=1, reloads=2, last_reload=reloaded),
        Applied(service=NAME, endpoints=5, route=1, problem="port 80 is in use on this load balancer by another program"),
    ]
    balancers = tuple(
        BalancerSeen(balancer=LoadBalancer(id=f"lb-{n}", group="public", live=True), applied=done) for n, done in enumerate(seen_there, 1)
    )
    facts = decide(snapshot(*own, spec=spec, published=ahead, balancers=balancers, addresses=("http://shop.example",), **draining)).facts
    # an eighth generation tells of the two that no longer serve
    assert facts["endpoints"] == {"total": 4, "ready": 2, "starting": 0, "draining": 1, "unhealthy": 1}
    assert (facts["ready"], facts["generation"]) == ("2/4", 8)
    assert facts["addresses"] == ["http://shop.example"]
    assert facts["names"] == ["web.shop.mesos.example"]
    assert facts["backends"] == [{"name": "stable", "ready": 2, "total": 4, "weight": 100}]
    assert facts["loadBalancers"] == [
        {"id": "lb-1", "live": True, "generation": 7, "behind": 1, "reloads": 2, "lastReload": reloaded},
        {"id": "lb-2", "live": True, "generation": 5, "behind": 3, "reloads": 0, "problem": seen_there[1].problem},
    ]
    assert "10.0.0." not in json.dumps(facts), "no address of an endpoint"


def test_a_silent_balancer_is_told() -> None:
    plan = decide(snapshot(balancers=(balancer(live=False),)))
    assert reason_of(plan, ConditionType.LOAD_BALANCER_SILENT) == (Truth.TRUE, "NotLive")
    assert plan.facts["loadBalancers"] == [{"id": "lb-1", "live": False, "generation": 1, "behind": 0, "reloads": 0}]


def test_a_group_in_which_there_is_no_load_balancer_is_told() -> None:
    """A mistyped group would look well: published, and carried by all of nobody."""
    routed = replace(SPEC, group="pubilc", listener=LISTENER)
    plan = decide(snapshot(spec=routed))
    assert reason_of(plan, ConditionType.ADVICE) == (Truth.TRUE, "NoLoadBalancer")
    (message,) = (c.message for c in plan.conditions or () if c.type is ConditionType.ADVICE)
    assert "start `shuren lb --group pubilc`, or correct the group" in message
    assert reason_of(decide(snapshot(spec=routed, balancers=(balancer(),))), ConditionType.ADVICE) is None
    assert reason_of(decide(snapshot()), ConditionType.ADVICE) is None


# ---------------------------------------------------------------------------------------------------- Kubernetes

KUBE = replace(
    SPEC,
    kubernetes=KubernetesTarget(service="web", port=80),
    backends=(BackendSpec(name="db", addresses=(("10.0.0.1", 5432), ("10.0.0.2", 5432))),),
)


def test_a_service_with_its_slices_and_a_second_look() -> None:
    plan = decide(snapshot(spec=KUBE, apps=((),)))
    service, slice_ = plan.actions[-2:]
    assert isinstance(service, WriteService)
    assert isinstance(slice_, WriteSlice)
    assert len(slice_.body["endpoints"]) == 2
    there = KubernetesSeen(service=service.body, ours=True, slices=(slice_.body,), services=("web",))
    again = decide(snapshot(spec=KUBE, apps=((),), published=applied(Published(), plan), kubernetes=there))
    assert again.actions == ()


def test_what_is_no_longer_asked_for_goes() -> None:
    slice_ = {"metadata": {"name": "old-1"}, "addressType": "IPv4", "ports": [{"port": 80}], "endpoints": []}
    there = KubernetesSeen(slices=(slice_,), services=("old",))
    plan = decide(snapshot(kubernetes=there))
    assert [a for a in plan.actions if not isinstance(a, Publish)] == [DeleteService(name="old"), DeleteSlice(name="old-1")]


def test_a_service_of_somebody_else_is_left_alone() -> None:
    plan = decide(snapshot(spec=KUBE, apps=((),), kubernetes=KubernetesSeen(service={"spec": {}}, ours=False)))
    assert reason_of(plan, ConditionType.STALLED) == (Truth.TRUE, "Taken")
    assert all(isinstance(a, Publish) for a in plan.actions)


# ---------------------------------------------------------------------------------------------------- suspended, leaving, deleted


def test_suspended_publishes_nothing_and_says_what_is_pending() -> None:
    spec = replace(SPEC, suspend=True)
    plan = decide(snapshot(spec=spec))
    assert plan.actions == ()
    assert reason_of(plan) == (Truth.UNKNOWN, "Suspended")
    there = applied(Published(), decide(snapshot()))
    settled = decide(snapshot(spec=spec, published=there))
    assert reason_of(settled) == (Truth.TRUE, "Ready")
    assert reason_of(settled, ConditionType.SUSPENDED) == (Truth.TRUE, "Suspended")


def test_a_cluster_that_was_left_is_cleared_when_it_can_be() -> None:
    plan = decide(snapshot(elsewhere=("sh1",)))
    assert plan.actions[-1] == Withdraw(service=NAME, cluster="sh1")
    away = decide(snapshot(elsewhere=("sh1",), elsewhere_unreachable=("sh1",)))
    assert not any(isinstance(a, Withdraw) for a in away.actions)
    assert reason_of(away) == (Truth.FALSE, "LeavingCluster")


GONE = replace(RESOURCE, deleting=True)


def test_the_end_withdraws_and_then_lets_go() -> None:
    there = applied(Published(), decide(snapshot()))
    plan = decide(snapshot(resource=GONE, published=there))
    assert plan.actions == (Withdraw(service=NAME, cluster="bj1"), RemoveFinalizer())
    assert decide(snapshot(resource=GONE)).actions == (RemoveFinalizer(),)
    assert decide(snapshot(resource=replace(GONE, finalizers=()))).actions == ()


def test_an_unreachable_cluster_holds_the_end_up_until_a_person_lets_go() -> None:
    away = ClusterView(name="bj1", connected=False)
    held = decide(snapshot(resource=GONE, cluster=away, published=None))
    assert held.actions == ()
    assert reason_of(held) == (Truth.UNKNOWN, "ClusterUnreachable")
    let_go = replace(GONE, annotations={FORCE_ORPHAN: "true"})
    assert decide(snapshot(resource=let_go, cluster=away, published=None)).actions == (RemoveFinalizer(),)


# ---------------------------------------------------------------------------------------------------- any snapshot

CLUSTERS = st.builds(
    ClusterView,
    name=st.just("bj1"),
    exists=st.booleans(),
    connected=st.booleans(),
    synced=st.booleans(),
    problem=st.none() | st.just(Problem(reason="x", message="y")),
    unreachable_for=st.none() | st.floats(min_value=0, max_value=1000),
)
TASKS = st.lists(
    st.builds(task, st.integers(min_value=1, max_value=5), state=st.sampled_from(TaskState), health=st.sampled_from(Health)),
    max_size=5,
    unique_by=lambda t: t.id,
)


@given(
    CLUSTERS,
    TASKS,
    st.builds(replace, st.just(RESOURCE), deleting=st.booleans(), finalizers=st.sampled_from([(), (FINALIZER,)])),
    st.sampled_from([SPEC, KUBE, replace(SPEC, folders=(FOLDER,)), replace(SPEC, suspend=True)]),
    st.none() | st.just(Published()) | st.just(applied(Published(), decide(snapshot()))),
)
def test_no_snapshot_is_too_odd(
    cluster: ClusterView,
    tasks: list[Task],
    resource: ServiceResource,
    spec: ServiceSpec,
    published: Published | None,
) -> None:
    deleting, has_finalizer = resource.deleting, FINALIZER in resource.finalizers
    apps = tuple((seen(*tasks),) if b.app else () for b in spec.backends)
    plan = decide(snapshot(resource=resource, cluster=cluster, spec=spec, apps=apps, published=published))
    usable = cluster.exists and cluster.connected and cluster.problem is None
    if not usable:
        assert not any(isinstance(a, Publish) for a in plan.actions)
    if plan.actions and not deleting:
        assert isinstance(plan.actions[0], AddFinalizer) != has_finalizer
    if plan.conditions is not None:
        assert sum(c.type is ConditionType.READY for c in plan.conditions) == 1
        stalled = any(c.type is ConditionType.STALLED for c in plan.conditions)
        assert not (stalled and any(c.type is ConditionType.RECONCILING for c in plan.conditions))
    if any(isinstance(a, Publish) for a in plan.actions) and published is not None:
        after = applied(published, plan)
        again = decide(
            snapshot(resource=replace(resource, finalizers=(FINALIZER,)), cluster=cluster, spec=spec, apps=apps, published=after)
        )
        assert not any(isinstance(a, Publish) for a in again.actions)


def test_states_of_endpoints_follow_the_victims_decision() -> None:
    plan = decide(snapshot(draining=frozenset({"web.2"})))
    published = publish_of(plan).endpoints
    assert published is not None
    assert [e.state for e in published.endpoints] == [EndpointState.READY, EndpointState.DRAINING]

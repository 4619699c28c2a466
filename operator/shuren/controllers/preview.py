"""The kinds' own gatherers and decisions, run on a world that is only looked at: what `shuren plan` shows is what the operator would do.

Nothing is written: whoever holds no leadership cannot, and clusters given here refuse it as well (`estate.survey`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from shuren.controllers.gates import AllGates
from shuren.controllers.paasapp import world as app_world
from shuren.controllers.paasapp.controller import PaasAppController
from shuren.controllers.paasapp.gather import Adviser
from shuren.controllers.paasservice import triggers
from shuren.controllers.paasservice import world as service_world
from shuren.controllers.paasservice.controller import PaasServiceController
from shuren.controllers.shardmap import triggers as shard_triggers
from shuren.controllers.shardmap import world as shard_world
from shuren.controllers.shardmap.controller import ShardMapController
from shuren.domain.app.plan import Drain
from shuren.domain.app.snapshot import PENDING, ClusterView, Snapshot
from shuren.domain.errors import Denied, Fenced
from shuren.domain.identity import ObjectKey
from shuren.domain.marathon.state import ActualApp
from shuren.domain.preview import apps as app_preview
from shuren.domain.preview import balancers as balancer_preview
from shuren.domain.preview import names as name_preview
from shuren.domain.preview import services as service_preview
from shuren.domain.preview import shards as shard_preview
from shuren.domain.preview.apps import AppForecast
from shuren.domain.preview.balancers import BalancerForecast, Carrying
from shuren.domain.preview.services import ServiceForecast
from shuren.domain.preview.shards import ShardForecast
from shuren.domain.preview.whole import ClusterNames, Unknown, WholePlan
from shuren.domain.service.snapshot import Published, ServiceSnapshot
from shuren.domain.service.values import EndpointSet, Route, ServiceName
from shuren.domain.shardmap.snapshot import MapSnapshot
from shuren.ports.clock import Clock
from shuren.ports.kubernetes import CONFIG_MAPS, PAAS_APPS, PAAS_SERVICES, SECRETS, SHARD_MAPS, Kubernetes, Object
from shuren.runtime.store import Store

_RESOURCES = {resource.kind: resource for resource in (SECRETS, CONFIG_MAPS)}
_DENIED = "ReferencesDenied"
_ROUNDS = 4


class Onlooker:
    """Leadership that is never held."""

    def held(self) -> bool:
        """Never."""
        return False

    def check(self) -> None:
        """Raise Fenced."""
        raise Fenced("this only looks")

    def remaining(self) -> float:
        """None."""
        return 0.0


class Cluster(app_world.Cluster, service_world.Cluster, shard_world.Cluster, Protocol):
    """What the kinds ask of a cluster."""


class Clusters(Protocol):
    """All clusters that are declared."""

    def get(self, name: str) -> Cluster | None:
        """The cluster of a MesosCluster; None when there is no such resource."""

    def names(self) -> tuple[str, ...]:
        """All of them."""


class LookedUp:
    """`References` that are read when somebody has asked for them (`fetch`). `given` stand for what is not in the API server yet."""

    def __init__(self, kubernetes: Kubernetes, *, given: Mapping[ObjectKey, Object] | None = None) -> None:
        self._kubernetes = kubernetes
        self._known: dict[ObjectKey, Object | None] = dict(given or {})
        self._denied: dict[ObjectKey, Denied] = {}
        self._missing: set[ObjectKey] = set()

    def require(self, owner: ObjectKey, wanted: frozenset[ObjectKey]) -> Mapping[ObjectKey, Object | None] | None:  # noqa: ARG002 - the port's
        """See the port."""
        refused = next((self._denied[key] for key in sorted(wanted) if key in self._denied), None)
        if refused is not None:
            raise refused
        missing = wanted - self._known.keys()
        self._missing |= missing
        return None if missing else {key: self._known[key] for key in wanted}

    async def fetch(self) -> bool:
        """Read what was asked for since the last time. False when there was nothing."""
        missing, self._missing = sorted(self._missing), set()
        for key in missing:
            try:
                self._known[key] = await self._kubernetes.get(_RESOURCES[key.kind], key.namespace, key.name)
            except Denied as error:
                self._denied[key] = error
        return bool(missing)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What decisions about resources of each kind see."""

    apps: Mapping[ObjectKey, Snapshot]
    services: Mapping[ObjectKey, ServiceSnapshot]
    maps: Mapping[ObjectKey, MapSnapshot]


class Preview:
    """See the module. `store` holds the world's resources, with those that are to be applied laid over them.

    `gates` hold tasks back besides services and shard maps. `traffic` says how traffic is split, services unless somebody else does.
    """

    def __init__(
        self,
        *,
        kubernetes: Kubernetes,
        store: Store,
        clusters: Clusters,
        references: LookedUp,
        clock: Clock,
        adviser: Adviser = lambda _definition, _cluster: (),
        gates: Collection[app_world.GateKeeper] = (),
        traffic: app_world.Traffic | None = None,
    ) -> None:
        self._store = store
        self._clusters = clusters
        self._references = references
        self._services = PaasServiceController(kubernetes=kubernetes, store=store, clusters=clusters, leadership=Onlooker(), clock=clock)
        self._maps = ShardMapController(kubernetes=kubernetes, store=store, clusters=clusters, leadership=Onlooker(), clock=clock)
        self._apps = PaasAppController(
            kubernetes=kubernetes,
            store=store,
            clusters=clusters,
            references=references,
            leadership=Onlooker(),
            clock=clock,
            adviser=adviser,
            gates=AllGates(self._services.gates, self._maps.gates, *gates),
            traffic=traffic or self._services.gates,
        )

    def maps_of(self, keys: Iterable[ObjectKey]) -> frozenset[ObjectKey]:
        """ShardMaps whose members are tasks of these PaasApps, or endpoints of these PaasServices."""
        found: set[ObjectKey] = set()
        for key in keys:
            match key.kind:
                case PAAS_APPS.kind:
                    found |= shard_triggers.of_app(self._store, key) | shard_triggers.of_services_of(self._store, key)
                case PAAS_SERVICES.kind:
                    found |= shard_triggers.of_service(self._store, key)
                case _:
                    continue
        return frozenset(found)

    def services_of(self, keys: Iterable[ObjectKey]) -> frozenset[ObjectKey]:
        """PaasServices that these PaasApps stand behind."""
        return frozenset().union(*(triggers.of_app(self._store, key) for key in keys if key.kind == PAAS_APPS.kind))

    async def look(self, keys: Collection[ObjectKey]) -> Seen:
        """What decisions about these resources see, and of the services and shard maps of these apps, and of the apps behind those."""
        given = {key for key in keys if key.kind == PAAS_APPS.kind}
        maps = {key for key in keys if key.kind == SHARD_MAPS.kind}
        wanted = {key for key in keys if key.kind == PAAS_SERVICES.kind} | self.services_of(given) | self._sources(maps, "serviceRef")
        services = {key: (await self._services.plan(key, item))[0].snapshot for key in sorted(wanted) if (item := self._store.get(key))}
        behind = {
            ObjectKey(kind=PAAS_APPS.kind, namespace=key.namespace, name=app.name)
            for key, snapshot in services.items()
            for backend in snapshot.apps
            for app in backend
            if app.exists
        }
        apps = await self._plan_apps(sorted(given | behind | self._sources(maps, "appRef")))
        self._drain(apps.values())
        seen = {}
        for key in sorted(maps | self.maps_of([*apps, *services])):
            item = self._store.get(key)
            if item is not None:
                seen[key] = (await self._maps.plan(key, item))[0].snapshot
        return Seen(apps={key: forecast.snapshot for key, forecast in apps.items()}, services=services, maps=seen)

    async def plan(self, keys: Collection[ObjectKey]) -> WholePlan:
        """Everything that the operator will do about these resources, and about services and shard maps of these apps."""
        given = sorted(key for key in keys if key.kind == PAAS_APPS.kind)
        maps = {key for key in keys if key.kind == SHARD_MAPS.kind} | self.maps_of(keys)
        # which members of a map are to go, the plans of their apps tell, whether anybody asked for those or not
        every = await self._plan_apps(sorted({*given, *self._sources(maps, "appRef")}))
        self._drain(every.values())
        apps = {key: every[key] for key in given}
        wanted = {key for key in keys if key.kind == PAAS_SERVICES.kind} | self.services_of(apps)
        services = await self._plan_services(sorted(wanted), apps)
        forecasts = await self._plan_maps(sorted(maps | self.maps_of(services)), every)
        views = [*(f.snapshot.cluster for f in services.values()), *(f.snapshot.cluster for f in forecasts.values())]
        unknown = [*_unknown_apps(apps), *_unknown_clusters(views)]
        return WholePlan(
            apps=tuple(apps.items()),
            services=tuple(services.items()),
            balancers=tuple(self._balancers(services)),
            names=tuple(self._names(services)),
            shards=tuple(forecasts.items()),
            unknown=tuple(dict.fromkeys(unknown)),
        )

    def _sources(self, maps: Iterable[ObjectKey], field: str) -> frozenset[ObjectKey]:
        """The PaasApps (`appRef`) or PaasServices (`serviceRef`) that these ShardMaps name as their members, as far as they exist."""
        kind = PAAS_APPS.kind if field == "appRef" else PAAS_SERVICES.kind
        found: set[ObjectKey] = set()
        for key in maps:
            members: Mapping[str, Any] = ((self._store.get(key) or {}).get("spec") or {}).get("members") or {}
            name = (members.get(field) or {}).get("name")
            if name:
                found.add(ObjectKey(kind=kind, namespace=key.namespace, name=str(name)))
        return frozenset(key for key in found if key in self._store)

    def _drain(self, apps: Iterable[AppForecast]) -> None:
        """Tell the gates of shard maps what the next pass over these apps will tell them, so that maps are judged as they will be then."""
        for forecast in apps:
            s = forecast.snapshot
            app_id = s.app.id if s.app is not None else ""
            for action in forecast.now.actions:
                if isinstance(action, Drain) and action.app_id == app_id:
                    self._maps.gates.drain(s.cluster.name, app_id, frozenset(action.task_ids))
            self._maps.gates.passed(s.cluster.name, app_id)

    # ------------------------------------------------------------------------------------------------ apps

    async def _plan_apps(self, keys: Collection[ObjectKey]) -> dict[ObjectKey, AppForecast]:
        found = {key: self._app(key, ()) for key in keys}
        for _ in range(_ROUNDS):
            if not await self._references.fetch():
                break
            found = {key: self._app(key, ()) for key in keys}
        return self._in_order(found)

    def _app(self, key: ObjectKey, ready: Collection[str]) -> AppForecast:
        item = self._store.get(key)
        if item is None:
            raise KeyError(key)
        seen, _ = self._apps.plan(key, item)
        return app_preview.foresee(seen.snapshot, ready=ready)

    def _in_order(self, found: dict[ObjectKey, AppForecast]) -> dict[ObjectKey, AppForecast]:
        """Apps that wait for others go on when those are foreseen to be Ready."""
        for _ in range(len(found)):
            moved = False
            for key, forecast in found.items():
                ready = [other.name for other, one in found.items() if other.namespace == key.namespace and one.ready]
                more = {d.name for d in forecast.snapshot.dependencies if not d.ready} & set(ready) - set(forecast.awaited)
                if more:
                    found[key] = self._app(key, ready)
                    moved = True
            if not moved:
                break
        return found

    # ------------------------------------------------------------------------------------------------ services and what reads them

    async def _plan_services(self, keys: Iterable[ObjectKey], apps: Mapping[ObjectKey, AppForecast]) -> dict[ObjectKey, ServiceForecast]:
        found: dict[ObjectKey, ServiceForecast] = {}
        for key in keys:
            item = self._store.get(key)
            if item is None:
                continue
            seen, _ = await self._services.plan(key, item)
            found[key] = service_preview.foresee(seen.snapshot, apps=_in_cluster(apps, seen.snapshot.cluster.name))
        return found

    async def _plan_maps(self, keys: Iterable[ObjectKey], apps: Mapping[ObjectKey, AppForecast]) -> dict[ObjectKey, ShardForecast]:
        found: dict[ObjectKey, ShardForecast] = {}
        for key in keys:
            item = self._store.get(key)
            if item is None:
                continue
            seen, plan = await self._maps.plan(key, item)
            members = seen.reading.members
            app = apps.get(ObjectKey(kind=PAAS_APPS.kind, namespace=key.namespace, name=members.app)) if members is not None else None
            before, after = (app.snapshot.app, app.after) if app is not None else (None, None)
            # those that go are chosen by the app's plan and drain; those that come are not there to be looked at
            scaled = after.instances if after is not None and (before is None or before.instances < after.instances) else None
            weights = dict(members.weights) if members is not None else {}
            found[key] = shard_preview.foresee(seen.snapshot, plan, instances=scaled, weights=weights)
        return found

    def _balancers(self, services: Mapping[ObjectKey, ServiceForecast]) -> Iterable[BalancerForecast]:
        for name in self._concerned(services):
            cluster = self._clusters.get(name)
            if cluster is None:
                continue
            before = {service: cluster.published(service) or Published() for service in cluster.published_services}
            after = before | {f.snapshot.resource.name: f.after for f in services.values() if f.snapshot.cluster.name == name}
            groups = {group for published in (*before.values(), *after.values()) for group in published.routes}
            for group in sorted(groups):
                arriving = sum(f.arriving for f in services.values() if f.snapshot.cluster.name == name and group in f.after.routes)
                yield balancer_preview.foresee(
                    _carrying(before, group),
                    _carrying(after, group),
                    cluster=name,
                    group=group,
                    balancers=tuple(seen.balancer.id for seen in cluster.balancers(group, ServiceName(namespace="", name=""))),
                    arriving=arriving,
                )

    def _names(self, services: Mapping[ObjectKey, ServiceForecast]) -> Iterable[ClusterNames]:
        for name in self._concerned(services):
            cluster = self._clusters.get(name)
            if cluster is None or not cluster.zone:
                continue
            mine = [f for f in services.values() if f.snapshot.cluster.name == name]
            changes = name_preview.foresee((f.before for f in mine), (f.after for f in mine), zone=cluster.zone)
            if changes:
                yield ClusterNames(cluster=name, changes=changes)

    @staticmethod
    def _concerned(services: Mapping[ObjectKey, ServiceForecast]) -> list[str]:
        return sorted({f.snapshot.cluster.name for f in services.values() if f.snapshot.published is not None})


def _in_cluster(apps: Mapping[ObjectKey, AppForecast], name: str) -> dict[str, ActualApp | None]:
    found: dict[str, ActualApp | None] = {}
    for forecast in apps.values():
        s = forecast.snapshot
        if s.cluster.name == name:
            app_id = s.desired.app_id if s.desired is not None else s.app.id if s.app is not None else ""
            found[app_id] = forecast.after
    return found


def _carrying(published: Mapping[ServiceName, Published], group: str) -> Carrying:
    routes: dict[ServiceName, Route] = {s: p.routes[group] for s, p in published.items() if group in p.routes}
    endpoints: dict[ServiceName, EndpointSet] = {s: e for s in routes if (e := published[s].endpoints) is not None}
    return Carrying(routes=routes, endpoints=endpoints)


def _cluster_unknown(view: ClusterView) -> Unknown | None:
    about = f"MesosCluster {view.name}"
    if view.problem is not None:
        return Unknown(about=about, why=view.problem.message)
    if view.unreachable_for is not None:
        return Unknown(about=about, why=view.silence)
    return Unknown(about=about, why="it was not read") if view.exists and not view.synced else None


def _unknown_apps(apps: Mapping[ObjectKey, AppForecast]) -> Iterable[Unknown]:
    for key, forecast in apps.items():
        s = forecast.snapshot
        cluster = _cluster_unknown(s.cluster)
        if cluster is not None:
            yield cluster
        if s.waiting is not None and s.waiting.reason in {_DENIED, PENDING}:
            yield Unknown(about=str(key), why=s.waiting.message)


def _unknown_clusters(views: Iterable[ClusterView]) -> Iterable[Unknown]:
    for view in views:
        cluster = _cluster_unknown(view)
        if cluster is not None:
            yield cluster

"""Look at the world once: everything that a decision about one PaasService needs, as one snapshot.

Reads pictures and stores. Two things are asked for over the network, and only when they matter: nodes of others in a folder of records that
is not ours yet, and a Kubernetes Service of a name that is not ours yet.
"""

from __future__ import annotations

from dataclasses import dataclass

from shuren.controllers.identity import app_id_of, apps_in, cluster_of
from shuren.controllers.paasservice import reading, triggers
from shuren.controllers.paasservice.gates import Gatekeeper
from shuren.controllers.paasservice.reading import Reading
from shuren.controllers.paasservice.world import Cluster, Clusters
from shuren.domain.app import pair
from shuren.domain.app.progress import split
from shuren.domain.app.snapshot import ClusterView, Problem
from shuren.domain.haproxy.claims import Carried
from shuren.domain.identity import ObjectKey
from shuren.domain.service import addresses
from shuren.domain.service.snapshot import AppSeen, BackendSpec, KubernetesSeen, Published, Rival, ServiceSnapshot, ServiceSpec
from shuren.domain.service.values import Route
from shuren.domain.tenancy import Selector
from shuren.ports.clock import Clock
from shuren.ports.kubernetes import ENDPOINT_SLICES, NAMESPACES, PAAS_APPS, SERVICES, Kubernetes, Object
from shuren.runtime.store import Store


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A snapshot, with the resource's JSON and how it was read."""

    snapshot: ServiceSnapshot
    item: Object
    reading: Reading


class Gatherer:
    """See the module."""

    def __init__(self, *, kubernetes: Kubernetes, store: Store, clusters: Clusters, clock: Clock, gates: Gatekeeper) -> None:
        self._kubernetes = kubernetes
        self._store = store
        self._clusters = clusters
        self._clock = clock
        self._gates = gates

    async def look(self, key: ObjectKey, item: Object) -> Seen:
        """The snapshot of one resource."""
        read = reading.read(key, item)
        cluster = self._clusters.get(read.cluster)
        spec = read.spec
        problem = read.problem or self._tenancy_problem(read, cluster)
        published = cluster.published(read.resource.name) if cluster is not None else None
        elsewhere, unreachable = self._elsewhere(read)
        apps = tuple(self._apps(key.namespace, b, spec, cluster) for b in spec.backends) if spec is not None else ()
        app_ids = {app_id for backend in apps for app in backend for app_id in app.ids}
        snapshot = ServiceSnapshot(
            resource=read.resource,
            cluster=cluster.view if cluster is not None else ClusterView(name=read.cluster, exists=False, connected=False, synced=False),
            spec=spec,
            problem=problem,
            zone=cluster.zone if cluster is not None else "",
            record_roots=cluster.record_roots if cluster is not None else (),
            apps=apps,
            draining=frozenset().union(*(self._gates.draining(read.cluster, app_id, published) for app_id in app_ids)),
            agents=cluster.agent_places if cluster is not None else {},
            rivals=self._rivals(read),
            route_problems=self._route_problems(read),
            addresses=addresses.shown(read.settings) if read.settings is not None else (),
            foreign=await cluster.strangers(spec.folders, published.journal) if cluster and spec and published is not None else {},
            published=published,
            kubernetes=await self._kubernetes_seen(read, published),
            balancers=cluster.balancers(spec.group, read.resource.name) if cluster is not None and spec is not None and spec.group else (),
            elsewhere=elsewhere,
            elsewhere_unreachable=unreachable,
            now=self._clock.now(),
        )
        return Seen(snapshot=snapshot, item=item, reading=read)

    def _tenancy_problem(self, read: Reading, cluster: Cluster | None) -> Problem | None:
        if cluster is None or not cluster.view.connected:
            return None
        namespace = self._store.get(ObjectKey(kind=NAMESPACES.kind, namespace="", name=read.resource.key.namespace))
        labels = dict((namespace or {}).get("metadata", {}).get("labels") or {})
        if cluster.tenancy.namespaces.matches(labels):
            return None
        message = (
            f"namespace {read.resource.key.namespace} may not use cluster {read.cluster}: its labels do not match "
            "spec.tenancy.namespaces of the MesosCluster; label the namespace or choose another cluster"
        )
        return Problem(reason="NotAllowed", message=message)

    # ------------------------------------------------------------------------------------------------ apps

    def _apps(self, namespace: str, backend: BackendSpec, spec: ServiceSpec, cluster: Cluster | None) -> tuple[AppSeen, ...]:
        if backend.app:
            key = ObjectKey(kind=PAAS_APPS.kind, namespace=namespace, name=backend.app)
            return (self._app(key, cluster),)
        if backend.selector is None:
            return ()
        found = (self._app(key, cluster) for key in self._selected(namespace, backend.selector))
        return tuple(app for app in found if app.cluster == spec.cluster)

    def _selected(self, namespace: str, selector: Selector) -> list[ObjectKey]:
        found = ((key, self._store.get(key)) for key in apps_in(self._store, namespace))
        return sorted(key for key, item in found if item is not None and selector.matches(dict(item["metadata"].get("labels") or {})))

    def _app(self, key: ObjectKey, cluster: Cluster | None) -> AppSeen:
        item = self._store.get(key)
        if item is None:
            return AppSeen(name=key.name, exists=False)
        spec = item.get("spec") or {}
        named, told = app_id_of(key.namespace, key.name, spec), split(item.get("status") or {})
        mine = pair.pair(named)
        app_id = told.lives_on if told.lives_on in mine else self._lives_on(key, named, cluster)
        beside = told.beside if told.beside in mine and told.beside != app_id else ""
        return AppSeen(
            name=key.name,
            cluster=cluster_of(spec),
            app_id=app_id,
            app=cluster.app(app_id) if cluster is not None else None,
            beside_id=beside,
            beside=cluster.app(beside) if cluster is not None and beside else None,
            weight=told.weight,
        )

    @staticmethod
    def _lives_on(key: ObjectKey, named: str, cluster: Cluster | None) -> str:
        """The id of an app whose status does not tell it: not created yet, or the status was lost, and then claims tell."""

        def claimed(app_id: str) -> bool:
            claim = cluster.claim(app_id) if cluster is not None else None
            return claim is not None and (claim.namespace, claim.name) == (key.namespace, key.name)

        return pair.lives_on(named, (), exists=lambda _app_id: False, claimed=claimed)

    # ------------------------------------------------------------------------------------------------ others

    def _rivals(self, read: Reading) -> tuple[Rival, ...]:
        """What older services hold of what this one wants."""
        me = read.resource
        item = self._store.get(me.key) or {}
        found: list[Rival] = []
        for path, value in reading.wants(me.key, item.get("spec") or {}):
            if path == reading.ROUTE:
                continue
            older = sorted(
                (self._age(other), other)
                for other in triggers.holders(self._store, read.cluster, path, value)
                if other != me.key and self._age(other) < (me.created, me.uid)
            )
            if older:
                holder = older[0][1]
                found.append(Rival(path=path, value=value, holder=f"{holder.namespace}/{holder.name}"))
        return tuple(found)

    def _route_problems(self, read: Reading) -> tuple[str, ...]:
        """What of our route others hold, by the rule of load balancers, judged among those that want any of it."""
        if read.settings is None or read.spec is None:
            return ()
        keys = {read.resource.key}
        for want in addresses.could_want_the_same(read.spec.group, read.settings):
            keys |= triggers.holders(self._store, read.cluster, reading.ROUTE, want)
        carried = [c for c in (self._carried(key, read.cluster) for key in keys) if c is not None]
        return addresses.taken(read.resource.name, carried)

    def _carried(self, key: ObjectKey, cluster: str) -> Carried | None:
        item = self._store.get(key)
        other = reading.read(key, item) if item is not None else None
        if other is None or other.spec is None or other.settings is None or other.spec.cluster != cluster or other.spec.listener is None:
            return None
        route = Route(
            service=other.resource.name,
            group=other.spec.group,
            generation=0,
            uid=other.resource.uid,
            since=other.resource.created,
            listener=other.spec.listener,
        )
        return Carried(route=route, settings=other.settings)

    def _age(self, key: ObjectKey) -> tuple[str, str]:
        metadata = (self._store.get(key) or {}).get("metadata") or {}
        return str(metadata.get("creationTimestamp") or ""), str(metadata.get("uid") or "")

    def _elsewhere(self, read: Reading) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Clusters beside the desired one that hold something of it, and those that cannot be asked or written."""
        name = read.resource.name
        former = str(read.resource.status.get("cluster") or "")
        there: list[str] = []
        unreachable: list[str] = []
        for other in self._clusters.names():
            if other == read.cluster:
                continue
            cluster = self._clusters.get(other)
            known = cluster.published(name) if cluster is not None else None
            if known:
                there.append(other)
            elif known is None and other == former:
                unreachable.append(other)
        if former and former != read.cluster and former not in self._clusters.names():
            unreachable.append(former)
        return tuple(there), tuple(unreachable)

    # ------------------------------------------------------------------------------------------------ Kubernetes

    async def _kubernetes_seen(self, read: Reading, published: Published | None) -> KubernetesSeen:
        uid, namespace = read.resource.uid, read.resource.key.namespace
        mine = triggers.owned(self._store, SERVICES.kind, uid)
        slices = [self._store.get(k) for k in triggers.owned(self._store, ENDPOINT_SLICES.kind, uid)]
        target = read.spec.kubernetes if read.spec is not None else None
        service: Object | None = None
        ours = False
        if target is not None and published is not None:
            key = ObjectKey(kind=SERVICES.kind, namespace=namespace, name=target.service)
            service, ours = self._store.get(key), key in mine
            if service is None:
                service = await self._kubernetes.get(SERVICES, namespace, target.service)
                owners = (service or {}).get("metadata", {}).get("ownerReferences") or ()
                ours = any(r.get("uid") == uid for r in owners)
        return KubernetesSeen(
            service=service,
            ours=ours,
            slices=tuple(item for item in slices if item is not None),
            services=tuple(key.name for key in mine),
        )

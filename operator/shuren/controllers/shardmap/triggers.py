"""Which ShardMaps a change elsewhere concerns: pure look-ups in the store, for whoever feeds the queue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from shuren.controllers.identity import apps_by_id, cluster_of, declare_app_indexes
from shuren.domain.identity import ObjectKey
from shuren.domain.service.values import ServiceName
from shuren.domain.shardmap.snapshot import MapName
from shuren.ports.kubernetes import MESOS_CLUSTERS, NAMESPACES, PAAS_APPS, PAAS_SERVICES, SHARD_MAPS, Object
from shuren.runtime.store import Store

_CLUSTER = "shardmap-cluster"
_NAMESPACE = "shardmap-namespace"
_APP = "shardmap-app"
_SERVICE = "shardmap-service"
_SERVICE_APP = "shardmap-service-app"


def declare_indexes(store: Store) -> None:
    """Call once, before objects arrive."""
    store.index(SHARD_MAPS.kind, _CLUSTER, _clusters)
    store.index(SHARD_MAPS.kind, _NAMESPACE, lambda item: (str(item["metadata"].get("namespace", "")),))
    store.index(SHARD_MAPS.kind, _APP, lambda item: _named(item, "appRef"))
    store.index(SHARD_MAPS.kind, _SERVICE, lambda item: _named(item, "serviceRef"))
    declare_app_indexes(store)
    store.index(PAAS_SERVICES.kind, _SERVICE_APP, _service_apps)


def on_object(store: Store, key: ObjectKey, item: Object | None) -> frozenset[ObjectKey]:  # noqa: ARG001 - as for the other kinds
    """ShardMaps to look at after an object has changed or gone (`item` is its new or last state)."""
    match key.kind:
        case SHARD_MAPS.kind:
            return frozenset({key})
        case PAAS_APPS.kind:
            return of_app(store, key)
        case PAAS_SERVICES.kind:
            return of_service(store, key)
        case MESOS_CLUSTERS.kind:
            return on_cluster(store, key.name)
        case NAMESPACES.kind:
            return store.lookup(SHARD_MAPS.kind, _NAMESPACE, key.name)
        case _:
            return frozenset()


def on_cluster(store: Store, cluster: str) -> frozenset[ObjectKey]:
    """ShardMaps to look at after a cluster's settings, agents or reachability have changed."""
    return store.lookup(SHARD_MAPS.kind, _CLUSTER, cluster)


def on_apps(store: Store, cluster: str, app_ids: Iterable[str]) -> frozenset[ObjectKey]:
    """ShardMaps to look at after apps have changed in a cluster."""
    return frozenset().union(*(of_app(store, key) for key in apps_by_id(store, cluster, app_ids)))


def on_maps(store: Store, cluster: str, names: Iterable[MapName]) -> frozenset[ObjectKey]:
    """ShardMaps to look at after something has changed in a cluster's ZooKeeper."""
    keys = frozenset(ObjectKey(kind=SHARD_MAPS.kind, namespace=name.namespace, name=name.name) for name in names)
    return keys & on_cluster(store, cluster)


def of_app(store: Store, key: ObjectKey) -> frozenset[ObjectKey]:
    """ShardMaps whose members are the tasks of a PaasApp."""
    return store.lookup(SHARD_MAPS.kind, _APP, f"{key.namespace}/{key.name}")


def of_service(store: Store, key: ObjectKey) -> frozenset[ObjectKey]:
    """ShardMaps whose members are the endpoints of a PaasService."""
    return store.lookup(SHARD_MAPS.kind, _SERVICE, f"{key.namespace}/{key.name}")


def of_services_of(store: Store, key: ObjectKey) -> frozenset[ObjectKey]:
    """ShardMaps whose members are the endpoints of a PaasService that names a PaasApp."""
    services = store.lookup(PAAS_SERVICES.kind, _SERVICE_APP, f"{key.namespace}/{key.name}")
    return frozenset().union(*(store.lookup(SHARD_MAPS.kind, _SERVICE, f"{s.namespace}/{s.name}") for s in services))


def services_of(store: Store, cluster: str, names: Iterable[ServiceName]) -> frozenset[ObjectKey]:
    """ShardMaps whose members are the endpoints of services that have changed in a cluster."""
    found = frozenset().union(*(store.lookup(SHARD_MAPS.kind, _SERVICE, f"{n.namespace}/{n.name}") for n in names))
    return found & on_cluster(store, cluster)


def _clusters(item: Object) -> Iterable[str]:
    return {cluster_of(item.get("spec") or {})} - {""}


def _named(item: Object, field: str) -> tuple[str, ...]:
    spec: Mapping[str, Any] = item.get("spec") or {}
    members = spec.get("members")
    reference = members.get(field) if isinstance(members, Mapping) else None
    name = reference.get("name") if isinstance(reference, Mapping) else None
    return (f"{item['metadata'].get('namespace', '')}/{name}",) if isinstance(name, str) else ()


def _service_apps(item: Object) -> Iterable[str]:
    namespace = item["metadata"].get("namespace", "")
    backends = (item.get("spec") or {}).get("backends")
    for backend in backends if isinstance(backends, list) else ():
        reference = backend.get("appRef") if isinstance(backend, dict) else None
        if isinstance(reference, dict):
            yield f"{namespace}/{reference.get('name')}"

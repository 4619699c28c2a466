"""Which PaasServices a change elsewhere concerns: pure look-ups in the store, for whoever feeds the queue."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from shuren.controllers.identity import apps_by_id, cluster_of, declare_app_indexes
from shuren.controllers.paasservice import reading
from shuren.domain.identity import ObjectKey
from shuren.ports.kubernetes import ENDPOINT_SLICES, MESOS_CLUSTERS, NAMESPACES, PAAS_APPS, PAAS_SERVICES, SERVICES, Object
from shuren.runtime.store import Store

_CLUSTER = "paasservice-cluster"
_NAMESPACE = "paasservice-namespace"
_APP = "paasservice-app"
_WANTS = "paasservice-wants"
_OWNER = "paasservice-owner"
_ANY = "*"


def declare_indexes(store: Store) -> None:
    """Call once, before objects arrive."""
    store.index(PAAS_SERVICES.kind, _CLUSTER, _clusters)
    store.index(PAAS_SERVICES.kind, _NAMESPACE, lambda item: (str(item["metadata"].get("namespace", "")),))
    store.index(PAAS_SERVICES.kind, _APP, _apps)
    store.index(PAAS_SERVICES.kind, _WANTS, _wants)
    declare_app_indexes(store)
    for kind in (SERVICES.kind, ENDPOINT_SLICES.kind):
        store.index(kind, _OWNER, _owners)


def on_object(store: Store, key: ObjectKey, item: Object | None) -> frozenset[ObjectKey]:
    """PaasServices to look at after an object has changed or gone (`item` is its new or last state)."""
    match key.kind:
        case PAAS_SERVICES.kind:
            # itself, and those that want what it has
            wanted = _collides_with(item) if item is not None else ()
            return frozenset({key}).union(*(store.lookup(PAAS_SERVICES.kind, _WANTS, want) for want in wanted))
        case PAAS_APPS.kind:
            return of_app(store, key)
        case MESOS_CLUSTERS.kind:
            return on_cluster(store, key.name)
        case NAMESPACES.kind:
            return store.lookup(PAAS_SERVICES.kind, _NAMESPACE, key.name)
        case SERVICES.kind | ENDPOINT_SLICES.kind:
            names = _owner_names(item) if item is not None else ()
            return frozenset(ObjectKey(kind=PAAS_SERVICES.kind, namespace=key.namespace, name=name) for name in names)
        case _:
            return frozenset()


def on_cluster(store: Store, cluster: str) -> frozenset[ObjectKey]:
    """PaasServices to look at after a cluster's settings, agents or reachability have changed."""
    return store.lookup(PAAS_SERVICES.kind, _CLUSTER, cluster)


def on_apps(store: Store, cluster: str, app_ids: Iterable[str]) -> frozenset[ObjectKey]:
    """PaasServices to look at after apps have changed in a cluster."""
    return frozenset().union(*(of_app(store, key) for key in apps_by_id(store, cluster, app_ids)))


def holders(store: Store, cluster: str, field: str, value: str) -> frozenset[ObjectKey]:
    """PaasServices that want this of a cluster."""
    return store.lookup(PAAS_SERVICES.kind, _WANTS, f"{cluster} {_kind_of_want(field)} {value}")


def owned(store: Store, kind: str, uid: str) -> tuple[ObjectKey, ...]:
    """Services or EndpointSlices that a PaasService owns."""
    return tuple(sorted(store.lookup(kind, _OWNER, uid)))


def of_app(store: Store, key: ObjectKey) -> frozenset[ObjectKey]:
    """PaasServices that name a PaasApp, or that select in its namespace."""
    # selectors are few: whoever selects in this namespace looks for itself
    named = store.lookup(PAAS_SERVICES.kind, _APP, f"{key.namespace}/{key.name}")
    return named | store.lookup(PAAS_SERVICES.kind, _APP, f"{key.namespace}/{_ANY}")


def _clusters(item: Object) -> Iterable[str]:
    names = {cluster_of(item.get("spec") or {}), str((item.get("status") or {}).get("cluster") or "")}
    return names - {""}


def _apps(item: Object) -> Iterable[str]:
    namespace = item["metadata"].get("namespace", "")
    backends = (item.get("spec") or {}).get("backends")
    for backend in backends if isinstance(backends, list) else ():
        if isinstance(backend, dict) and isinstance(backend.get("appRef"), dict):
            yield f"{namespace}/{backend['appRef'].get('name')}"
        elif isinstance(backend, dict) and "selector" in backend:
            yield f"{namespace}/{_ANY}"


def _wants(item: Object) -> tuple[str, ...]:
    return _named(item, reading.wants)


def _collides_with(item: Object) -> tuple[str, ...]:
    return _named(item, reading.collides_with)


def _named(item: Object, ask: Callable[[ObjectKey, Mapping[str, Any]], tuple[tuple[str, str], ...]]) -> tuple[str, ...]:
    spec = item.get("spec") or {}
    key = ObjectKey(kind=PAAS_SERVICES.kind, namespace=str(item["metadata"].get("namespace", "")), name=item["metadata"]["name"])
    return tuple(f"{cluster_of(spec)} {_kind_of_want(field)} {value}" for field, value in ask(key, spec))


def _kind_of_want(field: str) -> str:
    """Two formats of records exclude each other in one folder too."""
    return "records" if field.startswith("spec.discovery") else field


def _owners(item: Object) -> Iterable[str]:
    references = item["metadata"].get("ownerReferences") or ()
    return tuple(r["uid"] for r in references if r.get("kind") == PAAS_SERVICES.kind)


def _owner_names(item: Object) -> Iterable[str]:
    references = item["metadata"].get("ownerReferences") or ()
    return tuple(r["name"] for r in references if r.get("kind") == PAAS_SERVICES.kind)

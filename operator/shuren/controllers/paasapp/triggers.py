"""Which PaasApps a change elsewhere concerns: pure look-ups in the store, for whoever feeds the queue."""

from __future__ import annotations

from collections.abc import Iterable

from shuren.controllers.identity import apps_by_id, apps_in, cluster_of, declare_app_indexes
from shuren.controllers.paasapp import history, reading
from shuren.domain.identity import ObjectKey
from shuren.ports.kubernetes import CONTROLLER_REVISIONS, MESOS_CLUSTERS, NAMESPACES, PAAS_APPS, Object
from shuren.runtime.store import Store

_CLUSTER = "paasapp-cluster"
_DEPENDS_ON = "paasapp-depends-on"


def declare_indexes(store: Store) -> None:
    """Call once, before objects arrive."""
    history.declare_index(store)
    declare_app_indexes(store)
    store.index(PAAS_APPS.kind, _CLUSTER, _clusters)
    store.index(PAAS_APPS.kind, _DEPENDS_ON, _dependencies)


def on_object(store: Store, key: ObjectKey, item: Object | None) -> frozenset[ObjectKey]:
    """PaasApps to look at after an object has changed or gone (`item` is its new or last state)."""
    match key.kind:
        case PAAS_APPS.kind:
            # itself, and those that wait for it
            return frozenset({key}) | store.lookup(PAAS_APPS.kind, _DEPENDS_ON, f"{key.namespace}/{key.name}")
        case MESOS_CLUSTERS.kind:
            return on_cluster(store, key.name)
        case NAMESPACES.kind:
            return apps_in(store, key.name)
        case CONTROLLER_REVISIONS.kind:
            owner = history.owner_of(item) if item is not None else None
            return frozenset({owner}) if owner is not None else frozenset()
        case _:
            return frozenset()


def on_cluster(store: Store, cluster: str) -> frozenset[ObjectKey]:
    """PaasApps to look at after a cluster's settings, tenancy or reachability have changed."""
    return store.lookup(PAAS_APPS.kind, _CLUSTER, cluster)


def on_apps(store: Store, cluster: str, app_ids: Iterable[str], owners: Iterable[ObjectKey] = ()) -> frozenset[ObjectKey]:
    """PaasApps to look at after apps, or claims on them, have changed in a cluster; `owners` are the holders of these claims."""
    return apps_by_id(store, cluster, app_ids) | frozenset(owners)


def _clusters(item: Object) -> Iterable[str]:
    asked = cluster_of(item.get("spec") or {})
    former = str((item.get("status") or {}).get("cluster") or "")
    return [name for name in ((asked,) if asked == former else (asked, former)) if name]


def _dependencies(item: Object) -> Iterable[str]:
    namespace = item["metadata"].get("namespace", "")
    return [f"{namespace}/{name}" for name in reading.depends_on(item.get("spec") or {})]

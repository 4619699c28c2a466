"""What a raw spec says of which app and which cluster it is about: read by every kind, even of a spec that is broken elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from shuren.domain.app.pair import pair
from shuren.domain.app.progress import split
from shuren.domain.identity import ObjectKey
from shuren.domain.marathon.paths import absolute, default_id
from shuren.ports.kubernetes import PAAS_APPS, Object
from shuren.runtime.store import Store


def app_id_of(namespace: str, name: str, spec: Mapping[str, Any]) -> str:
    """The Marathon id that the spec of a PaasApp of that name asks for."""
    given = spec.get("id")
    return absolute(given) if isinstance(given, str) and given else default_id(namespace, name)


def cluster_of(spec: Mapping[str, Any]) -> str:
    """The name of the MesosCluster, empty when the spec is broken there."""
    reference = spec.get("clusterRef")
    name = reference.get("name") if isinstance(reference, dict) else None
    return name if isinstance(name, str) else ""


def lives_on(item: Object) -> str:
    """The Marathon id of the app that a PaasApp lives on: the one that its spec names, or after gated roll-outs the one beside."""
    metadata = item["metadata"]
    named = app_id_of(str(metadata.get("namespace", "")), metadata["name"], item.get("spec") or {})
    told = split(item.get("status") or {}).lives_on
    return told if told in pair(named) else named


# ---------------------------------------------------------------------------------------------------- PaasApps by these, for every kind

_BY_ID = "app-id"
_BY_NAMESPACE = "app-namespace"


def declare_app_indexes(store: Store) -> None:
    """Call before objects arrive; calling it again does no harm."""
    store.index(PAAS_APPS.kind, _BY_ID, _app_ids)
    store.index(PAAS_APPS.kind, _BY_NAMESPACE, lambda item: (str(item["metadata"].get("namespace", "")),))


def apps_by_id(store: Store, cluster: str, app_ids: Iterable[str]) -> frozenset[ObjectKey]:
    """PaasApps that ask for one of these ids in a cluster, or that have an app of it by a gated roll-out."""
    return frozenset().union(*(store.lookup(PAAS_APPS.kind, _BY_ID, f"{cluster}{app_id}") for app_id in app_ids))


def apps_in(store: Store, namespace: str) -> frozenset[ObjectKey]:
    """PaasApps of a namespace."""
    return store.lookup(PAAS_APPS.kind, _BY_NAMESPACE, namespace)


def _app_ids(item: Object) -> Iterable[str]:
    spec, metadata = item.get("spec") or {}, item["metadata"]
    named, told = app_id_of(str(metadata.get("namespace", "")), metadata["name"], spec), split(item.get("status") or {})
    cluster = cluster_of(spec)
    return tuple(dict.fromkeys(f"{cluster}{app_id}" for app_id in (named, told.lives_on, told.beside) if app_id))

"""What `kubectl apply` of these resources would leave in the API server, asked of the API server itself without keeping it (dry run).

So defaults, validation, CEL and fields of other managers are exactly as they would be. Where that may not be asked, or cannot be yet (the
namespace comes with the same files), the resource stands as it is written.
"""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from shuren.cli.exits import Failed
from shuren.cli.session import OURS, Session, key_of
from shuren.clients.kubernetes.client import api_version
from shuren.domain.errors import Conflict, Denied, Gone, Invalid
from shuren.domain.identity import ObjectKey
from shuren.ports.kubernetes import CONFIG_MAPS, NAMESPACES, SECRETS, Object, Resource
from shuren.runtime.store import Store

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_VALUES = (SECRETS, CONFIG_MAPS)
_NEW = "(not created yet)"


@dataclass(kw_only=True)
class Overlay:
    """`ours` are the resources of this product as they would be; `values` Secrets and ConfigMaps; `namespaces` those that are given.

    `others` counts resources of kinds that are no business of this product.
    """

    ours: dict[ObjectKey, Object] = field(default_factory=dict)
    values: dict[ObjectKey, Object] = field(default_factory=dict)
    namespaces: dict[ObjectKey, Object] = field(default_factory=dict)
    others: int = 0

    def onto(self, store: Store) -> None:
        """Lay everything over what is stored."""
        for key, item in (*self.namespaces.items(), *self.ours.items()):
            store.remove(key)
            store.put(key, copy.deepcopy(item))


async def overlay(session: Session, objects: Iterable[Object]) -> Overlay:
    """Ask for each of them. Failed names the resource and the field that the API server refuses."""
    found = Overlay()
    for item in objects:
        resource = _resource(item)
        if resource is None:
            found.others += 1
            continue
        given = _placed(session, resource, item)
        key = key_of(resource, given)
        if resource in _VALUES:
            found.values[key] = _with_data(given)
        elif resource is NAMESPACES:
            stored = await session.kubernetes.get(NAMESPACES, "", key.name)
            found.namespaces[key] = _merged_namespace(given, stored)
        else:
            found.ours[key] = await _would_be(session, resource, key, given)
    return found


def _resource(item: Mapping[str, Any]) -> Resource | None:
    for resource in (*OURS, *_VALUES, NAMESPACES):
        if (item["apiVersion"], item["kind"]) == (api_version(resource), resource.kind):
            return resource
    if str(item["apiVersion"]).startswith("paas.shurenyun.com/"):
        known = ", ".join(resource.kind for resource in OURS)
        raise Failed(f"{item['kind']}/{item['metadata']['name']}: {item['apiVersion']} {item['kind']} is unknown here (known: {known})")
    return None


def _placed(session: Session, resource: Resource, item: Mapping[str, Any]) -> Object:
    given = copy.deepcopy(dict(item))
    if resource.namespaced:
        given["metadata"].setdefault("namespace", session.namespace or "default")
    else:
        given["metadata"].pop("namespace", None)
    return given


def _with_data(item: Object) -> Object:
    """A Secret's stringData as the API server stores it."""
    plain = item.get("stringData")
    if isinstance(plain, dict):
        item["data"] = {**(item.get("data") or {}), **{k: base64.b64encode(str(v).encode()).decode() for k, v in plain.items()}}
    return item


def _merged_namespace(given: Object, stored: Object | None) -> Object:
    labels = {**((stored or {}).get("metadata", {}).get("labels") or {}), **(given["metadata"].get("labels") or {})}
    metadata = {**(stored or {}).get("metadata", {}), "name": given["metadata"]["name"]}
    return {"metadata": {**metadata, "labels": {**labels, "kubernetes.io/metadata.name": metadata["name"]}}}


async def _would_be(session: Session, resource: Resource, key: ObjectKey, given: Object) -> Object:
    stored = await session.kubernetes.get(resource, key.namespace, key.name)
    try:
        return await _dry_run(session, resource, key, given, stored)
    except Invalid as error:
        raise Failed(f"{key} is refused by the API server: {error}") from error
    except Gone:
        if stored is None:  # its namespace is not there yet, or there is no such kind, which the next list tells
            return _as_written(given, stored)
        raise
    except (Denied, Conflict):
        return _as_written(given, stored)


async def _dry_run(session: Session, resource: Resource, key: ObjectKey, given: Object, stored: Object | None) -> Object:
    kubernetes = session.kubernetes
    if stored is None:
        made = await kubernetes.post(resource, key.namespace, given, name=key.name, dry_run=True)
        made["metadata"]["uid"] = _NEW
        return made
    applied = (stored["metadata"].get("annotations") or {}).get(_LAST_APPLIED)
    if applied:
        patch = three_way(json.loads(applied), given)
        return await kubernetes.patch_merge(resource, key.namespace, key.name, patch, dry_run=True)
    manager = _manager(stored)
    body = {key_: value for key_, value in given.items() if key_ != "status"}
    body["metadata"] = {k: v for k, v in body["metadata"].items() if k not in {"managedFields", "resourceVersion", "uid"}}
    return await kubernetes.apply(resource, key.namespace, key.name, body, manager=manager, force=True, dry_run=True)


def _manager(stored: Mapping[str, Any]) -> str:
    """Who applies this resource: kubectl, Argo CD, Flux. Whoever it is would take away what is not in the file any more."""
    for entry in stored["metadata"].get("managedFields") or ():
        if entry.get("operation") == "Apply" and not entry.get("subresource") and not str(entry.get("manager", "")).startswith("shuren"):
            return str(entry["manager"])
    return "kubectl"


def three_way(before: Mapping[str, Any], after: Mapping[str, Any]) -> Object:
    """A merge patch as `kubectl apply` makes it: what is given, and null for what was applied before and is not given any more."""
    patch: Object = {}
    for name, value in after.items():
        old = before.get(name)
        patch[name] = three_way(old if isinstance(old, Mapping) else {}, value) if isinstance(value, Mapping) else value
    patch |= dict.fromkeys(before.keys() - after.keys())
    return patch


def _as_written(given: Object, stored: Object | None) -> Object:
    """Without the API server's help: the spec as it is written, the rest as it is stored."""
    if stored is None:
        return {**given, "metadata": {"uid": _NEW, "generation": 1, **given["metadata"]}}
    generation = int(stored["metadata"].get("generation", 1)) + (0 if given.get("spec") == stored.get("spec") else 1)
    metadata = {**stored["metadata"], "generation": generation}
    for name in ("labels", "annotations"):
        metadata[name] = {**(stored["metadata"].get(name) or {}), **(given["metadata"].get(name) or {})}
    return {**stored, **given, "metadata": metadata, "status": stored.get("status") or {}}

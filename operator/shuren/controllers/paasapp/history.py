"""Revisions as ControllerRevision objects, owned by their PaasApp and collected with it.

The API server lets nobody change `data`, so what a revision turned out to be stands in annotations. `data` holds the spec and keyed
digests of what it refers to, never a value of a Secret.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from typing import Any

from shuren.domain.app.plan import MarkRevision, RecordRevision
from shuren.domain.app.snapshot import OWNER_LABEL, Revision, RevisionState
from shuren.domain.errors import Conflict, Exists
from shuren.domain.identity import ObjectKey
from shuren.ports.kubernetes import CONTROLLER_REVISIONS, PAAS_APPS, Kubernetes, Object
from shuren.runtime.store import Store

INDEX = "owner"
_PREFIX = "paas.shurenyun.com/"
_STATE = _PREFIX + "state"
_HASH = _PREFIX + "revision"
_APP_ID = _PREFIX + "app-id"
_VERSION = _PREFIX + "marathon-version"
_FAILURE = _PREFIX + "failure"
_BESIDE = _PREFIX + "beside"
_ABORTED = _PREFIX + "aborted"
_LONGEST_NAME = 220


def declare_index(store: Store) -> None:
    """Find revisions by the uid of their owner. Their data is not kept: of many thousand revisions hardly one is ever gone back to."""
    store.leave_out(CONTROLLER_REVISIONS.kind, "data")
    store.index(CONTROLLER_REVISIONS.kind, INDEX, lambda item: _labels(item, OWNER_LABEL))


def _labels(item: Object, name: str) -> tuple[str, ...]:
    value = (item["metadata"].get("labels") or {}).get(name)
    return (value,) if value else ()


def owner_of(item: Object) -> ObjectKey | None:
    """The PaasApp that a ControllerRevision belongs to; None when it is not one of ours."""
    for reference in item["metadata"].get("ownerReferences", ()):
        if reference.get("kind") == PAAS_APPS.kind and str(reference.get("apiVersion", "")).startswith(PAAS_APPS.group + "/"):
            return ObjectKey(kind=PAAS_APPS.kind, namespace=item["metadata"].get("namespace", ""), name=str(reference["name"]))
    return None


class History:
    """Reads from the store what revisions turned out to be, writes to the API server; what it wrote is in the store at once."""

    def __init__(self, *, kubernetes: Kubernetes, store: Store) -> None:
        self._kubernetes = kubernetes
        self._store = store

    def of(self, uid: str) -> tuple[Revision, ...]:
        """All revisions of a resource, oldest first."""
        keys = self._store.lookup(CONTROLLER_REVISIONS.kind, INDEX, uid)
        found = [item for key in keys if (item := self._store.get(key)) is not None]
        return tuple(sorted((revision_of(item) for item in found), key=lambda r: r.number))

    async def spec_of(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        """The spec that a revision recorded, read from the API server."""
        item = await self._kubernetes.get(CONTROLLER_REVISIONS, namespace, name)
        data = (item or {}).get("data") or {}
        spec = data.get("spec")
        return spec if isinstance(spec, Mapping) else None

    async def record(self, resource: Object, action: RecordRevision, *, digests: Mapping[str, str]) -> None:
        """Write a revision down before it is tried; one that exists is tried again under the new number.

        With `adopted`, Marathon's version of an app that runs exactly this already, it is good.
        """
        metadata = resource["metadata"]
        state = RevisionState.GOOD if action.adopted else RevisionState.TRYING
        notes: dict[str, str] = {_STATE: state.value, _APP_ID: action.app_id}
        notes |= {key: value for key, value in ((_VERSION, action.adopted), (_BESIDE, action.beside)) if value}
        known = next((r for r in self.of(metadata["uid"]) if r.hash == action.revision), None)
        if known is not None:
            cleared: dict[str, str | None] = {_FAILURE: None, _BESIDE: None, _ABORTED: None}
            await self._annotate(metadata["namespace"], known.name, cleared | notes, number=action.number)
            return
        body = _object(resource, revision=action.revision, number=action.number, digests=digests)
        body["metadata"]["annotations"] |= notes
        try:
            self._remember(await self._kubernetes.create(CONTROLLER_REVISIONS, metadata["namespace"], body))
        except Exists as error:
            await self._make_room(metadata["namespace"], body["metadata"]["name"], metadata["uid"])
            raise Conflict(f"ControllerRevision {body['metadata']['name']} was there already; looking again") from error

    async def mark(self, namespace: str, action: MarkRevision) -> None:
        """Note what a revision turned out to be."""
        changes: dict[str, str | None] = {_STATE: action.state.value, _FAILURE: action.failure or None}
        changes[_ABORTED] = "true" if action.aborted else None
        if action.state is RevisionState.GOOD:
            changes[_BESIDE] = None  # it is where the resource lives from now on
        if action.marathon_version:
            changes[_VERSION] = action.marathon_version
        await self._annotate(namespace, action.name, changes)

    async def forget(self, namespace: str, name: str) -> None:
        """Delete an old revision."""
        await self._kubernetes.delete(CONTROLLER_REVISIONS, namespace, name)
        self._store.remove(_key(namespace, name))

    async def _annotate(self, namespace: str, name: str, changes: Mapping[str, str | None], *, number: int | None = None) -> None:
        item = self._store.get(_key(namespace, name))
        if item is None:
            raise Conflict(f"ControllerRevision {namespace}/{name} is not known yet")
        annotations = dict(item["metadata"].get("annotations") or {})
        for key, value in changes.items():
            if value is None:
                annotations.pop(key, None)
            else:
                annotations[key] = value
        operations: list[Object] = [
            {"op": "test", "path": "/metadata/uid", "value": item["metadata"]["uid"]},
            {"op": "add", "path": "/metadata/annotations", "value": annotations},
        ]
        if number is not None:
            operations.append({"op": "replace", "path": "/revision", "value": number})
        self._store.answered(_key(namespace, name), await self._kubernetes.patch_json(CONTROLLER_REVISIONS, namespace, name, operations))

    async def _make_room(self, namespace: str, name: str, owner: str) -> None:
        """The name is taken: by our own object, which the store has yet to hear of, or by what a deleted namesake left behind."""
        item = await self._kubernetes.get(CONTROLLER_REVISIONS, namespace, name)
        if item is None:
            return
        if owner in _labels(item, OWNER_LABEL):
            self._remember(item)
        else:
            await self._kubernetes.delete(CONTROLLER_REVISIONS, namespace, name, uid=item["metadata"]["uid"])

    def _remember(self, item: Object) -> None:
        self._store.put(_key(item["metadata"]["namespace"], item["metadata"]["name"]), item)


def _key(namespace: str, name: str) -> ObjectKey:
    return ObjectKey(kind=CONTROLLER_REVISIONS.kind, namespace=namespace, name=name)


def revision_of(item: Object) -> Revision:
    """A ControllerRevision of ours, read."""
    metadata = item["metadata"]
    notes = metadata.get("annotations") or {}
    states = {state.value: state for state in RevisionState}
    return Revision(
        name=metadata["name"],
        hash=(metadata.get("labels") or {}).get(_HASH, ""),
        number=int(item.get("revision", 0)),
        state=states.get(notes.get(_STATE, ""), RevisionState.TRYING),
        app_id=notes.get(_APP_ID, ""),
        marathon_version=notes.get(_VERSION, ""),
        failure=notes.get(_FAILURE, ""),
        beside=notes.get(_BESIDE, ""),
        aborted=notes.get(_ABORTED) == "true",
    )


_UNRECORDED = frozenset({"management", "rollout", "dependsOn", "instances"})


def _object(resource: Object, *, revision: str, number: int, digests: Mapping[str, str]) -> Object:
    metadata = resource["metadata"]
    # long names are cut, so the uid keeps them apart; a re-created namesake gets names of its own
    suffix = hashlib.sha256(metadata["uid"].encode()).hexdigest()[:5]
    spec = {key: value for key, value in resource["spec"].items() if key not in _UNRECORDED}
    return {
        "apiVersion": "apps/v1",
        "kind": CONTROLLER_REVISIONS.kind,
        "metadata": {
            "name": f"{metadata['name'][:_LONGEST_NAME].rstrip('-.')}-{suffix}-{revision}",
            "namespace": metadata["namespace"],
            "labels": {OWNER_LABEL: metadata["uid"], _HASH: revision},
            "annotations": {},
            "ownerReferences": [
                {
                    "apiVersion": f"{PAAS_APPS.group}/{PAAS_APPS.version}",
                    "kind": PAAS_APPS.kind,
                    "name": metadata["name"],
                    "uid": metadata["uid"],
                    "controller": True,
                }
            ],
        },
        "data": {"spec": copy.deepcopy(spec), "digests": dict(digests)},
        "revision": number,
    }

"""Our finalizers on objects: put on before anything outside is touched, taken off last of all."""

from __future__ import annotations

from shuren.domain.errors import Gone
from shuren.domain.identity import ObjectKey
from shuren.ports.kubernetes import Kubernetes, Object, Resource
from shuren.runtime.store import Store


async def set_finalizer(
    *, kubernetes: Kubernetes, store: Store, resource: Resource, key: ObjectKey, seen: Object, finalizer: str, present: bool
) -> None:
    """Make the finalizer present or absent, by a JSON patch that tests uid and resourceVersion. Conflict when the object has changed."""
    item = store.get(key) or seen
    metadata = item["metadata"]
    before = list(metadata.get("finalizers") or ())
    after = [f for f in before if f != finalizer] + ([finalizer] if present else [])
    operations: list[Object] = [
        {"op": "test", "path": "/metadata/uid", "value": metadata["uid"]},
        {"op": "test", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
        {"op": "add", "path": "/metadata/finalizers", "value": after},
    ]
    try:
        answer = await kubernetes.patch_json(resource, key.namespace, key.name, operations)
    except Gone:
        if present:
            raise
        return
    store.answered(key, answer)

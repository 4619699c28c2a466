"""List-and-diff: finds what a watch has missed.

Watches lose deletes in a 410 gap, and a stalled watch loses everything, silently. Now and then the metadata of all objects of a kind is
listed and compared with the store. What differs gets a moment to arrive by itself (an event may be on its way); what is still missing then
is read and brought in as if the watch had told it. A list that fails, or that is not whole, changes nothing: it never means "all deleted".
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from shuren.domain.errors import ShurenError
from shuren.domain.identity import ObjectKey
from shuren.ports.clock import Clock
from shuren.ports.kubernetes import Kubernetes, Resource
from shuren.ports.source import Sink
from shuren.runtime.store import Store, version_of

log = logging.getLogger(__name__)

_GRACE = 5.0
"""Seconds that a difference gets to go away by itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Missed:
    """What the store does not know yet: objects to fetch again, and objects that are gone."""

    changed: tuple[ObjectKey, ...]
    deleted: tuple[ObjectKey, ...]

    def __bool__(self) -> bool:
        return bool(self.changed or self.deleted)


def compare(
    *, kind: str, store: Store, listed: Iterable[dict[str, Any]], listed_version: int, namespaces: frozenset[str] | None = None
) -> Missed:
    """Compare a full list (objects or their metadata) with the store.

    `listed_version` is the list's own resourceVersion (0: not known): an object that the store has at a newer version than that was created
    after the list was taken, and is not missing from it. `namespaces` limits the comparison to what was listed (None: all).
    """
    changed: list[ObjectKey] = []
    seen: set[ObjectKey] = set()
    for item in listed:
        metadata = item["metadata"]
        key = ObjectKey(kind=kind, namespace=metadata.get("namespace", ""), name=metadata["name"])
        seen.add(key)
        known = store.identity(key)
        if known is None or known.uid != metadata.get("uid", "") or known.version < version_of(item):
            changed.append(key)
    deleted = [
        key
        for key in store.keys(kind)
        if key not in seen
        and (namespaces is None or key.namespace in namespaces)
        and not (listed_version and (known := store.identity(key)) is not None and known.version > listed_version)
    ]
    return Missed(changed=tuple(sorted(changed)), deleted=tuple(sorted(deleted)))


class Resync:
    """Compares every `period` seconds (± a fifth, so that replicas do not list together). `missed` is called for each change found."""

    def __init__(
        self,
        *,
        kubernetes: Kubernetes,
        resources: Sequence[Resource],
        namespaces: Sequence[str],
        store: Store,
        sink: Sink,
        clock: Clock,
        chance: Callable[[], float],
        period: float = 600.0,
        missed: Callable[[ObjectKey], None] = lambda _: None,
    ) -> None:
        self._kubernetes = kubernetes
        self._resources = tuple(resources)
        self._namespaces = tuple(namespaces)
        self._store = store
        self._sink = sink
        self._clock = clock
        self._chance = chance
        self._period = period
        self._missed = missed

    async def run(self) -> None:
        """Compare until cancelled; the first time after one period, since sources deliver what exists at the start."""
        while True:
            await self._clock.sleep(self._period * (0.8 + 0.4 * self._chance()))
            for resource in self._resources:
                try:
                    await self.compare(resource)
                except ShurenError as error:
                    log.warning("list and diff of %s: %s", resource.plural, error)

    async def compare(self, resource: Resource) -> int:
        """Bring in what the watch of one kind has missed; returns how many changes that were."""
        found = 0
        for namespace in self._namespaces if resource.namespaced and self._namespaces else ("",):
            if await self._differences(resource, namespace):
                await self._clock.sleep(_GRACE)
                # a second list: what is different in both has not come by itself
                found += await self._catch_up(resource, await self._differences(resource, namespace))
        return found

    async def _differences(self, resource: Resource, namespace: str) -> Missed:
        page = await self._kubernetes.list(resource, namespace=namespace, metadata_only=True)
        return compare(
            kind=resource.kind,
            store=self._store,
            listed=page.items,
            listed_version=int(page.resource_version) if page.resource_version.isdigit() else 0,
            namespaces=frozenset({namespace}) if namespace else None,
        )

    async def _catch_up(self, resource: Resource, missed: Missed) -> int:
        found = 0
        for key in missed.changed:
            item = await self._kubernetes.get(resource, key.namespace, key.name)
            known = self._store.identity(key)
            if item is not None and (known is None or known.version < version_of(item)):
                self._tell(key)
                self._sink.upsert(key, item, initial=False)
                found += 1
        for key in missed.deleted:
            # each is asked for by name: a list with holes must not delete anything
            if await self._kubernetes.get(resource, key.namespace, key.name) is None and key in self._store:
                self._tell(key)
                self._sink.delete(key)
                found += 1
        return found

    def _tell(self, key: ObjectKey) -> None:
        log.warning("the watch has missed a change of %s", key)
        self._missed(key)

"""Where watches end: the store is brought up to date, and keys are enqueued. Nothing here can fail or wait."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from shuren.domain.identity import ObjectKey
from shuren.operator.metrics import Metrics
from shuren.ports.kubernetes import Object
from shuren.runtime.queue import Priority, WorkQueue
from shuren.runtime.store import Store

Related = Callable[[ObjectKey, Object, bool], Iterable[ObjectKey]]
"""Keys whose decision depends on this object (a Secret's apps, an app's dependants, a cluster's apps), given its new or last state.

The flag tells that no more than its status has changed."""


class Intake:
    """The `Sink` of every source. `reconciled` are the kinds that have a controller; `namespaces` the only ones looked at (empty: all)."""

    def __init__(
        self,
        *,
        store: Store,
        queue: WorkQueue[ObjectKey],
        metrics: Metrics,
        reconciled: frozenset[str],
        related: Related,
        namespaces: frozenset[str] = frozenset(),
    ) -> None:
        self._store = store
        self._queue = queue
        self._metrics = metrics
        self._reconciled = reconciled
        self._related = related
        self._namespaces = namespaces

    def upsert(self, key: ObjectKey, item: Object, *, initial: bool) -> None:
        """See the port. What only echoes a status that was written does not run the object's own controller again."""
        if self._foreign(key):
            return
        self._metrics.watched(key.kind, "initial" if initial else "upsert")
        before = self._store.identity(key)
        if not self._store.put(key, item):
            return
        after = self._store.identity(key)
        status_only = key.kind in self._reconciled and before is not None and after is not None and before.asked == after.asked
        if key.kind in self._reconciled and not status_only:
            # an object without status looks finished to kstatus: it must not wait behind those that have one
            fresh = not initial or "status" not in item
            self._queue.add(key, priority=Priority.USER if fresh else Priority.RESYNC)
        if before is not None or not initial:
            self._enqueue_related(key, item, status_only=status_only)

    def delete(self, key: ObjectKey) -> None:
        """See the port."""
        if self._foreign(key):
            return
        self._metrics.watched(key.kind, "delete")
        last = self._store.remove(key)
        if key.kind in self._reconciled:
            self._queue.forget(key)
            self._queue.add(key, priority=Priority.USER)
        if last is not None:
            self._enqueue_related(key, last, status_only=False)

    def _foreign(self, key: ObjectKey) -> bool:
        return bool(self._namespaces and key.namespace and key.namespace not in self._namespaces)

    def _enqueue_related(self, key: ObjectKey, item: Object, *, status_only: bool) -> None:
        for related in self._related(key, item, status_only):
            self._queue.add(related, priority=Priority.EXTERNAL)

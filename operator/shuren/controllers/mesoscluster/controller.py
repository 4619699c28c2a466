"""One pass over one MesosCluster: read spec and Secrets, keep the connection as asked for, write how it is."""

from __future__ import annotations

from shuren.controllers.estate.cluster import Cluster
from shuren.controllers.estate.registry import Estate
from shuren.controllers.mesoscluster import gather, status
from shuren.controllers.mesoscluster.gather import References
from shuren.domain.cluster import Blocked, ClusterSnapshot, Obstacle, decide
from shuren.domain.errors import Denied, Gone, Invalid
from shuren.domain.identity import ObjectKey
from shuren.ports.clock import Clock
from shuren.ports.events import EventRecorder
from shuren.ports.kubernetes import Kubernetes, Object
from shuren.ports.leadership import Leadership
from shuren.runtime.controller import Outcome
from shuren.runtime.store import Store

_BEHIND = 0.2
"""Seconds until the watch has usually brought our own last write."""


class MesosClusterController:
    """See the module. Fulfils `runtime.controller.Controller`."""

    def __init__(
        self,
        *,
        store: Store,
        kubernetes: Kubernetes,
        estate: Estate,
        references: References,
        recorder: EventRecorder,
        leadership: Leadership,
        clock: Clock,
    ) -> None:
        self._store = store
        self._kubernetes = kubernetes
        self._estate = estate
        self._references = references
        self._recorder = recorder
        self._leadership = leadership
        self._clock = clock
        self._shown_at: dict[ObjectKey, float] = {}

    async def reconcile(self, key: ObjectKey) -> Outcome:
        """One pass."""
        item = self._store.get(key)
        if item is None:
            self._references.require(key, frozenset())
            self._shown_at.pop(key, None)
            await self._estate.remove(key.name)
            return Outcome()
        if self._store.behind(key):
            return Outcome(requeue_after=_BEHIND)
        obstacle = await self._connect(key, item)
        if obstacle is not None:
            self._estate.block(key.name, obstacle)
        shown_at, now = self._shown_at.get(key), self._clock.monotonic()
        shown_for = None if shown_at is None else now - shown_at
        report = decide(_snapshot(item, self._estate.get(key.name), obstacle, shown_for=shown_for))
        after = status.compose(item, report, now=self._clock.now())
        before = item.get("status") or {}
        if not report.speaks or after == before:
            return Outcome(requeue_after=report.requeue_after)
        self._leadership.check()
        try:
            self._store.answered(key, await status.write(self._kubernetes, item, after))
        except Gone:
            return Outcome()
        if status.numbers(after) != status.numbers(before):
            self._shown_at[key] = now
        status.announce(self._recorder, item, report)
        return Outcome(requeue_after=report.requeue_after)

    async def _connect(self, key: ObjectKey, item: Object) -> Obstacle | None:
        """Bring the connection to what the spec says; what is in the way, if anything is."""
        try:
            settings = gather.settings(item)
        except Invalid as error:
            return Obstacle(kind=Blocked.STALLED, reason="InvalidSpec", message=str(error))
        try:
            secrets = self._references.require(key, gather.wanted_secrets(settings))
        except Denied as error:
            return Obstacle(kind=Blocked.WAITING, reason="SecretsDenied", message=str(error))
        if secrets is None:
            if self._estate.get(key.name) is not None:
                return None
            return Obstacle(kind=Blocked.WAITING, reason="ReadingSecrets", message="the Secrets that the spec refers to are being read")
        credentials = gather.credentials(settings, secrets)
        if isinstance(credentials, Obstacle):
            return credentials
        try:
            await self._estate.ensure(settings, credentials)
        except Invalid as error:
            return Obstacle(kind=Blocked.STALLED, reason="InvalidSettings", message=str(error))
        return None


def _snapshot(item: Object, cluster: Cluster | None, obstacle: Obstacle | None, *, shown_for: float | None) -> ClusterSnapshot:
    metadata = item["metadata"]
    name, generation = str(metadata["name"]), int(metadata.get("generation", 0))
    previous = item.get("status") or {}
    if cluster is None:
        return ClusterSnapshot(name=name, generation=generation, obstacle=obstacle, previous=previous)
    return ClusterSnapshot(
        name=name,
        generation=generation,
        grace=cluster.settings.unreachable_grace,
        obstacle=obstacle or cluster.obstacle,
        marathon=cluster.marathon_view,
        info=cluster.mirror.info,
        synced=cluster.synced,
        synced_at=cluster.mirror.synced_at,
        zookeeper=cluster.zookeeper_view,
        zookeeper_version=cluster.zookeeper_version,
        leading=cluster.leading,
        age=cluster.age,
        shown_for=shown_for,
        mesos=cluster.mesos_view,
        summary=cluster.summary,
        counts=cluster.counts,
        deletions_wait=cluster.deletion_wait,
        previous=previous,
    )

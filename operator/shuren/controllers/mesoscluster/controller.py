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
        clock: Clock,
    ) -> None:
        self._store = store
        self._kubernetes = kubernetes
        self._estate = estate
        self._references = references
        self._recorder = recorder
        self._clock = clock

    async def reconcile(self, key: ObjectKey) -> Outcome:
        """One pass."""
        item = self._store.get(key)
        if item is None:
            self._references.require(key, frozenset())
            await self._estate.remove(key.name)
            return Outcome()
        if self._store.behind(key):
            return Outcome(requeue_after=_BEHIND)
        obstacle = await self._connect(key, item)
        if obstacle is not None:
            self._estate.block(key.name, obstacle)
        report = decide(_snapshot(item, self._estate.get(key.name), obstacle))
        status.announce(self._recorder, item, report)
        try:
            answer = await status.write(self._kubernetes, item, status.compose(item, report, now=self._clock.now()))
        except Gone:
            return Outcome()
        if answer is not None:
            self._store.wrote(key, answer)
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


def _snapshot(item: Object, cluster: Cluster | None, obstacle: Obstacle | None) -> ClusterSnapshot:
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
        leading=cluster.leading,
        mesos=cluster.mesos_view,
        summary=cluster.summary,
        counts=cluster.counts,
        deletions_wait=cluster.deletion_wait,
        previous=previous,
    )

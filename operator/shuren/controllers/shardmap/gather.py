"""Look at the world once: everything that a decision about one ShardMap needs, as one snapshot. Reads pictures and stores only."""

from __future__ import annotations

from dataclasses import dataclass

from shuren.controllers.shardmap import reading
from shuren.controllers.shardmap.gates import Gatekeeper
from shuren.controllers.shardmap.members import Sources
from shuren.controllers.shardmap.reading import Reading
from shuren.controllers.shardmap.world import Cluster, Clusters
from shuren.domain.app.snapshot import ClusterView, Problem
from shuren.domain.identity import ObjectKey
from shuren.domain.shardmap.snapshot import DRAIN_LABEL, MapSeen, MapSnapshot, Memory, Source
from shuren.ports.clock import Clock
from shuren.ports.kubernetes import MESOS_CLUSTERS, NAMESPACES, Object
from shuren.runtime.store import Store


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A snapshot, with the resource's JSON and how it was read."""

    snapshot: MapSnapshot
    item: Object
    reading: Reading


class Gatherer:
    """See the module."""

    def __init__(self, *, store: Store, clusters: Clusters, clock: Clock, gates: Gatekeeper) -> None:
        self._store = store
        self._clusters = clusters
        self._clock = clock
        self._sources = Sources(store=store, gates=gates)

    def look(self, key: ObjectKey, item: Object, memory: Memory) -> Seen:
        """The snapshot of one resource."""
        read = reading.read(key, item)
        cluster = self._clusters.get(read.cluster)
        shards = cluster.shards if cluster is not None else None
        seen = shards.get(read.resource.name) if shards is not None else None
        snapshot = MapSnapshot(
            resource=read.resource,
            cluster=cluster.view if cluster is not None else ClusterView(name=read.cluster, exists=False, connected=False, synced=False),
            epoch=cluster.epoch if cluster is not None else 0,
            path=shards.path(read.resource.name) if shards is not None else "",
            spec=read.spec,
            problem=read.problem or self._tenancy_problem(read, cluster),
            source=self._source(read, cluster, seen),
            drains=self._drains(read.cluster, cluster),
            seen=seen,
            memory=memory,
            now=self._clock.now(),
            monotonic=self._clock.monotonic(),
        )
        return Seen(snapshot=snapshot, item=item, reading=read)

    def _source(self, read: Reading, cluster: Cluster | None, seen: MapSeen | None) -> Source:
        if cluster is None or read.members is None or seen is None:
            return Source()
        return self._sources.look(read.resource.key.namespace, read.members, cluster, seen.live)

    def _drains(self, name: str, cluster: Cluster | None) -> frozenset[str]:
        """Host names of agents that are to be emptied: by a label of the MesosCluster, or by what Mesos was told."""
        item = self._store.get(ObjectKey(kind=MESOS_CLUSTERS.kind, namespace="", name=name)) or {}
        labels = (item.get("metadata") or {}).get("labels") or {}
        labelled = {
            label.removeprefix(DRAIN_LABEL) for label, value in labels.items() if label.startswith(DRAIN_LABEL) and value != "false"
        }
        return frozenset(labelled) | (cluster.agents_going if cluster is not None else frozenset())

    def _tenancy_problem(self, read: Reading, cluster: Cluster | None) -> Problem | None:
        if cluster is None or not cluster.view.connected:
            return None
        namespace = self._store.get(ObjectKey(kind=NAMESPACES.kind, namespace="", name=read.resource.key.namespace))
        labels = dict((namespace or {}).get("metadata", {}).get("labels") or {})
        if cluster.tenancy.namespaces.matches(labels):
            return None
        message = (
            f"namespace {read.resource.key.namespace} may not use cluster {read.cluster}: its labels do not match "
            "spec.tenancy.namespaces of the MesosCluster; label the namespace or choose another cluster"
        )
        return Problem(reason="NotAllowed", message=message)

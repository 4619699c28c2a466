"""What this controller needs of the outside besides Kubernetes objects; the estate fulfils it, tests fulfil it with less."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from shuren.domain.app.snapshot import ClusterView
from shuren.domain.marathon.state import ActualApp
from shuren.domain.service.observe import Agent
from shuren.domain.service.snapshot import Published
from shuren.domain.service.values import ServiceName
from shuren.domain.shardmap.plan import PublishTable, WriteMove
from shuren.domain.shardmap.snapshot import MapName, MapSeen
from shuren.domain.tenancy import Tenancy


class Shards(Protocol):
    """Shard maps in one cluster's ZooKeeper. Writes check the fencing epoch; Conflict: something was not as known, look again."""

    def path(self, name: MapName) -> str:
        """Where a map lies, as clients and members are given it."""

    def get(self, name: MapName) -> MapSeen | None:
        """What lies there of a map; None while that is not known."""

    async def take(self, name: MapName, *, uid: str) -> None:
        """Make the map's node ours."""

    async def publish(self, name: MapName, change: PublishTable) -> None:
        """Publish the next generation."""

    async def order(self, name: MapName, order: WriteMove) -> None:
        """Write a move."""

    async def over(self, name: MapName, shard: int) -> None:
        """Remove a move."""

    async def forget(self, name: MapName, generations: Iterable[int]) -> None:
        """Delete old generations."""

    async def withdraw(self, name: MapName) -> None:
        """Remove everything of a map."""


class Cluster(Protocol):
    """One MesosCluster as this kind sees it, connected or not yet."""

    @property
    def view(self) -> ClusterView:
        """What decisions need to know of it."""

    @property
    def tenancy(self) -> Tenancy:
        """Which namespaces may use it."""

    @property
    def epoch(self) -> int:
        """The fencing epoch, 0 before it was taken over."""

    @property
    def agent_places(self) -> Mapping[str, Agent]:
        """Where agents are, by Mesos' id."""

    @property
    def agents_known(self) -> bool:
        """Whether Mesos has told where its agents are, or is not asked at all."""

    @property
    def agents_going(self) -> frozenset[str]:
        """Host names of agents that Mesos was told to drain or deactivate."""

    @property
    def shards(self) -> Shards | None:
        """Shard maps; None before it is connected."""

    def app(self, app_id: str) -> ActualApp | None:
        """The app in the picture of Marathon."""

    def published(self, service: ServiceName) -> Published | None:
        """What lies in ZooKeeper of a service; None while that is not known."""


class Clusters(Protocol):
    """All clusters that are declared."""

    def get(self, name: str) -> Cluster | None:
        """The cluster of a MesosCluster; None when there is no such resource."""

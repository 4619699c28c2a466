"""What this controller needs of the outside besides Kubernetes objects; the estate fulfils it, tests fulfil it with less."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from shuren.domain.app.snapshot import ClusterView
from shuren.domain.identity import Claim
from shuren.domain.marathon.state import ActualApp
from shuren.domain.service.observe import Agent
from shuren.domain.service.plan import Publish
from shuren.domain.service.records import RecordFolder
from shuren.domain.service.snapshot import BalancerSeen, Published
from shuren.domain.service.values import ServiceName
from shuren.domain.tenancy import Tenancy


class Cluster(Protocol):
    """One MesosCluster as this kind sees it, connected or not yet."""

    @property
    def view(self) -> ClusterView:
        """What decisions need to know of it."""

    @property
    def tenancy(self) -> Tenancy:
        """Which namespaces may use it."""

    @property
    def zone(self) -> str:
        """Under which services have their names; empty: they have none."""

    @property
    def record_roots(self) -> tuple[str, ...]:
        """Paths below which discovery records may be kept."""

    @property
    def agent_places(self) -> Mapping[str, Agent]:
        """Address and zone of agents by Mesos' id."""

    def app(self, app_id: str) -> ActualApp | None:
        """The app in the picture of Marathon."""

    def claim(self, app_id: str) -> Claim | None:
        """Which PaasApp owns the id, as last read."""

    @property
    def published_services(self) -> frozenset[ServiceName]:
        """All services of which something lies in ZooKeeper; empty while that is not known."""

    def published(self, service: ServiceName) -> Published | None:
        """What lies in ZooKeeper of a service; None while that is not known."""

    async def strangers(self, folders: Iterable[RecordFolder], journal: Mapping[str, str]) -> Mapping[str, tuple[str, ...]]:
        """Nodes of others in folders of records, by folder."""

    async def publish(self, change: Publish) -> None:
        """Bring about what a plan says of a service; checks leadership and epoch."""

    async def withdraw(self, service: ServiceName) -> None:
        """Remove everything of a service."""

    def balancers(self, group: str, service: ServiceName) -> tuple[BalancerSeen, ...]:
        """Load balancers of a group with what each has acknowledged of a service."""


class Clusters(Protocol):
    """All clusters that are declared."""

    def get(self, name: str) -> Cluster | None:
        """The cluster of a MesosCluster; None when there is no such resource."""

    def names(self) -> tuple[str, ...]:
        """All of them."""

"""The declared clusters, connected or not: what tells "there is no such MesosCluster" from "it is not connected yet"."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from shuren.controllers.estate.cluster import Cluster
from shuren.controllers.estate.registry import Estate
from shuren.controllers.estate.writes import Unwritable
from shuren.domain.app.snapshot import ClusterView, Problem
from shuren.domain.cluster import Obstacle
from shuren.domain.errors import Unreachable
from shuren.domain.guard import DeletionLimit
from shuren.domain.identity import Claim, ObjectKey
from shuren.domain.marathon.state import ActualApp, Deployment, QueueItem
from shuren.domain.service.observe import Agent
from shuren.domain.service.plan import Publish
from shuren.domain.service.records import RecordFolder
from shuren.domain.service.snapshot import BalancerSeen, Published
from shuren.domain.service.values import ServiceName
from shuren.domain.tenancy import Tenancy


@dataclass(frozen=True, kw_only=True)
class Unconnected:
    """A MesosCluster that is declared but not connected: nothing is known, nothing can be written."""

    name: str
    obstacle: Obstacle | None = None

    @property
    def view(self) -> ClusterView:
        """Not connected, and why if it is known."""
        problem = None if self.obstacle is None else Problem(reason=self.obstacle.reason, message=self.obstacle.message)
        return ClusterView(name=self.name, connected=False, synced=False, problem=problem)

    @property
    def tenancy(self) -> Tenancy:
        """Nothing is decided before the cluster is connected; the neutral value."""
        return Tenancy()

    @property
    def deletion_limit(self) -> DeletionLimit:
        """The neutral value."""
        return DeletionLimit()

    @property
    def deletion_wait(self) -> float:
        """No deletion before it is connected."""
        return float("inf")

    @property
    def app_count(self) -> int:
        """None known."""
        return 0

    @property
    def writes(self) -> Unwritable:
        """Every write raises Unreachable."""
        return Unwritable(name=self.name)

    async def permit_deletion(self) -> None:
        """Raises Unreachable."""
        raise Unreachable(f"MesosCluster {self.name} is not connected")

    def app(self, app_id: str) -> ActualApp | None:  # noqa: ARG002 - nothing is known
        """None."""
        return None

    def deployment(self, app_id: str) -> Deployment | None:  # noqa: ARG002 - nothing is known
        """None."""
        return None

    def queue_item(self, app_id: str) -> QueueItem | None:  # noqa: ARG002 - nothing is known
        """None."""
        return None

    def shows(self, app_id: str, since: float) -> bool:  # noqa: ARG002 - nothing is known
        """No."""
        return False

    def look_at(self, app_id: str) -> None:
        """Everything is read when it is connected."""

    def claim(self, app_id: str) -> Claim | None:  # noqa: ARG002 - nothing is known
        """None."""
        return None

    def claims_of(self, uid: str) -> tuple[Claim, ...]:  # noqa: ARG002 - nothing is known
        """None."""
        return ()

    async def take(self, app_id: str, *, uid: str, key: ObjectKey, replaces: str = "") -> None:  # noqa: ARG002 - refused whatever it is
        """Raise Unreachable."""
        raise Unreachable(f"MesosCluster {self.name} is not connected yet")

    async def release(self, app_id: str, *, uid: str) -> None:  # noqa: ARG002 - refused whatever it is
        """Raise Unreachable."""
        raise Unreachable(f"MesosCluster {self.name} is not connected yet")

    @property
    def zone(self) -> str:
        """None known."""
        return ""

    @property
    def record_roots(self) -> tuple[str, ...]:
        """None known."""
        return ()

    @property
    def agent_places(self) -> Mapping[str, Agent]:
        """None known."""
        return {}

    @property
    def published_services(self) -> frozenset[ServiceName]:
        """None known."""
        return frozenset()

    def published(self, service: ServiceName) -> Published | None:  # noqa: ARG002 - nothing is known
        """Not known."""
        return None

    async def strangers(self, folders: Iterable[RecordFolder], journal: Mapping[str, str]) -> Mapping[str, tuple[str, ...]]:  # noqa: ARG002 - nothing is known
        """None known."""
        return {}

    async def publish(self, change: Publish) -> None:  # noqa: ARG002 - refused whatever it is
        """Raise Unreachable."""
        raise Unreachable(f"MesosCluster {self.name} is not connected yet")

    async def withdraw(self, service: ServiceName) -> None:  # noqa: ARG002 - refused whatever it is
        """Raise Unreachable."""
        raise Unreachable(f"MesosCluster {self.name} is not connected yet")

    @property
    def epoch(self) -> int:
        """None held."""
        return 0

    @property
    def agents_known(self) -> bool:
        """No."""
        return False

    @property
    def agents_going(self) -> frozenset[str]:
        """None known."""
        return frozenset()

    @property
    def shards(self) -> None:
        """Not known."""
        return

    def balancers(self, group: str, service: ServiceName) -> tuple[BalancerSeen, ...]:  # noqa: ARG002 - nothing is known
        """None known."""
        return ()


class Roster:
    """Clusters by name for the app kinds. `declared` gives the names of all MesosClusters that exist in Kubernetes."""

    def __init__(self, *, estate: Estate, declared: Callable[[], Collection[str]]) -> None:
        self._estate = estate
        self._declared = declared

    def get(self, name: str) -> Cluster | Unconnected | None:
        """The cluster; None when there is no such MesosCluster."""
        cluster = self._estate.get(name)
        if cluster is not None:
            return cluster
        return Unconnected(name=name, obstacle=self._estate.obstacle(name)) if name in self._declared() else None

    def names(self) -> tuple[str, ...]:
        """All that exist or are still connected, sorted."""
        return tuple(sorted({*self._declared(), *(cluster.name for cluster in self._estate.clusters)}))

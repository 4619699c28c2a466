"""Who hears that something of a cluster may have changed."""

from __future__ import annotations

from typing import Protocol

from shuren.domain.service.values import ServiceName
from shuren.domain.shardmap.snapshot import MapName


class Listener(Protocol):
    """Hears that something may have changed; whoever listens enqueues keys and returns at once."""

    def apps_changed(self, cluster: str, app_ids: frozenset[str]) -> None:
        """These apps, their deployments, queue items or claims look different, or were just read again because somebody asked."""

    def apps_claimed(self, cluster: str, app_ids: frozenset[str]) -> None:
        """These free ids were claimed here: news for everybody but those who claimed them."""

    def all_changed(self, cluster: str) -> None:
        """Every app of the cluster: first picture read, root taken over, settings changed."""

    def reachability_changed(self, cluster: str) -> None:
        """Every app of the cluster: given up after the grace period, or back after that. None of it is urgent."""

    def cluster_changed(self, cluster: str) -> None:
        """The cluster itself: reachability, leadership of its root, counts."""

    def services_changed(self, cluster: str, services: frozenset[ServiceName] | None) -> None:
        """What is published or acknowledged of these services (None: of all), or where agents are, looks different."""

    def shards_changed(self, cluster: str, maps: frozenset[MapName] | None) -> None:
        """What lies in ZooKeeper of these shard maps (None: of all), or where agents are, looks different."""

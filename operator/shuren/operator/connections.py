"""Makes connections to clusters for `controllers.estate`, which knows no client."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from shuren.clients.http import Observe
from shuren.clients.parts import Parts, digest, marathon_credentials, parts_of
from shuren.clients.zookeeper.client import ZooKeeperClient
from shuren.controllers.estate.connection import Connection
from shuren.domain.cluster import ClusterSettings, Credentials
from shuren.domain.errors import Unreachable
from shuren.domain.identity import ObjectKey
from shuren.ports.kubernetes import MESOS_CLUSTERS
from shuren.ports.marathon import Marathon
from shuren.ports.mesos import Mesos
from shuren.ports.zookeeper import FencedZooKeeper
from shuren.runtime.workers import beside

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Open:
    """One open connection."""

    parts: Parts
    path: str
    sasl: bool
    connecting: asyncio.Task[None]

    @property
    def marathon(self) -> Marathon:
        return self.parts.marathon

    @property
    def mesos(self) -> Mesos | None:
        return self.parts.mesos

    @property
    def zookeeper(self) -> FencedZooKeeper:
        return self.parts.root

    async def rotate(self, credentials: Credentials) -> None:
        self.parts.marathon.credentials = marathon_credentials(credentials)
        if credentials.zookeeper is not None:
            await self.parts.zookeeper.admit(digest(credentials.zookeeper, sasl=self.sasl), self.path)

    async def close(self) -> None:
        self.connecting.cancel()
        await asyncio.gather(self.connecting, return_exceptions=True)
        await self.parts.close()


class Factory:
    """The `ConnectionFactory` on real clients. `observe` gets every request to Marathon, Mesos and ZooKeeper.

    `on_error` hears of a ZooKeeper that has not answered for `zookeeper_patience` seconds.
    """

    def __init__(
        self, *, observe: Observe | None = None, on_error: Callable[[str], None] = log.warning, zookeeper_patience: float = 15.0
    ) -> None:
        self._observe = observe
        self._on_error = on_error
        self._zookeeper_patience = zookeeper_patience

    async def connect(self, settings: ClusterSettings, credentials: Credentials) -> Connection:
        """See the port."""
        parts = parts_of(settings, credentials, observe=self._observe)
        connecting = asyncio.create_task(
            self._connect(parts.zookeeper, settings),
            name=f"zookeeper of {settings.name}",
            context=beside(ObjectKey(kind=MESOS_CLUSTERS.kind, namespace="", name=settings.name)),
        )
        return _Open(parts, settings.zookeeper.root, settings.zookeeper.sasl, connecting)

    async def _connect(self, zookeeper: ZooKeeperClient, settings: ClusterSettings) -> None:
        """Start the session; the client goes on trying by itself when nobody answers."""
        try:
            await zookeeper.connect(within=self._zookeeper_patience)
        except Unreachable as error:
            self._on_error(f"{settings.name}: {error}")

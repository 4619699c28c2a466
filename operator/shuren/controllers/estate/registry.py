"""All connected clusters by name. The MesosCluster controller puts them in; every kind takes them out."""

from __future__ import annotations

import logging
from collections.abc import Callable

from shuren.controllers.estate.cluster import Cluster
from shuren.controllers.estate.connection import Connection, ConnectionFactory, Identity
from shuren.controllers.estate.listener import Listener
from shuren.controllers.estate.pace import Pace
from shuren.domain.cluster import ClusterSettings, Credentials, Obstacle
from shuren.domain.errors import Denied, Transient
from shuren.ports.clock import Clock
from shuren.ports.leadership import Leadership
from shuren.runtime.limits import Breaker

log = logging.getLogger(__name__)


class Estate:
    """See the module. Clusters stay connected, and their pictures warm, while this process does not lead."""

    def __init__(
        self,
        *,
        factory: ConnectionFactory,
        leadership: Leadership,
        identity: Identity,
        listener: Listener,
        clock: Clock,
        pace: Pace | None = None,
        chance: Callable[[], float] = lambda: 0.5,
        coming: Callable[[], int] = lambda: 0,
    ) -> None:
        self._factory = factory
        self._leadership = leadership
        self._identity = identity
        self._listener = listener
        self._clock = clock
        self._pace = pace
        self._chance = chance
        self._coming = coming
        self._clusters: dict[str, Cluster] = {}
        self._obstacles: dict[str, Obstacle] = {}

    def get(self, name: str) -> Cluster | None:
        """The cluster, None when no usable MesosCluster of that name is connected (yet)."""
        return self._clusters.get(name)

    def obstacle(self, name: str) -> Obstacle | None:
        """Why a cluster is not connected, as the MesosCluster controller found; None when it is or nobody has looked yet."""
        return self._obstacles.get(name)

    def block(self, name: str, obstacle: Obstacle) -> None:
        """The spec of a MesosCluster, or a Secret it names, cannot be used. A connection that was made before stays in use."""
        before, self._obstacles[name] = self._obstacles.get(name), obstacle
        if before != obstacle and name not in self._clusters:
            self._listener.all_changed(name)

    @property
    def clusters(self) -> tuple[Cluster, ...]:
        """All connected clusters, by name."""
        return tuple(self._clusters[name] for name in sorted(self._clusters))

    @property
    def open_breakers(self) -> int:
        """How many Marathons are left alone for a while because they do not answer."""
        return sum(1 for cluster in self._clusters.values() if cluster.target.breaker.state is not Breaker.CLOSED)

    async def ensure(self, settings: ClusterSettings, credentials: Credentials) -> Cluster:
        """Connect, reconnect or adapt so that the cluster is as asked for; nothing happens when it is.

        Returns without waiting for the parts to answer. Raises Invalid when no connection can be made of these settings; a connection
        that exists stays in use then.
        """
        cluster = self._clusters.get(settings.name)
        if cluster is None:
            return await self._connect(settings, credentials)
        if not (cluster.settings.same_connection(settings) and cluster.credentials.same_connection(credentials)):
            log.info("settings or credentials of %s changed, connecting anew", settings.name)
            return await self._renew(cluster, settings, credentials)
        if cluster.settings != settings:
            cluster.reconfigure(settings)
            self._listener.all_changed(settings.name)
        if cluster.credentials != credentials:
            log.info("credentials of %s changed", settings.name)
            await cluster.rotate(credentials)
        return cluster

    async def _renew(self, cluster: Cluster, settings: ClusterSettings, credentials: Credentials) -> Cluster:
        """A new connection in place of the old one.

        When ZooKeeper's password changes, a leader's old session first hands over what only it may touch, and stays while it cannot.
        """
        connection = await self._factory.connect(settings, credentials)
        changed = cluster.settings.same_connection(settings) and cluster.credentials.zookeeper != credentials.zookeeper
        try:
            if changed and self._leadership.held():
                await cluster.connection.rotate(credentials)
        except Transient:
            await connection.close()
            raise
        except Denied as error:
            # the old password is no good any more; maybe the new one is, by somebody else's doing
            log.warning("records of %s could not be handed over to the new password: %s", settings.name, error)
        # the old hand must not raise the epoch over the new one
        await cluster.stop()
        fresh = self._take_in(connection, settings, credentials)
        fresh.inherit(cluster)
        await cluster.connection.close()
        return fresh

    async def _connect(self, settings: ClusterSettings, credentials: Credentials) -> Cluster:
        return self._take_in(await self._factory.connect(settings, credentials), settings, credentials)

    def _take_in(self, connection: Connection, settings: ClusterSettings, credentials: Credentials) -> Cluster:
        cluster = Cluster(
            settings=settings,
            credentials=credentials,
            connection=connection,
            leadership=self._leadership,
            identity=self._identity,
            listener=self._listener,
            clock=self._clock,
            pace=self._pace,
            chance=self._chance,
            coming=self._coming,
        )
        self._clusters[settings.name] = cluster
        self._obstacles.pop(settings.name, None)
        cluster.start()
        if self._leadership.held():
            cluster.take_over()
        return cluster

    async def remove(self, name: str) -> None:
        """Forget a cluster whose MesosCluster is gone; nothing outside is changed."""
        cluster = self._clusters.pop(name, None)
        self._obstacles.pop(name, None)
        if cluster is not None:
            await cluster.close()
            self._listener.all_changed(name)

    def start_leading(self) -> None:
        """This process now leads: raise the epoch of every root before anything is written there."""
        for cluster in self._clusters.values():
            cluster.take_over()

    async def close(self) -> None:
        """End all connections."""
        clusters, self._clusters = self.clusters, {}
        for cluster in clusters:
            await cluster.close()

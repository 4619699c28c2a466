"""How a connection to a cluster is made: by a factory that the composition root gives, since controllers know no client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from shuren.domain.cluster import ClusterSettings, Credentials
from shuren.ports.marathon import Marathon
from shuren.ports.mesos import Mesos
from shuren.ports.zookeeper import FencedZooKeeper


class Connection(Protocol):
    """One open connection. `mesos` is None when `spec.mesos` is absent. `zookeeper` is rooted at `spec.zookeeper.root`."""

    @property
    def marathon(self) -> Marathon:
        """The Marathon."""

    @property
    def mesos(self) -> Mesos | None:
        """The Mesos masters."""

    @property
    def zookeeper(self) -> FencedZooKeeper:
        """Our root in ZooKeeper."""

    async def rotate(self, credentials: Credentials) -> None:
        """Use these from the next request on, and hand records that only the old password may touch over to the new one.

        Sessions that are open stay so; new certificates are for the next connection. Unreachable, Denied: not (wholly) done, harmless.
        """

    async def close(self) -> None:
        """End all sessions."""


class ConnectionFactory(Protocol):
    """Makes connections. Returns at once: parts that are away show by their errors later."""

    async def connect(self, settings: ClusterSettings, credentials: Credentials) -> Connection:
        """Open a connection. Invalid when the settings or credentials cannot be used (e.g. a certificate that is none)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """Who writes: this process (`holder`), and the installation that it belongs to, which roots in ZooKeeper are marked with."""

    holder: str
    installation: str

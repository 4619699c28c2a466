"""An estate over one Marathon, one Mesos and one ZooKeeper, all in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from estate_room import FakeFactory, FakeMesos, Heard, pass_time, settings
from lead import Lead
from shuren.clients.fakes.clock import ManualClock
from shuren.clients.fakes.marathon import FakeMarathon
from shuren.clients.fakes.marathon_world import MarathonWorld
from shuren.clients.fakes.zookeeper import ZooTree
from shuren.controllers.estate.cluster import Cluster
from shuren.controllers.estate.connection import Identity
from shuren.controllers.estate.registry import Estate
from shuren.domain.app.snapshot import ClusterView
from shuren.domain.cluster import (
    Amounts,
    Credentials,
    MesosSummary,
)

SUMMARY = MesosSummary(version="1.11.0", leader="m:5050", agents=2, total=Amounts(cpus=8), used=Amounts(cpus=1))


class World:
    """An estate over one Marathon, one Mesos and one ZooKeeper."""

    def __init__(self, summary: MesosSummary = SUMMARY) -> None:
        self.clock = ManualClock()
        self.marathon = FakeMarathon(MarathonWorld(clock=self.clock))
        self.tree = ZooTree()
        self.mesos = FakeMesos(summary)
        self.factory = FakeFactory(marathon=self.marathon, tree=self.tree, mesos=self.mesos)
        self.lead = Lead()
        self.heard = Heard()
        self.marathon.world.foreign_put({"id": "/a", "cmd": "sleep 1", "instances": 0})
        self.marathon.world.settle()
        self.begin()

    def begin(self) -> None:
        """A new operator process."""
        self.estate = Estate(
            factory=self.factory,
            leadership=self.lead,
            identity=Identity(holder="one", installation="here"),
            listener=self.heard,
            clock=self.clock,
        )

    async def ensure(self, credentials: Credentials | None = None, **changes: Any) -> Cluster:
        return await self.estate.ensure(settings(**changes), credentials or Credentials())

    async def pass_time(self, seconds: float) -> None:
        await pass_time(self.clock, seconds)


def view_of(cluster: Cluster) -> ClusterView:
    """Asked anew each time: a type checker takes a property for a constant."""
    return cluster.view


@asynccontextmanager
async def estate_world() -> AsyncIterator[World]:
    world = World()
    try:
        yield world
    finally:
        await world.estate.close()
        assert all(connection.closed for connection in world.factory.made)

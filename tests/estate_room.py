"""A mirror, claims or a whole cluster on fakes, with a clock that only the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from shuren.clients.fakes.clock import ManualClock
from shuren.clients.fakes.marathon import FakeMarathon
from shuren.clients.fakes.marathon_world import MarathonWorld
from shuren.clients.fakes.zookeeper import FakeZooKeeper, ZooTree
from shuren.clients.zookeeper.fenced import FencedRoot
from shuren.controllers.estate.mirror import Mirror
from shuren.controllers.estate.pace import Pace
from shuren.domain.cluster import ClusterSettings, Credentials, MarathonSettings, MesosAgent, MesosSummary, ZooKeeperSettings
from shuren.domain.errors import ShurenError
from shuren.domain.marathon.state import ActualApp, QueueItem
from shuren.domain.service.values import ServiceName
from shuren.domain.shardmap.snapshot import MapName
from shuren.ports.mesos import Mesos

ROOT = "/shuren/test"


@dataclass(kw_only=True)
class Heard:
    """A listener that remembers."""

    apps: list[frozenset[str]] = field(default_factory=list)
    claimed: list[frozenset[str]] = field(default_factory=list)
    all: list[str] = field(default_factory=list)
    reachability: list[str] = field(default_factory=list)
    clusters: list[str] = field(default_factory=list)
    services: list[frozenset[ServiceName] | None] = field(default_factory=list)
    maps: list[frozenset[MapName] | None] = field(default_factory=list)

    def apps_changed(self, cluster: str, app_ids: frozenset[str]) -> None:
        assert cluster
        self.apps.append(app_ids)

    def apps_claimed(self, cluster: str, app_ids: frozenset[str]) -> None:
        assert cluster
        self.claimed.append(app_ids)

    def all_changed(self, cluster: str) -> None:
        self.all.append(cluster)

    def reachability_changed(self, cluster: str) -> None:
        self.reachability.append(cluster)

    def cluster_changed(self, cluster: str) -> None:
        self.clusters.append(cluster)

    def services_changed(self, cluster: str, services: frozenset[ServiceName] | None) -> None:
        assert cluster
        self.services.append(services)

    def shards_changed(self, cluster: str, maps: frozenset[MapName] | None) -> None:
        assert cluster
        self.maps.append(maps)

    def forget(self) -> None:
        self.apps.clear()
        self.all.clear()
        self.reachability.clear()
        self.clusters.clear()

    @property
    def ids(self) -> frozenset[str]:
        return frozenset().union(*self.apps)


async def turns(count: int = 60) -> None:
    """Let everything run that can, while time stands still."""
    for _ in range(count):
        await asyncio.sleep(0)


async def pass_time(clock: ManualClock, seconds: float) -> None:
    """Move the clock, in steps small enough that chains of short sleeps keep up."""
    left = seconds
    await turns()
    while left > 1e-9:
        step = min(left, 1.0)
        await clock.advance(step)
        await turns()
        left -= step


@asynccontextmanager
async def running(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run these beside the test; a mistake in them fails the test."""
    tasks = [asyncio.create_task(coroutine) for coroutine in work]
    await turns()
    try:
        yield
    finally:
        broken = [task.exception() for task in tasks if task.done() and not task.cancelled()]
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
        assert broken == []


class Leisurely(FakeMarathon):
    """A Marathon that takes its time over a list of all apps, or its queue: what it says is as it was at the beginning."""

    def __init__(self, world: MarathonWorld, clock: ManualClock) -> None:
        super().__init__(world)
        self.list_takes = self.queue_takes = 0.0
        self._clock = clock

    async def apps(self) -> tuple[ActualApp, ...]:
        found = await super().apps()
        if self.list_takes:
            await self._clock.sleep(self.list_takes)
        return found

    async def queue(self) -> tuple[QueueItem, ...]:
        found = await super().queue()
        if self.queue_takes:
            await self._clock.sleep(self.queue_takes)
        return found


class Room:
    """A Marathon with some apps, and a mirror of it."""

    def __init__(self, *, apps: int = 3, pace: Pace | None = None, expected: Callable[[], frozenset[str]] = frozenset) -> None:
        self.clock = ManualClock()
        self.world = MarathonWorld(clock=self.clock)
        self.marathon = Leisurely(self.world, self.clock)
        self.heard = Heard()
        self.states = 0
        if apps:
            self.world.update([{"id": f"/a{number}", "cmd": "sleep 1000", "instances": 0} for number in range(apps)])
        self.world.settle()
        self.mirror = Mirror(
            marathon=self.marathon,
            clock=self.clock,
            apps_changed=lambda ids: self.heard.apps_changed("test", ids),
            state_changed=self._state_changed,
            expected=expected,
            pace=pace,
        )

    def _state_changed(self) -> None:
        self.states += 1

    def put(self, app_id: str, *, instances: int = 0, **definition: Any) -> None:
        self.world.foreign_put({"id": app_id, "cmd": "sleep 1000", "instances": instances, **definition})

    def event(self, app_id: str) -> None:
        """An event about an app, whether anything changed or not."""
        self.world.publish("status_update_event", appId=app_id, taskStatus="TASK_RUNNING")

    def looks_stale(self) -> bool:
        """Asked anew each time: a type checker takes a property for a constant."""
        return self.mirror.stale

    def unreachable_since(self) -> float | None:
        """See `looks_stale`."""
        return self.mirror.unreachable_since

    async def pass_time(self, seconds: float) -> None:
        await pass_time(self.clock, seconds)


class FakeMesos:
    """Says what it is told to say, or raises it."""

    def __init__(self, answer: MesosSummary | ShurenError, agents: tuple[MesosAgent, ...] = ()) -> None:
        self.answer = answer
        self.registered = agents

    async def summary(self) -> MesosSummary:
        if isinstance(self.answer, ShurenError):
            raise self.answer
        return self.answer

    async def agents(self) -> tuple[MesosAgent, ...]:
        if isinstance(self.answer, ShurenError):
            raise self.answer
        return self.registered


class FakeConnection:
    """A connection on fakes. `rotations` are the credentials it was given."""

    def __init__(self, marathon: FakeMarathon, tree: ZooTree, mesos: Mesos | None) -> None:
        self.marathon = marathon
        self.session = FakeZooKeeper(tree)
        self.zookeeper = FencedRoot(self.session, ROOT)
        self.mesos = mesos
        self.rotations: list[Credentials] = []
        self.refuse: ShurenError | None = None
        self.closed = False

    async def rotate(self, credentials: Credentials) -> None:
        if self.refuse is not None:
            raise self.refuse
        self.rotations.append(credentials)

    async def close(self) -> None:
        self.closed = True
        await self.zookeeper.close()


class FakeFactory:
    """Makes connections to one Marathon and one ZooKeeper; `refuse` makes it raise."""

    def __init__(self, *, marathon: FakeMarathon, tree: ZooTree, mesos: Mesos | None = None) -> None:
        self.marathon = marathon
        self.tree = tree
        self.mesos = mesos
        self.refuse: ShurenError | None = None
        self.made: list[FakeConnection] = []

    async def connect(self, settings: ClusterSettings, credentials: Credentials) -> FakeConnection:
        assert settings.name
        if self.refuse is not None:
            raise self.refuse
        self.made.append(FakeConnection(self.marathon, self.tree, self.mesos))
        self.made[-1].rotations.append(credentials)
        return self.made[-1]


def settings(name: str = "test", **changes: Any) -> ClusterSettings:
    """Settings of a cluster on the fakes."""
    basis: dict[str, Any] = {
        "name": name,
        "marathon": MarathonSettings(urls=("http://marathon",)),
        "zookeeper": ZooKeeperSettings(hosts=("zk:2181",), root=ROOT),
        "mesos": ("http://mesos",),
    }
    return ClusterSettings(**(basis | changes))

"""One look at a cluster, for those who want to know and never write: what the operator's own picture would be at this moment.

Fulfils what the kinds ask of a cluster (`paasapp.world.Cluster`, `paasservice.world.Cluster`), so that their own gatherers and decisions
run on it unchanged. Nothing is taken over: no lease, no epoch, no claim.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from shuren.controllers.estate.claims import Claims
from shuren.controllers.estate.edge import Edge
from shuren.controllers.estate.published import entry_of, groups_in, services_in, strangers
from shuren.controllers.estate.shard_nodes import SHARDS, look_at
from shuren.controllers.estate.writes import Unwritable
from shuren.domain.app.snapshot import ClusterView
from shuren.domain.cluster import ClusterSettings, MesosAgent, MesosSummary
from shuren.domain.errors import ShurenError, Unreachable
from shuren.domain.guard import wait_before_deleting
from shuren.domain.identity import Claim, ObjectKey
from shuren.domain.marathon.state import ActualApp, Deployment, MarathonInfo, QueueItem
from shuren.domain.service.observe import Agent, place_of
from shuren.domain.service.plan import Publish
from shuren.domain.service.records import RecordFolder
from shuren.domain.service.snapshot import BalancerSeen, Published
from shuren.domain.service.values import ServiceName
from shuren.domain.shardmap.plan import PublishTable, WriteMove
from shuren.domain.shardmap.snapshot import MapName, MapSeen
from shuren.domain.tenancy import Tenancy
from shuren.ports.clock import Clock
from shuren.ports.marathon import Marathon
from shuren.ports.mesos import Mesos
from shuren.ports.zookeeper import FencedZooKeeper


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What was read of one cluster. `error` says which part did not answer; then the rest is worth nothing."""

    info: MarathonInfo = field(default_factory=lambda: MarathonInfo(version="", framework_id=None, leader=None))
    apps: Mapping[str, ActualApp] = field(default_factory=dict)
    deployments: tuple[Deployment, ...] = ()
    queue: Mapping[str, QueueItem] = field(default_factory=dict)
    published: Mapping[ServiceName, Published] = field(default_factory=dict)
    shards: Mapping[MapName, MapSeen] = field(default_factory=dict)
    mesos: MesosSummary | None = None
    agents: tuple[MesosAgent, ...] = ()
    error: ShurenError | None = None


@dataclass(frozen=True, kw_only=True)
class LookedShards:
    """Shard maps as they were seen; every write is refused. What is not there is an empty place."""

    root: str
    seen: Mapping[MapName, MapSeen]

    def path(self, name: MapName) -> str:
        """Where a map lies."""
        return f"{self.root}{SHARDS}/{name}"

    def get(self, name: MapName) -> MapSeen | None:
        """What lies there."""
        return self.seen.get(name, MapSeen())

    async def take(self, name: MapName, *, uid: str) -> None:  # noqa: ARG002 - refused whatever it is
        """Raise Unreachable."""
        raise Unreachable("this only looks")

    async def publish(self, name: MapName, change: PublishTable) -> None:  # noqa: ARG002 - refused whatever it is
        """Raise Unreachable."""
        raise Unreachable("this only looks")

    async def order(self, name: MapName, order: WriteMove) -> None:  # noqa: ARG002 - refused whatever it is
        """Raise Unreachable."""
        raise Unreachable("this only looks")

    async def over(self, name: MapName, shard: int) -> None:  # noqa: ARG002 - refused whatever it is
        """Raise Unreachable."""
        raise Unreachable("this only looks")

    async def forget(self, name: MapName, generations: Iterable[int]) -> None:  # noqa: ARG002 - refused whatever it is
        """Raise Unreachable."""
        raise Unreachable("this only looks")

    async def withdraw(self, name: MapName) -> None:  # noqa: ARG002 - refused whatever it is
        """Raise Unreachable."""
        raise Unreachable("this only looks")


class Survey:
    """See the module. Made by `look`."""

    def __init__(self, *, settings: ClusterSettings, zookeeper: FencedZooKeeper, claims: Claims, edge: Edge, findings: Findings) -> None:
        self.settings = settings
        self.zookeeper = zookeeper
        self.claims = claims
        self.edge = edge
        self.findings = findings

    # ------------------------------------------------------------------------------------------------ for both kinds

    @property
    def name(self) -> str:
        """Of the MesosCluster."""
        return self.settings.name

    @property
    def view(self) -> ClusterView:
        """Connected and just read, or out of reach with what kept us from it."""
        error = self.findings.error
        return ClusterView(
            name=self.name,
            synced=error is None,
            # the grace is for an operator that waits; who looks once says what it found
            unreachable_for=None if error is None else float("inf"),
            silence="Marathon does not answer" if error is None else str(error),
            grace=self.settings.unreachable_grace,
            info=self.findings.info,
            agents=None if self.findings.mesos is None else self.findings.mesos.agents,
            total=None if self.findings.mesos is None else self.findings.mesos.total,
        )

    @property
    def tenancy(self) -> Tenancy:
        """Who may claim which ids."""
        return self.settings.tenancy

    def app(self, app_id: str) -> ActualApp | None:
        """The app."""
        return self.findings.apps.get(app_id)

    # ------------------------------------------------------------------------------------------------ for apps

    @property
    def deletion_wait(self) -> float:
        """As the guard would make the first deletion wait."""
        return wait_before_deleting(self.settings.deletions, apps=len(self.findings.apps), recent=(), now=0.0)

    async def permit_deletion(self) -> None:
        """Raise Unreachable: nothing is changed through here."""
        raise Unreachable(f"{self.name} is only looked at")

    @property
    def writes(self) -> Unwritable:
        """Every write is refused."""
        return Unwritable(name=self.name)

    def deployment(self, app_id: str) -> Deployment | None:
        """The running deployment that touches the app."""
        return next((d for d in self.findings.deployments if app_id in d.affected_apps), None)

    def queue_item(self, app_id: str) -> QueueItem | None:
        """What waits to be launched."""
        return self.findings.queue.get(app_id)

    def shows(self, app_id: str, since: float) -> bool:  # noqa: ARG002 - all of it was read just now
        """Yes."""
        return True

    def look_at(self, app_id: str) -> None:
        """It was."""

    def claim(self, app_id: str) -> Claim | None:
        """Who owns the id."""
        return self.claims.get(app_id)

    def claims_of(self, uid: str) -> tuple[Claim, ...]:
        """All claims of a resource."""
        return self.claims.of(uid)

    async def take(self, app_id: str, *, uid: str, key: ObjectKey, replaces: str = "") -> None:  # noqa: ARG002 - refused whatever it is
        """Raise Unreachable."""
        raise Unreachable("this only looks")

    async def release(self, app_id: str, *, uid: str) -> None:  # noqa: ARG002 - refused whatever it is
        """Raise Unreachable."""
        raise Unreachable("this only looks")

    # ------------------------------------------------------------------------------------------------ for shard maps

    @property
    def epoch(self) -> int:
        """None was taken over."""
        return 0

    @property
    def agents_known(self) -> bool:
        """Whether Mesos has told where its agents are, or is not asked at all."""
        return self.settings.mesos is None or self.findings.mesos is not None

    @property
    def agents_going(self) -> frozenset[str]:
        """Host names of agents that Mesos was told to drain or deactivate."""
        return frozenset(agent.hostname for agent in self.findings.agents if agent.going)

    @property
    def shards(self) -> LookedShards | None:
        """Shard maps; None when ZooKeeper could not be read."""
        return None if self.findings.error is not None else LookedShards(root=self.zookeeper.root, seen=self.findings.shards)

    # ------------------------------------------------------------------------------------------------ for services

    @property
    def zone(self) -> str:
        """Under which services have their names."""
        return self.settings.dns_zone

    @property
    def record_roots(self) -> tuple[str, ...]:
        """Paths below which discovery records may be kept."""
        return self.settings.record_roots

    @property
    def agent_places(self) -> Mapping[str, Agent]:
        """Address and zone of agents by Mesos' id."""
        return {agent.id: place_of(agent) for agent in self.findings.agents}

    @property
    def published_services(self) -> frozenset[ServiceName]:
        """All services of which something lies in ZooKeeper."""
        return frozenset(self.findings.published)

    def published(self, service: ServiceName) -> Published | None:
        """What lies in ZooKeeper of a service; None when it could not be read."""
        return None if self.findings.error is not None else self.findings.published.get(service, Published())

    async def strangers(self, folders: Iterable[RecordFolder], journal: Mapping[str, str]) -> Mapping[str, tuple[str, ...]]:
        """Nodes of others in folders of records."""
        return await strangers(self.zookeeper, folders, journal)

    async def publish(self, change: Publish) -> None:  # noqa: ARG002 - refused whatever it is
        """Raise Unreachable."""
        raise Unreachable("this only looks")

    async def withdraw(self, service: ServiceName) -> None:  # noqa: ARG002 - refused whatever it is
        """Raise Unreachable."""
        raise Unreachable("this only looks")

    def balancers(self, group: str, service: ServiceName) -> tuple[BalancerSeen, ...]:
        """Load balancers of a group with what each has acknowledged of a service."""
        return self.edge.balancers(group, service)


async def look(*, settings: ClusterSettings, marathon: Marathon, mesos: Mesos | None, zookeeper: FencedZooKeeper, clock: Clock) -> Survey:
    """Read a cluster once. A part that does not answer or refuses us shows in the view; nothing is raised for it."""
    claims = Claims(zookeeper=zookeeper, clock=clock, changed=lambda _: None)
    edge = Edge(zookeeper=zookeeper, clock=clock, changed=lambda _: None)
    findings = Findings()
    try:
        info, apps, deployments, queue = await asyncio.gather(marathon.info(), marathon.apps(), marathon.deployments(), marathon.queue())
        await claims.read()
        await edge.read()
        groups = await groups_in(zookeeper)
        published = {service: (await entry_of(zookeeper, service, groups)).published for service in await services_in(zookeeper)}
        findings = Findings(
            info=info,
            apps={app.id: app for app in apps},
            deployments=deployments,
            queue={item.app_id: item for item in queue},
            published=published,
            shards={name: await look_at(zookeeper, name) for name in map(MapName.parse, await zookeeper.children(SHARDS) or ())},
        )
    except ShurenError as error:
        findings = Findings(error=error)
    else:
        findings = await _with_mesos(findings, mesos)
    return Survey(settings=settings, zookeeper=zookeeper, claims=claims, edge=edge, findings=findings)


async def _with_mesos(findings: Findings, mesos: Mesos | None) -> Findings:
    """Mesos tells of agents and their addresses; without it decisions go by what Marathon says."""
    if mesos is None:
        return findings
    try:
        summary, agents = await asyncio.gather(mesos.summary(), mesos.agents())
    except ShurenError:
        return findings
    return replace(findings, mesos=summary, agents=agents)

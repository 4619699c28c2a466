"""The cluster of a small world as a PaasApp controller sees it: Marathon and ZooKeeper in memory, read anew at each question."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from direct_writes import DirectWrites
from lead import Lead
from shuren.clients.fakes.clock import ManualClock
from shuren.clients.fakes.crash import Moment
from shuren.clients.fakes.marathon import FakeMarathon
from shuren.clients.fakes.marathon_world import MarathonWorld
from shuren.clients.fakes.zookeeper import FakeZooKeeper, ZooTree
from shuren.clients.zookeeper.fenced import FencedRoot
from shuren.controllers.estate.deletions import Deletions
from shuren.domain import claims
from shuren.domain.app.snapshot import ClusterView, Problem
from shuren.domain.claims import ClaimChange
from shuren.domain.errors import Throttled
from shuren.domain.guard import DeletionLimit
from shuren.domain.identity import Claim, ObjectKey
from shuren.domain.marathon.state import ActualApp, Deployment, QueueItem
from shuren.domain.tenancy import Tenancy
from shuren.ports.kubernetes import MESOS_CLUSTERS
from shuren.ports.zookeeper import Create, SetData
from shuren.runtime.store import Store

INSTALLATION = "test"


class Site:
    """One Mesos cluster: its Marathon's world and its ZooKeeper, which outlive every operator process."""

    def __init__(self, name: str, clock: ManualClock) -> None:
        self.name = name
        self.clock = clock
        self.marathon = MarathonWorld(clock=clock)
        self.tree = ZooTree()
        self.tenancy = Tenancy()
        self.deletions = DeletionLimit(share=1.0, floor=1000)
        self.unreachable_since: float | None = None
        self.read = True
        self.problem: Problem | None = None
        self.agents: int | None = None
        self.stale: dict[str, tuple[float, ActualApp | None]] = {}
        """Pictures that readers get instead of the truth, until removed, and when they were taken."""


class LiveCluster:
    """`world.Cluster` straight on the fakes: its picture is always fresh, unless the site says otherwise."""

    def __init__(self, site: Site, lead: Lead, hook: Callable[[Moment, str], None], holder: str) -> None:
        self.site = site
        self.lead = lead
        self.marathon = FakeMarathon(site.marathon, hook=hook)
        self._zookeeper = FakeZooKeeper(site.tree, hook=hook)
        self.root = FencedRoot(self._zookeeper, f"/shuren/{site.name}")
        self.holder = holder
        self.writes = DirectWrites(marathon=self.marathon, leadership=lead, written=self.look_at)
        self.deletions = Deletions(zookeeper=self.root, clock=site.clock)
        self.looked_at: list[str] = []

    async def take_over(self) -> None:
        await self._zookeeper.ensure_path("/shuren")
        await self.root.take_over(holder=self.holder, installation=INSTALLATION)
        await self.root.ensure_path("/owners")

    @property
    def view(self) -> ClusterView:
        since = self.site.unreachable_since
        return ClusterView(
            name=self.site.name,
            connected=self.root.epoch is not None,
            synced=self.site.read,
            problem=self.site.problem,
            unreachable_for=None if since is None else self.site.clock.monotonic() - since,
            info=self.site.marathon.info,
            agents=self.site.agents,
        )

    @property
    def tenancy(self) -> Tenancy:
        return self.site.tenancy

    @property
    def deletion_wait(self) -> float:
        return self.deletions.wait(self.site.deletions, apps=len(self.site.marathon.definitions))

    async def permit_deletion(self) -> None:
        await self.deletions.recall()
        if self.deletion_wait > 0:
            raise Throttled("too many apps were deleted within a minute", retry_after=0.1)
        await self.deletions.note()

    def app(self, app_id: str) -> ActualApp | None:
        return self.site.stale[app_id][1] if app_id in self.site.stale else self.site.marathon.actual(app_id)

    def deployment(self, app_id: str) -> Deployment | None:
        return next((plan.view() for plan in self.site.marathon.plans.values() if app_id in plan.app_ids), None)

    def queue_item(self, app_id: str) -> QueueItem | None:
        return next((item for item in self.site.marathon.waiting() if item.app_id == app_id), None)

    def shows(self, app_id: str, since: float) -> bool:
        return app_id not in self.site.stale or self.site.stale[app_id][0] >= since

    def look_at(self, app_id: str) -> None:
        self.looked_at.append(app_id)

    def _bucket(self, app_id: str) -> str:
        return f"/owners/{claims.bucket_name(claims.bucket_of(app_id))}"

    def claim(self, app_id: str) -> Claim | None:
        node = self.site.tree.node(f"/shuren/{self.site.name}{self._bucket(app_id)}")
        return claims.decode(node.data).get(app_id) if node is not None else None

    def claims_of(self, uid: str) -> tuple[Claim, ...]:
        root = f"/shuren/{self.site.name}/owners"
        nodes = [self.site.tree.node(f"{root}/{name}") for name in self.site.tree.children(root) or ()]
        held = [c for node in nodes if node is not None for c in claims.decode(node.data).values() if c.uid == uid]
        return tuple(sorted(held, key=lambda c: c.app_id))

    async def take(self, app_id: str, *, uid: str, key: ObjectKey, replaces: str = "") -> None:
        epoch = self.root.epoch.number if self.root.epoch is not None else 0
        claim = Claim(app_id=app_id, uid=uid, namespace=key.namespace, name=key.name, epoch=epoch)
        await self._change(ClaimChange(claim=claim, take=True, replaces=replaces))

    async def release(self, app_id: str, *, uid: str) -> None:
        await self._change(ClaimChange(claim=Claim(app_id=app_id, uid=uid, namespace="", name="", epoch=0), take=False))

    async def _change(self, change: ClaimChange) -> None:
        self.lead.check()
        path = self._bucket(change.claim.app_id)
        node = await self.root.get(path)
        after = claims.changed(claims.decode(node.data) if node is not None else {}, change)
        if after is None:
            return
        data = claims.encode(after.values())
        await self.root.commit([Create(path=path, data=data) if node is None else SetData(path=path, data=data, version=node.version)])


class LiveClusters:
    """`world.Clusters`: those sites for which a MesosCluster exists."""

    def __init__(self, clusters: Mapping[str, LiveCluster], store: Store) -> None:
        self.clusters = clusters
        self._store = store

    def get(self, name: str) -> LiveCluster | None:
        declared = self._store.get(ObjectKey(kind=MESOS_CLUSTERS.kind, namespace="", name=name)) is not None
        return self.clusters.get(name) if declared else None

    def names(self) -> tuple[str, ...]:
        return tuple(name for name in sorted(self.clusters) if self.get(name) is not None)

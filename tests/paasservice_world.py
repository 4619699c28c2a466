"""A small world for the PaasService controller: API server, ZooKeeper and a picture of Marathon in memory; operator processes come and go.

`settle` lets passes run until nothing is written any more. A `CrashPoint` ends the process at any external write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lead import Lead
from shuren.clients.fakes.clock import ManualClock
from shuren.clients.fakes.crash import Crash, CrashPoint, Moment
from shuren.clients.fakes.zookeeper import FakeZooKeeper, ZooTree
from shuren.clients.zookeeper.fenced import FencedRoot
from shuren.controllers.estate.publications import Publications
from shuren.controllers.paasservice import triggers
from shuren.controllers.paasservice.controller import PaasServiceController
from shuren.domain.app.snapshot import ClusterView
from shuren.domain.errors import Conflict, Denied, Transient
from shuren.domain.identity import Claim, ObjectKey
from shuren.domain.marathon.state import ActualApp, Health, Task, TaskState
from shuren.domain.service.observe import Agent
from shuren.domain.service.plan import Publish
from shuren.domain.service.records import RecordFolder
from shuren.domain.service.snapshot import BalancerSeen, Published
from shuren.domain.service.values import ServiceName
from shuren.domain.tenancy import Tenancy
from shuren.ports.kubernetes import ENDPOINT_SLICES, NAMESPACES, PAAS_APPS, PAAS_SERVICES, SERVICES, Object
from shuren.runtime.store import Store
from strict_kubernetes import StrictKubernetes

WATCHED = (PAAS_SERVICES, PAAS_APPS, NAMESPACES, SERVICES, ENDPOINT_SLICES)
AT = "2026-01-01T00:00:00.000Z"


@dataclass
class Site:
    """One Mesos cluster, which outlives every operator process."""

    name: str
    tree: ZooTree = field(default_factory=ZooTree)
    apps: dict[str, ActualApp] = field(default_factory=dict)
    agents: dict[str, Agent] = field(default_factory=dict)
    roots: tuple[str, ...] = ("/discovery",)
    zone: str = "mesos.test"
    tenancy: Tenancy = field(default_factory=Tenancy)
    away: float | None = None
    balancers: tuple[BalancerSeen, ...] = ()
    claims: dict[str, Claim] = field(default_factory=dict)

    def run(self, app_id: str, count: int, *, health: Health = Health.HEALTHY) -> None:
        """Marathon runs this many healthy tasks of an app."""
        tasks = tuple(
            Task(
                id=f"{app_id.strip('/').replace('/', '_')}.{n}",
                app_id=app_id,
                state=TaskState.RUNNING,
                host=f"10.0.0.{n}",
                ports=(31000,),
                version=AT,
                health=health,
            )
            for n in range(1, count + 1)
        )
        definition = {"networks": [{"mode": "host"}], "portDefinitions": [{"name": "http"}], "healthChecks": [{"protocol": "HTTP"}]}
        self.apps[app_id] = ActualApp(
            id=app_id,
            definition=definition,
            version=AT,
            last_config_change_at=AT,
            last_scaling_at=AT,
            instances=count,
            tasks=tasks,
        )


class LiveCluster:
    """`paasservice.world.Cluster` on a site."""

    def __init__(self, site: Site, clock: ManualClock, hook: CrashPoint | None) -> None:
        self.site = site
        self.root = FencedRoot(FakeZooKeeper(site.tree, hook=hook), f"/shuren/{site.name}")
        self.publications = Publications(zookeeper=self.root, clock=clock)

    @property
    def view(self) -> ClusterView:
        away = self.site.away
        return ClusterView(name=self.site.name, connected=away is None, unreachable_for=away)

    @property
    def tenancy(self) -> Tenancy:
        return self.site.tenancy

    @property
    def zone(self) -> str:
        return self.site.zone

    @property
    def record_roots(self) -> tuple[str, ...]:
        return self.site.roots

    @property
    def agent_places(self) -> Mapping[str, Agent]:
        return self.site.agents

    def app(self, app_id: str) -> ActualApp | None:
        return self.site.apps.get(app_id)

    def claim(self, app_id: str) -> Claim | None:
        return self.site.claims.get(app_id)

    @property
    def published_services(self) -> frozenset[ServiceName]:
        return self.publications.services

    def published(self, service: ServiceName) -> Published | None:
        return self.publications.get(service)

    async def strangers(self, folders: Iterable[RecordFolder], journal: Mapping[str, str]) -> Mapping[str, tuple[str, ...]]:
        return await self.publications.strangers(folders, journal)

    async def publish(self, change: Publish) -> None:
        await self.publications.publish(change)

    async def withdraw(self, service: ServiceName) -> None:
        await self.publications.withdraw(service)

    def balancers(self, group: str, service: ServiceName) -> tuple[BalancerSeen, ...]:
        assert group
        assert service
        return self.site.balancers


class Process:
    """One operator process: a store, a controller, connections."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.store = Store()
        self.clusters = {name: LiveCluster(site, world.clock, world.crash) for name, site in world.sites.items()}
        self.controller = PaasServiceController(
            kubernetes=world.kubernetes, store=self.store, clusters=self, leadership=world.lead, clock=world.clock
        )
        self.parts: list[asyncio.Task[None]] = []

    def get(self, name: str) -> LiveCluster | None:
        return self.clusters.get(name)

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self.clusters))

    async def start(self) -> None:
        for cluster in self.clusters.values():
            await cluster.root.take_over(holder="x", installation="test")
            self.parts.append(asyncio.create_task(cluster.publications.run()))
            cluster.publications.look()
        await self.world.pass_time(0.1)

    async def stop(self) -> None:
        for part in self.parts:
            part.cancel()
        await asyncio.gather(*self.parts, return_exceptions=True)

    def see(self) -> None:
        """The watches bring everything."""
        for resource in WATCHED:
            present = set()
            for item in self.world.kubernetes.all(resource):
                key = ObjectKey(kind=resource.kind, namespace=item["metadata"].get("namespace", ""), name=item["metadata"]["name"])
                present.add(key)
                self.store.put(key, item)
            for key in set(self.store.keys(resource.kind)) - present:
                self.store.remove(key)

    def due(self) -> list[ObjectKey]:
        gone = [self.controller.left_behind(name) for name in self.clusters]
        return sorted({*self.store.keys(PAAS_SERVICES.kind)}.union(*gone))


class World:
    """See the module."""

    def __init__(self, *, sites: Iterable[str] = ("bj1",), crash: CrashPoint | None = None) -> None:
        self.clock = ManualClock()
        self.lead = Lead()
        self.crash = crash
        self.kubernetes = StrictKubernetes(hook=self._hook)
        self.sites = {name: Site(name) for name in sites}
        self.process: Process | None = None
        self._said: list[str] = []

    def _hook(self, what: str) -> None:
        if self.crash is not None and self.process is not None:
            self.crash(Moment.BEFORE, what)

    @property
    def site(self) -> Site:
        return next(iter(self.sites.values()))

    # ------------------------------------------------------------------------------------------------ what people do

    def app(self, name: str, *, cluster: str = "bj1", namespace: str = "shop", **labels: str) -> None:
        body: Object = {
            "apiVersion": "paas.shurenyun.com/v1alpha1",
            "kind": "PaasApp",
            "metadata": {"name": name, "namespace": namespace, "labels": labels},
            "spec": {"clusterRef": {"name": cluster}, "cmd": "sleep 1"},
        }
        self.kubernetes.user_apply(PAAS_APPS, body)

    def apply(self, name: str = "web", *, cluster: str = "bj1", namespace: str = "shop", **spec: Any) -> None:
        given: Object = {"clusterRef": {"name": cluster}, "backends": [{"name": "main", "appRef": {"name": "web"}, "portName": "http"}]}
        body: Object = {
            "apiVersion": "paas.shurenyun.com/v1alpha1",
            "kind": "PaasService",
            "metadata": {"name": name, "namespace": namespace},
            "spec": given | spec,
        }
        self.kubernetes.user_apply(PAAS_SERVICES, body)

    def delete(self, name: str = "web") -> None:
        self.kubernetes.user_delete(PAAS_SERVICES, "shop", name)

    # ------------------------------------------------------------------------------------------------ passes

    async def pass_time(self, seconds: float) -> None:
        for _ in range(40):
            await asyncio.sleep(0)
        await self.clock.advance(seconds)
        for _ in range(40):
            await asyncio.sleep(0)

    async def settle(self) -> None:
        """Passes over everything until a round writes nothing; a process that crashed is followed by another."""
        for _ in range(40):
            before = self._writes()
            try:
                await self._round()
            except Crash:
                await self._end()
                continue
            if self._writes() == before:
                return
        raise AssertionError(f"does not settle: {self._said[-5:]}")

    async def _round(self) -> None:
        if self.process is None:
            process = Process(self)
            try:
                await process.start()
            except Crash:
                await process.stop()
                raise
            self.process = process
        process = self.process
        process.see()
        for key in process.due():
            running = asyncio.ensure_future(process.controller.reconcile(key))
            while not running.done():
                await self.pass_time(0.05)
                dead = next((p for p in process.parts if p.done()), None)
                if dead is not None:
                    running.cancel()
                    await asyncio.gather(running, return_exceptions=True)
                    dead.result()
            try:
                await running
            except (Transient, Conflict, Denied) as error:
                self._said.append(str(error))
            process.see()

    async def _end(self) -> None:
        """The process died: nothing of it is left, and the next one is not ended again."""
        if self.process is not None:
            await self.process.stop()
        self.process = None
        self.crash = None

    async def restart(self) -> None:
        await self._end()

    def _writes(self) -> int:
        return self.kubernetes.writes + sum(len(site.tree.commits) for site in self.sites.values())

    # ------------------------------------------------------------------------------------------------ looking

    def resource(self, name: str = "web") -> Object | None:
        found = [i for i in self.kubernetes.all(PAAS_SERVICES) if i["metadata"]["name"] == name]
        return found[0] if found else None

    def condition(self, kind: str = "Ready", name: str = "web") -> tuple[str, str] | None:
        item = self.resource(name)
        conditions = ((item or {}).get("status") or {}).get("conditions") or []
        return next(((c["status"], c["reason"]) for c in conditions if c["type"] == kind), None)

    def message(self, kind: str = "Ready", name: str = "web") -> str:
        item = self.resource(name)
        conditions = ((item or {}).get("status") or {}).get("conditions") or []
        return next((str(c["message"]) for c in conditions if c["type"] == kind), "")

    def nodes(self, site: str = "bj1") -> dict[str, bytes]:
        """Everything in ZooKeeper but what only a term says, and empty parents."""
        parents = {"endpoints", "names", "records", "routes", "public", "inner"}
        return {
            path: data
            for path, data in self.sites[site].tree.dump().items()
            if not path.endswith(("/epoch", "/meta")) and path.rpartition("/")[2] not in parents and data
        }


def keys_of(world: World, item: Object) -> frozenset[ObjectKey]:
    """Who is told of a change, by the triggers."""
    assert world.process is not None
    kind = item["kind"]
    key = ObjectKey(kind=kind, namespace=item["metadata"].get("namespace", ""), name=item["metadata"]["name"])
    return triggers.on_object(world.process.store, key, item)

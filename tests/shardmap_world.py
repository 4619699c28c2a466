"""A small world for the ShardMap controller: API server, ZooKeeper and a picture of Marathon in memory; members do the library's duties.

Operator processes and members come and go. `settle` lets everybody act until nothing is written any more. A `CrashPoint` ends the operator
process at any external write.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lead import Lead
from shuren.clients.fakes.clock import ManualClock
from shuren.clients.fakes.crash import Crash, CrashPoint, Moment
from shuren.clients.fakes.zookeeper import FakeZooKeeper, ZooTree
from shuren.clients.zookeeper.fenced import FencedRoot
from shuren.controllers.estate.shards import ShardMaps
from shuren.controllers.shardmap.controller import ShardMapController
from shuren.domain.app.snapshot import ClusterView
from shuren.domain.errors import Conflict, Denied, Transient
from shuren.domain.identity import ObjectKey
from shuren.domain.marathon.state import ActualApp, Task, TaskState
from shuren.domain.service.observe import Agent
from shuren.domain.service.snapshot import Published
from shuren.domain.service.values import ServiceName
from shuren.domain.shardmap.snapshot import MapName
from shuren.domain.tenancy import Tenancy
from shuren.ports.events import EventRecorder, Severity
from shuren.ports.kubernetes import MESOS_CLUSTERS, NAMESPACES, PAAS_APPS, PAAS_SERVICES, SHARD_MAPS, Object
from shuren.ports.zookeeper import Create, Delete, SetData
from shuren.runtime.store import Store
from shuren.sharding.core.codec import head as head_codec
from shuren.sharding.core.codec import moves as moves_codec
from shuren.sharding.core.codec import publication
from shuren.sharding.core.codec.head import Head
from shuren.sharding.core.duties import Duty, Held, Role, duties
from shuren.sharding.core.moves import Fence, Live, Move, Report
from shuren.sharding.core.table import ShardTable
from strict_kubernetes import StrictKubernetes

WATCHED = (SHARD_MAPS, PAAS_APPS, PAAS_SERVICES, NAMESPACES, MESOS_CLUSTERS)
ROOT = "/shuren/bj1"
MAP = f"{ROOT}/shards/shop.cart"
AT = "2026-01-01T00:00:00.000Z"


class SimMember:
    """A process with shards: does all its duties at once whenever it may act. While `deaf` it does nothing."""

    def __init__(self, tree: ZooTree, identity: str, *, address: str = "", path: str = MAP) -> None:
        self.id = identity
        self.address = address or f"{identity}:7000"
        self.path = path
        self._tree = tree
        self._zookeeper = FakeZooKeeper(tree)
        self._held: dict[int, Held] = {}
        self._seen: dict[int, Fence] = {}
        self._generation = 0
        self._shards = 0
        self.deaf = False
        self.fails: set[str] = set()
        """States of moves that it cannot do."""
        self.serves: set[int] = set()
        self.loads: Mapping[int, int] | None = None
        """What each shard is asked for; None: it does not measure."""
        self._acted: tuple[object, ...] | None = None

    async def stop(self) -> None:
        """The process ends, and its session with it."""
        await self._zookeeper.close()
        self.deaf = True
        self.serves = set()

    async def act(self) -> None:
        now = (len(self._tree.commits), self.address, frozenset(self.fails), self.loads)
        if self.deaf or now == self._acted:
            return
        table = read_table(self._tree, self.path)
        moves = read_moves(self._tree, self.path)
        if table is not None:
            self._take_layout(table.shards)
            moves = {shard: move for shard, move in moves.items() if move.counts_by(table.shards)}
        for shard, move in moves.items():
            self._seen[shard] = max(self._seen.get(shard, Fence()), move.fence)
        if table is not None:
            for _ in range(4):
                answered = {s: r for s in moves if (r := self._answer(s)) is not None}
                found = duties(me=self.id, table=table, moves=moves, held=self._held, seen=self._seen, answered=answered)
                if not await self._do(found, answered):
                    break
            self.serves = {s for s, duty in found.items() if duty.serves and self._held[s].role is Role.PRIMARY}
        self._generation = table.generation if table is not None else 0
        counts = Counter(held.role.value for held in self._held.values())
        led = {shard: self.loads.get(shard, 1) for shard in self.serves} if self.loads is not None else None
        live = Live(
            id=self.id,
            instance="1",
            address=self.address,
            generation=self._generation,
            session_seconds=10.0,
            counts=dict(counts),
            load=sum(led.values()) if led is not None else None,
            hottest=led or {},
        )
        await self._write(f"{self.path}/live/{moves_codec.node_name(self.id)}", moves_codec.encode_live(live), ephemeral=True)
        self._acted = (len(self._tree.commits), self.address, frozenset(self.fails), self.loads)

    def _take_layout(self, shards: int) -> None:
        """After a split, or one taken back, what is held is held by other numbers."""
        before, self._shards = self._shards, shards
        if before in {0, shards}:
            return
        held, self._held = self._held, {}
        for shard in range(shards):
            parents = [shard * before // shards] if shards > before else range(shard * before // shards, (shard + 1) * before // shards)
            there = [held[parent] for parent in parents if parent in held]
            if len(there) == len(parents):
                same = len({one.role for one in there}) == 1
                self._held[shard] = max(there, key=lambda one: one.fence) if same else Held(role=Role.COPYING)
        self._seen.clear()

    def _answer(self, shard: int) -> Report | None:
        node = self._tree.node(f"{self.path}/moves/{shard}/{moves_codec.node_name(self.id)}")
        return moves_codec.decode_report(node.data) if node is not None else None

    async def _do(self, found: Mapping[int, Duty], answered: Mapping[int, Report]) -> bool:
        did = False
        for shard, duty in found.items():
            if duty.step is None and (duty.report is None or answered.get(shard) == duty.report):
                continue
            error = "no space left" if duty.report is not None and duty.report.state.value in self.fails else ""
            if not error:
                self._held.pop(shard, None)
                if duty.becomes is not None:
                    self._held[shard] = duty.becomes
            if duty.report is not None:
                report = replace(duty.report, error=error)
                path = f"{self.path}/moves/{shard}/{moves_codec.node_name(self.id)}"
                await self._write(path, moves_codec.encode_report(report))
            did = did or not error
        return did

    async def _write(self, path: str, data: bytes, *, ephemeral: bool = False) -> None:
        node = self._tree.node(path)
        if node is None:
            if ephemeral:
                await self._zookeeper.ensure_path(path.rpartition("/")[0])
            await self._zookeeper.commit([Create(path=path, data=data, ephemeral=ephemeral)])
        elif node.data != data:
            await self._zookeeper.commit([SetData(path=path, data=data, version=-1)])


def read_table(tree: ZooTree, path: str = MAP) -> ShardTable | None:
    """The published table, as a client that comes fresh reads it."""
    node = tree.node(f"{path}/head")
    if node is None:
        return None
    known = _TABLES.get(node.data)
    if known is None:
        known = _TABLES[node.data] = _read_table(tree, path, head_codec.decode(node.data))
    return known


_TABLES: dict[bytes, ShardTable] = {}
"""By head, which has the table's checksum."""


def _read_table(tree: ZooTree, path: str, head: Head) -> ShardTable:
    place = f"{path}/{publication.directory(head.generation)}"
    members = tree.node(f"{place}/members")
    chunks = [tree.node(f"{place}/map-{index}") for index in range(len(head.map))]
    assert members is not None
    assert all(chunk is not None for chunk in chunks)
    return publication.read_map(head, publication.read_members(head, members.data), [c.data for c in chunks if c is not None])


def read_moves(tree: ZooTree, path: str = MAP) -> dict[int, Move]:
    """What is ordered now."""
    found: dict[int, Move] = {}
    for name in tree.children(f"{path}/moves") or ():
        node = tree.node(f"{path}/moves/{name}")
        assert node is not None
        found[int(name)] = moves_codec.decode_move(int(name), node.data)
    return found


@dataclass
class Site:
    """One Mesos cluster, which outlives every operator process."""

    name: str = "bj1"
    tree: ZooTree = field(default_factory=ZooTree)
    apps: dict[str, ActualApp] = field(default_factory=dict)
    agents: dict[str, Agent] = field(default_factory=dict)
    services: dict[str, Published] = field(default_factory=dict)
    tenancy: Tenancy = field(default_factory=Tenancy)
    going: frozenset[str] = frozenset()
    away: float | None = None
    members: dict[str, SimMember] = field(default_factory=dict)

    def run(self, app_id: str, hosts: Iterable[str], *, unique: bool = True, **definition: Any) -> None:
        """Marathon runs one task of an app on each host; agent `a-<host>` is in rack `r<last digit>`. `definition`: what else it has."""
        tasks = []
        for host in hosts:
            self.agents.setdefault(f"a-{host}", Agent(hostname=host, attributes={"rack": f"r{host[-1]}"}))
            name = f"{app_id.strip('/').replace('/', '_')}.{host}"
            state = TaskState.RUNNING
            tasks.append(Task(id=name, app_id=app_id, state=state, host=host, agent_id=f"a-{host}", ports=(7000,), version=AT))
        constraints = [["hostname", "UNIQUE"]] if unique else []
        self.apps[app_id] = ActualApp(
            id=app_id,
            definition={"constraints": constraints, "readinessChecks": [{"path": "/ready"}], **definition},
            version=AT,
            last_config_change_at=AT,
            last_scaling_at=AT,
            instances=len(tasks),
            tasks=tuple(tasks),
        )

    def rename(self, app_id: str, ids: Iterable[str]) -> None:
        """Its tasks have other ids."""
        app = self.apps[app_id]
        self.apps[app_id] = replace(app, tasks=tuple(replace(task, id=name) for task, name in zip(app.tasks, ids, strict=True)))

    def join(self, *ids: str) -> None:
        """Processes begin to serve."""
        for identity in ids:
            self.members[identity] = SimMember(self.tree, identity)

    async def leave(self, *ids: str) -> None:
        """Processes end."""
        for identity in ids:
            await self.members.pop(identity).stop()


class LiveCluster:
    """`shardmap.world.Cluster` on a site."""

    def __init__(self, site: Site, clock: ManualClock, hook: CrashPoint | None) -> None:
        self.site = site
        self.session = FakeZooKeeper(site.tree, hook=hook)
        self.root = FencedRoot(self.session, f"/shuren/{site.name}")
        self.shards = ShardMaps(zookeeper=self.root, clock=clock)
        self.agents_known = True

    @property
    def view(self) -> ClusterView:
        away = self.site.away
        return ClusterView(name=self.site.name, connected=True, unreachable_for=away)

    @property
    def tenancy(self) -> Tenancy:
        return self.site.tenancy

    @property
    def epoch(self) -> int:
        return self.root.epoch.number if self.root.epoch is not None else 0

    @property
    def agent_places(self) -> Mapping[str, Agent]:
        return self.site.agents

    @property
    def agents_going(self) -> frozenset[str]:
        return self.site.going

    def app(self, app_id: str) -> ActualApp | None:
        return self.site.apps.get(app_id)

    def published(self, service: ServiceName) -> Published | None:
        return self.site.services.get(str(service), Published())


class Told(EventRecorder):
    """Remembers Kubernetes Events."""

    def __init__(self) -> None:
        self.notes: list[tuple[str, str]] = []

    def record(self, item: Object, *, severity: Severity, reason: str, action: str, note: str) -> None:
        assert item["kind"] == "ShardMap"
        assert severity
        assert action
        self.notes.append((reason, note))


class Process:
    """One operator process: a store, a controller, connections."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.store = Store()
        self.cluster = LiveCluster(world.site, world.clock, world.crash)
        self.controller = ShardMapController(
            kubernetes=world.kubernetes, store=self.store, clusters=self, leadership=world.lead, clock=world.clock, events=world.told
        )
        self.parts: list[asyncio.Task[None]] = []

    def get(self, name: str) -> LiveCluster | None:
        return self.cluster if name == self.cluster.site.name else None

    async def start(self) -> None:
        await self.cluster.root.take_over(holder="x", installation="test")
        self.parts.append(asyncio.create_task(self.cluster.shards.run()))
        self.cluster.shards.look()
        self.see()
        if self.world.apps_pass:
            for key in self.store.keys(PAAS_APPS.kind):
                self.app_pass(key)
        await self.world.pass_time(0.1)

    def app_pass(self, key: ObjectKey) -> None:
        """As the pass of a PaasApp does it: look, decide, say that it has passed."""
        app_id = f"/{key.namespace}/{key.name}"
        self.controller.gates.look("bj1", app_id, key, limit=60.0)
        self.controller.gates.passed("bj1", app_id)

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


class World:
    """See the module."""

    def __init__(self, *, crash: CrashPoint | None = None) -> None:
        self.clock = ManualClock()
        self.lead = Lead()
        self.crash = crash
        self.told = Told()
        self.kubernetes = StrictKubernetes(hook=self._hook)
        self.site = Site()
        self.process: Process | None = None
        self.again: float | None = None
        self.apps_pass = True
        """Whether apps have a pass when a process starts."""
        self._said: list[str] = []
        self._former: ShardTable | None = None
        self.meddled = False

    def _hook(self, what: str) -> None:
        if self.crash is not None and self.process is not None:
            self.crash(Moment.BEFORE, what)

    # ------------------------------------------------------------------------------------------------ what people do

    def app(self, name: str = "cart", **spec: Any) -> None:
        body: Object = {
            "apiVersion": "paas.shurenyun.com/v1alpha1",
            "kind": "PaasApp",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"clusterRef": {"name": "bj1"}, "cmd": "sleep 1", **spec},
        }
        self.kubernetes.user_apply(PAAS_APPS, body)

    def apply(self, name: str = "cart", *, shards: int = 16, namespace: str = "shop", **spec: Any) -> None:
        given: Object = {
            "clusterRef": {"name": "bj1"},
            "partitionings": [{"name": "p1", "shards": shards}],
            "members": {"appRef": {"name": "cart"}},
        }
        body: Object = {
            "apiVersion": "paas.shurenyun.com/v1alpha1",
            "kind": "ShardMap",
            "metadata": {"name": name, "namespace": namespace},
            "spec": given | spec,
        }
        self.kubernetes.user_apply(SHARD_MAPS, body)

    def cluster(self, **labels: str) -> None:
        body: Object = {
            "apiVersion": "paas.shurenyun.com/v1alpha1",
            "kind": "MesosCluster",
            "metadata": {"name": "bj1", "labels": labels},
            "spec": {},
        }
        self.kubernetes.user_apply(MESOS_CLUSTERS, body)

    def delete(self, name: str = "cart") -> None:
        self.kubernetes.user_delete(SHARD_MAPS, "shop", name)

    async def meddle(self, path: str, data: bytes | None) -> None:
        """Somebody writes or deletes a node of the map."""
        self.meddled = True
        stranger = FakeZooKeeper(self.site.tree)
        if data is None:
            await stranger.commit([Delete(path=path)])
        else:
            await stranger.ensure_path(path)
            await stranger.commit([SetData(path=path, data=data, version=-1)])
        await stranger.close()

    # ------------------------------------------------------------------------------------------------ passes

    async def pass_time(self, seconds: float) -> None:
        for _ in range(20):
            await asyncio.sleep(0)
        await self.clock.advance(seconds)
        for _ in range(20):
            await asyncio.sleep(0)

    async def settle(self, *, patience: float = 0.0, rounds: int = 400) -> None:
        """Passes, and members that act, until a round writes nothing; then time passes as far as is waited for, up to `patience` seconds.

        A process that crashed is followed by another.
        """
        for _ in range(rounds):
            before = self.writes
            try:
                await self.one_round()
            except Crash:
                await self.end()
                continue
            if self.writes != before:
                continue
            if self.again is None or self.again > patience:
                return
            patience -= self.again
            await self.pass_time(max(self.again, 0.05))
        raise AssertionError(f"does not settle: {self._said[-5:]} {self.again} {self.conditions()}")

    async def one_round(self) -> None:
        for member in list(self.site.members.values()):
            await member.act()
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
        # a status in which only numbers changed is held back for a second
        await self.pass_time(1.0)
        self.again = None
        keys = sorted({*process.store.keys(SHARD_MAPS.kind)})
        for key in keys:
            running = asyncio.ensure_future(process.controller.reconcile(key))
            while not running.done():
                await self.pass_time(0.01)
                dead = next((p for p in process.parts if p.done()), None)
                if dead is not None:
                    running.cancel()
                    await asyncio.gather(running, return_exceptions=True)
                    dead.result()
            try:
                outcome = await running
            except (Transient, Conflict, Denied) as error:
                self._said.append(str(error))
                self.again = 0.0
            else:
                later = [after for after in (outcome.requeue_after, self.again) if after is not None]
                self.again = min(later, default=None)
            process.see()
        for member in list(self.site.members.values()):
            await member.act()
        self.lonely()
        self.rises()

    def rises(self) -> None:
        """Generations and epochs are never lower than they were, unless somebody has written among them."""
        if self.meddled:
            return
        former, table = self._former, read_table(self.site.tree)
        self._former = table
        if former is None or table is None or former is table:
            return
        assert table.generation > former.generation
        if table.shards == former.shards:
            assert all(now >= before for now, before in zip(table.epochs, former.epochs, strict=True))

    def lonely(self) -> None:
        """No two members serve one shard."""
        served = Counter(shard for member in self.site.members.values() for shard in member.serves)
        assert all(count == 1 for count in served.values()), served

    async def end(self) -> None:
        """The process died: nothing of it is left, and the next one is not ended again."""
        if self.process is not None:
            await self.process.stop()
            await self.process.cluster.session.close()
        self.process = None
        self.crash = None

    @property
    def writes(self) -> int:
        return self.kubernetes.writes + len(self.site.tree.commits)

    # ------------------------------------------------------------------------------------------------ looking

    @property
    def name(self) -> MapName:
        return MapName(namespace="shop", name="cart")

    def resource(self, name: str = "cart") -> Object | None:
        found = [i for i in self.kubernetes.all(SHARD_MAPS) if i["metadata"]["name"] == name]
        return found[0] if found else None

    def status(self, name: str = "cart") -> dict[str, Any]:
        return dict((self.resource(name) or {}).get("status") or {})

    def conditions(self, name: str = "cart") -> dict[str, tuple[str, str]]:
        return {c["type"]: (c["status"], c["reason"]) for c in self.status(name).get("conditions") or ()}

    def message(self, kind: str = "Ready", name: str = "cart") -> str:
        return next((str(c["message"]) for c in self.status(name).get("conditions") or () if c["type"] == kind), "")

    def table(self) -> ShardTable:
        table = read_table(self.site.tree)
        assert table is not None
        return table

    def held(self) -> dict[str, int]:
        """Replicas by member."""
        table = self.table()
        names = {m.number: m.id for m in table.members}
        return dict(Counter(names[number] for number in table.owners if number in names))

    def nodes(self) -> dict[str, bytes]:
        """Everything of the map in ZooKeeper but what members say of themselves."""
        return {path: data for path, data in self.site.tree.dump().items() if path.startswith(MAP) and "/live/" not in path}

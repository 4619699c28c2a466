"""The composition root: builds every part of the operator process, starts them in order, and takes them down in order."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import shuren
from shuren.clients.kubernetes.client import KubernetesClient
from shuren.clients.kubernetes.config import Access
from shuren.clients.kubernetes.events import Recorder
from shuren.clients.kubernetes.source import Reflector
from shuren.controllers.estate.connection import Identity
from shuren.controllers.estate.registry import Estate
from shuren.controllers.estate.roster import Roster
from shuren.controllers.gates import AllGates
from shuren.controllers.mesoscluster.controller import MesosClusterController
from shuren.controllers.paasapp import triggers
from shuren.controllers.paasapp.controller import PaasAppController
from shuren.controllers.paasservice import triggers as service_triggers
from shuren.controllers.paasservice.controller import PaasServiceController
from shuren.controllers.shardmap import triggers as map_triggers
from shuren.controllers.shardmap.controller import ShardMapController
from shuren.domain.app.snapshot import OWNER_LABEL, Problem
from shuren.domain.errors import Invalid
from shuren.domain.identity import ObjectKey
from shuren.domain.marathon.advice import advise
from shuren.domain.service.slices import MANAGED_BY, MANAGED_BY_LABEL, SERVICE_MANAGED_BY_LABEL
from shuren.domain.service.values import ServiceName
from shuren.domain.shardmap.snapshot import MapName
from shuren.operator.connections import Factory
from shuren.operator.endpoints import Endpoints
from shuren.operator.health import LoopWatch
from shuren.operator.intake import Intake
from shuren.operator.metrics import NO_STATUS, STATE, Metrics
from shuren.operator.native_source import NativeSource
from shuren.operator.references import ReferenceWatch
from shuren.operator.settings import EventSourceKind, Settings
from shuren.ports.clock import Clock
from shuren.ports.kubernetes import (
    CONTROLLER_REVISIONS,
    ENDPOINT_SLICES,
    MESOS_CLUSTERS,
    NAMESPACES,
    PAAS_APPS,
    PAAS_SERVICES,
    SERVICES,
    SHARD_MAPS,
    Object,
    Resource,
)
from shuren.ports.leadership import LEASE_NAME, VERSION_ANNOTATION
from shuren.ports.source import EventSource, Sink
from shuren.runtime.backoff import Backoff
from shuren.runtime.controller import Controller
from shuren.runtime.leader import Election
from shuren.runtime.queue import Priority, WorkQueue
from shuren.runtime.resync import Resync
from shuren.runtime.store import Store
from shuren.runtime.workers import Workers

log = logging.getLogger(__name__)

KINDS = (MESOS_CLUSTERS, PAAS_APPS, PAAS_SERVICES, SHARD_MAPS)
"""What this operator reconciles."""

"""On the Lease: the release of who holds it, for `shuren doctor`."""
_OUR_SERVICES = f"{SERVICE_MANAGED_BY_LABEL}={MANAGED_BY}"
_OUR_SLICES = f"{MANAGED_BY_LABEL}={MANAGED_BY}"
_STALLED_AFTER = 60.0
_FIRST_PICTURE = 5.0
"""Seconds after which a new leader looks at apps whose cluster has not been read."""
_BURST = 0.01
"""Seconds for which changes of tasks are gathered before a map is looked at: a roll-out changes many at once."""

_PER_SECOND = 200.0
"""Apps whose status is written in a second because their cluster went away or came back."""

MakeSource = Callable[[Sink], EventSource]
"""Makes a source from outside (`kopf run` brings events itself) instead of the one that the settings name."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What was found before the application is built."""

    access: Access
    clock: Clock
    installation: str


class Application:
    """One operator process. `run` until `stop` is called; everything that it holds is given back then."""

    def __init__(self, *, settings: Settings, surroundings: Surroundings, make_source: MakeSource | None = None) -> None:
        self.settings = settings
        self.clock = surroundings.clock
        self.metrics = Metrics()
        self.store = Store()
        access = surroundings.access
        self.kubernetes = KubernetesClient(access, known=self._known, observe=self.metrics.request)
        # the lease has connections of its own: its renewal must not wait behind anybody's work
        self._for_lease = KubernetesClient(access, timeout=5.0, connections=2, observe=self.metrics.request)
        self.queue: WorkQueue[ObjectKey] = WorkQueue(monotonic=self.clock.monotonic, backoff=Backoff(chance=random.random))
        self.election = Election(
            kubernetes=self._for_lease,
            clock=self.clock,
            namespace=settings.namespace,
            name=LEASE_NAME,
            identity=settings.identity,
            on_start=self._start_leading,
            on_stop=self.queue.pause,
            notes={VERSION_ANNOTATION: shuren.__version__},
        )
        self.recorder = Recorder(kubernetes=self.kubernetes, clock=self.clock, instance=settings.identity)
        self.references = ReferenceWatch(
            kubernetes=self.kubernetes, clock=self.clock, changed=lambda key: self._signal([key]), chance=random.random
        )
        self.estate = Estate(
            factory=Factory(observe=self.metrics.request),
            leadership=self.election,
            identity=Identity(holder=settings.identity, installation=surroundings.installation),
            listener=self,
            clock=self.clock,
            chance=random.random,
            coming=lambda: self.queue.urgent + self.queue.urgent_active,
        )
        controllers = self._controllers()
        self.intake = Intake(
            store=self.store,
            queue=self.queue,
            metrics=self.metrics,
            reconciled=frozenset(controllers),
            related=self._related,
            namespaces=frozenset(settings.namespaces),
        )
        self.workers = Workers(
            queue=self.queue,
            controllers=controllers,
            clock=self.clock,
            limit=settings.workers,
            observer=self.metrics,
            on_fenced=lambda error: self.election.resign(str(error)),
            generation=self._generation,
        )
        self.source = make_source(self.intake) if make_source is not None else self._source(access)
        self.beside = self._watches_beside()
        self.resync = Resync(
            kubernetes=self.kubernetes,
            resources=KINDS,
            namespaces=settings.namespaces,
            store=self.store,
            sink=self.intake,
            clock=self.clock,
            chance=random.random,
            period=settings.resync_seconds,
            missed=self.metrics.missed,
        )
        self.endpoints = Endpoints(registry=self.metrics.registry, alive=self.why_not_alive, ready=self.why_not_ready)
        self.metrics.watch(
            queue=self.queue,
            store=self.store,
            leadership=self.election,
            kinds=tuple(resource.kind for resource in KINDS),
            open_breakers=lambda: {"marathon": self.estate.open_breakers},
        )
        self._stopping = asyncio.Event()
        self._electing = False
        self.asked_to_stop = False

    def _controllers(self) -> dict[str, Controller]:
        clusters = Roster(estate=self.estate, declared=lambda: {key.name for key in self.store.keys(MESOS_CLUSTERS.kind)})
        namespaces = self.settings.namespaces
        self.services = PaasServiceController(
            kubernetes=self.kubernetes,
            store=self.store,
            clusters=clusters,
            leadership=self.election,
            clock=self.clock,
            events=self.recorder,
            looked_at=lambda namespace: not namespaces or namespace in namespaces,
            signal=self._signal,
        )
        self.shard_maps = ShardMapController(
            kubernetes=self.kubernetes,
            store=self.store,
            clusters=clusters,
            leadership=self.election,
            clock=self.clock,
            events=self.recorder,
            signal=self._signal,
        )
        self.apps = PaasAppController(
            kubernetes=self.kubernetes,
            store=self.store,
            clusters=clusters,
            references=self.references,
            leadership=self.election,
            clock=self.clock,
            signal=self._signal,
            events=self.recorder,
            changed=self.metrics.change,
            gates=AllGates(self.services.gates, self.shard_maps.gates),
            traffic=self.services.gates,
            crowded=lambda: self.queue.urgent > 0,
            adviser=lambda definition, view: [
                Problem(reason=found.reason, message=str(found)) for found in advise(definition, agents=view.agents, total=view.total)
            ],
        )
        return {
            MESOS_CLUSTERS.kind: MesosClusterController(
                kubernetes=self.kubernetes,
                store=self.store,
                estate=self.estate,
                references=self.references,
                recorder=self.recorder,
                leadership=self.election,
                clock=self.clock,
            ),
            PAAS_APPS.kind: self.apps,
            PAAS_SERVICES.kind: self.services,
            SHARD_MAPS.kind: self.shard_maps,
        }

    def _source(self, access: Access) -> EventSource:
        if self.settings.event_source is EventSourceKind.NATIVE:
            return NativeSource(
                kubernetes=self.kubernetes,
                resources=KINDS,
                sink=self.intake,
                namespaces=self.settings.namespaces,
                clock=self.clock,
                chance=random.random,
            )
        from shuren.operator.kopf_source import KopfSource  # noqa: PLC0415 - kopf is large, and with the native source not needed

        return KopfSource(
            access=access,
            kubernetes=self.kubernetes,
            resources=KINDS,
            sink=self.intake,
            namespaces=self.settings.namespaces,
            clock=self.clock,
        )

    def _watches_beside(self) -> list[Reflector]:
        """What controllers read besides our kinds: labels of namespaces, and revisions. In chosen namespaces only, when some are chosen."""
        namespaces = self.settings.namespaces or ("",)
        return [
            *(self._reflector(NAMESPACES, name=namespace) for namespace in namespaces),
            *(self._reflector(CONTROLLER_REVISIONS, namespace=namespace, label_selector=OWNER_LABEL) for namespace in namespaces),
            *(self._reflector(SERVICES, namespace=namespace, label_selector=_OUR_SERVICES) for namespace in namespaces),
            *(self._reflector(ENDPOINT_SLICES, namespace=namespace, label_selector=_OUR_SLICES) for namespace in namespaces),
        ]

    def _reflector(self, resource: Resource, *, namespace: str = "", name: str = "", label_selector: str = "") -> Reflector:
        return Reflector(
            kubernetes=self.kubernetes,
            resource=resource,
            sink=self.intake,
            clock=self.clock,
            namespace=namespace,
            name=name,
            label_selector=label_selector,
            chance=random.random,
        )

    # ------------------------------------------------------------------------------------------------ life

    def stop(self) -> None:
        """Ask for an orderly end: no new passes, those under way finish, the lease goes to a standby."""
        self.asked_to_stop = True
        self._stopping.set()

    async def run(self) -> None:
        """Start, work until `stop` or until a part fails, and give everything back. What made a part fail is raised in the end."""
        self.queue.pause()
        try:
            if self.settings.metrics_port:
                await self.endpoints.start(self.settings.metrics_address, self.settings.metrics_port, self.settings.metrics_tls)
        except Invalid:
            await self._shut_down(())
            raise
        lag = LoopWatch(clock=self.clock, observe=self.metrics.lag)
        tasks = {
            asyncio.create_task(part, name=name)
            for name, part in {
                "workers": self.workers.run(),
                "source": self.source.run(),
                **{f"watch beside {number}": reflector.run() for number, reflector in enumerate(self.beside)},
                "list and diff": self.resync.run(),
                "election": self._lead_when_synced(),
                "events": self.recorder.run(),
                "loop watch": lag.run(),
            }.items()
        }
        stopping = asyncio.create_task(self._stopping.wait(), name="stop")
        try:
            done, _ = await asyncio.wait({stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            await self._shut_down(tasks)
        for task in done - {stopping}:
            log.error("%s has ended", task.get_name())
            task.result()

    async def _lead_when_synced(self) -> None:
        """Stand for election only with a warm store: a leader that knows half of the objects would decide on half of the world."""
        while self.why_not_ready():
            await self.clock.sleep(0.05)
        log.info("the first lists are complete: %s", ", ".join(f"{self.store.count(r.kind)} {r.plural}" for r in KINDS))
        self._electing = True
        await self.election.run()

    def _start_leading(self) -> None:
        self.services.gates.forget()
        self.shard_maps.forget()
        self.apps.begin(trusting=self.election.found.get(VERSION_ANNOTATION) == shuren.__version__)
        self.estate.start_leading()
        # a pass before its cluster is read finds nothing out; when it is, all of its apps are signalled
        unread = frozenset().union(*(triggers.on_cluster(self.store, key.name) for key in self.store.keys(MESOS_CLUSTERS.kind)))
        for resource in KINDS:
            # an object without status looks finished to kstatus: it must not wait behind those that have one
            fresh = self.store.lookup(resource.kind, STATE, NO_STATUS)
            for key in self.store.keys(resource.kind):
                self.queue.discard(key)  # what a standby gathered says no more than this list
                if key in fresh:
                    self.queue.add(key, priority=Priority.USER)
                else:
                    self.queue.add(key, priority=Priority.RESYNC, after=_FIRST_PICTURE if key in unread else 0.0)
        self.queue.resume()

    async def _shut_down(self, tasks: Collection[asyncio.Task[None]]) -> None:
        """Passes first, with everything they need still running and the lease still renewed; then the lease; then the rest."""
        self._stopping.set()
        self.queue.close()
        if not await self.workers.drain(grace=self.settings.shutdown_seconds):
            log.warning("passes were still under way after %.0f s and were stopped", self.settings.shutdown_seconds)
        for task in tasks:
            if task.get_name() == "election":
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        await self.election.release()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.references.close()
        await self.estate.close()
        await self.endpoints.stop()
        await self._for_lease.close()
        await self.kubernetes.close()

    # ------------------------------------------------------------------------------------------------ signals

    def _related(self, key: ObjectKey, item: Object, status_only: bool) -> Iterable[ObjectKey]:  # noqa: FBT001 - the type of Related
        # apps read a cluster from the estate, which tells its changes itself; its status is news for people only
        if status_only and key.kind == MESOS_CLUSTERS.kind:
            return ()
        apps = triggers.on_object(self.store, key, item)
        if status_only:
            return apps - {key}
        # services and maps look at tasks, not at what is said of an app
        return (apps | service_triggers.on_object(self.store, key, item) | map_triggers.on_object(self.store, key, item)) - {key}

    def _signal(self, keys: Iterable[ObjectKey]) -> None:
        for key in keys:
            self.queue.add(key, priority=Priority.EXTERNAL)

    def apps_changed(self, cluster: str, app_ids: frozenset[str]) -> None:
        """See the estate's Listener."""
        found = self.estate.get(cluster)
        owners = []
        if found is not None:
            for app_id in app_ids:
                claim = found.claims.get(app_id)
                if claim is not None:
                    owners.append(ObjectKey(kind=PAAS_APPS.kind, namespace=claim.namespace, name=claim.name))
        self._follow(cluster, app_ids)  # first: traffic waits for it
        self._signal(key for key in triggers.on_apps(self.store, cluster, app_ids, owners) if key in self.store)

    def apps_claimed(self, cluster: str, app_ids: frozenset[str]) -> None:
        """See the estate's Listener."""
        found = self.estate.get(cluster)
        claims = [found.claims.get(app_id) for app_id in app_ids] if found is not None else []
        owners = {ObjectKey(kind=PAAS_APPS.kind, namespace=claim.namespace, name=claim.name) for claim in claims if claim is not None}
        self._signal(triggers.on_apps(self.store, cluster, app_ids) - owners)
        self._follow(cluster, app_ids)

    def _follow(self, cluster: str, app_ids: frozenset[str]) -> None:
        """Services and maps look at the tasks and claims of their apps."""
        self._signal(service_triggers.on_apps(self.store, cluster, app_ids))
        for key in map_triggers.on_apps(self.store, cluster, app_ids):
            self.queue.add(key, priority=Priority.EXTERNAL, after=_BURST)

    def all_changed(self, cluster: str) -> None:
        """See the estate's Listener."""
        keys = triggers.on_cluster(self.store, cluster) | service_triggers.on_cluster(self.store, cluster)
        for key in keys | map_triggers.on_cluster(self.store, cluster):
            self.queue.add(key, priority=Priority.RESYNC)

    def reachability_changed(self, cluster: str) -> None:
        """See the estate's Listener. The status of each app changes, so that their passes are spread: an outage of Marathon is none of the
        API server.
        """
        for number, key in enumerate(sorted(triggers.on_cluster(self.store, cluster))):
            self.queue.add(key, priority=Priority.RESYNC, after=number / _PER_SECOND)
        for key in service_triggers.on_cluster(self.store, cluster) | map_triggers.on_cluster(self.store, cluster):
            self.queue.add(key, priority=Priority.RESYNC)

    def services_changed(self, cluster: str, services: frozenset[ServiceName] | None) -> None:
        """See the estate's Listener."""
        self._signal(self.services.gates.waiting(cluster))
        if services is None:
            for key in service_triggers.on_cluster(self.store, cluster) | self.services.left_behind(cluster):
                self.queue.add(key, priority=Priority.RESYNC)
            return
        self._signal(map_triggers.services_of(self.store, cluster, services))
        named = (ObjectKey(kind=PAAS_SERVICES.kind, namespace=name.namespace, name=name.name) for name in services)
        self._signal(key for key in named if self.store.get(key) is not None)

    def shards_changed(self, cluster: str, maps: frozenset[MapName] | None) -> None:
        """See the estate's Listener."""
        self._signal(self.shard_maps.gates.waiting(cluster))
        if maps is None:
            for key in map_triggers.on_cluster(self.store, cluster):
                self.queue.add(key, priority=Priority.RESYNC)
            return
        self._signal(map_triggers.on_maps(self.store, cluster, maps))

    def cluster_changed(self, cluster: str) -> None:
        """See the estate's Listener."""
        self._signal([ObjectKey(kind=MESOS_CLUSTERS.kind, namespace="", name=cluster)])

    # ------------------------------------------------------------------------------------------------ looking in

    def _generation(self, key: ObjectKey) -> int:
        known = self.store.identity(key)
        return 0 if known is None else known.generation

    def _known(self, resource: Resource, namespace: str, name: str) -> tuple[str, str] | None:
        return self.store.latest(ObjectKey(kind=resource.kind, namespace=namespace, name=name))

    def why_not_ready(self) -> str:
        """Empty when everything that existed at the start is in the store. What we may not read is said in the log and not waited for."""
        if self._stopping.is_set():
            return "shutting down"
        if not self.source.synced():
            return "the first list of our kinds is not complete"
        waiting = [reflector for reflector in self.beside if not reflector.synced and reflector.denied is None]
        return f"{len(waiting)} watches have not delivered yet: {waiting[0].last_error}" if waiting else ""

    def why_not_alive(self) -> str:
        """Empty while the loop runs and, once it has begun, the election goes round. Whether anything outside answers is no part of it."""
        silent = self.clock.monotonic() - self.election.heartbeat
        return f"the election has not gone round for {silent:.0f} s" if self._electing and silent > _STALLED_AFTER else ""

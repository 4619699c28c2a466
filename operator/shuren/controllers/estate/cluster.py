"""One connected cluster, as the kinds see it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from urllib.parse import urlsplit

from shuren.controllers.estate.claims import Claims
from shuren.controllers.estate.committer import CommitPolicy, Committer
from shuren.controllers.estate.connection import Connection, Identity
from shuren.controllers.estate.deletions import Deletions
from shuren.controllers.estate.directory import Directory
from shuren.controllers.estate.edge import Edge
from shuren.controllers.estate.guarded import GuardedMarathon, target
from shuren.controllers.estate.hosts import Hosts
from shuren.controllers.estate.listener import Listener
from shuren.controllers.estate.mirror import Mirror
from shuren.controllers.estate.pace import Pace
from shuren.controllers.estate.publications import Publications
from shuren.controllers.estate.shards import ShardMaps
from shuren.domain.app.snapshot import ClusterView, Problem
from shuren.domain.cluster import Blocked, ClusterSettings, Counts, Credentials, MesosSummary, Obstacle, PartView
from shuren.domain.errors import Denied, NotOurs, ShurenError, Throttled
from shuren.domain.guard import DeletionLimit
from shuren.domain.identity import Claim, ObjectKey
from shuren.domain.marathon.state import ActualApp, Deployment, MarathonInfo, QueueItem
from shuren.domain.service.directory import mesos_names, task_names
from shuren.domain.service.observe import Agent
from shuren.domain.service.plan import Publish
from shuren.domain.service.records import RecordFolder
from shuren.domain.service.snapshot import BalancerSeen, Published
from shuren.domain.service.values import MesosNames, ServiceName, TaskNames
from shuren.domain.tenancy import Tenancy
from shuren.ports.clock import Clock
from shuren.ports.kubernetes import MESOS_CLUSTERS
from shuren.ports.leadership import Leadership
from shuren.ports.zookeeper import FencedZooKeeper, Session
from shuren.runtime.waiting import sleep_or
from shuren.runtime.workers import beside

log = logging.getLogger(__name__)

_RETRY = 1.0
_RETRY_SLOWEST = 15.0
_FOREIGN = "ForeignInstallation"
_DENIED = "ZooKeeperDenied"
_FOREIGN_BEAT = 30.0
_LOOK_AGAIN = 0.1
_CROWD = 200
"""So many passes that may end in a write are a crowd."""


class Cluster:
    """Settings, mirror, claims and reachability of one cluster. Made and ended by the registry; kinds only read and write through it."""

    def __init__(
        self,
        *,
        settings: ClusterSettings,
        credentials: Credentials,
        connection: Connection,
        leadership: Leadership,
        identity: Identity,
        listener: Listener,
        clock: Clock,
        pace: Pace | None = None,
        chance: Callable[[], float] = lambda: 0.5,
        coming: Callable[[], int] = lambda: 0,
    ) -> None:
        self.settings = settings
        self.credentials = credentials
        self.connection = connection
        self._leadership = leadership
        self._identity = identity
        self._listener = listener
        self._clock = clock
        self.claims = Claims(
            zookeeper=connection.zookeeper,
            clock=clock,
            changed=self._apps_changed,
            state_changed=self._state_changed,
            taken=self._apps_claimed,
        )
        self.target = target(clock=clock, name=settings.name, requests_per_second=settings.marathon.requests_per_second)
        """The limits around every request to this Marathon."""
        marathon = GuardedMarathon(connection.marathon, self.target)
        self.mirror = Mirror(
            marathon=marathon,
            clock=clock,
            apps_changed=self._apps_changed,
            state_changed=self._state_changed,
            expected=lambda: self.claims.app_ids if self.claims.synced else frozenset(),
            pace=pace,
            chance=chance,
            crowded=lambda: coming() > _CROWD,
        )
        self.publications = Publications(zookeeper=connection.zookeeper, clock=clock, changed=lambda: self._services_changed(None))
        self.directory = Directory(
            zookeeper=connection.zookeeper,
            clock=clock,
            names=self._task_names,
            apps=lambda: self.mirror.app_ids if self.synced else None,
            mesos=self._mesos_names,
            wanted=lambda: bool(self.settings.dns_zone),
        )
        self.edge = Edge(zookeeper=connection.zookeeper, clock=clock, changed=self._services_changed)
        self.shards = ShardMaps(zookeeper=connection.zookeeper, clock=clock, changed=partial(listener.shards_changed, settings.name))
        self.hosts = Hosts(
            mesos=connection.mesos, clock=clock, answered=lambda: listener.cluster_changed(settings.name), moved=self._agents_moved
        )
        self.obstacle: Obstacle | None = None
        """What a person must do before the cluster can be used, as found while using it: the root belongs to another installation."""
        self.zookeeper_version = ""
        """Release of the ZooKeeper server of this session, as far as it tells."""
        self._session_lost_since: float | None = None
        self._began_at = clock.monotonic()
        self._deletions = Deletions(zookeeper=connection.zookeeper, clock=clock)
        self._tasks: list[asyncio.Task[None]] = []
        self._asked_while_away: set[str] = set()
        self._take_over_wanted = asyncio.Event()
        self._state = asyncio.Event()
        self._session_began = asyncio.Event()
        self._complete = False
        # whatever runs here outlives the pass that makes it, and says so in the log
        self._context = beside(ObjectKey(kind=MESOS_CLUSTERS.kind, namespace="", name=settings.name))
        self.writes = Committer(
            marathon=marathon,
            leadership=leadership,
            clock=clock,
            bucket=self.target.bucket,
            written=self.look_at,
            context=self._context,
            coming=coming,
            policy=CommitPolicy(deployments=settings.marathon.max_concurrent_deployments),
        )
        connection.zookeeper.on_session(self._session_changed)

    # ------------------------------------------------------------------------------------------------ what kinds read

    @property
    def name(self) -> str:
        """Of the MesosCluster."""
        return self.settings.name

    @property
    def zookeeper(self) -> FencedZooKeeper:
        """Our root."""
        return self.connection.zookeeper

    @property
    def info(self) -> MarathonInfo:
        """What Marathon says of itself; neutral values before it was first read."""
        return self.mirror.info or MarathonInfo(version="", framework_id=None, leader=None)

    @property
    def synced(self) -> bool:
        """Whether a whole picture of Marathon and of the claims has been read."""
        return self.mirror.synced and self.claims.synced

    @property
    def leading(self) -> bool:
        """Whether this process may write below the root: it leads, and has taken the epoch over in this term."""
        return self._leadership.held() and self.zookeeper.epoch is not None and not self._take_over_wanted.is_set()

    @property
    def epoch(self) -> int:
        """The fencing epoch, 0 before it was taken over."""
        held = self.zookeeper.epoch
        return 0 if held is None else held.number

    @property
    def unreachable_for(self) -> float | None:
        """Seconds since Marathon, or ZooKeeper if it is longer, stopped answering; None while both answer."""
        views = (self.marathon_view, self.zookeeper_view)
        away = [view.unreachable_for for view in views if view.unreachable_for is not None]
        return max(away) if away else None

    @property
    def marathon_view(self) -> PartView:
        """Whether Marathon answers."""
        return PartView(unreachable_for=self._since(self.mirror.unreachable_since), error=self.mirror.error, denied=self.mirror.denied)

    @property
    def zookeeper_view(self) -> PartView:
        """Whether there is a ZooKeeper session and claims can be read."""
        since = [at for at in (self._session_lost_since, self.claims.unreachable_since) if at is not None]
        return PartView(unreachable_for=self._since(min(since) if since else None), error=self.claims.error, denied=self.claims.denied)

    @property
    def mesos_view(self) -> PartView | None:
        """Whether Mesos answers; None when it is not read."""
        if self.connection.mesos is None:
            return None
        return PartView(unreachable_for=self._since(self.hosts.silent_since), error=self.hosts.error)

    @property
    def summary(self) -> MesosSummary | None:
        """What Mesos last said; None when it is not read or has never answered."""
        return self.hosts.summary

    @property
    def agent_places(self) -> Mapping[str, Agent]:
        """Address and zone of agents by Mesos' id, as Mesos last said."""
        return self.hosts.places

    @property
    def agents(self) -> int | None:
        """Active agents; None when Mesos is not read or has never answered."""
        return None if self.summary is None else self.summary.agents

    @property
    def age(self) -> float:
        """Seconds since this process connected, or began to lead if that was later."""
        return self._clock.monotonic() - self._began_at

    @property
    def counts(self) -> Counts | None:
        """None before the first picture."""
        if not self.synced:
            return None
        return Counts(
            apps=self.mirror.app_count,
            managed=self.claims.count,
            tasks=self.mirror.task_count,
            deployments=self.mirror.deployment_count,
        )

    def _since(self, at: float | None) -> float | None:
        return None if at is None else self._clock.monotonic() - at

    # ------------------------------------------------------------------------------------------------ what the app kinds use

    @property
    def view(self) -> ClusterView:
        """What decisions about apps need to know."""
        problem = self.obstacle
        return ClusterView(
            name=self.name,
            connected=self.leading,
            problem=None if problem is None else Problem(reason=problem.reason, message=problem.message),
            synced=self.synced,
            unreachable_for=self.unreachable_for,
            silence=self._silence,
            grace=self.settings.unreachable_grace,
            info=self.info,
            agents=self.agents,
            total=None if self.summary is None else self.summary.total,
        )

    @property
    def _silence(self) -> str:
        """Which part does not answer, in words that stay the same from attempt to attempt: ten thousand resources quote them."""
        marathon, zookeeper = self.marathon_view, self.zookeeper_view
        if (zookeeper.unreachable_for or 0.0) > (marathon.unreachable_for or 0.0):
            return "ZooKeeper refuses our credentials" if zookeeper.denied else "ZooKeeper does not answer"
        return "Marathon refuses our credentials" if marathon.denied else "Marathon does not answer"

    @property
    def tenancy(self) -> Tenancy:
        """Who may claim which ids."""
        return self.settings.tenancy

    @property
    def deletion_limit(self) -> DeletionLimit:
        """How many apps may be deleted per minute."""
        return self.settings.deletions

    @property
    def app_count(self) -> int:
        """How many apps Marathon has."""
        return self.mirror.app_count

    def app(self, app_id: str) -> ActualApp | None:
        """The app as last read."""
        return self.mirror.app(app_id)

    def deployment(self, app_id: str) -> Deployment | None:
        """The running deployment that touches the app."""
        return self.mirror.deployment(app_id)

    def queue_item(self, app_id: str) -> QueueItem | None:
        """What waits to be launched for the app; `delay_seconds` counts from now."""
        item = self.mirror.queue_item(app_id)
        if item is None or item.delay_seconds <= 0:
            return item
        passed = self._clock.monotonic() - self.mirror.progress_read_at
        return replace(item, delay_seconds=max(0.0, item.delay_seconds - passed))

    def shows(self, app_id: str, since: float) -> bool:
        """Whether the picture of the app was read at or after this moment (monotonic seconds)."""
        return self.mirror.as_of(app_id) >= since

    def look_at(self, app_id: str) -> None:
        """Something was written, or is not shown yet: read it soon; `apps_changed` follows even if nothing changed.

        While the cluster is away it follows as soon as it is back.
        """
        if self.unreachable_for is None:
            self.mirror.look_at([app_id])
        else:
            self._asked_while_away.add(app_id)

    def claim(self, app_id: str) -> Claim | None:
        """Who owns the id, as last read or written."""
        return self.claims.get(app_id)

    def claims_of(self, uid: str) -> tuple[Claim, ...]:
        """All claims of one resource."""
        return self.claims.of(uid)

    async def take(self, app_id: str, *, uid: str, key: ObjectKey, replaces: str = "") -> None:
        """Claim an id by compare-and-set. See `Claims.claim` for the errors."""
        self._leadership.check()
        claim = Claim(app_id=app_id, uid=uid, namespace=key.namespace, name=key.name, epoch=self.epoch)
        await self.claims.claim(claim, replaces=replaces)

    async def release(self, app_id: str, *, uid: str) -> None:
        """Give an id back; nothing happens when this resource does not hold it."""
        self._leadership.check()
        await self.claims.release(Claim(app_id=app_id, uid=uid, namespace="", name="", epoch=self.epoch))

    # ------------------------------------------------------------------------------------------------ what services use

    @property
    def zone(self) -> str:
        """Under which services have their names; empty: they have none."""
        return self.settings.dns_zone

    @property
    def record_roots(self) -> tuple[str, ...]:
        """Paths below which discovery records may be kept."""
        return self.settings.record_roots

    @property
    def published_services(self) -> frozenset[ServiceName]:
        """All services of which something lies in ZooKeeper; empty while that is not known."""
        return self.publications.services

    def published(self, service: ServiceName) -> Published | None:
        """What lies in ZooKeeper of a service; None while that is not known."""
        return self.publications.get(service)

    async def strangers(self, folders: Iterable[RecordFolder], journal: Mapping[str, str]) -> Mapping[str, tuple[str, ...]]:
        """Nodes of others in folders of records."""
        return await self.publications.strangers(folders, journal)

    async def publish(self, change: Publish) -> None:
        """Bring about what a plan says of a service."""
        self._leadership.check()
        await self.publications.publish(change)

    async def withdraw(self, service: ServiceName) -> None:
        """Remove everything of a service."""
        self._leadership.check()
        await self.publications.withdraw(service)

    def balancers(self, group: str, service: ServiceName) -> tuple[BalancerSeen, ...]:
        """Load balancers of a group with what each has acknowledged of a service."""
        return self.edge.balancers(group, service)

    # ------------------------------------------------------------------------------------------------ what shard maps use

    @property
    def agents_known(self) -> bool:
        """Whether Mesos has told where its agents are, or is not asked at all."""
        return self.hosts.known

    @property
    def agents_going(self) -> frozenset[str]:
        """Host names of agents that Mesos was told to drain or deactivate."""
        return self.hosts.going

    # ------------------------------------------------------------------------------------------------ the guard on deletions

    @property
    def deletion_wait(self) -> float:
        """Seconds that the guard makes the next deletion of an app wait; 0 when it may go."""
        return self._deletions.wait(self.settings.deletions, apps=self.mirror.app_count)

    async def permit_deletion(self) -> None:
        """Count a deletion that is about to be sent, for this process and every leader after it.

        Throttled when too many were within a minute; Unreachable and Fenced when it cannot be written down.
        """
        await self._deletions.recall()
        if self.deletion_wait > 0:
            # many passes may have seen the same last free place: the next one holds the resource back and says so
            raise Throttled(f"too many apps of {self.name} were deleted within a minute", retry_after=_LOOK_AGAIN)
        await self._deletions.note()
        if self.deletion_wait > 0:
            self._listener.cluster_changed(self.name)

    def inherit(self, former: Cluster) -> None:
        """Take over what the guard remembers of the connection that this one replaces."""
        self._deletions.inherit(former._deletions)

    # ------------------------------------------------------------------------------------------------ running

    def start(self) -> None:
        """Begin to mirror."""
        work = {
            "mirror": self.mirror.run(),
            "claims": self.claims.run(),
            "epoch": self._hold_epoch(),
            "reachability": self._tell_reachability(),
            "publications": self.publications.run(),
            "load balancers": self.edge.run(),
            "shard maps": self.shards.run(),
            "names of tasks": self.directory.run(),
            "version of ZooKeeper": self._read_zookeeper_version(),
        }
        if self.connection.mesos is not None:
            work["mesos"] = self.hosts.run()
        self._tasks = [
            asyncio.create_task(coroutine, name=f"{what} of {self.name}", context=self._context) for what, coroutine in work.items()
        ]
        for task in self._tasks:
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """These tasks end only by cancellation; anything else is a mistake in the program, and must not go unseen."""
        if task.cancelled():
            return
        error = task.exception()
        log.critical("%s ended by a mistake in the program", task.get_name(), exc_info=error)
        self.obstacle = Obstacle(
            kind=Blocked.STALLED, reason="InternalError", message=f"the operator must be restarted: {task.get_name()} ended: {error!r}"
        )
        self._listener.cluster_changed(self.name)

    async def close(self) -> None:
        """Stop mirroring and end the connection."""
        await self.stop()
        await self.connection.close()

    async def stop(self) -> None:
        """End everything that reads or writes; the connection stays."""
        for task in self._tasks:
            task.cancel()
        # gather, since a cancellation of whoever waits here must not be taken for one of theirs
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.writes.close()

    def take_over(self) -> None:
        """This process has begun to lead: raise the epoch as soon as ZooKeeper answers."""
        self._began_at = self._clock.monotonic()
        self._take_over_wanted.set()

    def reconfigure(self, settings: ClusterSettings) -> None:
        """Settings that need no other connection."""
        self.settings = settings
        self.directory.changed()
        self._state.set()

    async def rotate(self, credentials: Credentials) -> None:
        """Use new credentials and look at once whether they are taken."""
        await self.connection.rotate(credentials)
        self.credentials = credentials
        self.mirror.look_at_everything()

    async def _hold_epoch(self) -> None:
        """Once per term: raise the epoch. A process that was fenced never raises it again in the same term."""
        failures = 0
        while True:
            await self._take_over_wanted.wait()
            try:
                self._leadership.check()
                epoch = await self.zookeeper.take_over(holder=self._identity.holder, installation=self._identity.installation)
            except (NotOurs, Denied) as error:
                reason = _FOREIGN if isinstance(error, NotOurs) else _DENIED
                before, self.obstacle = self.obstacle, Obstacle(kind=Blocked.STALLED, reason=reason, message=str(error))
                self._listener.cluster_changed(self.name)
                if self.obstacle != before:
                    self._tell_all()
                await self._clock.sleep(_FOREIGN_BEAT)
                continue
            except ShurenError as error:
                if not self._leadership.held():
                    self._take_over_wanted.clear()
                    continue
                failures += 1
                log.info("epoch not taken over yet: %s", error)
                await self._clock.sleep(min(_RETRY * 2 ** (failures - 1), _RETRY_SLOWEST))
                continue
            else:
                failures = 0
                self._take_over_wanted.clear()
                log.info("holding epoch %d", epoch.number)
                if self.obstacle is not None and self.obstacle.reason in {_FOREIGN, _DENIED}:
                    self.obstacle = None
            self.publications.look()
            self.shards.look()
            self.directory.changed()
            self._listener.cluster_changed(self.name)
            self._tell_all()

    async def _read_zookeeper_version(self) -> None:
        """Once per session: another one may be on another server."""
        while True:
            self._session_began.clear()
            try:
                version = await self.zookeeper.version()
            except ShurenError as error:
                log.debug("version of ZooKeeper of %s not read: %s", self.name, error)
            else:
                if version != self.zookeeper_version:
                    self.zookeeper_version = version
                    self._listener.cluster_changed(self.name)
            await self._session_began.wait()

    async def _tell_reachability(self) -> None:
        """Tell all apps when the cluster counts as unreachable (after the grace period) and when it is back.

        Who asked during a shorter outage is told too, when it is over.
        """
        given_up = False
        while True:
            self._state.clear()
            away = self.unreachable_for
            if away is None and self._asked_while_away:
                asked, self._asked_while_away = frozenset(self._asked_while_away), set()
                self._listener.apps_changed(self.name, asked)
            left = None if away is None else self.settings.unreachable_grace - away
            if left is None or left > 0:
                back = away is None and given_up
                given_up = given_up and not back
                if back:
                    self._listener.reachability_changed(self.name)
                if left is None or given_up:
                    await self._state.wait()
                else:
                    await sleep_or(self._clock, left, self._state)
                continue
            if not given_up:
                given_up = True
                self._listener.cluster_changed(self.name)
                self._listener.reachability_changed(self.name)
            await self._state.wait()

    # ------------------------------------------------------------------------------------------------ signals

    def _apps_changed(self, app_ids: frozenset[str]) -> None:
        if not self._complete:
            self._check_complete()  # the first whole picture is told to all, once; half a picture is no news
            return
        self.directory.changed(app_ids)
        self._listener.apps_changed(self.name, app_ids)

    def _apps_claimed(self, app_ids: frozenset[str]) -> None:
        self.directory.changed(app_ids)
        self._listener.apps_claimed(self.name, app_ids)

    def _task_names(self, app_id: str) -> TaskNames | None:
        app = self.mirror.app(app_id)
        return None if app is None else task_names(app, self.agent_places)

    def _mesos_names(self) -> MesosNames:
        leader = self.summary.leader if self.summary is not None else ""
        masters = [urlsplit(url).netloc for url in (self.settings.mesos.masters if self.settings.mesos is not None else ())]
        return mesos_names(leader=leader, masters=masters, agents=self.agent_places.values())

    def _agents_moved(self) -> None:
        self._services_changed(None)
        self._listener.shards_changed(self.name, None)
        self.directory.changed()

    def _services_changed(self, services: frozenset[ServiceName] | None) -> None:
        self._listener.services_changed(self.name, services)

    def _state_changed(self) -> None:
        self._check_complete()
        self._state.set()
        self._listener.cluster_changed(self.name)

    def _check_complete(self) -> None:
        if not self._complete and self.synced:
            self._complete = True
            self.directory.changed()
            self._tell_all()
            self._listener.cluster_changed(self.name)

    def _tell_all(self) -> None:
        """Once in a term: everything of this cluster can be decided now. Said sooner, each pass would find that it cannot be yet."""
        if self._complete and (self.leading or self.obstacle is not None):
            self._listener.all_changed(self.name)

    def _session_changed(self, session: Session) -> None:
        if session is Session.CONNECTED:
            self._session_lost_since = None
            self._session_began.set()
        elif self._session_lost_since is None:
            self._session_lost_since = self._clock.monotonic()
        self._state_changed()

"""What `shuren plan` would show of the small world of PaasApps, and what then happens there."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from lead import Lead
from paasapp_cluster import LiveCluster
from paasapp_world import WATCHED, BalancedGates, Process, World, key_of
from shuren.controllers.preview import LookedUp, Onlooker, Preview
from shuren.domain.app.plan import Action, CancelDeployment, DeleteApp, Drain, KillTasks, PutApp, RestartApp, RestoreVersion, ScaleApp
from shuren.domain.app.snapshot import ClusterView, Snapshot
from shuren.domain.identity import ObjectKey
from shuren.domain.preview.whole import WholePlan
from shuren.domain.service.observe import Agent
from shuren.domain.service.plan import Publish
from shuren.domain.service.records import RecordFolder
from shuren.domain.service.snapshot import BalancerSeen, Published
from shuren.domain.service.values import ServiceName
from shuren.ports.kubernetes import MESOS_CLUSTERS
from shuren.runtime.store import Store

CALLS = {
    PutApp: "put_apps",
    ScaleApp: "patch_apps",
    KillTasks: "kill_tasks",
    RestartApp: "restart",
    RestoreVersion: "restore",
    CancelDeployment: "cancel_deployment",
    DeleteApp: "delete_app",
}
"""What each action is for Marathon."""


class Looked(LiveCluster):
    """A cluster of the small world of apps, in which nothing is published."""

    zone = ""
    record_roots: tuple[str, ...] = ()
    agent_places: Mapping[str, Agent] = {}
    published_services: frozenset[ServiceName] = frozenset()
    epoch = 0
    agents_known = True
    agents_going: frozenset[str] = frozenset()
    shards = None

    def published(self, service: ServiceName) -> Published | None:
        assert service
        return Published()

    async def strangers(self, folders: Iterable[RecordFolder], journal: Mapping[str, str]) -> Mapping[str, tuple[str, ...]]:
        assert not list(folders)
        assert not journal
        return {}

    async def publish(self, change: Publish) -> None:
        raise AssertionError(change)

    async def withdraw(self, service: ServiceName) -> None:
        raise AssertionError(service)

    def balancers(self, group: str, service: ServiceName) -> tuple[BalancerSeen, ...]:
        assert group
        assert service
        return ()

    @property
    def view(self) -> ClusterView:
        return replace(super().view, connected=True)


class LookedClusters:
    """All sites for which a MesosCluster exists, looked at by somebody who leads nothing."""

    def __init__(self, world: World, store: Store) -> None:
        self._store = store
        self._clusters = {name: Looked(site, _never(), world.hook, "somebody") for name, site in world.sites.items()}

    def get(self, name: str) -> Looked | None:
        declared = self._store.get(ObjectKey(kind=MESOS_CLUSTERS.kind, namespace="", name=name)) is not None
        return self._clusters.get(name) if declared else None

    def names(self) -> tuple[str, ...]:
        return tuple(name for name in sorted(self._clusters) if self.get(name) is not None)


class Told(BalancedGates):
    """Load balancers as somebody sees them who tells them nothing: how far they are with draining they tell everybody."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        if world.process is not None and world.process.gates is not None:
            self.since = copy.deepcopy(world.process.gates.since)

    def drain(self, cluster: str, app_id: str, task_ids: frozenset[str]) -> None:
        raise AssertionError((cluster, app_id, task_ids))


def _never() -> Lead:
    lead = Lead()
    lead.leads = Onlooker().held()
    return lead


def _preview(world: World) -> Preview:
    store, told = Store(), Told(world) if world.balanced else None
    preview = Preview(
        kubernetes=world.kubernetes,
        store=store,
        clusters=LookedClusters(world, store),
        references=LookedUp(world.kubernetes),
        clock=world.clock,
        adviser=world.adviser,
        gates=[told] if told is not None else [],
        traffic=told,
    )
    for resource in WATCHED:
        for item in world.kubernetes.all(resource):
            store.put(key_of(resource, item), copy.deepcopy(item))
    return preview


async def plan(world: World, keys: Collection[ObjectKey] | None = None) -> WholePlan:
    """The plan for these resources (all of them), from nothing but what lies outside."""
    before = world.writes
    found = await _preview(world).plan(world.everyone() if keys is None else keys)
    assert world.writes == before, "a plan wrote something"
    return found


async def seen(world: World, name: str = "web") -> Snapshot:
    """What decisions about a PaasApp see."""
    found = await _preview(world).look(world.everyone())
    return next(snapshot for key, snapshot in found.apps.items() if key.name == name)


@dataclass(frozen=True, kw_only=True)
class Happened:
    """What Marathon was asked for, as (call, app), and what became of the tasks that ran: those that `drained` were told to first."""

    calls: tuple[tuple[str, str], ...]
    gone: frozenset[str]
    kept: frozenset[str]
    drained: frozenset[str]
    tasks: int


def foreseen(found: WholePlan) -> tuple[tuple[str, str], ...]:
    """What a plan says that Marathon will be asked for."""
    return tuple(call for _, forecast in found.apps for call in calls_of(forecast.actions))


def to_be_drained(found: WholePlan) -> frozenset[str]:
    """Tasks that a plan says will be let go of before they go."""
    return frozenset(task for _, forecast in found.apps for a in forecast.actions if isinstance(a, Drain) for task in a.task_ids)


def calls_of(actions: Iterable[Action]) -> tuple[tuple[str, str], ...]:
    """What Marathon is asked for by these actions, as (call, app)."""
    return tuple(
        (CALLS[type(a)], a.app_id)
        for a in actions
        if isinstance(a, (PutApp, ScaleApp, KillTasks, RestartApp, RestoreVersion, CancelDeployment, DeleteApp))
    )


def running(world: World) -> frozenset[tuple[str, str]]:
    """Tasks that Marathon lists as active, as (site, id)."""
    return frozenset(
        (site.name, task.id)
        for site in world.sites.values()
        for app_id in site.marathon.definitions
        if (app := site.marathon.actual(app_id)) is not None
        for task in app.tasks
        if task.state.active
    )


def taken(world: World) -> Mapping[str, int]:
    """How many calls each Marathon has had."""
    return {name: len(site.marathon.calls) for name, site in world.sites.items()}


def asked_since(world: World, done: Mapping[str, int]) -> tuple[tuple[str, str], ...]:
    """Calls that each has had since then and taken, as (call, app)."""
    return tuple(
        ("patch_apps" if call.name == "patch_app" else call.name, app_id)
        for name, site in world.sites.items()
        for call in site.marathon.calls[done[name] :]
        if call.error is None
        for app_id in call.app_ids
    )


class Judged(World):
    """Before each pass somebody else makes a plan, from nothing but what lies outside: what the pass asks of Marathon is what that said."""

    def __init__(self, *, sites: tuple[str, ...] = ("bj1",)) -> None:
        super().__init__(sites=sites)
        self.judged = 0
        """Passes that asked for something."""

    async def passing(self, process: Process, key: ObjectKey) -> None:
        process.sync()
        found = await plan(self, [key]) if self.resource(key.name, key.namespace) is not None else None
        done = taken(self)
        await super().passing(process, key)
        asked = asked_since(self, done)
        if asked:
            assert found is not None
            foretold = tuple(call for _, forecast in found.apps for call in calls_of(forecast.now.actions))
            # for how long nothing has moved, only the process has seen
            given_up = {call for call, _ in asked} <= {CALLS[RestoreVersion], CALLS[CancelDeployment]}
            assert asked == foretold or given_up, f"{asked}, and the plan said {foretold}"
            self.judged += asked == foretold


async def happens(world: World) -> Happened:
    """Let everything settle, and say what happened."""
    before, drained = running(world), world.drained
    done = taken(world)
    await world.settle()
    after = running(world)
    calls = asked_since(world, done)
    return Happened(calls=calls, gone=_ids(before - after), kept=_ids(before & after), drained=world.drained - drained, tasks=len(after))


def _ids(tasks: Iterable[tuple[str, str]]) -> frozenset[str]:
    return frozenset(task for _, task in tasks)

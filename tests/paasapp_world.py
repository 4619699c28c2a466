"""A whole small world for the PaasApp controller: API server, ZooKeeper, Marathon and operator processes, all in memory, one clock.

Nothing moves by itself. `settle` lets passes, Marathon and the clock move until nothing changes any more. Passes happen only when something
was heard of, or when one asked for another, as in production. A `CrashPoint` given to the world ends the operator process at any external
write, and the next one starts from scratch.
"""

from __future__ import annotations

import base64
import copy
import json
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from lead import Lead
from paasapp_cluster import LiveCluster, LiveClusters, Site
from shuren.clients.fakes.clock import ManualClock
from shuren.clients.fakes.crash import Crash, CrashPoint, Moment
from shuren.clients.fakes.kubernetes import FakeKubernetes
from shuren.clients.fakes.marathon_world import MarathonWorld
from shuren.controllers.paasapp import status, triggers
from shuren.controllers.paasapp.controller import PaasAppController
from shuren.domain import claims
from shuren.domain.app.progress import Split, split
from shuren.domain.app.snapshot import FINALIZER, Carrier, Count, Gates, Problem
from shuren.domain.errors import Conflict, Denied, Fenced, ShurenError, Transient, Unreachable
from shuren.domain.identity import ObjectKey
from shuren.domain.marathon.state import QueueItem, Task
from shuren.ports.events import Severity
from shuren.ports.kubernetes import CONFIG_MAPS, CONTROLLER_REVISIONS, MESOS_CLUSTERS, NAMESPACES, PAAS_APPS, SECRETS, Object, Resource
from shuren.runtime.store import Store
from strict_kubernetes import StrictKubernetes

WATCHED = (PAAS_APPS, CONTROLLER_REVISIONS, MESOS_CLUSTERS, NAMESPACES)


class LiveReferences:
    """`world.References` straight on the API server."""

    def __init__(self, kubernetes: FakeKubernetes) -> None:
        self._kubernetes = kubernetes
        self.read = True
        self.denied: Denied | None = None
        self.wanted: dict[ObjectKey, frozenset[ObjectKey]] = {}

    def require(self, owner: ObjectKey, wanted: frozenset[ObjectKey]) -> Mapping[ObjectKey, Object | None] | None:
        self.wanted[owner] = wanted
        if self.denied is not None and wanted:
            raise self.denied
        if not self.read:
            return None
        found = {key_of(r, item): item for r in (SECRETS, CONFIG_MAPS) for item in self._kubernetes.all(r)}
        return {key: found.get(key) for key in wanted}


class Recorder:
    """`EventRecorder` that remembers."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def record(self, regarding: Object, *, severity: Severity, reason: str, action: str, note: str) -> None:  # noqa: ARG002 - remembers little
        self.events.append((reason, note))


def _wait(item: QueueItem | None) -> object:
    """What of a queue item counts as news: not its countdown."""
    return None if item is None else (item.count, item.overdue, frozenset(item.rejections))


def key_of(resource: Resource, item: Object) -> ObjectKey:
    metadata = item["metadata"]
    return ObjectKey(kind=resource.kind, namespace=metadata.get("namespace", ""), name=metadata["name"])


class Process:
    """One operator process: its store, its memory, its leadership. A new one knows nothing but what lies outside."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.lead = Lead()
        self.store = Store()
        self.clusters = {name: LiveCluster(site, self.lead, world.hook, f"operator-{number}") for name, site in world.sites.items()}
        self.references = LiveReferences(world.kubernetes)
        self.recorder = world.recorder
        self.signalled: set[ObjectKey] = set()
        """Keys that something was heard of, and `due` those that asked for another pass at a time: no others get one."""
        self.due: dict[ObjectKey, float] = {}
        self._seen_values: dict[ObjectKey, str] = {}
        self._seen_apps: dict[str, dict[str, object]] = {}
        self.gates = balanced = BalancedGates(world) if world.balanced else None
        self.controller = PaasAppController(
            kubernetes=world.kubernetes,
            store=self.store,
            clusters=LiveClusters(self.clusters, self.store),
            references=self.references,
            leadership=self.lead,
            clock=world.clock,
            signal=self.signalled.update,
            events=self.recorder,
            changed=world.changes.append,
            adviser=world.adviser,
            gates=balanced,
            traffic=balanced,
            crowded=lambda: world.crowded,
        )
        self.controller.begin(trusting=True)

    async def start(self) -> None:
        for cluster in self.clusters.values():
            await cluster.take_over()

    def sync(self) -> None:
        """Bring the store to the API server's present, as watches do, and signal whom the news concern."""
        for resource in WATCHED:
            present = {key_of(resource, item): item for item in self.world.kubernetes.all(resource)}
            for key, item in present.items():
                if self.store.put(key, item):
                    self.signalled |= triggers.on_object(self.store, key, item)
            for key in self.store.keys(resource.kind):
                if key not in present:
                    self.signalled |= triggers.on_object(self.store, key, self.store.remove(key))
        self._values()
        for site in self.world.sites.values():
            self._marathon(site)

    def _values(self) -> None:
        """Secrets and ConfigMaps signal those that refer to them."""
        now = {key_of(r, i): i["metadata"]["resourceVersion"] for r in (SECRETS, CONFIG_MAPS) for i in self.world.kubernetes.all(r)}
        changed = {key for key in now.keys() | self._seen_values.keys() if now.get(key) != self._seen_values.get(key)}
        self.signalled |= {owner for owner, wanted in self.references.wanted.items() if wanted & changed}
        self._seen_values = now

    def _marathon(self, site: Site) -> None:
        """What the mirror and the claims tell: ids of apps that look different, or that somebody asked to look at."""
        cluster = self.clusters[site.name]
        ids = {*site.marathon.definitions, *self.world.claims(site.name)}
        now: dict[str, object] = {i: (cluster.app(i), cluster.deployment(i), _wait(cluster.queue_item(i)), cluster.claim(i)) for i in ids}
        before = self._seen_apps.get(site.name, {})
        changed = {i for i in now.keys() | before.keys() if now.get(i) != before.get(i)}
        if site.unreachable_since is None:
            changed |= set(cluster.looked_at)
            cluster.looked_at.clear()
        self._seen_apps[site.name] = now
        owners = {c.uid: ObjectKey(kind="PaasApp", namespace=c.namespace, name=c.name) for i in changed if (c := cluster.claim(i))}
        self.signalled |= triggers.on_apps(self.store, site.name, changed, owners.values())

    async def pass_over(self, key: ObjectKey) -> float | None:
        """One pass as a worker runs it; seconds until the next one is asked for."""
        self.sync()
        self.signalled.discard(key)
        self.due.pop(key, None)
        after = await self._outcome(key)
        if after is not None:
            self.due[key] = self.world.clock.monotonic() + after
        return after

    def _compare(self, key: ObjectKey) -> None:
        """The short look of a new leader and the full one agree, whenever the short one is content."""
        item = self.store.get(key)
        if item is None or self.store.behind(key) or not self.controller._gatherer.at_rest(key, item):
            return
        seen, plan = self.controller.plan(key, item)
        if any(condition.reason == "NotUnderstood" for condition in plan.conditions or ()):
            return  # a definition that has become nonsense under the same version: nothing is done about it in either case
        assert (plan.actions, plan.requeue_after) == ((), None), f"{key} is not at rest: {plan}"
        assert status.document(seen.snapshot, plan) in (None, item["status"])
        self.world.at_rest += 1

    async def _outcome(self, key: ObjectKey) -> float | None:
        self._compare(key)
        try:
            outcome = await self.controller.reconcile(key)
        except Fenced:
            raise
        except Conflict:
            return 0.2
        except Transient as error:
            return error.retry_after or 1.0
        return outcome.requeue_after


class BalancedGates:
    """A load balancer before every app. A task that drains has let go of its traffic `world.lets_go_after` seconds later.

    What it remembers dies with the process, and what was published as draining is what the next one begins with.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.since: dict[str, dict[str, float]] = {}

    def look(self, cluster: str, app_id: str, owner: ObjectKey, *, limit: float) -> Gates:
        assert cluster
        assert owner.name
        now = self.world.clock.monotonic()
        known = self.since.setdefault(app_id, dict.fromkeys(self.world.draining.get(app_id, ()), now))
        after = min(limit, self.world.lets_go_after)
        free = frozenset(task for task, at in known.items() if now - at >= after)
        held = {task: "load balancer lb-1 has sessions with it" for task in known if task not in free}
        left = min((known[task] + after - now for task in held), default=None)
        return Gates(closed=True, draining=frozenset(known), released=free, why=held, left=left)

    def drain(self, cluster: str, app_id: str, task_ids: frozenset[str]) -> None:
        assert cluster
        now = self.world.clock.monotonic()
        known = self.since.get(app_id, {})
        self.since[app_id] = {task: known.get(task, now) for task in task_ids}
        self.world.draining[app_id] = task_ids
        self.world.drained |= task_ids

    def passed(self, cluster: str, app_id: str) -> None:
        assert cluster
        there = {i.id for i in self.world.marathon_tasks(app_id)}
        self.since[app_id] = {task: at for task, at in self.since.get(app_id, {}).items() if task in there}

    def carriers(self, cluster: str, app_ids: tuple[str, str], owner: ObjectKey) -> tuple[Carrier, ...]:
        assert cluster
        self.world.publish_split(owner)
        told, at = self.world.splits[owner]
        share = told.weight if told.beside == app_ids[1] else None
        behind = "" if self.world.clock.monotonic() - at >= self.world.follows_after else "load balancer lb-1 has yet to follow shop.web"
        counts = {"lb-1": self.world.counted(app_ids[1], at if told.weight and not behind else None)}
        ready = len(self.world.marathon_tasks(app_ids[1]))
        unproven = "" if self.world.checks_pass else f"load balancer lb-1 has 0 of {ready} endpoints of {app_ids[1]} up"
        seen = Carrier(service="", share=share, behind=behind, ready=ready, unproven=unproven, counts=counts)
        return tuple(replace(seen, service=name) for name in self.world.services)

    def split(self, owner: ObjectKey) -> None:
        self.world.publish_split(owner)

    def settled(self, owner: ObjectKey) -> None:
        assert owner.name


class World:
    """See the module. `balanced`: every app is behind a load balancer, which its tasks must have let go of before they are removed."""

    balanced = False
    lets_go_after = 12.0
    follows_after = 3.0
    """Seconds in which load balancers bring about another split of traffic."""
    checks_pass = True
    """Whether load balancers' own checks of new instances pass."""
    requests_per_second = 20.0
    crowded = False
    """Whether others wait that nothing has been done for yet."""
    services: tuple[str, ...] = ("shop.web",)
    """Names of the services that carry each app, where it is balanced."""

    def __init__(self, *, crash: CrashPoint | None = None, seed: int | None = None, sites: tuple[str, ...] = ("bj1",)) -> None:
        self.clock = ManualClock()
        self.crash: CrashPoint | None = crash
        self.random = random.Random(seed) if seed is not None else None  # noqa: S311 - chance for tests
        self.kubernetes = StrictKubernetes(hook=self._kubernetes_hook)
        self.recorder = Recorder()
        self.changes: list[str] = []
        """What was counted as changed outside, by operation."""
        self.at_rest = 0
        """Passes of which the short look says that there is nothing to do."""
        self.adviser: Callable[[Any, Any], tuple[Problem, ...]] = lambda _definition, _cluster: ()
        self.sites = {name: Site(name, self.clock) for name in sites}
        self.draining: dict[str, frozenset[str]] = {}
        """What load balancers were told of each app."""
        self.drained: frozenset[str] = frozenset()
        """All tasks that were ever asked to drain."""
        self.splits: dict[ObjectKey, tuple[Split, float]] = {}
        """How traffic is split, by owner, and since when it is published so."""
        self.process: Process | None = None
        self.processes = 0
        self.steps: list[str] = []
        for name in sites:
            self.kubernetes.user_apply(MESOS_CLUSTERS, {"metadata": {"name": name}, "spec": {}})
        self.kubernetes.user_apply(NAMESPACES, {"metadata": {"name": "shop"}})

    # ------------------------------------------------------------------------------------------------ crashing

    def hook(self, moment: Moment, what: str) -> None:
        if moment is Moment.BEFORE:
            self.steps.append(what)
        if self.crash is not None and not what.endswith(("/epoch", "/meta", "/owners", "/shuren", "/shuren/bj1", "/shuren/bj2")):
            self.crash(moment, what)

    def _kubernetes_hook(self, text: str) -> None:
        moment, _, what = text.partition(" ")
        if self.process is not None:
            self.hook(Moment(moment), what)

    # ------------------------------------------------------------------------------------------------ what users do

    @property
    def site(self) -> Site:
        return self.sites["bj1"]

    @property
    def marathon(self) -> MarathonWorld:
        return self.site.marathon

    def apply(self, name: str = "web", *, namespace: str = "shop", cluster: str = "bj1", annotations: Any = None, **spec: Any) -> None:
        metadata: Object = {"name": name, "namespace": namespace}
        known = self.resource(name, namespace)
        if annotations is not None:
            metadata["annotations"] = annotations
        if known is not None:
            metadata["labels"] = {}
        body = {"metadata": metadata, "spec": {"cmd": "sleep 1000", "instances": 1, "clusterRef": {"name": cluster}, **spec}}
        self._outside(lambda: self.kubernetes.user_apply(PAAS_APPS, json.loads(json.dumps(body))))

    def annotate(self, name: str = "web", **annotations: str) -> None:
        """Somebody adds annotations and leaves the rest."""
        known = self.resource(name)
        assert known is not None
        kept = known["metadata"].get("annotations") or {}
        metadata = {"name": name, "namespace": "shop", "annotations": {**kept, **annotations}, "labels": {}}
        self._outside(lambda: self.kubernetes.user_apply(PAAS_APPS, {"metadata": metadata, "spec": known["spec"]}))

    def delete(self, name: str = "web", *, namespace: str = "shop") -> None:
        self._outside(lambda: self.kubernetes.user_delete(PAAS_APPS, namespace, name))

    def secret(self, name: str, **values: str) -> None:
        data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
        self._outside(lambda: self.kubernetes.user_apply(SECRETS, {"metadata": {"name": name, "namespace": "shop"}, "data": data}))

    def _outside(self, act: Callable[[], object]) -> None:
        process, self.process = self.process, None
        act()
        self.process = process

    # ------------------------------------------------------------------------------------------------ what tests read

    def resource(self, name: str = "web", namespace: str = "shop") -> Object | None:
        for item in self.kubernetes.all(PAAS_APPS):
            if (item["metadata"]["namespace"], item["metadata"]["name"]) == (namespace, name):
                return item
        return None

    def status(self, name: str = "web") -> Object:
        item = self.resource(name)
        assert item is not None, f"{name} does not exist"
        return dict(item.get("status") or {})

    def conditions(self, name: str = "web") -> dict[str, tuple[str, str]]:
        return {c["type"]: (c["status"], c["reason"]) for c in self.status(name).get("conditions", ())}

    def message(self, name: str = "web", kind: str = "Ready") -> str:
        return next((str(c["message"]) for c in self.status(name).get("conditions", ()) if c["type"] == kind), "")

    def ready(self, name: str = "web") -> bool:
        item = self.resource(name)
        return (
            item is not None
            and self.conditions(name).get("Ready", ("", ""))[0] == "True"
            and self.status(name).get("observedGeneration") == item["metadata"]["generation"]
        )

    def revisions(self) -> dict[str, str]:
        items = self.kubernetes.all(CONTROLLER_REVISIONS)
        return {
            i["metadata"]["labels"]["paas.shurenyun.com/revision"]: i["metadata"]["annotations"]["paas.shurenyun.com/state"] for i in items
        }

    def counted(self, app_id: str, since: float | None) -> Count:
        """What the load balancer counts of an app that has had traffic since then: commands that say `bad` answer every other request with
        an error, and those that say `slow` take their time.
        """
        words = str(self.marathon.definitions.get(app_id, {}).get("cmd", "")).split()
        requests = int((self.clock.monotonic() - since) * self.requests_per_second) if since is not None else 0
        return Count(requests=requests, errors=requests // 2 if "bad" in words else 0, latency=900 if "slow" in words else 5)

    def publish_split(self, owner: ObjectKey) -> None:
        """What services do: they publish the split that the status tells."""
        item = self.resource(owner.name, owner.namespace)
        told = split((item or {}).get("status") or {})
        if self.splits.get(owner, (None, 0.0))[0] != told:
            self.splits[owner] = (told, self.clock.monotonic())

    def claims(self, site: str = "bj1") -> dict[str, str]:
        root = f"/shuren/{site}/owners"
        tree = self.sites[site].tree
        nodes = [tree.node(f"{root}/{name}") for name in tree.children(root) or ()]
        return {c.app_id: f"{c.namespace}/{c.name}" for node in nodes if node is not None for c in claims.decode(node.data).values()}

    def marathon_tasks(self, app_id: str) -> tuple[Task, ...]:
        """Tasks that Marathon lists as active in any of the sites."""
        apps = [site.marathon.actual(app_id) for site in self.sites.values()]
        return tuple(task for app in apps if app is not None for task in app.tasks if task.state.active)

    def end_state(self) -> Object:
        """Everything that must not depend on how it came about: no times, versions, ids of deployments and tasks, epochs."""
        apps = {}
        for item in self.kubernetes.all(PAAS_APPS):
            status = copy.deepcopy(item.get("status") or {})
            for condition in status.get("conditions", ()):
                del condition["lastTransitionTime"]
                condition["message"] = re.sub(r"failed: .*?; (?=\w+ runs again|change the spec)", "failed; ", condition["message"])
            marathon = status.get("marathon", {})
            marathon.pop("version", None)
            marathon.get("deployment", {}).pop("id", None)
            marathon.get("deployment", {}).pop("deadline", None)
            for moving in ("since", "deadline", "deployment"):
                status.get("rollout", {}).pop(moving, None)
            status.pop("lastTaskFailure", None)
            status.pop("waiting", None)
            apps[item["metadata"]["name"]] = {"finalizers": item["metadata"].get("finalizers"), "spec": item["spec"], "status": status}
        sites = {}
        for name, site in self.sites.items():
            definitions = {
                i: {k: v for k, v in d.items() if k not in {"version", "versionInfo"}} for i, d in site.marathon.definitions.items()
            }
            tasks = {i: sorted(x.state.value for x in many if not x.doomed) for i, many in site.marathon.instances.items()}
            sites[name] = {"apps": definitions, "tasks": tasks, "plans": len(site.marathon.plans), "claims": self.claims(name)}
        return {"apps": apps, "sites": sites, "revisions": self.revisions()}

    @property
    def writes(self) -> int:
        """External writes so far that went through."""
        taken = sum(1 for site in self.sites.values() for call in site.marathon.calls if call.error is None)
        return self.kubernetes.writes + taken + sum(len(site.tree.commits) for site in self.sites.values())

    # ------------------------------------------------------------------------------------------------ moving

    async def start(self) -> Process:
        """A new operator process, in place of the one before."""
        self.processes += 1
        self.process = None
        process = Process(self, self.processes)
        self.process = process
        await process.start()
        return process

    def everyone(self) -> list[ObjectKey]:
        """All resources, in the order in which the next round takes them."""
        keys = [key_of(PAAS_APPS, item) for item in self.kubernetes.all(PAAS_APPS)]
        if self.random is not None:
            self.random.shuffle(keys)
        return keys

    async def passing(self, process: Process, key: ObjectKey) -> None:
        """One pass of a round."""
        await process.pass_over(key)

    async def round(self, *, tick: bool = True, everything: bool = False) -> float | None:
        """A pass over each resource that something was heard of or whose time has come (or over `everything`), then one step of Marathon.

        Returns the seconds until the earliest pass that was asked for.
        """
        process = self.process or await self.start()
        process.sync()
        due = {key for key, at in process.due.items() if at <= self.clock.monotonic()}
        wanted = process.signalled | due
        for key in sorted({*self.everyone(), *wanted}, key=str) if self.random is None else self.everyone():
            if not everything and key not in wanted:
                continue
            process = self.process or await self.start()
            try:
                await self.passing(process, key)
            except Crash:
                self.crash = None
                await self.start()
            if self.random is not None and self.random.random() < 0.3:
                self._tick()
        if tick:
            self._tick()
        process = self.process or await self.start()
        process.sync()
        if process.signalled:
            return 0.0
        return max(0.0, min(process.due.values()) - self.clock.monotonic()) if process.due else None

    def _tick(self) -> bool:
        moved = [site.marathon.tick() for site in self.sites.values()]
        return any(moved)

    async def settle(self, *, rounds: int = 400, quiet: int = 3) -> None:
        """Go on until several rounds in a row neither wrote nor moved anything, and no pass is asked for within ten minutes."""
        still = 0
        waited = 0.0
        for _ in range(rounds):
            before, process = self.writes, self.processes
            soonest = await self.round(tick=False)
            moved = self._tick()
            self.clock.shift(1.0)
            if moved or self.writes != before or self.processes != process:
                still, waited = 0, 0.0
                continue
            still += 1
            if still < quiet or soonest == 0.0:
                continue
            if soonest is None or waited > 1300:
                return
            self.clock.shift(soonest)
            waited += soonest
        raise AssertionError(f"still moving after {rounds} rounds: {self.steps[-10:]}")

    async def assert_quiet(self, *, rounds: int = 3) -> None:
        """Passes over an unchanged world write nothing at all, the status included; also after a restart of the operator."""
        for fresh in (False, True):
            if fresh:
                await self.start()
            before, steps = self.writes, len(self.steps)
            for _ in range(rounds):
                await self.round(tick=False, everything=True)
            assert self.writes == before, f"wrote again although nothing had changed: {self.steps[steps:]}"


__all__ = ["FINALIZER", "Lead", "LiveCluster", "Process", "ShurenError", "Site", "Unreachable", "World"]

"""What only the leader has: the world with all its parts, root updates, and the way to and from disk."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING

from shuren.sandbox.agents.registry import Agents
from shuren.sandbox.contract import Change, Group, Json, Locked, Settings, Started, TooManyDeployments
from shuren.sandbox.definition import changes
from shuren.sandbox.definition.errors import ApiError, refused
from shuren.sandbox.engine.clock import Clock, seconds, stamp
from shuren.sandbox.engine.completed import Completed
from shuren.sandbox.engine.deployments import Deployments
from shuren.sandbox.engine.health import Health
from shuren.sandbox.engine.ids import new_framework_id
from shuren.sandbox.engine.lifecycle import Lifecycle
from shuren.sandbox.engine.model import TERMINAL, Condition, Goal, is_pod
from shuren.sandbox.engine.plan import Difference, Plan, all_specs, difference, make_plan, steps_json
from shuren.sandbox.engine.pod_status import pod_status
from shuren.sandbox.engine.revert import revert
from shuren.sandbox.engine.store import Store
from shuren.sandbox.engine.unreachable import Reachability
from shuren.sandbox.engine.world import Timing, World

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from shuren.sandbox.agents.agent import AgentSpec
    from shuren.sandbox.engine.events import EventBus
    from shuren.sandbox.runners.port import Runner

FLUSH_INTERVAL = 0.05
WRITE_COST = 0.007
WRITE_COST_PER_APP = 22e-6
WRITE_COST_PER_MEMBER = 0.00015
"""Seconds that a real Marathon 1.11 takes for a root update: measured, see the reference of the API."""
MAX_QUEUED = 500
"""Root updates that may wait for their turn."""


class Leading:
    """The leader's room. `start` loads what the last leader left and takes its tasks over."""

    def __init__(
        self,
        *,
        clock: Clock,
        bus: EventBus,
        runner: Runner,
        directory: Path,
        settings: Settings,
        specs: Iterable[AgentSpec],
        timing: Timing | None = None,
        charge: bool = False,
        completed: Completed | None = None,
    ) -> None:
        self.store = Store(directory / "engine.sqlite", max_versions=settings.max_zk_versions)
        self.charge = charge
        now = clock.now()
        saved = self.store.get("agents")
        if saved is None:
            agents = Agents()
            for spec in specs:
                agents.add(spec, now=now)
        else:
            agents = Agents.load(saved, now=now)
        framework = self.store.get("framework") or new_framework_id()
        self.world = World(
            clock=clock,
            settings=settings,
            timing=timing or Timing(),
            bus=bus,
            agents=agents,
            runner=runner,
            directory=directory,
            framework_id=framework,
            root=self.store.load_root(),
            completed=completed or Completed(),
        )
        self.world.failures.update(self.store.load_failures())
        self.world.flush = self.flush
        self.lifecycle = Lifecycle(self.world)
        self.health = Health(self.world, self.lifecycle)
        self.deployments = Deployments(self.world, self.lifecycle)
        self.reachability = Reachability(self.world, self.lifecycle)
        self.since = now
        self._lock = asyncio.Lock()
        self._queued = 0
        self._spec_count = sum(1 for _ in all_specs(self.world.root))
        self._closed = False
        self.store.put("framework", framework)
        self.save_agents()

    # ---------------------------------------------------------------- begin and end
    def start(self) -> None:
        """Takes over: agents, tasks, deployments. Health is unknown until probed."""
        world = self.world
        world.runner.start(self._report)
        for instance in self.store.load_instances():
            world.instances.add(instance, silent=True)
        for instance in world.instances:
            self._adopt(instance.id)
        self.reachability.start()
        for plan in self.store.load_deployments():
            self.deployments.start(plan)
        for spec in all_specs(world.root):
            self.lifecycle.rescale(spec["id"])
        self.lifecycle.scheduler.wake()
        self._flush_later()
        world.clock.after(world.timing.scale_check, self._scale_check)
        world.bus.publish("scheduler_registered_event", {"frameworkId": world.framework_id, "master": "127.0.0.1"})

    def _adopt(self, instance_id: str) -> None:
        instance = self.world.instances.get(instance_id)
        if instance is None:
            return
        if instance.condition in TERMINAL:
            self.lifecycle.settle(instance, instance.state)
            return
        if instance.condition is Condition.SCHEDULED:
            if instance.goal is Goal.DECOMMISSIONED:
                self.world.instances.remove(instance)
            return
        self.lifecycle.scheduler.adopted(instance)
        if self.world.agents.get(instance.agent_id) is None:
            return  # its host is gone: it is unreachable until its strategy forgets it
        was_running = instance.condition in {Condition.RUNNING, Condition.UNREACHABLE, Condition.UNREACHABLE_INACTIVE}
        for launch in self.lifecycle.launches(instance):
            self.world.runner.adopt(launch, running=was_running)
        if instance.condition is Condition.RUNNING:
            self.health.watch(instance)
        if instance.goal is Goal.DECOMMISSIONED or instance.killing is not None:
            self.lifecycle.kill(instance)

    def _report(self, status: object) -> None:
        if not self._closed:
            self.lifecycle.report(status)  # type: ignore[arg-type]

    async def close(self, *, kill: bool) -> None:
        """Writes what is left and lets go of the tasks (or ends them)."""
        if self._closed:
            return
        self.flush()
        self._closed = True
        self.deployments.stop()
        self.reachability.stop()
        await self.world.runner.close(kill=kill)
        self.store.close()

    def _scale_check(self) -> None:
        if not self._closed:
            for spec in all_specs(self.world.root):
                self.lifecycle.rescale(spec["id"])
            self.world.clock.after(self.world.timing.scale_check, self._scale_check)

    # ---------------------------------------------------------------- disk
    def _flush_later(self) -> None:
        if not self._closed:
            self.flush()
            self.world.clock.after(FLUSH_INTERVAL, self._flush_later)

    def flush(self) -> None:
        """Writes what changed since the last time."""
        if self._closed:
            return
        world = self.world
        dirty, world.instances.dirty = world.instances.dirty, {}
        plans, self.deployments.dirty = self.deployments.dirty, {}
        failures = {i: world.failures.get(i) for i in world.dirty_failures}
        world.dirty_failures = set()
        if world.agents.changed:
            self.save_agents()
        self.store.write_live(dirty, plans, failures)

    def save_agents(self) -> None:
        """Writes who is registered, and in which state."""
        self.store.put("agents", self.world.agents.dump())
        self.world.agents.changed = False

    # ---------------------------------------------------------------- root updates
    def next_version(self) -> str:
        """The present time, but later than every version before."""
        now = stamp(self.world.clock.now())
        last = self.world.root.version
        return now if now > last else stamp(seconds(last) + 0.001)

    async def update(
        self,
        change: Change,
        *,
        force: bool = False,
        kill: Mapping[str, Collection[str]] | None = None,
        wipe: bool = False,
        group_id: str = "/",
        version: str | None = None,
    ) -> Started:
        """One root update: see `contract.LiveEngine.update`. `version`: what the plan is called when it is not the new root's."""
        if self._queued >= MAX_QUEUED:
            raise refused(500, f"The queue of root updates is full ({MAX_QUEUED} entries)")
        self._queued += 1
        try:
            await self._lock.acquire()
        finally:
            self._queued -= 1
        try:
            world = self.world
            old = world.root
            now = self.next_version()
            try:
                new = change(old, now)
            except ApiError as error:
                self._tell_failed(group_id, now, error.reason)
                raise
            found = difference(old, new)
            if self.charge:
                await asyncio.sleep(WRITE_COST + WRITE_COST_PER_APP * self._spec_count + WRITE_COST_PER_MEMBER * len(found.specs))
            plan = make_plan(plan_id=str(uuid.uuid4()), version=version or now, old=old, new=new, change=found, kill=kill)
            if plan.steps and len(self.deployments) >= world.settings.max_running_deployments:
                self.deployments.dismissed += 1
                crowd = TooManyDeployments(world.settings.max_running_deployments)
                self._tell_failed(group_id, plan.version, str(crowd))
                raise crowd
            conflicts = self.deployments.conflicts(plan.affected)
            if conflicts and not force:
                locked = Locked(conflicts)
                self._tell_failed(group_id, plan.version, str(locked))
                self.deployments.refuse(plan, str(locked))
                # As the real one: definitions are stored before the locks are looked at, so a refused change still leaves its versions.
                self.store.remember([after for _, after in found.specs.values() if after is not None], self._in_use(found))
                raise locked
            if wipe:
                self._mark_wiped(plan)
            for deployment_id in conflicts:
                self.deployments.cancel(deployment_id)
            self._commit(old, new, plan)
            self.deployments.start(plan)
            world.bus.publish("group_change_success", {"groupId": group_id, "version": plan.version})
            return Started(deployment_id=plan.id, version=plan.version)
        finally:
            self._lock.release()

    def _tell_failed(self, group_id: str, version: str, reason: str) -> None:
        """An event for each root update that came to nothing once it had begun, whatever the reason."""
        self.world.bus.publish("group_change_failed", {"groupId": group_id, "version": version, "reason": reason})

    def _in_use(self, found: Difference) -> set[str]:
        """Versions that instances run: not to be pruned."""
        return {i.version for spec_id in found.specs for i in self.world.instances.of(spec_id)}

    def _mark_wiped(self, plan: Plan) -> None:
        chosen = {t for step in plan.steps for a in step for t in a.kill}
        for task in chosen:
            instance = self.world.instances.by_task(task)
            if instance is not None:
                instance.wiped = True

    def _commit(self, old: Group, new: Group, plan: Plan | None) -> None:
        found = difference(old, new)
        keep = self._in_use(found)
        plans, self.deployments.dirty = self.deployments.dirty, {}
        if plan is not None and plan.steps:
            plans[plan.id] = plan
        self.store.write_root(old, new, found, plans, keep)
        self.world.root = new
        for before, after in found.specs.values():
            self._spec_count += (after is not None) - (before is not None)

    async def patch(self, change: Change) -> None:
        """A root update without deployment and events."""
        async with self._lock:
            old = self.world.root
            self._commit(old, change(old, self.next_version()), None)

    @property
    def updates_active(self) -> int:
        """Root updates under way or waiting for their turn."""
        return self._queued + self._lock.locked()

    def dry_run(self, change: Change) -> Json:
        root = self.world.root
        now = self.next_version()
        new = change(root, now)
        plan = make_plan(plan_id="", version=now, old=root, new=new, change=difference(root, new))
        return {"steps": steps_json(plan.steps)}

    async def roll_back(self, deployment_id: str) -> Started:
        """A new, forced deployment that restores what the plan changed. Not free: it restarts whatever the plan had restarted."""
        plan = self.deployments.get(deployment_id)
        if plan is None:
            raise KeyError(deployment_id)
        settings = self.world.settings

        def undo(root: Group, now: str) -> Group:
            return changes.finished(root, revert(root, plan, now), now, settings)

        # Nothing came in between: Marathon then goes by the version of the old root.
        version = self._version_before(plan.version) if self.world.root.version == plan.version else None
        return await self.update(undo, force=True, version=version)

    def _version_before(self, version: str) -> str | None:
        for known, undo in reversed(self.store.roots):
            if known == version:
                return str(undo["version"])
        return None

    # ---------------------------------------------------------------- kills
    async def kill_tasks(self, task_ids: Collection[str], *, wipe: bool) -> list[Json]:
        """Kills now, whatever holds the app. A wipe waits for the end of the tasks."""
        world = self.world
        chosen = dict.fromkeys(i for t in task_ids if (i := world.instances.by_task(t)) is not None)
        shown = [task for i in chosen for task in i.tasks()]
        for instance in chosen:
            if wipe:
                self.lifecycle.wipe(instance)
            else:
                self.lifecycle.kill(instance)
        if wipe:
            await self._gone({i.id for i in chosen})
        return shown

    async def _gone(self, ids: set[str]) -> None:
        left = {i for i in ids if self.world.instances.get(i) is not None}
        if not left:
            return
        done = asyncio.get_running_loop().create_future()

        def removed(instance: object) -> None:
            left.discard(instance.id)  # type: ignore[attr-defined]
            if not left and not done.done():
                done.set_result(None)

        self.world.instances.removed.append(removed)
        try:
            await asyncio.wait_for(done, 10.0)
        except TimeoutError:
            return
        finally:
            self.world.instances.removed.remove(removed)

    # ---------------------------------------------------------------- shown
    def task_stats(self, app_id: str) -> Json:
        """`tasksStats`: counts and life times by age of the configuration; empty without active tasks."""
        definition = self.world.definition(app_id)
        if definition is None or is_pod(definition):
            return {}
        active = [i for i in self.world.instances.of(app_id) if i.active]
        info = definition.get("versionInfo", {})
        config, scaling = info.get("lastConfigChangeAt", ""), info.get("lastScalingAt", "")
        sets = {
            "startedAfterLastScaling": [i for i in active if i.version >= scaling],
            "withLatestConfig": [i for i in active if i.version >= config],
            "withOutdatedConfig": [i for i in active if i.version < config],
            "totalSummary": active,
        }
        now = self.world.clock.now()
        result: Json = {}
        for name, chosen in sets.items():
            if not chosen:
                continue
            counts = [sum(i.contribution[n] for i in chosen) for n in range(4)]
            stats: Json = {"counts": dict(zip(("staged", "running", "healthy", "unhealthy"), counts, strict=True))}
            lives = sorted(now - i.started_at for i in chosen if i.started_at is not None)
            if lives:
                stats["lifeTime"] = {"averageSeconds": round(sum(lives) / len(lives), 3), "medianSeconds": round(lives[len(lives) // 2], 3)}
            result[name] = {"stats": stats}
        return result

    def pod_status(self, pod: Json) -> Json:
        """`GET /v2/pods/{id}::status` by the pod's definition."""
        return pod_status(self.world, pod, terminating=self.deployments.stops(pod["id"]))

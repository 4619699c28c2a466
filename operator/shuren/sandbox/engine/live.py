"""`contract.LiveEngine`: the engine as HTTP and the command line see it, leader or standby."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from shuren.sandbox.contract import Change, Group, Json, LiveEngine, Settings, Started
from shuren.sandbox.engine import about
from shuren.sandbox.engine.clock import RealClock
from shuren.sandbox.engine.completed import Completed
from shuren.sandbox.engine.events import EventBus
from shuren.sandbox.engine.leadership import LeaderLock
from shuren.sandbox.engine.leading import Leading
from shuren.sandbox.engine.plan import find_group
from shuren.sandbox.faults import Faults

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
    from pathlib import Path

    from shuren.sandbox.agents.agent import AgentSpec
    from shuren.sandbox.engine.clock import Clock
    from shuren.sandbox.engine.world import Timing
    from shuren.sandbox.runners.port import Runner

POLL = 0.25
"""Seconds between a standby's attempts to lead."""
ABDICATION_DELAY = 0.5
ABSTAIN = 1.5
"""Seconds for which an engine that stepped down leaves the lead to others."""


class NotLeader(Exception):
    """Asked of a standby. HTTP forwards instead of asking."""


class Engine:
    """One engine on a state directory. `runner` makes a fresh runner for each term of leadership."""

    def __init__(
        self,
        *,
        directory: Path,
        address: str,
        settings: Settings,
        runner: Callable[[Clock], Runner],
        agents: Iterable[AgentSpec],
        clock: Clock | None = None,
        timing: Timing | None = None,
        charge_write_cost: bool = False,
        mesos_url: str | None = None,
    ) -> None:
        self.settings = settings
        self.address = address
        self.clock = clock or RealClock()
        self.bus = EventBus(self.clock)
        self.faults = Faults(self.clock)
        self.stopping = asyncio.Event()
        self.kill_tasks_on_exit = False
        self.mesos_url = mesos_url
        self._directory = directory
        self._runner = runner
        self._agents = tuple(agents)
        self._timing = timing
        self._charge = charge_write_cost
        self._completed = Completed()
        self._lock = LeaderLock(directory, address)
        self._leading: Leading | None = None
        self._candidate: asyncio.Task[None] | None = None
        self._abdication: asyncio.Task[None] | None = None

    # ---------------------------------------------------------------- leadership
    async def start(self) -> None:
        """Leads at once when nobody does, else stands by."""
        self._directory.mkdir(parents=True, exist_ok=True)
        if self._lock.acquire():
            self._lead()
        else:
            self._candidate = asyncio.create_task(self._stand_by(0.0))

    def _lead(self) -> None:
        self._leading = Leading(
            clock=self.clock,
            bus=self.bus,
            runner=self._runner(self.clock),
            directory=self._directory,
            settings=self.settings,
            specs=self._agents,
            timing=self._timing,
            charge=self._charge,
            completed=self._completed,
        )
        self._leading.start()
        self.faults.apply_to(self)
        self._lock.announce()

    async def _stand_by(self, abstain: float) -> None:
        await asyncio.sleep(abstain)
        while not self._lock.acquire():  # noqa: ASYNC110 - a file lock tells nobody when it is free
            await asyncio.sleep(POLL)
        self._lead()

    async def _step_down(self, *, abstain: float) -> None:
        leading, self._leading = self._leading, None
        if leading is not None:
            self.bus.drop_all()
            await leading.close(kill=False)
        self._lock.release()
        self._candidate = asyncio.create_task(self._stand_by(abstain))

    async def close(self, *, kill_tasks: bool = False) -> None:
        """Ends the engine. Tasks go on running unless `kill_tasks`."""
        for job in (self._candidate, self._abdication):
            if job is not None:
                job.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await job
        self.bus.drop_all()
        if self._leading is not None:
            await self._leading.close(kill=kill_tasks)
            self._leading = None
        self._lock.release()
        if isinstance(self.clock, RealClock):
            self.clock.close()

    @property
    def leading(self) -> Leading:
        """The leader's room; NotLeader on a standby."""
        if self._leading is None:
            raise NotLeader
        return self._leading

    def leader(self) -> str | None:
        if self._leading is not None:
            return None if self._abdicating else self.address
        return None if self._lock.held else self._lock.leader()

    @property
    def _abdicating(self) -> bool:
        """It still answers, but has given the lead away."""
        return self._abdication is not None and not self._abdication.done()

    def is_leader(self) -> bool:
        return self._leading is not None

    async def abdicate(self) -> None:
        """Steps down half a second later, so that the request is still answered."""
        if not self._abdicating:
            self._abdication = asyncio.create_task(self._abdicate(ABDICATION_DELAY))

    async def _abdicate(self, delay: float) -> None:
        await asyncio.sleep(delay)
        await self._step_down(abstain=ABSTAIN)

    async def change_leader(self) -> None:
        """A fault: leadership is lost and taken again at once (by this engine, if no other is quicker). Health is unknown afterwards."""
        await self._step_down(abstain=0.0)

    # ---------------------------------------------------------------- root updates
    @property
    def root(self) -> Group:
        return self.leading.world.root

    async def update(
        self,
        change: Change,
        *,
        force: bool = False,
        kill: Mapping[str, Collection[str]] | None = None,
        wipe: bool = False,
        group_id: str = "/",
    ) -> Started:
        return await self.leading.update(change, force=force, kill=kill, wipe=wipe, group_id=group_id)

    async def patch(self, change: Change) -> None:
        await self.leading.patch(change)

    def dry_run(self, change: Change) -> Json:
        return self.leading.dry_run(change)

    # ---------------------------------------------------------------- deployments
    def deployments(self) -> list[Json]:
        return self.leading.deployments.json()

    def deployments_of(self, app_id: str) -> list[str]:
        return self.leading.deployments.of(app_id)

    async def cancel_deployment(self, deployment_id: str, *, force: bool) -> Started | None:
        leading = self.leading
        if leading.deployments.get(deployment_id) is None:
            raise KeyError(deployment_id)
        if force:
            leading.deployments.cancel(deployment_id)
            leading.flush()
            return None
        return await leading.roll_back(deployment_id)

    def readiness_results(self, app_id: str) -> list[Json]:
        return self.leading.deployments.readiness(app_id)

    # ---------------------------------------------------------------- tasks and queue
    def counts(self, app_id: str) -> Json:
        staged, running, healthy, unhealthy = self.leading.world.instances.counts(app_id)
        return {"tasksStaged": staged, "tasksRunning": running, "tasksHealthy": healthy, "tasksUnhealthy": unhealthy}

    def tasks(self, app_id: str | None = None) -> list[Json]:
        instances = self.leading.world.instances
        chosen = instances.of(app_id) if app_id is not None else instances
        # Instances that were never placed have no task yet.
        return [task for i in chosen if i.attempt for task in i.tasks()]

    def instance(self, instance_id: str) -> Json | None:
        found = self.leading.world.instances.get(instance_id)
        return None if found is None else found.summary()

    def has_instances(self, app_id: str) -> bool:
        return self.leading.world.instances.has(app_id)

    def last_task_failure(self, app_id: str) -> Json | None:
        return self.leading.world.failures.get(app_id)

    def task_stats(self, app_id: str) -> Json | None:
        return self.leading.task_stats(app_id)

    async def kill_tasks(self, task_ids: Collection[str], *, wipe: bool = False) -> list[Json]:
        return await self.leading.kill_tasks(task_ids, wipe=wipe)

    def queue(self, *, last_unused_offers: bool = False) -> list[Json]:
        return self.leading.lifecycle.scheduler.items(last_unused_offers=last_unused_offers)

    def reset_delay(self, app_id: str) -> bool:
        scheduler, definition = self.leading.lifecycle.scheduler, self.leading.world.definition(app_id)
        if definition is None or not scheduler.waits(app_id):
            return False
        scheduler.reset(definition)
        return True

    def pod_status(self, pod: Json) -> Json:
        return self.leading.pod_status(pod)

    # ---------------------------------------------------------------- history
    def app_versions(self, app_id: str) -> list[str]:
        return list(self.leading.store.definitions.get(app_id, {}))

    def app_at(self, app_id: str, version: str) -> Json | None:
        return self.leading.store.definitions.get(app_id, {}).get(version)

    def group_versions(self, group_id: str) -> list[str]:
        return self.leading.store.group_versions(group_id, there=find_group(self.root, group_id) is not None)

    def group_at(self, group_id: str, version: str) -> Group | None:
        root = self.leading.store.root_at(version, self.root)
        return None if root is None else find_group(root, group_id)

    # ---------------------------------------------------------------- events, info
    def publish(self, event_type: str, payload: Json) -> None:
        self.bus.publish(event_type, payload)

    def subscribe(self, types: Collection[str] | None, remote: str) -> AsyncIterator[tuple[str, str]]:
        return self.bus.subscribe(types, remote)

    def streams_silent(self) -> bool:
        return self.bus.silent

    def info(self) -> Json:
        leading = self._leading
        return about.info(
            settings=self.settings,
            address=self.address,
            leader=self.leader(),
            elected=leading is not None,
            framework_id=None if leading is None else leading.world.framework_id,
            mesos_url=self.mesos_url,
        )

    def metrics(self) -> Json:
        return about.metrics(self.leading)

    async def admin(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        from shuren.sandbox.admin import administer  # noqa: PLC0415 - admin steers engines; this one door leads back to it

        return await administer(self, method, path, body)


def as_contract(engine: Engine) -> LiveEngine:
    """The type checker's proof that the contract is kept."""
    return engine

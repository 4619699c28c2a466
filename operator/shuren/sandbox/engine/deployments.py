"""Deployments: locks, steps, cancellation, and their way through the event stream."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shuren.sandbox.engine.actions import Restart, Running, Scale, Stop
from shuren.sandbox.engine.health import checks_of
from shuren.sandbox.engine.model import Goal
from shuren.sandbox.engine.plan import Action, ActionKind, Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from shuren.sandbox.contract import Json
    from shuren.sandbox.engine.lifecycle import Lifecycle
    from shuren.sandbox.engine.model import Condition, Instance
    from shuren.sandbox.engine.world import World

CANCELLED = "The upgrade has been cancelled"


@dataclass(slots=True)
class Deployment:
    """A plan under way. `step` is 1-based; 0 before the first."""

    plan: Plan
    step: int = 0
    running: dict[str, tuple[Action, Running | None]] = field(default_factory=dict)
    working: bool = False
    """A step is under way: several actions may end it in one moment, but it ends once."""
    ended: bool = False


class Deployments:
    """All running deployments. An app is held by one at most."""

    def __init__(self, world: World, lifecycle: Lifecycle) -> None:
        self._world, self._lifecycle = world, lifecycle
        self._running: dict[str, Deployment] = {}
        self._by_app: dict[str, Deployment] = {}
        self.dirty: dict[str, Plan | None] = {}
        self.started = 0
        self.dismissed = 0
        world.instances.listeners.append(self._changed)
        world.instances.removed.append(self._removed)
        world.health_changed.append(self._health)
        lifecycle.locked = self._by_app.__contains__

    def __len__(self) -> int:
        return len(self._running)

    def get(self, deployment_id: str) -> Plan | None:
        deployment = self._running.get(deployment_id)
        return None if deployment is None else deployment.plan

    def of(self, app_id: str) -> list[str]:
        deployment = self._by_app.get(app_id)
        return [] if deployment is None else [deployment.plan.id]

    def stops(self, app_id: str) -> bool:
        """Whether a running deployment is about to end this app or pod."""
        deployment = self._by_app.get(app_id)
        return deployment is not None and any(
            a.app_id == app_id and a.kind is ActionKind.STOP for step in deployment.plan.steps for a in step
        )

    def conflicts(self, app_ids: Collection[str]) -> list[str]:
        """Ids of deployments that hold one of these apps."""
        found = (self._by_app.get(i) for i in app_ids)
        return list(dict.fromkeys(d.plan.id for d in found if d is not None))

    def readiness(self, app_id: str) -> list[Json]:
        deployment = self._by_app.get(app_id)
        entry = None if deployment is None else deployment.running.get(app_id)
        return entry[1].readiness() if entry is not None and entry[1] is not None else []

    def json(self) -> list[Json]:
        """`GET /v2/deployments`."""
        return [self._render(d) for d in self._running.values()]

    def _render(self, deployment: Deployment) -> Json:
        plan = deployment.plan
        current = [
            {**action.json(), "readinessCheckResults": work.readiness() if work is not None else []}
            for action, work in deployment.running.values()
        ]
        return {
            **plan.json(),
            "affectedApps": plan.affected_in_order(pods=False),
            "affectedPods": plan.affected_in_order(pods=True),
            "currentActions": current,
            "currentStep": deployment.step,
            "totalSteps": len(plan.steps),
        }

    # ---------------------------------------------------------------- start and end
    def start(self, plan: Plan) -> None:
        """Runs a plan whose apps nobody else holds. Trivial steps are done before this returns, the end is told a moment later."""
        deployment = Deployment(plan)
        self.started += 1
        if plan.steps:
            self._running[plan.id] = deployment
            for app_id in plan.affected:
                self._by_app[app_id] = deployment
            self.dirty[plan.id] = plan
        self._next_step(deployment)

    def cancel(self, deployment_id: str, *, reason: str = CANCELLED) -> None:
        """Stops it where it stands; a mixed set of instances may remain."""
        deployment = self._running.get(deployment_id)
        if deployment is None:
            return
        for _, work in deployment.running.values():
            if work is not None:
                work.cancel()
        self._forget(deployment)
        self._world.bus.publish("deployment_failed", {"id": deployment.plan.id, "plan": deployment.plan.json(), "reason": reason})

    def refuse(self, plan: Plan, reason: str) -> None:
        """Tells of a plan that never started."""
        self._world.bus.publish("deployment_failed", {"id": plan.id, "plan": plan.json(), "reason": reason})

    def stop(self) -> None:
        """Lets go of everything without a word (leadership lost)."""
        for deployment in self._running.values():
            deployment.ended = True
            for _, work in deployment.running.values():
                if work is not None:
                    work.cancel()
        self._running.clear()
        self._by_app.clear()

    def _forget(self, deployment: Deployment) -> None:
        deployment.ended = True
        self._running.pop(deployment.plan.id, None)
        for app_id in deployment.plan.affected:
            if self._by_app.get(app_id) is deployment:
                del self._by_app[app_id]
        self.dirty[deployment.plan.id] = None

    def _next_step(self, deployment: Deployment) -> None:
        plan = deployment.plan
        while not deployment.ended:
            if deployment.step >= len(plan.steps):
                self._world.clock.after(0, lambda: self._succeed(deployment))
                return
            step = plan.steps[deployment.step]
            deployment.step += 1
            self._announce_step("deployment_info", deployment)
            deployment.running = {}
            for action in step:
                deployment.running[action.app_id] = (action, self._work(deployment, action))
            for _, work in tuple(deployment.running.values()):
                if work is not None:
                    work.begin()
            if not self._step_done(deployment):
                deployment.working = True
                return
            self._announce_step("deployment_step_success", deployment)

    def _announce_step(self, event_type: str, deployment: Deployment) -> None:
        if self._world.bus.wants(event_type):
            step = deployment.plan.steps[deployment.step - 1]
            body = {"plan": deployment.plan.json(), "currentStep": {"actions": [a.json() for a in step]}}
            self._world.bus.publish(event_type, body)

    @staticmethod
    def _step_done(deployment: Deployment) -> bool:
        return all(work is None or work.done for _, work in deployment.running.values())

    def _work(self, deployment: Deployment, action: Action) -> Running | None:
        world, lifecycle = self._world, self._lifecycle
        after = deployment.plan.after.get(action.app_id)
        told = self._teller(deployment, deployment.step)
        match action.kind:
            case ActionKind.STOP:
                return Stop(world, lifecycle, action.app_id, deployment.plan.before.get(action.app_id), told=told)
            case ActionKind.SCALE if after is not None:
                return Scale(world, lifecycle, after, kill=action.kill, told=told)
            case ActionKind.RESTART if after is not None:
                self._checks(deployment.plan.before.get(action.app_id), after)
                return Restart(world, lifecycle, after, told=told)
            case _:
                self._checks(None, after)
                return None

    def _checks(self, before: Json | None, after: Json | None) -> None:
        for _ in checks_of(before or {}):
            self._world.bus.publish("remove_health_check_event", {"appId": (before or {})["id"]})
        for check in checks_of(after or {}):
            app = after or {}
            self._world.bus.publish("add_health_check_event", {"appId": app["id"], "version": app["version"], "healthCheck": check})

    def _teller(self, deployment: Deployment, step: int) -> Callable[[], None]:
        """What an action calls when it ends later than at once: the step may then be over (looked at when the present call is done)."""

        def look() -> None:
            if not deployment.ended and deployment.working and deployment.step == step and self._step_done(deployment):
                deployment.working = False
                self._announce_step("deployment_step_success", deployment)
                self._next_step(deployment)

        return lambda: (self._world.clock.after(0, look), None)[1]

    def _succeed(self, deployment: Deployment) -> None:
        if deployment.ended:
            return
        if deployment.plan.steps:
            self._forget(deployment)
        deployment.ended = True
        self._world.bus.publish("deployment_success", {"id": deployment.plan.id, "plan": deployment.plan.json()})

    # ---------------------------------------------------------------- what happens to instances
    def _action(self, app_id: str) -> Running | None:
        deployment = self._by_app.get(app_id)
        entry = None if deployment is None else deployment.running.get(app_id)
        return None if entry is None else entry[1]

    def _changed(self, instance: Instance, before: Condition, goal: Goal) -> None:
        del goal
        if (work := self._action(instance.app_id)) is not None:
            work.changed(instance, before)
            if instance.goal is Goal.STOPPED and not instance.active:
                work.removed(instance)  # it keeps its volumes, but for the deployment it is gone

    def _removed(self, instance: Instance) -> None:
        if (work := self._action(instance.app_id)) is not None:
            work.removed(instance)

    def _health(self, instance: Instance) -> None:
        if (work := self._action(instance.app_id)) is not None:
            work.health(instance)

"""Agents that come and go: lost contact, the unreachable strategy of each app, return and removal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shuren.sandbox.agents.agent import Agent, AgentState
from shuren.sandbox.engine.ids import instance_of
from shuren.sandbox.engine.model import ACTIVE, Condition, Goal, Instance
from shuren.sandbox.runners.port import Launch, TaskStatus

if TYPE_CHECKING:
    from shuren.sandbox.contract import Json
    from shuren.sandbox.engine.lifecycle import Lifecycle
    from shuren.sandbox.engine.world import World

LOST = "Agent is unreachable"


def strategy(definition: Json) -> tuple[float, float] | None:
    """(inactive after, expunge after) in seconds; None when disabled. Pods keep theirs under `scheduling`."""
    raw = definition.get("unreachableStrategy", definition.get("scheduling", {}).get("unreachableStrategy", {}))
    if isinstance(raw, str):
        return None
    return float(raw.get("inactiveAfterSeconds", 0)), float(raw.get("expungeAfterSeconds", 0))


class Reachability:
    """Moves instances between reachable, unreachable, inactive and expunged."""

    def __init__(self, world: World, lifecycle: Lifecycle) -> None:
        self._world, self._lifecycle = world, lifecycle
        self._closed = False
        lifecycle.unreachable = self.lost

    # ---------------------------------------------------------------- agents
    def partition(self, agent: Agent, *, after: float = 0.0) -> None:
        """The master loses an agent; `after` seconds later its tasks are reported TASK_UNREACHABLE (a real master takes 75)."""
        agent.state = AgentState.PARTITIONED
        self._world.agents.moved()
        self._world.clock.after(after, lambda: self._report_lost(agent))

    def _report_lost(self, agent: Agent) -> None:
        if agent.state is AgentState.PARTITIONED:
            for instance in self._world.instances.on_agent(agent.id):
                if instance.condition in ACTIVE and instance.condition is not Condition.UNREACHABLE:
                    self._each(instance, "TASK_UNREACHABLE", LOST)

    def come_back(self, agent: Agent) -> None:
        """The agent registers again: what happened meanwhile is seen, its tasks run again, and forgotten ones are killed."""
        agent.state = AgentState.ACTIVE
        self._world.agents.moved()
        unseen = self._lifecycle.unseen(agent)
        for instance in self._world.instances.on_agent(agent.id):
            if instance.condition in {Condition.UNREACHABLE, Condition.UNREACHABLE_INACTIVE}:
                was_inactive = instance.condition is Condition.UNREACHABLE_INACTIVE
                for task in instance.task_ids():
                    last = unseen.pop(task, None)
                    status = last or TaskStatus(task_id=task, state="TASK_RUNNING", ip=instance.ip)
                    self._lifecycle.apply(instance, status)
                if was_inactive and self._world.instances.get(instance.id) is instance:
                    self._lifecycle.rescale(instance.app_id)
        for status in unseen.values():
            self._lifecycle.report(status)
        self._kill_forgotten(agent)
        self._lifecycle.scheduler.wake()

    def _kill_forgotten(self, agent: Agent) -> None:
        forgotten, agent.forgotten = agent.forgotten, set()
        for task in sorted(forgotten):
            self._world.runner.kill(task, grace=0.0)

    def remove(self, agent: Agent, *, gone: bool) -> None:
        """The host is gone with all that ran on it. `gone`: an operator says so for good (TASK_GONE_BY_OPERATOR)."""
        instances = self._world.instances.on_agent(agent.id)
        for instance in instances:
            for task in instance.task_ids():
                self._world.runner.lose(task)
        for task in agent.forgotten:
            self._world.runner.lose(task)
        self._lifecycle.unseen(agent)
        for instance in instances:
            if instance.condition in ACTIVE or instance.condition is Condition.UNREACHABLE_INACTIVE:
                state = "TASK_GONE_BY_OPERATOR" if gone else "TASK_UNREACHABLE"
                message = "Agent is gone" if gone else LOST
                if agent.state is AgentState.PARTITIONED:
                    agent.state = AgentState.ACTIVE  # so that the status is not kept back
                if gone or instance.condition is not Condition.UNREACHABLE:
                    self._each(instance, state, message)
        self._world.agents.remove(agent.id)
        self._world.completed.forget(agent.id)

    def _each(self, instance: Instance, state: str, message: str) -> None:
        for task in instance.task_ids():
            if self._world.instances.get(instance.id) is instance:
                self._lifecycle.apply(instance, TaskStatus(task_id=task, state=state, message=message))

    # ---------------------------------------------------------------- the strategy
    def start(self) -> None:
        """After a (re)start: timers for what is unreachable already, news of what the predecessor had not told yet, and the job that
        forgets what has been unreachable for long enough.
        """
        for agent in self._world.agents:
            self._adopt_forgotten(agent)
            self._report_lost(agent)
        for instance in self._world.instances:
            if instance.condition in {Condition.UNREACHABLE, Condition.UNREACHABLE_INACTIVE}:
                self.lost(instance)
        self._world.clock.after(self._world.timing.expunge_first, self._forget_overdue)

    def _adopt_forgotten(self, agent: Agent) -> None:
        """Nothing is known of them any more but where they ran: enough to find and to kill them."""
        for task in sorted(agent.forgotten):
            instance_id = instance_of(task) or task
            launch = Launch(
                task_id=task,
                app_id="/",
                agent_id=agent.id,
                host=agent.hostname,
                definition={},
                environment={},
                ports=(),
                directory=self._world.sandbox_of(agent.id, instance_id, task),
            )
            self._world.runner.adopt(launch, running=True)

    def stop(self) -> None:
        """Leadership is over."""
        self._closed = True

    def _forget_overdue(self) -> None:
        if self._closed:
            return
        now = self._world.clock.now()
        for instance in self._world.instances:
            if instance.condition is Condition.UNREACHABLE_INACTIVE:
                plan = strategy(instance.definition)
                if plan is not None and instance.since + plan[1] <= now:
                    self._expunge(instance)
        self._world.clock.after(self._world.timing.expunge_interval, self._forget_overdue)

    def lost(self, instance: Instance) -> None:
        """An instance has become unreachable: inactive in its time, then forgotten by the job; at once where the strategy says 0."""
        plan = strategy(instance.definition)
        if instance.goal is not Goal.RUNNING:
            self._expunge(instance)
            return
        if plan is None:
            return
        inactive_after, expunge_after = plan
        now, since = self._world.clock.now(), instance.since
        if expunge_after <= now - since:
            self._expunge(instance)
            return

        def due() -> None:
            if instance.since == since and self._world.instances.get(instance.id) is instance:
                self._inactivate(instance)

        if since + inactive_after <= now:
            due()
        else:
            self._world.clock.after(since + inactive_after - now, due)

    def _inactivate(self, instance: Instance) -> None:
        if instance.condition is Condition.UNREACHABLE:
            since = instance.since
            self._world.instances.touch(instance, Condition.UNREACHABLE_INACTIVE)
            instance.since = since
            self._lifecycle.rescale(instance.app_id)

    def _expunge(self, instance: Instance) -> None:
        """Forgotten; should it come back with its agent it is killed."""
        agent = self._world.agents.get(instance.agent_id)
        if agent is not None:
            agent.forgotten.update(instance.task_ids())
            self._world.agents.changed = True
        if instance.condition is Condition.UNREACHABLE:
            self._world.instances.touch(instance, Condition.UNREACHABLE_INACTIVE)
        if self._world.instances.get(instance.id) is instance:
            self._world.instances.remove(instance)
            self._lifecycle.rescale(instance.app_id)

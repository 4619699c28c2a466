"""From an offer to the end of a task: launches, status updates, kills, and what becomes of an instance afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shuren.sandbox.agents.agent import AgentState
from shuren.sandbox.engine.clock import stamp
from shuren.sandbox.engine.completed import EndedTask
from shuren.sandbox.engine.environment import mesos_environment, pod_environment, task_environment
from shuren.sandbox.engine.ids import APP_CONTAINER, instance_of, task_id
from shuren.sandbox.engine.kills import Kills
from shuren.sandbox.engine.model import (
    BACKING_OFF,
    CONDITION_OF,
    FAILURES,
    LAUNCHED,
    TERMINAL,
    Condition,
    Goal,
    Instance,
    is_pod,
    wanted_instances,
)
from shuren.sandbox.engine.scheduler import Scheduler
from shuren.sandbox.engine.victims import choose_victims
from shuren.sandbox.runners.port import Launch, TaskStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from shuren.sandbox.agents.agent import Agent
    from shuren.sandbox.contract import Json
    from shuren.sandbox.engine.world import World

DEFAULT_GRACE = 3.0
"""Mesos' own, used where the app sets no `taskKillGracePeriodSeconds`."""


class Lifecycle:
    """Owns the transitions of instances. Listeners on the tracker (deployments, health) hear of every one."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.scheduler = Scheduler(world, self._launch, self.kill)
        self.kills = Kills(world, self._issue_kill)
        self._unseen: dict[str, dict[str, TaskStatus]] = {}
        """Statuses of tasks on partitioned agents, by agent: the last one is seen when the agent returns."""
        self.unreachable: Callable[[Instance], None] = lambda _: None
        self.locked: Callable[[str], bool] = lambda _: False

    # ---------------------------------------------------------------- launching
    def launches(self, instance: Instance) -> list[Launch]:
        """The tasks that make up the present launch of an instance."""
        world = self._world
        definition = instance.definition
        assert instance.agent_id is not None  # noqa: S101 - only placed instances are launched
        result = []
        for name in instance.containers:
            identifier = task_id(instance.id, name, instance.attempt)
            directory = world.sandbox_of(instance.agent_id, instance.id, identifier)
            host = instance.host or ""
            mesos = mesos_environment(
                task_id=identifier,
                instance_id=instance.id,
                agent_id=instance.agent_id,
                framework_id=world.framework_id,
                sandbox=str(directory),
            )
            prefix, enforced = world.settings.env_vars_prefix, world.enforces_role(instance.app_id)
            if name == APP_CONTAINER:
                part = definition
                environment = task_environment(
                    definition, mesos=mesos, host=host, host_ports=instance.ports, prefix=prefix, enforce_group_role=enforced
                )
            else:
                part = next(c for c in definition["containers"] if c["name"] == name)
                environment = pod_environment(
                    definition, part, mesos=mesos, host=host, host_ports=instance.ports, prefix=prefix, enforce_group_role=enforced
                )
            result.append(
                Launch(
                    task_id=identifier,
                    app_id=instance.app_id,
                    agent_id=instance.agent_id,
                    host=host,
                    definition=part,
                    environment=environment,
                    ports=instance.ports,
                    directory=directory,
                    volumes=instance.volumes,
                )
            )
        return result

    def _launch(self, instance: Instance) -> None:
        if instance.condition is not Condition.PROVISIONED or instance.goal is not Goal.RUNNING:
            return
        for launch in self.launches(instance):
            self._world.runner.launch(launch)

    # ---------------------------------------------------------------- status updates
    def report(self, status: TaskStatus) -> None:
        """A status from the runner. That of a task on a partitioned agent is kept back until the agent returns."""
        instance = self._world.instances.by_task(status.task_id)
        if instance is None:
            self._unknown(status)
            return
        agent = self._world.agents.get(instance.agent_id)
        if agent is not None and agent.state is AgentState.PARTITIONED:
            self._unseen.setdefault(agent.id, {})[status.task_id] = status
            return
        self.apply(instance, status)

    def unseen(self, agent: Agent) -> dict[str, TaskStatus]:
        """What happened on an agent while nobody saw it; asking forgets it."""
        return self._unseen.pop(agent.id, {})

    def _unknown(self, status: TaskStatus) -> None:
        condition = CONDITION_OF.get(status.state, Condition.UNKNOWN)
        if condition in TERMINAL:
            identifier = instance_of(status.task_id) or status.task_id
            app_id = "/" + identifier.split(".instance-", 1)[0].replace("_", "/")
            self._world.bus.publish(
                "unknown_instance_terminated_event", {"instanceId": identifier, "runSpecId": app_id, "condition": condition.value}
            )
        else:
            self._world.runner.kill(status.task_id, grace=DEFAULT_GRACE)

    def apply(self, instance: Instance, status: TaskStatus) -> None:
        """Puts a status into effect: `status_update_event` first, then the change of the instance."""
        world = self._world
        condition = CONDITION_OF.get(status.state, Condition.UNKNOWN)
        if instance.condition in TERMINAL or instance.condition is Condition.SCHEDULED:
            return
        world.task_updates[status.state] = world.task_updates.get(status.state, 0) + 1
        if status.ip is not None:
            instance.ip = status.ip
        if condition is Condition.RUNNING and instance.started_at is None:
            instance.started_at = world.clock.now()
        instance.message = status.message
        self._publish_status(instance, status)
        if is_pod(instance.definition):
            aggregated = self._aggregate(instance, status, condition)
            if aggregated is None:
                return
            condition = aggregated
        if condition in TERMINAL:
            self._ended(instance, condition, status)
        elif condition is Condition.UNREACHABLE:
            world.instances.touch(instance, condition)
            self.unreachable(instance)
        elif condition is not instance.condition:
            if condition in LAUNCHED:
                world.backoff.advanced(instance.definition)
            world.instances.touch(instance, condition)

    def _publish_status(self, instance: Instance, status: TaskStatus) -> None:
        bus = self._world.bus
        if not bus.wants("status_update_event"):
            return
        address = instance.network_ip or instance.ip
        bus.publish(
            "status_update_event",
            {
                "slaveId": instance.agent_id,
                "taskId": status.task_id,
                "taskStatus": status.state,
                "message": status.message,
                "appId": instance.app_id,
                "host": instance.host,
                "ipAddresses": [{"ipAddress": address, "protocol": "IPv4"}] if address else [],
                "ports": list(instance.ports),
                "version": instance.version,
            },
        )

    def _aggregate(self, instance: Instance, status: TaskStatus, condition: Condition) -> Condition | None:
        """A pod is as far as its slowest container, and ends when one ends and the others have been killed. None: nothing new."""
        name = status.task_id.rsplit(".", 2)[-2]
        instance.parts[name] = status.state
        states = {CONDITION_OF[s] for s in instance.parts.values()}
        missing = len(instance.parts) < len(instance.containers)
        ended = states & TERMINAL
        if ended:
            if missing or not states <= TERMINAL:
                if condition in TERMINAL and instance.killing is None:
                    instance.killing = self._world.clock.now()
                    for other in instance.task_ids():
                        if other != status.task_id:
                            self._world.runner.kill(other, grace=DEFAULT_GRACE)
                return None
            return next((c for c in (Condition.FAILED, Condition.ERROR, Condition.GONE, Condition.FINISHED) if c in states), condition)
        for stage in (Condition.UNREACHABLE, Condition.STAGING, Condition.STARTING):
            if stage in states:
                return stage
        return Condition.STARTING if missing else Condition.RUNNING

    def _ended(self, instance: Instance, condition: Condition, status: TaskStatus) -> None:
        world = self._world
        self._remember_end(instance, status.state)
        self.scheduler.released(instance)
        instance.healthy = None
        instance.checks = []
        if condition in FAILURES:
            self.remember_failure(instance, status.task_id, status.state, status.message)
        if condition in BACKING_OFF and instance.goal is Goal.RUNNING:
            world.backoff.failed(instance.definition)
        state = status.state if not is_pod(instance.definition) else next(s for s, c in CONDITION_OF.items() if c is condition)
        world.instances.touch(instance, condition)
        self.settle(instance, state)

    def settle(self, instance: Instance, state: str) -> None:
        """After the end of its task: gone when it is not wanted any more, else back into the queue under the same instance id."""
        world = self._world
        if world.instances.get(instance.id) is not instance:
            return
        match instance.goal:
            case Goal.DECOMMISSIONED:
                world.instances.remove(instance)
                self.rescale(instance.app_id)
            case Goal.RUNNING:
                instance.killing = None
                instance.parts = {"": state}
                world.instances.touch(instance, Condition.SCHEDULED)
                self.scheduler.wake()
            case Goal.STOPPED:
                pass

    def _remember_end(self, instance: Instance, state: str) -> None:
        """For who asks Mesos what has been."""
        now = self._world.clock.now()
        for name, identifier in zip(instance.containers, instance.task_ids(), strict=True):
            self._world.completed.add(EndedTask.of(instance, identifier, instance.parts.get(name) or state, now))

    def remember_failure(self, instance: Instance, task: str, state: str, message: str) -> None:
        """`lastTaskFailure`: not cleared by success, only when the app is deleted."""
        failure: Json = {
            "appId": instance.app_id,
            "host": instance.host or "",
            "message": message,
            "state": state,
            "taskId": task,
            "timestamp": stamp(self._world.clock.now()),
            "version": instance.version,
        }
        if instance.agent_id is not None:
            failure["slaveId"] = instance.agent_id
        self._world.failures[instance.app_id] = failure
        self._world.dirty_failures.add(instance.app_id)

    # ---------------------------------------------------------------- kills
    def decommission(self, instance: Instance) -> None:
        """It is not wanted any more: kill its task if it has one, and forget it when that has ended."""
        world = self._world
        if instance.goal is not Goal.DECOMMISSIONED:
            world.instances.set_goal(instance, Goal.DECOMMISSIONED)
        if world.instances.get(instance.id) is not instance:
            return
        if instance.condition in {Condition.PROVISIONED, Condition.STAGING, Condition.STARTING, Condition.RUNNING}:
            self.kill(instance)
        else:
            # Nothing to wait for: not launched yet, ended, or unreachable (Marathon forgets such a task; it is killed should it return).
            self.scheduler.released(instance)
            world.instances.remove(instance)

    def retire(self, instance: Instance) -> None:
        """Not wanted for now. One with persistent volumes keeps them and its place, to be used again; any other goes for good."""
        if not instance.volumes or instance.wiped:
            self.decommission(instance)
            return
        self._world.instances.set_goal(instance, Goal.STOPPED)
        self.kill(instance)

    def kill(self, instance: Instance) -> None:
        """Ends the present task when it is its turn; the goal says what follows."""
        if not instance.active or instance.condition is Condition.UNREACHABLE:
            return
        instance.killing = self._world.clock.now() if instance.killing is None else instance.killing
        self.kills.add(instance)

    def _issue_kill(self, instance: Instance) -> None:
        grace = float(instance.definition.get("taskKillGracePeriodSeconds", DEFAULT_GRACE))
        for name in instance.task_ids():
            self._world.runner.kill(name, grace=grace)

    def wipe(self, instance: Instance) -> None:
        """Kill with `wipe=true`: the instance and its volumes go; another instance takes its place."""
        instance.wiped = True
        self.decommission(instance)
        self.rescale(instance.app_id)

    # ---------------------------------------------------------------- scale check
    def rescale(self, app_id: str) -> None:
        """Marathon's scale check: brings an app that no deployment holds to its count."""
        world = self._world
        definition = world.definition(app_id)
        if definition is None or self.locked(app_id):
            return
        wanted = [i for i in world.instances.of(app_id) if i.wanted]
        target = wanted_instances(definition)
        if len(wanted) < target:
            self.scheduler.add(definition, target - len(wanted))
        elif len(wanted) > target:
            for victim in choose_victims(world, definition, wanted, len(wanted) - target):
                self.decommission(victim)

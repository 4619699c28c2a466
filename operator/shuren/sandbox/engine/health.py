"""Health checks: performed for real through the runner, judged as Marathon (HTTP, HTTPS, TCP) or Mesos (COMMAND, MESOS_*) judges them.

Results are the leader's memory: after a change of leader health is unknown until the next probe.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from shuren.sandbox.engine.clock import stamp
from shuren.sandbox.engine.model import CheckState, Condition, Goal, Instance, is_pod
from shuren.sandbox.engine.rolling import MARATHON_CHECKS
from shuren.sandbox.engine.targets import of_check

if TYPE_CHECKING:
    from shuren.sandbox.contract import Json
    from shuren.sandbox.engine.lifecycle import Lifecycle
    from shuren.sandbox.engine.world import World

FIRST_PROBE = 5.0
"""Marathon's own checks begin after the interval or this long, whichever is shorter."""
MIN_INTERVAL = 0.05
"""An interval of 0 is accepted; probing without a pause would help nobody."""


def checks_of(definition: Json) -> list[Json]:
    """The health checks of an app, or those of a pod's containers in the same shape."""
    if not is_pod(definition):
        return list(definition.get("healthChecks", ()))
    return [_pod_check(container) for container in definition["containers"] if "healthCheck" in container]


def _pod_check(container: Json) -> Json:
    raw = container["healthCheck"]
    check = {
        k: raw[k] for k in ("gracePeriodSeconds", "intervalSeconds", "timeoutSeconds", "maxConsecutiveFailures", "delaySeconds") if k in raw
    }
    check["container"] = container["name"]
    if "exec" in raw:
        return {**check, "protocol": "COMMAND", "command": {"value": raw["exec"].get("command", {}).get("shell", "false")}}
    target = raw.get("http") or raw.get("tcp") or {}
    protocol = "MESOS_TCP" if "tcp" in raw else "MESOS_HTTPS" if target.get("scheme", "").upper() == "HTTPS" else "MESOS_HTTP"
    return {**check, "protocol": protocol, "endpoint": target.get("endpoint", ""), "path": target.get("path", "/")}


class Health:
    """Schedules and judges the checks of all running instances."""

    def __init__(self, world: World, lifecycle: Lifecycle) -> None:
        self._world = world
        self._lifecycle = lifecycle
        self._epochs: dict[tuple[str, str], float] = {}
        world.instances.listeners.append(self._changed)
        world.instances.removed.append(self._forget)

    def _changed(self, instance: Instance, before: Condition, goal: Goal) -> None:
        del goal
        if instance.condition is Condition.RUNNING and before is not Condition.RUNNING:
            self.watch(instance)

    def watch(self, instance: Instance) -> None:
        """Begins to probe an instance that runs (again)."""
        checks = checks_of(instance.definition)
        if not checks:
            return
        instance.checks = [CheckState() for _ in checks]
        instance.healthy = None
        self._world.instances.refresh(instance)
        for index, check in enumerate(checks):
            first = self._next_tick(instance, check) if self._by_marathon(check) else float(check.get("delaySeconds", 15))
            self._later(instance, index, check, first)

    def _next_tick(self, instance: Instance, check: Json) -> float:
        """Marathon's checks beat per app and configuration, not per task: a task that starts joins at the next beat."""
        interval = max(float(check.get("intervalSeconds", 60)), MIN_INTERVAL)
        now = self._world.clock.now()
        begun = self._epochs.setdefault((instance.app_id, instance.config), now) + min(interval, FIRST_PROBE)
        return begun - now if now <= begun else interval - (now - begun) % interval

    def _forget(self, instance: Instance) -> None:
        if not self._world.instances.has(instance.app_id):
            for key in [k for k in self._epochs if k[0] == instance.app_id]:
                del self._epochs[key]

    def probe_again(self) -> None:
        """Asks all tasks at once (a simulation that was changed). A copied state lets the timers that are under way fall silent."""
        for instance in self._world.instances:
            if instance.condition is Condition.RUNNING and instance.checks:
                instance.checks = [replace(state) for state in instance.checks]
                for index, check in enumerate(checks_of(instance.definition)):
                    self._later(instance, index, check, 0.0)

    @staticmethod
    def _by_marathon(check: Json) -> bool:
        return check.get("protocol", "HTTP") in MARATHON_CHECKS

    def _later(self, instance: Instance, index: int, check: Json, delay: float) -> None:
        attempt, state = instance.attempt, instance.checks[index]

        def probe() -> None:
            if self._current(instance, attempt, index, state):
                target = of_check(instance, check)
                self._world.runner.probe(self._task_of(instance, check), check, host=target.address, port=target.port, done=judged)

        def judged(alive: bool, cause: str | None) -> None:  # noqa: FBT001 - a callback of the runner port
            if self._current(instance, attempt, index, state):
                self._judge(instance, index, check, alive=alive, cause=cause)

        self._world.clock.after(delay, probe)

    @staticmethod
    def _task_of(instance: Instance, check: Json) -> str:
        name = check.get("container")
        return instance.task_id if name is None else f"{instance.id}.{name}.{instance.attempt}"

    def _current(self, instance: Instance, attempt: int, index: int, state: CheckState) -> bool:
        return (
            instance.attempt == attempt
            and instance.condition is Condition.RUNNING
            and index < len(instance.checks)
            and instance.checks[index] is state
            and self._world.instances.get(instance.id) is instance
        )

    def _judge(self, instance: Instance, index: int, check: Json, *, alive: bool, cause: str | None) -> None:
        state = instance.checks[index]
        interval = float(check.get("intervalSeconds", 60))
        if self._by_marathon(check):
            self._judge_by_marathon(instance, state, check, alive=alive, cause=cause)
        elif self._judge_by_mesos(instance, state, check, alive=alive, cause=cause):
            return
        if not self._world.runner.settled(self._task_of(instance, check)):
            self._later(instance, index, check, max(interval, MIN_INTERVAL))

    def _judge_by_marathon(self, instance: Instance, state: CheckState, check: Json, *, alive: bool, cause: str | None) -> None:
        """Marathon's HealthCheckActor. A failure that does not count is a result all the same: the task then shows as not alive.

        Whether to kill is decided by the failures before this one, so it takes one more than `maxConsecutiveFailures`; 0 means never.
        """
        now = self._world.clock.now()
        before = state.alive
        if alive:
            state.succeeded(now)
        elif not self._ignored(instance, check, state, now):
            shown = {"appId": instance.app_id, "taskId": instance.id, "healthCheck": _shown(check)}
            self._world.bus.publish("failed_health_check_event", shown)
            if state.failures >= int(check.get("maxConsecutiveFailures", 3)) > 0:
                self._kill_unhealthy(instance, state)
            state.failed(now, cause or "")
        state.seen = True
        self._world.instances.refresh(instance)
        if before is not state.alive:
            told = {"appId": instance.app_id, "instanceId": instance.id, "version": instance.version, "alive": state.alive}
            self._world.bus.publish("health_status_changed_event", told)
        self._announce(instance)

    def _judge_by_mesos(self, instance: Instance, state: CheckState, check: Json, *, alive: bool, cause: str | None) -> bool:
        """A Mesos executor tells nothing of failures that do not count, and kills its task itself. True when it does."""
        now = self._world.clock.now()
        if alive:
            state.succeeded(now)
        elif self._ignored(instance, check, state, now):
            return False
        else:
            state.failed(now, cause or "")
        state.seen = True
        self._world.instances.refresh(instance)
        self._announce(instance)
        if alive or state.failures < max(1, int(check.get("maxConsecutiveFailures", 3))):
            return False
        self._lifecycle.kill(instance)
        return True

    @staticmethod
    def _ignored(instance: Instance, check: Json, state: CheckState, now: float) -> bool:
        """Within the grace period, before the first success, failures do not count."""
        return state.first_success is None and now - instance.since < float(check.get("gracePeriodSeconds", 300))

    def _announce(self, instance: Instance) -> None:
        """The health of the instance as a whole, when it has changed: known once every check has given a result."""
        healthy = all(c.alive for c in instance.checks) if all(c.seen for c in instance.checks) else None
        if healthy is instance.healthy:
            return
        instance.healthy = healthy
        world = self._world
        world.bus.publish(
            "instance_health_changed_event",
            {"instanceId": instance.id, "runSpecId": instance.app_id, "healthy": healthy, "runSpecVersion": instance.version},
        )
        for listener in tuple(world.health_changed):
            listener(instance)

    def _kill_unhealthy(self, instance: Instance, state: CheckState) -> None:
        """Told again at each further failure for as long as the task takes to die."""
        reason = state.cause or "unknown"
        body = {
            "appId": instance.app_id,
            "taskId": instance.task_id,
            "instanceId": instance.id,
            "version": instance.version,
            "reason": reason,
            "host": instance.host,
            "slaveId": instance.agent_id,
            "timestamp": None if state.last_failure is None else stamp(state.last_failure),  # of the failure that this follows
        }
        self._world.bus.publish("unhealthy_instance_kill_event", body)
        message = f"Task was killed since health check failed. Reason: {reason}"
        self._lifecycle.remember_failure(instance, instance.task_id, "TASK_FAILED", message)
        if instance.killing is None:
            self._lifecycle.kill(instance)


def _shown(check: Json) -> Json:
    return {k: v for k, v in check.items() if k not in {"container", "endpoint"}}

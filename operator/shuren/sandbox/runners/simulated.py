"""Runs nothing: tasks that only pretend, for tens of thousands of them on one core.

How a task behaves is said by labels or environment of the app (labels win), in seconds unless told otherwise:

| name | default | what |
|---|---|---|
| `SIM_START` | 0.02 | from launch to TASK_RUNNING |
| `SIM_LAUNCH` | (none) | a text: the launch fails with it |
| `SIM_FAIL_AFTER`, `SIM_EXIT` | never, 1 | ends with TASK_FAILED and that exit status |
| `SIM_FINISH_AFTER` | never | ends with TASK_FINISHED |
| `SIM_HEALTHY_AFTER` | 0 | probes fail before that, counted from TASK_RUNNING |
| `SIM_UNHEALTHY_AFTER` | never | probes fail from then on |
| `SIM_READY_AFTER` | 0 | readiness checks answer 503 before that |
| `SIM_STOP` | 0.01 | from a kill to TASK_KILLED (at most the grace period) |
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shuren.sandbox.runners.port import Launch, Report, Room, TaskStatus, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shuren.sandbox.contract import Json
    from shuren.sandbox.engine.clock import Clock, Timer

NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Behaviour:
    """The table above as a value."""

    start: float = 0.02
    launch: str | None = None
    fail_after: float = NEVER
    exit: int = 1
    finish_after: float = NEVER
    healthy_after: float = 0.0
    unhealthy_after: float = NEVER
    ready_after: float = 0.0
    stop: float = 0.01

    @classmethod
    def read(cls, source: Mapping[str, str]) -> Behaviour:
        """From labels or environment; what is no number is passed over."""
        known: dict[str, float | str] = {}
        for name in cls.__slots__:
            text = source.get(f"SIM_{name.upper()}")
            if text is None:
                continue
            if name == "launch":
                known[name] = text
                continue
            try:
                known[name] = int(text) if name == "exit" else float(text)
            except ValueError:
                continue
        return cls(**known) if known else _DEFAULT  # type: ignore[arg-type]


@dataclass(slots=True)
class _Task:
    launch: Launch
    behaviour: Behaviour
    running_since: float | None = None
    timer: Timer | None = None
    killed: bool = False


class SimulatedRunner:
    """`--runner simulated`. All times come from the engine's clock: no process, no asyncio task, one timer per task at most."""

    binds_ports = False

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tasks: dict[str, _Task] = {}
        self._report: Report = lambda _: None
        self._overrides: list[tuple[re.Pattern[str], Behaviour]] = []

    def start(self, report: Report) -> None:
        self._report = report

    def override(self, rules: Mapping[str, Mapping[str, str]]) -> None:
        """Behaviour by a regular expression on the app id, for tasks that run already too (health) and for those to come (all)."""
        self._overrides = [(re.compile(p), Behaviour.read({k: str(v) for k, v in b.items()})) for p, b in rules.items()]
        for task in self._tasks.values():
            task.behaviour = self._behaviour(task.launch)

    def _behaviour(self, launch: Launch) -> Behaviour:
        for pattern, behaviour in self._overrides:
            if pattern.search(launch.app_id):
                return behaviour
        labels, env = launch.definition.get("labels"), launch.definition.get("env")
        if not labels and not env:
            return _DEFAULT
        return Behaviour.read({**{k: v for k, v in (env or {}).items() if isinstance(v, str)}, **(labels or {})})

    def launch(self, launch: Launch) -> None:
        task = self._tasks[launch.task_id] = _Task(launch, self._behaviour(launch))
        task.timer = self._clock.after(task.behaviour.start / 2, lambda: self._starting(task))

    def _starting(self, task: _Task) -> None:
        if task.behaviour.launch is not None:
            self._end(task, "TASK_FAILED", task.behaviour.launch)
            return
        self._tell(task, "TASK_STARTING")
        task.timer = self._clock.after(task.behaviour.start / 2, lambda: self._running(task))

    def _running(self, task: _Task) -> None:
        task.running_since = self._clock.now()
        self._plan_end(task)
        self._tell(task, "TASK_RUNNING")

    def _plan_end(self, task: _Task) -> None:
        behaviour = task.behaviour
        if behaviour.fail_after <= behaviour.finish_after and behaviour.fail_after < NEVER:
            code = behaviour.exit
            task.timer = self._clock.after(
                behaviour.fail_after, lambda: self._end(task, "TASK_FAILED", f"Command exited with status {code}")
            )
        elif behaviour.finish_after < NEVER:
            task.timer = self._clock.after(behaviour.finish_after, lambda: self._end(task, "TASK_FINISHED", "Command exited with status 0"))

    def adopt(self, launch: Launch, *, running: bool) -> None:
        if not running:
            self.launch(launch)
            return
        task = self._tasks[launch.task_id] = _Task(launch, self._behaviour(launch), running_since=self._clock.now())
        self._plan_end(task)

    def _tell(self, task: _Task, state: str, message: str = "") -> None:
        self._report(TaskStatus(task_id=task.launch.task_id, state=state, message=message, ip=task.launch.host))

    def _end(self, task: _Task, state: str, message: str) -> None:
        if self._tasks.pop(task.launch.task_id, None) is None:
            return
        if task.timer is not None:
            task.timer.cancel()
        self._tell(task, state, message)

    def kill(self, task_id: str, *, grace: float) -> None:
        task = self._tasks.get(task_id)
        if task is None or task.killed:
            return
        task.killed = True
        if task.timer is not None:
            task.timer.cancel()
        delay = min(task.behaviour.stop, grace) if grace else 0.0
        task.timer = self._clock.after(delay, lambda: self._end(task, "TASK_KILLED", "Command terminated with signal Terminated"))

    def lose(self, task_id: str) -> None:
        """Its host is gone: no status will ever come."""
        task = self._tasks.pop(task_id, None)
        if task is not None and task.timer is not None:
            task.timer.cancel()

    def probe(self, task_id: str, check: Json, *, host: str, port: int | None, done: Verdict) -> None:
        del check, host, port
        task = self._tasks.get(task_id)
        if task is None or task.running_since is None:
            return
        age = self._clock.now() - task.running_since
        healthy = task.behaviour.healthy_after <= age < task.behaviour.unhealthy_after
        done(healthy, None if healthy else "503 Service Unavailable")

    def fetch(self, task_id: str, url: str, *, timeout: float, done: Callable[[int, str, str], None]) -> None:
        del url, timeout
        task = self._tasks.get(task_id)
        if task is None or task.running_since is None:
            done(0, "", "")
            return
        ready = self._clock.now() - task.running_since >= task.behaviour.ready_after
        done(200 if ready else 503, "text/plain", "ready" if ready else "not ready")

    def room(self, task_id: str) -> Room | None:
        del task_id
        return None

    def settled(self, task_id: str) -> bool:
        task = self._tasks.get(task_id)
        if task is None or task.running_since is None:
            return False
        age = self._clock.now() - task.running_since
        return age >= task.behaviour.healthy_after and task.behaviour.unhealthy_after == NEVER

    def port_free(self, host: str, port: int) -> bool:
        del host, port
        return True

    async def close(self, *, kill: bool) -> None:
        del kill
        for task in self._tasks.values():
            if task.timer is not None:
                task.timer.cancel()
        self._tasks.clear()


_DEFAULT = Behaviour()

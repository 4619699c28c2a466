"""Instances of apps in the world of the fake Marathon: launch, run, become healthy, fail, die. One step per tick."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

from shuren.domain.marathon.state import Health, Task, TaskState

Json: TypeAlias = dict[str, Any]


class Behaviour(Enum):
    """What the instances of a definition do.

    RUNS: start, become healthy and ready. FAILS: end right after their start, again and again. UNHEALTHY: run, but each check fails.
    UNREADY: run and are healthy, but never ready. STUCK: stay staged. UNPLACED: no offer ever fits.
    """

    RUNS = "runs"
    FAILS = "fails"
    UNHEALTHY = "unhealthy"
    UNREADY = "unready"
    STUCK = "stuck"
    UNPLACED = "unplaced"


Behave: TypeAlias = Callable[[Mapping[str, Any]], Behaviour]


@dataclass(slots=True)
class Instance:
    """One instance and the task of its latest incarnation. `scheduled`: it waits to be launched (again)."""

    id: str
    app_id: str
    definition: Json
    number: int
    incarnation: int = 0
    state: TaskState = TaskState.STAGING
    scheduled: bool = True
    doomed: bool = False
    expunge: bool = True
    host: str = ""
    port: int = 0
    staged_at: str | None = None
    started_at: str | None = None
    health: Health = Health.UNKNOWN
    ready: bool = False

    @property
    def version(self) -> str:
        """The app version that it was made from."""
        return str(self.definition["version"])

    @property
    def task_id(self) -> str:
        """Id of the latest incarnation."""
        return f"{self.id}._app.{self.incarnation}"

    @property
    def listed(self) -> bool:
        """Whether Marathon shows a task: not before the first launch; a dead task stays until the next one is launched."""
        return self.incarnation > 0

    @property
    def good(self) -> bool:
        """Running, healthy if there are checks, ready if there is a readiness check, and not on its way out."""
        return (
            self.state is TaskState.RUNNING
            and not self.doomed
            and (self.health is Health.HEALTHY or not self.definition.get("healthChecks"))
            and (self.ready or not self.definition.get("readinessChecks"))
        )

    def task(self) -> Task:
        """The task as Marathon shows it: times, version and ports are missing once it is over."""
        active = self.state.active
        return Task(
            id=self.task_id,
            app_id=self.app_id,
            state=self.state,
            host=self.host,
            agent_id=f"agent-{self.host}",
            ports=(self.port,) if active else (),
            ip_addresses=(self.host,) if active else (),
            version=self.version if active else None,
            staged_at=self.staged_at if active else None,
            started_at=self.started_at if active else None,
            health=self.health if active else Health.UNKNOWN,
        )

    def launch(self, *, host: str, now: str) -> None:
        """An offer was taken: the next incarnation is staged."""
        self.incarnation += 1
        self.scheduled, self.state, self.health, self.ready = False, TaskState.STAGING, Health.UNKNOWN, False
        self.host, self.port, self.staged_at, self.started_at = host, 31_000 + self.number % 1_000, now, None

    def die(self, state: TaskState) -> None:
        """The task is over; the instance waits for its next incarnation."""
        self.state, self.scheduled, self.health, self.ready = state, True, Health.UNKNOWN, False

    def settle(self, behaviour: Behaviour) -> bool:
        """A running task takes the health and readiness of its behaviour. Whether anything changed."""
        health = self.health
        if self.definition.get("healthChecks"):
            health = Health.UNHEALTHY if behaviour is Behaviour.UNHEALTHY else Health.HEALTHY
        ready = behaviour is not Behaviour.UNREADY
        if (health, ready) == (self.health, self.ready):
            return False
        self.health, self.ready = health, ready
        return True


def victims(instances: list[Instance], count: int, *, chosen: frozenset[str] = frozenset()) -> list[Instance]:
    """Which of `instances` a smaller number costs: those `chosen` (task ids), waiting ones, staged ones, then by killSelection."""
    oldest = bool(instances) and instances[0].definition.get("killSelection") == "OLDEST_FIRST"

    def rank(instance: Instance) -> tuple[int, int, int]:
        stage = 0 if instance.scheduled else 1 if instance.state is TaskState.STAGING else 2
        return (0 if instance.task_id in chosen else 1, stage, instance.number if oldest else -instance.number)

    return sorted((i for i in instances if not i.doomed), key=rank)[: max(0, count)]

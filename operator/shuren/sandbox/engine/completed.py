"""Tasks that have ended, as a Mesos master and its agents remember them: bounded lists, the oldest go first.

They belong to Mesos and not to Marathon, so a change of Marathon's leader leaves them as they are.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shuren.sandbox.contract import Json
    from shuren.sandbox.engine.model import Instance

MAX_COMPLETED = 1000
"""`--max_completed_tasks_per_framework` of the master."""
MAX_COMPLETED_EXECUTORS = 150
"""`--max_completed_executors_per_framework` of an agent."""


@dataclass(frozen=True, kw_only=True)
class EndedTask:
    """What is left of one task. Times are seconds since the epoch; `started_at` is None for one that never ran."""

    task_id: str
    instance_id: str
    app_id: str
    agent_id: str
    state: str
    definition: Json
    role: str
    ports: tuple[int, ...]
    ip: str | None
    started_at: float | None
    ended_at: float

    @classmethod
    def of(cls, instance: Instance, task_id: str, state: str, now: float) -> EndedTask:
        """What there is to say now of one of an instance's present tasks."""
        return cls(
            task_id=task_id,
            instance_id=instance.id,
            app_id=instance.app_id,
            agent_id=instance.agent_id or "",
            state=state,
            definition=instance.definition,
            role=instance.role,
            ports=instance.ports,
            ip=instance.network_ip or instance.ip or instance.host,
            started_at=instance.started_at,
            ended_at=now,
        )


class Completed:
    """What has ended, oldest first."""

    def __init__(self) -> None:
        self._tasks: deque[EndedTask] = deque(maxlen=MAX_COMPLETED)
        self._by_agent: dict[str, deque[EndedTask]] = {}

    def __iter__(self) -> Iterator[EndedTask]:
        return iter(tuple(self._tasks))

    def add(self, task: EndedTask) -> None:
        self._tasks.append(task)
        self._by_agent.setdefault(task.agent_id, deque(maxlen=MAX_COMPLETED_EXECUTORS)).append(task)

    def on_agent(self, agent_id: str) -> list[EndedTask]:
        """Those that ran there."""
        return list(self._by_agent.get(agent_id, ()))

    def forget(self, agent_id: str) -> None:
        """The agent is gone with what it knew; the master still does."""
        self._by_agent.pop(agent_id, None)

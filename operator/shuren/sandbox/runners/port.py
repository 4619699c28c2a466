"""The port between the engine and what runs tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from shuren.sandbox.contract import Json


@dataclass(frozen=True, kw_only=True)
class Launch:
    """One task to run. `definition` is the app's, or the container's within a pod. `directory` is its sandbox."""

    task_id: str
    app_id: str
    agent_id: str
    host: str
    definition: Json
    environment: Mapping[str, str]
    ports: tuple[int, ...]
    directory: Path
    volumes: tuple[Any, ...] = field(default_factory=tuple)


@dataclass(frozen=True, kw_only=True)
class TaskStatus:
    """What a runner reports: Mesos' name of the state, a message, the address once it is known."""

    task_id: str
    state: str
    message: str = ""
    ip: str | None = None


@dataclass(frozen=True, kw_only=True)
class Room:
    """Where a command beside a running task is run: the task's directory, environment and user. With the process `pid` it all ends."""

    directory: Path
    environment: Mapping[str, str]
    user: str | None
    pid: int


Report = Callable[[TaskStatus], None]
Verdict = Callable[[bool, str | None], None]
"""Called with whether a probe succeeded and, if not, why."""


class Runner(Protocol):
    """Runs tasks. All calls return at once; what happens is reported."""

    binds_ports: bool
    """Whether tasks really listen on the machine's ports."""

    def start(self, report: Report) -> None:
        """Called once, before anything else, on the running event loop."""

    def launch(self, launch: Launch) -> None:
        """Reports TASK_STARTING, TASK_RUNNING and in the end a terminal state; a launch that fails reports TASK_FAILED."""

    def adopt(self, launch: Launch, *, running: bool) -> None:
        """After a restart of the engine: find the task again and go on reporting; one that has ended meanwhile is reported so.
        `running`: TASK_RUNNING was reported before.
        """

    def kill(self, task_id: str, *, grace: float) -> None:
        """SIGTERM, after `grace` seconds SIGKILL; reports TASK_KILLED (TASK_FINISHED stays what it was when it had ended before)."""

    def lose(self, task_id: str) -> None:
        """Its host is gone: it ends without a word."""

    def probe(self, task_id: str, check: Json, *, host: str, port: int | None, done: Verdict) -> None:
        """Performs one health check at that address; None for a port that the task does not have."""

    def fetch(self, task_id: str, url: str, *, timeout: float, done: Callable[[int, str, str], None]) -> None:
        """GETs an URL for a readiness check: status (0 when there was no answer), content type, body (the cause when there was none)."""

    def room(self, task_id: str) -> Room | None:
        """Where commands beside it are run; None when it has no process, or where this runner has no such place."""

    def settled(self, task_id: str) -> bool:
        """True when a probe's verdict cannot change by itself, so that it need not be repeated (simulation)."""

    def port_free(self, host: str, port: int) -> bool:
        """Whether a task could bind this port."""

    async def close(self, *, kill: bool) -> None:
        """Lets go of all tasks, or ends them."""

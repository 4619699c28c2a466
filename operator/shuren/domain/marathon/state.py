"""What Marathon says of the world, as values. Clients parse Marathon's JSON into these; nothing here decides anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from shuren.domain.json import Document


class Health(Enum):
    """Of a task: unknown when no check has reported (also right after a Marathon fail-over, when results are forgotten)."""

    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


class TaskState(Enum):
    """Marathon's task states (1.11). A state this build does not know becomes UNKNOWN."""

    STAGING = "TASK_STAGING"
    STARTING = "TASK_STARTING"
    RUNNING = "TASK_RUNNING"
    KILLING = "TASK_KILLING"
    FINISHED = "TASK_FINISHED"
    FAILED = "TASK_FAILED"
    KILLED = "TASK_KILLED"
    ERROR = "TASK_ERROR"
    LOST = "TASK_LOST"
    UNREACHABLE = "TASK_UNREACHABLE"
    GONE = "TASK_GONE"
    DROPPED = "TASK_DROPPED"
    UNKNOWN = "TASK_UNKNOWN"

    @property
    def active(self) -> bool:
        """Whether the task still is or may be running (terminal tasks stay listed until their next incarnation starts)."""
        return self in _ACTIVE


_ACTIVE = frozenset({TaskState.STAGING, TaskState.STARTING, TaskState.RUNNING, TaskState.KILLING, TaskState.UNREACHABLE})


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One task of an app. Timestamps are Marathon's ISO strings, None when Marathon leaves them out (inactive tasks)."""

    id: str
    app_id: str
    state: TaskState
    host: str = ""
    agent_id: str = ""
    ports: tuple[int, ...] = ()
    ip_addresses: tuple[str, ...] = ()
    version: str | None = None
    staged_at: str | None = None
    started_at: str | None = None
    health: Health = Health.UNKNOWN


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """Marathon's counters; `running` are Mesos-RUNNING tasks, health counts only tasks with a result."""

    staged: int = 0
    running: int = 0
    healthy: int = 0
    unhealthy: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskFailure:
    """The last failure of a task of the app; Marathon keeps it until the app is deleted."""

    message: str
    state: str
    host: str
    timestamp: str
    task_id: str
    version: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ActualApp:
    """An app as Marathon has it.

    `definition` is the GET document without counters, tasks, deployments and failures, but with `version` and `versionInfo`. It is never
    shown: values of Secrets stand in it.
    """

    id: str
    definition: Document = field(repr=False)
    version: str
    last_config_change_at: str
    last_scaling_at: str
    instances: int
    counts: Counts = field(default_factory=Counts)
    tasks: tuple[Task, ...] = ()
    deployments: tuple[str, ...] = ()
    last_task_failure: TaskFailure | None = None
    ready_tasks: tuple[str, ...] | None = None
    """Ids of tasks whose readiness check has passed; None when no readiness result was given."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeploymentAction:
    """One action of the current step, e.g. `RestartApplication` of `/a`."""

    action: str
    app_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Deployment:
    """A running deployment. `current_step` is 1-based, 0 before the first step."""

    id: str
    version: str
    affected_apps: tuple[str, ...]
    current_step: int
    total_steps: int
    current_actions: tuple[DeploymentAction, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueItem:
    """Why instances of an app wait to be launched.

    `overdue` True means waiting for offers, False means backed off for `delay_seconds` more. `rejections` counts declined offers of the
    last round by Marathon's reason names, in its funnel order (UnfulfilledRole, …, DeclinedScarceResources).
    """

    app_id: str
    count: int
    delay_seconds: float
    overdue: bool
    since: str
    processed_offers: int = 0
    unused_offers: int = 0
    rejections: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class MarathonInfo:
    """What decisions need of GET /v2/info."""

    version: str
    framework_id: str | None
    leader: str | None
    features: frozenset[str] = frozenset()
    mesos_role: str = "*"
    default_network_name: str | None = None
    local_port_min: int = 10_000
    local_port_max: int = 20_000


@dataclass(frozen=True, kw_only=True, slots=True)
class DeploymentRef:
    """What a successful write answers. A write that changed nothing also has an id; such a deployment never shows in a list."""

    id: str
    version: str


@dataclass(frozen=True, kw_only=True, slots=True)
class MarathonEvent:
    """One event of the stream: its type and JSON. Only ever a hint to look again: no replay, no promised order."""

    type: str
    data: Document

"""Instances: what Marathon tracks of each copy of an app or pod, and how a task of it reads in JSON."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from shuren.sandbox.engine.clock import seconds, stamp
from shuren.sandbox.engine.ids import APP_CONTAINER, task_id

if TYPE_CHECKING:
    from shuren.sandbox.contract import Json


class Condition(Enum):
    """Marathon's condition of an instance, named as in `instance_changed_event`."""

    SCHEDULED = "Scheduled"
    PROVISIONED = "Provisioned"
    STAGING = "Staging"
    STARTING = "Starting"
    RUNNING = "Running"
    UNREACHABLE = "Unreachable"
    UNREACHABLE_INACTIVE = "UnreachableInactive"
    FINISHED = "Finished"
    FAILED = "Failed"
    KILLED = "Killed"
    ERROR = "Error"
    DROPPED = "Dropped"
    GONE = "Gone"
    UNKNOWN = "Unknown"


ACTIVE = frozenset({Condition.PROVISIONED, Condition.STAGING, Condition.STARTING, Condition.RUNNING, Condition.UNREACHABLE})
TERMINAL = frozenset(
    {Condition.FINISHED, Condition.FAILED, Condition.KILLED, Condition.ERROR, Condition.DROPPED, Condition.GONE, Condition.UNKNOWN}
)
FAILURES = frozenset({Condition.FAILED, Condition.ERROR, Condition.DROPPED, Condition.GONE, Condition.UNKNOWN})
"""What `lastTaskFailure` remembers."""
BACKING_OFF = frozenset({Condition.DROPPED, Condition.ERROR, Condition.FAILED, Condition.GONE, Condition.FINISHED})
"""What makes the launch delay grow (a kill does not)."""
LAUNCHED = frozenset({Condition.STAGING, Condition.STARTING, Condition.RUNNING})
"""What begins a delay that there is again."""

_STATE_OF = {
    Condition.SCHEDULED: "TASK_STAGING",
    Condition.PROVISIONED: "TASK_STAGING",
    Condition.STAGING: "TASK_STAGING",
    Condition.STARTING: "TASK_STARTING",
    Condition.RUNNING: "TASK_RUNNING",
    Condition.UNREACHABLE: "TASK_UNREACHABLE",
    Condition.UNREACHABLE_INACTIVE: "TASK_UNREACHABLE",
    Condition.FINISHED: "TASK_FINISHED",
    Condition.FAILED: "TASK_FAILED",
    Condition.KILLED: "TASK_KILLED",
    Condition.ERROR: "TASK_ERROR",
    Condition.DROPPED: "TASK_DROPPED",
    Condition.GONE: "TASK_GONE",
    Condition.UNKNOWN: "TASK_UNKNOWN",
}
CONDITION_OF = {
    "TASK_STAGING": Condition.STAGING,
    "TASK_STARTING": Condition.STARTING,
    "TASK_RUNNING": Condition.RUNNING,
    "TASK_UNREACHABLE": Condition.UNREACHABLE,
    "TASK_FINISHED": Condition.FINISHED,
    "TASK_FAILED": Condition.FAILED,
    "TASK_KILLED": Condition.KILLED,
    "TASK_ERROR": Condition.ERROR,
    "TASK_DROPPED": Condition.DROPPED,
    "TASK_GONE": Condition.GONE,
    "TASK_GONE_BY_OPERATOR": Condition.GONE,
    "TASK_LOST": Condition.GONE,
    "TASK_UNKNOWN": Condition.UNKNOWN,
}
"""Mesos' task states as Marathon reads them (TASK_LOST without a reason of reconciliation is Gone)."""


class Goal(Enum):
    """What Marathon wants of an instance."""

    RUNNING = "Running"
    STOPPED = "Stopped"
    DECOMMISSIONED = "Decommissioned"


@dataclass(slots=True)
class CheckState:
    """What one health check has seen of one task."""

    first_success: float | None = None
    last_success: float | None = None
    last_failure: float | None = None
    failures: int = 0
    cause: str | None = None
    seen: bool = False
    """There was a result, be it a failure that did not count."""

    def succeeded(self, now: float) -> None:
        """A probe was answered well."""
        self.first_success = self.first_success or now
        self.last_success = now
        self.failures = 0

    def failed(self, now: float, cause: str) -> None:
        """A probe failed, and that counts."""
        self.last_failure = now
        self.failures += 1
        self.cause = cause

    @property
    def alive(self) -> bool:
        """Last success later than last failure."""
        return self.last_success is not None and (self.last_failure is None or self.last_success > self.last_failure)

    def json(self, instance_id: str) -> Json:
        body: Json = {"alive": self.alive, "consecutiveFailures": self.failures}
        if self.first_success is not None:
            body["firstSuccess"] = stamp(self.first_success)
        # Not the plain id: Marathon's writer renders the Scala object.
        body["instanceId"] = f"instance [{instance_id}]"
        if self.last_failure is not None:
            body["lastFailure"] = stamp(self.last_failure)
        if self.cause is not None:
            body["lastFailureCause"] = self.cause
        if self.last_success is not None:
            body["lastSuccess"] = stamp(self.last_success)
        return body


def config_version(definition: Json) -> str:
    """When the configuration last changed: what decides whether an instance is of the old version."""
    info = definition.get("versionInfo")
    return str(info["lastConfigChangeAt"] if info else definition["version"])


def wanted_instances(definition: Json) -> int:
    """The target count of an app or a pod."""
    if "instances" in definition:
        return int(definition["instances"])
    return int(definition.get("scaling", {}).get("instances", 1))


def is_pod(definition: Json) -> bool:
    """Pods have containers, apps at most one `container`."""
    return "containers" in definition


def service_ports(definition: Json) -> list[int]:
    """The service ports in the order of the ports."""
    networks = definition.get("networks") or [{"mode": "host"}]
    if networks[0].get("mode", "host") == "host":
        return [int(p["port"]) for p in definition.get("portDefinitions", ())]
    return [int(p.get("servicePort", 0)) for p in definition.get("container", {}).get("portMappings", ())]


class Instance:
    """One copy of an app or pod. Mutable: every change goes through `Instances.touch`, which keeps counters, events and storage right."""

    __slots__ = (
        "agent_id",
        "app_id",
        "attempt",
        "checks",
        "condition",
        "config",
        "contribution",
        "definition",
        "goal",
        "healthy",
        "host",
        "id",
        "ip",
        "killing",
        "message",
        "network_ip",
        "parts",
        "ports",
        "rendered",
        "role",
        "since",
        "staged_at",
        "started_at",
        "timers",
        "version",
        "volumes",
        "wiped",
    )  # fmt: skip

    def __init__(self, *, id: str, definition: Json, now: float) -> None:  # noqa: A002 - Marathon's word for it
        self.id = id
        self.app_id: str = definition["id"]
        self.definition = definition
        self.version: str = definition["version"]
        self.config = config_version(definition)
        self.role: str = definition.get("role", "*")
        self.goal = Goal.RUNNING
        self.condition = Condition.SCHEDULED
        self.since = now
        self.attempt = 0
        self.agent_id: str | None = None
        self.host: str | None = None
        self.ip: str | None = None
        self.network_ip: str | None = None
        self.ports: tuple[int, ...] = ()
        self.staged_at = 0.0
        self.started_at: float | None = None
        self.healthy: bool | None = None
        self.checks: list[CheckState] = []
        self.killing: float | None = None
        self.wiped = False
        self.message = ""
        self.parts: dict[str, str] = {}
        """Mesos state of each container of a pod, by name; empty for apps."""
        self.volumes: tuple[Json, ...] = ()
        self.timers: Any = None
        self.contribution = (0, 0, 0, 0)
        self.rendered: Json | None = None

    @property
    def active(self) -> bool:
        return self.condition in ACTIVE

    @property
    def wanted(self) -> bool:
        """Counts towards the target: its goal is to run."""
        return self.goal is Goal.RUNNING and self.condition is not Condition.UNREACHABLE_INACTIVE

    @property
    def containers(self) -> tuple[str, ...]:
        if is_pod(self.definition):
            return tuple(str(c["name"]) for c in self.definition["containers"])
        return (APP_CONTAINER,)

    @property
    def task_id(self) -> str:
        """Id of its (first) task of the present launch."""
        return task_id(self.id, self.containers[0], self.attempt)

    def task_ids(self) -> list[str]:
        return [task_id(self.id, name, self.attempt) for name in self.containers]

    @property
    def state(self) -> str:
        """Mesos' name of the present state."""
        if self.condition is Condition.SCHEDULED and self.attempt:
            return self.parts.get("", "TASK_STAGING")
        return _STATE_OF[self.condition]

    def counters(self) -> tuple[int, int, int, int]:
        """What it adds to staged, running, healthy, unhealthy."""
        match self.condition:
            case Condition.PROVISIONED | Condition.STAGING:
                return (1, 0, 0, 0)
            case Condition.RUNNING:
                reported = [c for c in self.checks if c.seen]
                if not reported:
                    return (0, 1, 0, 0)
                bad = any(not c.alive for c in reported)
                return (0, 1, 0, 1) if bad else (0, 1, 1, 0)
            case _:
                return (0, 0, 0, 0)

    def json(self) -> Json:
        """The task as in `GET /v2/tasks`. Cached until the instance changes; callers must not change it."""
        if self.rendered is None:
            self.rendered = self._render()
        return self.rendered

    def tasks(self) -> list[Json]:
        """Its tasks as in `GET /v2/tasks`: one, or one per container of a pod."""
        if not is_pod(self.definition):
            return [self.json()]
        shown = self.json()
        return [
            {**shown, "id": task_id(self.id, name, self.attempt), "state": self.parts.get(name) or self.state} for name in self.containers
        ]

    def summary(self) -> Json:
        """The whole instance, as the endpoints that kill instances of pods answer."""
        state: Json = {"condition": self.condition.value, "since": stamp(self.since), "goal": self.goal.value}
        if self.started_at is not None and self.active:
            state["activeSince"] = stamp(self.started_at)
        if self.healthy is not None:
            state["healthy"] = self.healthy
        raw = self.definition.get("unreachableStrategy", self.definition.get("scheduling", {}).get("unreachableStrategy"))
        return {
            "instanceId": {"idString": self.id},
            "agentInfo": {"host": self.host or "", **({"agentId": self.agent_id} if self.agent_id else {}), "attributes": []},
            "tasksMap": {task["id"]: task for task in self.tasks()} if self.attempt else {},
            "runSpecVersion": self.version,
            "state": state,
            "unreachableStrategy": raw,
        }

    def _render(self) -> Json:
        address = self.network_ip or self.ip
        body: Json = {
            "appId": self.app_id,
            "healthCheckResults": [c.json(self.id) for c in self.checks if c.seen],
            "host": self.host or "",
            "id": self.task_id,
            "ipAddresses": [{"ipAddress": address, "protocol": "IPv4"}] if address else [],
            "ports": list(self.ports) if self.active else [],
            "servicePorts": service_ports(self.definition),
        }
        if self.agent_id is not None:
            body["slaveId"] = self.agent_id
        body["state"] = self.state
        if self.active:
            body["stagedAt"] = stamp(self.staged_at)
            if self.started_at is not None:
                body["startedAt"] = stamp(self.started_at)
            body["version"] = self.version
        body["localVolumes"] = [{k: v[k] for k in v if k != "path"} for v in self.volumes]
        body["role"] = self.role
        return body

    def dump(self) -> Json:
        """All that must survive a restart; health is leader memory in Marathon and deliberately left out."""
        return {
            "id": self.id,
            "app": self.app_id,
            "version": self.version,
            "goal": self.goal.value,
            "condition": self.condition.value,
            "since": stamp(self.since),
            "attempt": self.attempt,
            "agent": self.agent_id,
            "host": self.host,
            "ip": self.ip,
            "network_ip": self.network_ip,
            "ports": list(self.ports),
            "staged_at": self.staged_at,
            "started_at": self.started_at,
            "killing": self.killing,
            "wiped": self.wiped,
            "message": self.message,
            "parts": self.parts,
            "volumes": list(self.volumes),
        }

    @classmethod
    def load(cls, saved: Json, definition: Json) -> Instance:
        """The inverse of `dump`."""
        self = cls(id=saved["id"], definition=definition, now=seconds(saved["since"]))
        self.goal = Goal(saved["goal"])
        self.condition = Condition(saved["condition"])
        self.attempt = saved["attempt"]
        self.agent_id, self.host, self.ip = saved["agent"], saved["host"], saved["ip"]
        self.network_ip = saved["network_ip"]
        self.ports = tuple(saved["ports"])
        self.staged_at, self.started_at = saved["staged_at"], saved["started_at"]
        self.killing, self.wiped, self.message = saved["killing"], saved["wiped"], saved["message"]
        self.parts = dict(saved["parts"])
        self.volumes = tuple(saved["volumes"])
        return self

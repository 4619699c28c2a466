"""The seam between the engine's HTTP room (`sandbox.http`) and its live room (`sandbox.engine`).

HTTP reads requests, validates and normalises them (`sandbox.definition`, pure) and turns every write into a `Change`: a function from the
root group and the current timestamp to a new root group. The engine runs changes one at a time, derives the deployment plan from the two
roots, checks locks, persists, and drives tasks. Everything that HTTP shows of the running world it asks of `LiveEngine`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Group:
    """One node of the group tree; the root has the id `/`. Values are replaced, never changed.

    `apps` and `pods` map absolute ids to normalised definitions in the shape of a GET, with `version` and `versionInfo` but without
    counters, tasks and deployments. `version` is a Marathon timestamp (UTC, three fraction digits). `enforce_role` is what a top-level
    group says; None in every other, and in one that a change has only just made (it then gets what the settings say).
    """

    id: str
    version: str
    apps: Mapping[str, Json] = field(default_factory=dict)
    pods: Mapping[str, Json] = field(default_factory=dict)
    groups: Mapping[str, Group] = field(default_factory=dict)
    dependencies: tuple[str, ...] = ()
    enforce_role: bool | None = None


Change = Callable[[Group, str], Group]
"""(root, now) -> new root. Raises `sandbox.definition.errors.ApiError` when the request cannot be carried out on this root.

The new root is as it shall be stored: every app that changed carries its new `version` and `versionInfo` and its assigned service ports
(`sandbox.definition` does both); an app that did not change is the very same object as before (the engine finds changes by identity).
The plan follows from it: `versionInfo.lastConfigChangeAt` moved = restart, only `instances` differ or zero wanted = scale.
`now` is later than the version of every root before.
"""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a real Marathon takes as flags, as far as answers depend on it."""

    mesos_role: str = "*"
    new_group_enforce_role: str = "off"
    """`top`: new top-level groups enforce their role, `off`: they do not."""
    features: frozenset[str] = frozenset()
    default_network_name: str | None = None
    local_port_min: int = 10_000
    local_port_max: int = 20_000
    max_running_deployments: int = 100
    env_vars_prefix: str | None = None
    task_launch_confirm_timeout: float = 300.0
    task_launch_timeout: float = 300.0
    min_revive_interval: float = 0.5
    max_zk_versions: int = 50
    http_credentials: str | None = None
    access_control_allow_origin: str | None = None
    max_concurrent_http_connections: int = 0
    leader_proxy_max_open_connections: int = 64

    @property
    def new_groups_enforce_role(self) -> bool:
        """Whether a new top-level group has `enforceRole` unless it says otherwise."""
        return self.new_group_enforce_role == "top"


@dataclass(frozen=True, kw_only=True)
class Started:
    """A deployment that a change has begun: its id (uuid) and the version that the root got."""

    deployment_id: str
    version: str


class Locked(Exception):
    """The change touches apps that a running deployment holds."""

    def __init__(self, deployment_ids: Collection[str]) -> None:
        super().__init__(
            "App is locked by one or more deployments. Override with the option '?force=true'. "
            "View details at '/v2/deployments/<DEPLOYMENT_ID>'."  # the placeholder is Marathon's own
        )
        self.deployment_ids = tuple(deployment_ids)


class TooManyDeployments(Exception):
    """So many deployments run that there is no place for another."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"Max number ({limit}) of running deployments is achieved. Wait for existing deployments to complete or "
            "cancel one using force=true parameter. You can increase max deployment number by using --max_running_deployments parameter "
            "but be advised that this can have negative effects on the performance."
        )


class LiveEngine(Protocol):
    """What HTTP asks of the running world. Every returned JSON is in Marathon's documented shape, ready to be sent."""

    settings: Settings

    @property
    def root(self) -> Group:
        """The root group as it stands (after the last accepted change)."""

    async def update(
        self,
        change: Change,
        *,
        force: bool = False,
        kill: Mapping[str, Collection[str]] | None = None,
        wipe: bool = False,
        group_id: str = "/",
    ) -> Started:
        """Run one change: serialise, plan, check locks, persist, start. `kill` names, per app id, the task ids that a scale-down must
        choose (kill-and-scale). `group_id` is what `group_change_success` names: the parent of the changed app, pod or group, `/` for
        kill-and-scale. Raises Locked, TooManyDeployments, or what the change raised.
        """

    async def patch(self, change: Change) -> None:
        """Run a change that concerns no app or pod (a group's `enforceRole`): serialised and persisted, without deployment or events."""

    def dry_run(self, change: Change) -> Json:
        """`{"steps": [...]}` of the plan that the change would start."""

    def deployments(self) -> list[Json]:
        """GET /v2/deployments."""

    def deployments_of(self, app_id: str) -> list[str]:
        """Ids of running deployments that hold this app or pod."""

    async def cancel_deployment(self, deployment_id: str, *, force: bool) -> Started | None:
        """Roll back (a new deployment) or, with force, only cancel (None). KeyError when unknown."""

    def counts(self, app_id: str) -> Json:
        """tasksStaged, tasksRunning, tasksHealthy, tasksUnhealthy."""

    def tasks(self, app_id: str | None = None) -> list[Json]:
        """Tasks as in `GET /v2/tasks` (with servicePorts filled), of one app or of all."""

    def instance(self, instance_id: str) -> Json | None:
        """An instance with all its tasks, None when there is none of that id."""

    def has_instances(self, app_id: str) -> bool:
        """Whether there is any instance of the app or pod, launched or not."""

    def last_task_failure(self, app_id: str) -> Json | None: ...

    def readiness_results(self, app_id: str) -> list[Json]: ...

    def task_stats(self, app_id: str) -> Json | None: ...

    async def kill_tasks(self, task_ids: Collection[str], *, wipe: bool = False) -> list[Json]:
        """Kill now, regardless of locks; unknown ids are skipped. Returns the killed tasks as they were."""

    def queue(self, *, last_unused_offers: bool = False) -> list[Json]:
        """Items of GET /v2/queue."""

    def reset_delay(self, app_id: str) -> bool:
        """False when nothing of that app is waiting to launch."""

    def app_versions(self, app_id: str) -> list[str]: ...

    def app_at(self, app_id: str, version: str) -> Json | None: ...

    def group_versions(self, group_id: str) -> list[str]: ...

    def group_at(self, group_id: str, version: str) -> Group | None: ...

    def pod_status(self, pod: Json) -> Json: ...

    def publish(self, event_type: str, payload: Json) -> None:
        """Put an event on the stream; `eventType` and `timestamp` are added."""

    def subscribe(self, types: Collection[str] | None, remote: str) -> AsyncIterator[tuple[str, str]]:
        """(event type, JSON text) pairs from now on; ends when the consumer is too slow or leadership is lost."""

    def leader(self) -> str | None:
        """host:port of the leader, None when there is none."""

    def is_leader(self) -> bool: ...

    def streams_silent(self) -> bool:
        """True while a fault makes event streams half-open: HTTP then sends no keep-alive either."""

    async def admin(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """Answers `/sandbox/...` (status, JSON body or None): faults, agents, shutdown. `path` starts with `/sandbox`."""

    async def abdicate(self) -> None:
        """Step down half a second from now, so that the request for it is still answered."""

    def info(self) -> Json: ...

    def metrics(self) -> Json: ...

"""The Marathon app definition itself."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from shuren.api.nodes import Anything, Caseless, Labels, Matches, Natural, Node, Rule
from shuren.api.v1alpha1.marathon.checks import Check, HealthCheck, ReadinessCheck
from shuren.api.v1alpha1.marathon.container import Container, Engine
from shuren.api.v1alpha1.marathon.environment import EnvName, EnvValue, SecretSource
from shuren.api.v1alpha1.marathon.networking import MAX_PORTS, IpAddress, Network, PortDefinition
from shuren.api.v1alpha1.marathon.placement import (
    CONSTRAINT_RULES,
    LIMIT_RULES,
    MAX_CONSTRAINTS,
    ConstraintItem,
    ExecutorResources,
    KillSelection,
    Residency,
    ResourceLimits,
    Unreachable,
    UpgradeStrategy,
)
from shuren.api.v1alpha1.marathon.rules import CHECK_RULES, COMMAND_RULES, PLACE_RULES, PORT_RULES, SINGLE_INSTANCE

MAX_HEALTH_CHECKS = 32
MAX_NETWORKS = 16
_SEGMENT = "[a-z0-9]([a-z0-9-]*[a-z0-9])?"
_NAME = rf"{_SEGMENT}([.]{_SEGMENT})*"
APP_ID = Matches(
    rf"/?{_NAME}(/{_NAME})*",
    'an id is a path such as /shop/web: lower-case letters, digits, "-" and "." in each segment,'
    " which begins and ends with a letter or digit",
)
"""Marathon's path segments (marathon-api: `^(([a-z0-9]|…)[.])*…$`); a missing leading slash means the root, as Marathon reads it."""
DEPENDENCY = Matches(
    rf"/?({_NAME}|[.]{{1,2}})(/({_NAME}|[.]{{1,2}}))*",
    "a dependency is the path of a Marathon app or group, such as /shop/db or ../db:"
    ' lower-case letters, digits, "-" and "." in each segment',
)

EXECUTOR = Matches("(//cmd|/?[^/]+(/[^/]+)*)?", "an executor is empty, //cmd or a path without empty parts")


class Artifact(Node):
    """A file that the Mesos fetcher brings into the sandbox before the task starts."""

    uri: Annotated[str, Field(min_length=1, max_length=1024)]
    """What to fetch."""
    extract: bool | None = None
    """Whether to unpack archives. Marathon's default: true."""
    executable: bool | None = None
    """Whether to set the execute bit. Marathon's default: false."""
    cache: bool | None = None
    """Whether to keep it in the agent's fetcher cache. Marathon's default: false."""
    dest_path: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    """Path in the sandbox. Marathon's default: the last part of the URI."""


class ReadOnlyParts(Node):
    """What Marathon adds when an app is read, and what it has dropped. Accepted so that old answers can be pasted; ignored, with a
    warning.
    """

    version: Anything | None = None
    """Ignored: version that Marathon gave the definition."""
    version_info: Anything | None = None
    """Ignored: when the app was last scaled and changed."""
    tasks: Anything | None = None
    """Ignored: tasks of the app."""
    tasks_staged: Anything | None = None
    """Ignored: number of tasks being started."""
    tasks_running: Anything | None = None
    """Ignored: number of running tasks."""
    tasks_healthy: Anything | None = None
    """Ignored: number of healthy tasks."""
    tasks_unhealthy: Anything | None = None
    """Ignored: number of unhealthy tasks."""
    tasks_stats: Anything | None = None
    """Ignored: statistics of tasks."""
    task_stats: Anything | None = None
    """Ignored: statistics of tasks."""
    deployments: Anything | None = None
    """Ignored: running deployments."""
    last_task_failure: Anything | None = None
    """Ignored: last failure of a task."""
    readiness_check_results: Anything | None = None
    """Ignored: results of readiness checks."""
    store_urls: Anything | None = None
    """Ignored: gone since Marathon 1.5; use fetch."""


class App(Node):
    """A Marathon app definition. Every field but `instances` may be left out; what then holds is told as Marathon's default."""

    rules: ClassVar[tuple[Rule, ...]] = (*COMMAND_RULES, *PORT_RULES, *CHECK_RULES, *PLACE_RULES, *CONSTRAINT_RULES, *LIMIT_RULES)

    id: Annotated[str, Field(min_length=1, max_length=1024), APP_ID] | None = None
    """Path of the app in Marathon, within the prefixes that the cluster grants this namespace. Default: /<namespace>/<name>. A change moves
    the app: the new one starts first, then the old one goes."""
    cmd: Annotated[str, Field(min_length=2, max_length=262144)] | None = None
    """Command line, run by /bin/sh -c. Marathon refuses commands of one character. Excludes args."""
    args: Annotated[list[Annotated[str, Field(max_length=65536)]], Field(max_length=1024)] | None = None
    """Command as a list, run without a shell; with an image, arguments of its entrypoint. Excludes cmd."""
    user: Annotated[str, Field(max_length=253)] | None = None
    """Account on the agent that runs the task. Marathon's default: its own."""
    env: dict[EnvName, EnvValue] | None = None
    """Environment variables: each a string, or {"secret": key under secrets} (Marathon feature `secrets`). Marathon stores them in clear;
    see also envRefs. Marathon's default: {}."""
    instances: Natural = 1
    """Number of instances; what /scale reads and writes."""
    cpus: Annotated[float, Field(ge=0)] | None = None
    """CPUs of one instance. Marathon's default: 1."""
    mem: Annotated[float, Field(ge=0)] | None = None
    """Memory of one instance in MiB. Marathon's default: 128."""
    disk: Annotated[float, Field(ge=0)] | None = None
    """Disk of one instance in MiB. Marathon's default: 0."""
    gpus: Natural | None = None
    """GPUs of one instance (Marathon feature `gpu_resources`, not with type DOCKER). Marathon's default: 0."""
    executor: Annotated[str, Field(max_length=1024), EXECUTOR] | None = None
    """Executor: empty, //cmd or a path. Marathon's default: empty."""
    executor_resources: ExecutorResources | None = None
    """Resources of a custom executor."""
    constraints: Annotated[list[ConstraintItem], Field(max_length=MAX_CONSTRAINTS)] | None = None
    """Where tasks may run: lists of [field, operator] or [field, operator, value]; field hostname, @region, @zone or an attribute of
    agents. Operators: UNIQUE, CLUSTER, GROUP_BY, LIKE, UNLIKE, MAX_PER, IS. All items are strings. Marathon's default: []."""
    fetch: Annotated[list[Artifact], Field(max_length=256)] | None = None
    """Files to bring into the sandbox. Marathon's default: []."""
    uris: Annotated[list[Annotated[str, Field(min_length=1, max_length=1024)]], Field(max_length=256)] | None = None
    """Deprecated, use fetch."""
    container: Container | None = None
    """Container of the task. Marathon's default: none (plain command)."""
    networks: Annotated[list[Network], Field(max_length=MAX_NETWORKS)] | None = None
    """Networks: one host, or one container/bridge, or any number of container networks. Marathon's default: [{mode: host}]."""
    port_definitions: Annotated[list[PortDefinition], Field(max_length=MAX_PORTS)] | None = None
    """Ports with host networking (dropped by Marathon otherwise). Marathon's default: one port named "default"; [] for none."""
    ports: Annotated[list[Annotated[int, Field(ge=0, le=2**31 - 1)]], Field(max_length=MAX_PORTS)] | None = None
    """Deprecated, use portDefinitions."""
    require_ports: bool | None = None
    """Whether the numbers in portDefinitions are host ports to insist on. Marathon's default: false."""
    ip_address: IpAddress | None = None
    """Deprecated, use networks."""
    health_checks: Annotated[list[HealthCheck], Field(max_length=MAX_HEALTH_CHECKS)] | None = None
    """Health checks; a task is healthy when all are. Marathon's default: []."""
    check: Check | None = None
    """Mesos check, for show only (not with type DOCKER). Marathon's default: none."""
    readiness_checks: Annotated[list[ReadinessCheck], Field(max_length=1)] | None = None
    """Readiness check of roll-outs, one at most. Marathon's default: []."""
    dependencies: Annotated[list[Annotated[str, Field(min_length=1, max_length=1024), DEPENDENCY]], Field(max_length=256)] | None = None
    """Ids of Marathon apps and groups that Marathon starts first within one deployment; see also dependsOn. Marathon's default: []."""
    labels: Labels | None = None
    """Labels of the Marathon app. Any edit, here too, restarts all tasks. Marathon's default: {}."""
    upgrade_strategy: UpgradeStrategy | None = None
    """Limits of roll-outs. Marathon's default: both 1, i.e. all new instances start beside the old ones."""
    unreachable_strategy: Unreachable | None = None
    """What happens on a lost agent: "disabled" or {inactiveAfterSeconds, expungeAfterSeconds}, seconds. Marathon's default: 0 and 0
    (replaced at once); "disabled" with persistent volumes, which take nothing else."""
    kill_selection: Annotated[KillSelection, Caseless(KillSelection)] | None = None
    """Which tasks go first when scaling down: YOUNGEST_FIRST or OLDEST_FIRST. Marathon's default: YOUNGEST_FIRST."""
    task_kill_grace_period_seconds: Natural | None = None
    """Seconds between SIGTERM and SIGKILL. Marathon's default: Mesos' 3."""
    backoff_seconds: Natural | None = None
    """First pause after a failed task. Marathon's default: 1."""
    backoff_factor: Annotated[float, Field(ge=1)] | None = None
    """How much the pause grows with each failure. Marathon's default: 1.15."""
    max_launch_delay_seconds: Natural | None = None
    """Longest pause. Marathon's default: 300."""
    accepted_resource_roles: (
        Annotated[list[Annotated[str, Field(min_length=1, max_length=253)]], Field(min_length=1, max_length=32)] | None
    ) = None
    """Roles whose resources may be used: "*" and the app's role. Marathon's default: its --default_accepted_resource_roles."""
    role: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    """Mesos role. Marathon's default: its --mesos_role, or the top-level group's."""
    residency: Residency | None = None
    """Deprecated, without effect."""
    resource_limits: ResourceLimits | None = None
    """Upper limits beyond the request."""
    secrets: Annotated[dict[str, SecretSource], Field(max_length=256)] | None = None
    """Secrets of Marathon's own store (feature `secrets`): key → {source}. Marathon's default: {}."""
    tty: bool | None = None
    """Whether to give the task a terminal. Marathon's default: false."""

    @property
    def engine(self) -> Engine:
        """Containerizer: MESOS without a container."""
        return Engine.MESOS if self.container is None else self.container.engine

    @property
    def resident(self) -> bool:
        """Whether the app has persistent volumes, so that its tasks stay where they are."""
        return self.container is not None and any(volume.persistent is not None for volume in self.container.volumes or [])

    @property
    def single_instance(self) -> bool:
        """Whether the label asks Marathon for one instance at most."""
        return (self.labels or {}).get(SINGLE_INSTANCE) == "true"


def aliases(model: type[Node]) -> tuple[str, ...]:
    """Give the field names of a model as they stand in JSON."""
    return tuple(field.alias or name for name, field in model.model_fields.items())


MARATHON_FIELDS = frozenset(aliases(App))
"""Fields of an app definition that Marathon takes."""
READ_ONLY_FIELDS = frozenset(aliases(ReadOnlyParts))
"""Fields that Marathon adds to its answers; ignored when they are pasted."""

"""One connected cluster as values: how to reach it, what is seen of it, and what its MesosCluster says about itself.

`decide` is pure: a snapshot in, conditions and facts out. Reachability follows the grace period, so that a fail-over of a few seconds
changes no status; counts and resources are rounded and read on a slow beat, so that the status is no heartbeat.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from shuren.domain.conditions import Condition, ConditionType, Truth
from shuren.domain.guard import DeletionLimit
from shuren.domain.json import JsonValue
from shuren.domain.marathon.state import MarathonInfo
from shuren.domain.tenancy import Tenancy

# ---------------------------------------------------------------------------------------------------- how to reach it


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class SecretName:
    """A Kubernetes Secret."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, kw_only=True, slots=True)
class TlsSettings:
    """How to trust a server and who we are. `ca` None trusts the system's authorities; `server_name` None expects the URL's host."""

    ca: SecretName | None = None
    client: SecretName | None = None
    server_name: str | None = None
    insecure: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class MarathonSettings:
    """`spec.marathon`. `urls` are base URLs of all Marathons of the cluster, of which one leads."""

    urls: tuple[str, ...]
    auth: SecretName | None = None
    tls: TlsSettings | None = None
    requests_per_second: float = 50.0
    max_concurrent_deployments: int = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class MesosSettings:
    """`spec.mesos`. `masters` are base URLs of all masters, of which one leads."""

    masters: tuple[str, ...]
    auth: SecretName | None = None
    tls: TlsSettings | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ZooKeeperSettings:
    """`spec.zookeeper`. `hosts` are host:port; everything of ours lies under `root`. `sasl`: the password is proven by SASL."""

    hosts: tuple[str, ...]
    root: str
    auth: SecretName | None = None
    sasl: bool = False
    tls: TlsSettings | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterSettings:
    """`spec` of a MesosCluster, with defaults. `mesos` is None when Mesos is not read. Seconds."""

    name: str
    marathon: MarathonSettings
    zookeeper: ZooKeeperSettings
    mesos: MesosSettings | None = None
    tenancy: Tenancy = field(default_factory=Tenancy)
    dns_zone: str = ""
    unreachable_grace: float = 60.0
    deletions: DeletionLimit = field(default_factory=DeletionLimit)
    record_roots: tuple[str, ...] = ()

    @property
    def secrets(self) -> tuple[SecretName, ...]:
        """All Secrets that the connection needs, sorted."""
        found: set[SecretName] = set()
        for part in (self.marathon, self.zookeeper, self.mesos):
            if part is not None:
                named = (part.auth, *((part.tls.ca, part.tls.client) if part.tls is not None else ()))
                found |= {s for s in named if s is not None}
        return tuple(sorted(found))

    def same_connection(self, other: ClusterSettings) -> bool:
        """Whether one connection serves both: only tenancy, names, grace or the guard differ."""
        return (self.name, self.marathon, self.zookeeper, self.mesos, self.dns_zone) == (
            other.name,
            other.marathon,
            other.zookeeper,
            other.mesos,
            other.dns_zone,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Login:
    """User and password, or a token. Never shown."""

    username: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class TlsMaterial:
    """PEM texts out of the Secrets that `TlsSettings` names. Never shown."""

    ca: bytes | None = field(default=None, repr=False)
    certificate: bytes | None = field(default=None, repr=False)
    key: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    """What the Secrets of a cluster held when they were last read; equal values mean that nothing has to be rotated."""

    marathon: Login | None = None
    marathon_tls: TlsMaterial = TlsMaterial()
    mesos: Login | None = None
    mesos_tls: TlsMaterial = TlsMaterial()
    zookeeper: Login | None = None
    zookeeper_tls: TlsMaterial = TlsMaterial()

    def same_connection(self, other: Credentials) -> bool:
        """Whether one connection serves both: only what each request to Marathon carries differs. All else is shown when connecting."""
        return replace(self, marathon=None) == replace(other, marathon=None)


# ---------------------------------------------------------------------------------------------------- what is seen of it


@dataclass(frozen=True, kw_only=True, slots=True)
class Amounts:
    """Resources. CPUs, MiB, MiB, GPUs."""

    cpus: float = 0.0
    mem: float = 0.0
    disk: float = 0.0
    gpus: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class MesosSummary:
    """What a leading master says: version, its address, active agents, resources of all agents and those in use."""

    version: str
    leader: str
    agents: int
    total: Amounts
    used: Amounts


@dataclass(frozen=True, kw_only=True, slots=True)
class MesosAgent:
    """One agent as the leading master has it.

    `address` is its IP address, `zone` its fault domain's zone, or else its attribute `zone`; both may be empty. `attributes` as text.
    `going`: somebody has told Mesos to drain or deactivate it (DRAIN_AGENT, DEACTIVATE_AGENT of Mesos' operator API, 1.9).
    """

    id: str
    hostname: str
    address: str = ""
    zone: str = ""
    active: bool = True
    attributes: Mapping[str, str] = field(default_factory=dict)
    going: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """Apps in Marathon, those claimed by a resource, tasks, and deployments under way."""

    apps: int
    managed: int
    tasks: int
    deployments: int


class Blocked(Enum):
    """Why a cluster cannot be used until a person acts (`STALLED`) or something appears (`WAITING`)."""

    STALLED = "stalled"
    WAITING = "waiting"


@dataclass(frozen=True, kw_only=True, slots=True)
class Obstacle:
    """What is in the way, as a condition's reason and message."""

    kind: Blocked
    reason: str
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PartView:
    """One outside part. `unreachable_for` in seconds, None while it answers; `error` says in its words why it does not.

    `denied`: it answers, but refuses our credentials.
    """

    unreachable_for: float | None = None
    error: str = ""
    denied: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterSnapshot:
    """Everything that a MesosCluster's status is computed from. `mesos` None: not configured. `synced_at` is RFC 3339.

    `previous` is the status as it stands; values of it are kept while a part is silent within the grace period. `age` is how many seconds
    ago this process connected or began to lead, `shown_for` how many ago it last changed the numbers in the status (None: never).
    `deletions_wait` is how many seconds the guard on deletions makes the next deletion wait, 0 when it may go.
    """

    name: str
    generation: int
    grace: float = 60.0
    obstacle: Obstacle | None = None
    marathon: PartView = PartView()
    info: MarathonInfo | None = None
    synced: bool = False
    synced_at: str = ""
    zookeeper: PartView = PartView()
    zookeeper_version: str = ""
    leading: bool = True
    age: float = float("inf")
    shown_for: float | None = None
    mesos: PartView | None = None
    summary: MesosSummary | None = None
    counts: Counts | None = None
    deletions_wait: float = 0.0
    previous: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterReport:
    """What the status says. `facts` are its fields besides conditions and observedGeneration; `requeue_after` in seconds.

    `speaks` False leaves the status as it is: nothing is known better than before.
    """

    conditions: tuple[Condition, ...]
    facts: Mapping[str, JsonValue]
    requeue_after: float
    speaks: bool = True


_BEAT = 30.0
"""Seconds between looks at an unchanged cluster, for counts and resources."""
_SOON = 2.0
"""Seconds after which a cluster that is still connecting is looked at again."""
_STEPS_OF_USE = 20
"""Use is shown in steps of a twentieth of the total, so that the status does not change with every task."""


def decide(s: ClusterSnapshot) -> ClusterReport:
    """Conditions and facts for what is seen."""
    parts = {
        "marathon": _Part(view=s.marathon, condition=ConditionType.MARATHON_REACHABLE, label="Marathon"),
        "zookeeper": _Part(view=s.zookeeper, condition=ConditionType.ZOOKEEPER_REACHABLE, label="ZooKeeper"),
    }
    if s.mesos is not None:
        parts["mesos"] = _Part(view=s.mesos, condition=ConditionType.MESOS_REACHABLE, label="Mesos")
    conditions = list(_summary(s))
    if s.obstacle is None:
        conditions += [_reachable(s, key, part) for key, part in parts.items()]
    if s.deletions_wait > 0:
        conditions.append(
            Condition(
                type=ConditionType.DELETIONS_HELD,
                status=Truth.TRUE,
                reason="TooManyDeletions",
                message="more apps are to be deleted than spec.deletionGuard allows in a minute; the rest waits. "
                "Look whether that is meant; raise spec.deletionGuard to go faster",
            )
        )
    facts = _facts(s, parts)
    return ClusterReport(
        conditions=tuple(conditions), facts=facts, requeue_after=_next_look(s, parts, facts), speaks=not _former_word_stands(s)
    )


def _former_word_stands(s: ClusterSnapshot) -> bool:
    """A new leader, or a process that has just started, reads everything anew: within the grace that is no news for anybody."""
    if s.obstacle is not None or (s.synced and s.leading) or s.age >= s.grace:
        return False
    if any(_gone(view, s.grace) or view.denied for view in (s.marathon, s.zookeeper)):
        return False
    conditions = s.previous.get("conditions")
    was_ready = any(
        isinstance(c, Mapping) and c.get("type") == ConditionType.READY.value and c.get("status") == Truth.TRUE.value
        for c in (conditions if isinstance(conditions, (list, tuple)) else ())
    )
    return was_ready and s.previous.get("observedGeneration") == s.generation


@dataclass(frozen=True, kw_only=True, slots=True)
class _Part:
    """A part with the names under which the status speaks of it."""

    view: PartView
    condition: ConditionType
    label: str


def _summary(s: ClusterSnapshot) -> tuple[Condition, ...]:
    """Ready, and Reconciling or Stalled beside it: the first obstacle that holds names the reason."""
    if s.obstacle is not None:
        ready = Condition(type=ConditionType.READY, status=Truth.FALSE, reason=s.obstacle.reason, message=s.obstacle.message)
        kind = ConditionType.STALLED if s.obstacle.kind is Blocked.STALLED else ConditionType.RECONCILING
        return (ready, Condition(type=kind, status=Truth.TRUE, reason=s.obstacle.reason, message=s.obstacle.message))
    for label, view in (("Marathon", s.marathon), ("ZooKeeper", s.zookeeper)):
        if _gone(view, s.grace) or (view.unreachable_for is not None and view.error and not s.synced):
            reason, message = f"{label}{'Denied' if view.denied else 'Unreachable'}", _silence(label, view)
            kind = ConditionType.STALLED if view.denied else ConditionType.RECONCILING
            return (
                Condition(type=ConditionType.READY, status=Truth.FALSE, reason=reason, message=message),
                Condition(type=kind, status=Truth.TRUE, reason=reason, message=message),
            )
    if not s.synced or not s.leading:
        message = "reading apps and claims" if s.leading else "taking over the write lock in ZooKeeper (/epoch)"
        return (
            Condition(type=ConditionType.READY, status=Truth.UNKNOWN, reason="Connecting", message=message),
            Condition(type=ConditionType.RECONCILING, status=Truth.TRUE, reason="Connecting", message=message),
        )
    return (Condition(type=ConditionType.READY, status=Truth.TRUE, reason="Connected", message="Marathon and ZooKeeper answer"),)


def _silence(label: str, view: PartView) -> str:
    """Why a part cannot be used, with what to do where a person can."""
    if view.denied:
        return f"{label} refuses our credentials ({view.error}); correct the Secret that spec.{label.lower()}.authSecretRef names"
    return f"{label} does not answer: {view.error}" if view.error else f"{label} does not answer"


def _gone(view: PartView, grace: float) -> bool:
    return view.unreachable_for is not None and view.unreachable_for >= grace


def _was_reachable(s: ClusterSnapshot, key: str) -> bool | None:
    before = s.previous.get(key)
    value = before.get("reachable") if isinstance(before, Mapping) else None
    return value if isinstance(value, bool) else None


def _shown_reachable(s: ClusterSnapshot, key: str, view: PartView) -> bool:
    """Within the grace period the last word stands."""
    if view.unreachable_for is None:
        return True
    return not _gone(view, s.grace) and _was_reachable(s, key) is True


def _reachable(s: ClusterSnapshot, key: str, part: _Part) -> Condition:
    if _shown_reachable(s, key, part.view):
        return Condition(type=part.condition, status=Truth.TRUE, reason="Reachable", message=f"{part.label} answers")
    if not part.view.error and not _gone(part.view, s.grace) and _was_reachable(s, key) is None:
        return Condition(type=part.condition, status=Truth.UNKNOWN, reason="Connecting", message=f"{part.label} has not answered yet")
    reason = "Denied" if part.view.denied else "Unreachable"
    return Condition(type=part.condition, status=Truth.FALSE, reason=reason, message=_silence(part.label, part.view))


def _next_look(s: ClusterSnapshot, parts: Mapping[str, _Part], facts: Mapping[str, JsonValue]) -> float:
    if s.obstacle is not None and s.obstacle.kind is Blocked.STALLED:
        return _BEAT
    if not s.synced or not s.leading:
        return _SOON
    left = [
        s.grace - part.view.unreachable_for
        for part in parts.values()
        if part.view.unreachable_for is not None and not _gone(part.view, s.grace)
    ]
    if s.deletions_wait > 0:
        left.append(s.deletions_wait)
    if s.shown_for is not None and _numbers(s) != {key: facts[key] for key in NUMBERS if key in facts}:
        left.append(_BEAT - s.shown_for)
    return max(0.1, min([*left, _BEAT]))


# ---------------------------------------------------------------------------------------------------- facts


def _facts(s: ClusterSnapshot, parts: Mapping[str, _Part]) -> dict[str, JsonValue]:
    facts: dict[str, JsonValue] = {}
    told: dict[str, dict[str, JsonValue]] = {"marathon": {}, "zookeeper": {}, "mesos": {}}
    if s.info is not None:
        told["marathon"] = _words(version=s.info.version, leader=s.info.leader, frameworkId=s.info.framework_id)
    told["zookeeper"] = _words(version=s.zookeeper_version)
    if s.summary is not None:
        told["mesos"] = _words(version=s.summary.version, leader=s.summary.leader) | {"agents": s.summary.agents}
    for key, part in parts.items():
        facts[key] = {"reachable": _shown_reachable(s, key, part.view), **told[key]}
    kept = {key: value for key in NUMBERS if (value := s.previous.get(key)) is not None and (s.mesos is not None or key != "resources")}
    if s.shown_for is not None and s.shown_for < _BEAT:
        return facts | _numbers(s) | kept
    # what nobody can read just now keeps its last value
    return facts | kept | _numbers(s)


NUMBERS = ("counts", "resources", "lastFullSync")
"""Fields that change all the time on a busy cluster, and that nobody waits for: they are shown on the beat."""


def _numbers(s: ClusterSnapshot) -> dict[str, JsonValue]:
    """Those of them that can be told now."""
    numbers: dict[str, JsonValue] = {}
    if s.counts is not None:
        numbers["counts"] = {
            "apps": s.counts.apps,
            "managed": s.counts.managed,
            "tasks": s.counts.tasks,
            "deployments": s.counts.deployments,
        }
    if s.summary is not None:
        numbers["resources"] = {"total": _amounts(s.summary.total), "used": _stepped(s.summary.used, s.summary.total)}
    if s.synced_at:
        numbers["lastFullSync"] = s.synced_at
    return numbers


def _words(**values: str | None) -> dict[str, JsonValue]:
    """What servers say of themselves, as long as the status may hold it."""
    return {key: value[: 64 if key == "version" else 256] for key, value in values.items() if value}


def _amounts(a: Amounts) -> dict[str, JsonValue]:
    return {"cpus": round(a.cpus, 2), "mem": float(round(a.mem)), "disk": float(round(a.disk)), "gpus": round(a.gpus, 2)}


def _stepped(used: Amounts, total: Amounts) -> dict[str, JsonValue]:
    def step(value: float, whole: float) -> float:
        return round(round(value / whole * _STEPS_OF_USE) / _STEPS_OF_USE * whole, 2) if whole > 0 else 0.0

    return {
        "cpus": step(used.cpus, total.cpus),
        "mem": step(used.mem, total.mem),
        "disk": step(used.disk, total.disk),
        "gpus": step(used.gpus, total.gpus),
    }

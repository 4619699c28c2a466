"""Everything that a decision about one ShardMap needs, as values. `controllers.shardmap.gather` fills it; nothing here does I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum

from shuren.domain.app.snapshot import ClusterView, Problem
from shuren.domain.identity import ObjectKey
from shuren.domain.json import JsonValue
from shuren.domain.shards.assignment import Assignment
from shuren.domain.shards.goals import Goal
from shuren.domain.shards.load import LoadPolicy
from shuren.domain.shards.members import Spread
from shuren.domain.shards.migration import Failure, MovePolicy
from shuren.domain.shards.partitions import Partitioning
from shuren.sharding.core.moves import Live, Move, Report
from shuren.sharding.core.table import KeyHash, ShardTable

FINALIZER = "paas.shurenyun.com/shard-map"
DRAIN_LABEL = "drain.paas.shurenyun.com/"
"""Prefix of labels on a MesosCluster; what follows is the host name of an agent that is to be emptied of shards."""


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class MapName:
    """A ShardMap by namespace and name; its node in ZooKeeper is `<namespace>.<name>` (a namespace has no dots)."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}.{self.name}"

    @classmethod
    def parse(cls, text: str) -> MapName:
        """The inverse of `str`."""
        namespace, _, name = text.partition(".")
        return cls(namespace=namespace, name=name)


class Identity(Enum):
    """What makes a task the same member as one before it."""

    HOST = "Host"
    RESIDENT = "Resident"
    ORDINAL = "Ordinal"


_INSTANCE = re.compile(r"(?:^|[._])(instance-[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})(?:[._]|$)")


def instance_of(task_id: str) -> str:
    """The instance that a task is an incarnation of, as Marathon names it: `instance-<uuid>`; empty for ids of another form."""
    found = _INSTANCE.search(task_id)
    return found.group(1) if found is not None else ""


@dataclass(frozen=True, kw_only=True)
class MapSpec:
    """`spec`, with defaults. `weights` are those that differ, `drain` ids of members or host names of agents."""

    cluster: str
    hash: KeyHash
    partitionings: tuple[Partitioning, ...]
    replicas: int = 1
    spread: Spread = field(default_factory=Spread)
    load: LoadPolicy | None = None
    """How it is balanced by load; None: by count."""
    policy: MovePolicy = field(default_factory=MovePolicy)
    paused: bool = False
    drain: frozenset[str] = frozenset()
    require_idle: bool = True
    suspend: bool = False


@dataclass(frozen=True, kw_only=True)
class MapResource:
    """The ShardMap itself."""

    key: ObjectKey
    uid: str
    generation: int
    deleting: bool = False
    finalizers: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    status: Mapping[str, JsonValue] = field(default_factory=dict)

    @property
    def name(self) -> MapName:
        """As in ZooKeeper."""
        return MapName(namespace=self.key.namespace, name=self.key.name)


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceMember:
    """A member as its source names it. `weight` in hundredths of a usual member's. `drain`: it is to be emptied, as its source says."""

    id: str
    weight: int = 100
    host: str = ""
    rack: str = ""
    address: str = ""
    drain: bool = False


@dataclass(frozen=True, kw_only=True)
class Source:
    """What the members' source says now.

    `members` is None, and `problem` says why, while nobody knows who they are: then nobody joins, leaves or is emptied. `expected` is how
    many there will be once all have started.
    """

    members: tuple[SourceMember, ...] | None = None
    expected: int = 0
    problem: Problem | None = None
    stalls: bool = False
    """Whether `problem` needs a person."""
    advice: tuple[tuple[str, str], ...] = ()
    """What is not as it should be about the source, as (reason, message)."""


@dataclass(frozen=True, kw_only=True)
class MapSeen:
    """What lies in ZooKeeper of a map.

    `foreign` says why the node at its path is not ours, `broken` why the published table cannot be used; `table` is then the last good one
    that is known, if any. `unseen_for`: seconds since each known id had a live node, counted from when this process first looked;
    `looked_for`: seconds since then. `numbers` are those that retained generations give to ids. `uid` is that of the resource that made it.
    """

    exists: bool = False
    uid: str = ""
    foreign: str = ""
    broken: str = ""
    table: ShardTable | None = None
    partitioning: str = ""
    retiring: str = ""
    """The partitioning that it was split from, while that is kept."""
    live: Mapping[str, Live] = field(default_factory=dict)
    unseen_for: Mapping[str, float] = field(default_factory=dict)
    looked_for: float = 0.0
    moves: Mapping[int, Move] = field(default_factory=dict)
    reports: Mapping[int, Mapping[str, Report]] = field(default_factory=dict)
    retained: tuple[int, ...] = ()
    numbers: Mapping[str, int] = field(default_factory=dict)

    def absent_for(self, member: str) -> float:
        """Seconds for which a member has not been there; 0 while it is."""
        if member in self.live:
            return 0.0
        return max(1e-6, self.unseen_for.get(member, self.looked_for))


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanFacts:
    """What was planned last: replicas to copy, the fewest possible, whether that is proven, and how many shards change."""

    moves: int
    bound: int
    proven: bool
    changes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """A published table in the planner's form, with what is counted over all of it; kept, since it costs milliseconds."""

    generation: int
    rows: Assignment
    places: Mapping[int, tuple[str, ...]]
    violations: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadLook:
    """The last look at the load of a map's members. `at`: when, in monotonic seconds. `hottest`: the highest ratio of load to share.

    `active`: rounds go on, since a member is not yet below the band's lower edge. `shifts`: shards that got another primary.
    """

    at: float
    active: bool
    reporting: int
    hottest: float
    shifts: int


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What the controller remembers from pass to pass. Losing it costs a longer wait or a plan made anew, never a wrong step.

    `missing_since` (monotonic seconds): members that their source names no more. `numbers` were given to ids that no table names yet.
    """

    goal: Goal | None = None
    planned: PlanFacts | None = None
    findings: tuple[tuple[str, str], ...] = ()
    failures: Mapping[int, Failure] = field(default_factory=dict)
    missing_since: Mapping[str, float] = field(default_factory=dict)
    numbers: Mapping[str, int] = field(default_factory=dict)
    measured: Measured | None = None
    load: LoadLook | None = None


@dataclass(frozen=True, kw_only=True)
class MapSnapshot:
    """One look at the world. `seen` is None while it is not known what is published. `drains` are host names of agents to be emptied."""

    resource: MapResource
    cluster: ClusterView
    epoch: int = 0
    path: str = ""
    spec: MapSpec | None = None
    problem: Problem | None = None
    source: Source = field(default_factory=Source)
    drains: frozenset[str] = frozenset()
    seen: MapSeen | None = None
    memory: Memory = field(default_factory=Memory)
    now: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    monotonic: float = 0.0

"""The kind ShardMap: which member holds which shard, published in the cluster's ZooKeeper, and how shards move."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from shuren.api.nodes import Immutable, Int, Matches, Node, Rule, kubernetes, unique, without_nulls
from shuren.api.v1alpha1.metadata import ObjectMeta, lenient_status
from shuren.api.v1alpha1.references import NameRef
from shuren.api.v1alpha1.shardmap_status import ShardMapStatus

MAX_SHARDS = 65_536
REDIS_SHARDS = 16_384
_POWERS = tuple(1 << n for n in range(MAX_SHARDS.bit_length()))

MemberId = Annotated[
    str,
    Field(min_length=1, max_length=253),
    Matches("[A-Za-z0-9]([-_.:A-Za-z0-9]*[A-Za-z0-9])?", "an id has letters, digits, -, _, . and :, as host names and addresses have"),
]
Weight = Annotated[Int, Field(ge=0, le=1_000_000)]
Seconds = Annotated[Int, Field(ge=0, le=604_800)]
SomeSeconds = Annotated[Int, Field(ge=1, le=604_800)]
AtOnce = Annotated[Int, Field(ge=1, le=1000)]


class Algorithm(StrEnum):
    """How keys become shards. Algorithms that need no table (rendezvous, ring, …) are the library's and need no ShardMap."""

    SLOTS = "slots"
    REDIS16384 = "redis16384"


class Identity(StrEnum):
    """What makes a task the same member as one before it."""

    HOST = "Host"
    RESIDENT = "Resident"
    ORDINAL = "Ordinal"


class SpreadLevel(StrEnum):
    """What no two replicas of one shard should share."""

    RACK = "Rack"
    HOST = "Host"
    NONE = "None"


class TurndownPolicy(StrEnum):
    """What has to be true before the map may be deleted."""

    REQUIRE_IDLE = "RequireIdle"
    IMMEDIATE = "Immediate"


class Partitioning(Node):
    """A number of shards under a name."""

    rules = (
        Rule(
            cel=f"self.shards in {list(_POWERS)}",
            holds=lambda p: p.shards in _POWERS,
            message=f"the number of shards is a power of two from 1 to {MAX_SHARDS}",
            at="shards",
        ),
        Rule(
            cel="self.shards == oldSelf.shards",
            holds=None,
            message="the number of shards of a partitioning cannot change: add a second partitioning with twice as many to split the map",
            at="shards",
        ),
    )

    name: Annotated[
        str, Field(min_length=1, max_length=63), Matches("[a-z0-9]([-a-z0-9]*[a-z0-9])?", "a name has lower-case letters, digits and -")
    ]
    """Name of the partitioning, e.g. p1."""
    shards: Annotated[Int, Field(ge=1, le=MAX_SHARDS)]
    """Number of shards, a power of two; some 64 for each member that there will ever be. Cannot change."""


class StaticMember(Node):
    """A member that is named here."""

    id: MemberId
    """Identity: what the process registers as."""
    weight: Weight = 100
    """Share of the shards in relation to the other members'; 0: to be emptied."""
    host: Annotated[str, Field(max_length=253)] = ""
    """Host that it runs on."""
    rack: Annotated[str, Field(max_length=253)] = ""
    """Rack that it is in."""
    address: Annotated[str, Field(max_length=253)] = ""
    """Where it answers (host:port) until it registers with another address."""


class MemberWeight(Node):
    """The weight of one member of an app or a service."""

    id: MemberId
    """Identity of the member: with identity Host the host name of its agent."""
    weight: Weight
    """Share of the shards in relation to the other members', who have 100; 0: to be emptied."""


class Members(Node):
    """Who may hold shards: the tasks of an app, the endpoints of a service, or a list."""

    rules = (
        Rule(
            cel="[has(self.appRef), has(self.serviceRef), has(self.static)].filter(x, x).size() == 1",
            holds=lambda m: sum(x is not None for x in (m.app_ref, m.service_ref, m.static)) == 1,
            message="give exactly one of appRef, serviceRef and static",
        ),
        Rule(
            cel="!has(self.static) || self.static.exists(m, !has(m.weight) || m.weight > 0)",
            holds=lambda m: m.static is None or any(one.weight > 0 for one in m.static),
            message="no member has a weight above 0: nobody may hold a shard",
            at="static",
        ),
        Rule(
            cel="",
            holds=lambda m: m.static is None or unique([one.id for one in m.static]),
            message="two members have the same id",
            at="static",
        ),
        Rule(
            cel="!has(self.static) || !has(self.weights)",
            holds=lambda m: m.static is None or m.weights is None,
            message="static members carry their own weights: leave weights out",
            at="weights",
        ),
    )

    app_ref: NameRef | None = None
    """A PaasApp of the same namespace and cluster; its tasks are the members."""
    service_ref: NameRef | None = None
    """A PaasService of the same namespace and cluster; its endpoints are the members."""
    static: (
        Annotated[
            list[StaticMember], Field(min_length=1, max_length=1024, json_schema_extra=kubernetes(list_type="map", list_map_keys=["id"]))
        ]
        | None
    ) = None
    """Members by name, e.g. processes outside of Mesos."""
    identity: Annotated[Identity, Field(strict=False)] = Identity.HOST
    """What makes a task the same member as one before it, so that a restart moves nothing. Host: its agent; one task on each, so the app
    needs the constraint [hostname, UNIQUE]; the process registers as its $HOST. Resident: its instance with a persistent volume; the
    process registers as that instance's id. Ordinal: a number from 0 to instances - 1 that the process takes by registering as it."""
    weights: (
        Annotated[list[MemberWeight], Field(max_length=1024, json_schema_extra=kubernetes(list_type="map", list_map_keys=["id"]))] | None
    ) = None
    """Weights of members of an app or a service that differ from 100."""
    drain: Annotated[list[MemberId], Field(max_length=1024)] | None = None
    """Ids of members, or host names of agents, that are to be emptied: their shards move before anything else does."""


class Spread(Node):
    """How far apart the replicas of a shard are kept."""

    level: Annotated[SpreadLevel, Field(strict=False)] = SpreadLevel.RACK
    """What no two replicas of one shard share."""
    required: bool = False
    """Whether replicas never meet; members of a rack that is too large for that then get less than their share. Otherwise every member
    gets its share, and replicas meet only as far as that forces them to."""
    attribute: Annotated[str, Field(min_length=1, max_length=253)] = "rack"
    """Attribute of the Mesos agents that names their rack; agents without it are in their fault domain's zone."""


class Caps(Node):
    """How much may be in motion."""

    percent: Annotated[Int, Field(ge=1, le=100)] = 1
    """Share of all shards that may move at once; two always may."""
    incoming: AtOnce = 2
    """Moves to one member at once."""
    outgoing: AtOnce = 2
    """Moves from one member at once."""


class Deadlines(Node):
    """Seconds that a move may stay in a state before it is given up, or (behind the commit) goes on without who does not answer."""

    prepare_seconds: SomeSeconds = 3600
    """Copying a shard."""
    catch_up_seconds: SomeSeconds = 600
    """Following until the copy lags no more."""
    forward_seconds: SomeSeconds = 30
    """The old primary passes requests on; nobody serves the shard meanwhile."""
    activate_seconds: SomeSeconds = 60
    """The new primary takes over."""
    drop_seconds: SomeSeconds = 600
    """The old holder forgets the shard."""
    abort_seconds: SomeSeconds = 60
    """A move that was given up is undone."""


class Moves(Node):
    """When and how quickly shards move."""

    paused: bool = False
    """Whether no move begins until it is false again; moves under way end, and primaries that are lost are still replaced."""
    planned: Caps = Caps()
    """Caps of moves for balance and drains."""
    recovery: Caps = Caps()
    """Caps of moves that make lost replicas anew; they have their own, so that neither waits for the other."""
    delay_seconds: Seconds = 60
    """How long a member may be absent before it counts as gone; until then nothing is copied for it, so that a restart in place moves
    nothing."""
    promote_after_seconds: Seconds | None = None
    """How long a member may be absent before its primaries go to standbys. Default: as delaySeconds."""
    retry_seconds: SomeSeconds = 10
    """Pause after a failed move of a shard, doubled with each failure up to ten minutes."""
    deadlines: Deadlines = Deadlines()
    """How long each state of a move may take."""
    abandon_lost: bool | None = None
    """Whether a shard all of whose holders are gone is given to new ones, which begin without its data. Default: only with one replica."""


class Rollout(Node):
    """How an app that hosts shards is rolled."""

    max_unavailable: Annotated[Int, Field(ge=1, le=1000)] = 1
    """Members that may restart at once while the app gets a new version. Used where the app's own upgradeStrategy is left out."""


class BalanceBy(StrEnum):
    """What of the shards is balanced."""

    COUNT = "Count"
    LOAD = "Load"


class Balance(Node):
    """What of the shards is balanced between the members, by their weights."""

    rules = (
        Rule(
            cel="self.untilPercent < self.abovePercent",
            holds=lambda b: b.until_percent < b.above_percent,
            message="untilPercent is below abovePercent: balancing ends well inside the band that it begins outside of",
            at="untilPercent",
        ),
    )

    by: Annotated[BalanceBy, Field(strict=False)] = BalanceBy.COUNT
    """Count: every member holds its share of shards, give or take one. Load: what the shards that a member leads are asked for is near its
    share, as members measure it (ShardMember.measured); counts then differ."""
    above_percent: Annotated[Int, Field(ge=101, le=10_000)] = 125
    """By load: balancing begins when a member has more than so much of its share."""
    until_percent: Annotated[Int, Field(ge=100, le=10_000)] = 110
    """By load: balancing ends when no member has more than so much of its share."""
    budget_percent: Annotated[Int, Field(ge=1, le=100)] = 9
    """By load: part of all shards that may go elsewhere in one round; one always may. Handing a shard to a standby counts a quarter."""
    round_seconds: SomeSeconds = 60
    """By load: the least time from one round to the next, in which members measure what the last one has brought."""


class ShardMapSpec(Node):
    """What the map is made of, who holds its shards, and how they move."""

    rules = (
        Rule(
            cel="self.partitionings.size() < 2 || self.partitionings[1].shards == 2 * self.partitionings[0].shards",
            holds=lambda s: len(s.partitionings) < 2 or s.partitionings[1].shards == 2 * s.partitionings[0].shards,  # noqa: PLR2004
            message="a second partitioning splits the first: it has twice as many shards",
            at="partitionings",
        ),
        Rule(
            cel="self.partitionings.exists(p, oldSelf.partitionings.exists(o, o.name == p.name))",
            holds=None,
            message="keep a partitioning that is there: the map cannot go from one to another but by a split",
            at="partitionings",
        ),
        Rule(
            cel="",
            holds=lambda s: unique([p.name for p in s.partitionings]),
            message="two partitionings have the same name",
            at="partitionings",
        ),
        Rule(
            cel=f"self.algorithm != 'redis16384' || self.partitionings.all(p, p.shards == {REDIS_SHARDS})",
            holds=lambda s: s.algorithm is not Algorithm.REDIS16384 or all(p.shards == REDIS_SHARDS for p in s.partitionings),
            message=f"redis16384 has {REDIS_SHARDS} shards, no fewer and no more",
            at="partitionings",
        ),
        Rule(
            cel="!has(self.members.static) || self.members.static.filter(m, !has(m.weight) || m.weight > 0).size() >= self.replicas",
            holds=lambda s: s.members.static is None or sum(m.weight > 0 for m in s.members.static) >= s.replicas,
            message="there are fewer members with a weight above 0 than replicas of each shard: add members or lower replicas",
            at="replicas",
        ),
    )

    cluster_ref: Annotated[NameRef, Immutable("a map cannot leave its cluster: make another ShardMap there")]
    """MesosCluster in whose ZooKeeper the map is published."""
    algorithm: Annotated[
        Algorithm, Field(strict=False), Immutable("another algorithm would put every key elsewhere: make another ShardMap")
    ] = Algorithm.SLOTS
    """How keys become shards: slots (top bits of XXH64), or redis16384 for clients that speak Redis Cluster's CRC16 slots."""
    partitionings: Annotated[
        list[Partitioning], Field(min_length=1, max_length=2, json_schema_extra=kubernetes(list_type="map", list_map_keys=["name"]))
    ]
    """Number of shards. A second one with twice as many splits the map; take the first away when status says that it is retired."""
    replicas: Annotated[Int, Field(ge=1, le=16)] = 1
    """Members that hold each shard, its primary among them."""
    members: Members
    """Who may hold shards."""
    spread: Spread = Spread()
    """How far apart the replicas of a shard are kept."""
    balance: Balance = Balance()
    """What of the shards is balanced between the members."""
    moves: Moves = Moves()
    """When and how quickly shards move."""
    rollout: Rollout = Rollout()
    """How an app that hosts shards is rolled."""
    turndown_policy: Annotated[TurndownPolicy, Field(strict=False)] = TurndownPolicy.REQUIRE_IDLE
    """What has to be true before the map may be deleted. RequireIdle: no member is registered any more. Immediate: nothing."""
    suspend: bool = False
    """Whether to write nothing until it is false again; what is published stays, and moves under way stay where they are."""


class ShardMap(Node):
    """A published table of shards and members, and its controlled migrations."""

    api_version: Literal["paas.shurenyun.com/v1alpha1"] = "paas.shurenyun.com/v1alpha1"
    """Group and version."""
    kind: Literal["ShardMap"] = "ShardMap"
    """Kind."""
    metadata: ObjectMeta
    """Name, namespace, generation, …"""
    spec: ShardMapSpec
    """What is asked for."""
    status: Annotated[ShardMapStatus | None, lenient_status(ShardMapStatus)] = None
    """What was found and done; never the map itself, which lies in ZooKeeper."""


def read(obj: Mapping[str, Any]) -> ShardMap:
    """Read a ShardMap from its JSON. Raises pydantic.ValidationError, as `paasapp.read` does."""
    return ShardMap.model_validate(without_nulls(dict(obj)))

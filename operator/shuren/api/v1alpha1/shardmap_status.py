"""Status of a ShardMap: generations, counts and where the map lies, never the map itself."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shuren.api.nodes import Node
from shuren.api.v1alpha1.conditions import Conditions

Count = Annotated[int, Field(ge=0, le=2**53)]
Text = Annotated[str, Field(max_length=2048)]
Short = Annotated[str, Field(max_length=253)]


class Generations(Node):
    """Generations of the published table; each publication is one."""

    published: Count
    """The newest one."""
    acknowledged: Count
    """What every registered member acts by at least."""
    behind: Count
    """Registered members that act by an older one."""


class MemberCounts(Node):
    """Members."""

    total: Count
    """Those that hold shards or may get some."""
    live: Count
    """Registered just now."""
    draining: Count
    """To be emptied."""
    gone: Count
    """Absent for longer than spec.moves.delaySeconds, and still named by the table."""


class Range(Node):
    """Least and most over the members that may hold shards."""

    min: Count
    """The least."""
    max: Count
    """The most."""


class ShardCounts(Node):
    """Shards by state."""

    total: Count
    """All of them."""
    settled: Count
    """Where they should be."""
    queued: Count
    """Waiting for their move to begin."""
    prepare: Count
    """Being copied."""
    catch_up: Count
    """Copied, catching up."""
    forward: Count
    """The old primary passes requests on."""
    activate: Count
    """The new primary takes over."""
    drop: Count
    """The old holder forgets the shard."""
    abort: Count
    """A move is being undone."""
    leaderless: Count
    """Without a primary that is there."""
    short: Count
    """With fewer holders there than replicas."""
    lost: Count
    """Without any holder that is there."""


class MoveCounts(Node):
    """Moves towards the table that was last planned."""

    planned: Count
    """Replicas that have to be copied for it."""
    lower_bound: Count
    """No table that is as even needs fewer."""
    proven: bool
    """Whether `planned` is proven to be the fewest."""
    queued: Count
    """Shards that wait for their move."""
    active: Count
    """Shards that move."""
    done: Count
    """Shards that have arrived."""
    failed: Count
    """Shards whose last move failed and is tried again."""


class LoadFacts(Node):
    """The last look at the load of the members, where spec.balance.by is Load; one a round."""

    balancing: bool
    """Whether a member was above the band, and rounds go on until none is above its lower edge."""
    reporting: Count
    """Members that tell their load; the shards of others count as average ones."""
    hottest_percent: Count
    """Load of the hottest member in relation to its share, to the nearest 5."""
    shifts: Count
    """Shards that got another primary in that round."""


class ShardMapStatus(Node):
    """What was found and done."""

    observed_generation: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})] | None = None
    """`metadata.generation` that this status was concluded from."""
    cluster: Short | None = None
    """MesosCluster that the map is published in."""
    path: Text | None = None
    """Where it lies in that cluster's ZooKeeper: what clients and members are given."""
    partitioning: Short | None = None
    """The published partitioning."""
    hash: Annotated[str, Field(max_length=64)] | None = None
    """SHA-256 of who holds what, as in the published head."""
    term: Count | None = None
    """Fencing epoch under which it was last published."""
    generations: Generations | None = None
    """Generations of the published table."""
    members: MemberCounts | None = None
    """Members."""
    shards: ShardCounts | None = None
    """Shards by state."""
    per_member: Range | None = None
    """Replicas that a member holds."""
    primaries_per_member: Range | None = None
    """Shards that a member is the primary of."""
    rack_violations: Count | None = None
    """Shards with two replicas in one rack (or on one host, by spec.spread.level)."""
    moves: MoveCounts | None = None
    """Moves towards the table that was last planned."""
    load: LoadFacts | None = None
    """The load of the members, where spec.balance.by is Load."""
    progress: Annotated[str, Field(max_length=32)] | None = None
    """Settled shards of all, for people: 4090/4096."""
    conditions: Conditions | None = None
    """Ready, Reconciling, Stalled, Rebalancing, Degraded, Paused, Suspended, Advice."""

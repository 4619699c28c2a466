"""What is to be done about a map, as values: the operator applies exactly these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from shuren.domain.conditions import Condition
from shuren.domain.json import JsonValue
from shuren.domain.shardmap.snapshot import MapName, Memory
from shuren.sharding.core.moves import Move
from shuren.sharding.core.table import ShardTable


@dataclass(frozen=True, kw_only=True)
class AddFinalizer:
    """Before anything outside is touched."""

    def __str__(self) -> str:
        return "add the finalizer"


@dataclass(frozen=True, kw_only=True)
class RemoveFinalizer:
    """Last of all."""

    def __str__(self) -> str:
        return "remove the finalizer"


@dataclass(frozen=True, kw_only=True)
class TakePath:
    """Make the map's node with our record in it, or write the record of this resource over that of one before it of the same name."""

    uid: str

    def __str__(self) -> str:
        return "take the path in ZooKeeper"


@dataclass(frozen=True, kw_only=True)
class PublishTable:
    """The next generation: its pieces first, then the head."""

    table: ShardTable = field(repr=False)
    partitioning: str
    changed: int
    retiring: str = ""

    def __str__(self) -> str:
        return f"publish generation {self.table.generation} of {self.partitioning} ({self.changed} shards changed)"


@dataclass(frozen=True, kw_only=True)
class WriteMove:
    """Order a move. `unless_live`: nothing is written if one of these members has registered."""

    move: Move
    unless_live: tuple[str, ...] = ()
    why: str = ""

    def __str__(self) -> str:
        move = self.move
        return f"shard {move.shard}: {move.state.value} {move.from_ or 'nobody'} -> {move.to}" + (f" ({self.why})" if self.why else "")


@dataclass(frozen=True, kw_only=True)
class RemoveMove:
    """The move is over. `failed`: it came to nothing and is tried again."""

    shard: int
    failed: bool = False

    def __str__(self) -> str:
        return f"shard {self.shard}: " + ("its move came to nothing" if self.failed else "moved")


@dataclass(frozen=True, kw_only=True)
class ForgetGenerations:
    """Delete the nodes of generations that nobody reads any more."""

    generations: tuple[int, ...]

    def __str__(self) -> str:
        return f"forget generations {', '.join(map(str, self.generations))}"


@dataclass(frozen=True, kw_only=True)
class WithdrawMap:
    """Remove everything of the map from ZooKeeper. `best_effort`: a person has let go."""

    name: MapName
    best_effort: bool = False

    def __str__(self) -> str:
        return f"withdraw {self.name}"


MapAction: TypeAlias = AddFinalizer | RemoveFinalizer | TakePath | PublishTable | WriteMove | RemoveMove | ForgetGenerations | WithdrawMap


@dataclass(frozen=True, kw_only=True)
class MapPlan:
    """The decision of one pass: actions in order, then the status. `conditions` None leaves the status alone. Seconds.

    `news` are sentences for Kubernetes Events, as (reason, note).
    """

    actions: tuple[MapAction, ...] = ()
    conditions: tuple[Condition, ...] | None = None
    facts: Mapping[str, JsonValue] = field(default_factory=dict)
    memory: Memory = field(default_factory=Memory)
    news: tuple[tuple[str, str], ...] = ()
    requeue_after: float | None = None

    def __str__(self) -> str:
        shown = [str(a) for a in self.actions[:8]]
        more = [f"and {len(self.actions) - len(shown)} more"] if len(self.actions) > len(shown) else []
        return "; ".join(shown + more) or "nothing to do"

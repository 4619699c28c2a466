"""What a change would move of a shard map: the operator's own plan, and its planner once the members are as they will be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from shuren.domain.conditions import Condition, ConditionType, Truth
from shuren.domain.shardmap.plan import AddFinalizer, MapPlan, RemoveFinalizer
from shuren.domain.shardmap.preview import ahead, source_of
from shuren.domain.shardmap.snapshot import MapSnapshot


@dataclass(frozen=True, kw_only=True)
class ShardForecast:
    """`now` is the plan of the next pass, value for value. `moves` replicas are copied in the end, `bound` is the fewest possible.

    `problem` says why the change cannot be followed, else empty.
    """

    snapshot: MapSnapshot
    now: MapPlan
    moves: int = 0
    bound: int = 0
    proven: bool = True
    problem: str = ""

    @property
    def changes(self) -> bool:
        """Whether anything is published or moved."""
        return self.moves > 0 or any(not isinstance(a, (AddFinalizer, RemoveFinalizer)) for a in self.now.actions)


def foresee(snapshot: MapSnapshot, now: MapPlan, *, instances: int | None, weights: Mapping[str, int]) -> ShardForecast:
    """`instances` is what the app of the members will have, None when that does not change."""
    later = snapshot
    if instances is not None and snapshot.seen is not None:
        source, seen = source_of(snapshot.seen, static=(), weights=weights, instances=instances)
        later = replace(snapshot, source=source, seen=seen)
    found = ahead(later)
    return ShardForecast(
        snapshot=snapshot, now=now, moves=found.moves, bound=found.bound, proven=found.proven, problem=_problem(found.decided)
    )


def _problem(decided: MapPlan) -> str:
    ready: Condition | None = next((c for c in decided.conditions or () if c.type is ConditionType.READY), None)
    stalled = any(c.type is ConditionType.STALLED and c.status is Truth.TRUE for c in decided.conditions or ())
    return ready.message if ready is not None and stalled else ""

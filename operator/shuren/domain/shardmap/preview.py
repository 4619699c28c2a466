"""The members that there would be after a change, as far as one can tell before it, and what would move then."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from shuren.domain.shardmap.decide import decide
from shuren.domain.shardmap.plan import MapPlan
from shuren.domain.shardmap.publish import relaid
from shuren.domain.shardmap.roster import call
from shuren.domain.shardmap.snapshot import MapSeen, MapSnapshot, Source, SourceMember
from shuren.domain.shards.partitions import Relay
from shuren.sharding.core.moves import Live


def source_of(
    seen: MapSeen, *, static: tuple[SourceMember, ...], weights: Mapping[str, int], instances: int | None
) -> tuple[Source, MapSeen]:
    """The source, and what would lie there: members that are still to come have registered.

    `instances` is what the app is to have, None for as many as now. Which task goes, Marathon's order decides when it comes to it; here the
    last ones by name do.
    """
    if static:
        members = static
    else:
        known = {m.id: m for m in seen.table.members} if seen.table is not None else {}
        there = sorted(seen.live)
        kept = there if instances is None else there[:instances]
        members = tuple(
            SourceMember(
                id=m, weight=weights.get(m, 100), host=known[m].host if m in known else m, rack=known[m].rack if m in known else ""
            )
            for m in kept
        )
        members += tuple(SourceMember(id=m, weight=weights.get(m, 100), drain=True) for m in there if m not in kept)
        new = max(0, (instances or 0) - len(there))
        members += tuple(SourceMember(id=f"new-{n}", rack=f"new-{n}") for n in range(1, new + 1))
    live = dict(seen.live)
    for member in members:
        live.setdefault(member.id, Live(id=member.id, address=member.address))
    return Source(members=members, expected=len(members)), replace(seen, live=live)


@dataclass(frozen=True, kw_only=True)
class Ahead:
    """Where a map is going: `decided` is the last plan on the way, `moves` replicas are copied in all, `bound` the fewest possible."""

    decided: MapPlan
    moves: int
    bound: int
    proven: bool


def ahead(snapshot: MapSnapshot) -> Ahead:
    """Follow the decision to its end, if all members do what they are asked for.

    Whoever the source names no more keeps what he has for the delay, and is emptied then: if that is so of anybody, there are two plans.
    """
    first = decide(snapshot)
    last, facts = first, [f for f in (first.memory.planned,) if f is not None]
    if first.memory.missing_since:
        last = decide(_after_the_delay(snapshot, first))
        facts += [f for f in (last.memory.planned,) if f is not None]
    return Ahead(decided=last, moves=sum(f.moves for f in facts), bound=sum(f.bound for f in facts), proven=all(f.proven for f in facts))


def _after_the_delay(s: MapSnapshot, first: MapPlan) -> MapSnapshot:
    """The moves of the first plan are done, and who was missed is still missed."""
    goal, view, seen = first.memory.goal, first.memory.measured, s.seen
    if goal is not None and view is not None and s.spec is not None and seen is not None and seen.table is not None:
        done = relaid(seen.table, goal.table, Relay.KEEP, call(s, s.spec, seen), term=s.epoch)
        if done is not None and done.shards == seen.table.shards:
            s = replace(s, seen=replace(seen, table=done, moves={}, reports={}))
    long_since = dict.fromkeys(first.memory.missing_since, -math.inf)
    return replace(s, memory=replace(first.memory, goal=None, planned=None, measured=None, missing_since=long_since))

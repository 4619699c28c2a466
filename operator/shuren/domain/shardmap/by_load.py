"""A goal for a map that is balanced by load: when it is looked at, what members say of their shards, and what a round makes of it.

While nobody tells a load, every shard counts the same. A map that nobody is too hot in is left as it is, whatever its counts are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from shuren.domain.shardmap.snapshot import LoadLook
from shuren.domain.shards.assignment import VACANT, Assignment, changes, resized
from shuren.domain.shards.goals import Goal
from shuren.domain.shards.load import LoadPolicy, Reported, balance, weights_of
from shuren.domain.shards.members import Wanted
from shuren.domain.shards.migration import Presence, World, effective
from shuren.domain.shards.partitions import elder, split
from shuren.domain.shards.shares import Finding, shares
from shuren.sharding.core.moves import Live

_AT_REST = "the hottest member has {ratio:.2f} times its share of the load"


@dataclass(frozen=True, kw_only=True)
class Aimed:
    """A goal by load. `copies` replicas have to be copied for it; `why` it was made."""

    goal: Goal
    look: LoadLook
    copies: int
    why: str
    findings: tuple[Finding, ...]


def reported(live: Mapping[str, Live], presences: Iterable[Presence], *, generation: int) -> dict[int, Reported]:
    """What members that are there say of the shards that they lead, by number.

    Only the sum of those that do not act by the published generation yet: after a split they may count by the numbers before it.
    """
    found: dict[int, Reported] = {}
    for one in presences:
        said = live.get(one.id)
        if said is not None and said.load is not None:
            hottest = said.hottest if said.generation >= generation else {}
            found[one.number] = Reported(total=float(said.load), hottest={shard: float(n) for shard, n in hottest.items()})
    return found


def due_in(look: LoadLook | None, policy: LoadPolicy, now: float) -> float:
    """Seconds until the load is looked at again; 0 when it is time."""
    return 0.0 if look is None else max(0.0, look.at + policy.every - now)


def aim(
    world: World,
    wanted: Wanted,
    loads: Mapping[int, Reported],
    policy: LoadPolicy,
    *,
    why: str,
    goal: Goal | None,
    look: LoadLook | None,
    now: float,
    together: bool = False,
) -> Aimed | None:
    """A new goal; None while the one that there is stays. `why` says what has changed about the members, empty for nothing.

    Members that come or go are no reason to wait for a round, and what they bring about is balanced to the band's lower edge. `together`:
    siblings of a split have to stay with each other; `wanted` has half the shards then, and what is asked for counts by pairs.
    """
    at_rest = goal is not None and not world.moves and not changes(world.table, goal.table)
    if not why and not (at_rest and due_in(look, policy, now) <= 0):
        return None
    weights = weights_of(world.table, loads)
    if not any(weights):
        weights = [1.0] * world.table.slots
    before = effective(world)
    start = before if before.replicas == wanted.replicas else resized(before, wanted.replicas)
    if together:
        start, weights = elder(start), [one + other for one, other in zip(weights[::2], weights[1::2], strict=True)]
    share = shares(wanted, reach=max(start.holders, default=VACANT))
    others = goal is not None and goal.wanted != wanted
    made = balance(start, weights, share, policy, active=others or (look is not None and look.active))
    if VACANT in made.table.holders:
        return None
    found = LoadLook(at=now, active=made.active, reporting=len(loads), hottest=made.hottest[1], shifts=len(made.shifts))
    table = split(made.table) if together else made.table
    # a shard too hot by itself is what the split is for: told, if it still is, when its halves may part
    said = share.findings if together else (*share.findings, *made.findings)
    return Aimed(
        goal=Goal(table=table, wanted=wanted),
        look=found,
        copies=_copies(before, table),
        why=why or _AT_REST.format(ratio=made.hottest[0]),
        findings=said,
    )


def _copies(before: Assignment, after: Assignment) -> int:
    return sum(len(change.gained) for change in changes(before, after))

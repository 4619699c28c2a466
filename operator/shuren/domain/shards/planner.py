"""The table that a map should have, made from the one that it has: placement first, then primaries, and what is to be said about both."""

from __future__ import annotations

from dataclasses import dataclass

from shuren.domain.shards.assignment import VACANT, Assignment
from shuren.domain.shards.flow import Effort
from shuren.domain.shards.initial import lay_out
from shuren.domain.shards.members import Wanted
from shuren.domain.shards.primaries import lead
from shuren.domain.shards.replacement import replace
from shuren.domain.shards.shares import Finding, shares

DEFAULT_EFFORT = 1_000_000
"""Arcs that an exact search may look at in all; about two seconds on one core. Beyond it the result is valid, but not proven the best."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """A table to go to. `moves` replicas must be copied to a member that does not hold them; no table needs fewer than `bound`.

    `proven`: no table needs fewer than `moves`. `led` slots get another primary than before, `led_bound` and `led_proven` likewise, for the
    replicas as they are placed. For a first table all replicas count as moved and all primaries as new. `findings` say what keeps the table
    from being as good as asked.
    """

    table: Assignment
    moves: int
    bound: int
    proven: bool
    led: int
    led_bound: int
    led_proven: bool
    findings: tuple[Finding, ...] = ()


def plan(wanted: Wanted, table: Assignment | None = None, *, effort: int = DEFAULT_EFFORT) -> Planned:
    """The table for `wanted` that is nearest to `table`; the first one when there is none, or it has another number of slots.

    Members of `table` that are not wanted any more count as gone. Every member holds its share of replicas, and leads its share of slots,
    rounded down or up.
    """
    if table is None or table.slots != wanted.slots:
        share = shares(wanted)
        chosen = lead(lay_out(share), None, share, Effort(effort))
        everything = len(chosen.holders)
        table = Assignment(replicas=wanted.replicas, holders=tuple(chosen.holders))
        return Planned(
            table=table,
            moves=everything,
            bound=everything,
            proven=True,
            led=table.slots,
            led_bound=table.slots,
            led_proven=True,
            findings=share.findings,
        )
    share = shares(wanted, reach=max(table.holders, default=VACANT))
    budget = Effort(effort)
    placed = replace(table, share, budget)
    chosen = lead(placed.holders, table, share, budget)
    return Planned(
        table=Assignment(replicas=wanted.replicas, holders=tuple(chosen.holders)),
        moves=placed.moves,
        bound=placed.bound,
        proven=placed.proven,
        led=chosen.changed,
        led_bound=chosen.bound,
        led_proven=chosen.proven,
        findings=share.findings,
    )

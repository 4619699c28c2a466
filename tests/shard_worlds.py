"""Random worlds of shards, and what any valid table of one must be."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import strategies as st

from shuren.domain.errors import Invalid
from shuren.domain.shards.assignment import Assignment
from shuren.domain.shards.members import Member, Spread, SpreadLevel, Wanted
from shuren.domain.shards.planner import plan
from shuren.domain.shards.shares import shares

weights = st.sampled_from([1.0, 1.0, 1.0, 2.0, 3.0, 0.5])
spreads = st.builds(Spread, level=st.sampled_from(SpreadLevel), required=st.booleans())


@st.composite
def members(draw: st.DrawFn, *, least: int = 1, most: int = 10, first: int = 0, racks: int = 4) -> tuple[Member, ...]:
    """Members with numbers from `first` on."""
    count = draw(st.integers(least, most))
    return tuple(
        Member(
            id=first + number,
            name=f"m{first + number}",
            weight=draw(weights),
            rack=f"r{draw(st.integers(1, racks))}",
            host=draw(st.sampled_from(["", "h1", "h2"])),
        )
        for number in range(count)
    )


@st.composite
def wishes(draw: st.DrawFn, *, slots: int = 32, replicas: int = 3) -> Wanted:
    """Something that a table can be made for."""
    count = draw(st.integers(1, replicas))
    chosen = draw(members(least=count))
    spread = draw(spreads)
    wanted = {
        "slots": 2 ** draw(st.integers(0, slots.bit_length() - 1)),
        "replicas": count,
        "members": chosen,
        "salt": draw(st.integers(0, 9)),
    }
    try:
        return Wanted(**wanted, spread=spread)
    except Invalid:
        return Wanted(**wanted, spread=replace(spread, required=False))


@st.composite
def changed(draw: st.DrawFn, wanted: Wanted) -> Wanted:
    """The same map after members came, went, were weighed or put elsewhere."""
    kept = [m for m in wanted.members if draw(st.integers(0, 4))]
    moved = [replace(m, rack=f"r{draw(st.integers(1, 4))}") if not draw(st.integers(0, 9)) else m for m in kept]
    weighed = [replace(m, weight=draw(st.sampled_from([0.0, 1.0, 4.0]))) if not draw(st.integers(0, 9)) else m for m in moved]
    came = draw(members(least=0, most=3, first=1 + max(m.id for m in wanted.members)))
    try:
        return replace(wanted, members=(*weighed, *came))
    except Invalid:
        return wanted


@st.composite
def steps(draw: st.DrawFn) -> tuple[Assignment, Wanted]:
    """A good table, and what is wanted next."""
    wanted = draw(wishes())
    table = plan(wanted).table
    for _ in range(draw(st.integers(0, 2))):
        wanted = draw(changed(wanted))
        table = plan(wanted, table).table
    return table, draw(changed(wanted))


def assert_good(table: Assignment, wanted: Wanted) -> None:
    """Every replica is held, every member holds and leads its share, and no slot meets anything more often than the shares force it to."""
    share = shares(wanted)
    held, led = Counter(table.holders), Counter(table.primaries)
    assert set(held) <= set(share.members)
    for member in share.members:
        assert share.all.low[member] <= held[member] <= share.all.high[member]
        assert share.primary.low[member] <= led[member] <= share.primary.high[member]
    for row in table.rows():
        zones = [share.zone[member] for member in row]
        assert len(set(zones)) == wanted.replicas
        met = Counter(group for member in row for group in share.uppers[member])
        assert all(count <= share.caps[group] for group, count in met.items())

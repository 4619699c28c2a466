"""Splitting a map: what may be asked for, in which order it is done, and that no key changes its place by it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuren.domain.shards.assignment import Assignment
from shuren.domain.shards.goals import Goal, why_plan
from shuren.domain.shards.members import Member, Wanted
from shuren.domain.shards.migration import Presence, World
from shuren.domain.shards.partitions import (
    Layout,
    Partitioning,
    Published,
    Relay,
    elder,
    faults,
    merged,
    merged_epochs,
    next_layout,
    split,
    split_epochs,
)
from shuren.domain.shards.planner import plan
from shuren.sharding.core import slot_of

_OLD, _NEW = Partitioning(name="p1", shards=4), Partitioning(name="p2", shards=8)
_BEFORE = Published(partitioning=_OLD)
_DURING = Published(partitioning=_NEW, retiring="p1")
_AFTER = Published(partitioning=_NEW)


def _planned(slots: int, *, members: int = 5, replicas: int = 2) -> Assignment:
    return plan(Wanted(slots=slots, replicas=replicas, members=tuple(Member(id=n, rack=f"r{n % 3}") for n in range(members)))).table


# ------------------------------------------------------------------------------------------------------------------------------ refused


@pytest.mark.parametrize(
    ("wanted", "published", "path", "words"),
    [
        ((), None, "/partitionings", "1 or 2 partitionings, not 0"),
        ((_OLD, _NEW, Partitioning(name="p3", shards=16)), None, "/partitionings", "not 3"),
        ((Partitioning(name="p1", shards=6),), None, "/partitionings/0/shards", "a power of two from 1 to 65536, not 6"),
        ((_OLD, Partitioning(name="p1", shards=8)), None, "/partitionings/1/name", "both partitionings are named p1"),
        ((_OLD, Partitioning(name="p2", shards=16)), None, "/partitionings/1/shards", "it has 8 shards, not 16"),
        ((Partitioning(name="p1", shards=8),), _BEFORE, "/partitionings/0/shards", "published with 4 shards, which cannot be changed"),
        ((_NEW,), _BEFORE, "/partitionings", "is of partitioning p1 (4 shards), which is not there"),
        ((_OLD,), _AFTER, "/partitionings", "is of partitioning p2 (8 shards), which is not there"),
        ((_OLD, _NEW), _AFTER, "/partitionings/0", "partitioning p1 is retired"),
    ],
)
def test_refused(wanted: tuple[Partitioning, ...], published: Published | None, path: str, words: str) -> None:
    (error,) = faults(wanted, published)
    assert error.path == path
    assert words in error.message


@pytest.mark.parametrize(
    ("wanted", "published"),
    [
        ((_OLD,), None),
        ((_OLD, _NEW), None),
        ((_OLD,), _BEFORE),
        ((_OLD, _NEW), _BEFORE),
        ((_OLD, _NEW), _DURING),
        ((_OLD,), _DURING),
        ((_NEW,), _DURING),
        ((_NEW,), _AFTER),
        ((_NEW, Partitioning(name="p3", shards=16)), _AFTER),
    ],
)
def test_allowed(wanted: tuple[Partitioning, ...], published: Published | None) -> None:
    assert faults(wanted, published) == []


# ------------------------------------------------------------------------------------------------------------------------------ in order


def test_the_first_table_is_of_the_last_partitioning() -> None:
    assert next_layout((_OLD,), None) == Layout(partitioning=_OLD)
    assert next_layout((_OLD, _NEW), None) == Layout(partitioning=_NEW)


def test_a_split_goes_step_by_step() -> None:
    assert next_layout((_OLD,), _BEFORE, moving=3) == Layout(partitioning=_OLD)
    waits = next_layout((_OLD, _NEW), _BEFORE, moving=3)
    assert (waits.partitioning, waits.relay, waits.wait) == (_OLD, Relay.KEEP, "3 moves have to end first")
    assert next_layout((_OLD, _NEW), _BEFORE) == Layout(partitioning=_NEW, retiring="p1", relay=Relay.SPLIT, together=True)
    assert next_layout((_OLD, _NEW), _DURING, moving=3) == Layout(partitioning=_NEW, retiring="p1", together=True)
    assert next_layout((_NEW,), _DURING, moving=3) == Layout(partitioning=_NEW)
    assert next_layout((_NEW,), _AFTER) == Layout(partitioning=_NEW)


def test_a_split_is_taken_back_once_siblings_are_together() -> None:
    together = split(_planned(4))
    assert next_layout((_OLD,), _DURING, table=together) == Layout(partitioning=_OLD, relay=Relay.MERGE)
    moving = next_layout((_OLD,), _DURING, moving=1, table=together)
    assert (moving.partitioning, moving.retiring, moving.relay, moving.together) == (_NEW, "p1", Relay.KEEP, True)
    rows = list(together.rows())
    apart = Assignment.of([rows[0][::-1], *rows[1:]])
    assert next_layout((_OLD,), _DURING, table=apart).wait == "shards that were split have to come together again"


# --------------------------------------------------------------------------------------------------------------------------- the tables


@given(bits=st.integers(0, 8), keys=st.lists(st.binary(max_size=12), max_size=20), members=st.integers(2, 9))
def test_a_split_moves_no_key_and_goes_back(bits: int, keys: list[bytes], members: int) -> None:
    table = _planned(1 << bits, members=members)
    after = split(table)
    assert after.slots == 2 * table.slots
    assert all(after.row(slot_of(key, after.slots)) == table.row(slot_of(key, table.slots)) for key in keys)
    assert merged(after) == table == elder(after)


def test_epochs_never_go_back() -> None:
    assert split_epochs([3, 7]) == [3, 3, 7, 7]
    assert merged_epochs([3, 4, 7, 7]) == [5, 8]


def test_what_follows_in_a_row_may_stand_in_any_order_to_be_merged() -> None:
    assert merged(Assignment.of([(1, 2, 3), (1, 3, 2)])) == Assignment.of([(1, 2, 3)])
    assert merged(Assignment.of([(1, 2), (2, 1)])) is None
    assert merged(Assignment.of([(1, 2), (1, 3)])) is None


def test_a_goal_from_before_the_split_is_none_any_more() -> None:
    """While both partitionings are there, goals are made for half the shards, as before: the number of shards does not tell."""
    members = tuple(Member(id=n, rack=f"r{n % 3}") for n in range(5))
    wanted = Wanted(slots=4, replicas=2, members=members)
    before = plan(wanted).table
    people = tuple(Presence(id=f"m{n}", number=n) for n in range(5))
    world = World(table=split(before), epochs=[1] * 8, generation=2, members=people, now=0.0)
    assert why_plan(Goal(table=before, wanted=wanted), wanted, world) == "the shards of the map were divided anew"
    together = Goal(table=split(plan(wanted, elder(world.table)).table), wanted=wanted)
    assert why_plan(together, wanted, world) == ""
    assert together.table == world.table


@given(bits=st.integers(4, 8), members=st.integers(3, 9), more=st.integers(0, 2))
def test_after_the_split_the_usual_plan_makes_it_even(bits: int, members: int, more: int) -> None:
    """Retired, the children are planned like any other shards: from where they are, with the least moves, to one shard or so each."""
    after = split(_planned(1 << bits, members=members))
    people = tuple(Member(id=n, rack=f"r{n % 3}") for n in range(members + more))
    planned = plan(Wanted(slots=after.slots, replicas=2, members=people), after)
    held = planned.table.held()
    assert max(held.values()) - min(held.values()) <= 1
    assert planned.proven
    if not more:
        assert planned.moves <= members

"""Tables: valid on any world, with the fewest moves, and honest about what they could not do."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings

from shard_oracle import fewest_changes, fewest_moves
from shard_worlds import assert_good, steps, wishes
from shuren.domain.errors import Invalid
from shuren.domain.shards.assignment import Assignment, changes
from shuren.domain.shards.members import Member, Spread, SpreadLevel, Wanted
from shuren.domain.shards.planner import plan
from shuren.domain.shards.shares import shares

RACK = Spread(level=SpreadLevel.RACK)


def cluster(count: int, *, racks: int = 5, first: int = 0) -> tuple[Member, ...]:
    return tuple(Member(id=n, name=f"m{n}", rack=f"r{n % racks}", host=f"h{n}") for n in range(first, first + count))


def wanted(members: tuple[Member, ...], *, slots: int = 4096, replicas: int = 3, spread: Spread = RACK, salt: int = 0) -> Wanted:
    return Wanted(slots=slots, replicas=replicas, members=members, spread=spread, salt=salt)


# ---------------------------------------------------------------------------------------------------- any world


@given(wishes())
@settings(max_examples=60, deadline=None)
def test_a_first_table_is_good(wish: Wanted) -> None:
    assert_good(plan(wish).table, wish)


@given(steps())
@settings(max_examples=60, deadline=None)
def test_the_next_table_is_good_and_moves_the_fewest_replicas(step: tuple[Assignment, Wanted]) -> None:
    table, wish = step
    planned = plan(wish, table)
    assert_good(planned.table, wish)
    share = shares(wish, reach=max(table.holders))
    assert planned.proven
    assert planned.moves == fewest_moves(table, share)
    assert planned.moves == sum(len(change.gained) for change in changes(table, planned.table))
    assert planned.bound <= planned.moves


@given(steps())
@settings(max_examples=60, deadline=None)
def test_the_next_table_changes_the_fewest_primaries(step: tuple[Assignment, Wanted]) -> None:
    table, wish = step
    planned = plan(wish, table)
    share = shares(wish, reach=max(table.holders))
    assert planned.led_proven
    assert planned.led == fewest_changes(planned.table, table.primaries, share)
    assert planned.led == sum(old != new for old, new in zip(table.primaries, planned.table.primaries, strict=True))
    assert planned.led_bound <= planned.led


@given(steps())
@settings(max_examples=40, deadline=None)
def test_without_any_searching_the_next_table_is_good_all_the_same(step: tuple[Assignment, Wanted]) -> None:
    table, wish = step
    planned = plan(wish, table, effort=0)
    assert_good(planned.table, wish)
    share = shares(wish, reach=max(table.holders))
    assert not planned.proven or planned.moves == fewest_moves(table, share)


@given(steps())
@settings(max_examples=40, deadline=None)
def test_a_table_that_was_planned_stays_as_it_is(step: tuple[Assignment, Wanted]) -> None:
    table, wish = step
    settled = plan(wish, table).table
    again = plan(wish, settled)
    assert (again.table, again.moves, again.led) == (settled, 0, 0)


# ---------------------------------------------------------------------------------------------------- larger maps reach the lower bound


@pytest.fixture(scope="module")
def hundred() -> Assignment:
    return plan(wanted(cluster(100))).table


@pytest.mark.parametrize(
    ("event", "after"),
    [
        ("one joins", cluster(101)),
        ("five join", cluster(105)),
        ("one leaves", cluster(100)[:-1]),
        ("five leave", cluster(100)[5:]),
        ("a rack is lost", tuple(m for m in cluster(100) if m.rack != "r3")),
        ("one is replaced in its rack", tuple(m for m in cluster(101) if m.id != 95)),
        ("ten get twice the weight", tuple(replace(m, weight=2.0 if m.id < 10 else 1.0) for m in cluster(100))),
    ],
)
def test_a_hundred_members_move_the_lower_bound(hundred: Assignment, event: str, after: tuple[Member, ...]) -> None:
    planned = plan(wanted(after), hundred)
    assert_good(planned.table, wanted(after))
    assert (planned.moves, planned.proven) == (planned.bound, True)
    assert planned.led_proven
    assert planned.led <= planned.led_bound * 1.1


def test_a_first_table_gives_each_member_partners_everywhere() -> None:
    members = cluster(100)
    partners: dict[int, set[int]] = {}
    for row in plan(wanted(members)).table.rows():
        for member in row:
            partners.setdefault(member, set()).update(row)
    assert min(map(len, partners.values())) > 60


def test_odd_shards_go_to_others_in_another_map() -> None:
    members = cluster(10)
    extra = Counter[int]()
    for salt in range(40):
        held = plan(wanted(members, slots=64, replicas=1, salt=salt)).table.held()
        extra.update(member for member, count in held.items() if count == 7)
    assert sum(extra.values()) == 40 * 4
    assert len(extra) == 10
    assert max(extra.values()) < 30


def test_a_member_that_gets_no_weight_is_emptied() -> None:
    before = plan(wanted(cluster(10), slots=64)).table
    emptied = tuple(replace(m, weight=0.0 if m.id == 3 else 1.0) for m in cluster(10))
    planned = plan(wanted(emptied, slots=64), before)
    assert 3 not in planned.table.holders
    assert planned.moves == before.held()[3]


def test_where_the_primary_is_gone_a_holder_of_the_data_follows() -> None:
    before = plan(wanted(cluster(50))).table
    planned = plan(wanted(cluster(50)[1:]), before)
    followed = [change for change in changes(before, planned.table) if change.before[0] == 0]
    already = sum(change.after[0] in change.before for change in followed)
    assert already >= len(followed) / 2


# ---------------------------------------------------------------------------------------------------- what cannot be had is said


def test_too_few_racks_are_said_and_hosts_kept_apart() -> None:
    members = tuple(Member(id=n, rack=f"r{n % 2}", host=f"h{n // 2}") for n in range(8))
    wish = wanted(members, slots=64)
    planned = plan(wish)
    assert_good(planned.table, wish)
    assert [f.reason for f in planned.findings] == ["TooFewRacks"]
    by_id = {m.id: m for m in members}
    for row in planned.table.rows():
        assert {by_id[m].rack for m in row} == {"r0", "r1"}
        assert len({(by_id[m].rack, by_id[m].host) for m in row}) == 3


def test_a_rack_that_is_too_large_is_said_and_holds_its_share() -> None:
    members = tuple(Member(id=n, name=f"m{n}", rack="big" if n < 5 else f"r{n % 3}", host=f"h{n}") for n in range(10))
    planned = plan(wanted(members, slots=64))
    assert [f.reason for f in planned.findings] == ["RackTooLarge"]
    assert "rack big has 50 % of the weight" in planned.findings[0].message
    assert 95 <= sum(planned.table.held()[n] for n in range(5)) <= 97


def test_a_required_spread_is_kept_and_the_smaller_share_said() -> None:
    members = tuple(Member(id=n, name=f"m{n}", rack="big" if n < 5 else f"r{n % 3}", host=f"h{n}") for n in range(10))
    planned = plan(wanted(members, slots=64, spread=Spread(level=SpreadLevel.RACK, required=True)))
    assert [f.reason for f in planned.findings] == ["RackTooLarge"]
    assert "less than their share" in planned.findings[0].message
    assert sum(planned.table.held()[n] for n in range(5)) == 64


def test_replicas_that_met_move_apart_when_a_third_rack_comes() -> None:
    two = tuple(Member(id=n, rack=f"r{n % 2}", host=f"h{n}") for n in range(8))
    before = plan(wanted(two, slots=64)).table
    three = (*two, *(Member(id=n, rack="r2", host=f"h{n}") for n in range(8, 12)))
    planned = plan(wanted(three, slots=64), before)
    assert planned.findings == ()
    rack = {m.id: m.rack for m in three}
    assert all(len({rack[m] for m in row}) == 3 for row in planned.table.rows())
    assert planned.moves == planned.bound == 64


def test_replicas_are_added_and_dropped() -> None:
    members = cluster(10)
    two = plan(wanted(members, slots=64, replicas=2)).table
    three = plan(wanted(members, slots=64), two)
    assert three.moves == 64
    back = plan(wanted(members, slots=64, replicas=2), three.table)
    assert_good(back.table, wanted(members, slots=64, replicas=2))


@pytest.mark.parametrize(
    ("change", "path", "words"),
    [
        ({"slots": 48}, "/partitionings/shards", "power of two"),
        ({"slots": 131_072}, "/partitionings/shards", "65536"),
        ({"replicas": 0}, "/replicas", "at least 1"),
        ({"members": ()}, "/replicas", "there are 0"),
        ({"members": cluster(2)}, "/replicas", "add members"),
        ({"members": (*cluster(4), Member(id=3))}, "/members", "given to 2 members"),
        ({"members": (*cluster(4), Member(id=-3))}, "/members", "not negative"),
        ({"members": (*cluster(4), Member(id=9, name="x", weight=-1.0))}, "/members/weight", "member x must be 0 or more"),
        ({"members": (*cluster(4), Member(id=9, weight=float("nan")))}, "/members/weight", "nan"),
        ({"members": tuple(replace(m, weight=0.0) for m in cluster(4))}, "/members/weight", "nobody may hold"),
        ({"members": cluster(9, racks=2), "spread": Spread(required=True)}, "/spread", "in distinct racks need 3 racks"),
        (
            {"members": tuple(replace(m, rack="", host="h") for m in cluster(5)), "spread": Spread(level=SpreadLevel.HOST, required=True)},
            "/spread",
            "need 3 hosts; the members are in 1",
        ),
    ],
)
def test_what_no_table_can_be_made_for_is_refused(change: dict[str, object], path: str, words: str) -> None:
    good = {"slots": 64, "replicas": 3, "members": cluster(6)}
    with pytest.raises(Invalid) as refused:
        Wanted(**{**good, **change})  # type: ignore[arg-type]
    assert [e.path for e in refused.value.errors] == [path]
    assert words in refused.value.errors[0].message

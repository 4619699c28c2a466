"""Balancing by measured load: left alone inside the band, brought well into it from outside, never more than the budget in a round."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from shuren.domain.shards.assignment import VACANT, Assignment, changes
from shuren.domain.shards.load import Balance, LoadPolicy, Reported, balance, weights_of
from shuren.domain.shards.members import Member, Wanted
from shuren.domain.shards.planner import plan
from shuren.domain.shards.shares import Shares, shares

_POLICY = LoadPolicy()


def _people(count: int, *, racks: int = 4, heavy: int = 0) -> tuple[Member, ...]:
    return tuple(Member(id=n, name=f"m{n}", rack=f"r{n % racks}", weight=2.0 if n < heavy else 1.0) for n in range(count))


def _world(slots: int, members: int, *, replicas: int = 2, heavy: int = 0) -> tuple[Assignment, Shares]:
    wanted = Wanted(slots=slots, replicas=replicas, members=_people(members, heavy=heavy))
    table = plan(wanted).table
    return table, shares(wanted, reach=max(table.holders))


def _ratios(table: Assignment, weights: Sequence[float], share: Shares) -> dict[int, float]:
    units = {m: one.units for m, one in share.members.items()}
    fair = {m: sum(weights) * unit / sum(units.values()) for m, unit in units.items()}
    load = dict.fromkeys(units, 0.0)
    for slot, member in enumerate(table.primaries):
        load[member] += weights[slot]
    return {m: load[m] / fair[m] if fair[m] else 0.0 for m in units}


def _valid(table: Assignment, share: Shares) -> None:
    for row in table.rows():
        zones = [share.zone[member] for member in row]
        assert VACANT not in row
        assert len(set(zones)) == len(zones)


_loads = st.lists(st.one_of(st.just(1.0), st.floats(0, 4), st.floats(0, 60)), min_size=64, max_size=64)


@settings(max_examples=40)
@given(weights=_loads, members=st.integers(5, 12), heavy=st.integers(0, 3), active=st.booleans())
def test_a_round(weights: list[float], members: int, heavy: int, active: bool) -> None:  # noqa: FBT001  given by name
    table, share = _world(64, members, heavy=heavy)
    made = balance(table, weights, share, active=active)
    _valid(made.table, share)
    before, after = _ratios(table, weights, share), _ratios(made.table, weights, share)
    assert made.churn <= max(1.0, _POLICY.budget * 64)
    assert max(after.values()) <= max(before.values()) + 1e-9
    assert {change.slot for change in changes(table, made.table)} == {shift.slot for shift in made.shifts}
    copied = sum(len(change.gained) for change in changes(table, made.table))
    assert copied == sum(shift.copies for shift in made.shifts)
    if max(before.values()) <= (_POLICY.until if active else _POLICY.above):
        assert made.shifts == ()
        assert not made.active
    assert made == balance(table, weights, share, active=active), "the same question, another answer"


@settings(max_examples=40)
@given(weights=_loads, members=st.integers(5, 12))
def test_rounds_come_to_an_end(weights: list[float], members: int) -> None:
    """Until nobody is above the inner edge of the band, or nothing helps; then nothing is moved any more."""
    table, share = _world(64, members)
    active, rounds = False, list[Balance]()
    while not rounds or rounds[-1].shifts:
        rounds.append(balance(table, weights, share, active=active))
        table, active = rounds[-1].table, rounds[-1].active
        assert len(rounds) < 64
    hottest = [one.hottest[1] for one in rounds]
    assert all(later <= earlier + 1e-9 for earlier, later in pairwise(hottest))


def test_the_band_has_two_edges() -> None:
    """Load that wavers about the outer edge does not send shards to and fro."""
    table, share = _world(64, 4)
    mine = [slot for slot, member in enumerate(table.primaries) if member == 0]

    def hot(ratio: float) -> list[float]:
        """Member 0 at so many times its share of 64."""
        return [ratio if slot in mine else (64 - 16 * ratio) / 48 for slot in range(64)]

    assert balance(table, hot(1.20), share).shifts == ()
    first = balance(table, hot(1.30), share, LoadPolicy(budget=0.02))
    assert first.shifts
    assert first.active, "one round's budget did not bring it to the inner edge"
    # it is below the outer edge by now, and goes on
    again = balance(first.table, hot(1.30), share, active=first.active)
    assert again.shifts
    assert not again.active
    assert again.hottest[1] <= _POLICY.until
    assert balance(again.table, hot(1.30), share, active=again.active).shifts == ()


def test_handing_over_comes_before_copying() -> None:
    table, share = _world(64, 6)
    mine = [slot for slot, member in enumerate(table.primaries) if member == 0]
    weights = [4.0 if slot in mine else 1.0 for slot in range(64)]
    made = balance(table, weights, share)
    assert made.shifts
    assert not made.shifts[0].copies
    assert made.churn < len(made.shifts)


def test_one_shard_that_is_too_hot_is_named() -> None:
    table, share = _world(16, 4)
    weights = [1.0] * 16
    weights[3] = 100.0
    table = balance(table, weights, share).table
    settled = balance(table, weights, share, active=True)
    assert [finding.reason for finding in settled.findings] == ["ShardTooHot"]
    assert "by shard 3: no move helps; split the map or the key" in settled.findings[0].message


def test_who_is_gone_is_replaced_whatever_the_budget() -> None:
    """Its shards go to standbys, their copies to the coolest; who is measured stays where it is."""
    table, _ = _world(64, 6)
    people = _people(6)[1:]
    share = shares(Wanted(slots=64, replicas=2, members=people), reach=5)
    made = balance(table, [1.0] * 64, share, LoadPolicy(budget=0.0))
    _valid(made.table, share)
    assert made.forced == sum(0 in row for row in table.rows())
    untouched = [slot for slot, row in enumerate(table.rows()) if 0 not in row and slot not in {shift.slot for shift in made.shifts}]
    assert all(made.table.row(slot) == table.row(slot) for slot in untouched)


def test_loads_from_what_members_say() -> None:
    table = Assignment.of([(0, 1), (0, 1), (0, 1), (1, 0), (2, 0)])
    reported = {0: Reported(total=10.0, hottest={1: 7.0, 3: 99.0}), 1: Reported(total=2.0)}
    # what another member leads is not for it to say; nobody speaks for member 2
    assert weights_of(table, reported) == [1.5, 7.0, 1.5, 2.0, 3.0]
    assert weights_of(table, {}) == [1.0] * 5
    assert weights_of(Assignment.of([(0,)]), {0: Reported(total=1.0, hottest={0: 5.0})}) == [5.0]


def test_a_skewed_load_comes_into_the_band() -> None:
    """A hundred members; the load of shards falls as one over their rank."""
    wanted = Wanted(slots=4096, replicas=3, members=_people(100, racks=10))
    table = plan(wanted).table
    share = shares(wanted)
    weights = [1 + 200 / (1 + slot * 2654435761 % 4096) for slot in range(4096)]
    made = balance(table, weights, share)
    again = balance(made.table, weights, share, active=made.active)
    assert again.hottest[1] < made.hottest[0]
    # two shards are hotter than a member's share: they are alone with their members, and named
    assert [finding.message.split(":")[0].rpartition(" ")[2] for finding in again.findings] == ["0", "3921"]
    assert len([ratio for ratio in _ratios(again.table, weights, share).values() if ratio > _POLICY.above]) == 2

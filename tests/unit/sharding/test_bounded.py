"""Nobody carries more than the bound allows, and keys stay where they are while it does."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from math import ceil

import pytest

from sharding_tables import even_table, members_of
from shuren.sharding.core import NOBODY, BoundedLoad, Member, NoMember, Rendezvous, Ring, Slots, Unusable, make_table

_MEMBERS = members_of(5)


def test_without_load_a_key_goes_where_the_router_says() -> None:
    ring = Ring(_MEMBERS)
    bounded = BoundedLoad(ring, _MEMBERS)
    for number in range(50):
        with bounded.taken(f"user:{number}") as member:
            assert member == ring.route(f"user:{number}")
    assert set(bounded.running.values()) == {0}


@pytest.mark.parametrize("factor", [1.01, 1.25, 3.0])
def test_one_hot_key_spreads_as_far_as_the_bound(factor: float) -> None:
    bounded = BoundedLoad(Ring(_MEMBERS), _MEMBERS, factor=factor)
    for total in range(1, 201):
        bounded.take("hot")
        assert max(bounded.running.values()) <= max(1, ceil(factor * total / 5))
    assert sum(bounded.running.values()) == 200


def test_the_bound_follows_weights() -> None:
    members = [replace(m, weight=m.number + 1) for m in _MEMBERS]
    bounded = BoundedLoad(Rendezvous(members), members)
    for _ in range(150):
        bounded.take("hot")
    assert all(bounded.running[m.id] <= ceil(1.25 * 150 * m.weight / 15) for m in members)


def test_overflow_goes_to_the_next_candidate_and_comes_back() -> None:
    ring = Ring(_MEMBERS)
    bounded = BoundedLoad(ring, _MEMBERS, factor=1.25)
    first, second, *_ = ring.candidates("hot")
    assert [bounded.take("hot"), bounded.take("hot")] == [first, second]
    bounded.done(first)
    assert bounded.take("hot") == first


def test_within_replicas_the_least_loaded_takes_what_nobody_should() -> None:
    table = even_table(_MEMBERS, 1, 2)
    bounded = BoundedLoad(Slots(table), _MEMBERS)
    taken = Counter(bounded.take("a").id for _ in range(10))
    assert taken == {"node-0": 5, "node-1": 5}


def test_a_shard_of_nobody_says_so_and_counts_nothing() -> None:
    bounded = BoundedLoad(Slots(make_table(shards=1, replicas=1, members=_MEMBERS, owners=[NOBODY])), _MEMBERS)
    with pytest.raises(NoMember):
        bounded.take("a")
    assert sum(bounded.running.values()) == 0


def test_threads_lose_no_count() -> None:
    bounded = BoundedLoad(Rendezvous(_MEMBERS), _MEMBERS)

    def work(thread: int) -> None:
        for number in range(300):
            with bounded.taken(f"{thread}:{number}"):
                pass

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert bounded.running == {m.id: 0 for m in _MEMBERS}


def test_refusals() -> None:
    ring = Ring(_MEMBERS)
    for factor in (1.0, 0.5, float("nan")):
        with pytest.raises(Unusable, match="above 1"):
            BoundedLoad(ring, _MEMBERS, factor=factor)
    with pytest.raises(Unusable, match="weight above 0"):
        BoundedLoad(ring, [])
    with pytest.raises(Unusable, match="no request that could be over"):
        BoundedLoad(ring, _MEMBERS).done(Member(id="stranger"))

"""Members that crash, lag, are cut off and come back, operators that stop, decide by old news and overlap, in any order."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shard_events import EVENTS, Interleaving

NAMES = tuple(EVENTS)
WEIGHTS = tuple(weight for weight, _ in EVENTS.values())
LIKELY = tuple(name for name, (weight, _) in EVENTS.items() for _ in range(max(1, round(weight))))
events = st.lists(st.tuples(st.sampled_from(LIKELY), st.integers(0, 59)), max_size=150)


@given(members=st.integers(3, 4), slots=st.sampled_from([1, 2, 8]), replicas=st.integers(1, 3), happening=events)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_any_order_of_events(members: int, slots: int, replicas: int, happening: list[tuple[str, int]]) -> None:
    one = Interleaving(members=members, slots=slots, replicas=replicas)
    for event, number in happening:
        one.happen(event, number)
    one.finish()


@pytest.mark.parametrize("seed", range(30))
def test_a_long_random_order(seed: int) -> None:
    chance = Random(seed)  # noqa: S311  repeatable by its seed
    one = Interleaving(members=chance.randint(3, 4), slots=chance.choice([1, 2, 4]), replicas=chance.randint(1, 3))
    for event in chance.choices(NAMES, WEIGHTS, k=300):
        one.happen(event, chance.randrange(60))
    one.finish()

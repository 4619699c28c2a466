"""Placement constraints, each operator."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_room import Room, agent
from shuren.sandbox.agents.agent import Agent
from shuren.sandbox.engine.constraints import Placement, overfull

HOSTS = [
    agent("127.0.0.1", attributes={"rack": "r1"}, region="eu", zone="a"),
    agent("127.0.0.2", attributes={"rack": "r1"}, region="eu", zone="b"),
    agent("127.0.0.3", attributes={"rack": "r2"}, region="us", zone="c"),
    agent("127.0.0.4"),
]


def made() -> list[Agent]:
    return [Agent(f"S{i}", spec, index=i, registered_at=0.0) for i, spec in enumerate(HOSTS)]


def allowed(constraint: list[str], placed: list[int]) -> list[int]:
    agents = made()
    placement = Placement([constraint], [agents[i] for i in placed])
    return [i for i, a in enumerate(agents) if placement.allows(a)]


@pytest.mark.parametrize(
    ("constraint", "placed", "expected"),
    [
        (["hostname", "UNIQUE"], [0, 2], [1, 3]),
        (["rack", "UNIQUE"], [0], [2]),
        (["hostname", "CLUSTER", "127.0.0.2"], [], [1]),
        (["rack", "CLUSTER"], [], [0, 1, 2]),
        (["rack", "CLUSTER"], [1], [0, 1]),
        (["hostname", "LIKE", r"127\.0\.0\.[12]"], [], [0, 1]),
        (["hostname", "LIKE", "127"], [], []),
        (["rack", "UNLIKE", "r1"], [], [2, 3]),
        (["hostname", "MAX_PER", "2"], [0, 0, 1], [1, 2, 3]),
        (["rack", "IS", "r2"], [], [2]),
        (["@zone", "IS", "b"], [], [1]),
        (["@region", "UNIQUE"], [0], [2]),
        (["rack", "GROUP_BY"], [0], [0, 1, 2]),  # without a number one group is enough
        (["rack", "GROUP_BY", "2"], [0], [2]),
        (["rack", "GROUP_BY"], [0, 2], [0, 1, 2]),
        (["rack", "GROUP_BY"], [0, 1, 2], [2]),
        (["rack", "GROUP_BY", "3"], [0, 2], []),
        (["hostname", "unique"], [], []),
    ],
)
def test_where_one_more_may_go(constraint: list[str], placed: list[int], expected: list[int]) -> None:
    assert allowed(constraint, placed) == expected


@pytest.mark.parametrize(
    ("attribute", "constraint", "fits"),
    [
        ("1.0", ["x", "IS", "1"], True),
        ("1", ["x", "IS", "1.00"], True),
        ("1", ["x", "LIKE", "1"], True),
        ("1.0", ["x", "LIKE", r"1\.0"], False),
        ("[5-6,1-3]", ["x", "LIKE", r"\[1-3,5-6\]"], True),
        ("r1", ["x", "LIKE", r"(?<letter>\p{Lower})\d"], True),
        ("r1", ["x", "LIKE", ""], False),
        ("r1", ["x", "UNLIKE", ""], False),
    ],
)
def test_attributes_are_compared_as_mesos_reads_them(attribute: str, constraint: list[str], *, fits: bool) -> None:
    one = Agent("a", agent("h1", attributes={"x": attribute}), index=0, registered_at=0)
    assert Placement([constraint], []).allows(one) is fits


def test_all_constraints_must_hold() -> None:
    agents = made()
    placement = Placement([["rack", "IS", "r1"], ["hostname", "UNIQUE"]], [agents[0]])
    assert [a.hostname for a in agents if placement.allows(a)] == ["127.0.0.2"]


@given(st.lists(st.sampled_from("abc"), max_size=30))
def test_giving_up_keeps_groups_balanced(values: list[str]) -> None:
    order = overfull([["rack", "GROUP_BY"]], [lambda _, v=v: v for v in values])  # type: ignore[misc]
    assert sorted(order) == list(range(len(values)))
    left = Counter(values)
    for index in order:
        assert left[values[index]] == max(left.values())
        left[values[index]] -= 1
    assert overfull([["rack", "UNIQUE"]], [lambda _: "a"]) == []


async def test_unique_with_more_instances_than_hosts_waits(tmp_path: Path) -> None:
    room = Room(tmp_path, agents=HOSTS)
    await room.put("/a", instances=6, constraints=[["hostname", "UNIQUE"]])
    room.advance(30)
    assert room.running("/a") == 4
    assert len({t["host"] for t in room.tasks("/a")}) == 4
    assert room.queue()[0]["count"] == 2
    await room.close()


async def test_scale_down_under_group_by_takes_from_the_fullest(tmp_path: Path) -> None:
    room = Room(tmp_path, agents=HOSTS[:3])
    await room.settled("/a", instances=3, constraints=[["rack", "GROUP_BY"]], killSelection="OLDEST_FIRST")
    racks = {"127.0.0.1": "r1", "127.0.0.2": "r1", "127.0.0.3": "r2"}
    await room.settled("/a", instances=2, constraints=[["rack", "GROUP_BY"]], killSelection="OLDEST_FIRST")
    assert sorted(racks[t["host"]] for t in room.tasks("/a")) == ["r1", "r2"]
    await room.close()


def test_instances_on_hosts_without_the_attribute_are_a_group_of_their_own() -> None:
    """As in Marathon: they hold up CLUSTER, and count among the groups of GROUP_BY."""
    bare, one = (
        Agent("b", agent("h1"), index=0, registered_at=0),
        Agent("o", agent("h2", attributes={"rack": "1"}), index=1, registered_at=0),
    )
    assert not Placement([["rack", "CLUSTER"]], [bare]).allows(one)
    assert Placement([["rack", "CLUSTER"]], [one]).allows(one)
    assert not Placement([["rack", "GROUP_BY"]], [one, one, bare]).allows(one)
    assert Placement([["rack", "GROUP_BY"]], [one, bare]).allows(one)

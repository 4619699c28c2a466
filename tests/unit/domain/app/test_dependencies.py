"""Circles in `dependsOn`."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuren.domain.app.dependencies import circle


@pytest.mark.parametrize(
    ("edges", "found"),
    [
        ({}, ()),
        ({"a": ["b"], "b": ["c"]}, ()),
        ({"a": ["a"]}, ("a", "a")),
        ({"a": ["b"], "b": ["a"]}, ("a", "b", "a")),
        ({"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": []}, ()),
        ({"a": ["b", "d"], "b": ["c"], "c": ["a"], "d": ["a"]}, ("a", "d", "a")),
        ({"a": ["b"], "b": ["c"], "c": ["b"]}, ()),
    ],
    ids=["alone", "a chain", "itself", "each other", "a diamond", "the shortest of two", "a circle of others"],
)
def test_circles_through_the_start(edges: dict[str, list[str]], found: tuple[str, ...]) -> None:
    assert circle("a", lambda name: edges.get(name, [])) == found


_graphs = st.dictionaries(st.sampled_from("abcde"), st.lists(st.sampled_from("abcde"), max_size=3), max_size=5)


@given(_graphs)
def test_what_is_found_is_a_circle_and_what_is_there_is_found(edges: dict[str, list[str]]) -> None:
    found = circle("a", lambda name: edges.get(name, []))
    if found:
        assert found[0] == found[-1] == "a"
        assert all(after in edges[before] for before, after in itertools.pairwise(found))
        assert len(set(found[:-1])) == len(found) - 1
        return
    reached, ahead = set(), ["a"]
    while ahead:
        for other in edges.get(ahead.pop(), []):
            if other not in reached:
                reached.add(other)
                ahead.append(other)
    assert "a" not in reached

"""The patch that `kubectl apply` would make."""

from __future__ import annotations

from typing import Any

import pytest

from shuren.cli.overlay import three_way

Json = dict[str, Any]


@pytest.mark.parametrize(
    ("before", "after", "patch"),
    [
        ({"spec": {"cmd": "a"}}, {"spec": {"cmd": "b"}}, {"spec": {"cmd": "b"}}),
        ({"spec": {"cmd": "a", "cpus": 1}}, {"spec": {"cmd": "a"}}, {"spec": {"cmd": "a", "cpus": None}}),
        ({"spec": {"env": {"A": "1", "B": "2"}}}, {"spec": {"env": {"B": "2"}}}, {"spec": {"env": {"A": None, "B": "2"}}}),
        ({}, {"spec": {"labels": {"x": "y"}}}, {"spec": {"labels": {"x": "y"}}}),
        ({"spec": {"args": ["a"]}}, {"spec": {"args": ["a", "b"]}}, {"spec": {"args": ["a", "b"]}}),
    ],
)
def test_what_was_applied_and_is_not_given_any_more_goes(before: Json, after: Json, patch: Json) -> None:
    assert three_way(before, after) == patch

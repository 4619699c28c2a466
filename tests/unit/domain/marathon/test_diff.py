"""Differences: what changed, what it would do, and what must not be shown."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from shuren.domain.marathon.diff import REDACTED, Difference, DifferenceKind, FieldChange, difference
from shuren.domain.marathon.normalise import normalise
from strategies import definitions

_BASE: dict[str, Any] = {"id": "/a", "cmd": "sleep 1", "env": {"A": "1", "PASSWORD": "old"}, "labels": {"a/b": "1"}}


def _between(**fields: Any) -> Difference:
    return difference(normalise({**_BASE, **fields}), normalise(_BASE))


@given(definitions)
def test_nothing_differs_from_itself(definition: dict[str, Any]) -> None:
    own = normalise(definition)
    assert not difference(own, own)
    assert difference(own, own).kind is DifferenceKind.NONE


@given(definitions, definitions)
def test_nothing_is_shown_of_a_secret(one: dict[str, Any], other: dict[str, Any]) -> None:
    changes = difference(normalise(one), normalise(other), secret=["/cmd", "/env", "/labels"]).changes
    for change in changes:
        if change.path.startswith(("/cmd", "/env", "/labels")):
            assert change.before in (None, REDACTED)
            assert change.after in (None, REDACTED)


@given(definitions, definitions)
def test_what_is_ignored_and_what_is_not_make_the_whole(one: dict[str, Any], other: dict[str, Any]) -> None:
    whole = difference(normalise(one), normalise(other))
    assert difference(normalise(one), normalise(other), ignore=["/labels"]) == whole.without("/labels")


def test_only_instances_is_a_scale() -> None:
    assert _between(instances=4).kind is DifferenceKind.SCALE
    assert _between(instances=4, cpus=2).kind is DifferenceKind.CONFIG


@pytest.mark.parametrize("field", [{"labels": {"a/b": "2"}}, {"cmd": "sleep 2"}, {"cpus": 0.5}, {"killSelection": "OLDEST_FIRST"}])
def test_any_other_field_is_a_change_of_configuration(field: dict[str, Any]) -> None:
    assert _between(**field).kind is DifferenceKind.CONFIG


def test_paths_are_json_pointers() -> None:
    assert [c.path for c in _between(labels={"a/b": "2"}).changes] == ["/labels/a~1b"]


def test_a_service_port_left_to_marathon_equals_any() -> None:
    desired = normalise(_BASE)
    actual = normalise({**_BASE, "portDefinitions": [{"port": 10003, "name": "default"}]})
    assert not difference(desired, actual)
    assert difference(actual, desired)


def test_a_service_port_in_a_mapping_too() -> None:
    bridge = {"networks": [{"mode": "container/bridge"}]}
    desired = normalise({**_BASE, **bridge, "container": {"type": "MESOS", "portMappings": [{"containerPort": 80}]}})
    actual = normalise({**_BASE, **bridge, "container": {"type": "MESOS", "portMappings": [{"containerPort": 80, "servicePort": 10001}]}})
    assert not difference(desired, actual)


def test_a_fixed_port_must_be_that_port() -> None:
    one = normalise({**_BASE, "ports": [9000]})
    assert difference(one, normalise({**_BASE, "ports": [9001]})).kind is DifferenceKind.CONFIG


def test_numbers_compare_as_numbers() -> None:
    assert not difference(normalise({**_BASE, "cpus": 1, "mem": 128}), normalise({**_BASE, "cpus": 1.0, "mem": 128.0}))


def test_a_wildcard_ignores_a_field_of_every_list_member() -> None:
    one = normalise({**_BASE, "portDefinitions": [{"labels": {"x": "1"}}, {"labels": {"x": "2"}}]})
    other = normalise({**_BASE, "portDefinitions": [{}, {}]})
    assert difference(one, other)
    assert not difference(one, other, ignore=["/portDefinitions/*/labels"])


def test_secret_values_are_hidden_also_when_they_come_or_go() -> None:
    assert [str(c) for c in difference(normalise({**_BASE, "env": {"A": "1"}}), normalise(_BASE), secret=["/env/PASSWORD"]).changes] == [
        "/env/PASSWORD: (secret) -> (absent)"
    ]


def test_long_values_are_shortened_for_people() -> None:
    assert len(str(FieldChange(path="/cmd", before=None, after="x" * 500))) < 120


def test_lists_of_another_length_are_shown_as_a_whole() -> None:
    (change,) = difference(normalise({**_BASE, "args": ["a", "b"], "cmd": None}), normalise({**_BASE, "args": ["a"], "cmd": None})).changes
    assert (change.path, change.before, change.after) == ("/args", ["a"], ["a", "b"])

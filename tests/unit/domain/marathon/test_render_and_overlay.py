"""Bodies for Marathon: complete ones, the one partial one, and fields that belong to somebody else."""

from __future__ import annotations

from typing import Any

from hypothesis import given

from shuren.domain.marathon.overlay import keep_ignored
from shuren.domain.marathon.render import full_body, scale_body
from strategies import definitions


def test_a_full_body_says_instances_and_the_role_the_app_lives_with() -> None:
    assert full_body({"id": "/a", "cmd": "x y"}, role="web") == {"id": "/a", "cmd": "x y", "instances": 1, "role": "web"}
    assert full_body({"id": "/a", "role": "*", "instances": 2}, role="web", instances=5) == {"id": "/a", "role": "*", "instances": 5}


@given(definitions)
def test_a_full_body_repeats_nothing_that_marathon_alone_may_say(definition: dict[str, Any]) -> None:
    body = full_body(definition)
    assert not body.keys() & {"version", "versionInfo", "tasks", "deployments", "residency"}
    assert None not in body.values()


def test_a_scale_repeats_what_a_partial_update_would_drop() -> None:
    actual: dict[str, Any] = {"id": "/a", "instances": 1, "cmd": "x y", "resourceLimits": {"cpus": 2.0}, "executorResources": {"cpus": 0.2}}
    assert scale_body(actual, 3) == {"instances": 3, "resourceLimits": {"cpus": 2.0}, "executorResources": {"cpus": 0.2}}
    assert scale_body({"id": "/a", "instances": 1}, 0) == {"instances": 0}


def test_ignored_fields_keep_the_value_that_is_there() -> None:
    actual: dict[str, Any] = {"id": "/b", "instances": 7, "labels": {"x": "theirs"}, "env": {}}
    body = keep_ignored(
        {"id": "/a", "instances": 1, "labels": {"y": "ours"}, "cmd": "z z"}, actual, ["/instances", "/labels/x", "/cmd", "/id"]
    )
    assert body == {"id": "/a", "instances": 7, "labels": {"y": "ours", "x": "theirs"}}


def test_ignored_list_members_count_where_both_have_them() -> None:
    actual: dict[str, Any] = {"portDefinitions": [{"port": 1, "name": "a"}], "args": ["theirs"]}
    body = {"portDefinitions": [{"port": 2}, {"port": 3}], "args": ["ours", "x"]}
    assert keep_ignored(
        body,
        actual,
        ["/portDefinitions/0/name", "/portDefinitions/1/name", "/args/0", "/args/1", "/args/x/y", "/args/²", "/portDefinitions/²/x"],
    ) == {
        "portDefinitions": [{"port": 2, "name": "a"}, {"port": 3}],
        "args": ["theirs", "x"],
    }


def test_a_missing_parent_is_made_only_for_something_to_keep() -> None:
    assert keep_ignored({}, {"labels": {"x": "1"}}, ["/labels/x", "/env/y"]) == {"labels": {"x": "1"}}


def test_the_given_body_is_left_as_it_was() -> None:
    body = {"labels": {"a": "1"}}
    keep_ignored(body, {"labels": {"a": "2"}}, ["/labels/a"])
    assert body == {"labels": {"a": "1"}}

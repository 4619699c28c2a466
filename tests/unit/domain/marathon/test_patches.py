"""RFC 6902 over a definition: the operations, and refusals that say where."""

from __future__ import annotations

from typing import Any

import pytest

from shuren.domain.errors import Invalid
from shuren.domain.marathon.patches import patched

_APP: dict[str, Any] = {"id": "/a", "labels": {"a/b": "1"}, "args": ["x", "y"]}


def _apply(*operations: dict[str, Any]) -> dict[str, Any]:
    return patched(_APP, operations)


@pytest.mark.parametrize(
    ("operation", "field", "value"),
    [
        ({"op": "add", "path": "/cmd", "value": "z z"}, "cmd", "z z"),
        ({"op": "add", "path": "/labels/n", "value": "2"}, "labels", {"a/b": "1", "n": "2"}),
        ({"op": "add", "path": "/args/1", "value": "m"}, "args", ["x", "m", "y"]),
        ({"op": "add", "path": "/args/-", "value": "z"}, "args", ["x", "y", "z"]),
        ({"op": "add", "path": "/args/2", "value": "z"}, "args", ["x", "y", "z"]),
        ({"op": "replace", "path": "/labels/a~1b", "value": "9"}, "labels", {"a/b": "9"}),
        ({"op": "replace", "path": "/args/0", "value": "w"}, "args", ["w", "y"]),
        ({"op": "remove", "path": "/args/0"}, "args", ["y"]),
        ({"op": "remove", "path": "/labels/a~1b"}, "labels", {}),
        ({"op": "move", "from": "/args/0", "path": "/args/1"}, "args", ["y", "x"]),
        ({"op": "copy", "from": "/args", "path": "/labels/copied"}, "labels", {"a/b": "1", "copied": ["x", "y"]}),
        ({"op": "test", "path": "/args/1", "value": "y"}, "args", ["x", "y"]),
    ],
    ids=lambda value: f"{value['op']} {value['path']}" if isinstance(value, dict) and "op" in value else None,
)
def test_operations(operation: dict[str, Any], field: str, value: object) -> None:
    assert _apply(operation)[field] == value


def test_they_apply_in_order_and_change_nothing_in_place() -> None:
    assert _apply({"op": "add", "path": "/env", "value": {}}, {"op": "add", "path": "/env/A", "value": "1"})["env"] == {"A": "1"}
    assert "env" not in _APP


@pytest.mark.parametrize(
    ("operation", "why"),
    [
        ({"op": "replace", "path": "/id", "value": "/b"}, "the id cannot be patched"),
        ({"op": "remove", "path": "/id"}, "the id cannot be patched"),
        ({"op": "move", "from": "/id", "path": "/cmd"}, "the id cannot be patched"),
        ({"op": "replace", "path": "/nothing", "value": 1}, "there is nothing at /nothing"),
        ({"op": "remove", "path": "/args/7"}, "there is nothing at /args/7"),
        ({"op": "add", "path": "/args/9", "value": "x"}, "nothing can be added at /args/9"),
        ({"op": "add", "path": "/args/²", "value": "x"}, "nothing can be added at /args/²"),
        ({"op": "add", "path": "/args/00", "value": "x"}, "nothing can be added at /args/00"),
        ({"op": "add", "path": "/cmd/-", "value": "x"}, "nothing can be added at /cmd/-"),
        ({"op": "replace", "path": "/args/" + "9" * 5000, "value": "x"}, "there is nothing at /args/9"),
        ({"op": "remove", "path": "/args/²"}, "there is nothing at /args/²"),
        ({"op": "add", "path": "/nothing/x", "value": "x"}, "there is nothing at /nothing/x"),
        ({"op": "add", "path": "/id/x", "value": "x"}, "the id cannot be patched"),
        ({"op": "add", "path": "cmd", "value": "x"}, "must be a JSON pointer"),
        ({"op": "add", "path": "", "value": {}}, "must be a JSON pointer"),
        ({"op": "add", "path": "/cmd"}, "add needs a value"),
        ({"op": "test", "path": "/args/0", "value": "z"}, "test of /args/0 failed"),
        ({"op": "move", "from": "/labels", "path": "/labels/x"}, "into itself"),
        ({"op": "merge", "path": "/x", "value": 1}, "op must be"),
        ({"path": "/x", "value": 1}, "op must be"),
    ],
)
def test_refusals_name_the_operation_and_the_reason(operation: dict[str, Any], why: str) -> None:
    with pytest.raises(Invalid, match=why) as caught:
        _apply({"op": "add", "path": "/cmd", "value": "z z"}, operation)
    assert caught.value.errors[0].path == "spec.patches[1]"


def test_copying_the_id_elsewhere_is_no_patch_of_it() -> None:
    assert _apply({"op": "copy", "from": "/id", "path": "/labels/id"})["labels"]["id"] == "/a"

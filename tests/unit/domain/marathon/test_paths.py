"""App ids: what Marathon accepts (recorded), and how they become absolute."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuren.domain.marathon.paths import absolute, default_id, id_errors, parent, within
from strategies import app_ids, segments

_IDS = Path(__file__).parents[3] / "contract" / "engine" / "transcripts" / "ids.jsonl"


def _recorded() -> list[tuple[str, str]]:
    """Ids with what Marathon made of them; without refusals that speak of another app in the way, not of the id."""
    found = []
    for line in _IDS.read_text().splitlines():
        row = json.loads(line)
        body = json.loads(row["request"]["body"] or "{}")
        if row["request"]["method"] == "POST" and isinstance(body.get("id"), str) and "same identifier" not in line:
            # 409 means that it was read as an id that existed already
            found.append((body["id"], "accepted" if row["response"]["status"] in (201, 409) else "refused"))
    return found


_RESOLVED = {"/a//b", "/./a", "./a"}
"""Refused as written, but good once made absolute, as every id of ours is before it is sent."""


@pytest.mark.parametrize(("written", "verdict"), _recorded())
def test_ids_are_judged_as_marathon_did(written: str, verdict: str) -> None:
    good = id_errors(absolute(written), field="spec.id") == ()
    assert good is (verdict == "accepted" or written in _RESOLVED)


@given(app_ids)
def test_good_ids_are_good_and_absolute_already(app_id: str) -> None:
    assert id_errors(app_id, field="spec.id") == ()
    assert absolute(app_id) == app_id
    assert absolute(app_id.lstrip("/")) == app_id


@given(st.text(alphabet="ab/.", max_size=12))
def test_absolute_is_idempotent(path: str) -> None:
    assert absolute(absolute(path)) == absolute(path)


@given(segments, segments)
def test_the_default_id_names_one_resource_only(namespace: str, name: str) -> None:
    app_id = default_id(namespace, name)
    assert parent(app_id) == f"/{namespace}"
    assert app_id.split("/")[1:] == [namespace, name]


def test_relative_ids_begin_at_the_base() -> None:
    assert absolute("../x", "/a/b") == "/a/x"
    assert absolute("x", "/a") == "/a/x"
    assert absolute("../../../x", "/a") == "/x"
    assert parent("/a") == "/"


@pytest.mark.parametrize(
    ("path", "prefix", "inside"),
    [("/a/b", "/a", True), ("/a", "/a", True), ("/a", "/a/", True), ("/ab", "/a", False), ("/b", "/", True), ("/a", "/a/b", False)],
)
def test_prefixes_count_by_whole_segments(path: str, prefix: str, inside: object) -> None:
    assert within(path, prefix) is inside


@pytest.mark.parametrize("path", ["/", "a", "", "/A", "/a/restart", "/a/tasks", "/a/versions", "/-a", "/a-", "/中"])
def test_refusals_name_the_field(path: str) -> None:
    (error,) = id_errors(path, field="spec.id")
    assert error.path == "spec.id"
    assert error.message

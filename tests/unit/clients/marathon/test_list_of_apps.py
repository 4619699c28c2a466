"""The list of apps, read one app at a time: the same values as from the whole document, whatever the text looks like."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuren.clients.marathon import parse
from strategies import definitions

_VERSION = {"version": "2026-01-01T00:00:00.000Z"}
_documents = st.lists(definitions.map(lambda d: {**d, **_VERSION, "instances": 1}), max_size=4)


@given(_documents, st.sampled_from([None, 2]), st.booleans())
def test_it_is_what_the_whole_document_says(documents: list[dict[str, Any]], indent: int | None, plain: object) -> None:
    text = json.dumps({"apps": documents}, indent=indent, ensure_ascii=bool(plain))
    assert tuple(parse.apps_text(text.encode())) == parse.apps({"apps": documents})


@pytest.mark.parametrize("text", ['{"apps":[]}', ' { "apps" : [ ] } ', '{"apps":[],"more":1}', '{"more":1,"apps":[]}'])
def test_an_empty_list_is_empty_in_any_spelling(text: str) -> None:
    assert tuple(parse.apps_text(text.encode())) == ()


def test_more_keys_beside_the_list_do_no_harm() -> None:
    assert [app.id for app in parse.apps_text(b'{"apps":[{"id":"/a","version":"v","instances":1}],"more":[]}')] == ["/a"]


@pytest.mark.parametrize(
    "text",
    ["", "{", '{"apps":[', '{"apps":[{"id":"/a","version":"v","instances":1}', '{"apps":[{"id":"/a"', '{"apps":[{},]}', '{"apps":[]'],
)
def test_a_text_that_is_cut_short_is_refused(text: str) -> None:
    with pytest.raises((ValueError, parse.Malformed)):
        tuple(parse.apps_text(text.encode()))


@pytest.mark.parametrize("text", ["[]", "5", '{"apps":{}}', '{"apps":[5]}', '{"apps":[{"id":"/a"}]}', '{"message":"no"}'])
def test_another_document_is_malformed(text: str) -> None:
    with pytest.raises(parse.Malformed):
        tuple(parse.apps_text(text.encode()))


def test_equal_strings_are_held_once() -> None:
    one, two = parse.apps_text(
        json.dumps({"apps": [{"id": f"/{n}", "version": "v1", "instances": 1, "cmd": "sleep 1000"} for n in "ab"]}).encode()
    )
    assert one.definition["cmd"] is two.definition["cmd"]

"""The cache of encoded definitions."""

from __future__ import annotations

import json

from shuren.sandbox.http.pieces import Pieces


def test_a_replaced_definition_is_encoded_again() -> None:
    pieces = Pieces()
    first, second = {"id": "/a", "cpus": 1.0}, {"id": "/a", "cpus": 2.0}
    for app in (first, first, second, first):
        assert json.loads(pieces.list("apps", [(app, {"tasks": []})])) == {"apps": [app | {"tasks": []}]}


def test_what_is_listed_no_more_is_not_kept_for_ever() -> None:
    pieces = Pieces()
    pieces.list("apps", (({"id": f"/a{i}"}, {"n": i}) for i in range(3000)))
    assert pieces.list("apps", [({"id": "/a1"}, {"n": 1})]) == b'{"apps":[{"id":"/a1","n":1}]}'
    assert len(pieces._kept) == 0


def test_nothing_to_list() -> None:
    assert Pieces().list("apps", []) == b'{"apps":[]}'

"""The veil over secret values in texts."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuren.domain.app.secrecy import Veil, values_in_environment
from shuren.domain.json import Document
from shuren.domain.marathon.diff import Difference, FieldChange

_VALUES = st.text(alphabet=st.characters(codec="utf-8"), min_size=4, max_size=40)


@given(_VALUES, st.text(alphabet=st.characters(codec="utf-8")), st.text(alphabet=st.characters(codec="utf-8")), st.booleans())
def test_a_value_is_never_left_in_a_text(value: str, before: str, after: str, as_json: object) -> None:
    quoted = json.dumps(value, ensure_ascii=bool(as_json))[1:-1]
    veil = Veil(frozenset({value}))
    assert value not in veil.over(before + value + after).replace("(secret)", "")
    assert quoted not in veil.over(before + quoted + after).replace("(secret)", "")


@given(st.text())
def test_without_values_nothing_changes(text: str) -> None:
    assert Veil().over(text) == text
    assert Veil(frozenset({""})).over(text) == text


@pytest.mark.parametrize(
    ("value", "text", "expected"),
    [
        ("geheim", "PASSWORD=geheim failed", "PASSWORD=(secret) failed"),
        ("geheim", base64.b64encode(b"geheim").decode(), "(secret)"),
        ("abc", "abc abcd 'abc'", "(secret) abcd '(secret)'"),
        ("1", "1 of 10 in v1", "(secret) of 10 in v1"),
        ("geheimnis", "the message was cut: gehei", "the message was cut: (secret)"),
        ("geheimnis", "in die Luft geh", "in die Luft geh"),
        ("-----BEGIN KEY-----\nMIIEpAIBAAKCAQEA\n-----END KEY-----", "line 2: MIIEpAIBAAKCAQEA is bad", "line 2: (secret) is bad"),
        ("中文密码", "密码是中文密码", "密码是(secret)"),
        ("a.*b", "a.*b aXXb", "(secret) aXXb"),
    ],
)
def test_forms_of_a_value(value: str, text: str, expected: str) -> None:
    assert Veil(frozenset({value})).over(text) == expected


def test_the_longer_of_two_values_goes_first() -> None:
    assert Veil(frozenset({"secret", "secret-and-more"})).over("secret-and-more") == "(secret)"


def test_changes_that_hold_a_value_are_hidden_whole() -> None:
    veil = Veil(frozenset({"geheim", "4711"}))
    gap = Difference(
        changes=(
            FieldChange(path="/a", before={"k": ["x", "a geheim"]}, after=None),
            FieldChange(path="/b", before=4711, after=True),
            FieldChange(path="/c", before="x", after=None),
        )
    )
    assert [(c.before, c.after) for c in veil.over_changes(gap).changes] == [("(secret)", None), ("(secret)", True), ("x", None)]
    assert Veil().over_changes(gap) is gap


def test_the_values_that_marathon_holds() -> None:
    definition: Document = {"env": {"A": "1", "B/C": "2", "D": {"secret": "x"}, "E": ""}}
    assert values_in_environment(definition) == {"1", "2"}
    assert values_in_environment(definition, only=["/env/B~1C", "/env/missing"]) == {"2"}
    assert values_in_environment({"env": []}) == frozenset()


def test_a_veil_does_not_show_what_it_hides() -> None:
    assert "geheim" not in repr(Veil(frozenset({"geheim"})))

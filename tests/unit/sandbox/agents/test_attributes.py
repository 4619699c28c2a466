from __future__ import annotations

import pytest

from shuren.sandbox.agents.agent import AgentSpec
from shuren.sandbox.agents.attributes import Attribute, number, wanted


@pytest.mark.parametrize(
    ("text", "shown", "typed"),
    [
        ("1", "1", {"type": "SCALAR", "scalar": {"value": 1.0}}),
        ("1.50", "1.5", {"type": "SCALAR", "scalar": {"value": 1.5}}),
        ("r1", "r1", {"type": "TEXT", "text": {"value": "r1"}}),
        ("1.2.3", "1.2.3", {"type": "TEXT", "text": {"value": "1.2.3"}}),
        ("[5-6, 1-3]", "[1-3,5-6]", {"type": "RANGES", "ranges": {"range": [{"begin": 1, "end": 3}, {"begin": 5, "end": 6}]}}),
        ("[a", "[a", {"type": "TEXT", "text": {"value": "[a"}}),
    ],
)
def test_texts_have_types(text: str, shown: str, typed: dict[str, object]) -> None:
    attribute = Attribute.parse(text)
    assert attribute.shown() == shown
    assert attribute.typed("x") == {"name": "x", **typed}


def test_offers_and_old_endpoints_show_values() -> None:
    assert [Attribute.parse(text).old() for text in ("2", "r1", "[1-2]")] == [2.0, "r1", "[1-2]"]
    assert [Attribute.parse(text).offered("x") for text in ("2", "r1", "[1-2]")] == [
        {"name": "x", "scalar": 2.0},
        {"name": "x", "text": "r1"},
        {"name": "x", "ranges": [{"begin": 1, "end": 2}]},
    ]


def test_sets_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"attributes.x: '\{a,b\}' is a set"):
        AgentSpec.parse({"hostname": "127.0.0.2", "attributes": {"x": "{a,b}"}})


@pytest.mark.parametrize(
    ("value", "text"), [(1.0, "1"), (1.0005, "1"), (1.00051, "1.001"), (1.1005, "1.1"), (100.0, "100"), (0.0001, "0"), (-0.0001, "0")]
)
def test_numbers_are_printed_to_the_third_digit(value: float, text: str) -> None:
    assert number(value) == text


def test_only_plain_numbers_are_brought_into_form() -> None:
    assert [wanted(text) for text in ("1.0", "01", "1e3", "-1", "r1")] == ["1", "1", "1e3", "-1", "r1"]

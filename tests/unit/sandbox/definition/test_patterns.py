from __future__ import annotations

import warnings

import pytest

from shuren.sandbox.definition.patterns import compiles, java_pattern


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"(?<year>\d{4})-\k<year>", "2026-2026"),
        (r"\p{Alpha}+[\p{Digit}_]*", "rack_1"),
        (r"\P{Digit}+", "abc"),
        (r"\Qa.b*\E+", "a.b***"),
        (r"rack-[1-3]\z", "rack-2"),
        (r"(?<!x)a(?=b)b", "ab"),
        ("a}", "a}"),
    ],
)
def test_java_is_understood(pattern: str, text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        matched = java_pattern(pattern).match(text)
    assert matched is not None


@pytest.mark.parametrize("pattern", ["[", "*", "(?P<n>a)", "(?#a)", "a{,3}", "a{", r"\p{Nonsense}", "(a"])
def test_what_java_refuses_is_refused(pattern: str) -> None:
    assert not compiles(pattern)

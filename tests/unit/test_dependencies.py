"""The watch over dependencies can fail."""

from __future__ import annotations

from typing import Any

import pytest

from dependencies import advisories, licences, not_allowed


@pytest.mark.parametrize(
    ("expression", "wrong"),
    [
        ("MIT", []),
        ("Apache-2.0 OR GPL-3.0", []),
        ("Apache-2.0 AND MIT", []),
        ("MIT AND GPL-3.0", ["GPL-3.0"]),
        ("", [""]),
        ("Proprietary", ["Proprietary"]),
    ],
)
def test_which_licences_are_allowed(expression: str, wrong: list[str]) -> None:
    assert not_allowed(expression) == wrong


def test_every_pinned_package_says_an_allowed_licence() -> None:
    page, wrong = licences()
    assert wrong == []
    assert "| kopf |" in page


def test_an_advisory_fails_and_nothing_looked_up_is_told() -> None:
    bad: dict[str, Any] = {"name": "a", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"]}]}
    good: dict[str, Any] = {"name": "b", "version": "1", "vulns": []}
    skipped: dict[str, Any] = {"name": "c", "version": "1", "skip_reason": "not found"}
    assert advisories({"dependencies": [bad, good]}) == ("a 1: PYSEC-1, fixed in 2", False)
    assert advisories({"dependencies": [good, skipped]}) == ("1 of 2 packages looked up, no advisory", True)
    assert advisories({"dependencies": [skipped]}) == ("no advisory could be looked up from here: nothing was audited", True)

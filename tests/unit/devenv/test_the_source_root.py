"""`operator/` is a source root: as a package it would shadow the standard library's module of that name."""

from __future__ import annotations

import operator
from pathlib import Path

import shuren


def test_the_standard_librarys_operator_is_not_shadowed() -> None:
    root = Path(shuren.__file__).parents[1]
    assert root.name == "operator"
    assert not (root / "__init__.py").exists()
    assert operator.itemgetter(1)("ab") == "b"

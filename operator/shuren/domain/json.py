"""JSON as Python sees it. Documents are treated as values: nothing in `domain` changes one in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

JsonValue: TypeAlias = "str | int | float | bool | Sequence[JsonValue] | Mapping[str, JsonValue] | None"
Document: TypeAlias = Mapping[str, JsonValue]

"""JSON as Python sees it. Documents are treated as values: nothing in `domain` changes one in place."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

JsonValue: TypeAlias = "str | int | float | bool | Sequence[JsonValue] | Mapping[str, JsonValue] | None"
Document: TypeAlias = Mapping[str, JsonValue]


def pointer_parts(pointer: str) -> list[str]:
    """The keys and indices of a JSON pointer."""
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def pointer_index(part: str) -> int | None:
    """The index into a list that this part of a pointer is; None when it is none (RFC 6901: ASCII digits without leading zeros)."""
    return int(part) if _INDEX.fullmatch(part) else None


_INDEX = re.compile("0|[1-9][0-9]{0,8}")

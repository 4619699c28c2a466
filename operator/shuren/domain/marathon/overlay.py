"""Fields that belong to somebody else: kept as they are found."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from shuren.domain.json import Document, pointer_index, pointer_parts


def keep_ignored(body: Mapping[str, Any], actual: Document, pointers: Sequence[str]) -> dict[str, Any]:
    """`body` with the values that `actual` has at each JSON pointer (absent there: absent here).

    A pointer into a list counts only where both lists have that element; a missing parent object in `body` is created.
    """
    result: dict[str, Any] = copy.deepcopy(dict(body)) if pointers else dict(body)
    for pointer in pointers:
        parts = pointer_parts(pointer)
        if parts and parts[0] != "id":
            _keep(result, actual, parts)
    return result


def _keep(target: Any, source: Any, parts: Sequence[str]) -> None:  # noqa: C901, PLR0912 - objects and lists on both sides
    *upper, last = parts
    for part in upper:
        index = pointer_index(part)
        if isinstance(source, Mapping):
            source = source.get(part)
        elif isinstance(source, (list, tuple)) and index is not None and index < len(source):
            source = source[index]
        else:
            source = None
        if isinstance(target, dict):
            if part not in target:
                if not isinstance(source, Mapping):
                    return
                target[part] = {}
            target = target[part]
        elif isinstance(target, list) and index is not None and index < len(target):
            target = target[index]
        else:
            return
    if isinstance(target, dict):
        if isinstance(source, Mapping) and last in source:
            target[last] = copy.deepcopy(source[last])
        else:
            target.pop(last, None)
    elif isinstance(target, list) and isinstance(source, (list, tuple)):
        index = pointer_index(last)
        if index is not None and index < len(target) and index < len(source):
            target[index] = copy.deepcopy(source[index])

"""Fields that belong to somebody else: kept as they are found."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from shuren.domain.json import Document


def keep_ignored(body: Mapping[str, Any], actual: Document, pointers: Sequence[str]) -> dict[str, Any]:
    """`body` with the values that `actual` has at each JSON pointer (absent there: absent here).

    A pointer into a list counts only where both lists have that element; a missing parent object in `body` is created.
    """
    result: dict[str, Any] = copy.deepcopy(dict(body))
    for pointer in pointers:
        parts = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
        if parts and parts[0] != "id":
            _keep(result, actual, parts)
    return result


def _keep(target: Any, source: Any, parts: Sequence[str]) -> None:  # noqa: C901, PLR0912 - objects and lists on both sides
    *upper, last = parts
    for part in upper:
        if isinstance(source, Mapping):
            source = source.get(part)
        elif isinstance(source, (list, tuple)) and part.isdigit() and int(part) < len(source):
            source = source[int(part)]
        else:
            source = None
        if isinstance(target, dict):
            if part not in target:
                if not isinstance(source, Mapping):
                    return
                target[part] = {}
            target = target[part]
        elif isinstance(target, list) and part.isdigit() and int(part) < len(target):
            target = target[int(part)]
        else:
            return
    if isinstance(target, dict):
        if isinstance(source, Mapping) and last in source:
            target[last] = copy.deepcopy(source[last])
        else:
            target.pop(last, None)
    elif isinstance(target, list) and last.isdigit() and isinstance(source, (list, tuple)):
        index = int(last)
        if index < len(target) and index < len(source):
            target[index] = copy.deepcopy(source[index])

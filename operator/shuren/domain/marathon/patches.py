"""RFC 6902 JSON patches over a rendered definition: the way out for anything that is not modelled."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from shuren.domain.errors import FieldError, Invalid
from shuren.domain.json import Document, pointer_index, pointer_parts


def patched(definition: Document, operations: Sequence[Mapping[str, Any]], *, field: str = "spec.patches") -> dict[str, Any]:
    """The definition after all operations, in order.

    Raises Invalid with the index of the operation at fault (`spec.patches[2]`): unknown `op`, a path that is not there, a failed `test`, or
    any operation that would change `/id`, by which tenancy and ownership are judged.
    """
    document: Any = copy.deepcopy(dict(definition)) if operations else definition
    for index, operation in enumerate(operations):
        where = f"{field}[{index}]"
        try:
            document = _apply(document, operation)
        except _Refused as error:
            raise Invalid(f"{where}: {error}", errors=(FieldError(path=where, message=str(error)),)) from error
    return dict(document)


class _Refused(Exception):
    """Why an operation cannot be applied."""


def _apply(document: Any, operation: Mapping[str, Any]) -> Any:
    op, path = operation.get("op"), str(operation.get("path", ""))
    _not_id(path)
    match op:
        case "add" | "replace" | "test" if "value" not in operation:
            raise _Refused(f"{op} needs a value")
        case "add":
            return _add(document, path, copy.deepcopy(operation["value"]))
        case "replace":
            _find(document, path)
            return _add(_remove(document, path)[0], path, copy.deepcopy(operation["value"]))
        case "remove":
            return _remove(document, path)[0]
        case "test":
            if _find(document, path) != operation["value"]:
                raise _Refused(f"test of {path} failed: it has another value")  # not quoted: it may be secret
            return document
        case "move":
            source = str(operation.get("from", ""))
            _not_id(source)
            if path.startswith(source + "/"):
                raise _Refused(f"cannot move {source} into itself")
            rest, value = _remove(document, source)
            return _add(rest, path, value)
        case "copy":
            return _add(document, path, copy.deepcopy(_find(document, str(operation.get("from", "")))))
        case _:
            raise _Refused(f"op must be add, remove, replace, move, copy or test, not {op!r}")


def _not_id(path: str) -> None:
    if path == "/id" or path.startswith("/id/"):
        raise _Refused("the id cannot be patched; set spec.id")
    if not path.startswith("/"):
        raise _Refused(f"path must be a JSON pointer into the definition, beginning with /: {path!r}")


def _step(node: Any, part: str, path: str) -> Any:
    if isinstance(node, dict) and part in node:
        return node[part]
    index = pointer_index(part)
    if isinstance(node, list) and index is not None and index < len(node):
        return node[index]
    raise _Refused(f"there is nothing at {path}")


def _find(document: Any, path: str) -> Any:
    node = document
    for part in pointer_parts(path):
        node = _step(node, part, path)
    return node


def _parent(document: Any, path: str) -> tuple[Any, str]:
    *upper, last = pointer_parts(path)
    node = document
    for part in upper:
        node = _step(node, part, path)
    return node, last


def _add(document: Any, path: str, value: Any) -> Any:
    node, last = _parent(document, path)
    if isinstance(node, dict):
        node[last] = value
        return document
    if isinstance(node, list):
        index = len(node) if last == "-" else pointer_index(last)
        if index is not None and index <= len(node):
            node.insert(index, value)
            return document
    raise _Refused(f"nothing can be added at {path}")


def _remove(document: Any, path: str) -> tuple[Any, Any]:
    value = _find(document, path)
    node, last = _parent(document, path)
    if isinstance(node, dict):
        del node[last]
    else:
        del node[int(last)]
    return document, value

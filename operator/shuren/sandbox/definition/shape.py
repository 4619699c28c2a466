"""A small interpreter of interface descriptions: JSON in, the known fields out, or play-json's error codes with their paths.

A description is a value: `Text(min_length=1)`, `Obj((field("id", Text()), ...))`. Unknown keys are dropped, `null` is the same as absent.
Paths and codes follow play-json as Marathon 1.11 shows them: `/container/volumes(0)/mode` and `error.min`, and a missing required field as
`'mode' is undefined on object: {...}`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from .errors import Violation

INT32 = (-(2**31), 2**31 - 1)
INT64 = (-(2**63), 2**63 - 1)


def compact(value: Any) -> str:
    """JSON as play-json prints it in messages: no blanks, plain Unicode."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


class Shape(Protocol):
    """What a value must look like."""

    def read(self, value: Any, path: str, out: list[Violation]) -> Any:
        """The value in canonical form; appends what is wrong to `out`, in which case the result means nothing."""


def _fail(out: list[Violation], path: str, code: str) -> None:
    out.append(Violation(path=path, message=code))


@dataclass(frozen=True, kw_only=True)
class Text:
    """A string. `pattern` must match as a whole, lengths are in characters; `accept` is for what no pattern says well."""

    min_length: int = 0
    max_length: int | None = None
    pattern: str | None = None
    accept: Callable[[str], bool] | None = None

    def read(self, value: Any, path: str, out: list[Violation]) -> Any:
        if not isinstance(value, str):
            return _fail(out, path, "error.expected.jsstring")
        if len(value) < self.min_length:
            _fail(out, path, "error.minLength")
        if self.max_length is not None and len(value) > self.max_length:
            _fail(out, path, "error.maxLength")
        unmatched = self.pattern is not None and not re.fullmatch(self.pattern, value, re.ASCII)
        if unmatched or (self.accept is not None and not self.accept(value)):
            _fail(out, path, "error.pattern")
        return value


@dataclass(frozen=True, kw_only=True)
class Enum:
    """One of some literals, in any case; the result has the case of the description."""

    literals: tuple[str, ...]

    def read(self, value: Any, path: str, out: list[Violation]) -> Any:
        if not isinstance(value, str):
            return _fail(out, path, "error.expected.jsstring")
        for literal in self.literals:
            if literal.lower() == value.lower():
                return literal
        return _fail(out, path, "error.unknown.enum.literal")


@dataclass(frozen=True, kw_only=True)
class Bool:
    """`true` or `false`."""

    def read(self, value: Any, path: str, out: list[Violation]) -> Any:
        if not isinstance(value, bool):
            return _fail(out, path, "error.expected.jsboolean")
        return value


@dataclass(frozen=True, kw_only=True)
class Int:
    """A whole number within 32 bits (64 with `long`). `1.0` counts as whole, `1.5` and numbers out of range do not."""

    minimum: int | None = None
    maximum: int | None = None
    long: bool = False

    def read(self, value: Any, path: str, out: list[Violation]) -> Any:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return _fail(out, path, "error.expected.jsnumber")
        low, high = INT64 if self.long else INT32
        if not low <= value <= high or value != int(value):
            return _fail(out, path, "error.expected.long" if self.long else "error.expected.int")
        number = int(value)
        if self.minimum is not None and number < self.minimum:
            _fail(out, path, "error.min")
        if self.maximum is not None and number > self.maximum:
            _fail(out, path, "error.max")
        return number


def _double(value: float) -> float:
    """The nearest double; infinity for what lies beyond them, as in Java."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


@dataclass(frozen=True, kw_only=True)
class Double:
    """A floating point number; whole numbers become floats, so that they print with a fraction."""

    minimum: float | None = None
    maximum: float | None = None

    def read(self, value: Any, path: str, out: list[Violation]) -> Any:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return _fail(out, path, "error.expected.jsnumber")
        number = _double(value)
        if self.minimum is not None and number < self.minimum:
            _fail(out, path, "error.min")
        if self.maximum is not None and number > self.maximum:
            _fail(out, path, "error.max")
        return number


@dataclass(frozen=True, kw_only=True)
class Timestamp:
    """An ISO-8601 date and time with offset; the text is kept."""

    def read(self, value: Any, path: str, out: list[Violation]) -> Any:
        if not isinstance(value, str):
            return _fail(out, path, "error.expected.date.isoformat")
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return _fail(out, path, "error.expected.date.isoformat")
        if moment.tzinfo is None:
            return _fail(out, path, "error.expected.date.isoformat")
        return value


@dataclass(frozen=True, kw_only=True)
class Items:
    """A list. `unique` makes it a set: duplicates go, the first of each stays."""

    of: Shape
    unique: bool = False
    min_items: int = 0

    def read(self, value: Any, path: str, out: list[Violation]) -> Any:
        if not isinstance(value, list):
            return _fail(out, path, "error.expected.jsarray")
        if len(value) < self.min_items:
            _fail(out, path, "error.minLength")
        items = [self.of.read(item, f"{path}({index})", out) for index, item in enumerate(value)]
        return distinct(items) if self.unique else items


@dataclass(frozen=True, kw_only=True)
class MapOf:
    """An object with any keys and values of one shape. When all values are right, the keys must match `keys`."""

    of: Shape
    keys: str | None = None

    def read(self, value: Any, path: str, out: list[Violation]) -> Any:
        if not isinstance(value, dict):
            return _fail(out, path, "error.expected.jsobject")
        before = len(out)
        result = {key: self.of.read(item, f"{path}/{key}", out) for key, item in value.items()}
        if self.keys is not None and len(out) == before:
            for key in value:
                if not re.fullmatch(self.keys, key, re.ASCII):
                    _fail(out, f"{path}/{key}", "error.pattern")
        return result


@dataclass(frozen=True, kw_only=True)
class Field:
    """One key of an object. Absent (or null) optional fields get `default` when there is one, else stay absent."""

    name: str
    shape: Shape
    required: bool = False
    default: Any = None


def optional(name: str, shape: Shape, default: Any = None) -> Field:
    """A field that may be missing."""
    return Field(name=name, shape=shape, default=default)


def required(name: str, shape: Shape, default: Any = None) -> Field:
    """A field that must be there, unless it has a default."""
    return Field(name=name, shape=shape, required=default is None, default=default)


@dataclass(frozen=True)
class Obj:
    """An object with known fields; `finish` may reshape what was read when nothing was wrong with it.

    A value that is no object at all is taken for an empty one unless a field is required. `plain` objects are those without limits,
    defaults and lists, whose readers play-json derives itself: they say in other words what is missing, and insist on an object.
    """

    fields: tuple[Field, ...]
    finish: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    plain: bool = False

    def read(self, value: Any, path: str, out: list[Violation]) -> Any:
        wanted = [field for field in self.fields if field.required]
        if self.plain and not isinstance(value, dict):
            return _fail(out, path, "error.expected.jsobject")
        if not isinstance(value, dict):
            # play-json resolves each field on its own: every required one fails with the same words, without any nothing does
            for field in wanted:
                _fail(out, f"{path}/{field.name}", f"{compact(value)} is not an object")
            if wanted:
                return None
            value = {}
        result: dict[str, Any] = {}
        before = len(out)
        for field in self.fields:
            if field.name in value and (value[field.name] is not None or field.required):
                result[field.name] = field.shape.read(value[field.name], f"{path}/{field.name}", out)
            elif field.required:
                missing = "error.path.missing" if self.plain else f"'{field.name}' is undefined on object: {compact(value)}"
                _fail(out, f"{path}/{field.name}", missing)
            elif field.default is not None:
                result[field.name] = _fresh(field.default)
        return self.finish(result) if self.finish is not None and len(out) == before else result


@dataclass(frozen=True)
class AnyOf:
    """The first of several shapes that fits. When none does, only the last one says what is wrong."""

    shapes: tuple[Shape, ...]

    def read(self, value: Any, path: str, out: list[Violation]) -> Any:
        found: list[Violation] = []
        for shape in self.shapes:
            found = []
            result = shape.read(value, path, found)
            if not found:
                return result
        out.extend(found)
        return None


@dataclass(frozen=True, kw_only=True)
class Tagged:
    """An object of which one key says, letter for letter, which shape the rest has."""

    key: str
    shapes: Mapping[str, Shape]

    def read(self, value: Any, path: str, out: list[Violation]) -> Any:
        kind = value.get(self.key) if isinstance(value, dict) else None
        if not isinstance(kind, str) or kind not in self.shapes:
            return _fail(out, path, "error.expected.jsstring")
        return {self.key: kind, **self.shapes[kind].read(value, path, out)}


@dataclass(frozen=True)
class Lenient:
    """What does not fit counts as the default."""

    of: Shape
    default: Any

    def read(self, value: Any, path: str, out: list[Violation]) -> Any:
        del out
        found: list[Violation] = []
        result = self.of.read(value, path, found)
        return _fresh(self.default) if found else result


@dataclass(frozen=True)
class Word:
    """Takes any text for one known value."""

    value: str

    def read(self, value: Any, path: str, out: list[Violation]) -> Any:
        return self.value if isinstance(value, str) else _fail(out, path, "error.expected.jsstring")


@dataclass(frozen=True)
class Lazy:
    """A shape that refers to itself."""

    shape: Callable[[], Shape]

    def read(self, value: Any, path: str, out: list[Violation]) -> Any:
        return self.shape().read(value, path, out)


def distinct(items: Iterable[Any]) -> list[Any]:
    """The items without duplicates, in their order, for values that cannot be hashed."""
    result: list[Any] = []
    for item in items:
        if item not in result:
            result.append(item)
    return result


def _fresh(default: Any) -> Any:
    """Defaults are values shared by all readers: hand out copies of the containers."""
    match default:
        case dict():
            return {key: _fresh(item) for key, item in default.items()}
        case list() | tuple():
            return [_fresh(item) for item in default]
        case _:
            return default

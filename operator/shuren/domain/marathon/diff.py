"""What differs between a desired and an actual definition, field by field, and what that difference would do in Marathon."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from shuren.domain.json import Document, JsonValue
from shuren.domain.marathon.normalise import READ_ONLY

REDACTED = "(secret)"


class DifferenceKind(Enum):
    """NONE: equal. SCALE: only `instances`; running tasks stay. CONFIG: Marathon replaces every task (any field, even a label)."""

    NONE = "none"
    SCALE = "scale"
    CONFIG = "config"


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldChange:
    """One differing field. `path` is a JSON pointer; None as a value means absent."""

    path: str
    before: JsonValue
    after: JsonValue

    def __str__(self) -> str:
        return f"{self.path}: {_short(self.before)} -> {_short(self.after)}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """All changes that would turn the actual definition into the desired one."""

    changes: tuple[FieldChange, ...]

    @property
    def kind(self) -> DifferenceKind:
        """What writing the desired definition would do."""
        if not self.changes:
            return DifferenceKind.NONE
        return DifferenceKind.SCALE if all(c.path == "/instances" for c in self.changes) else DifferenceKind.CONFIG

    def without(self, path: str) -> Difference:
        """The difference without what lies at or below a pointer."""
        return Difference(changes=tuple(c for c in self.changes if not _below(c.path, path)))

    def __bool__(self) -> bool:
        return bool(self.changes)


def difference(desired: Document, actual: Document, *, ignore: Sequence[str] = (), secret: Iterable[str] = ()) -> Difference:
    """Compare two *normalised* definitions.

    A service port that is 0 in `desired` equals any. Paths at or below a pointer in `ignore` are left out (a `*` segment matches any).
    Values at pointers in `secret` are shown as `(secret)`.
    """
    found: list[FieldChange] = []
    _compare({k: v for k, v in actual.items() if k not in READ_ONLY}, {k: v for k, v in desired.items() if k not in READ_ONLY}, "", found)
    hidden = tuple(secret)
    return Difference(
        changes=tuple(
            FieldChange(path=c.path, before=_hide(c.before), after=_hide(c.after)) if any(_below(c.path, s) for s in hidden) else c
            for c in found
            if not any(_below(c.path, pattern) for pattern in ignore)
        )
    )


def _compare(before: JsonValue, after: JsonValue, path: str, found: list[FieldChange]) -> None:
    if before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted(before.keys() | after.keys()):
            where = f"{path}/{_escape(key)}"
            if key not in before:
                found.append(FieldChange(path=where, before=None, after=after[key]))
            elif key not in after:
                found.append(FieldChange(path=where, before=before[key], after=None))
            else:
                _compare(before[key], after[key], where, found)
    elif isinstance(before, (list, tuple)) and isinstance(after, (list, tuple)) and len(before) == len(after):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            _compare(old, new, f"{path}/{index}", found)
    elif not (_is_service_port(path) and after == 0):
        found.append(FieldChange(path=path, before=before, after=after))


def _is_service_port(path: str) -> bool:
    return path.endswith("/servicePort") or (path.startswith("/portDefinitions/") and path.endswith("/port"))


def _below(path: str, pattern: str) -> bool:
    segments, wanted = path.split("/"), pattern.rstrip("/").split("/")
    return len(segments) >= len(wanted) and all(w in ("*", s) for s, w in zip(segments, wanted, strict=False))


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _hide(value: JsonValue) -> JsonValue:
    return None if value is None else REDACTED


def _short(value: JsonValue) -> str:
    text = "(absent)" if value is None else str(value)
    return text if len(text) <= 80 else text[:77] + "..."  # noqa: PLR2004 - the width of a line a person reads

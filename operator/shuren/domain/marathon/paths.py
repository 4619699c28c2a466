"""App ids: absolute, checked by Marathon's own rule, and what a Kubernetes name becomes."""

from __future__ import annotations

import re

from shuren.domain.errors import FieldError

_SEGMENT = re.compile(r"(([a-z0-9]|[a-z0-9][a-z0-9-]*[a-z0-9])\.)*([a-z0-9]|[a-z0-9][a-z0-9-]*[a-z0-9])")
_FORBIDDEN_LAST = frozenset({"restart", "tasks", "versions", ".", ".."})


def absolute(path: str, base: str = "/") -> str:
    """The id as Marathon stores it: absolute below `base`, slashes collapsed, `.` and `..` resolved."""
    whole = path if path.startswith("/") else f"{base}/{path}"
    parts: list[str] = []
    for part in whole.split("/"):
        if part == "..":
            if parts:
                parts.pop()
        elif part not in {"", "."}:
            parts.append(part)
    return "/" + "/".join(parts)


def default_id(namespace: str, name: str) -> str:
    """`/<namespace>/<name>`: both are DNS names, so the id is valid and no two resources share one."""
    return f"/{namespace}/{name}"


def parent(path: str) -> str:
    """The group that an app lies in; `/` for a top-level app."""
    return path.rsplit("/", 1)[0] or "/"


def within(path: str, prefix: str) -> bool:
    """Whether an id lies at or below a prefix, by whole segments: `/a/b` is within `/a` and `/a/`, `/ab` is not."""
    stem = prefix.rstrip("/")
    return path == stem or path.startswith(stem + "/")


def id_errors(path: str, *, field: str) -> tuple[FieldError, ...]:
    """What Marathon would refuse about an absolute id; empty when it is good."""
    segments = path.split("/")[1:]
    if path == "/" or not path.startswith("/"):
        return (FieldError(path=field, message="must name an app below /, e.g. /team/web"),)
    for segment in segments:
        if not _SEGMENT.fullmatch(segment):
            return (
                FieldError(
                    path=field,
                    message=f"segment {segment!r} may have lower case letters, digits, '-' and '.', its ends letters or digits",
                ),
            )
    if segments[-1] in _FORBIDDEN_LAST:
        return (FieldError(path=field, message=f"must not end in {segments[-1]!r}, which is part of Marathon's own URLs"),)
    return ()

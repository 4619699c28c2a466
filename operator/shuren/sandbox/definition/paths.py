"""Ids of apps, pods and groups: `/a/b`, relative ones resolved against a base as a file system does."""

from __future__ import annotations

import re

SEGMENT = r"^(([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])\.)*([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])|(\.|\.\.)$"
_SEGMENT = re.compile(SEGMENT, re.ASCII)
_RESERVED = ("restart", "tasks", "versions", ".", "..")


_SHAPED_SEGMENT = re.compile(r"\.\.|([a-z0-9]([a-z0-9\-]*[a-z0-9])?)(\.[a-z0-9]([a-z0-9\-]*[a-z0-9])?)*", re.ASCII)


def well_formed(path: str) -> bool:
    """What the interface description demands of an id, before anything is resolved: dotted names or `..` between slashes."""
    return all(_SHAPED_SEGMENT.fullmatch(part) for part in segments(path))


def segments(path: str) -> list[str]:
    """The non-empty parts of an id; none for the root."""
    return [part for part in path.split("/") if part]


def absolute(path: str, base: str = "/") -> str:
    """The id as Marathon stores it: absolute, without empty parts, `.` and `..` resolved. A relative id hangs below `base`."""
    parts = segments(path) if path.startswith("/") else segments(base) + segments(path)
    result: list[str] = []
    for part in parts:
        if part == "..":
            result = result[:-1]
        elif part != ".":
            result.append(part)
    return "/" + "/".join(result)


def parent(path: str) -> str:
    """The group an absolute id lies in; the root is its own parent."""
    return "/" + "/".join(segments(path)[:-1])


def ancestors(path: str) -> list[str]:
    """All groups above an absolute id, nearest first, the root last; none for the root."""
    parts = segments(path)
    return ["/" + "/".join(parts[:length]) for length in range(len(parts) - 1, -1, -1)]


def is_root(path: str) -> bool:
    """Whether the id has no parts."""
    return not segments(path)


def top_level(path: str) -> str:
    """The first part of an id, by which Marathon names the role of a top-level group; empty for the root."""
    parts = segments(path)
    return parts[0] if parts else ""


def malformed(path: str) -> list[str]:
    """Marathon's words for an id with a part that is no name, none when all are."""
    return [] if all(_SEGMENT.fullmatch(part) for part in segments(path)) else [f"must fully match regular expression '{SEGMENT}'"]


def complaints(path: str) -> list[str]:
    """Marathon's words for what is wrong with an id (already absolute or as given), none when it is fine."""
    parts = segments(path)
    found = malformed(path)
    if parts and parts[-1] in _RESERVED:
        found.append(f"must not end with any of the following reserved keywords: {', '.join(_RESERVED)}")
    return found

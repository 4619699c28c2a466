"""Encoded definitions, kept from one list to the next: many apps are listed by putting pieces together, not by encoding all again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .answers import encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SPARE = 2  # how many times more pieces than apps in the list are kept before the cache starts again


class Pieces:
    """A cache by app id that notices replaced definitions by identity: stored definitions never change."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Mapping[str, Any], bytes]] = {}

    def _piece(self, app: Mapping[str, Any]) -> bytes:
        kept = self._kept.get(app["id"])
        if kept is not None and kept[0] is app:
            return kept[1]
        encoded = encode(app)
        self._kept[app["id"]] = (app, encoded)
        return encoded

    def list(self, key: str, entries: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> bytes:
        """`{key: [...]}` of definitions, each with what the moment adds to it (never nothing)."""
        parts = [self._piece(app)[:-1] + b"," + encode(extra)[1:] for app, extra in entries]
        if len(self._kept) > _SPARE * len(parts) + 1000:
            self._kept.clear()
        return b'{"' + key.encode() + b'":[' + b",".join(parts) + b"]}"

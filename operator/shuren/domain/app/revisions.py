"""Revisions: what a spec and everything that it refers to are called, and which of them are kept."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence

from shuren.domain.app.snapshot import Revision, RevisionState
from shuren.domain.json import JsonValue

KEPT = 10
"""Revisions kept per app, the current, target and last good ones always among them."""


def revision_hash(spec: Mapping[str, JsonValue], digests: Mapping[str, str]) -> str:
    """Ten hexadecimal digits that name this spec with these referenced values.

    Left out are `instances` (scaling makes no revision) and what says only how the operator behaves (`management`, `rollout`, `dependsOn`).
    """
    named = {key: value for key, value in spec.items() if key not in {"instances", "management", "rollout", "dependsOn"}}
    text = json.dumps([named, digests], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def keyed_digest(value: bytes, *, key: str) -> str:
    """A digest of a secret value under a key that differs per resource, so that equal secrets do not show as equal and short ones cannot be
    looked up in a table.
    """
    return hmac.new(key.encode(), value, hashlib.sha256).hexdigest()[:16]


def find(revisions: Sequence[Revision], name: str) -> Revision | None:
    """The revision of this hash, the newest if there are several."""
    return max((r for r in revisions if r.hash == name), key=lambda r: r.number, default=None)


def last_good(revisions: Sequence[Revision], *, app_id: str, other_than: str = "") -> Revision | None:
    """The newest revision that turned out good under this app id."""
    return max(
        (r for r in revisions if r.state is RevisionState.GOOD and r.hash != other_than and r.app_id == app_id),
        key=lambda r: r.number,
        default=None,
    )


def newest(revisions: Sequence[Revision]) -> Revision | None:
    """The one that was tried last."""
    return max(revisions, key=lambda r: r.number, default=None)


def next_number(revisions: Sequence[Revision]) -> int:
    """The number of the next revision, from 1."""
    return max((r.number for r in revisions), default=0) + 1


def superfluous(revisions: Sequence[Revision], *, target: str, app_id: str) -> tuple[Revision, ...]:
    """Which revisions to forget, oldest first."""
    good = last_good(revisions, app_id=app_id)
    keep = {target, good.hash if good else ""}
    old = sorted((r for r in revisions if r.hash not in keep), key=lambda r: r.number)
    return tuple(old[: max(0, len(revisions) - KEPT)])

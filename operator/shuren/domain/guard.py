"""A guard rail on deletions: however wrong an input is, the operator cannot empty a cluster at once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from shuren.domain.errors import Invalid

WINDOW = 60.0
"""Seconds in which deletions are counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeletionLimit:
    """At most `share` of the cluster's apps, but at least `floor` of them, per minute."""

    share: float = 0.1
    floor: int = 20

    def allowance(self, apps: int) -> int:
        """Deletions per minute for a cluster of `apps` apps."""
        return max(self.floor, int(apps * self.share))


def wait_before_deleting(limit: DeletionLimit, *, apps: int, recent: Sequence[float], now: float) -> float:
    """Seconds to wait before the next deletion, 0 when it may go. `recent` are times (same clock as `now`) of earlier deletions."""
    window = sorted(at for at in recent if now - at < WINDOW)
    allowance = limit.allowance(apps + len(window))
    if len(window) < allowance:
        return 0.0
    if allowance == 0:
        return WINDOW
    return max(0.1, window[len(window) - allowance] + WINDOW - now)


def encode_deletions(times: Iterable[float]) -> bytes:
    """Times of deletions (seconds since the epoch) as they lie in ZooKeeper."""
    return json.dumps({"at": [round(at, 3) for at in times]}, separators=(",", ":")).encode()


def decode_deletions(data: bytes) -> tuple[float, ...]:
    """The inverse; unknown fields are ignored. Invalid for anything else."""
    try:
        times = json.loads(data)["at"] if data else []
        return tuple(float(at) for at in times)
    except (ValueError, TypeError, KeyError) as error:
        raise Invalid("is not a list of times of deletions; deleting this node forgets them") from error

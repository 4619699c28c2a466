"""A guard rail on deletions: however wrong an input is, the operator cannot empty a cluster at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_WINDOW = 60.0


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
    window = sorted(at for at in recent if now - at < _WINDOW)
    allowance = limit.allowance(apps + len(window))
    if len(window) < allowance:
        return 0.0
    if allowance == 0:
        return _WINDOW
    return max(0.1, window[len(window) - allowance] + _WINDOW - now)

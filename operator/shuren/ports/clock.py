"""Time as a port, so that decisions get it as an argument and tests own it."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """`monotonic` for intervals and leases, `now` (UTC) only for what people read."""

    def monotonic(self) -> float:
        """Seconds that never run backwards."""

    def now(self) -> datetime:
        """Aware UTC time."""

    async def sleep(self, seconds: float) -> None:
        """Pause the calling task."""

"""Whether this process may write."""

from __future__ import annotations

from typing import Protocol


class Leadership(Protocol):
    """Held while the Lease is, judged by local monotonic time."""

    def held(self) -> bool:
        """True while this process leads and its lease cannot have run out."""

    def check(self) -> None:
        """Raise Fenced unless held; called right before each external write."""

    def remaining(self) -> float:
        """Seconds until another may lead: for so long a request that is sent now may be under way. 0 when this process does not lead."""

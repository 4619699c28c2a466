"""What the workers call: one pass over one key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from shuren.domain.identity import ObjectKey


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a pass ended. `requeue_after` (seconds) asks for another pass even if nothing happens; None waits for the next signal."""

    requeue_after: float | None = None


class Controller(Protocol):
    """Level-triggered: reads the world, decides, applies, writes status. May be called again at any time with an unchanged world.

    Raising Transient retries with back-off (or after its `retry_after`); Conflict retries soon; Fenced ends leadership; Denied and the rest
    of our errors are told and retried with back-off; anything else is a bug: it is logged with its traceback, retried with back-off, and
    never ends the worker.
    """

    async def reconcile(self, key: ObjectKey) -> Outcome:
        """One pass."""

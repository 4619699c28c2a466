"""Faults at external writes: one hook that every fake calls before and after each write, so that a test can end the process at any."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias


class Moment(Enum):
    """When a hook is called: before the write (raising: it never happened) or after it (raising: it happened, nobody heard)."""

    BEFORE = "before"
    AFTER = "after"


WriteHook: TypeAlias = Callable[[Moment, str], None]
"""Called with the moment and a readable description of the write, e.g. `marathon put_apps /a`. What it raises reaches the caller."""


class Crash(BaseException):
    """Stands for SIGKILL: no `except Exception` of the code under test sees it, and no clean-up is meant to run."""


@dataclass(kw_only=True)
class CrashPoint:
    """A hook that crashes at the k-th write (0-based) over all fakes that share it; `at=None` only counts and records.

    Run a scenario once with `at=None`, read `len(point.writes)`, then run it for every index and both moments.
    """

    at: int | None = None
    moment: Moment = Moment.BEFORE
    writes: list[str] = field(default_factory=list)
    fired: bool = False

    def __call__(self, moment: Moment, what: str) -> None:
        """Count a write and crash when it is the one; a crashed process writes nothing more."""
        if self.fired:
            raise Crash(f"already dead, must not write: {what}")
        index = len(self.writes)
        if moment is Moment.BEFORE:
            if self.at == index and self.moment is Moment.BEFORE:
                self._die(what)
            self.writes.append(what)
        elif self.at == index - 1 and self.moment is Moment.AFTER:
            self._die(what)

    def _die(self, what: str) -> None:
        self.fired = True
        raise Crash(f"{self.moment.value} write {self.at}: {what}")

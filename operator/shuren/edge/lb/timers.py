"""When what is due, for a loop that does one thing at a time."""

from __future__ import annotations

from collections.abc import Callable


class Timers:
    """Named moments. `monotonic` gives seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._at: dict[str, float] = {}
        self._every: dict[str, float] = {}

    def every(self, name: str, seconds: float) -> None:
        """Again and again, first after `seconds`."""
        self._every[name] = seconds
        self._at[name] = self._monotonic() + seconds

    def within(self, name: str, seconds: float) -> None:
        """Once, at the latest after `seconds`: an earlier moment that is set already stands."""
        self._at[name] = min(self._at.get(name, float("inf")), self._monotonic() + seconds)

    def is_set(self, name: str) -> bool:
        """Whether it will come."""
        return name in self._at

    def take(self) -> frozenset[str]:
        """Those whose moment has come; what comes again and again is set again, all else is done with."""
        now = self._monotonic()
        due = frozenset(name for name, at in self._at.items() if at <= now)
        for name in due:
            if name in self._every:
                self._at[name] = now + self._every[name]
            else:
                del self._at[name]
        return due

    def until(self, name: str) -> float:
        """Seconds until its moment; 0 when it has come or is not set."""
        return max(0.0, self._at.get(name, 0.0) - self._monotonic())

    def rest(self) -> float:
        """Seconds until the next moment."""
        return max(0.0, min(self._at.values(), default=3600.0) - self._monotonic())

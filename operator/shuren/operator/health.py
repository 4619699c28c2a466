"""Whether the event loop keeps up: its lag is measured all the time."""

from __future__ import annotations

from collections.abc import Callable

from shuren.ports.clock import Clock

_EVERY = 0.5


class LoopWatch:
    """Sleeps and looks how late it wakes. `observe` gets each lag in seconds."""

    def __init__(self, *, clock: Clock, observe: Callable[[float], None]) -> None:
        self._clock = clock
        self._observe = observe

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            before = self._clock.monotonic()
            await self._clock.sleep(_EVERY)
            self._observe(max(0.0, self._clock.monotonic() - before - _EVERY))

"""An application that only writes down what it is called for."""

from __future__ import annotations

import threading
from collections.abc import Callable

from shuren.sharding.handoff import Handoff


class RecordingServer:
    """`calls` are (call, shard, epoch) in their order; `hold` keeps calls from ending, `failures[call]` so many of them raise."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int, int]] = []
        self.handoffs: list[Handoff] = []
        self.during: dict[str, Callable[[Handoff], None]] = {}
        self.failures: dict[str, int] = {}
        self._gates: dict[str, threading.Event] = {}

    def hold(self, call: str) -> threading.Event:
        """Calls of this kind wait until the event is set."""
        self._gates[call] = threading.Event()
        return self._gates[call]

    def of(self, shard: int) -> list[str]:
        """The calls for one shard."""
        return [call for call, number, _ in self.calls if number == shard]

    def _called(self, call: str, handoff: Handoff) -> None:
        self.calls.append((call, handoff.shard, handoff.fence.epoch))
        self.handoffs.append(handoff)
        if self.failures.get(call, 0):
            self.failures[call] -= 1
            raise OSError("disk full")
        if call in self.during:
            self.during[call](handoff)
        gate = self._gates.get(call)
        if gate is not None:
            assert gate.wait(30)

    def prepare(self, handoff: Handoff, /) -> None:
        self._called("prepare", handoff)

    def catch_up(self, handoff: Handoff, /) -> None:
        self._called("catch-up", handoff)

    def forward(self, handoff: Handoff, /) -> None:
        self._called("forward", handoff)

    def activate(self, handoff: Handoff, /) -> None:
        self._called("activate", handoff)

    def drop(self, handoff: Handoff, /) -> None:
        self._called("drop", handoff)

    def resharded(self, before: int, after: int, /) -> None:
        self.calls.append(("resharded", before, after))


class AsyncRecordingServer:
    """The same with coroutines."""

    def __init__(self) -> None:
        self.inner = RecordingServer()

    async def prepare(self, handoff: Handoff, /) -> None:
        self.inner.prepare(handoff)

    async def catch_up(self, handoff: Handoff, /) -> None:
        self.inner.catch_up(handoff)

    async def forward(self, handoff: Handoff, /) -> None:
        self.inner.forward(handoff)

    async def activate(self, handoff: Handoff, /) -> None:
        self.inner.activate(handoff)

    async def drop(self, handoff: Handoff, /) -> None:
        self.inner.drop(handoff)

    async def resharded(self, before: int, after: int, /) -> None:
        self.inner.resharded(before, after)

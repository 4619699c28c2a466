"""The event bus behind `GET /v2/events`: at most once, no replay, and a consumer that falls behind is cut off."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Collection
from typing import Any

from shuren.sandbox.engine.clock import Clock, stamp

MAX_OUTSTANDING = 1024
"""`--event_stream_max_outstanding_messages`: more than this many waiting and the connection is closed (since Marathon 1.8)."""


class Subscription:
    """One consumer of the stream."""

    def __init__(self, bus: EventBus, types: frozenset[str] | None, remote: str) -> None:
        self._bus = bus
        self.types = types
        self.remote = remote
        self._waiting: deque[tuple[str, str]] = deque()
        self._wake = asyncio.Event()
        self.closed = False

    def offer(self, event_type: str, text: str) -> None:
        if self.closed:
            return
        if len(self._waiting) >= self._bus.max_outstanding:
            self.close()
            return
        self._waiting.append((event_type, text))
        self._wake.set()

    def close(self) -> None:
        """Ends the stream after what already waits."""
        self.closed = True
        self._wake.set()

    def __aiter__(self) -> AsyncIterator[tuple[str, str]]:
        return self

    async def __anext__(self) -> tuple[str, str]:
        while not self._waiting:
            if self.closed:
                self._bus.detach(self)
                raise StopAsyncIteration
            self._wake.clear()
            # a waiter that is cancelled may only have been cut by a keep-alive timeout; the HTTP side closes with `aclose`
            await self._wake.wait()
        return self._waiting.popleft()

    async def aclose(self) -> None:
        """The client has gone."""
        self.closed = True
        self._waiting.clear()
        self._bus.detach(self)


class EventBus:
    """Hands every published event to the subscribers that want its type."""

    def __init__(self, clock: Clock, *, max_outstanding: int = MAX_OUTSTANDING) -> None:
        self._clock = clock
        self._subscribers: list[Subscription] = []
        self.max_outstanding = max_outstanding
        self.silent = False
        self.drop_after: int | None = None
        """A fault: all streams are closed after so many more events."""
        self.published = 0

    @property
    def streams(self) -> int:
        """Open streams (metric `http.event-streams.active`)."""
        return len(self._subscribers)

    def wants(self, event_type: str) -> bool:
        """Whether building this event is worth the while."""
        return any(s.types is None or event_type in s.types for s in self._subscribers)

    def publish(self, event_type: str, payload: dict[str, Any]) -> None:
        """Adds `eventType` and, where the payload has none of its own, `timestamp` and hands it out."""
        self.published += 1
        if self.silent or not self._subscribers or not self.wants(event_type):
            return
        if self.drop_after is not None:
            self.drop_after -= 1
            if self.drop_after < 0:
                self.drop_after = None
                self.drop_all()
                return
        body = {**payload, "eventType": event_type, "timestamp": payload.get("timestamp") or stamp(self._clock.now())}
        text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
        for subscriber in tuple(self._subscribers):
            if subscriber.types is None or event_type in subscriber.types:
                subscriber.offer(event_type, text)

    def subscribe(self, types: Collection[str] | None, remote: str) -> Subscription:
        """Attaches a consumer; the first event it sees is its own `event_stream_attached`, unless it filters that away."""
        subscription = Subscription(self, None if types is None else frozenset(types), remote)
        self._subscribers.append(subscription)
        self.publish("event_stream_attached", {"remoteAddress": remote})
        return subscription

    def detach(self, subscription: Subscription) -> None:
        if subscription in self._subscribers:
            self._subscribers.remove(subscription)
            self.publish("event_stream_detached", {"remoteAddress": subscription.remote})

    def drop_all(self) -> int:
        """Closes every stream (leadership lost, or a fault); returns how many."""
        dropped = len(self._subscribers)
        for subscription in tuple(self._subscribers):
            subscription.close()
        self._subscribers.clear()
        return dropped

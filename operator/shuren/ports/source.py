"""Where changes of Kubernetes objects come from: an eventual call for every change, deletes included."""

from __future__ import annotations

from typing import Protocol

from shuren.domain.identity import ObjectKey
from shuren.ports.kubernetes import Object


class Sink(Protocol):
    """Takes what a source brings. Calls are cheap and never fail: they update the store and enqueue a key."""

    def upsert(self, key: ObjectKey, item: Object, *, initial: bool) -> None:
        """The object exists in this state (maybe again, maybe older than known). `initial`: from the first list of this source."""

    def delete(self, key: ObjectKey) -> None:
        """The object is gone."""


class EventSource(Protocol):
    """Two implementations pass the same tests: kopf's watch and the native one."""

    async def run(self) -> None:
        """Deliver until cancelled."""

    def synced(self) -> bool:
        """Whether everything that existed at the start has been delivered."""

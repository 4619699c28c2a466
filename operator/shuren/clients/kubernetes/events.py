"""Events for people, `events.k8s.io/v1`: written in the background, repeats of ten minutes folded into one series."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from dataclasses import dataclass

from shuren.domain.errors import Denied, Gone, ShurenError
from shuren.ports.clock import Clock
from shuren.ports.events import Severity
from shuren.ports.kubernetes import EVENTS, Kubernetes, Object

log = logging.getLogger(__name__)

_WINDOW = 600.0
"""Seconds without a repeat after which a series has ended."""
_REFRESH = 60.0
"""A series that goes on is written at most this often (seconds), whatever happens how often."""
_QUEUED = 1000
_PER_SECOND = 50.0
_BURST = 100
"""Events written in a second, and at once: what is for people must not take the API server from what is for apps in a mass change."""
_NOTE = 1024
_NAME = 230
"""Characters of the object's name in the event's: 253 are allowed in all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Occurrence:
    """One call of `record`."""

    regarding: Object
    severity: Severity
    reason: str
    action: str
    note: str

    @property
    def key(self) -> tuple[str, str, str]:
        return (str(self.regarding["uid"]), self.reason, self.note)


@dataclass(slots=True)
class _Series:
    """An event that has been written, and how often it has happened since (monotonic times)."""

    namespace: str
    name: str
    seen_at: float
    written_at: float
    count: int = 1


class Recorder:
    """The `EventRecorder` port. `run` writes what `record` queued; when the queue is full, events are dropped and counted."""

    def __init__(self, *, kubernetes: Kubernetes, clock: Clock, instance: str) -> None:
        self._kubernetes = kubernetes
        self._clock = clock
        self._instance = instance[:128]
        self._queue: asyncio.Queue[_Occurrence] = asyncio.Queue(_QUEUED)
        self._series: dict[tuple[str, str, str], _Series] = {}
        self._free_at = float("-inf")
        self._forgot_at = float("-inf")
        self._denied = False
        self.dropped = 0

    def record(self, regarding: Object, *, severity: Severity, reason: str, action: str, note: str) -> None:
        """See the port."""
        metadata = regarding.get("metadata", {})
        reference: Object = {
            "apiVersion": regarding.get("apiVersion", ""),
            "kind": regarding.get("kind", ""),
            "namespace": metadata.get("namespace", ""),
            "name": metadata.get("name", ""),
            "uid": metadata.get("uid", ""),
        }
        try:
            self._queue.put_nowait(_Occurrence(regarding=reference, severity=severity, reason=reason, action=action, note=_shortened(note)))
        except asyncio.QueueFull:
            self.dropped += 1

    async def run(self) -> None:
        """Write events, one after the other, until cancelled. An event that cannot be written is lost, and nothing else is."""
        while True:
            occurrence = await self._queue.get()
            await self._pace()
            try:
                await self._write(occurrence)
            except Denied as error:
                if not self._denied:
                    log.warning("events are not written: %s (needed: create, patch on events.events.k8s.io)", error)
                self._denied = True
            except ShurenError as error:
                log.debug("an event was not written: %s", error)
            self._forget()

    async def _pace(self) -> None:
        now = self._clock.monotonic()
        self._free_at = max(self._free_at + 1 / _PER_SECOND, now - _BURST / _PER_SECOND)
        if self._free_at > now:
            await self._clock.sleep(self._free_at - now)

    async def _write(self, occurrence: _Occurrence) -> None:
        series = self._series.get(occurrence.key)
        now = self._clock.monotonic()
        if series is None or now - series.seen_at > _WINDOW:
            await self._begin(occurrence)
            return
        series.count += 1
        series.seen_at = now
        if series.count > 2 and now - series.written_at < _REFRESH:  # noqa: PLR2004 - the first repeat makes it a series
            return
        seen = {"count": series.count, "lastObservedTime": self._now()}
        try:
            await self._kubernetes.patch_json(EVENTS, series.namespace, series.name, [{"op": "add", "path": "/series", "value": seen}])
        except Gone:
            await self._begin(occurrence)  # the API server forgets events after an hour
            return
        series.written_at = now

    async def _begin(self, occurrence: _Occurrence) -> None:
        namespace = str(occurrence.regarding["namespace"]) or "default"
        now = self._now()
        suffix = hashlib.sha256(f"{occurrence.key}{now}".encode()).hexdigest()[:16]
        name = f"{str(occurrence.regarding['name'])[:_NAME].rstrip('.-')}.{suffix}"
        body: Object = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "eventTime": now,
            "reportingController": "paas.shurenyun.com/operator",
            "reportingInstance": self._instance,
            "action": occurrence.action,
            "reason": occurrence.reason,
            "regarding": occurrence.regarding,
            "note": occurrence.note,
            "type": occurrence.severity.value,
        }
        await self._kubernetes.create(EVENTS, namespace, body)
        at = self._clock.monotonic()
        self._series[occurrence.key] = _Series(namespace, name, seen_at=at, written_at=at)

    def _now(self) -> str:
        return self._clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def _forget(self) -> None:
        """Keep no series for ever: ended ones go now and then, once there are many."""
        now = self._clock.monotonic()
        if len(self._series) > _QUEUED and now - self._forgot_at > _REFRESH:
            self._forgot_at = now
            self._series = {key: series for key, series in self._series.items() if series.seen_at > now - _WINDOW}


def _shortened(note: str) -> str:
    """At most 1024 bytes, which is what the API server takes, cut at a character."""
    encoded = note.encode()
    return note if len(encoded) <= _NOTE else encoded[: _NOTE - 3].decode(errors="ignore") + "…"

"""The native event source: list, then watch, for one resource in one scope, for ever."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from shuren.domain.errors import Denied, ShurenError
from shuren.domain.identity import ObjectKey
from shuren.ports.clock import Clock
from shuren.ports.kubernetes import Change, Expired, Kubernetes, Object, Resource
from shuren.ports.source import Sink

log = logging.getLogger(__name__)

_LONGEST_PAUSE = 30.0
_BRIEF = 1.0


class Reflector:
    """Keeps a sink up to date with one resource (in one namespace, or one object, or everywhere).

    After every list the keys that were known before and are not in it are reported as deleted, so that a 410 gap loses nothing.
    """

    def __init__(
        self,
        *,
        kubernetes: Kubernetes,
        resource: Resource,
        sink: Sink,
        clock: Clock,
        namespace: str = "",
        name: str = "",
        chance: Callable[[], float],
        label_selector: str = "",
        on_synced: Callable[[], None] | None = None,
        on_denied: Callable[[Denied], None] | None = None,
    ) -> None:
        self._kubernetes = kubernetes
        self._resource = resource
        self._sink = sink
        self._clock = clock
        self._namespace = namespace
        self._name = name
        self._chance = chance
        self._label_selector = label_selector
        self._on_synced = on_synced
        self._on_denied = on_denied
        self._known: set[ObjectKey] = set()
        self._synced = asyncio.Event()
        self._failures = 0
        self._listed = ""
        self._heard = ""
        self.last_error: str = ""
        """What hinders it now; empty while all is well."""
        self.denied: Denied | None = None
        """Set while we may not list or watch."""

    @property
    def synced(self) -> bool:
        """Whether a whole list has been delivered."""
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        """Return once a whole list has been delivered."""
        await self._synced.wait()

    async def run(self) -> None:
        """List and watch until cancelled."""
        while True:
            try:
                if not self._heard:
                    await self._list()
                began = self._clock.monotonic()
                await self._watch()
                self._going_well()
                if self._clock.monotonic() - began < _BRIEF:
                    await self._clock.sleep(_BRIEF)  # something between us and the server ends watches at once
            except Expired as error:
                if self._heard in {"", self._listed}:
                    await self._pause(error)  # the server gives out versions that it does not keep: do not ask in a hurry
                log.info("watch of %s is too old, listing again", self._resource.plural)
                self._heard = ""
            except ShurenError as error:
                # a broken connection goes on from the last version; a server that lost it answers 410
                await self._pause(error)
            except Exception as error:
                log.exception("watch of %s met a mistake in the program", self._resource.plural)
                self._heard = ""
                await self._pause(error)

    async def _pause(self, error: Exception) -> None:
        self._failures += 1
        if str(error) != self.last_error:
            log.warning("%s", error)
        self.last_error = str(error)
        if isinstance(error, Denied):
            self.denied = error
            if self._on_denied is not None:
                self._on_denied(error)
        await self._clock.sleep(min(_LONGEST_PAUSE, 0.5 * 2 ** min(self._failures, 6)) * (0.5 + 0.5 * self._chance()))

    def _going_well(self) -> None:
        """The watch brought something. A list alone is no proof: its version may be refused at once."""
        self._failures = 0
        self.last_error = ""

    async def _list(self) -> None:
        pages = self._kubernetes.pages(self._resource, namespace=self._namespace, name=self._name, label_selector=self._label_selector)
        seen: set[ObjectKey] = set()
        version = ""
        async for page in pages:
            # a list that breaks off half way has told of these all the same
            for key, item in ((self._key(item), item) for item in page.items):
                seen.add(key)
                self._known.add(key)
                self._sink.upsert(key, item, initial=not self.synced)
            version = page.resource_version
            page.items.clear()  # the sink has what it wants; the rest makes room for the next page
        for key in self._known - seen:
            self._sink.delete(key)
        self._known = seen
        self.denied = None
        first = not self.synced
        self._synced.set()
        if first and self._on_synced is not None:
            self._on_synced()
        self._listed = self._heard = version

    async def _watch(self) -> None:
        events = self._kubernetes.watch(
            self._resource, resource_version=self._heard, namespace=self._namespace, name=self._name, label_selector=self._label_selector
        )
        async for event in events:
            self._going_well()
            if event.change is not Change.BOOKMARK:
                key = self._key(event.object)
                if event.change is Change.DELETED:
                    self._known.discard(key)
                    self._sink.delete(key)
                else:
                    self._known.add(key)
                    self._sink.upsert(key, event.object, initial=False)
            self._heard = event.object["metadata"]["resourceVersion"]

    def _key(self, item: Object) -> ObjectKey:
        metadata = item["metadata"]
        return ObjectKey(kind=self._resource.kind, namespace=metadata.get("namespace", ""), name=metadata["name"])

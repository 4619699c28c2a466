"""When kopf runs the process (`kopf run -A -m shuren.operator`): handlers in kopf's own registry, the same application beside them.

Only start-up, cleanup, probes, login and events are declared; whatever else kopf offers would write to every object.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import signal
from collections.abc import Awaitable
from typing import Any, Protocol

import kopf

from shuren.clients.kubernetes.config import Access, from_environment
from shuren.domain.errors import ShurenError
from shuren.operator import logs
from shuren.operator.application import KINDS, Application, MakeSource
from shuren.operator.kopf_source import Arrivals, configure, declare, deliver
from shuren.operator.settings import EventSourceKind, Settings
from shuren.operator.settings import from_environment as settings_from_environment
from shuren.ports.kubernetes import Object, Resource
from shuren.ports.source import EventSource, Sink

log = logging.getLogger(__name__)


class Prepare(Protocol):
    """`shuren.operator.prepare`."""

    def __call__(self, settings: Settings, access: Access, *, make_source: MakeSource | None = None) -> Awaitable[Application]:
        """See there."""


class RelaySource:
    """The `EventSource` port on events that kopf's handlers bring from the same loop."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.arrivals: Arrivals | None = None

    async def run(self) -> None:
        """Wait until everything from the start has come; events are delivered by `forward`."""
        if self.arrivals is not None:
            await self.arrivals.watch()
        await asyncio.Event().wait()

    def synced(self) -> bool:
        """Whether everything that existed at the start has been delivered."""
        return self.arrivals is not None and self.arrivals.complete

    def forward(self, resource: Resource, change: str, item: Object) -> None:
        """One event from kopf."""
        if self.arrivals is not None:
            deliver(self._sink, self.arrivals, resource, change, item)


class Shell:
    """What lives as long as kopf's process."""

    def __init__(self, prepare: Prepare) -> None:
        self._prepare = prepare
        self._access: Access | None = None
        self._source: RelaySource | None = None
        self._application: Application | None = None
        self._work: asyncio.Task[None] | None = None

    def access(self) -> Access:
        """Read once, for kopf and for us: both must talk to the same server."""
        if self._access is None:
            self._access = from_environment(os.environ)
        return self._access

    async def start(self, settings: kopf.OperatorSettings, **_: Any) -> None:
        """Build and start the application. kopf ends with a non-zero status when it cannot work here."""
        configure(settings)
        try:
            ours = settings_from_environment()
            logs.set_up(ours.log_format, ours.log_level)
            native = ours.event_source is EventSourceKind.NATIVE
            application = await self._prepare(ours, self.access(), make_source=None if native else self._make_source)
        except ShurenError as error:
            raise kopf.PermanentError(str(error)) from error
        if self._source is not None:
            self._source.arrivals = Arrivals(
                kubernetes=application.kubernetes, resources=KINDS, namespaces=ours.namespaces, clock=application.clock
            )
        self._application = application
        # a context of its own: kopf keeps things of the running handler in it
        self._work = asyncio.create_task(application.run(), name="shuren", context=contextvars.Context())
        self._work.add_done_callback(self._ended)

    def _make_source(self, sink: Sink) -> EventSource:
        self._source = RelaySource(sink)
        return self._source

    def _ended(self, work: asyncio.Task[None]) -> None:
        """The application ended by itself: kopf without it would look alive and do nothing."""
        if self._application is not None and not self._application.asked_to_stop:
            log.error("the operator has ended: %r", None if work.cancelled() else work.exception())
            signal.raise_signal(signal.SIGTERM)

    async def stop(self, **_: Any) -> None:
        """An orderly end before kopf goes on with its own."""
        if self._application is not None and self._work is not None:
            self._application.stop()
            await asyncio.gather(self._work, return_exceptions=True)

    def forward(self, resource: Resource, change: str, item: Object) -> None:
        """One event from kopf."""
        if self._source is not None:
            self._source.forward(resource, change, item)

    def leading(self, **_: Any) -> bool:
        """A probe: whether this process leads."""
        return self._application is not None and self._application.election.held()

    def ready(self, **_: Any) -> str:
        """A probe: `ok`, or why not."""
        return "starting" if self._application is None else self._application.why_not_ready() or "ok"


def register(prepare: Prepare) -> Shell:
    """Put the handlers into kopf's default registry, which only `kopf run` looks at."""
    shell = Shell(prepare)
    registry = kopf.get_default_registry()
    kopf.on.startup(registry=registry)(shell.start)
    kopf.on.cleanup(registry=registry)(shell.stop)
    kopf.on.probe(id="leading", registry=registry)(shell.leading)
    kopf.on.probe(id="ready", registry=registry)(shell.ready)
    declare(registry, KINDS, forward=shell.forward, access=shell.access)
    return shell

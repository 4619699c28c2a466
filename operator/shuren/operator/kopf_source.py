"""kopf as the front-end that lists and watches our kinds, and nothing more: an event becomes a call of the sink.

It runs in a thread with an event loop of its own. kopf takes the process' signals, and when it ends it cancels every task of its loop,
whoever made it: in our loop that would be the passes under way.

kopf keeps no cache, gives no end-of-list signal and loses deletes in a 410 gap. Whether everything has come at the start is told by
comparing with a list of our own; the list-and-diff of `runtime.resync` makes up for the rest, for this source and for the native one alike.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, cast

import aiohttp
import kopf

from shuren.clients.kubernetes.config import Access
from shuren.domain.errors import ShurenError, Unreachable
from shuren.domain.identity import ObjectKey
from shuren.ports.clock import Clock
from shuren.ports.kubernetes import Kubernetes, Object, Resource
from shuren.ports.source import Sink

log = logging.getLogger(__name__)

_BATCH = 200
"""Events taken over from the thread before other tasks get their turn."""
_GATHER = 0.02
"""Seconds for which events that follow others are gathered in the thread: each wake of the other one costs more than an event does."""
_ASK_AGAIN = 5.0
"""Seconds without news after which what has not come is listed again: it may have been deleted before kopf looked."""

_GOODBYE = 5.0
"""Seconds that the API server has at the end to say goodbye on connections that are being closed."""

Forward = Callable[[Resource, str, Object], None]
"""Resource, type of the event ("" in a list) and the object."""


class _Endless:
    """Seconds between tries at an API server that is away. With an end to them, as by default after a minute, the process would end too."""

    def __iter__(self) -> Iterator[float]:
        return itertools.chain((1.0, 1.0, 2.0, 3.0), itertools.repeat(5.0))


def configure(settings: kopf.OperatorSettings) -> None:
    """Kopf's settings, where its defaults are not ours."""
    settings.posting.enabled = False  # our own recorder aggregates
    settings.peering.standalone = True  # leadership is our Lease; a stray peering object must not pause us
    settings.scanning.disabled = True  # no rights on CRDs and namespaces needed; the kinds are checked at the start
    settings.watching.server_timeout = 300
    settings.watching.reconnect_backoff = 1.0
    settings.watching.chunk_size = 500
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    settings.networking.error_backoffs = _Endless()
    settings.queueing.worker_limit = None  # a limit makes kopf slow, not gentle: its workers linger
    settings.queueing.idle_timeout = 0.5
    settings.process.ultimate_exiting_timeout = 25
    settings.persistence.finalizer = "paas.shurenyun.com/unused"  # the default is shared by all kopf operators
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix="paas.shurenyun.com", v1=False)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix="paas.shurenyun.com", v1=False)
    settings.execution.max_workers = 2


class Connections:
    """The sockets to the API server. kopf lets go of a watch without waiting for the end of its TLS session, and a loop that is closed
    before that leaves the socket open.
    """

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []

    def make(self, address: Any) -> socket.socket:
        """See aiohttp's `socket_factory`."""
        self._sockets = self._open()
        made = socket.socket(*address[:3])
        self._sockets.append(made)
        return made

    async def closed(self, seconds: float = _GOODBYE) -> bool:
        """Wait until all are closed, at most this long. Whether they are."""
        end = time.monotonic() + seconds
        while self._open():
            if time.monotonic() >= end:
                return False
            await asyncio.sleep(0.01)
        return True

    def _open(self) -> list[socket.socket]:
        return [one for one in self._sockets if one.fileno() >= 0]


def declare(
    registry: kopf.OperatorRegistry,
    resources: Iterable[Resource],
    *,
    forward: Forward,
    access: Callable[[], Access],
    connections: Connections | None = None,
) -> None:
    """Register the login and one event handler per resource. No other handler exists: those would write to every object.

    `connections` keeps the sockets, for who has to wait for their end before the loop does.
    """

    async def login(**_: Any) -> kopf.AiohttpSession:
        return _session(access(), connections)

    kopf.on.login(registry=registry)(login)
    for resource in resources:
        kopf.on.event(resource.group, resource.version, resource.plural, registry=registry)(_forwarder(resource, forward))


def _session(access: Access, connections: Connections | None) -> kopf.AiohttpSession:
    """The same server, the same trust and the same identity as our own client; the token is read anew for each request."""

    async def authorize(
        request: aiohttp.ClientRequest, handler: Callable[..., Awaitable[aiohttp.ClientResponse]]
    ) -> aiohttp.ClientResponse:
        token = access.token()
        if token:
            request.headers["Authorization"] = f"Bearer {token}"
        return await handler(request)

    connector = aiohttp.TCPConnector(limit=0, ssl=access.context, socket_factory=None if connections is None else connections.make)
    session = aiohttp.ClientSession(connector=connector, middlewares=(authorize,))
    return kopf.AiohttpSession(server=access.server, aiohttp_session=session, default_namespace=access.namespace)


def _forwarder(resource: Resource, forward: Forward) -> Callable[..., Awaitable[None]]:
    async def handler(event: Any, **_: Any) -> None:
        item = dict(event["object"])
        item["metadata"] = dict(item["metadata"])
        forward(resource, event["type"] or "", item)

    return handler


def deliver(sink: Sink, arrivals: Arrivals, resource: Resource, change: str, item: Object) -> None:
    """Make one event of kopf a call of the sink. What a list brings after all has arrived once is news like any other."""
    metadata = item["metadata"]
    key = ObjectKey(kind=resource.kind, namespace=metadata.get("namespace") or "", name=metadata["name"])
    if change == "DELETED":
        sink.delete(key)
    else:
        sink.upsert(key, item, initial=not change and not arrivals.complete)
    arrivals.came(key)


class Arrivals:
    """Whether everything has come that a list of our own shows: kopf does not say when its list ends."""

    def __init__(self, *, kubernetes: Kubernetes, resources: Iterable[Resource], namespaces: tuple[str, ...], clock: Clock) -> None:
        self._kubernetes = kubernetes
        self._resources = tuple(resources)
        self._namespaces = namespaces
        self._clock = clock
        self._seen: set[ObjectKey] = set()
        self._awaited: set[ObjectKey] | None = None
        self._complete = asyncio.Event()
        self._last = clock.monotonic()

    @property
    def complete(self) -> bool:
        """True for ever once it has been."""
        return self._complete.is_set()

    def came(self, key: ObjectKey) -> None:
        """An event about this object was delivered."""
        if self._complete.is_set():
            return
        self._last = self._clock.monotonic()
        self._seen.add(key)
        if self._awaited is not None:
            self._awaited.discard(key)
            self._judge()

    def _judge(self) -> None:
        if not self._awaited:
            self._complete.set()
            self._seen.clear()

    async def watch(self) -> None:
        """List, and list again when nothing comes any more, until complete."""
        while not self.complete:
            try:
                self._awaited = await self._list() - self._seen
                self._judge()
            except ShurenError as error:
                log.warning("waiting for the first list: %s", error)
                await self._clock.sleep(1.0)
                continue
            while not self.complete and self._clock.monotonic() - self._last < _ASK_AGAIN:
                await self._clock.sleep(0.1)
            self._last = self._clock.monotonic()

    async def _list(self) -> set[ObjectKey]:
        found: set[ObjectKey] = set()
        for resource in self._resources:
            for namespace in self._namespaces if resource.namespaced and self._namespaces else ("",):
                async for page in self._kubernetes.pages(resource, namespace=namespace, metadata_only=True):
                    found |= {
                        ObjectKey(kind=resource.kind, namespace=item["metadata"].get("namespace", ""), name=item["metadata"]["name"])
                        for item in page.items
                    }
        return found


class KopfSource:
    """The `EventSource` port on an embedded kopf. All calls of the sink are made in the loop that `run` was called in."""

    def __init__(
        self,
        *,
        access: Access,
        kubernetes: Kubernetes,
        resources: Iterable[Resource],
        sink: Sink,
        namespaces: tuple[str, ...],
        clock: Clock,
    ) -> None:
        self._access = access
        self._resources = tuple(resources)
        self._sink = sink
        self._namespaces = namespaces
        self._arrivals = Arrivals(kubernetes=kubernetes, resources=self._resources, namespaces=namespaces, clock=clock)
        self._stop = threading.Event()
        self._events: deque[tuple[Resource, str, Object]] = deque()
        self._scheduled = False
        self._handed_over_at = float("-inf")
        self._loop: asyncio.AbstractEventLoop | None = None

    def synced(self) -> bool:
        """Whether everything that existed at the start has been delivered."""
        return self._arrivals.complete

    async def run(self) -> None:
        """Deliver until cancelled. Unreachable when kopf has ended by itself."""
        self._loop = asyncio.get_running_loop()
        ended: asyncio.Future[BaseException | None] = self._loop.create_future()
        thread = threading.Thread(target=self._serve, args=(ended,), name="kopf", daemon=True)
        thread.start()
        arrivals = asyncio.create_task(self._arrivals.watch(), name="arrivals")
        try:
            error = await asyncio.shield(ended)
        finally:
            self._stop.set()
            arrivals.cancel()
            await asyncio.gather(arrivals, return_exceptions=True)
            await asyncio.wait({asyncio.ensure_future(ended)}, timeout=10)
        raise Unreachable(f"kopf has ended: {error!r}") from error

    # ------------------------------------------------------------------------------------------------ in the thread

    def _serve(self, ended: asyncio.Future[BaseException | None]) -> None:
        error: BaseException | None = None
        try:
            asyncio.run(self._operator())
        except BaseException as raised:  # noqa: BLE001 - told in the other thread
            error = raised
        loop = ended.get_loop()
        if not loop.is_closed():
            loop.call_soon_threadsafe(lambda: None if ended.done() else ended.set_result(error))

    async def _operator(self) -> None:
        settings = kopf.OperatorSettings()
        configure(settings)
        registry = kopf.OperatorRegistry()
        connections = Connections()
        declare(registry, self._resources, forward=self._hand_over, access=lambda: self._access, connections=connections)
        try:
            await kopf.operator(
                registry=registry,
                settings=settings,
                # kopf would ask the system for its user's name, which a container's user need not have
                identity=cast("Any", "shuren"),
                standalone=True,
                clusterwide=not self._namespaces,
                namespaces=self._namespaces,
                stop_flag=self._stop,
            )
        finally:
            await connections.closed()

    def _hand_over(self, resource: Resource, change: str, item: Object) -> None:
        self._events.append((resource, change, item))
        if self._scheduled or self._loop is None:
            return
        self._scheduled = True
        left = self._handed_over_at + _GATHER - time.monotonic()
        if left <= 0:
            self._wake()
        else:
            asyncio.get_running_loop().call_later(left, self._wake)

    def _wake(self) -> None:
        self._handed_over_at = time.monotonic()
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._take_over)

    # ------------------------------------------------------------------------------------------------ in the loop of `run`

    def _take_over(self) -> None:
        self._scheduled = False
        for _ in range(_BATCH):
            if not self._events:
                return
            deliver(self._sink, self._arrivals, *self._events.popleft())
        if self._loop is not None:
            self._loop.call_soon(self._take_over)

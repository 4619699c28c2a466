"""What ZooKeeper says: the routes of our group and the endpoints of their services, kept up to date by watches.

The last thing heard stands while ZooKeeper is away. Only a root that is there may take things away: when the whole root is gone (somebody
restored ZooKeeper from nothing, or we are connected to another one), what we carry stays as it is until the operator has been there again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from shuren.domain.errors import Denied, Invalid, ShurenError, Transient
from shuren.domain.service import wire
from shuren.domain.service.values import EndpointSet, Route, ServiceName
from shuren.ports.zookeeper import Node, ZooKeeper

log = logging.getLogger(__name__)

_RETRY = 1.0
_RESYNC = 300.0
"""Seconds after which everything is read again, should a watch have been lost."""


class World:
    """Routes and endpoints, and which services have changed since somebody took that up."""

    def __init__(self, *, changed: Callable[[], None]) -> None:
        self.routes: dict[ServiceName, Route] = {}
        self.endpoints: dict[ServiceName, EndpointSet] = {}
        self.synced = False
        self._changed = changed
        self._routes_changed = False
        self._dirty: set[ServiceName] = set()

    def put_route(self, service: ServiceName, route: Route | None) -> None:
        """A route as it is now; None: there is none any more."""
        if self.routes.get(service) == route:
            return
        if route is None:
            del self.routes[service]
        else:
            self.routes[service] = route
        self._routes_changed = True
        self._dirty.add(service)
        self._changed()

    def put_endpoints(self, service: ServiceName, endpoints: EndpointSet | None) -> None:
        """Endpoints as they are now; None: nobody publishes any."""
        if self.endpoints.get(service) == endpoints:
            return
        if endpoints is None:
            del self.endpoints[service]
        else:
            self.endpoints[service] = endpoints
        self._dirty.add(service)
        self._changed()

    def mark_synced(self) -> None:
        """Everything that ZooKeeper has was read."""
        if not self.synced:
            self.synced = True
            self._changed()

    def take(self) -> tuple[bool, frozenset[ServiceName]]:
        """Whether routes have changed, and services of which something has, since the last time this was asked."""
        taken = self._routes_changed, frozenset(self._dirty)
        self._routes_changed = False
        self._dirty.clear()
        return taken


class Follower:
    """Keeps a `World` up to date. `run` until cancelled."""

    def __init__(self, *, zookeeper: ZooKeeper, root: str, group: str, world: World, resync: float = _RESYNC) -> None:
        self._zookeeper = zookeeper
        self._root = root
        self._group = f"{root}{wire.ROUTES}/{group}"
        self._name = group
        self._world = world
        self._resync = resync
        self._woken = asyncio.Event()
        self._stale: set[str] = set()
        self._watched: dict[str, Callable[[], None]] = {}

    async def run(self) -> None:
        """Read everything, then what changes."""
        self._watch(self._group)
        # the children of this one change when a root is made or taken away
        self._watch(self._root)
        self._wake(self._group)
        loop = asyncio.get_running_loop()
        whole = loop.time() + self._resync
        while True:
            try:
                async with asyncio.timeout(max(0.0, whole - loop.time())):
                    await self._woken.wait()
            except TimeoutError:
                whole = loop.time() + self._resync
                self._stale |= {self._group, *self._watched}
            # what a watch's caller has asked for before is sent before what follows here
            await asyncio.sleep(0)
            self._woken.clear()
            stale, self._stale = self._stale, set()
            try:
                await self._read(stale)
            except (Transient, Denied) as error:
                log.warning("ZooKeeper cannot be read, what is carried stays as it is: %s", error)
                self._stale |= stale
                loop.call_later(_RETRY, self._woken.set)

    def _watch(self, path: str) -> None:
        if path not in self._watched:
            self._watched[path] = self._zookeeper.watch(path, lambda: self._wake(path))

    def _unwatch(self, path: str) -> None:
        end = self._watched.pop(path, None)
        if end is not None:
            end()

    def _wake(self, path: str) -> None:
        self._stale.add(path)
        self._woken.set()

    # ------------------------------------------------------------------------------------------------------- reading

    async def _read(self, stale: set[str]) -> None:
        if stale & {self._group, self._root}:
            await self._read_group()
        services = {self._service(path) for path in stale if path not in (self._group, self._root)}
        known = {service for service in services if service in self._world.routes}
        # most changes are of endpoints alone
        heads = {service for service in known if self._route(service) not in stale}
        await self._read_services({s for s in services if s in known or self._route(s) in stale} - heads)
        await self._read_heads(heads)

    async def _read_group(self) -> None:
        names = await self._zookeeper.children(self._group)
        if names is None and not await self._root_is_there():
            if self._world.routes:
                log.error("there is nothing at %s in ZooKeeper any more; what is carried stays as it is", self._root)
            return
        services = {ServiceName.parse(name) for name in names or ()}
        for gone in self._world.routes.keys() - services:
            self._unwatch(self._route(gone))
            self._unwatch(self._endpoints(gone))
            self._world.put_route(gone, None)
            self._world.put_endpoints(gone, None)
        fresh = [service for service in services if self._route(service) not in self._watched]
        for service in fresh:
            self._watch(self._route(service))
            self._watch(self._endpoints(service))
        # the watches are on their way to the server before the reads are
        await asyncio.sleep(0)
        try:
            await self._read_services(fresh)
        except ShurenError:
            for service in fresh:  # still to be read, before we may say that everything was
                self._unwatch(self._route(service))
                self._unwatch(self._endpoints(service))
            raise
        self._world.mark_synced()

    async def _root_is_there(self) -> bool:
        return await self._zookeeper.get(f"{self._root}/meta") is not None

    async def _read_services(self, services: Iterable[ServiceName]) -> None:
        asked = sorted(services)
        if not asked:
            return
        nodes = await self._zookeeper.get_many([path for service in asked for path in (self._route(service), self._endpoints(service))])
        for service, route, head in zip(asked, nodes[::2], nodes[1::2], strict=True):
            try:
                await self._take(service, route, head)
            except Invalid as error:
                log.warning("what ZooKeeper says of %s cannot be read; what is carried stays as it is: %s", service, error)

    async def _read_heads(self, services: Iterable[ServiceName]) -> None:
        asked = sorted(services)
        if not asked:
            return
        nodes = await self._zookeeper.get_many([self._endpoints(service) for service in asked])
        # one that is not there may be withdrawn, or everything is lost: that the route tells
        await self._read_services(service for service, head in zip(asked, nodes, strict=True) if head is None)
        for service, head in zip(asked, nodes, strict=True):
            try:
                if head is not None:
                    await self._take_head(service, head)
            except Invalid as error:
                log.warning("what ZooKeeper says of %s cannot be read; what is carried stays as it is: %s", service, error)

    async def _take(self, service: ServiceName, route: Node | None, head: Node | None) -> None:
        if route is None:
            return  # the group's own children say whether it is gone
        self._world.put_route(service, wire.decode_route(route.data, service=service, group=self._name))
        await self._take_head(service, head)

    async def _take_head(self, service: ServiceName, head: Node | None) -> None:
        if head is None:
            self._world.put_endpoints(service, None)
            return
        decoded = wire.decode_head(head.data)
        chunks: list[bytes] = []
        if decoded.chunks:
            paths = [f"{self._endpoints(service)}/{wire.chunk_name(decoded.generation, n)}" for n in range(decoded.chunks)]
            found = await self._zookeeper.get_many(paths)
            chunks = [node.data for node in found if node is not None]
            if len(chunks) != decoded.chunks:
                return  # a newer head is being written; its watch wakes us
        self._world.put_endpoints(service, wire.decode_endpoints(decoded, chunks))

    def _route(self, service: ServiceName) -> str:
        return f"{self._group}/{service}"

    def _endpoints(self, service: ServiceName) -> str:
        return f"{self._root}{wire.ENDPOINTS}/{service}"

    @staticmethod
    def _service(path: str) -> ServiceName:
        return ServiceName.parse(path.rsplit("/", 1)[1])

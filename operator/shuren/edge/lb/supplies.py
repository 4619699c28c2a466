"""What routes and endpoints name and ZooKeeper does not hold: certificates, users, addresses of host names. Fetched beside the passes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping

from shuren.domain.errors import ShurenError
from shuren.domain.haproxy.claims import Carried
from shuren.domain.haproxy.compose import Options, read_routes
from shuren.domain.haproxy.materials import Material, Materials, needs
from shuren.domain.haproxy.servers import host_names
from shuren.domain.service.values import EndpointSet, Route, ServiceName
from shuren.edge.lb.materials import MaterialStore
from shuren.edge.lb.names import Names

log = logging.getLogger(__name__)

Changed = Callable[[Iterable[ServiceName], Iterable[Material]], None]
_RETRY = 5.0


class Supplies:
    """Knows what is wanted, and keeps it fresh. `changed` gets services whose addresses, and materials whose content has changed."""

    def __init__(self, *, store: MaterialStore, names: Names, material_interval: float, resolve_interval: float) -> None:
        self.changed: Changed = lambda _, __: None
        self.version = 0
        """Rises whenever an address changes."""
        self._store = store
        self._names = names
        self._material_interval = material_interval
        self._resolve_interval = resolve_interval
        self._hosts: dict[ServiceName, frozenset[str]] = {}
        self._needed: frozenset[Material] = frozenset()
        self._needed_now = asyncio.Event()
        self._hosts_now = asyncio.Event()

    # ------------------------------------------------------------------------------------------------------- answers

    @property
    def materials(self) -> Materials:
        """What is there."""
        return self._store.materials

    @property
    def addresses(self) -> Mapping[str, tuple[str, ...]]:
        """Addresses of host names."""
        return self._names.addresses

    def content(self, material: Material) -> str:
        """KeyError when it is not there."""
        return self._store.content(material)

    def problem(self, endpoints: EndpointSet | None) -> str:
        """Host names of a service that lead nowhere, in words for its status."""
        named = host_names(endpoints.endpoints) if endpoints is not None and self._names.failed else frozenset()
        lost = sorted(name for name in named & self._names.failed if name not in self._names.addresses)
        return f"cannot be resolved on this load balancer: {', '.join(lost)}" if lost else ""

    # -------------------------------------------------------------------------------------------------------- wishes

    def restore(self, routes: Iterable[Route]) -> None:
        """What lies on this host from before."""
        carried, _ = read_routes(routes, Options(backend_lines=True))
        self._needed = frozenset(m for c in carried for m in needs(c.service, c.settings))
        self._store.restore(self._needed)

    def want(self, endpoints: Mapping[ServiceName, EndpointSet | None]) -> None:
        """The endpoints of these services have changed."""
        for service, given in endpoints.items():
            named = host_names(given.endpoints) if given is not None else frozenset()
            if named - self._names.addresses.keys() - self._names.failed:
                self._hosts_now.set()
            if named:
                self._hosts[service] = named
            else:
                self._hosts.pop(service, None)

    def carried(self, carried: Collection[Carried]) -> None:
        """These routes are carried, or shall be."""
        self._needed = frozenset(m for c in carried for m in needs(c.service, c.settings))
        if self._store.unknown(self._needed):
            self._needed_now.set()

    # --------------------------------------------------------------------------------------------------------- tasks

    def tasks(self) -> list[Coroutine[None, None, None]]:
        """What has to run beside the passes."""
        return [
            self._keep(self._refresh_materials, self._needed_now, self._material_interval),
            self._keep(self._refresh_names, self._hosts_now, self._resolve_interval),
        ]

    @staticmethod
    async def _keep(refresh: Callable[[], Coroutine[None, None, bool]], now: asyncio.Event, interval: float) -> None:
        """Now, whenever it is asked for, and after `interval`; soon again as long as something is not as it shall be (False)."""
        while True:
            wait = interval
            try:
                if not await refresh():
                    wait = min(_RETRY, interval)
            except (ShurenError, OSError) as error:
                log.warning("what routes name cannot be brought just now: %s", error)
                wait = min(_RETRY, interval)
            try:
                async with asyncio.timeout(wait):
                    await now.wait()
            except TimeoutError:
                pass
            now.clear()

    async def _refresh_materials(self) -> bool:
        changed = await self._store.refresh(self._needed)
        if changed:
            self.changed((), changed)
        return self._store.complete

    async def _refresh_names(self) -> bool:
        wanted = frozenset(name for names in self._hosts.values() for name in names)
        changed = await self._names.refresh(wanted)
        if changed:
            self.version += 1
            self.changed([service for service, names in self._hosts.items() if names & changed], ())
        return True

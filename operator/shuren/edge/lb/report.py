"""What is acknowledged of each service: generations, sessions of drained endpoints, problems, counters."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from shuren.clients.haproxy.master import Master
from shuren.clients.haproxy.runtime import RuntimeApi
from shuren.domain.errors import ShurenError
from shuren.domain.haproxy.converge import BackendPlan
from shuren.domain.haproxy.traffic import Ledger, Share, StatRow, account, counters, sessions
from shuren.domain.json import JsonValue
from shuren.domain.service.values import Applied, ServiceName
from shuren.edge.lb.balancer import Balancer
from shuren.edge.lb.servers import Servers

log = logging.getLogger(__name__)

_GRACE = 1.0
"""Seconds beyond the keep-alive timeout for which a worker of before a reload may still hold idle clients."""


class Acknowledge(Protocol):
    """Where it goes: `register.Registrar`."""

    def put(self, applied: Applied) -> None:
        """This is what there is to say of a service now."""

    def keep_only(self, services: Sequence[ServiceName]) -> None:
        """Of all others there is nothing to say any more."""


@dataclass(kw_only=True)
class Reporter:
    """Looks at HAProxy's counters and says what it has seen. All methods are called by one task."""

    balancer: Balancer
    servers: Servers
    api: RuntimeApi
    master: Master
    monotonic: Callable[[], float]
    acknowledge: Acknowledge
    _endpoints: dict[ServiceName, int] = field(default_factory=dict)
    _counters: dict[ServiceName, dict[str, JsonValue]] = field(default_factory=dict)
    _sessions: dict[ServiceName, dict[str, int]] = field(default_factory=dict)
    _ledger: Ledger = field(default_factory=Ledger)

    def settled(self, service: ServiceName, generation: int) -> None:
        """HAProxy carries the endpoints of this generation."""
        self._endpoints[service] = generation

    def keep_only(self, services: Iterable[ServiceName]) -> None:
        """Services that are gone."""
        kept = set(services)
        for known in (self._endpoints, self._counters, self._sessions):
            for service in known.keys() - kept:
                del known[service]
        self.acknowledge.keep_only(sorted(kept))

    async def report(
        self, plans: Mapping[ServiceName, Sequence[BackendPlan]], problems: Mapping[ServiceName, str]
    ) -> frozenset[ServiceName]:
        """Acknowledge these services as they are now. Gives those whose drained endpoints still have something to do."""
        busy = await self._drained(plans)
        for service, backends in plans.items():
            if service not in self._endpoints:
                continue
            loaded = self.balancer.loaded
            route = loaded.routes.get(service) if loaded is not None else None
            self.acknowledge.put(
                Applied(
                    service=service,
                    endpoints=self._endpoints[service],
                    route=route.generation if route is not None else 0,
                    sessions=self._sessions.get(service, {}),
                    up=self.servers.up(plan.name for plan in backends),
                    up_of=self.servers.up_of(plan.name for plan in backends),
                    problem=problems.get(service, ""),
                    reloads=self.balancer.reloads,
                    last_reload=self.balancer.last_reload,
                    counters=self._counters.get(service, {}),
                )
            )
        return busy

    # ------------------------------------------------------------------------------------------------------- drained

    async def _drained(self, plans: Mapping[ServiceName, Sequence[BackendPlan]]) -> frozenset[ServiceName]:
        draining = {
            (plan.name, server.name): server.endpoint
            for backends in plans.values()
            for plan in backends
            for server in plan.servers
            if server.draining
        }
        if not draining:
            for service in plans:
                self._sessions.pop(service, None)
            return frozenset()
        asked = sorted({backend for backend, _ in draining})
        current = await self.api.statistics(asked)
        leaving = await self._leaving(asked)
        busy: set[ServiceName] = set()
        for service, backends in plans.items():
            names = {plan.name for plan in backends}
            own = {at: endpoint for at, endpoint in draining.items() if at[0] in names}
            self._sessions[service] = sessions(own, current, leaving)
            if self._sessions[service]:
                busy.add(service)
        return frozenset(busy)

    async def _leaving(self, backends: Sequence[str]) -> list[tuple[Sequence[StatRow], bool]]:
        """Counters of workers of before a reload, and whether idle clients may still be with them."""
        if not self.balancer.old_since:
            return []
        alive = set((await self.master.processes()).old)
        for gone in self.balancer.old_since.keys() - alive:
            del self.balancer.old_since[gone]
        loaded = self.balancer.loaded
        idle_for = (loaded.composition.keep_alive / 1000 if loaded is not None else 0.0) + _GRACE
        found: list[tuple[Sequence[StatRow], bool]] = []
        for pid, since in self.balancer.old_since.items():
            try:
                rows = await self.master.worker_statistics(pid, backends)
            except ShurenError as error:
                log.debug("worker %d says nothing any more: %s", pid, error)
                continue
            found.append((rows, self.monotonic() - since < idle_for))
        return found

    # ------------------------------------------------------------------------------------------------------- counters

    async def count(self, plans: Mapping[ServiceName, Sequence[BackendPlan]]) -> frozenset[ServiceName]:
        """Read HAProxy's counters. Gives the services whose counters have changed."""
        worker = int((await self.api.info()).get("Pid", "0"))
        rows = await self.api.statistics()
        shares = {
            (plan.name, server.name): Share(service=service, label=server.app)
            for service, backends in plans.items()
            for plan in backends
            for server in plan.servers
        }
        self._ledger = account(self._ledger, worker=worker, rows=rows, shares=shares)
        kept = {share: totals for share, totals in self._ledger.totals.items() if share.service in plans}
        self._ledger = Ledger(totals=kept, readings=self._ledger.readings)
        by_service: dict[ServiceName, dict[Share, object]] = {}
        changed: set[ServiceName] = set()
        for share in kept:
            by_service.setdefault(share.service, {})[share] = None
        for service, own in by_service.items():
            part = Ledger(totals={share: kept[share] for share in own})
            fresh = counters(part, service)
            if fresh != self._counters.get(service):
                self._counters[service] = fresh
                changed.add(service)
        return frozenset(changed)

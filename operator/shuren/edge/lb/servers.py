"""Brings the servers of HAProxy's backends to what they shall be, by the runtime API alone, and knows how far it has got."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from shuren.clients.haproxy.runtime import RuntimeApi
from shuren.domain.haproxy.converge import BackendPlan, ObservedServer, converge
from shuren.domain.haproxy.servers import Admin
from shuren.edge.lb.metrics import Metrics

log = logging.getLogger(__name__)

_FEW = 64
"""Backends up to which each is asked for by name; beyond, all are read at once."""


@dataclass(kw_only=True)
class _Known:
    """What was last seen of a backend."""

    servers: tuple[ObservedServer, ...] = ()
    settled: bool = False
    leaving: tuple[str, ...] = ()
    waiting: int = 0
    up: int = 0
    drained: tuple[str, ...] = ()


@dataclass(kw_only=True)
class Servers:
    """Servers of all backends. Everything is read back after it was told: what counts is what HAProxy shows."""

    api: RuntimeApi
    metrics: Metrics
    _known: dict[str, _Known] = field(default_factory=dict)

    async def converge(self, plans: Mapping[str, BackendPlan], *, repair: bool = False) -> bool:
        """Close the gap of these backends. False when some of it is still open afterwards.

        `repair`: nothing was asked for, so whatever has to be told now somebody else has changed.
        """
        if not plans:
            return True
        observed = await self._observe(plans)
        commands: list[str] = []
        changes = 0
        for name, plan in plans.items():
            gap = converge(plan, observed.get(name, ()))
            commands += gap.commands
            changes += gap.changes
        if commands:
            if repair and changes:
                log.warning("%d changes that nobody asked for are put right in HAProxy, first: %s", changes, commands[0])
                self.metrics.repaired(changes)
            refused = await self.api.execute(commands)
            self.metrics.told(len(commands), len(refused))
            observed = await self._observe(plans)
        done = True
        for name, plan in plans.items():
            done &= self._note(plan, observed.get(name, ()))
        return done

    async def _observe(self, plans: Mapping[str, BackendPlan]) -> dict[str, list[ObservedServer]]:
        found: dict[str, list[ObservedServer]] = {}
        for server in await self.api.servers(tuple(plans) if len(plans) <= _FEW else ()):
            found.setdefault(server.backend, []).append(server)
        return found

    def _note(self, plan: BackendPlan, observed: Iterable[ObservedServer]) -> bool:
        servers = tuple(observed)
        gap = converge(plan, servers)
        by_name = {server.name: server for server in servers}
        ready = [by_name[s.name] for s in plan.servers if s.admin is Admin.READY and s.name in by_name]
        known = _Known(
            servers=servers,
            settled=gap.changes == 0,
            leaving=gap.leaving,
            waiting=sum(not server.up for server in ready),
            up=sum(server.up and server.state is Admin.READY for server in ready),
        )
        self._known[plan.name] = known
        if not known.settled:
            log.warning("HAProxy does not carry %s as told; first: %s", plan.name, gap.commands[0])
        return known.settled

    # ------------------------------------------------------------------------------------------------------ answers

    def settled(self, backends: Iterable[str]) -> bool:
        """Whether HAProxy carried these as told when it was last asked."""
        return all((known := self._known.get(name)) is not None and known.settled for name in backends)

    def up(self, backends: Iterable[str]) -> int:
        """Servers that are ready and whose check passes."""
        return sum(known.up for name in backends if (known := self._known.get(name)) is not None)

    def unfinished(self, backends: Iterable[str]) -> bool:
        """Whether something goes on by itself: servers to be deleted, or to pass their first checks."""
        return any(known.leaving or known.waiting for name in backends if (known := self._known.get(name)) is not None)

    def ids(self) -> dict[str, dict[str, int]]:
        """Ids that servers have in HAProxy."""
        return {name: {server.name: server.id for server in known.servers} for name, known in self._known.items()}

    def count(self) -> dict[str, int]:
        """Servers by what they are: for metrics."""
        totals = {"up": 0, "waiting": 0, "leaving": 0, "all": 0}
        for known in self._known.values():
            totals["up"] += known.up
            totals["waiting"] += known.waiting
            totals["leaving"] += len(known.leaving)
            totals["all"] += len(known.servers)
        return totals

    def forget(self) -> None:
        """HAProxy has begun anew."""
        self._known.clear()

    def keep_only(self, backends: Iterable[str]) -> None:
        """Backends that are gone need no memory."""
        kept = set(backends)
        self._known = {name: known for name, known in self._known.items() if name in kept}

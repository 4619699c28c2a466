"""Brings the servers of HAProxy's backends to what they shall be, by the runtime API alone, and knows how far it has got."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from shuren.clients.haproxy.runtime import RuntimeApi
from shuren.domain.haproxy.converge import BackendPlan, Gap, ObservedServer, converge
from shuren.domain.haproxy.servers import Admin
from shuren.edge.lb.metrics import Metrics

log = logging.getLogger(__name__)

_FEW = 64
"""Backends up to which each is asked for by name; beyond, all are read at once."""


@dataclass(kw_only=True)
class _Known:
    """What was last seen of a backend, and how far it was from its plan."""

    plan: BackendPlan
    gap: Gap
    servers: tuple[ObservedServer, ...] = ()
    settled: bool = False
    leaving: tuple[str, ...] = ()
    waiting: int = 0
    up: int = 0
    endpoints: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Endpoints by app of which every server is ready and up."""
    spare: bool = False


@dataclass(kw_only=True)
class Servers:
    """Servers of all backends. Everything is read back after it was told: what counts is what HAProxy shows."""

    api: RuntimeApi
    metrics: Metrics
    _known: dict[str, _Known] = field(default_factory=dict)

    async def converge(self, plans: Mapping[str, BackendPlan], *, fresh: Collection[str] | None = None, repair: bool = False) -> bool:
        """Close the gap of these backends. False when some of it is still open afterwards.

        `fresh` are backends of which something may have changed by itself; None: all of them. The others begin with what was last seen,
        where that was as told; what has changed since shows when it is read back. `repair`: nothing was asked for, so whatever has to be
        told now somebody else has changed.
        """
        if not plans:
            return True
        asked = plans if fresh is None else {name: plan for name, plan in plans.items() if name in fresh or not self.settled([name])}
        observed: dict[str, Sequence[ObservedServer]] = {name: self._known[name].servers for name in plans.keys() - asked.keys()}
        if asked:
            observed |= dict.fromkeys(asked, ())
            observed |= await self._observe(asked)
        gaps = {name: self._gap(plan, observed[name]) for name, plan in plans.items()}
        # what traffic feels comes first, of all backends; deletions stop all threads of HAProxy one by one
        ordered = [gaps[name] for name in sorted(gaps, key=lambda name: plans[name].spare)]
        commands = [command for gap in ordered for command in gap.commands[: gap.changes]]
        commands += [command for gap in ordered for command in gap.commands[gap.changes :]]
        if commands:
            changes = sum(gap.changes for gap in gaps.values())
            if repair and changes:
                log.warning("%d changes that nobody asked for are put right in HAProxy, first: %s", changes, commands[0])
                self.metrics.repaired(changes)
            refused = await self.api.execute(commands)
            self.metrics.told(len(commands), len(refused))
            touched = {name: plan for name, plan in plans.items() if gaps[name].commands}
            observed |= dict.fromkeys(touched, ())
            observed |= await self._observe(touched)
            gaps |= {name: self._gap(plan, observed[name]) for name, plan in touched.items()}
        for name, plan in plans.items():
            self._note(plan, observed[name], gaps[name])
        return all(gap.changes == 0 for gap in gaps.values())

    def _gap(self, plan: BackendPlan, observed: Sequence[ObservedServer]) -> Gap:
        """What separates them; known already where neither has changed, as most of the time when everything is looked at."""
        known = self._known.get(plan.name)
        if known is not None and known.plan is plan and known.servers == tuple(observed):
            return known.gap
        return converge(plan, observed)

    async def _observe(self, plans: Mapping[str, BackendPlan]) -> dict[str, list[ObservedServer]]:
        found: dict[str, list[ObservedServer]] = {}
        for server in await self.api.servers(tuple(plans) if len(plans) <= _FEW else ()):
            found.setdefault(server.backend, []).append(server)
        return found

    def _note(self, plan: BackendPlan, observed: Iterable[ObservedServer], gap: Gap) -> None:
        servers = tuple(observed)
        before = self._known.get(plan.name)
        if before is not None and before.plan is plan and before.gap is gap and before.settled:
            return
        by_name = {server.name: server for server in servers}
        ready = [by_name[s.name] for s in plan.servers if s.admin is Admin.READY and s.name in by_name]
        up = {server.name for server in ready if server.up and server.state is Admin.READY}
        missing = {s.endpoint for s in plan.servers if s.name not in up}
        endpoints: dict[str, set[str]] = {}
        for wanted in plan.servers:
            if wanted.app and wanted.endpoint not in missing:
                endpoints.setdefault(wanted.app, set()).add(wanted.endpoint)
        self._known[plan.name] = _Known(
            plan=plan,
            gap=gap,
            servers=servers,
            settled=gap.changes == 0,
            leaving=gap.leaving,
            waiting=sum(not server.up for server in ready),
            up=len(up),
            endpoints={app: frozenset(own) for app, own in endpoints.items()},
            spare=plan.spare,
        )
        if gap.changes:
            log.warning("HAProxy does not carry %s as told; first: %s", plan.name, gap.commands[0])

    # ------------------------------------------------------------------------------------------------------ answers

    def settled(self, backends: Iterable[str]) -> bool:
        """Whether HAProxy carried these as told when it was last asked."""
        return all((known := self._known.get(name)) is not None and known.settled for name in backends)

    def up(self, backends: Iterable[str]) -> int:
        """Servers that are ready and whose check passes."""
        return sum(known.up for name in backends if (known := self._known.get(name)) is not None and not known.spare)

    def up_of(self, backends: Iterable[str]) -> dict[str, int]:
        """Endpoints by app that are ready and up in all of these backends."""
        seen = [known.endpoints for name in backends if (known := self._known.get(name)) is not None and not known.spare]
        apps = frozenset[str]().union(*seen)
        return {app: len(frozenset.intersection(*(own.get(app, frozenset()) for own in seen))) for app in apps}

    def unfinished(self, backends: Iterable[str]) -> bool:
        """Whether something goes on by itself: servers to be deleted, or to pass their first checks."""
        return any(known.leaving or known.waiting for name in backends if (known := self._known.get(name)) is not None)

    def ids(self) -> dict[str, dict[str, int]]:
        """Ids that servers have in HAProxy."""
        return {name: {server.name: server.id for server in known.servers} for name, known in self._known.items()}

    def count(self) -> dict[str, int]:
        """Servers by what they are, spares left out: for metrics."""
        totals = {"up": 0, "waiting": 0, "leaving": 0, "all": 0}
        for known in [known for known in self._known.values() if not known.spare]:
            totals["up"] += known.up
            totals["waiting"] += known.waiting
            totals["leaving"] += len(known.leaving)
            totals["all"] += len(known.servers)
        return totals

    def unsettle(self) -> None:
        """What was seen may be of another worker."""
        for known in self._known.values():
            known.settled = False

    def forget(self) -> None:
        """HAProxy has begun anew."""
        self._known.clear()

    def keep_only(self, backends: Iterable[str]) -> None:
        """Backends that are gone need no memory."""
        kept = set(backends)
        self._known = {name: known for name, known in self._known.items() if name in kept}

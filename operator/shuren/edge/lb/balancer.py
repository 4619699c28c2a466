"""The configuration that HAProxy runs: chosen, validated, loaded; reloaded only when a listener makes it necessary."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from shuren.clients.haproxy.master import Master
from shuren.clients.haproxy.runtime import RuntimeApi
from shuren.domain.errors import Invalid, ShurenError
from shuren.domain.haproxy.converge import BackendPlan
from shuren.domain.haproxy.document import Change, compare, fingerprint, write
from shuren.domain.service.values import Route, ServiceName
from shuren.edge.lb.candidates import Candidates, Chosen, Circumstances, Ids, choose
from shuren.edge.lb.disk import StateDirectory
from shuren.edge.lb.metrics import Metrics
from shuren.edge.lb.preflight import blocked
from shuren.edge.lb.process import Program
from shuren.ports.clock import Clock

log = logging.getLogger(__name__)

_PATIENCE, _PAUSE = 20, 0.1
"""How often, and how many seconds apart, ports that are in use are asked for before HAProxy is started without them."""
_REASONS = 3
"""Reasons of a reload that are named; of more the rest is counted."""


class Balancer:
    """What is loaded and what was good. All methods are called by one task."""

    def __init__(
        self,
        *,
        disk: StateDirectory,
        program: Program,
        api: RuntimeApi,
        master: Master,
        clock: Clock,
        metrics: Metrics,
        same_rights: bool,
    ) -> None:
        self._disk = disk
        self._program = program
        self._api = api
        self._master = master
        self._clock = clock
        self._metrics = metrics
        self._same_rights = same_rights
        self._candidates = Candidates(disk=disk, program=program)
        self._refused: dict[ServiceName, tuple[Route, str]] = {}
        self.running = False
        """Whether there is a HAProxy."""
        self.loaded: Chosen | None = None
        """What it runs; None while that is not known."""
        self.good: dict[ServiceName, Route] = {}
        self.reloads = 0
        self.last_reload = ""
        self.old_since: dict[int, float] = {}
        """Workers that are on their way out, and when (monotonic) they were told to go."""

    # ------------------------------------------------------------------------------------------------------ choosing

    def choose(self, routes: Mapping[ServiceName, Route], circumstances: Circumstances) -> tuple[Chosen, Circumstances, Change]:
        """What can be carried of these routes, and what it takes from what is loaded. Nothing is changed."""
        chosen = choose(routes, good=self.good, refused=self._still_refused(routes), circumstances=circumstances)
        why = blocked(chosen.composition.binds - self._bound(), same_rights=self._same_rights) if self._asks_ports() else {}
        if why:
            circumstances = replace(circumstances, options=replace(circumstances.options, blocked=why))
            chosen = choose(routes, good=self.good, refused=self._still_refused(routes), circumstances=circumstances)
        before = self.loaded.composition.document if self.loaded is not None else None
        return chosen, circumstances, compare(before, chosen.composition.document)

    def _asks_ports(self) -> bool:
        """Of a HAProxy whose configuration is not known the ports are not either: what is in use may be its own."""
        return self.loaded is not None or not self.running

    def _bound(self) -> frozenset[tuple[str, int]]:
        return self.loaded.composition.binds if self.loaded is not None else frozenset()

    def _still_refused(self, routes: Mapping[ServiceName, Route]) -> dict[ServiceName, str]:
        self._refused = {s: (route, why) for s, (route, why) in self._refused.items() if routes.get(s) == route}
        return {service: why for service, (_, why) in self._refused.items()}

    def reconsider(self) -> None:
        """What was refused may be good now."""
        self._refused.clear()

    # ------------------------------------------------------------------------------------------------------- loading

    async def start(self, routes: Mapping[ServiceName, Route], circumstances: Circumstances) -> None:
        """Start HAProxy with all of it, servers included."""
        self.loaded = None
        for _ in range(_PATIENCE):
            chosen, chosen_for, _ = self.choose(routes, circumstances)
            if not chosen_for.options.blocked:
                break
            # workers of a HAProxy that has just ended let go of their ports a moment later
            await self._clock.sleep(_PAUSE)
        circumstances = chosen_for
        chosen, directory = await self._validated(chosen, routes, circumstances)
        before = self._disk.switch(directory)
        self._disk.put_state("1\n")
        await self._program.start()
        self._metrics.started()
        self._take(chosen)
        self._disk.tidy([before])

    def adopt(self, routes: Mapping[ServiceName, Route], circumstances: Circumstances, *, structure: str) -> None:
        """HAProxy runs already: take what it has loaded as known, if it is what we would write of these routes."""
        chosen = choose(routes, good={}, refused={}, circumstances=circumstances)
        if fingerprint(chosen.composition.document) == structure:
            self._take(chosen)

    async def reload(self, routes: Mapping[ServiceName, Route], circumstances: Circumstances) -> None:
        """Load what can be carried of these routes. The configuration in use stays when there is none, or HAProxy cannot start by it."""
        chosen, circumstances, change = self.choose(routes, circumstances)
        if not change.reload:
            return
        began = self._clock.monotonic()
        chosen, directory = await self._validated(chosen, routes, circumstances)
        change = compare(self.loaded.composition.document if self.loaded is not None else None, chosen.composition.document)
        if not change.reload:  # all that was new in it was refused
            self._disk.discard(directory)
            await self.carry(chosen, change)
            return
        before = self._disk.switch(directory)
        self._disk.put_state(await self._api.servers_as_text())
        workers = (await self._master.processes()).workers
        try:
            await self._master.reload()
        except Invalid as error:
            self._metrics.not_reloaded()
            self._give_back(before, directory, chosen, routes, error)
            raise
        for worker in workers:
            self.old_since[worker] = self._clock.monotonic()
        self._take(chosen)
        self._disk.tidy([before])
        self._metrics.reloaded(self._clock.monotonic() - began)
        self.reloads += 1
        self.last_reload = f"{self._clock.now():%Y-%m-%dT%H:%M:%SZ} {_summary(change.reasons)}"
        log.info("HAProxy reloaded within %.2f s: %s", self._clock.monotonic() - began, _summary(change.reasons))

    async def _validated(self, chosen: Chosen, routes: Mapping[ServiceName, Route], circumstances: Circumstances) -> tuple[Chosen, Path]:
        try:
            valid, directory = await self._candidates.valid(
                routes, good=self.good, refused=self._still_refused(routes), circumstances=circumstances
            )
        except ShurenError:
            self._metrics.not_reloaded()
            raise
        for service, why in valid.refused.items():
            if service not in chosen.refused:
                self._refused[service] = (routes[service], why)
        return valid, directory

    def _give_back(self, before: Path | None, directory: Path, chosen: Chosen, routes: Mapping[ServiceName, Route], error: Invalid) -> None:
        """HAProxy goes on by the old configuration; so shall the next one that is started."""
        if before is not None:
            self._disk.switch(before)
        self._disk.discard(directory)
        for service, route in chosen.routes.items():
            if self.good.get(service) != route:
                self._refused[service] = (routes[service], f"HAProxy could not start with it: {error}")

    def _take(self, chosen: Chosen) -> None:
        self.loaded = chosen
        self.good = dict(chosen.routes)

    # -------------------------------------------------------------------------------------------------- without reload

    async def carry(self, chosen: Chosen, change: Change) -> None:
        """Take a choice that needs no reload: maps are put in place at run time, all else is the same already."""
        for name in change.maps:
            await self._api.replace_map(name, chosen.composition.document.maps[name])
        self._take(chosen)

    async def repair_maps(self) -> None:
        """Maps that somebody else has changed."""
        for name, entries in self.loaded.composition.document.maps.items() if self.loaded is not None else ():
            if await self._api.map_entries(name) != set(entries):
                log.warning("map %s was changed by somebody else and is put right", name)
                self._metrics.repaired(1)
                await self._api.replace_map(name, entries)

    async def has_all_backends(self) -> bool:
        """Whether HAProxy runs what we believe it does."""
        if self.loaded is None:
            return False
        wanted = {key.name for keys in self.loaded.composition.backends.values() for key in keys}
        return wanted <= await self._api.backends()

    def rewrite(self, plans: Mapping[str, BackendPlan], ids: Ids) -> None:
        """Bring the files of the configuration in use up to date with servers and maps as they are now."""
        if self.loaded is not None:
            self._disk.rewrite(write(self.loaded.composition.document, plans, ids))

    @property
    def structure(self) -> str:
        """Fingerprint of what is loaded."""
        return fingerprint(self.loaded.composition.document) if self.loaded is not None else ""


def _summary(reasons: tuple[str, ...]) -> str:
    rest = len(reasons) - _REASONS
    return ", ".join(reasons[:_REASONS]) + (f" and {rest} more" if rest > 0 else "")

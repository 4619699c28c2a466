"""From routes to a configuration that HAProxy takes: whoever spoils it is found and left out, and nobody else.

A service whose new route is refused goes on with the one from before, if there was one. HAProxy names file and line of most errors, and so
the service; for the others the changed routes are halved until those that cannot be are found.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shuren.domain.errors import Invalid
from shuren.domain.haproxy.claims import Carried
from shuren.domain.haproxy.compose import Composition, Globals, Options, compose, plans, read_routes
from shuren.domain.haproxy.converge import BackendPlan
from shuren.domain.haproxy.document import Written, blamed, write
from shuren.domain.haproxy.materials import Materials
from shuren.domain.service.values import EndpointSet, Route, ServiceName
from shuren.edge.lb.disk import StateDirectory
from shuren.edge.lb.process import Program

log = logging.getLogger(__name__)

Ids = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """All that a configuration depends on beside routes."""

    machine: Globals
    materials: Materials
    options: Options
    endpoints: Mapping[ServiceName, EndpointSet]
    resolved: Mapping[str, Sequence[str]]
    ids: Ids


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Routes that can be carried together. `refused` says why a service's newest route is not among them."""

    routes: Mapping[ServiceName, Route]
    carried: tuple[Carried, ...]
    composition: Composition
    refused: Mapping[ServiceName, str]

    def problem(self, service: ServiceName) -> str:
        """What is not as the service asks, in words for its status; empty when all is."""
        told = [self.refused[service]] if service in self.refused else []
        return "; ".join([*told, *self.composition.problems.get(service, ())])


def choose(
    routes: Mapping[ServiceName, Route],
    *,
    good: Mapping[ServiceName, Route],
    refused: Mapping[ServiceName, str],
    circumstances: Circumstances,
) -> Chosen:
    """Compose all routes that can be read and were not refused; for the others those that were good before."""
    taken = {service: route for service, route in routes.items() if service not in refused}
    carried, unread = read_routes(taken.values(), circumstances.options)
    problems = {**refused, **unread}
    fallback = [good[service] for service in problems if service in good and service in routes]
    again, _ = read_routes(fallback, circumstances.options)
    every = (*carried, *again)
    composition = compose(every, machine=circumstances.machine, materials=circumstances.materials, options=circumstances.options)
    return Chosen(routes={c.service: c.route for c in every}, carried=every, composition=composition, refused=problems)


def all_plans(chosen: Chosen, circumstances: Circumstances) -> dict[str, BackendPlan]:
    """The servers of every backend."""
    return {
        plan.name: plan
        for service in chosen.composition.backends
        for plan in plans(chosen.composition, service, circumstances.endpoints.get(service), circumstances.resolved)
    }


class Candidates:
    """Finds configurations that HAProxy takes."""

    def __init__(self, *, disk: StateDirectory, program: Program) -> None:
        self._disk = disk
        self._program = program

    async def valid(
        self,
        routes: Mapping[ServiceName, Route],
        *,
        good: Mapping[ServiceName, Route],
        refused: Mapping[ServiceName, str],
        circumstances: Circumstances,
    ) -> tuple[Chosen, Path]:
        """What can be carried, and the directory with its configuration, which HAProxy has found good.

        Invalid when nothing helps: then the fault lies with the load balancer's own settings.
        """
        told, kept = dict(refused), dict(good)
        for _ in range(2 * len(routes) + 1):
            chosen = choose(routes, good=kept, refused=told, circumstances=circumstances)
            directory, output, written = await self._try(chosen, circumstances)
            if not output:
                return chosen, directory
            self._disk.discard(directory)
            suspects = sorted((s for s, route in chosen.routes.items() if kept.get(s) != route), key=lambda s: (routes[s].since, s))
            guilty = blamed(output, written) & chosen.routes.keys()
            guilty = guilty or await self._search(suspects, routes, kept, told, circumstances)
            if not guilty:
                raise Invalid(f"HAProxy refuses the load balancer's own settings: {said(output)}")
            for service in guilty:
                log.error("%s is left out, HAProxy refuses what it asks for: %s", service, said(output))
                if service in told:  # what was good before is so no longer
                    kept.pop(service, None)
                told[service] = f"HAProxy refuses it: {said(output)}"
        raise Invalid("HAProxy refuses every configuration")

    async def _try(self, chosen: Chosen, circumstances: Circumstances) -> tuple[Path, str, Written]:
        written = write(chosen.composition.document, all_plans(chosen, circumstances), circumstances.ids)
        directory = self._disk.candidate(written)
        return directory, await self._program.validate(directory / "haproxy.cfg"), written

    async def _search(
        self,
        suspects: Sequence[ServiceName],
        routes: Mapping[ServiceName, Route],
        good: Mapping[ServiceName, Route],
        refused: Mapping[ServiceName, str],
        circumstances: Circumstances,
    ) -> frozenset[ServiceName]:
        """Those among the suspects without whom HAProxy would take it. Halves them, as long as a half alone is refused."""
        if len(suspects) <= 1:
            return frozenset(suspects)
        guilty: set[ServiceName] = set()
        middle = len(suspects) // 2
        for part in (suspects[:middle], suspects[middle:]):
            others = {s: "held back while the fault is searched" for s in suspects if s not in part}
            chosen = choose(routes, good=good, refused={**others, **refused}, circumstances=circumstances)
            directory, output, _ = await self._try(chosen, circumstances)
            self._disk.discard(directory)
            if output:
                guilty |= await self._search(part, routes, good, {**others, **refused}, circumstances)
        # each half alone is good: it is the two together, and the younger of them have to go
        return frozenset(guilty) or frozenset(suspects[middle:])


_PREFIX = re.compile(r"^\[ALERT\]\s*\(\d+\)\s*:\s*(config\s*:\s*)?")
_PATH = re.compile(r"[\w./-]*/(?=gen-\d+/|certs/)(gen-\d+/)?")
_SUMMARY = ("Error(s) found", "Fatal errors found", "Error in configuration file")
_LENGTH = 300


def said(output: str) -> str:
    """The first thing that HAProxy complains of, without the paths of this host."""
    alerts = [_PREFIX.sub("", line) for line in output.splitlines() if "[ALERT]" in line]
    first = next((line for line in alerts if not any(word in line for word in _SUMMARY)), output.strip())
    return _PATH.sub("", first)[:_LENGTH]

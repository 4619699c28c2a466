"""When a task may go: every load balancer has stopped sending to it and finished what it had.

The release gate that services add to the victims decision of an app (`domain.app.victims`). A registered load balancer that is not live may
still be serving, so it counts like any other; only time overrules it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from shuren.domain.service.snapshot import BalancerSeen
from shuren.domain.service.values import EndpointSet, EndpointState, ServiceName


@dataclass(frozen=True, kw_only=True, slots=True)
class Carrier:
    """A service with a route that has endpoints of the app: what is published, and the load balancers of its group."""

    service: ServiceName
    endpoints: EndpointSet | None
    balancers: tuple[BalancerSeen, ...]


def released(
    carriers: Sequence[Carrier], draining: Mapping[str, float], *, now: float, limit: float
) -> tuple[frozenset[str], Mapping[str, str]]:
    """Tasks that may go, and for the others what holds them up, as a sentence.

    `draining` are the tasks asked for with the moment (monotonic seconds) when that was; after `limit` seconds a task goes whatever load
    balancers say, for a silent one must not hold up a roll-out for ever.
    """
    free: set[str] = set()
    held: dict[str, str] = {}
    for task, since in draining.items():
        why = _held_up(carriers, task)
        if not why or now - since >= limit:
            free.add(task)
        else:
            held[task] = why
    return frozenset(free), held


def left(draining: Mapping[str, float], waiting: Collection[str], *, now: float, limit: float) -> float | None:
    """Seconds until the first of the waiting tasks goes in any case; None when none waits."""
    ends = [since + limit - now for task, since in draining.items() if task in waiting]
    return max(0.0, min(ends)) if ends else None


def _held_up(carriers: Sequence[Carrier], task: str) -> str:
    for carrier in carriers:
        if carrier.endpoints is None:
            return f"endpoints of {carrier.service} are not published yet"
        own = [e for e in carrier.endpoints.endpoints if e.task == task]
        if any(e.state is not EndpointState.DRAINING for e in own):
            return f"{carrier.service} has yet to publish that it drains"
        for seen in carrier.balancers:
            name = seen.balancer.id
            if seen.applied is None or seen.applied.endpoints < carrier.endpoints.generation:
                silent = "" if seen.balancer.live else ", whose agent does not run,"
                return f"load balancer {name}{silent} has yet to follow {carrier.service}"
            sessions = sum(seen.applied.sessions.get(e.id, 0) for e in own)
            if sessions:
                return f"load balancer {name} has {'a session' if sessions == 1 else 'sessions'} with it"
    return ""

"""How far load balancers are with the split of an app's traffic between two versions, and what they count of the new one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shuren.domain.app.snapshot import Carrier as Carriage
from shuren.domain.app.snapshot import Count
from shuren.domain.json import JsonValue
from shuren.domain.service.release import Carrier
from shuren.domain.service.values import EndpointState


def carried(carriers: Sequence[Carrier], *, lives_on: str, beside: str) -> tuple[Carriage, ...]:
    """The services that carry any of the two apps. One that publishes no endpoint of either has none of their traffic to move."""
    found = []
    for carrier in carriers:
        published = carrier.endpoints
        if published is not None and beside not in published.shares and not any(e.app in {lives_on, beside} for e in published.endpoints):
            continue
        share = published.shares.get(beside) if published is not None else None
        there = [e for e in published.endpoints if e.app == beside and e.state is EndpointState.READY] if published is not None else []
        found.append(
            Carriage(
                service=str(carrier.service),
                share=share,
                behind=_behind(carrier),
                ready=len({e.task for e in there}),
                unproven=_unproven(carrier, beside, len(there)),
                counts=_counts(carrier, beside),
            )
        )
    return tuple(found)


def _behind(carrier: Carrier) -> str:
    """Which load balancer has yet to follow. One whose agent is gone is not waited for: it serves on by old weights, to tasks that run."""
    if carrier.endpoints is None:
        return f"endpoints of {carrier.service} are not published yet"
    for seen in carrier.balancers:
        if seen.balancer.live and (seen.applied is None or seen.applied.endpoints < carrier.endpoints.generation):
            return f"load balancer {seen.balancer.id} has yet to follow {carrier.service}"
    return ""


def _unproven(carrier: Carrier, app: str, wanted: int) -> str:
    """Which load balancer has yet to see its own check pass for every endpoint of the app. One that does not tell is not waited for."""
    for seen in carrier.balancers:
        told = seen.applied.up_of if seen.applied is not None else None
        if seen.balancer.live and told is not None and (up := told.get(app, 0)) < wanted:
            return f"load balancer {seen.balancer.id} has {up} of {wanted} endpoints of {app} up by its own check of {carrier.service}"
    return ""


def _counts(carrier: Carrier, app: str) -> dict[str, Count]:
    counts = {}
    for seen in carrier.balancers:
        backends = seen.applied.counters.get("backends") if seen.applied is not None else None
        own = backends.get(app) if isinstance(backends, Mapping) else None
        if isinstance(own, Mapping):
            counts[seen.balancer.id] = Count(
                requests=_number(own.get("requests")), errors=_number(own.get("errors")), latency=_number(own.get("latencyMs"))
            )
    return counts


def _number(value: JsonValue) -> int:
    return value if isinstance(value, int) else 0

"""Whether a step of a roll-out keeps its limits, by what load balancers count of the new version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shuren.domain.app.snapshot import Carrier, Count, Step


def counted(carriers: Sequence[Carrier]) -> dict[str, Count]:
    """What has been counted of the new version so far, by service and load balancer."""
    return {f"{carrier.service} {balancer}": count for carrier in carriers for balancer, count in carrier.counts.items()}


def since(before: Mapping[str, Count], now: Mapping[str, Count]) -> Count:
    """What has come since `before`, over all load balancers; latency is the mean, by requests.

    A load balancer that has counted less than before has begun anew.
    """
    requests = errors = weighed = 0
    for name, count in now.items():
        old = before.get(name, Count())
        if count.requests < old.requests or count.errors < old.errors:
            old = Count()
        came = count.requests - old.requests
        requests += came
        errors += count.errors - old.errors
        weighed += came * count.latency
    return Count(requests=requests, errors=errors, latency=weighed // requests if requests else 0)


def enough(step: Step, seen: Count) -> bool:
    """Whether the step may be judged by this traffic."""
    return not step.limited or seen.requests >= step.min_requests


def exceeded(step: Step, seen: Count) -> str:
    """Which limit is passed, as a sentence; empty when none is, or when there was too little traffic to say so."""
    if not step.limited or not seen.requests or not enough(step, seen):
        return ""
    rate = seen.errors / seen.requests
    if step.max_error_rate is not None and rate > step.max_error_rate:
        return f"{seen.errors} of {seen.requests} requests failed ({rate:.1%}, maxErrorRate is {step.max_error_rate:g})"
    if step.max_latency is not None and seen.latency > step.max_latency:
        return f"requests took {seen.latency} ms on average (maxLatencyMillis is {step.max_latency})"
    return ""

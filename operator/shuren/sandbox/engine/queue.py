"""What `GET /v2/queue` tells about each app that waits: offers seen and, reason by reason, why they were not used."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shuren.sandbox.agents.attributes import Attribute
from shuren.sandbox.definition import pods
from shuren.sandbox.engine.clock import stamp
from shuren.sandbox.engine.matching import Reason
from shuren.sandbox.engine.model import Condition, is_pod

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shuren.sandbox.agents.agent import Agent
    from shuren.sandbox.contract import Json
    from shuren.sandbox.engine.model import Instance


@dataclass(slots=True)
class OfferStats:
    """Offers that one app has seen since it began to wait."""

    processed: int = 0
    unused: int = 0
    last_unused: float | None = None
    last_used: float | None = None
    attempt: Counter[Reason] = field(default_factory=Counter)
    last: dict[str, tuple[Reason, float]] = field(default_factory=dict)

    def declined(self, agent: Agent, reason: Reason, now: float) -> None:
        self.processed += 1
        self.unused += 1
        self.last_unused = now
        self.attempt[reason] += 1
        self.last[agent.id] = (reason, now)

    def used(self, now: float) -> None:
        self.processed += 1
        self.last_used = now

    def summary(self) -> Json:
        """`processedOffersSummary`: both summaries always list all ten reasons, in the order of the funnel."""
        body: Json = {"processedOffersCount": self.processed, "unusedOffersCount": self.unused}
        if self.last_unused is not None:
            body["lastUnusedOfferAt"] = stamp(self.last_unused)
        if self.last_used is not None:
            body["lastUsedOfferAt"] = stamp(self.last_used)
        latest = Counter(reason for reason, _ in self.last.values())
        body["rejectSummaryLastOffers"] = _funnel(latest, sum(latest.values()))
        body["rejectSummaryLaunchAttempt"] = _funnel(self.attempt, self.processed)
        return body


def _funnel(declined: Counter[Reason], offers: int) -> list[Json]:
    """Each offer is counted under its first reason; those that pass go on to the next."""
    rows: list[Json] = []
    for reason in Reason:
        rows.append({"reason": reason.value, "declined": declined[reason], "processed": offers})
        offers -= declined[reason]
    return rows


def item(
    definition: Json,
    launching: Sequence[Instance],
    *,
    role: str,
    until: float,
    now: float,
    stats: OfferStats,
    unused: list[Json] | None = None,
) -> Json:
    """One entry of the queue. `launching` are the instances that wait for an offer, which `count` counts, and those that just got one.

    `overdue` means: not backed off, only waiting for a fitting offer. Marathon compares whole seconds, so it says so a second late.
    """
    left = math.trunc(until - now)
    body: Json = {
        "count": sum(i.condition is Condition.SCHEDULED for i in launching),
        "role": role,
        "delay": {"timeLeftSeconds": max(0, left), "overdue": left < 0},
        "since": stamp(min((i.since for i in launching), default=now)),
        "processedOffersSummary": stats.summary(),
    }
    if unused is not None:
        body["lastUnusedOffers"] = unused
    if is_pod(definition):
        body["pod"] = pods.public(definition)
    else:
        body["app"] = definition
    return body


def unused_offer(agent: Agent, reason: Reason, when: float) -> Json:
    """One of `lastUnusedOffers`: what was on offer and why it was not taken."""
    free = agent.total
    used = agent.used

    def scalar(name: str, value: float) -> Json:
        return {"name": name, "role": agent.spec.role, "scalar": round(value, 3)}

    resources = [
        *(
            scalar(name, left)
            for name, left in (
                ("cpus", free.cpus - used.cpus),
                ("mem", free.mem - used.mem),
                ("disk", free.disk - used.disk),
                ("gpus", float(free.gpus - used.gpus)),
            )
            if left > 0  # an offer has no resource of which nothing is left
        ),
        {"name": "ports", "role": agent.spec.role, "ranges": [{"begin": low, "end": high} for low, high in agent.free_ranges()]},
    ]
    return {
        "offer": {
            "id": f"{agent.id}-O{int(when * 1000)}",
            "hostname": agent.hostname,
            "agentId": agent.id,
            "resources": resources,
            "attributes": [Attribute.parse(text).offered(name) for name, text in agent.spec.attributes.items()],
        },
        "reason": [reason.value],
        "timestamp": stamp(when),
    }

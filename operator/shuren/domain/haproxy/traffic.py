"""What HAProxy's counters say about services: totals that outlive its workers, and what still runs on servers that are drained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from shuren.domain.json import JsonValue
from shuren.domain.service.values import ServiceName


class RowType(Enum):
    """Column `type` of `show stat`."""

    FRONTEND = 0
    BACKEND = 1
    SERVER = 2
    LISTENER = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class StatRow:
    """One line of `show stat`, as much of it as somebody here wants.

    `proxy` is the backend, `name` the server. `requests` are sessions where the mode is tcp. `latency` is the mean of the last 1024
    requests in milliseconds. `status` is `UP`, `DOWN`, `DRAIN`, `MAINT`, `no check`, … with details.
    """

    type: RowType
    proxy: str
    name: str
    sessions: int = 0
    queued: int = 0
    requests: int = 0
    connect_errors: int = 0
    response_errors: int = 0
    retries: int = 0
    redispatches: int = 0
    server_errors: int = 0
    latency: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    status: str = ""

    @property
    def errors(self) -> int:
        """Answers with 5xx, connections that failed, answers that broke off."""
        return self.server_errors + self.connect_errors + self.response_errors


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """Whose a server is: its service, and the label under which it is counted (the app of its endpoint)."""

    service: ServiceName
    label: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Totals:
    """Since the agent began to count. `latency` in milliseconds, of the last time in which there was traffic."""

    requests: int = 0
    errors: int = 0
    latency: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Ledger:
    """Totals by service and label, and the readings that they rest on: (worker, requests, errors) of each server."""

    totals: Mapping[Share, Totals] = field(default_factory=dict)
    readings: Mapping[tuple[str, str], tuple[int, int, int]] = field(default_factory=dict)


def account(before: Ledger, *, worker: int, rows: Iterable[StatRow], shares: Mapping[tuple[str, str], Share]) -> Ledger:
    """Add what has come since the last reading. A new worker, or a server that was added anew, begins at 0."""
    totals = dict(before.totals)
    readings: dict[tuple[str, str], tuple[int, int, int]] = {}
    timed: dict[Share, list[tuple[int, int]]] = {}
    for row in rows:
        at = (row.proxy, row.name)
        share = shares.get(at)
        if share is None or row.type is not RowType.SERVER:
            continue
        last_worker, requests, errors = before.readings.get(at, (worker, 0, 0))
        if last_worker != worker or row.requests < requests or row.errors < errors:
            requests = errors = 0
        readings[at] = (worker, row.requests, row.errors)
        old = totals.get(share, Totals())
        came = row.requests - requests
        totals[share] = Totals(requests=old.requests + came, errors=old.errors + row.errors - errors, latency=old.latency)
        if came:
            timed.setdefault(share, []).append((came, row.latency))
    for share, parts in timed.items():
        mean = sum(count * latency for count, latency in parts) // sum(count for count, _ in parts)
        totals[share] = Totals(requests=totals[share].requests, errors=totals[share].errors, latency=mean)
    return Ledger(totals=totals, readings=readings)


def counters(ledger: Ledger, service: ServiceName) -> dict[str, JsonValue]:
    """`Applied.counters` of one service: `requests`, `errors`, `latencyMs`, and the same for each label below `backends`."""
    parts = {share.label: totals for share, totals in ledger.totals.items() if share.service == service}
    requests = sum(t.requests for t in parts.values())
    weighed = sum(t.requests * t.latency for t in parts.values())
    return {
        "requests": requests,
        "errors": sum(t.errors for t in parts.values()),
        "latencyMs": weighed // requests if requests else 0,
        "backends": {
            label: {"requests": t.requests, "errors": t.errors, "latencyMs": t.latency} for label, t in sorted(parts.items()) if label
        },
    }


_TAKES_NONE = ("DRAIN", "MAINT", "DOWN")


def sessions(
    draining: Mapping[tuple[str, str], str], current: Sequence[StatRow], leaving: Sequence[tuple[Sequence[StatRow], bool]]
) -> dict[str, int]:
    """Sessions of each draining endpoint, over all workers; endpoints that have none are left out.

    `draining` is (backend, server) → endpoint id. A worker that is on its way out since a reload takes no commands any more ("Proxy is
    disabled", seen on 2.6.12): it still believes a server ready that has been drained since, and each idle connection that a client holds
    to it may bring one more request there. `leaving` says for each such worker whether that is still possible; the endpoint then counts one
    more.
    """
    found: dict[str, int] = {}
    for rows, idle_clients in [(current, False), *leaving]:
        for row in rows:
            endpoint = draining.get((row.proxy, row.name))
            if endpoint is None:
                continue
            held = 1 if idle_clients and not row.status.startswith(_TAKES_NONE) else 0
            count = row.sessions + row.queued + held
            if count:
                found[endpoint] = found.get(endpoint, 0) + count
    return found

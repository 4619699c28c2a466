"""Leader election on a Kubernetes Lease.

Whether a foreign lease has run out is judged by our own monotonic clock since its record last *changed*, never by comparing its timestamps
with our wall clock. Taking and renewing are replacements with the resourceVersion as compare-and-set. A Lease is no fence: a paused process
can still believe it leads for a moment, so writers ask `check` right before each write, and ZooKeeper writes carry a fencing epoch besides.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shuren.domain.errors import Conflict, Denied, Fenced, Transient
from shuren.ports.clock import Clock
from shuren.ports.kubernetes import LEASES, Kubernetes

log = logging.getLogger(__name__)

_NOT_RENEWED = "the lease was not renewed in time"


@dataclass(frozen=True, kw_only=True, slots=True)
class LeaseTiming:
    """Seconds. A holder renews every `renew` and stops writing `deadline` after its last renewal; others take over after `duration`."""

    duration: float = 15.0
    deadline: float = 10.0
    renew: float = 2.0


@dataclass(frozen=True, slots=True)
class _Seen:
    """The record as last read, and when (monotonic) it was first seen in this form."""

    holder: str
    renew_time: str
    transitions: int
    duration: float
    since: float


class Election:
    """Implements the `Leadership` port. `on_start` is called on winning, `on_stop` on losing; both return at once and do not fail.

    Construct one per process; `run` until cancelled, then `release` hands the lease over at once. `notes` become annotations of the lease.
    """

    def __init__(
        self,
        *,
        kubernetes: Kubernetes,
        clock: Clock,
        namespace: str,
        name: str,
        identity: str,
        timing: LeaseTiming | None = None,
        on_start: Callable[[], None] | None = None,
        on_stop: Callable[[], None] | None = None,
        notes: Mapping[str, str] | None = None,
    ) -> None:
        self._kubernetes = kubernetes
        self._clock = clock
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._timing = timing or LeaseTiming()
        self._on_start = on_start
        self._on_stop = on_stop
        self._notes = dict(notes or {})
        self.found: Mapping[str, str] = {}
        """The annotations that whoever led before has left on the lease; empty when there was none."""
        self._renewed_at: float | None = None
        self._term = 0
        self._seen: _Seen | None = None
        self.heartbeat = clock.monotonic()
        """When the election loop last went round (monotonic): a liveness sign, whoever leads."""

    # ------------------------------------------------------------------------------------------------ what others ask

    def held(self) -> bool:
        """True while this process leads and its lease cannot have run out for others."""
        return self._renewed_at is not None and self._clock.monotonic() - self._renewed_at < self._timing.deadline

    def check(self) -> None:
        """Raise Fenced unless held."""
        if not self.held():
            raise Fenced(f"{self._identity} does not hold the lease {self._namespace}/{self._name}")

    def remaining(self) -> float:
        """Seconds until another may lead if nothing is renewed any more; 0 when this process does not lead."""
        if self._renewed_at is None:
            return 0.0
        return max(0.0, self._timing.duration - (self._clock.monotonic() - self._renewed_at))

    @property
    def term(self) -> int:
        """How often this process has won; a new term may raise the fencing epoch again."""
        return self._term

    @property
    def holder(self) -> str:
        """Who held the lease when it was last read; empty when nobody did."""
        return self._seen.holder if self._seen else ""

    # ------------------------------------------------------------------------------------------------ the loop

    async def run(self) -> None:
        """Acquire, renew, lose, and so on, until cancelled."""
        while True:
            self.heartbeat = self._clock.monotonic()
            await self.step()
            await self._clock.sleep(self._timing.renew)

    async def step(self) -> None:
        """One round: read the lease; renew it, take it, or watch it."""
        leading = self._renewed_at is not None
        if leading and not self.held():
            self._lose(_NOT_RENEWED)
            leading = False
        try:
            async with asyncio.timeout(self._timing.deadline / 2):
                await (self._renew() if leading else self._try_to_take())
        except TimeoutError:
            log.warning("the API server did not answer about the lease within %.0f s", self._timing.deadline / 2)
        except Conflict as error:
            log.info("somebody else wrote the lease: %s", error)
        except Transient as error:
            log.warning("lease: %s", error)
        except Denied as error:
            log.error("lease: %s (needed: get, create, update on leases in namespace %s)", error, self._namespace)  # noqa: TRY400 - no traceback for users

    async def _try_to_take(self) -> None:
        started = self._clock.monotonic()
        lease = await self._kubernetes.get(LEASES, self._namespace, self._name)
        if lease is None:
            body = self._body(None, transitions=0)
            await self._kubernetes.create(LEASES, self._namespace, body)
            self.found = {}
            self._win(started)
            return
        self._look(lease)
        if not self._free():
            return
        spec = lease.get("spec", {})
        transitions = int(spec.get("leaseTransitions") or 0) + (1 if spec.get("holderIdentity") != self._identity else 0)
        await self._kubernetes.replace(LEASES, self._namespace, self._name, self._body(lease, transitions=transitions))
        self.found = dict(lease.get("metadata", {}).get("annotations") or {})
        self._win(started)

    async def _renew(self) -> None:
        started = self._clock.monotonic()
        lease = await self._kubernetes.get(LEASES, self._namespace, self._name)
        if lease is None:
            # deleted by somebody: create it anew; if another was faster, Conflict (Exists) makes the next round see it
            await self._kubernetes.create(LEASES, self._namespace, self._body(None, transitions=0))
            self._renewed(started)
            return
        self._look(lease)
        if lease.get("spec", {}).get("holderIdentity") != self._identity:
            self._lose(f"the lease is held by {lease.get('spec', {}).get('holderIdentity') or 'nobody'}")
            return
        transitions = int(lease["spec"].get("leaseTransitions") or 0)
        await self._kubernetes.replace(LEASES, self._namespace, self._name, self._body(lease, transitions=transitions))
        self._renewed(started)

    def _renewed(self, started: float) -> None:
        if self._renewed_at is not None:  # who resigned meanwhile has stopped its work, and starts it only by winning again
            self._renewed_at = started

    def _look(self, lease: dict[str, Any]) -> None:
        """Note when the record last changed, by our own clock."""
        spec = lease.get("spec", {})
        holder, renew_time = str(spec.get("holderIdentity") or ""), str(spec.get("renewTime") or "")
        transitions = int(spec.get("leaseTransitions") or 0)
        duration = float(spec.get("leaseDurationSeconds") or self._timing.duration)
        seen = self._seen
        if seen is None or (seen.holder, seen.renew_time, seen.transitions) != (holder, renew_time, transitions):
            self._seen = _Seen(holder, renew_time, transitions, duration, self._clock.monotonic())

    def _free(self) -> bool:
        seen = self._seen
        if seen is None or seen.holder in {"", self._identity}:
            # our own name in it is our own earlier term (or process): nobody else may use it
            return True
        return self._clock.monotonic() - seen.since >= seen.duration

    def _body(self, lease: dict[str, Any] | None, *, transitions: int, holder: str | None = None) -> dict[str, Any]:
        now = _micro_time(self._clock.now())
        spec = dict((lease or {}).get("spec", {}))
        if spec.get("holderIdentity") != self._identity:
            spec["acquireTime"] = now
        spec |= {
            "holderIdentity": self._identity if holder is None else holder,
            "leaseDurationSeconds": max(1, round(self._timing.duration)),
            "renewTime": now,
            "leaseTransitions": transitions,
        }
        metadata = (lease or {}).get("metadata") or {"name": self._name, "namespace": self._namespace}
        if self._notes:
            metadata = {**metadata, "annotations": {**(metadata.get("annotations") or {}), **self._notes}}
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}

    def _win(self, started: float) -> None:
        self._term += 1
        # the term counts from before the write was sent: others count from when they see it, which is later
        self._renewed_at = started
        self._seen = None
        log.info("leading as %s (term %d of this process)", self._identity, self._term)
        if self._on_start is not None:
            self._on_start()

    def _lose(self, why: str, level: int = logging.WARNING) -> None:
        self._renewed_at = None
        log.log(level, "not leading any more: %s", why)
        if self._on_stop is not None:
            self._on_stop()

    def resign(self, why: str) -> None:
        """Stop leading at once (a fence was met); the lease runs out or is taken again in a new term.

        Work that finds the time over before the next renewal does meets a fence too: then that is the reason.
        """
        if self._renewed_at is not None:
            self._lose(why if self.held() else _NOT_RENEWED)

    async def release(self) -> None:
        """On shutdown: give the lease back, so that a standby takes over within its next round."""
        if self._renewed_at is None:
            return
        self._lose("shutting down", logging.INFO)
        try:
            lease = await self._kubernetes.get(LEASES, self._namespace, self._name)
            if lease is None or lease.get("spec", {}).get("holderIdentity") != self._identity:
                return
            body = self._body(lease, transitions=int(lease["spec"].get("leaseTransitions") or 0), holder="")
            await self._kubernetes.replace(LEASES, self._namespace, self._name, body)
        except (Conflict, Transient, Denied) as error:
            log.warning("the lease could not be given back, it will run out: %s", error)


def _micro_time(now: datetime) -> str:
    return now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")

"""Runs passes: takes keys from the queue, calls the controller of the key's kind, and maps what it raises to what happens next.

One dispatcher takes keys, and at most `limit` passes run at a time as tasks; the queue guarantees that no key runs twice at once. Nothing a
controller raises ends a worker: a poison object costs its own back-off and no more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from shuren.domain.errors import Conflict, Denied, Fenced, ShurenError, Transient
from shuren.domain.identity import ObjectKey
from shuren.ports.clock import Clock
from shuren.runtime.controller import Controller, Outcome
from shuren.runtime.queue import Taken, WorkQueue

log = logging.getLogger(__name__)

_CONFLICT_DELAY = 0.2
"""Seconds before a pass that met a conflict looks again: the change that it met is usually on its way through the watch."""
_RACES = 5
"""Conflicts in a row that are taken for races; more of them are a trouble like any other."""


class Result(Enum):
    """How a pass ended, as a metric label."""

    SUCCESS = "success"
    REQUEUE = "requeue"
    TRANSIENT = "transient"
    CONFLICT = "conflict"
    FENCED = "fenced"
    DENIED = "denied"
    ERROR = "error"


@dataclass(frozen=True, kw_only=True, slots=True)
class PassInfo:
    """Which pass a log line belongs to, and the generation of the object when it began (0: not known).

    `number` 0: work for the object that no pass does.
    """

    key: ObjectKey
    number: int
    generation: int = 0


CURRENT_PASS: ContextVar[PassInfo | None] = ContextVar("shuren_pass", default=None)


def beside(key: ObjectKey) -> Context:
    """A context for tasks that outlive the pass which begins them: their log lines name the object, and not that pass."""
    context = copy_context()
    context.run(CURRENT_PASS.set, PassInfo(key=key, number=0))
    return context


class PassObserver(Protocol):
    """Gets one call per pass (metrics)."""

    def observe(self, *, kind: str, result: Result, seconds: float, waited: float) -> None:
        """`seconds` the pass took, `waited` how long its key had been ready before."""


class Workers:
    """See the module. `on_fenced` is called with the error that tells a controller that this process is no longer the leader."""

    def __init__(
        self,
        *,
        queue: WorkQueue[ObjectKey],
        controllers: Mapping[str, Controller],
        clock: Clock,
        limit: int = 32,
        pass_timeout: float = 120.0,
        observer: PassObserver | None = None,
        on_fenced: Callable[[Fenced], None] | None = None,
        generation: Callable[[ObjectKey], int] = lambda _: 0,
    ) -> None:
        self._queue = queue
        self._controllers = dict(controllers)
        self._clock = clock
        self._limit = limit
        self._pass_timeout = pass_timeout
        self._observer = observer
        self._on_fenced = on_fenced
        self._generation = generation
        self._running: set[asyncio.Task[None]] = set()
        self._slot_freed = asyncio.Event()
        self._passes = 0

    async def run(self) -> None:
        """Dispatch until the queue is closed; then wait for the passes under way."""
        while True:
            while len(self._running) >= self._limit:
                self._slot_freed.clear()
                await self._slot_freed.wait()
            taken = await self._queue.take()
            if taken is None:
                break
            task = asyncio.create_task(self._one(taken), name=f"pass {taken.key}")
            self._running.add(task)
            task.add_done_callback(self._finished)
            # one pass begins in each turn of the loop: many at once would keep watches, probes and the lease waiting
            await asyncio.sleep(0)
        await self.drain()

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._slot_freed.set()

    async def drain(self, *, grace: float | None = None) -> bool:
        """Wait until no pass is under way. False when `grace` seconds were not enough; what still runs is then cancelled."""
        if not self._running:
            return True
        _, late = await asyncio.wait(set(self._running), timeout=grace)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)
        return not late

    @property
    def busy(self) -> int:
        """Passes under way."""
        return len(self._running)

    async def _one(self, taken: Taken[ObjectKey]) -> None:
        key = taken.key
        self._passes += 1
        CURRENT_PASS.set(PassInfo(key=key, number=self._passes, generation=self._generation(key)))
        started = self._clock.monotonic()
        try:
            result = await self._attempt(key)
        except BaseException:
            # cancelled while shutting down: the next leader starts from a list anyway, but the key must not stay marked as active
            self._queue.retry(key)
            raise
        if self._observer is not None:
            self._observer.observe(kind=key.kind, result=result, seconds=self._clock.monotonic() - started, waited=taken.waited)

    async def _attempt(self, key: ObjectKey) -> Result:
        """One call of the controller, and what its end means for the key."""
        controller = self._controllers.get(key.kind)
        if controller is None:
            log.error("no controller for kind %s", key.kind)
            self._queue.done(key)
            return Result.ERROR
        try:
            async with asyncio.timeout(self._pass_timeout):
                outcome: Outcome = await controller.reconcile(key)
        except Fenced as error:
            log.warning("pass stopped: %s", error)
            self._queue.retry(key)
            if self._on_fenced is not None:
                self._on_fenced(error)
            return Result.FENCED
        except Conflict as error:
            race = self._queue.failures(key) < _RACES
            delay = self._queue.retry(key, after=_CONFLICT_DELAY if race else None, undiminished=race)
            log.info("conflict, looking again in %.1f s: %s", delay, error)
            return Result.CONFLICT
        except Transient as error:
            delay = self._queue.retry(key, after=error.retry_after)
            log.info("retry in %.1f s: %s", delay, error)
            return Result.TRANSIENT
        except Denied as error:
            delay = self._queue.retry(key)
            log.warning("not allowed, trying again in %.0f s: %s", delay, error)
            return Result.DENIED
        except ShurenError as error:
            delay = self._queue.retry(key)
            log.error("pass stopped, trying again in %.0f s: %s", delay, error)  # noqa: TRY400 - a refusal, not a mistake of ours
            return Result.ERROR
        except TimeoutError:
            delay = self._queue.retry(key)
            log.warning("pass took longer than %.0f s and was stopped; retry in %.1f s", self._pass_timeout, delay)
            return Result.TRANSIENT
        except Exception:
            delay = self._queue.retry(key)
            log.exception("pass failed on a mistake in the program; retry in %.1f s", delay)
            return Result.ERROR
        self._queue.done(key, requeue_after=outcome.requeue_after)
        return Result.SUCCESS if outcome.requeue_after is None else Result.REQUEUE

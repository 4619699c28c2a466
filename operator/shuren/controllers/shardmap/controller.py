"""One pass over one ShardMap: gather, decide, apply, write the status."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from shuren.controllers.finalizers import set_finalizer
from shuren.controllers.shardmap import status, triggers
from shuren.controllers.shardmap.gates import Gatekeeper
from shuren.controllers.shardmap.gather import Gatherer, Seen
from shuren.controllers.shardmap.world import Clusters, Shards
from shuren.domain.errors import Conflict, Denied, Fenced, Gone, NotOurs, ShurenError, Unauthenticated
from shuren.domain.identity import ObjectKey
from shuren.domain.shardmap.decide import decide
from shuren.domain.shardmap.plan import (
    AddFinalizer,
    ForgetGenerations,
    MapAction,
    MapPlan,
    PublishTable,
    RemoveFinalizer,
    RemoveMove,
    TakePath,
    WithdrawMap,
    WriteMove,
)
from shuren.domain.shardmap.snapshot import FINALIZER, MapSnapshot, Memory
from shuren.ports.clock import Clock
from shuren.ports.events import EventRecorder
from shuren.ports.kubernetes import SHARD_MAPS, Kubernetes, Object
from shuren.ports.leadership import Leadership
from shuren.runtime.controller import Outcome
from shuren.runtime.store import Store

log = logging.getLogger(__name__)

_BEHIND = 0.2
_DENIED = 60.0
_STATUS_BEAT = 1.0
"""Seconds between two writes of a status in which only numbers have changed."""
_LARGE = 16_384
"""From so many replicas on, decisions are made beside the event loop."""


class ShardMapController:
    """Implements `runtime.controller.Controller` for the kind ShardMap. Declares its indexes in `store`: make it early."""

    def __init__(
        self,
        *,
        kubernetes: Kubernetes,
        store: Store,
        clusters: Clusters,
        leadership: Leadership,
        clock: Clock,
        events: EventRecorder | None = None,
        signal: Callable[[Collection[ObjectKey]], None] = lambda _keys: None,
        gates: Gatekeeper | None = None,
    ) -> None:
        self._kubernetes = kubernetes
        self._store = store
        self._clusters = clusters
        self._leadership = leadership
        self._clock = clock
        self._events = events
        self._signal = signal
        triggers.declare_indexes(store)
        self.gates = gates or Gatekeeper(store=store, clusters=clusters, signal=signal)
        self._gatherer = Gatherer(store=store, clusters=clusters, clock=clock, gates=self.gates)
        self._memories: dict[ObjectKey, tuple[str, Memory]] = {}
        self._written_at: dict[ObjectKey, float] = {}

    def forget(self) -> None:
        """A term begins: what an earlier one remembered is not known to be true any more."""
        self._memories.clear()
        self.gates.forget()

    async def reconcile(self, key: ObjectKey) -> Outcome:
        """One pass; see the port."""
        item = self._store.get(key)
        if item is None:
            # its finalizer was taken off by hand: what is published stays, since somebody may hold shards by it
            self._memories.pop(key, None)
            self._written_at.pop(key, None)
            return Outcome()
        if self._store.behind(key):
            return Outcome(requeue_after=_BEHIND)
        seen, plan = await self.plan(key, item)
        if plan.actions:
            log.info("%s", plan)
        self._memories[key] = (seen.snapshot.resource.uid, plan.memory)
        error = await self._carry_out(seen, plan)
        return await self._finish(seen, plan, error)

    async def plan(self, key: ObjectKey, item: Object) -> tuple[Seen, MapPlan]:
        """What a pass would do now, without doing it."""
        uid, memory = self._memories.get(key, ("", Memory()))
        seen = self._gatherer.look(key, item, memory if uid == item["metadata"]["uid"] else Memory())
        if _size(seen.snapshot) >= _LARGE:
            return seen, await asyncio.to_thread(decide, seen.snapshot)
        return seen, decide(seen.snapshot)

    # ------------------------------------------------------------------------------------------------ apply

    async def _carry_out(self, seen: Seen, plan: MapPlan) -> ShurenError | None:
        """What stopped it, if anything did."""
        for action in plan.actions:
            try:
                self._leadership.check()
                await self._one(seen, action)
            except ShurenError as error:
                return error
        return None

    async def _one(self, seen: Seen, action: MapAction) -> None:
        name = seen.reading.resource.name
        match action:
            case AddFinalizer() | RemoveFinalizer():
                await set_finalizer(
                    kubernetes=self._kubernetes,
                    store=self._store,
                    resource=SHARD_MAPS,
                    key=seen.reading.resource.key,
                    seen=seen.item,
                    finalizer=FINALIZER,
                    present=isinstance(action, AddFinalizer),
                )
            case TakePath(uid=uid):
                await self._shards(seen).take(name, uid=uid)
            case PublishTable():
                await self._shards(seen).publish(name, action)
                self._signal(self.gates.waiting(seen.reading.cluster))
            case WriteMove():
                await self._shards(seen).order(name, action)
            case RemoveMove(shard=shard):
                await self._shards(seen).over(name, shard)
                self._signal(self.gates.waiting(seen.reading.cluster))
            case ForgetGenerations(generations=generations):
                await self._shards(seen).forget(name, generations)
            case WithdrawMap():
                await self._withdraw(seen, action)

    def _shards(self, seen: Seen) -> Shards:
        found = self._clusters.get(seen.reading.cluster)
        shards = found.shards if found is not None else None
        if shards is None:
            raise Gone(f"MesosCluster {seen.reading.cluster} is not connected any more")
        return shards

    async def _withdraw(self, seen: Seen, action: WithdrawMap) -> None:
        try:
            await self._shards(seen).withdraw(action.name)
        except Fenced:
            raise
        except ShurenError as error:
            if not action.best_effort:
                raise
            log.warning("%s is left published: %s", action.name, error)

    # ------------------------------------------------------------------------------------------------ the end of a pass

    async def _finish(self, seen: Seen, plan: MapPlan, error: ShurenError | None) -> Outcome:
        if isinstance(error, Fenced | Unauthenticated):
            raise error
        if isinstance(error, Denied):
            plan = status.denied(seen.snapshot, error)
        if error is not None:
            # whatever was planned was not all done: the next pass plans from what there is
            memory = replace(plan.memory, failures=seen.snapshot.memory.failures)
            self._memories[seen.reading.resource.key] = (seen.snapshot.resource.uid, memory)
        wait = await self._write_status(seen, plan)
        if error is None:
            for reason, note in plan.news:
                self._tell(seen.item, status.Notice(reason=reason, action="Plan", note=note))
        match error:
            case None:
                later = [after for after in (plan.requeue_after, wait) if after is not None]
                return Outcome(requeue_after=min(later, default=None))
            case Denied():
                return Outcome(requeue_after=_DENIED)
            case NotOurs():
                raise Conflict(str(error)) from error
            case _:
                raise error

    async def _write_status(self, seen: Seen, plan: MapPlan) -> float | None:
        """Seconds after which it is to be written if it was held back."""
        after = status.document(seen.snapshot, plan)
        key = seen.reading.resource.key
        item = self._store.get(key)
        before: Mapping[str, Any] = (item or {}).get("status") or {}
        if after is None or item is None or after == before:
            return None
        now = self._clock.monotonic()
        left = self._written_at.get(key, now - _STATUS_BEAT) + _STATUS_BEAT - now
        if left > 0 and status.only_counts(before, after):
            return left
        self._leadership.check()
        try:
            answer = await self._kubernetes.apply_status(
                SHARD_MAPS, key.namespace, key.name, after, manager=status.MANAGER, uid=seen.reading.resource.uid
            )
        except Gone:
            return None
        self._written_at[key] = now
        self._store.answered(key, answer)
        for notice in status.of_transition(before, after):
            self._tell(seen.item, notice)
        return None

    def _tell(self, item: Object, notice: status.Notice) -> None:
        if self._events is not None:
            self._events.record(item, severity=notice.severity, reason=notice.reason, action=notice.action, note=notice.note)


def _size(snapshot: MapSnapshot) -> int:
    if snapshot.spec is None:
        return 0
    return max(p.shards for p in snapshot.spec.partitionings) * snapshot.spec.replicas

"""One pass over one PaasService: gather, decide, apply, write the status."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from shuren.controllers.finalizers import set_finalizer
from shuren.controllers.paasservice import status, triggers
from shuren.controllers.paasservice.gates import Gatekeeper
from shuren.controllers.paasservice.gather import Gatherer, Seen
from shuren.controllers.paasservice.world import Cluster, Clusters
from shuren.domain.errors import Conflict, Denied, Exists, Fenced, Gone, NotOurs, ShurenError, Unauthenticated
from shuren.domain.identity import ObjectKey
from shuren.domain.service.decide import decide
from shuren.domain.service.plan import (
    AddFinalizer,
    DeleteService,
    DeleteSlice,
    Publish,
    RemoveFinalizer,
    ServiceAction,
    ServicePlan,
    Withdraw,
    WriteService,
    WriteSlice,
)
from shuren.domain.service.snapshot import FINALIZER
from shuren.domain.service.values import ServiceName
from shuren.ports.clock import Clock
from shuren.ports.events import EventRecorder
from shuren.ports.kubernetes import ENDPOINT_SLICES, PAAS_SERVICES, SERVICES, Kubernetes, Object, Resource
from shuren.ports.leadership import Leadership
from shuren.runtime.controller import Outcome
from shuren.runtime.store import Store

log = logging.getLogger(__name__)

_BEHIND = 0.2
_SOON = 0.2
_DENIED = 60.0


@dataclass(frozen=True, kw_only=True)
class _Applied:
    """What was carried out, and what stopped it."""

    done: tuple[ServiceAction, ...]
    error: ShurenError | None = None


class PaasServiceController:
    """Implements `runtime.controller.Controller` for the kind PaasService. Declares its indexes in `store`: make it early.

    `looked_at` tells whether services of a namespace are this operator's; what is published of others is left alone.
    """

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
        looked_at: Callable[[str], bool] = lambda _namespace: True,
    ) -> None:
        self._kubernetes = kubernetes
        self._store = store
        self._clusters = clusters
        self._leadership = leadership
        self._clock = clock
        self._events = events
        self._signal = signal
        self._looked_at = looked_at
        triggers.declare_indexes(store)
        self.gates = gates or Gatekeeper(store=store, clusters=clusters, clock=clock, signal=signal)
        self._gatherer = Gatherer(kubernetes=kubernetes, store=store, clusters=clusters, clock=clock, gates=self.gates)

    async def reconcile(self, key: ObjectKey) -> Outcome:
        """One pass; see the port."""
        item = self._store.get(key)
        if item is None:
            await self._clear(key)
            return Outcome()
        if self._store.behind(key):
            return Outcome(requeue_after=_BEHIND)
        seen, plan = await self.plan(key, item)
        if plan.actions:
            log.info("%s", plan)
        applied = await self._carry_out(seen, plan)
        return await self._finish(seen, plan, applied)

    async def plan(self, key: ObjectKey, item: Object) -> tuple[Seen, ServicePlan]:
        """What a pass would do now, without doing it."""
        seen = await self._gatherer.look(key, item)
        return seen, decide(seen.snapshot)

    async def _clear(self, key: ObjectKey) -> None:
        """The resource is gone, maybe with its finalizer taken off by hand: nothing of it is left published."""
        name = ServiceName(namespace=key.namespace, name=key.name)
        if not self._looked_at(key.namespace):
            return
        for cluster in (self._clusters.get(n) for n in self._clusters.names()):
            if cluster is not None and name in cluster.published_services:
                log.warning("withdrawing %s, which is published and whose resource is gone", name)
                await cluster.withdraw(name)

    def left_behind(self, cluster: str) -> frozenset[ObjectKey]:
        """Keys of services that are published in a cluster and whose resource is gone."""
        found = self._clusters.get(cluster)
        keys = (ObjectKey(kind=PAAS_SERVICES.kind, namespace=s.namespace, name=s.name) for s in (found.published_services if found else ()))
        return frozenset(key for key in keys if self._store.get(key) is None and self._looked_at(key.namespace))

    # ------------------------------------------------------------------------------------------------ apply

    async def _carry_out(self, seen: Seen, plan: ServicePlan) -> _Applied:
        done: list[ServiceAction] = []
        for action in plan.actions:
            try:
                self._leadership.check()
                await self._one(seen, action)
            except ShurenError as error:
                return _Applied(done=tuple(done), error=error)
            done.append(action)
        return _Applied(done=tuple(done))

    async def _one(self, seen: Seen, action: ServiceAction) -> None:
        resource = seen.reading.resource
        match action:
            case AddFinalizer() | RemoveFinalizer():
                await set_finalizer(
                    kubernetes=self._kubernetes,
                    store=self._store,
                    resource=PAAS_SERVICES,
                    key=resource.key,
                    seen=seen.item,
                    finalizer=FINALIZER,
                    present=isinstance(action, AddFinalizer),
                )
            case Publish():
                await self._cluster(seen.reading.cluster).publish(action)
                # where no load balancer is to be waited for, this was what apps with draining tasks wait for
                self._signal(self.gates.waiting(seen.reading.cluster))
            case Withdraw():
                await self._withdraw(action)
            case WriteService():
                await self._write(SERVICES, resource.key.namespace, action.name, action.body, exists=action.exists)
            case WriteSlice():
                await self._write(ENDPOINT_SLICES, resource.key.namespace, action.name, action.body, exists=action.exists)
            case DeleteSlice():
                await self._kubernetes.delete(ENDPOINT_SLICES, resource.key.namespace, action.name)
            case DeleteService():
                await self._kubernetes.delete(SERVICES, resource.key.namespace, action.name)

    def _cluster(self, name: str) -> Cluster:
        found = self._clusters.get(name)
        if found is None:
            raise Gone(f"MesosCluster {name} does not exist any more")
        return found

    async def _withdraw(self, action: Withdraw) -> None:
        try:
            await self._cluster(action.cluster).withdraw(action.service)
        except Fenced:
            raise
        except ShurenError as error:
            if not action.best_effort:
                raise
            log.warning("%s is left published in %s: %s", action.service, action.cluster, error)

    async def _write(self, resource: Resource, namespace: str, name: str, body: Mapping[str, Any], *, exists: bool) -> None:
        """Create, or replace what the store has: what the API server filled in (clusterIP) must come back as it is."""
        key = ObjectKey(kind=resource.kind, namespace=namespace, name=name)
        known = self._store.get(key)
        if exists and known is not None:
            document = _over(known, body)
            self._store.answered(key, await self._kubernetes.replace(resource, namespace, name, document))
            return
        try:
            await self._kubernetes.create(resource, namespace, dict(body))
        except Exists as error:
            # our own, which the watch has not brought yet, or somebody's: the next look tells
            raise Conflict(str(error)) from error

    # ------------------------------------------------------------------------------------------------ the end of a pass

    async def _finish(self, seen: Seen, plan: ServicePlan, applied: _Applied) -> Outcome:
        error = applied.error
        if isinstance(error, Fenced | Unauthenticated):
            raise error
        for notice in status.of_actions(applied.done):
            self._tell(seen.item, notice)
        if isinstance(error, Denied):
            plan = status.denied(seen.snapshot, error)
        await self._write_status(seen, plan)
        match error:
            case None:
                return Outcome(requeue_after=plan.requeue_after)
            case Denied():
                return Outcome(requeue_after=_DENIED)
            case NotOurs():
                raise Conflict(str(error)) from error
            case _:
                raise error

    async def _write_status(self, seen: Seen, plan: ServicePlan) -> None:
        after = status.document(seen.snapshot, plan)
        key = seen.reading.resource.key
        item = self._store.get(key)
        before: Mapping[str, Any] = (item or {}).get("status") or {}
        if after is None or item is None or after == before:
            return
        self._leadership.check()
        try:
            answer = await self._kubernetes.apply_status(
                PAAS_SERVICES, key.namespace, key.name, after, manager=status.MANAGER, uid=seen.reading.resource.uid
            )
        except Gone:
            return
        self._store.answered(key, answer)
        for notice in status.of_transition(before, after):
            self._tell(seen.item, notice)

    def _tell(self, item: Object, notice: status.Notice) -> None:
        if self._events is not None:
            self._events.record(item, severity=notice.severity, reason=notice.reason, action=notice.action, note=notice.note)


def _over(known: Mapping[str, Any], body: Mapping[str, Any]) -> Object:
    """`body` over what is there: other fields of metadata and spec stay."""
    document = {key: value for key, value in known.items() if key != "status"}
    document |= {key: value for key, value in body.items() if key not in {"metadata", "spec"}}
    metadata = dict(known["metadata"])
    metadata["labels"] = {**(metadata.get("labels") or {}), **(body["metadata"].get("labels") or {})}
    metadata["ownerReferences"] = body["metadata"]["ownerReferences"]
    document["metadata"] = metadata
    if "spec" in body:
        spec = {key: value for key, value in (known.get("spec") or {}).items() if key != "selector"}
        document["spec"] = {**spec, **body["spec"]}
    return document

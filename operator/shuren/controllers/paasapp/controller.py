"""One pass over one PaasApp: gather, decide, apply, write the status."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from shuren.controllers.identity import app_id_of, cluster_of
from shuren.controllers.paasapp import history, status, triggers
from shuren.controllers.paasapp.apply import Applied, Applier
from shuren.controllers.paasapp.gather import Adviser, Gatherer, Seen
from shuren.controllers.paasapp.world import Clusters, GateKeeper, NoGates, NoTraffic, References, Traffic
from shuren.domain.app.decide import REFUSAL_STANDS, decide, refused
from shuren.domain.app.plan import AppPlan, MarkRevision, RecordRevision
from shuren.domain.app.progress import split
from shuren.domain.app.snapshot import Memory, Snapshot
from shuren.domain.app.status import Finding, Phase
from shuren.domain.app.work import SETTLE, report
from shuren.domain.errors import Conflict, Denied, Fenced, Gone, Invalid, Locked, NotOurs, Throttled, Unauthenticated
from shuren.domain.identity import ObjectKey
from shuren.ports.clock import Clock
from shuren.ports.events import EventRecorder
from shuren.ports.kubernetes import PAAS_APPS, Kubernetes, Object
from shuren.ports.leadership import Leadership
from shuren.runtime.controller import Outcome
from shuren.runtime.store import Store

log = logging.getLogger(__name__)

_BEHIND = 0.2
"""Seconds to wait for the watch to bring what we wrote ourselves."""
_DENIED = 60.0
_NOTHING = Memory()
_FEW = 16


class PaasAppController:
    """Implements `runtime.controller.Controller` for the kind PaasApp.

    Declares the indexes that it needs in `store` (before objects arrive, so make it early). Passes of different resources may run at the
    same time; passes of one may not, which the queue sees to. `signal` asks for passes of other resources, those that wait for this one.
    `changed` hears, as one word, of each change that was made outside (metrics). `crowded` tells whether resources wait that nothing
    has been done for yet: then a status that is overtaken at once is not written.
    """

    def __init__(
        self,
        *,
        kubernetes: Kubernetes,
        store: Store,
        clusters: Clusters,
        references: References,
        leadership: Leadership,
        clock: Clock,
        signal: Callable[[Collection[ObjectKey]], None] = lambda _keys: None,
        events: EventRecorder | None = None,
        changed: Callable[[str], None] = lambda _operation: None,
        adviser: Adviser = lambda _definition, _cluster: (),
        gates: GateKeeper | None = None,
        traffic: Traffic | None = None,
        crowded: Callable[[], bool] = lambda: False,
    ) -> None:
        self._kubernetes = kubernetes
        self._store = store
        self._references = references
        self._leadership = leadership
        self._clock = clock
        self._signal = signal
        self._events = events
        self._changed = changed
        self._crowded = crowded
        self._memory: dict[ObjectKey, tuple[str, Memory]] = {}
        self._trusting = False
        self._looked: set[ObjectKey] = set()
        """What had its first pass since `begin`, while that counts."""
        self._clusters = clusters
        self._written: dict[tuple[str, str], float] = {}
        """When each app was last written that the picture may not show yet; what it shows is forgotten now and then."""
        self._written_limit = _FEW
        self._unshown: dict[ObjectKey, tuple[tuple[str, int], str, str]] = {}
        """Apps that were created and not seen yet: which state of the resource (uid, what is asked), its cluster and app id."""
        self._gates = gates or NoGates()
        self._traffic = traffic or NoTraffic()
        triggers.declare_indexes(store)
        past = history.History(kubernetes=kubernetes, store=store)
        self._gatherer = Gatherer(
            store=store,
            clusters=clusters,
            references=references,
            history=past,
            clock=clock,
            written=lambda cluster, app_id: self._written.get((cluster, app_id), float("-inf")),
            adviser=adviser,
            gates=self._gates,
            traffic=self._traffic,
            crowded=crowded,
        )
        self._applier = Applier(
            kubernetes=kubernetes,
            store=store,
            clusters=clusters,
            history=past,
            gatherer=self._gatherer,
            leadership=leadership,
            clock=clock,
            wrote=self._wrote,
            gates=self._gates,
        )

    def _wrote(self, cluster: str, app_id: str) -> None:
        self._written[cluster, app_id] = self._clock.monotonic()
        if len(self._written) > self._written_limit:
            self._written = {key: at for key, at in self._written.items() if not self._shown(*key, at)}
            self._written_limit = max(_FEW, 2 * len(self._written))

    def _shown(self, cluster: str, app_id: str, since: float) -> bool:
        """Whether there is nothing left to wait for of a write."""
        there = self._clusters.get(cluster)
        return there is None or (there.view.synced and there.shows(app_id, since))

    def begin(self, *, trusting: bool) -> None:
        """This process begins to lead. `trusting`: statuses were written by this very release, so that an app that is as its status says
        needs no full look the first time.
        """
        self._trusting = trusting
        self._looked.clear()

    async def reconcile(self, key: ObjectKey) -> Outcome:
        """One pass; see the port."""
        item = self._store.get(key)
        if item is None:
            self._forget(key)
            return Outcome()
        if self._store.behind(key):
            return Outcome(requeue_after=_BEHIND)
        if self._not_shown_yet(key):
            return Outcome(requeue_after=SETTLE)
        if self._as_it_was(key, item):
            return Outcome()
        seen, plan = self.plan(key, item)
        if plan.actions:
            log.info("%s", plan)
        applied = await self._applier.carry_out(seen, plan)
        if plan.overtaken and applied.error is None:
            known = self._store.identity(key)
            if known is not None:
                self._unshown[key] = (known.uid, known.asked), seen.reading.cluster, seen.reading.app_id
        if applied.memory == _NOTHING:
            self._memory.pop(key, None)
        else:
            self._memory[key] = (seen.snapshot.resource.uid, applied.memory)
        self._tell_gates(key, seen.snapshot, seen.reading.cluster)
        return await self._finish(seen, replace(plan, memory=applied.memory), applied)

    def _as_it_was(self, key: ObjectKey, item: Object) -> bool:
        """Whether a new leader finds the app as its status says."""
        if not self._trusting or key in self._looked:
            return False
        self._looked.add(key)
        if key in self._memory or not self._gatherer.at_rest(key, item):
            return False
        spec = item["spec"]
        self._gates.passed(cluster_of(spec), app_id_of(key.namespace, key.name, spec))
        self._traffic.settled(key)
        return True

    def _not_shown_yet(self, key: ObjectKey) -> bool:
        """Whether nothing can be decided yet for a cheap reason: the resource is as it was when this process wrote its app, and the picture
        is from before that. Who wrote has asked for a newer one, which brings a pass.
        """
        last = self._unshown.get(key)
        if last is None:
            return False
        identity, name, app_id = last
        there = self._clusters.get(name)
        at = self._written.get((name, app_id))
        known = self._store.identity(key)
        if there is None or at is None or known is None or (known.uid, known.asked) != identity or there.shows(app_id, at):
            del self._unshown[key]
            return False
        view = there.view
        if not view.synced or view.problem is not None or view.unreachable_for is not None:
            return False
        there.look_at(app_id)
        return True

    def _tell_gates(self, key: ObjectKey, snapshot: Snapshot, cluster: str) -> None:
        if snapshot.owned and snapshot.claim is not None:
            self._gates.passed(cluster, snapshot.claim.app_id)
        if snapshot.beside is not None and snapshot.owns_beside:
            self._gates.passed(cluster, snapshot.beside.app_id)
        else:
            self._traffic.settled(key)

    def plan(self, key: ObjectKey, item: Object) -> tuple[Seen, AppPlan]:
        """What a pass would do now, without doing it."""
        uid, memory = self._memory.get(key, ("", _NOTHING))
        seen = self._gatherer.look(key, item, memory if uid == item["metadata"]["uid"] else _NOTHING)
        return seen, decide(seen.snapshot)

    def _forget(self, key: ObjectKey) -> None:
        self._memory.pop(key, None)
        self._unshown.pop(key, None)
        self._looked.discard(key)
        self._traffic.settled(key)
        self._references.require(key, frozenset())

    # ------------------------------------------------------------------------------------------------ the end of a pass

    async def _finish(self, seen: Seen, plan: AppPlan, applied: Applied) -> Outcome:
        """Write the status, tell people, and say when to look again; or raise what the queue knows how to take."""
        snapshot = replace(seen.snapshot, memory=applied.memory)
        for notice in status.of_actions(applied.done):
            self._changed(notice.action.lower())
            self._tell(seen.item, notice)
        error = applied.error
        match error:
            case None:
                pass
            case Fenced() | Unauthenticated():
                raise error
            case Invalid():
                message = applied.memory.refusal.message if applied.memory.refusal is not None else str(error)
                log.warning("%s: %s", applied.failed, message)
                # what is known of the definition besides was left out in a hurry, and is told by the next pass
                plan = refused(snapshot, message, requeue_after=SETTLE if snapshot.hurried else REFUSAL_STANDS)
            case Denied():
                finding = Finding(phase=Phase.UNKNOWN, reason="AccessDenied", message=str(error), in_sync=False)
                plan = report(snapshot, finding, requeue_after=_DENIED)
            case Throttled():
                finding = Finding(phase=Phase.PROGRESSING, reason="Throttled", message=f"waiting: {error}", in_sync=False)
                plan = report(snapshot, finding)
            case Locked():
                plan = replace(plan, requeue_after=SETTLE)
            case _:
                pass
        await self._write_status(seen, snapshot, plan if self._worth_telling(plan, applied) else replace(plan, conditions=None))
        match error:
            case None | Invalid() | Denied() | Locked():
                return Outcome(requeue_after=plan.requeue_after)
            case NotOurs():
                raise Conflict(str(error)) from error
            case _:
                raise error

    def _worth_telling(self, plan: AppPlan, applied: Applied) -> bool:
        """Whether the status is to be written: not when it speaks of a record that could not be made, nor when it is overtaken at once and
        others wait who have none.
        """
        if isinstance(applied.failed, (RecordRevision, MarkRevision)) and not isinstance(applied.error, (Invalid, Denied)):
            return False
        return not (plan.overtaken and applied.error is None and self._crowded())

    async def _write_status(self, seen: Seen, snapshot: Snapshot, plan: AppPlan) -> None:
        after = status.document(snapshot, plan)
        key = seen.reading.resource.key
        item = self._store.get(key)
        before: Mapping[str, Any] = (item or {}).get("status") or {}
        if after is None or item is None or after == before:
            return
        self._leadership.check()
        try:
            answer = await self._kubernetes.apply_status(
                PAAS_APPS, key.namespace, key.name, after, manager=status.MANAGER, uid=snapshot.resource.uid
            )
        except Gone:
            return
        self._store.answered(key, answer)
        if split(before) != split(after):
            self._traffic.split(key)
        # the store has it already, so the watch will bring no news of it to those who wait for this resource
        waiting = triggers.on_object(self._store, key, answer) - {key}
        if waiting:
            self._signal(waiting)
        for notice in status.of_transition(before, after):
            self._tell(seen.item, notice)

    def _tell(self, item: Object, notice: status.Notice) -> None:
        if self._events is not None:
            self._events.record(item, severity=notice.severity, reason=notice.reason, action=notice.action, note=notice.note)

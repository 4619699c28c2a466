"""Carry out a plan: one action after the other until one fails. Whatever was done stands; the next pass goes on from what it finds."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from shuren.controllers.finalizers import set_finalizer
from shuren.controllers.paasapp.gather import Gatherer, Seen
from shuren.controllers.paasapp.history import History
from shuren.controllers.paasapp.world import Cluster, Clusters, GateKeeper
from shuren.domain.app.decide import signature_of
from shuren.domain.app.plan import (
    Action,
    AddFinalizer,
    AppPlan,
    CancelDeployment,
    ClaimId,
    DeleteApp,
    Drain,
    KillTasks,
    MarkRevision,
    PruneRevision,
    PutApp,
    RecordRevision,
    ReleaseClaim,
    RemoveFinalizer,
    RestartApp,
    RestoreVersion,
    ScaleApp,
    WriteKind,
)
from shuren.domain.app.secrecy import Veil
from shuren.domain.app.snapshot import FINALIZER, Memory, Refusal, Taken
from shuren.domain.errors import Conflict, Gone, Invalid, ShurenError, Transient, Unreachable
from shuren.domain.marathon.render import full_body, scale_body
from shuren.domain.marathon.state import DeploymentRef
from shuren.ports.clock import Clock
from shuren.ports.kubernetes import PAAS_APPS, Kubernetes
from shuren.ports.leadership import Leadership
from shuren.runtime.store import Store

log = logging.getLogger(__name__)

_REMEMBERED_DEPLOYMENTS = 8
_LONGEST_WORDS = 400
"""Characters of one of Marathon's sentences in a condition."""


@dataclass(frozen=True, kw_only=True)
class Applied:
    """What was carried out, what the controller is to remember, and what stopped it (`failed` raised `error`)."""

    done: tuple[Action, ...]
    memory: Memory
    failed: Action | None = None
    error: ShurenError | None = None


class Applier:
    """See the module. `wrote` is told of every write to Marathon, sent or perhaps sent: no older picture of that app may be believed."""

    def __init__(
        self,
        *,
        kubernetes: Kubernetes,
        store: Store,
        clusters: Clusters,
        history: History,
        gatherer: Gatherer,
        leadership: Leadership,
        clock: Clock,
        wrote: Callable[[str, str], None],
        gates: GateKeeper,
    ) -> None:
        self._kubernetes = kubernetes
        self._store = store
        self._clusters = clusters
        self._history = history
        self._gatherer = gatherer
        self._leadership = leadership
        self._clock = clock
        self._wrote = wrote
        self._gates = gates

    async def carry_out(self, seen: Seen, plan: AppPlan) -> Applied:
        """All actions in order, until one fails. Errors of this product are returned, not raised: the status may have to tell of them."""
        done: list[Action] = []
        memory = plan.memory
        for action in plan.actions:
            try:
                self._leadership.check()
                began = await self._one(seen, action)
            except ShurenError as raised:
                error = _veiled(raised, seen.snapshot.veil)
                if isinstance(error, Invalid):
                    refusal = Refusal(body=signature_of(action), message=_words(error), at=self._clock.monotonic())
                    memory = replace(memory, refusal=refusal)
                return Applied(done=tuple(done), memory=memory, failed=action, error=error)
            done.append(action)
            if began is not None:
                memory = _remembered(memory, action, began)
        return Applied(done=tuple(done), memory=memory)

    async def _one(self, seen: Seen, action: Action) -> DeploymentRef | None:
        match action:
            case AddFinalizer() | RemoveFinalizer():
                await self._finalizer(seen, add=isinstance(action, AddFinalizer))
            case ClaimId():
                await self._claim(seen, action)
            case Drain():
                self._gates.drain(seen.reading.cluster, action.app_id, frozenset(action.task_ids))
            case ReleaseClaim():
                await self._release(seen, action)
            case RecordRevision() | MarkRevision() | PruneRevision():
                await self._revision(seen, action)
            case _:
                return await self._marathon(seen, action)
        return None

    # ------------------------------------------------------------------------------------------------ Kubernetes

    async def _finalizer(self, seen: Seen, *, add: bool) -> None:
        await set_finalizer(
            kubernetes=self._kubernetes,
            store=self._store,
            resource=PAAS_APPS,
            key=seen.reading.resource.key,
            seen=seen.item,
            finalizer=FINALIZER,
            present=add,
        )

    async def _revision(self, seen: Seen, action: RecordRevision | MarkRevision | PruneRevision) -> None:
        namespace = seen.reading.resource.key.namespace
        match action:
            case RecordRevision():
                await self._history.record(seen.item, action, digests=seen.rendered.digests if seen.rendered is not None else {})
            case MarkRevision():
                await self._history.mark(namespace, action)
            case PruneRevision():
                await self._history.forget(namespace, action.name)

    # ------------------------------------------------------------------------------------------------ ZooKeeper

    async def _claim(self, seen: Seen, action: ClaimId) -> None:
        resource = seen.reading.resource
        beside = seen.snapshot.beside
        claim = beside.claim if beside is not None and beside.app_id == action.app_id else seen.snapshot.claim
        if action.replaces and claim is not None:
            # the store may be behind: whether the holder is really gone is asked of the API server itself
            holder = await self._kubernetes.get(PAAS_APPS, claim.namespace, claim.name)
            if holder is not None and holder["metadata"]["uid"] == action.replaces:
                raise Conflict(f"{action.app_id} is held by PaasApp {claim.namespace}/{claim.name}, which exists")
            self._leadership.check()
        await self._cluster(seen.reading.cluster).take(action.app_id, uid=resource.uid, key=resource.key, replaces=action.replaces)

    async def _release(self, seen: Seen, action: ReleaseClaim) -> None:
        try:
            await self._cluster(action.cluster).release(action.app_id, uid=seen.reading.resource.uid)
        except Transient as error:
            if not action.best_effort:
                raise
            log.warning("claim on %s in %s could not be released and stays: %s", action.app_id, action.cluster, error)

    def _cluster(self, name: str) -> Cluster:
        cluster = self._clusters.get(name)
        if cluster is None:
            raise Unreachable(f"MesosCluster {name} is gone")
        return cluster

    # ------------------------------------------------------------------------------------------------ Marathon

    async def _marathon(
        self,
        seen: Seen,
        action: PutApp | ScaleApp | KillTasks | RestartApp | RestoreVersion | CancelDeployment | DeleteApp,
    ) -> DeploymentRef | None:
        name = action.cluster if isinstance(action, DeleteApp) else seen.reading.cluster
        cluster = self._cluster(name)
        if isinstance(action, DeleteApp) and not action.emptied:
            await cluster.permit_deletion()  # asked again: many passes may have seen the same last free place
        try:
            return await self._send(seen, cluster, action)
        finally:
            # also when it failed: it may have happened all the same
            self._wrote(name, action.app_id)
            cluster.look_at(action.app_id)

    async def _send(
        self,
        seen: Seen,
        cluster: Cluster,
        action: PutApp | ScaleApp | KillTasks | RestartApp | RestoreVersion | CancelDeployment | DeleteApp,
    ) -> DeploymentRef | None:
        writes = cluster.writes
        match action:
            case PutApp(kind=WriteKind.CREATE):
                return await writes.create(action.definition)
            case PutApp():
                return await writes.change(action.definition, force=action.force)
            case ScaleApp():
                beside = seen.snapshot.beside
                app = beside.app if beside is not None and beside.app_id == action.app_id else seen.snapshot.app
                body = scale_body(app.definition if app is not None else {}, action.instances)
                return await writes.scale(action.app_id, body, force=action.force)
            case KillTasks():
                return await writes.kill(action.app_id, action.task_ids, force=action.force)
            case RestartApp():
                return await writes.restart(action.app_id)
            case RestoreVersion():
                return await self._restore(seen, cluster, action)
            case CancelDeployment():
                await writes.cancel(action.deployment_id)
                return None
            case DeleteApp():
                return await writes.delete(action.app_id, force=action.force)

    async def _restore(self, seen: Seen, cluster: Cluster, action: RestoreVersion) -> DeploymentRef:
        """Marathon's own copy still holds the old values of Secrets. It also holds an old number of instances, which must not come back."""
        kept = await cluster.writes.definition_at(action.app_id, action.marathon_version) if action.marathon_version else None
        if kept is not None and kept.get("instances", 1) == action.instances:
            try:
                return await cluster.writes.restore(action.app_id, action.marathon_version)
            except Gone:
                kept = None
        if kept is None:
            name = next((r.name for r in seen.snapshot.revisions if r.hash == action.revision), "")
            kept = await self._gatherer.render_revision(seen, name)
        if kept is None:
            raise Invalid(
                f"cannot go back to revision {action.revision}: Marathon has forgotten it, and what it refers to is not there any more; "
                "change the spec"
            )
        body = {**full_body(kept, instances=action.instances), "id": action.app_id}
        self._leadership.check()
        return await cluster.writes.change(body, force=True)


def _remembered(memory: Memory, action: Action, began: DeploymentRef) -> Memory:
    """A write that Marathon took: its deployment is ours, and what it was asked for is known to be taken."""
    memory = replace(memory, deployments=(*memory.deployments, began.id)[-_REMEMBERED_DEPLOYMENTS:], refusal=None)
    match action:
        case PutApp():
            return replace(memory, taken=Taken(asked=action.asked, over=action.over, version=began.version))
        case RestoreVersion():
            return replace(memory, taken=None)
        case RestartApp() if action.asked:
            return replace(memory, restarted=action.asked)
        case _:
            return memory


def _veiled(error: ShurenError, veil: Veil) -> ShurenError:
    """The error without secret values: Marathon quotes what it refuses, and errors end in conditions, events and logs."""
    shown = veil.over(str(error))
    fields = tuple(replace(e, message=veil.over(e.message)) for e in error.errors) if isinstance(error, Invalid) else ()
    if shown == str(error) and fields == getattr(error, "errors", ()):
        return error
    hidden = copy.copy(error)
    hidden.args = (shown,)
    if isinstance(hidden, Invalid):
        hidden.errors = fields
    return hidden


def _words(error: Invalid) -> str:
    """Marathon's own words with the paths of the fields, for a condition."""
    fields = "; ".join(f"{e.path}: {e.message[:_LONGEST_WORDS]}" for e in error.errors[:5])
    return f"Marathon refuses it: {fields or str(error)[:_LONGEST_WORDS]}; what runs stays as it is until the spec is changed"

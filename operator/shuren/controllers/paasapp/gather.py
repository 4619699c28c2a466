"""Look at the world once: everything that a decision about one PaasApp needs, as one snapshot.

Reads pictures and stores, not the network; only what a revision recorded is read from there, when there is no other way back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shuren.controllers.identity import app_id_of, cluster_of
from shuren.controllers.paasapp import reading
from shuren.controllers.paasapp.history import History
from shuren.controllers.paasapp.reading import Reading
from shuren.controllers.paasapp.world import Cluster, Clusters, GateKeeper, NoGates, NoTraffic, References, Traffic
from shuren.domain.app import pair, revisions
from shuren.domain.app.dependencies import circle
from shuren.domain.app.render import Recipe, Rendered, missing, render
from shuren.domain.app.settled import Sight, settled
from shuren.domain.app.snapshot import (
    PENDING,
    Beside,
    ClusterView,
    Dependency,
    Desired,
    Elsewhere,
    Memory,
    Problem,
    Revision,
    Snapshot,
    Strategy,
)
from shuren.domain.conditions import ConditionType
from shuren.domain.errors import Denied, Invalid
from shuren.domain.identity import Claim, ObjectKey
from shuren.domain.json import Document
from shuren.domain.marathon.paths import id_errors
from shuren.domain.tenancy import Namespace, refusal
from shuren.ports.clock import Clock
from shuren.ports.kubernetes import NAMESPACES, PAAS_APPS, Object
from shuren.runtime.store import Store

Adviser = Callable[[Document, ClusterView], Sequence[Problem]]
"""Known traps in a definition."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A snapshot with what applying it needs beyond: the resource's JSON, how it was read, digests for the record."""

    snapshot: Snapshot
    item: Object
    reading: Reading
    rendered: Rendered | None


class Gatherer:
    """See the module. `written` gives the moment (monotonic) of our last write to an app of a cluster; `crowded` tells whether resources
    wait that nothing has been done for yet.
    """

    def __init__(
        self,
        *,
        store: Store,
        clusters: Clusters,
        references: References,
        history: History,
        clock: Clock,
        written: Callable[[str, str], float],
        adviser: Adviser = lambda _definition, _cluster: (),
        gates: GateKeeper | None = None,
        traffic: Traffic | None = None,
        crowded: Callable[[], bool] = lambda: False,
    ) -> None:
        self._crowded = crowded
        self._store = store
        self._clusters = clusters
        self._references = references
        self._history = history
        self._clock = clock
        self._written = written
        self._adviser = adviser
        self._gates = gates or NoGates()
        self._traffic = traffic or NoTraffic()

    def look(self, key: ObjectKey, item: Object, memory: Memory) -> Seen:
        """The snapshot of one resource."""
        read = reading.read(key, item)
        cluster = self._clusters.get(read.cluster)
        known = self._history.of(read.resource.uid)
        named = read.app_id
        read = read.on(self._lives_on(read, cluster, known))
        other = pair.other(named, read.app_id)
        edited = read.resource.status.get("observedGeneration") != read.resource.generation
        view = self._view(read.cluster, cluster, read.app_id, edited=edited)
        problem, waiting, rendered = self._render(read)
        if problem is None and cluster is not None:
            problem = self._tenancy_problem(read.resource.key, cluster, read.cluster, named)
        beside = self._beside(read, cluster, other)
        if beside is not None and cluster is not None:
            view = self._view(read.cluster, cluster, other, edited=edited) if view.synced else view
        app = cluster.app(read.app_id) if cluster is not None else None
        hurried = app is None and not known and memory.refusal is None and self._crowded()
        desired = None
        if problem is None and waiting is None and rendered is not None:
            desired = self._desired(read, item, rendered, view, advised=not hurried)
        claim = cluster.claim(read.app_id) if cluster is not None else None
        snapshot = Snapshot(
            resource=read.resource,
            management=read.management,
            rollout=read.rollout,
            cluster=view,
            desired=desired,
            problem=problem,
            waiting=waiting,
            dependencies=tuple(self._dependency(key, name) for name in read.depends_on),
            claim=claim,
            holder_gone=claim is not None and claim.uid != read.resource.uid and self._is_gone(claim),
            app=app,
            deployment=cluster.deployment(read.app_id) if cluster is not None else None,
            queue=cluster.queue_item(read.app_id) if cluster is not None else None,
            revisions=known,
            elsewhere=self._elsewhere(read, other),
            deletion_wait=cluster.deletion_wait if cluster is not None else 0.0,
            hurried=hurried,
            namespace_going=self._namespace_goes(key.namespace),
            gates=self._gates.look(read.cluster, read.app_id, key, limit=read.rollout.drain),
            beside=beside,
            carriers=self._traffic.carriers(read.cluster, (read.app_id, other), key) if beside is not None else (),
            memory=memory,
            now=self._clock.now(),
            monotonic=self._clock.monotonic(),
        )
        return Seen(snapshot=snapshot, item=item, reading=read, rendered=rendered)

    def at_rest(self, key: ObjectKey, item: Object) -> bool:
        """Whether a full look would find nothing to do and nothing to tell, as far as that can be seen at little cost."""
        spec, uid = item.get("spec") or {}, item["metadata"]["uid"]
        name, app_id = cluster_of(spec), app_id_of(key.namespace, key.name, spec)
        cluster = self._clusters.get(name)
        if cluster is None or self._namespace_goes(key.namespace) or self._tenancy_problem(key, cluster, name, app_id) is not None:
            return False
        claims = [(n, claim) for n in self._clusters.names() if (c := self._clusters.get(n)) is not None for claim in c.claims_of(uid)]
        return cluster.shows(app_id, self._written(name, app_id)) and settled(
            Sight(
                item=item,
                app_id=app_id,
                cluster=cluster.view,
                claims=claims,
                app=cluster.app(app_id),
                waits=cluster.queue_item(app_id) is not None or cluster.deployment(app_id) is not None,
                revisions=self._history.of(uid),
                gates=self._gates.look(name, app_id, key, limit=0.0),
            )
        )

    # ------------------------------------------------------------------------------------------------ the two ids

    def _lives_on(self, read: Reading, cluster: Cluster | None, known: Sequence[Revision]) -> str:
        """The id that serves: mostly the one that the spec names."""
        if cluster is None:
            return read.app_id
        key, uid = read.resource.key, read.resource.uid

        def claimed(app_id: str) -> bool:
            claim = cluster.claim(app_id)
            return claim is not None and (claim.uid == uid or (claim.namespace, claim.name) == (key.namespace, key.name))

        return pair.lives_on(read.app_id, known, exists=lambda app_id: cluster.app(app_id) is not None, claimed=claimed)

    def _beside(self, read: Reading, cluster: Cluster | None, app_id: str) -> Beside | None:
        """The other id, of apps that are rolled out gated or have something left there."""
        if cluster is None:
            return None
        uid = read.resource.uid
        claim = cluster.claim(app_id)
        if read.rollout.strategy is not Strategy.GATED and (claim is None or claim.uid != uid):
            return None
        return Beside(
            app_id=app_id,
            claim=claim,
            holder_gone=claim is not None and claim.uid != uid and self._is_gone(claim),
            app=cluster.app(app_id),
            deployment=cluster.deployment(app_id),
            queue=cluster.queue_item(app_id),
            gates=self._gates.look(read.cluster, app_id, read.resource.key, limit=read.rollout.drain),
            problem=self._tenancy_problem(read.resource.key, cluster, read.cluster, app_id),
        )

    # ------------------------------------------------------------------------------------------------ clusters

    def _view(self, name: str, cluster: Cluster | None, app_id: str, *, edited: bool) -> ClusterView:
        if cluster is None:
            return ClusterView(name=name, exists=False, connected=False, synced=False)
        view = cluster.view
        if view.unreachable_for is not None:
            if edited or view.unreachable_for < view.grace:
                # this pass is made up for as soon as it is back; all others have their turn then, one after the other
                cluster.look_at(app_id)
            return view
        if view.synced and not cluster.shows(app_id, self._written(name, app_id)):
            cluster.look_at(app_id)
            return ClusterView(name=name, synced=False, grace=view.grace, info=view.info)
        return view

    def _elsewhere(self, read: Reading, beside: str) -> tuple[Elsewhere, ...]:
        """Our claims besides the two ids: under former ids, and in the cluster that the status names, if that is another."""
        uid = read.resource.uid
        former = str(read.resource.status.get("cluster") or "")
        found: list[Elsewhere] = []
        for name in self._clusters.names():
            cluster = self._clusters.get(name)
            if cluster is None:
                continue
            view = cluster.view
            reachable = view.connected and view.synced and view.problem is None and view.unreachable_for is None
            mine = {read.app_id, beside} if name == read.cluster else set()
            claims = [c for c in cluster.claims_of(uid) if c.app_id not in mine]
            for claim in claims:
                fresh = cluster.shows(claim.app_id, self._written(name, claim.app_id))
                deployment = cluster.deployment(claim.app_id)
                found.append(
                    Elsewhere(
                        cluster=name,
                        app_id=claim.app_id,
                        app=cluster.app(claim.app_id),
                        reachable=reachable and fresh,
                        locked_by_others=deployment is not None and bool(set(deployment.affected_apps) - {claim.app_id}),
                        deletion_wait=cluster.deletion_wait,
                    )
                )
            if not claims and name == former and name != read.cluster and not reachable:
                found.append(Elsewhere(cluster=name, app_id="", app=None, reachable=False))
        if former and former != read.cluster and former not in self._clusters.names():
            found.append(Elsewhere(cluster=former, app_id="", app=None, reachable=False))
        return tuple(found)

    # ------------------------------------------------------------------------------------------------ the desired definition

    def _render(self, read: Reading) -> tuple[Problem | None, Problem | None, Rendered | None]:
        """(what the user must change, what is waited for, the definition)."""
        owner = read.resource.key
        recipe = read.recipe
        wanted = frozenset(reading.key_of(s, owner.namespace) for s in recipe.sources) if recipe is not None else frozenset()
        try:
            objects = self._references.require(owner, wanted)
        except Denied as error:
            return None, Problem(reason="ReferencesDenied", message=str(error)), None
        if recipe is None:
            return read.problem, None, None
        ring = circle(owner.name, lambda name: self._depends_on(owner.namespace, name)) if read.depends_on else ()
        if ring:
            message = f"spec.dependsOn goes in a circle: {' -> '.join(ring)}; take one of them out"
            return Problem(reason="DependencyCircle", message=message), None, None
        if objects is None:
            return None, Problem(reason=PENDING, message="the Secrets and ConfigMaps that the spec refers to are being read"), None
        values = {s: reading.value_of(s, objects.get(reading.key_of(s, owner.namespace))) for s in recipe.sources}
        absent = missing(recipe, values)
        if absent is not None:
            return None, absent, None
        return self._rendered(recipe, values, read.resource.uid)

    def _rendered(self, recipe: Recipe, values: Mapping[Any, bytes | None], uid: str) -> tuple[Problem | None, None, Rendered | None]:
        wrong = id_errors(recipe.app_id, field="spec.id")
        if wrong:
            return Problem(reason="InvalidSpec", message=f"{wrong[0].path}: {wrong[0].message}"), None, None
        try:
            rendered = render(recipe, values, digest_key=uid)
        except Invalid as error:
            return Problem(reason="InvalidSpec", message=str(error)), None, None
        problem = reading.judge_patched(rendered.definition) if recipe.patches else None
        return (problem, None, None) if problem is not None else (None, None, rendered)

    async def render_revision(self, seen: Seen, name: str) -> Document | None:
        """An old revision rendered anew, with the present values of what it refers to; None when that is not possible."""
        owner = seen.reading.resource.key
        spec = await self._history.spec_of(owner.namespace, name)
        recipe = reading.recorded_recipe(spec, seen.reading.app_id) if spec is not None else None
        if recipe is None:
            return None
        now = seen.reading.recipe.sources if seen.reading.recipe is not None else ()
        wanted = frozenset(reading.key_of(s, owner.namespace) for s in (*recipe.sources, *now))
        try:
            objects = self._references.require(owner, wanted)
        except Denied:
            return None
        if objects is None:
            return None
        values = {s: reading.value_of(s, objects.get(reading.key_of(s, owner.namespace))) for s in recipe.sources}
        if missing(recipe, values) is not None:
            return None
        _, _, rendered = self._rendered(recipe, values, seen.reading.resource.uid)
        return rendered.definition if rendered is not None else None

    def _desired(self, read: Reading, item: Object, rendered: Rendered, view: ClusterView, *, advised: bool) -> Desired:
        return Desired(
            app_id=read.app_id,
            definition=rendered.definition,
            revision=revisions.revision_hash(item["spec"], rendered.digests),
            secret_paths=rendered.secret_paths,
            secrets=rendered.secrets,
            advice=tuple(self._adviser(rendered.definition, view)) if advised else (),
            warnings=read.warnings,
        )

    def _tenancy_problem(self, key: ObjectKey, cluster: Cluster, name: str, app_id: str) -> Problem | None:
        labels = dict(self._namespace(key.namespace).get("metadata", {}).get("labels") or {})
        refused = refusal(cluster.tenancy, Namespace(name=key.namespace, labels=labels), app_id, cluster=name)
        return Problem(reason="NotAllowed", message=refused) if refused is not None else None

    # ------------------------------------------------------------------------------------------------ other resources

    def _namespace(self, name: str) -> Object:
        """A namespace as far as it is known; empty when it is not."""
        return self._store.get(ObjectKey(kind=NAMESPACES.kind, namespace="", name=name)) or {}

    def _namespace_goes(self, name: str) -> bool:
        return "deletionTimestamp" in self._namespace(name).get("metadata", {})

    def _item(self, namespace: str, name: str) -> Object | None:
        return self._store.get(ObjectKey(kind=PAAS_APPS.kind, namespace=namespace, name=name))

    def _depends_on(self, namespace: str, name: str) -> tuple[str, ...]:
        item = self._item(namespace, name)
        return reading.depends_on(item.get("spec") or {}) if item is not None else ()

    def _dependency(self, key: ObjectKey, name: str) -> Dependency:
        item = self._item(key.namespace, name)
        if item is None or "deletionTimestamp" in item["metadata"]:
            return Dependency(name=name, exists=item is not None, ready=False)
        return Dependency(name=name, exists=True, ready=is_ready(item))

    def _is_gone(self, claim: Claim) -> bool:
        """Whether the resource that holds a claim does not exist any more, as far as the store knows. Taking it over asks the API first."""
        item = self._item(claim.namespace, claim.name)
        return item is None or item["metadata"]["uid"] != claim.uid


def is_ready(item: Object) -> bool:
    """Whether a resource is Ready in its present generation."""
    status = item.get("status") or {}
    if status.get("observedGeneration") != item["metadata"].get("generation"):
        return False
    return any(c.get("type") == ConditionType.READY.value and c.get("status") == "True" for c in status.get("conditions") or ())

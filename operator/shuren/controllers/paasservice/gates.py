"""The release gate that services put before the removal of a task: no load balancer sends to it any more, and none has a session with it.

Also tells how far load balancers are with the split of traffic between two versions of an app (`domain.service.shift`).

Fulfils `GateKeeper` and `Traffic` of `controllers.paasapp.world`. Who drains is remembered here only. After a restart nobody is known to
drain: until the app's first pass, tasks that are published as draining stay so, and that pass chooses them again, since the victims
decision keeps to them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from shuren.controllers.identity import cluster_of
from shuren.controllers.paasservice import triggers
from shuren.controllers.paasservice.world import Cluster, Clusters
from shuren.domain.app.snapshot import Carrier as Carriage
from shuren.domain.app.snapshot import Gates
from shuren.domain.identity import ObjectKey
from shuren.domain.service import release, shift
from shuren.domain.service.release import Carrier
from shuren.domain.service.snapshot import Published
from shuren.domain.service.values import EndpointSet, EndpointState, ServiceName
from shuren.ports.clock import Clock
from shuren.runtime.store import Store

_Place = tuple[str, str]
"""(cluster, app id)."""
_FEW = 16


class Gatekeeper:
    """See the module. `signal` asks for passes over services."""

    def __init__(self, *, store: Store, clusters: Clusters, clock: Clock, signal: Callable[[Collection[ObjectKey]], None]) -> None:
        self._store = store
        self._clusters = clusters
        self._clock = clock
        self._signal = signal
        self._draining: dict[_Place, dict[str, float]] = {}
        self._owners: dict[_Place, ObjectKey] = {}
        self._owners_limit = _FEW
        self._rolling: dict[ObjectKey, str] = {}

    def forget(self) -> None:
        """A term begins: what an earlier one asked for is not known to be true any more."""
        self._draining.clear()
        self._owners.clear()
        self._rolling.clear()

    # ------------------------------------------------------------------------------------------------ for apps

    def look(self, cluster: str, app_id: str, owner: ObjectKey, *, limit: float) -> Gates:
        """The gates of an app; see the port."""
        place = (cluster, app_id)
        self._owners[place] = owner
        self._tidy()
        found = self._clusters.get(cluster)
        carriers = self._carriers(found, cluster, owner) if found is not None else []
        known = self._draining.get(place)
        if known is None:
            since = self._clock.monotonic()
            known = dict.fromkeys((t for c in carriers for t in _draining_in(c.endpoints, app_id)), since)
            if known:
                self._draining[place] = known
        now = self._clock.monotonic()
        free, held = release.released(carriers, known, now=now, limit=limit)
        return Gates(
            closed=bool(carriers),
            draining=frozenset(known),
            released=free,
            why=held,
            left=release.left(known, held, now=now, limit=limit),
        )

    def drain(self, cluster: str, app_id: str, task_ids: frozenset[str]) -> None:
        """See the port."""
        known = self._draining.get((cluster, app_id), {})
        now = self._clock.monotonic()
        self._draining[cluster, app_id] = {task: known.get(task, now) for task in sorted(task_ids)}
        self._tell(cluster, app_id)

    def passed(self, cluster: str, app_id: str) -> None:
        """See the port. Tasks that are gone are forgotten."""
        known = self._draining.get((cluster, app_id))
        if known is None:
            self._draining[cluster, app_id] = {}
            return
        found = self._clusters.get(cluster)
        app = found.app(app_id) if found is not None else None
        if known and found is not None and found.view.synced:
            there = {task.id for task in app.tasks if task.state.active} if app is not None else set()
            self._draining[cluster, app_id] = {task: since for task, since in known.items() if task in there}

    def waiting(self, cluster: str) -> frozenset[ObjectKey]:
        """PaasApps with tasks that drain, or with traffic that moves."""
        places = (place for place, tasks in self._draining.items() if tasks and place[0] == cluster)
        rolling = (owner for owner, where in self._rolling.items() if where == cluster)
        return frozenset(self._owners[place] for place in places if place in self._owners).union(rolling)

    def carriers(self, cluster: str, app_ids: tuple[str, str], owner: ObjectKey) -> tuple[Carriage, ...]:
        """See the port."""
        found = self._clusters.get(cluster)
        if found is None:
            return ()
        self._rolling[owner] = cluster
        return shift.carried(self._carriers(found, cluster, owner), lives_on=app_ids[0], beside=app_ids[1])

    def split(self, owner: ObjectKey) -> None:
        """See the port."""
        self._signal(triggers.of_app(self._store, owner))

    def settled(self, owner: ObjectKey) -> None:
        """See the port."""
        self._rolling.pop(owner, None)

    # ------------------------------------------------------------------------------------------------ for services

    def draining(self, cluster: str, app_id: str, published: Published | None) -> frozenset[str]:
        """Tasks of an app that drain; before the app's first pass in this term those that are published so."""
        known = self._draining.get((cluster, app_id))
        if known is not None:
            return frozenset(known)
        return frozenset(_draining_in(published.endpoints if published is not None else None, app_id))

    # ------------------------------------------------------------------------------------------------ inside

    def _tidy(self) -> None:
        """Forgets apps whose resources are gone: seldom, so that it costs little for each that comes."""
        if len(self._owners) <= self._owners_limit:
            return
        self._owners = {place: owner for place, owner in self._owners.items() if owner in self._store or self._draining.get(place)}
        self._draining = {place: tasks for place, tasks in self._draining.items() if tasks or place in self._owners}
        self._owners_limit = max(_FEW, 2 * len(self._owners))

    def _tell(self, cluster: str, app_id: str) -> None:
        owner = self._owners.get((cluster, app_id))
        if owner is not None:
            self._signal(triggers.of_app(self._store, owner))

    def _carriers(self, cluster: Cluster, name: str, owner: ObjectKey) -> list[Carrier]:
        found: list[Carrier] = []
        for key in sorted(triggers.of_app(self._store, owner)):
            item = self._store.get(key) or {}
            spec: Mapping[str, Any] = item.get("spec") or {}
            balancing = spec.get("loadBalancer")
            group = str(balancing.get("group") or "") if isinstance(balancing, Mapping) else ""
            if not group or cluster_of(spec) != name or "deletionTimestamp" in item["metadata"]:
                continue
            service = ServiceName(namespace=key.namespace, name=key.name)
            published = cluster.published(service)
            # a selector that does not choose the app, or a route that was never published, holds nothing up
            if published is not None and group not in published.routes:
                continue
            endpoints = published.endpoints if published is not None else None
            found.append(Carrier(service=service, endpoints=endpoints, balancers=cluster.balancers(group, service)))
        return found


def _draining_in(endpoints: EndpointSet | None, app_id: str) -> list[str]:
    if endpoints is None:
        return []
    return sorted({e.task for e in endpoints.endpoints if e.app == app_id and e.task and e.state is EndpointState.DRAINING})

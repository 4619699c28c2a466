"""The release gate that shard maps put before the removal of a task: no table and no move names it any more.

Fulfils `controllers.paasapp.world.GateKeeper`. Who drains is remembered here only. After a restart nobody is known to drain until the app's
first pass, which chooses the same tasks again; until then a map begins no moves (`settled`), lest shards go back to who was being emptied.
There is no limit of time: a task that goes with its shards takes them along.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from shuren.controllers.identity import cluster_of
from shuren.controllers.shardmap import triggers
from shuren.controllers.shardmap.world import Cluster, Clusters
from shuren.domain.app.snapshot import Gates
from shuren.domain.identity import ObjectKey
from shuren.domain.marathon.state import Task
from shuren.domain.shardmap.roster import LAGGING
from shuren.domain.shardmap.snapshot import Identity, MapName, MapSeen, instance_of
from shuren.runtime.store import Store

_Place = tuple[str, str]
"""(cluster, app id)."""
_FEW = 16


class Gatekeeper:
    """See the module. `signal` asks for passes over maps."""

    def __init__(self, *, store: Store, clusters: Clusters, signal: Callable[[Collection[ObjectKey]], None]) -> None:
        self._store = store
        self._clusters = clusters
        self._signal = signal
        self._draining: dict[_Place, frozenset[str]] = {}
        self._owners: dict[_Place, ObjectKey] = {}
        self._owners_limit = _FEW

    def forget(self) -> None:
        """A term begins: what an earlier one asked for is not known to be true any more."""
        self._draining.clear()
        self._owners.clear()

    # ------------------------------------------------------------------------------------------------ for apps

    def look(self, cluster: str, app_id: str, owner: ObjectKey, *, limit: float) -> Gates:  # noqa: ARG002 - shards have no limit
        """The gates of an app; see the port."""
        place = (cluster, app_id)
        if place in self._owners and place not in self._draining:
            # a pass over an app that is not ours to write: nobody will ever ask its tasks to go
            self._draining[place] = frozenset()
        self._owners[place] = owner
        self._tidy()
        found = self._clusters.get(cluster)
        maps = sorted(self._maps(cluster, owner))
        known = self._draining.get(place, frozenset())
        if not maps or found is None:
            return Gates(draining=known)
        app = found.app(app_id)
        tasks = {task.id: task for task in app.tasks} if app is not None else {}
        held: dict[str, str] = {}
        for key in maps:
            for task, why in self._held(found, key, (tasks[t] for t in known if t in tasks)):
                held.setdefault(task, why)
        return Gates(
            closed=True,
            draining=known,
            released=frozenset(known - held.keys()),
            why=held,
            at_once=min(_at_once((self._store.get(key) or {}).get("spec") or {}) for key in maps),
            unsettled=next((why for key in maps if (why := _unsettled(found, key))), ""),
        )

    def drain(self, cluster: str, app_id: str, task_ids: frozenset[str]) -> None:
        """See the port."""
        self._draining[cluster, app_id] = task_ids
        self._tell(cluster, app_id)

    def passed(self, cluster: str, app_id: str) -> None:
        """See the port. Tasks that are gone are forgotten."""
        known = self._draining.get((cluster, app_id))
        if known is None:
            self._draining[cluster, app_id] = frozenset()
            self._tell(cluster, app_id)
            return
        found = self._clusters.get(cluster)
        app = found.app(app_id) if found is not None else None
        if known and found is not None and found.view.synced:
            there = {task.id for task in app.tasks if task.state.active} if app is not None else set()
            self._draining[cluster, app_id] = known & there

    def waiting(self, cluster: str) -> frozenset[ObjectKey]:
        """PaasApps with tasks that drain."""
        places = (place for place, tasks in self._draining.items() if tasks and place[0] == cluster)
        return frozenset(self._owners[place] for place in places if place in self._owners)

    # ------------------------------------------------------------------------------------------------ for maps

    def settled(self, cluster: str, app_id: str) -> bool:
        """Whether the app has had a pass in this term, so that it is known which of its tasks are to go."""
        return (cluster, app_id) in self._draining

    def draining(self, cluster: str, app_id: str) -> frozenset[str]:
        """Tasks of an app that are to go."""
        return self._draining.get((cluster, app_id), frozenset())

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
            self._signal(triggers.of_app(self._store, owner) | triggers.of_services_of(self._store, owner))

    def _maps(self, cluster: str, owner: ObjectKey) -> frozenset[ObjectKey]:
        keys = triggers.of_app(self._store, owner) | triggers.of_services_of(self._store, owner)
        return frozenset(key for key in keys if cluster_of((self._store.get(key) or {}).get("spec") or {}) == cluster)

    def _held(self, cluster: Cluster, key: ObjectKey, tasks: Iterable[Task]) -> Iterable[tuple[str, str]]:
        """The tasks that may not go yet for one map, with what they wait for."""
        shards = cluster.shards
        name = MapName(namespace=key.namespace, name=key.name)
        seen = shards.get(name) if shards is not None else None
        identity = _identity((self._store.get(key) or {}).get("spec") or {})
        for task in tasks:
            if seen is None:
                yield task.id, f"what is published of ShardMap {key.name} has not been read yet"
            elif seen.table is not None and not seen.foreign:
                count = _holds(seen, _member(identity, task, seen))
                if count:
                    yield task.id, f"ShardMap {key.name} still has {count} shards on it"


def _at_once(spec: Mapping[str, Any]) -> int:
    """`spec.rollout.maxUnavailable` of a map."""
    rollout = spec.get("rollout")
    number = rollout.get("maxUnavailable") if isinstance(rollout, Mapping) else None
    return number if isinstance(number, int) and number > 0 else 1


def _unsettled(cluster: Cluster, key: ObjectKey) -> str:
    """What has to end before members restart: moves, and copies that follow no more and are just being brought up to the present.

    Nothing of a member that is not there: a new version may be what mends it.
    """
    seen = cluster.shards.get(MapName(namespace=key.namespace, name=key.name)) if cluster.shards is not None else None
    if seen is None:
        return ""
    moving = sum(all(member in seen.live for member in (move.from_, move.to) if member is not None) for move in seen.moves.values())
    if moving:
        return f"the {moving} shards of ShardMap {key.name} that move now have arrived"
    behind = sorted(member for member, live in seen.live.items() if any(live.counts.get(role, 0) for role in LAGGING))
    return f"the copies of ShardMap {key.name} on {', '.join(behind[:3])} have caught up" if behind else ""


def _identity(spec: Mapping[str, Any]) -> Identity:
    members = spec.get("members")
    word = members.get("identity") if isinstance(members, Mapping) else None
    try:
        return Identity(word)
    except ValueError:
        return Identity.HOST


def _member(identity: Identity, task: Task, seen: MapSeen) -> str:
    """The member that a task is."""
    match identity:
        case Identity.HOST:
            return task.host
        case Identity.RESIDENT:
            return instance_of(task.id)
        case Identity.ORDINAL:
            return next((member for member, live in seen.live.items() if answers_at(task, live.address)), "")


def answers_at(task: Task, address: str) -> bool:
    """Whether a task answers at an address (host:port)."""
    host, _, port = address.rpartition(":")
    return host in {task.host, *task.ip_addresses} and (not task.ports or port in {str(p) for p in task.ports})


def _holds(seen: MapSeen, member: str) -> int:
    """Replicas that the table gives to a member, and moves that name it."""
    moving = sum(member in {move.from_, move.to} for move in seen.moves.values())
    number = next((m.number for m in seen.table.members if m.id == member), None) if seen.table is not None else None
    held = sum(owner == number for owner in seen.table.owners) if seen.table is not None and number is not None else 0
    return held or moving

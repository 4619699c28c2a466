"""How things stand, as trees for people and as JSON for programs; and where Marathon differs from what is asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from shuren.cli.tree import Node
from shuren.controllers.preview import Seen
from shuren.domain.app import rollout
from shuren.domain.app.snapshot import Snapshot
from shuren.domain.app.work import assemble
from shuren.domain.errors import ShurenError
from shuren.domain.identity import ObjectKey
from shuren.domain.marathon.diff import FieldChange
from shuren.domain.service.snapshot import BalancerSeen, ServiceSnapshot
from shuren.domain.service.values import Endpoint
from shuren.domain.shardmap.snapshot import MapSnapshot
from shuren.runtime.store import Store

Json = dict[str, Any]
_FEW = 8


def _ready(item: Mapping[str, Any] | None) -> tuple[str, str, str]:
    conditions = ((item or {}).get("status") or {}).get("conditions") or ()
    found: Json = next((c for c in conditions if c.get("type") == "Ready"), {})
    return str(found.get("status", "Unknown")), str(found.get("reason", "NotSeenYet")), str(found.get("message", ""))


_STYLES = {"True": "green", "False": "red", "Unknown": "yellow"}
_WORDS = {"True": "Ready", "False": "not Ready", "Unknown": "Ready unknown"}


def _headed(kind: str, key: ObjectKey, store: Store, more: str) -> Node:
    truth, reason, message = _ready(store.get(key))
    why = "" if truth == "True" else f" ({reason}: {message})"
    return Node(text=f"{kind} {key.namespace}/{key.name}  {_WORDS.get(truth, truth)}{why}  {more}".rstrip(), style=_STYLES.get(truth, ""))


def trees(seen: Seen, store: Store, *, wide: bool = False) -> Iterator[Node]:
    """One tree for each app; services and shard maps without an app stand for themselves."""
    limit = 10_000 if wide else _FEW
    shown: set[ObjectKey] = set()
    for key, s in sorted(seen.apps.items()):
        root = _headed("PaasApp", key, store, _app_words(s))
        root.below += list(_tasks(s, limit))
        for service, snapshot in sorted(seen.services.items()):
            if any(app.name == key.name for backend in snapshot.apps for app in backend) and service.namespace == key.namespace:
                root.below.append(_service(service, snapshot, seen, store, limit))
                shown.add(service)
        root.below += _maps("appRef", key, seen, store, limit)
        yield root
    for service, snapshot in sorted(seen.services.items()):
        if service not in shown:
            yield _service(service, snapshot, seen, store, limit)
    for key, of_map in sorted(seen.maps.items()):
        field, name = members_of(store, key)
        above = {"appRef": seen.apps, "serviceRef": seen.services}.get(field, {})
        if not any((above_key.namespace, above_key.name) == (key.namespace, name) for above_key in above):
            yield _map(key, of_map, store, limit)


def _app_words(s: Snapshot) -> str:
    revision = f", revision {s.desired.revision}" if s.desired is not None else ""
    if s.app is None:
        return f"not in Marathon (in {s.cluster.name}{revision})"
    now = rollout.standing(s.app, desired=s.wanted_instances)
    return f"{now.ready}/{now.desired} of {s.app.id} in {s.cluster.name}{revision}"


def _tasks(s: Snapshot, limit: int) -> Iterator[Node]:
    if s.deployment is not None:
        d = s.deployment
        yield Node(text=f"deployment {d.id}: step {d.current_step} of {d.total_steps}", style="yellow")
    tasks = [t for t in s.app.tasks if t.state.active] if s.app is not None else []
    for task in tasks[:limit]:
        old = s.app is not None and task.version is not None and task.version < s.app.last_config_change_at
        health = "" if task.health.value == "unknown" else f", {task.health.value}"
        words = f"task {task.id} on {task.host}: {task.state.value.removeprefix('TASK_').lower()}{health}"
        yield Node(text=words + (", of an older configuration" if old else ""), style="red" if task.health.value == "unhealthy" else "")
    if len(tasks) > limit:
        yield Node(text=f"… and {len(tasks) - limit} more tasks (-o wide shows all)", style="dim")


def _service(key: ObjectKey, s: ServiceSnapshot, seen: Seen, store: Store, limit: int) -> Node:
    node = _headed("PaasService", key, store, "")
    endpoints = s.published.endpoints.endpoints if s.published is not None and s.published.endpoints is not None else ()
    for e in endpoints[:limit]:
        node.below.append(Node(text=f"{e.address}:{e.port}  {e.state.value}  weight {e.weight}{_sessions(e, s.balancers)}"))
    if len(endpoints) > limit:
        node.below.append(Node(text=f"… and {len(endpoints) - limit} more endpoints", style="dim"))
    if s.published is not None and s.published.names is not None:
        names = ", ".join(f"{name}.{s.zone}" for name in s.published.names.names)
        node.below.append(Node(text=f"names {names}"))
    node.below += [_balancer(balancer) for balancer in s.balancers]
    node.below += _maps("serviceRef", key, seen, store, limit)
    return node


def _sessions(e: Endpoint, balancers: Iterable[BalancerSeen]) -> str:
    count = sum(b.applied.sessions.get(e.id, 0) for b in balancers if b.applied is not None)
    return f"  {count} sessions to finish" if count else ""


def _balancer(seen: BalancerSeen) -> Node:
    me, applied = seen.balancer, seen.applied
    if not me.live:
        return Node(text=f"load balancer {me.id}: its agent does not run", style="red")
    if applied is None:
        return Node(text=f"load balancer {me.id}: has not acknowledged it", style="yellow")
    if applied.problem:
        return Node(text=f"load balancer {me.id}: leaves it out: {applied.problem}", style="red")
    return Node(text=f"load balancer {me.id}: generation {applied.endpoints}, {applied.up} servers up")


def members_of(store: Store, key: ObjectKey) -> tuple[str, str]:
    """Whose tasks are the members of a ShardMap: (`appRef` or `serviceRef`, name); empty for a map of a list."""
    members: Mapping[str, Any] = ((store.get(key) or {}).get("spec") or {}).get("members") or {}
    return next(((field, str(members[field]["name"])) for field in ("appRef", "serviceRef") if members.get(field)), ("", ""))


def _maps(field: str, above: ObjectKey, seen: Seen, store: Store, limit: int) -> list[Node]:
    """The shard maps whose members stand above them in the tree."""
    mine = ((k, m) for k, m in sorted(seen.maps.items()) if k.namespace == above.namespace and members_of(store, k) == (field, above.name))
    return [_map(key, of_map, store, limit) for key, of_map in mine]


def _map(key: ObjectKey, s: MapSnapshot, store: Store, limit: int) -> Node:
    facts = _map_facts(s)
    words = f"generation {facts['generation']}, {facts['shards']} shards with {facts['replicas']} replicas, {len(facts['moving'])} move"
    node = _headed("ShardMap", key, store, words if facts["generation"] else "nothing published")
    members = facts["members"]
    for member in members[:limit]:
        state = "" if member["live"] else "  not registered"
        leaves = "  to be emptied" if member["draining"] else ""
        text = f"{member['id']}  {member['address']}  holds {member['holds']} shards, leads {member['leads']}{state}{leaves}"
        node.below.append(Node(text=text, style="" if member["live"] else "red"))
    if len(members) > limit:
        node.below.append(Node(text=f"… and {len(members) - limit} more members", style="dim"))
    moving = facts["moving"]
    for move in moving[:limit]:
        text = f"shard {move['shard']}: {move['state']} {move['from'] or 'nobody'} -> {move['to']}"
        node.below.append(Node(text=text, style="yellow"))
    if len(moving) > limit:
        node.below.append(Node(text=f"… and {len(moving) - limit} more shards move", style="dim"))
    return node


def _map_facts(s: MapSnapshot) -> Json:
    """What lies in ZooKeeper of a shard map, as counts."""
    seen, table = s.seen, s.seen.table if s.seen is not None else None
    held = Counter(table.owners) if table is not None else Counter[int]()
    led = Counter(table.owners[: table.shards]) if table is not None else Counter[int]()
    leaving = {member.id for member in s.source.members or () if member.drain}
    live = seen.live if seen is not None else {}
    return {
        "path": s.path or None,
        "generation": table.generation if table is not None else 0,
        "shards": table.shards if table is not None else 0,
        "replicas": table.replicas if table is not None else 0,
        "members": [
            {
                "id": m.id,
                "address": live[m.id].address if m.id in live else m.address,
                "live": m.id in live,
                "draining": m.id in leaving,
                "holds": held[m.number],
                "leads": led[m.number],
            }
            for m in sorted(table.members if table is not None else (), key=lambda member: member.id)
        ],
        "moving": [
            {"shard": shard, "state": move.state.value, "from": move.from_, "to": move.to}
            for shard, move in sorted(seen.moves.items() if seen is not None else ())
        ],
    }


# ---------------------------------------------------------------------------------------------------- JSON


def documents(seen: Seen, store: Store) -> list[Json]:
    """The same for programs: apps, services and shard maps side by side."""
    found: list[Json] = []
    for key, s in sorted(seen.apps.items()):
        found.append({**_head(key, store), "cluster": s.cluster.name, **_app_document(s)})
    for key, service in sorted(seen.services.items()):
        found.append({**_head(key, store), "cluster": service.cluster.name, **_service_document(service)})
    for key, of_map in sorted(seen.maps.items()):
        field, name = members_of(store, key)
        source = {"app" if field == "appRef" else "service": name} if field else {}
        found.append({**_head(key, store), "cluster": of_map.cluster.name, **source, **_map_facts(of_map)})
    return found


def _head(key: ObjectKey, store: Store) -> Json:
    truth, reason, message = _ready(store.get(key))
    return {"kind": key.kind, "namespace": key.namespace, "name": key.name, "ready": truth, "reason": reason, "message": message}


def _app_document(s: Snapshot) -> Json:
    if s.app is None:
        return {"appId": s.desired.app_id if s.desired is not None else None, "tasks": []}
    now = rollout.standing(s.app, desired=s.wanted_instances)
    return {
        "appId": s.app.id,
        "revision": s.desired.revision if s.desired is not None else None,
        "instances": {"desired": now.desired, "running": now.running, "ready": now.ready, "updated": now.updated},
        "deployment": None if s.deployment is None else {"id": s.deployment.id, "step": s.deployment.current_step},
        "tasks": [
            {"id": t.id, "host": t.host, "state": t.state.value, "health": t.health.value, "ports": list(t.ports)} for t in s.app.tasks
        ],
    }


def _service_document(s: ServiceSnapshot) -> Json:
    endpoints = s.published.endpoints.endpoints if s.published is not None and s.published.endpoints is not None else ()
    return {
        "apps": [app.name for backend in s.apps for app in backend],
        "endpoints": [
            {"address": e.address, "port": e.port, "state": e.state.value, "weight": e.weight, "task": e.task} for e in endpoints
        ],
        "names": [f"{n}.{s.zone}" for n in s.published.names.names] if s.published is not None and s.published.names is not None else [],
        "loadBalancers": [
            {
                "id": b.balancer.id,
                "live": b.balancer.live,
                "generation": b.applied.endpoints if b.applied is not None else 0,
                "up": b.applied.up if b.applied is not None else 0,
                "problem": (b.applied.problem or None) if b.applied is not None else None,
            }
            for b in s.balancers
        ],
    }


# ---------------------------------------------------------------------------------------------------- differences


@dataclass(frozen=True, kw_only=True)
class Differing:
    """An app whose definition in Marathon is not the spec's. `drift`: somebody else's doing."""

    key: ObjectKey
    app_id: str
    changes: tuple[FieldChange, ...]
    drift: bool
    words: str


def differences(apps: Mapping[ObjectKey, Snapshot]) -> list[Differing]:
    """All apps that differ; values of Secrets are hidden."""
    found: list[Differing] = []
    for key, s in sorted(apps.items()):
        if s.desired is None:
            continue
        if s.app is None:
            words = "Marathon does not have it"
            found.append(Differing(key=key, app_id=s.desired.app_id, changes=(), drift=s.owned, words=words))
            continue
        try:
            work = assemble(s, s.desired)
        except ShurenError:
            continue
        changes = tuple(c for c in work.gap.changes if not _ignored(c.path, s.management.ignore_paths))
        if changes:
            words = "changed in Marathon by somebody else" if work.drifted else "has yet to be brought about"
            found.append(Differing(key=key, app_id=s.app.id, changes=changes, drift=work.drifted, words=words))
    return found


def _ignored(path: str, patterns: tuple[str, ...]) -> bool:
    return any(path == p or path.startswith(f"{p.rstrip('/')}/") for p in patterns)

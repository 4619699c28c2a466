"""A ShardMap, link by link: resource, operator, cluster, members, published table, registration, moves, primaries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from shuren.domain.app.snapshot import PENDING
from shuren.domain.explain.links import Link, Verdict, broken, first_broken, holds, unknown
from shuren.domain.shardmap.decide import CHECKS as HELD_UP
from shuren.domain.shardmap.snapshot import MapSeen, MapSnapshot
from shuren.domain.shardmap.status import Phase
from shuren.sharding.core.moves import Move
from shuren.sharding.core.table import ShardTable

_FEW = 4


def way(s: MapSnapshot, *, behind: Mapping[str, Sequence[Link]]) -> tuple[Link, ...]:
    """All links up to the first broken one. `behind` are the ways of the PaasApps or PaasServices whose tasks are the members, by name."""
    links: list[Link] = []
    for check in CHECKS:
        link = _members(s, behind) if check is members_are_known else check(s)
        if link is None:
            continue
        links.append(link)
        if link.verdict in {Verdict.BROKEN, Verdict.UNKNOWN}:
            break
    return tuple(links)


def the_spec_can_be_followed(s: MapSnapshot) -> Link:
    """What only the user can mend."""
    name, key = "shard map", s.resource.key
    if s.resource.deleting:
        return broken(name, "it is being deleted", f"wait, or see the conditions: kubectl describe shm {key.name} -n {key.namespace}")
    if s.problem is not None:
        return broken(name, f"{s.problem.reason}: {s.problem.message}", "change the spec")
    if s.spec is not None and s.spec.suspend:
        return broken(name, "spec.suspend is true: nothing is published or moved", f"kubectl shuren resume shm/{key.name}")
    return holds(name, f"{key.namespace}/{key.name}, generation {s.resource.generation}")


def the_operator_looks_at_it(s: MapSnapshot) -> Link:
    """A status behind the spec means that nobody reconciles."""
    seen = s.resource.status.get("observedGeneration")
    if seen == s.resource.generation:
        return holds("operator", f"has looked at generation {s.resource.generation}")
    said = "it has never said anything" if seen is None else f"it has looked at generation {seen}, the spec is at {s.resource.generation}"
    return broken("operator", said, "is the operator running? kubectl get lease -A | grep shuren-operator")


def nothing_holds_it_up(s: MapSnapshot) -> Link:
    """MesosCluster, ZooKeeper, and what lies at the path: the very checks that hold up the operator's pass."""
    name = f"cluster {s.cluster.name}"
    for check in HELD_UP:
        held = check(s)
        if held is None:
            continue
        if held.finding.phase is Phase.UNKNOWN:
            return unknown(name, held.finding.message, "check that this machine reaches it (shuren doctor)")
        advice = {"ClusterNotFound": "create it, or correct spec.clusterRef.name"}.get(held.finding.reason, "mend what it names")
        return broken(name, f"{held.finding.reason}: {held.finding.message}", advice)
    return holds(name, f"ZooKeeper answers, {s.path} is ours")


def members_are_known(s: MapSnapshot) -> Link | None:
    """Stands for `_members`, which needs the ways of who is behind."""
    return _members(s, {})


def _members(s: MapSnapshot, behind: Mapping[str, Sequence[Link]]) -> Link | None:
    for name in sorted(behind):
        link = first_broken(behind[name])
        if link is not None:
            return broken("members", f"{name}: {link.name}: {link.evidence}", link.advice)
    problem = s.source.problem
    if problem is not None and problem.reason == PENDING:
        return unknown("members", problem.message)
    if problem is not None:
        return broken("members", f"{problem.reason}: {problem.message}", "create or correct what spec.members names")
    members = s.source.members or ()
    leaving = [m.id for m in members if m.drain]
    words = f"; {_listed(leaving)} are to be emptied" if leaving else ""
    return holds("members", f"{len(members)} of {s.source.expected}{words}")


def a_table_is_published(s: MapSnapshot) -> Link:
    """The map itself, as clients read it."""
    table = _table(s)
    if table is None:
        here = len(s.seen.live) if s.seen is not None else 0
        said = f"nothing is published yet: {here} of {s.source.expected} members have registered at {s.path}/live"
        return broken("published table", said, "members register with the sharding library: see what their tasks say (kubectl shuren logs)")
    where = f"{s.path}, generation {table.generation}"
    return holds("published table", f"{where}: {table.shards} shards with {table.replicas} replicas on {len(table.members)} members")


def members_are_there(s: MapSnapshot) -> Link | None:
    """Those that hold shards have registered, and act by what is published."""
    table, seen = _table(s), s.seen
    if table is None or seen is None:
        return None
    used = set(table.owners)
    away = [m.id for m in table.members if m.number in used and m.id not in seen.live]
    if away:
        leaderless = sum(1 for number in table.owners[: table.shards] if number in {m.number for m in table.members if m.id in set(away)})
        said = f"{_listed(away)} hold shards and are not registered; {leaderless} shards have no primary that is there"
        return broken(
            "registration", said, f"see what became of their tasks, or of their sessions: shuren shards watch {s.resource.key.name}"
        )
    behind = sorted(m.id for m in seen.live.values() if m.generation < table.generation)
    if behind:
        return broken("registration", f"{_listed(behind)} act by an older generation than {table.generation}", "wait, or see their logs")
    return holds("registration", f"{len(seen.live)} members are there and act by generation {table.generation}")


def moves_go_on(s: MapSnapshot) -> Link | None:
    """What moves, and who holds it up."""
    seen = s.seen
    if seen is None:
        return None
    for shard, move in sorted(seen.moves.items()):
        error = _refused(seen, shard, move)
        if error:
            return broken("moves", f"shard {shard} ({move.state.value}): {error}", "see that member's log; the move is tried again")
    overdue = [shard for shard, move in sorted(seen.moves.items()) if move.deadline and move.deadline < s.now.timestamp()]
    if overdue:
        shard = overdue[0]
        waits = _listed(sorted(_silent(seen, shard, seen.moves[shard])))
        said = f"shard {shard} ({seen.moves[shard].state.value}) is past its deadline; waiting for {waits or 'the operator'}"
        return broken("moves", said, f"shuren shards explain {shard} --slot --map {s.resource.key.name}")
    if not seen.moves:
        return holds("moves", "no shard moves")
    paused = ", and spec.moves.paused is true: none begins" if s.spec is not None and s.spec.paused else ""
    return holds("moves", f"{len(seen.moves)} shards move{paused}")


def _refused(seen: MapSeen, shard: int, move: Move) -> str:
    """What a member says why it cannot do its part."""
    for member, report in sorted(seen.reports.get(shard, {}).items()):
        if member in move.parts() and report.error and report.state is move.state:
            return f"{member} cannot: {report.error}"
    return ""


def _silent(seen: MapSeen, shard: int, move: Move) -> set[str]:
    """Members whose part is not done."""
    reports = seen.reports.get(shard, {})
    return {member for member in move.parts() if member not in reports or not reports[member].answers(move)}


def _table(s: MapSnapshot) -> ShardTable | None:
    return s.seen.table if s.seen is not None else None


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_FEW]) + (f" and {len(names) - _FEW} more" if len(names) > _FEW else "")


CHECKS: tuple[Callable[[MapSnapshot], Link | None], ...] = (
    the_spec_can_be_followed,
    the_operator_looks_at_it,
    nothing_holds_it_up,
    members_are_known,
    a_table_is_published,
    members_are_there,
    moves_go_on,
)

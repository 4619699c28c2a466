"""The decision about one ShardMap: snapshot in, plan out.

A chain of small checks says what holds a pass up: then nothing is written, and what is published stays. When only the members' source
is unclear, or nothing can be planned for the members that there are, moves under way go on and lost primaries are replaced, but nothing
begins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from shuren.domain.app.snapshot import FORCE_ORPHAN, PENDING, Problem
from shuren.domain.errors import Invalid
from shuren.domain.shardmap import by_load, roster
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
from shuren.domain.shardmap.publish import first_table, measured, next_table, relaid, with_replicas
from shuren.domain.shardmap.roster import Roster
from shuren.domain.shardmap.snapshot import FINALIZER, MapSeen, MapSnapshot, MapSpec, Memory, PlanFacts
from shuren.domain.shardmap.status import Finding, Phase, Picture, conditions, facts
from shuren.domain.shards.assignment import changes
from shuren.domain.shards.goals import Goal, counted, why_plan
from shuren.domain.shards.members import Wanted
from shuren.domain.shards.migration import Failure, World, effective
from shuren.domain.shards.partitions import Layout, Partitioning, Published, Relay, elder, faults, next_layout, split
from shuren.domain.shards.planner import plan
from shuren.domain.shards.schedule import Step, step
from shuren.sharding.core.table import ShardTable

RETAINED = 5
"""Generations that are kept, for readers that are about to read one."""
_SETTLE = 5.0
_LOOK_AGAIN = 30.0
_AT_ONCE = 0.0


def decide(snapshot: MapSnapshot) -> MapPlan:
    """What to do now. Never raises on any snapshot."""
    if snapshot.resource.deleting:
        return _delete(snapshot)
    for check in CHECKS:
        held = check(snapshot)
        if held is not None:
            if held.speaks:
                return _report(snapshot, held.finding, requeue_after=held.requeue_after)
            return MapPlan(memory=snapshot.memory, requeue_after=held.requeue_after)
    if snapshot.spec is None or snapshot.seen is None:  # a gatherer always says why; without a reason there is nothing to do
        return MapPlan(memory=snapshot.memory, requeue_after=_SETTLE)
    return _towards(snapshot, snapshot.spec, snapshot.seen)


def _report(
    s: MapSnapshot,
    finding: Finding,
    *,
    actions: tuple[MapAction, ...] = (),
    memory: Memory | None = None,
    news: tuple[tuple[str, str], ...] = (),
    requeue_after: float | None = None,
) -> MapPlan:
    return MapPlan(
        actions=actions,
        conditions=conditions(finding),
        facts=facts(s, finding),
        memory=memory if memory is not None else s.memory,
        news=news,
        requeue_after=requeue_after,
    )


# ---------------------------------------------------------------------------------------------------- what holds a pass up


@dataclass(frozen=True, kw_only=True)
class Held:
    """A pass ends here. `speaks` False leaves the status as it is."""

    finding: Finding
    speaks: bool = True
    requeue_after: float | None = None


def spec_is_invalid(s: MapSnapshot) -> Held | None:
    """Only the user can help; what is published stays."""
    if s.problem is None:
        return None
    return Held(finding=Finding(phase=Phase.STALLED, reason=s.problem.reason, message=s.problem.message))


def cluster_does_not_exist(s: MapSnapshot) -> Held | None:
    """It may come later."""
    if s.cluster.exists:
        return None
    message = f"MesosCluster {s.cluster.name} does not exist (spec.clusterRef.name); waiting for it"
    return Held(finding=Finding(phase=Phase.WAITING, reason="ClusterNotFound", message=message))


def cluster_is_unusable(s: MapSnapshot) -> Held | None:
    """Its own conditions say what is the matter."""
    if s.cluster.problem is None:
        return None
    message = f"MesosCluster {s.cluster.name} cannot be used: {s.cluster.problem.message}"
    return Held(finding=Finding(phase=Phase.UNKNOWN, reason="ClusterNotReady", message=message))


def map_is_not_read_yet(s: MapSnapshot) -> Held | None:
    """Marathon may be away: a map goes on without it. Without ZooKeeper nothing can be done, and after the grace the status says so."""
    if s.cluster.connected and s.seen is not None:
        return None
    away = s.cluster.unreachable_for
    if away is not None and away >= s.cluster.grace:
        message = f"MesosCluster {s.cluster.name} does not answer; what is published stays as it is"
        return Held(finding=Finding(phase=Phase.UNKNOWN, reason="ClusterUnreachable", message=message))
    finding = Finding(phase=Phase.UNKNOWN, reason=PENDING, message=f"MesosCluster {s.cluster.name} has not been read yet")
    return Held(finding=finding, speaks=not s.resource.status, requeue_after=_SETTLE)


def path_is_foreign(s: MapSnapshot) -> Held | None:
    """Somebody else's node is never touched."""
    if s.seen is None or not s.seen.foreign:
        return None
    message = f"{s.path} in ZooKeeper is not ours: {s.seen.foreign}; remove it, or name the ShardMap otherwise"
    return Held(finding=Finding(phase=Phase.STALLED, reason="PathOwnedByOther", message=message), requeue_after=_LOOK_AGAIN)


def head_is_broken(s: MapSnapshot) -> Held | None:
    """Whoever reads the table keeps the last good one; so do we, and write nothing over what a person may still want to look at."""
    if s.seen is None or not s.seen.broken:
        return None
    message = f"{s.path}/head: {s.seen.broken}; clients keep the table that they have. Put the head back as it was"
    return Held(finding=Finding(phase=Phase.STALLED, reason="HeadBroken", message=message), requeue_after=_LOOK_AGAIN)


def partitioning_does_not_fit(s: MapSnapshot) -> Held | None:
    """What is published is of a partitioning that the spec does not name, or names with another number of shards."""
    if s.spec is None or s.seen is None or s.seen.table is None:
        return None
    published = _published(s.seen, s.seen.table)
    wrong = [f"spec{fault.path.replace('/', '.')}: {fault.message}" for fault in faults(s.spec.partitionings, published)]
    if s.seen.table.hash is not s.spec.hash:
        wrong.append(f"spec.algorithm: the published map is by {s.seen.table.hash.value}, which cannot be changed")
    if not wrong:
        return None
    message = f"{'; '.join(wrong)} (published at {s.path}, which stays)"
    return Held(finding=Finding(phase=Phase.STALLED, reason="PartitioningUnknown", message=message))


def _published(seen: MapSeen, table: ShardTable) -> Published:
    return Published(partitioning=Partitioning(name=seen.partitioning, shards=table.shards), retiring=seen.retiring)


CHECKS: tuple[Callable[[MapSnapshot], Held | None], ...] = (
    spec_is_invalid,
    cluster_does_not_exist,
    cluster_is_unusable,
    map_is_not_read_yet,
    path_is_foreign,
    head_is_broken,
    partitioning_does_not_fit,
)


# ---------------------------------------------------------------------------------------------------- towards the spec


def _towards(s: MapSnapshot, spec: MapSpec, seen: MapSeen) -> MapPlan:
    people = roster.call(s, spec, seen)
    if seen.table is None:
        return _begin(s, spec, seen, people)
    return _go_on(s, spec, seen, seen.table, people)


def _preparations(s: MapSnapshot, seen: MapSeen) -> tuple[MapAction, ...]:
    """What comes before anything is written."""
    finalizer = () if FINALIZER in s.resource.finalizers else (AddFinalizer(),)
    path = () if seen.exists and seen.uid == s.resource.uid else (TakePath(uid=s.resource.uid),)
    return (*finalizer, *path)


def _begin(s: MapSnapshot, spec: MapSpec, seen: MapSeen, people: Roster) -> MapPlan:
    """Nothing is published yet: the first table is made for everybody at once, so it waits for those that are still to come."""
    partitioning = spec.partitionings[-1]
    memory = replace(s.memory, numbers=people.numbers, missing_since={})
    if spec.suspend:
        finding = Finding(phase=Phase.UNKNOWN, reason="Suspended", message="suspended; pending: the first table", suspended=True)
        return _report(s, finding, memory=memory)
    preparations = _preparations(s, seen)
    waiting = _not_complete(s, people, spec, partitioning)
    if waiting is not None:
        phase = Phase.STALLED if s.source.problem is not None and s.source.stalls else Phase.WAITING
        finding = Finding(phase=phase, reason=waiting.reason, message=waiting.message)
        left = spec.policy.delay - seen.looked_for
        return _report(s, finding, actions=preparations, memory=memory, requeue_after=left if left > 0 else None)
    wanted = _wanted(s, spec, partitioning, people)
    planned = plan(wanted)
    table = first_table(planned.table, people, spec=spec, shards=partitioning.shards, term=s.epoch)
    publication = PublishTable(table=table, partitioning=partitioning.name, changed=partitioning.shards)
    finding = Finding(phase=Phase.PROGRESSING, reason="Publishing", message="publishing the first table")
    news = (("Published", f"first table: {partitioning.shards} shards on {len(wanted.eligible)} members"),)
    said = tuple((found.reason, found.message) for found in planned.findings)
    memory = replace(memory, goal=Goal(table=planned.table, wanted=wanted), findings=said)
    return _report(s, finding, actions=(*preparations, publication), memory=memory, news=news, requeue_after=_AT_ONCE)


def _not_complete(s: MapSnapshot, people: Roster, spec: MapSpec, partitioning: Partitioning) -> Problem | None:
    """Why the first table cannot be made yet."""
    if s.source.problem is not None:
        return s.source.problem
    here = sum(p.absent_for == 0 for p in people.presences)
    complete = here >= s.source.expected and not people.waiting_for
    late = s.seen is not None and s.seen.looked_for >= spec.policy.delay
    if not complete and not (late and here):
        named = f" ({', '.join(people.waiting_for[:3])})" if people.waiting_for else ""
        expected = max(s.source.expected, here + len(people.waiting_for))
        return Problem(reason="WaitingForMembers", message=f"{here} of {expected} members have registered at {s.path}/live{named}")
    try:
        _wanted(s, spec, partitioning, people)
    except Invalid as error:
        return Problem(reason="TooFewMembers", message=str(error))
    return None


def _wanted(s: MapSnapshot, spec: MapSpec, partitioning: Partitioning, people: Roster) -> Wanted:
    """Everybody for the first table. Raises Invalid when no table can be made."""
    draining = {p.number for p in people.presences if p.draining}
    members = tuple(replace(m, weight=0.0) if m.id in draining else m for m in people.members)
    return Wanted(slots=partitioning.shards, replicas=spec.replicas, members=members, spread=spec.spread, salt=_salt(s))


def _salt(s: MapSnapshot) -> int:
    """Another one for each map, the same for as long as it lives."""
    return sum((i + 1) * byte for i, byte in enumerate(str(s.resource.name).encode())) & 0x7FFF_FFFF


# ---------------------------------------------------------------------------------------------------- a map that is published


def _go_on(s: MapSnapshot, spec: MapSpec, seen: MapSeen, table: ShardTable, people: Roster) -> MapPlan:
    view = measured(s.memory.measured, table, people, spec.spread.level)
    memory = replace(s.memory, measured=view, missing_since=people.missing_since, numbers=people.numbers)
    world = World(
        table=view.rows,
        epochs=table.epochs,
        generation=table.generation,
        members=people.presences,
        now=s.now.timestamp(),
        term=s.epoch,
        moves=seen.moves,
        reports=seen.reports,
        policy=spec.policy,
        paused=spec.paused or s.source.problem is not None or s.resource.deleting,
        failures=memory.failures,
    )
    layout = next_layout(spec.partitionings, _published(seen, table), moving=len(world.moves), table=world.table)
    anew = None if s.resource.deleting or spec.suspend else _lay_anew(s, seen, layout, people, memory=memory)
    if anew is not None:
        return anew
    resizes = table.replicas != spec.replicas
    world = replace(world, paused=world.paused or bool(layout.wait and not layout.together) or resizes)
    aim = _aim(s, spec, people, world, memory, together=layout.together)
    world = replace(world, goal=aim.memory.goal.table if aim.memory.goal is not None else None)
    made = step(world)
    memory = replace(aim.memory, failures=_open(world, made))
    actions = _actions(s, seen, table, people, made)
    wait = layout.wait and f"before the map is laid out anew, {layout.wait}"
    if resizes and aim.problem is None and not s.resource.deleting:
        wait = _not_resized_yet(spec, world, made)
        if not wait:
            actions = (_with_replicas(spec, seen, table, people, world),)
    picture = Picture(
        seen=seen, table=table, people=people, world=world, step=made, view=view, planned=memory.planned, goal=memory.goal, load=memory.load
    )
    finding = _judge(s, spec, picture, aim, memory)
    if wait and finding.phase is Phase.READY:
        finding = replace(finding, reason="Resizing" if resizes else "Repartitioning", message=wait, moving=True)
    if spec.suspend:
        pending = "; ".join(str(a) for a in actions[:3] if not isinstance(a, AddFinalizer))
        finding = replace(finding, suspended=True)
        if actions:
            finding = replace(finding, phase=Phase.UNKNOWN, reason="Suspended", message=f"suspended; pending: {pending}")
        return _report(s, finding, memory=replace(memory, failures=s.memory.failures))
    prepared = (*_preparations(s, seen), *actions) if actions else ()
    again = _AT_ONCE if made.publish or _republishes(actions) else made.again_in
    if spec.load is not None and memory.goal is not None:
        left = by_load.due_in(memory.load, spec.load, s.monotonic)
        again = min(again, left or spec.load.every) if again is not None else left or spec.load.every
    if s.source.problem is not None or people.missing_since:
        again = min(again, _SETTLE) if again is not None else _SETTLE
    made_plan = _report(s, finding, actions=prepared, memory=memory, news=aim.news, requeue_after=again)
    if s.source.problem is not None and s.source.problem.reason == PENDING and s.resource.status:
        # a moment after a start: neither good nor bad news
        return replace(made_plan, conditions=None)
    return made_plan


def _lay_anew(s: MapSnapshot, seen: MapSeen, layout: Layout, people: Roster, *, memory: Memory) -> MapPlan | None:
    """The generation that splits the map, takes the split back, or ends the old partitioning; None when none is due."""
    table = seen.table
    if table is None or layout.wait or (layout.partitioning.name, layout.retiring) == (seen.partitioning, seen.retiring):
        return None
    following = relaid(table, memory.measured.rows, layout.relay, people, term=s.epoch) if memory.measured is not None else None
    if following is None:
        return None
    name = layout.partitioning.name
    word = {Relay.SPLIT: "split", Relay.MERGE: "merged back", Relay.KEEP: f"of {name} alone; {seen.retiring} is retired"}[layout.relay]
    finding = Finding(phase=Phase.PROGRESSING, reason="Repartitioning", message=f"the map is {word}: {following.shards} shards")
    publication = PublishTable(table=following, partitioning=name, changed=following.shards, retiring=layout.retiring)
    news = (("Repartitioned", f"the map is {word}: {following.shards} shards of partitioning {name}"),)
    memory = replace(memory, goal=None, planned=None, failures={}, measured=None)
    return _report(s, finding, actions=(*_preparations(s, seen), publication), memory=memory, news=news, requeue_after=_AT_ONCE)


def _not_resized_yet(spec: MapSpec, world: World, made: Step) -> str:
    """What has to end before a table with other replicas is published, as a sentence; empty when it may be now.

    Nobody's copy is given up while another one is on its way, or is all that is there of a shard.
    """
    before = f"before shards have {spec.replicas} replicas in place of {world.table.replicas}, "
    if world.moves:
        return f"{before}{len(world.moves)} moves have to end"
    if spec.paused:
        return f"{before}spec.moves.paused has to be false"
    if spec.replicas < world.table.replicas and made.tally.leaderless:
        return f"{before}{made.tally.leaderless} shards need a primary that is there"
    return ""


def _with_replicas(spec: MapSpec, seen: MapSeen, table: ShardTable, people: Roster, world: World) -> PublishTable:
    following = with_replicas(table, world.table, spec.replicas, people, world)
    return PublishTable(table=following, partitioning=seen.partitioning, changed=table.shards, retiring=seen.retiring)


def _open(world: World, made: Step) -> dict[int, Failure]:
    """Failures of shards that still have to move: one that is where it should be, by whatever way, has nothing to try again."""
    if not made.failures:
        return {}
    unsettled = {change.slot for change in changes(world.table, world.goal)} if world.goal is not None else set(made.failures)
    return {shard: failure for shard, failure in made.failures.items() if shard in unsettled or shard in world.moves}


def _republishes(actions: tuple[MapAction, ...]) -> bool:
    return any(isinstance(a, PublishTable) for a in actions)


@dataclass(frozen=True, kw_only=True)
class _Aim:
    """Where the map is to go, and why it cannot be said if it cannot."""

    memory: Memory
    problem: Problem | None = None
    news: tuple[tuple[str, str], ...] = ()


def _aim(s: MapSnapshot, spec: MapSpec, people: Roster, world: World, memory: Memory, *, together: bool) -> _Aim:
    if s.source.problem is not None:
        return _Aim(memory=replace(memory, goal=None), problem=s.source.problem)
    members = counted(people.members, world)
    try:
        # while both partitionings are kept, children stay with their siblings: the goal is one for their parents
        slots = world.table.slots // 2 if together else world.table.slots
        wanted = Wanted(slots=slots, replicas=spec.replicas, members=members, spread=spec.spread, salt=_salt(s))
    except Invalid as error:
        return _Aim(memory=replace(memory, goal=None), problem=Problem(reason="TooFewMembers", message=str(error)))
    why = why_plan(memory.goal, wanted, world)
    measured_aim = _aim_by_load(s, spec, people, world, memory, wanted=wanted, why=why, together=together)
    if measured_aim is not None:
        return measured_aim
    if not why:
        return _Aim(memory=memory)
    start = effective(world)
    planned = plan(wanted, elder(start) if together else start)
    goal = Goal(table=split(planned.table) if together else planned.table, wanted=wanted)
    moved = changes(start, goal.table)
    said = tuple((found.reason, found.message) for found in planned.findings)
    memory = replace(memory, goal=goal, findings=said)
    if not moved and not world.moves:
        return _Aim(memory=memory)
    each = 2 if together else 1
    left = len(changes(world.table, goal.table))
    counts = PlanFacts(moves=each * planned.moves, bound=each * planned.bound, proven=planned.proven, changes=left)
    note = f"{why}: {counts.moves} replicas to move, at least {counts.bound}; {len(moved)} shards change"
    return _Aim(memory=replace(memory, planned=counts), news=(("Planned", note),) if moved else ())


def _aim_by_load(
    s: MapSnapshot, spec: MapSpec, people: Roster, world: World, memory: Memory, *, wanted: Wanted, why: str, together: bool
) -> _Aim | None:
    """The same by load; None when the map is balanced by count, and when its goal stays or load alone finds no place for everything."""
    if spec.load is None or s.seen is None:
        return None
    loads = by_load.reported(s.seen.live, people.presences, generation=world.generation)
    found = by_load.aim(world, wanted, loads, spec.load, why=why, goal=memory.goal, look=memory.load, now=s.monotonic, together=together)
    if found is None:
        return None
    moved = changes(effective(world), found.goal.table)
    said = tuple((finding.reason, finding.message) for finding in found.findings)
    memory = replace(memory, goal=found.goal, findings=said, load=found.look)
    if not moved and not world.moves:
        return _Aim(memory=memory)
    left = len(changes(world.table, found.goal.table))
    counts = PlanFacts(moves=found.copies, bound=found.copies, proven=False, changes=left)
    note = f"{found.why}: {found.copies} replicas to move, {len(moved)} shards change"
    return _Aim(memory=replace(memory, planned=counts), news=(("Planned", note),) if moved else ())


def _actions(s: MapSnapshot, seen: MapSeen, table: ShardTable, people: Roster, made: Step) -> tuple[MapAction, ...]:
    """Publication first: it names members that a move is about to name, and is what ends others."""
    actions: list[MapAction] = []
    following = next_table(table, made.publish, people, term=s.epoch)
    if following is not None:
        publication = PublishTable(table=following, partitioning=seen.partitioning, changed=len(made.publish), retiring=seen.retiring)
        actions.append(publication)
    actions += [WriteMove(move=w.move, unless_live=w.unless_live, why=w.why) for w in made.write]
    actions += [RemoveMove(shard=shard, failed=shard in made.failures) for shard in made.remove]
    newest = following.generation if following is not None else table.generation
    old = tuple(g for g in seen.retained if g <= newest - RETAINED)
    # what a publication that did not come to its end has left above the head is written over by the next one
    if old:
        actions.append(ForgetGenerations(generations=old))
    return tuple(actions)


# ---------------------------------------------------------------------------------------------------- how it stands


def _judge(s: MapSnapshot, spec: MapSpec, picture: Picture, aim: _Aim, memory: Memory) -> Finding:
    tally = picture.step.tally
    advice = (*_advice(spec, picture, memory), *s.source.advice)
    base = Finding(phase=Phase.READY, reason="Ready", message="", picture=picture, paused=spec.paused, advice=advice)
    if aim.problem is not None:
        stalled = s.source.problem is not None and s.source.stalls
        message = f"{aim.problem.message}; the published table stays"
        return replace(base, phase=Phase.STALLED if stalled else Phase.WAITING, reason=aim.problem.reason, message=message)
    if tally.leaderless:
        lost = f", {tally.lost} of them nobody at all" if tally.lost else ""
        message = f"{tally.leaderless} shards have no primary that is there{lost}"
        return replace(base, phase=Phase.PROGRESSING, reason="NoPrimary", message=message)
    moving = sum(tally.active.values())
    if moving or tally.queued:
        message = f"{moving} shards move, {tally.queued} wait for their move"
        return replace(base, reason="Rebalancing", message=message, moving=True)
    if tally.short:
        return replace(base, message=f"published; {tally.short} shards have fewer holders there than spec.replicas")
    return replace(base, message="published, and every shard is where it should be")


def _advice(spec: MapSpec, picture: Picture, memory: Memory) -> tuple[tuple[str, str], ...]:
    found = list(memory.findings)
    if len(spec.partitionings) > 1 and picture.seen.retiring:
        message = (
            f"the map is split, and readers of either partitioning ask the right member: take {picture.seen.retiring} out of "
            f"spec.partitionings to let the new shards go their own ways, or {picture.seen.partitioning} to take the split back"
        )
        found.append(("SplitDone", message))
    if picture.step.tally.failed:
        found.append(("MovesFailed", _why_failed(picture)))
    return tuple(found)


def _why_failed(picture: Picture) -> str:
    shards = sorted(picture.world.failures)
    return f"{len(shards)} shards (first: {shards[0]}) had moves that came to nothing; they are tried again" if shards else "moves failed"


# ---------------------------------------------------------------------------------------------------- the end


def _delete(s: MapSnapshot) -> MapPlan:
    """Withdraw what is published, once nobody is registered any more or the policy says that this does not matter; then let go."""
    if FINALIZER not in s.resource.finalizers:
        return MapPlan(memory=s.memory)
    name = s.resource.name
    writable = s.cluster.exists and s.cluster.connected and s.cluster.problem is None and s.seen is not None
    if s.resource.annotations.get(FORCE_ORPHAN) == "true":
        let_go = (WithdrawMap(name=name, best_effort=True),) if writable and s.seen is not None and not s.seen.foreign else ()
        return MapPlan(actions=(*let_go, RemoveFinalizer()), memory=s.memory)
    if not writable or s.seen is None:
        message = (
            f"MesosCluster {s.cluster.name} cannot be reached, so the map cannot be withdrawn; annotate {FORCE_ORPHAN}=true to leave it"
        )
        finding = Finding(phase=Phase.UNKNOWN, reason="ClusterUnreachable", message=message)
        return _report(s, finding, requeue_after=_LOOK_AGAIN)
    if s.seen.foreign or not s.seen.exists:
        return MapPlan(actions=(RemoveFinalizer(),), memory=s.memory)
    require_idle = s.spec is None or s.spec.require_idle
    if require_idle and s.seen.live:
        return _in_use(s, s.seen)
    return MapPlan(actions=(WithdrawMap(name=name), RemoveFinalizer()), memory=s.memory)


def _in_use(s: MapSnapshot, seen: MapSeen) -> MapPlan:
    """Nothing begins any more; what has begun comes to its end, since nobody serves a shard whose move stands still half way."""
    some = ", ".join(sorted(seen.live)[:3])
    message = f"{len(seen.live)} members are registered ({some}): stop them, or set spec.turndownPolicy: Immediate; the table stays"
    finding = Finding(phase=Phase.WAITING, reason="InUse", message=message)
    if s.spec is None or seen.table is None or seen.broken or partitioning_does_not_fit(s) is not None:
        return _report(s, finding)
    going_on = _go_on(s, s.spec, seen, seen.table, roster.call(s, s.spec, seen))
    return replace(going_on, conditions=conditions(finding))

"""The status of a ShardMap as a function of what was seen and found. Counts and where the map lies; never the map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from shuren.domain.conditions import Condition, ConditionType, Truth
from shuren.domain.json import JsonValue
from shuren.domain.shardmap.roster import Roster
from shuren.domain.shardmap.snapshot import LoadLook, MapSeen, MapSnapshot, Measured, PlanFacts
from shuren.domain.shards.assignment import changes
from shuren.domain.shards.goals import Goal
from shuren.domain.shards.migration import World
from shuren.domain.shards.schedule import Step
from shuren.sharding.core.moves import MoveState
from shuren.sharding.core.table import ShardTable


class Phase(Enum):
    """How a pass ended for the user."""

    READY = "ready"
    PROGRESSING = "progressing"
    WAITING = "waiting"
    STALLED = "stalled"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What a pass over a published map looked at."""

    seen: MapSeen
    table: ShardTable
    people: Roster
    world: World
    step: Step
    view: Measured
    planned: PlanFacts | None
    goal: Goal | None
    load: LoadLook | None = None


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result of a pass. `picture` is None when the map was not looked at; then facts stay as they were. `advice`: (reason, message)."""

    phase: Phase
    reason: str
    message: str
    picture: Picture | None = None
    moving: bool = False
    paused: bool = False
    suspended: bool = False
    advice: tuple[tuple[str, str], ...] = ()


_TRUTH = {Phase.READY: Truth.TRUE, Phase.UNKNOWN: Truth.UNKNOWN}


def conditions(finding: Finding) -> tuple[Condition, ...]:
    """The conditions, as kstatus reads them. A map that moves serves: it is Ready, and Reconciling."""
    truth = _TRUTH.get(finding.phase, Truth.FALSE)
    found = [Condition(type=ConditionType.READY, status=truth, reason=finding.reason, message=finding.message)]
    unsettled = finding.phase in {Phase.PROGRESSING, Phase.WAITING, Phase.UNKNOWN} or finding.moving
    if unsettled and not finding.suspended:
        found.append(_true(ConditionType.RECONCILING, finding.reason, finding.message))
    if finding.phase is Phase.STALLED:
        found.append(_true(ConditionType.STALLED, finding.reason, finding.message))
    if finding.moving and finding.phase is Phase.READY:
        found.append(_true(ConditionType.REBALANCING, finding.reason, finding.message))
    found += _degraded(finding.picture)
    if finding.paused:
        message = "no move begins until spec.moves.paused is false; lost primaries are still replaced"
        found.append(_true(ConditionType.PAUSED, "Paused", message))
    if finding.suspended:
        found.append(_true(ConditionType.SUSPENDED, "Suspended", "nothing is written until spec.suspend is false"))
    if finding.advice:
        found.append(_true(ConditionType.ADVICE, finding.advice[0][0], "; ".join(message for _, message in finding.advice)))
    return tuple(found)


def _true(kind: ConditionType, reason: str, message: str) -> Condition:
    return Condition(type=kind, status=Truth.TRUE, reason=reason, message=message)


def _degraded(picture: Picture | None) -> list[Condition]:
    if picture is None or not picture.step.tally.short:
        return []
    tally = picture.step.tally
    away = sorted(p.id for p in picture.people.presences if p.absent_for > 0)
    who = f": {', '.join(away[:3])} not registered" if away else ""
    reason = "ShardsLost" if tally.lost else "NoPrimary" if tally.leaderless else "ReplicasMissing"
    message = f"{tally.short} shards have fewer holders there than replicas{who}"
    return [_true(ConditionType.DEGRADED, reason, message)]


def facts(s: MapSnapshot, finding: Finding) -> dict[str, JsonValue]:
    """All other fields of the status; what cannot be seen now keeps its former value."""
    picture = finding.picture
    if picture is None:
        kept = {key: value for key, value in s.resource.status.items() if key not in {"conditions", "observedGeneration"}}
        return {**kept, **({"cluster": s.cluster.name, "path": s.path} if s.path else {})}
    table, tally = picture.table, picture.step.tally
    live = [p for p in picture.people.presences if p.absent_for == 0]
    behind = [p for p in live if p.generation < table.generation]
    settled = _settled(picture)
    return {
        "cluster": s.cluster.name,
        "path": s.path,
        "partitioning": picture.seen.partitioning,
        "hash": table.digest(),
        "term": table.term,
        "generations": {
            "published": table.generation,
            "acknowledged": min((p.generation for p in live), default=0),
            "behind": len(behind),
        },
        "members": {
            "total": len(picture.people.presences),
            "live": len(live),
            "draining": sum(p.draining for p in picture.people.presences),
            "gone": sum(picture.world.gone(p.number) for p in picture.people.presences),
        },
        "shards": {"total": table.shards, "settled": settled, "queued": tally.queued, **_states(tally.active), **_missing(picture)},
        "perMember": _range(picture, picture.view.rows.held()),
        "primariesPerMember": _range(picture, picture.view.rows.led()),
        "rackViolations": picture.view.violations,
        "moves": _moves(s, picture),
        **_load(s, picture.load),
        "progress": f"{settled}/{table.shards}",
    }


_STEP = 5
"""Percent: a load that wavers by less is told as it was."""


def _load(s: MapSnapshot, look: LoadLook | None) -> dict[str, JsonValue]:
    if s.spec is None or s.spec.load is None or look is None:
        return {}
    hottest = round(look.hottest * 100 / _STEP) * _STEP
    return {"load": {"balancing": look.active, "reporting": look.reporting, "hottestPercent": hottest, "shifts": look.shifts}}


_NAMES = {
    MoveState.PREPARE: "prepare",
    MoveState.CATCH_UP: "catchUp",
    MoveState.FORWARD: "forward",
    MoveState.ACTIVATE: "activate",
    MoveState.DROP: "drop",
    MoveState.ABORT: "abort",
}


def _states(active: Mapping[MoveState, int]) -> dict[str, JsonValue]:
    return {name: active.get(state, 0) for state, name in _NAMES.items()}


def _missing(picture: Picture) -> dict[str, JsonValue]:
    tally = picture.step.tally
    return {"leaderless": tally.leaderless, "short": tally.short, "lost": tally.lost}


def _left(picture: Picture) -> int:
    """Shards that are not yet where the last plan has them."""
    if picture.goal is None or picture.goal.table.replicas != picture.world.table.replicas:
        return 0
    return len(changes(picture.world.table, picture.goal.table))


def _settled(picture: Picture) -> int:
    unsettled = len(picture.world.moves) + picture.step.tally.queued
    return max(0, picture.table.shards - max(_left(picture), unsettled))


def _range(picture: Picture, held: Mapping[int, int]) -> JsonValue:
    """Over those that may hold shards; those that are emptied or gone would make it say nothing."""
    able = [m.id for m in picture.goal.wanted.eligible] if picture.goal is not None else list(held)
    counts = [held.get(number, 0) for number in able]
    return {"min": min(counts, default=0), "max": max(counts, default=0)}


def _moves(s: MapSnapshot, picture: Picture) -> JsonValue:
    tally = picture.step.tally
    before = s.resource.status.get("moves")
    kept: dict[str, JsonValue] = dict(before) if isinstance(before, Mapping) else {}
    counts: dict[str, JsonValue] = {"planned": 0, "lowerBound": 0, "proven": True, "done": 0, **kept}
    if picture.planned is not None:
        planned = picture.planned
        counts |= {"planned": planned.moves, "lowerBound": planned.bound, "proven": planned.proven}
        counts["done"] = max(0, planned.changes - _left(picture))
    return {**counts, "queued": tally.queued, "active": sum(tally.active.values()), "failed": tally.failed}

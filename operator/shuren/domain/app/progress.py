"""How far a gated roll-out has come, as `status.rollout` keeps it: the one memory of it that outlives the operator besides the revisions.

Also read by whoever splits traffic: `weight` is the share of the app `id` that is to be published, the rest belongs to the app that the
resource lives on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from shuren.domain.app.rollout import rfc3339
from shuren.domain.app.snapshot import Snapshot, Strategy
from shuren.domain.json import JsonValue

_LONGEST = 1024


class Stage(Enum):
    """STARTING: the app beside is being made. SCALING: its instances come up. SHIFTING: traffic moves. HOLDING: the step lasts.

    PAUSED: until a person says so. RETIRING: the former version lets go of its traffic and goes. ABORTING: the new version does, for it has
    failed. RETREATING: it does, for the spec has changed. COMPLETED, ABORTED: nothing is under way; how the last one ended.
    """

    STARTING = "Starting"
    SCALING = "Scaling"
    SHIFTING = "Shifting"
    HOLDING = "Holding"
    PAUSED = "Paused"
    RETIRING = "Retiring"
    ABORTING = "Aborting"
    RETREATING = "Retreating"
    COMPLETED = "Completed"
    ABORTED = "Aborted"

    @property
    def over(self) -> bool:
        """Whether nothing is left beside."""
        return self in {Stage.COMPLETED, Stage.ABORTED}


class Command(Enum):
    """What a person asks for by annotation."""

    PROMOTE = "promote"
    PROMOTE_FULL = "promote-full"
    ABORT = "abort"
    PAUSE = "pause"
    RESUME = "resume"


ANNOTATION = "paas.shurenyun.com/rollout-"
"""Before the word of a command. Its value is any text that was not there before (the time, say): each new value is one command."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """`step` counts from 0. `since` (RFC 3339) is when the step's hold began, before that when the stage did. `deadline` is when it fails.

    `paused`: by annotation. `skip`: a person has let this step pass. `deployment` is that of the app beside. `handled` are values of
    annotations that have been followed.
    """

    stage: Stage
    revision: str
    id: str
    step: int = 0
    steps: int = 1
    weight: int = 0
    since: str = ""
    message: str = ""
    deadline: str = ""
    deployment: str = ""
    paused: bool = False
    skip: bool = False
    handled: Mapping[str, str] = field(default_factory=dict)


def read(status: Mapping[str, JsonValue]) -> Progress | None:
    """What a status says; None when it says nothing of a roll-out, or what nobody here can read."""
    given = status.get("rollout")
    if not isinstance(given, Mapping):
        return None
    stages = {stage.value: stage for stage in Stage}
    stage = stages.get(str(given.get("phase")))
    if stage is None:
        return None
    handled = given.get("handled")
    return Progress(
        stage=stage,
        revision=_text(given, "revision"),
        id=_text(given, "id"),
        step=_number(given, "step"),
        steps=_number(given, "steps"),
        weight=_number(given, "weight"),
        since=_text(given, "since"),
        message=_text(given, "message"),
        deadline=_text(given, "deadline"),
        deployment=_text(given, "deployment"),
        paused=given.get("paused") is True,
        skip=given.get("skip") is True,
        handled={str(k): str(v) for k, v in handled.items()} if isinstance(handled, Mapping) else {},
    )


@dataclass(frozen=True, kw_only=True)
class Split:
    """How a resource's traffic is split. `lives_on` is the id of the app that has all but `weight` percent, which go to the app `beside`.

    Each is empty when the status does not tell, or when nothing is beside.
    """

    lives_on: str = ""
    beside: str = ""
    weight: int = 0


def split(status: Mapping[str, JsonValue]) -> Split:
    """The split that a status tells."""
    marathon = status.get("marathon")
    lives_on = _text(marathon, "id") if isinstance(marathon, Mapping) else ""
    found = read(status)
    if found is None or not found.id:
        return Split(lives_on=lives_on)
    return Split(lives_on=lives_on, beside=found.id, weight=found.weight)


def document(progress: Progress) -> dict[str, JsonValue]:
    """The form in the status."""
    plain: dict[str, JsonValue] = {
        "phase": progress.stage.value,
        "revision": progress.revision,
        "step": progress.step,
        "steps": progress.steps,
        "weight": progress.weight,
        "since": progress.since,
    }
    optional: dict[str, JsonValue] = {
        "id": progress.id,
        "message": progress.message[:_LONGEST],
        "deadline": progress.deadline,
        "deployment": progress.deployment[:128],
        "paused": progress.paused,
        "skip": progress.skip,
        "handled": dict(progress.handled),
    }
    return plain | {key: value for key, value in optional.items() if value not in ("", False, {})}


def entered(s: Snapshot, before: Progress | None, after: Progress) -> Progress:
    """`after` with the moment since when it is so: the former one while stage and step stay, and through a pause."""
    holds = {Stage.HOLDING, Stage.PAUSED}
    same = before is not None and (before.revision, before.id, before.step) == (after.revision, after.id, after.step)
    if same and before is not None and before.since and (before.stage is after.stage or {before.stage, after.stage} <= holds):
        return replace(after, since=before.since)
    return replace(after, since=rfc3339(s.now))


def asked(s: Snapshot, before: Progress | None) -> tuple[frozenset[Command], dict[str, str]]:
    """Commands that have not been followed yet, and what is to be noted as followed once they are."""
    present = {c: value for c in Command if (value := s.resource.annotations.get(ANNOTATION + c.value))}
    done = before.handled if before is not None else {}
    fresh = frozenset(c for c, value in present.items() if done.get(c.value) != value)
    return fresh, {c.value: value[:_SHORT] for c, value in present.items()}


_SHORT = 128


def at_rest(s: Snapshot) -> Progress | None:
    """What is told when nothing is beside: how the last roll-out ended; None when there was none."""
    before = read(s.resource.status)
    if before is None:
        return None
    ended = Stage.COMPLETED if before.stage in {Stage.RETIRING, Stage.COMPLETED} else Stage.ABORTED
    handled = asked(s, before)[1] if s.rollout.strategy is Strategy.GATED else before.handled
    message = before.message
    if ended is Stage.COMPLETED:
        message = f"revision {before.revision} has taken over"
    elif before.stage not in {Stage.ABORTING, Stage.ABORTED}:
        message = "the spec changed before it was through"
    after = replace(before, stage=ended, id="", weight=0, message=message, deadline="", deployment="", paused=False, skip=False)
    after = replace(after, handled=handled)
    if before.stage is ended:
        return replace(after, since=before.since)
    return replace(after, since=rfc3339(s.now))


def _text(given: Mapping[str, JsonValue], key: str) -> str:
    value = given.get(key)
    return value if isinstance(value, str) else ""


def _number(given: Mapping[str, JsonValue], key: str) -> int:
    value = given.get(key)
    return value if isinstance(value, int) else 0

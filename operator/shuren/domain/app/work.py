"""What the steps of a decision share: the body that would be written, how it differs from Marathon's, whose lock is on the app."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from shuren.domain.app import revisions, status
from shuren.domain.app.plan import Action, AddFinalizer, AppPlan, ClaimId, RecordRevision
from shuren.domain.app.snapshot import FINALIZER, Adoption, Desired, Memory, OnFailure, Revision, RevisionState, Snapshot
from shuren.domain.app.status import Finding, Phase
from shuren.domain.errors import Unreachable
from shuren.domain.json import JsonValue
from shuren.domain.marathon.advice import checked_by_marathon
from shuren.domain.marathon.diff import Difference, DifferenceKind, difference
from shuren.domain.marathon.normalise import normalise
from shuren.domain.marathon.overlay import keep_ignored
from shuren.domain.marathon.render import full_body
from shuren.domain.marathon.state import ActualApp, Health, TaskState

SETTLE = 5.0
"""Seconds after which a pass that waits for Marathon looks again although no event came."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """One pass that nothing holds up. `body` is the complete definition we would write, `gap` how Marathon's differs from it.

    `kept` are paths at which Marathon has taken the definition and keeps it otherwise (it ignores fields that it does not know, and patches
    may hold any): they are no part of the gap, for writing them again would change nothing, for ever.
    """

    s: Snapshot
    desired: Desired
    body: Mapping[str, Any] = field(repr=False)
    gap: Difference
    record: Revision | None
    kept: tuple[str, ...] = ()
    paced: bool = False
    """Whether the body carries a strategy of ours, which replaces members where they are and a few at a time."""

    @property
    def is_newest(self) -> bool:
        """Whether the revision that is asked for is also the last one that was tried."""
        return self.record is not None and self.record == revisions.newest(self.s.revisions)

    @property
    def tried_here(self) -> bool:
        """Whether it was under this very id, and not beside it."""
        return self.record is not None and self.record.app_id in {"", self.desired.app_id}

    @property
    def applied(self) -> bool:
        """Whether Marathon had exactly this revision once, so that a difference now is somebody else's doing."""
        return self.s.owned and self.is_newest and self.record is not None and self.record.state is RevisionState.GOOD

    @property
    def drifted(self) -> bool:
        """Whether the difference is somebody else's doing: the revision was applied and (for the instances) this generation was."""
        if not self.applied or not self.gap:
            return False
        return self.gap.kind is DifferenceKind.CONFIG or status.was_settled(self.s)

    @property
    def asked(self) -> str:
        """A digest of what is asked for, but for the number of instances, which is scaled by itself."""
        whole = {key: value for key, value in self.desired.definition.items() if key != "instances"}
        return signature({"definition": whole, "id": self.desired.app_id, "ignored": sorted(self.s.management.ignore_paths)})

    @property
    def instances(self) -> int:
        """How many instances the body asks for."""
        return int(self.body["instances"])


def assemble(s: Snapshot, desired: Desired) -> Work:
    """The work of a pass, with what other owners hold (`ignorePaths`, an inherited role) kept as it is found.

    Raises Unreachable when what Marathon answered has not the shape of a definition: an answer of no use.
    """
    record = revisions.find(s.revisions, desired.revision)
    if s.app is None:
        body = {**full_body(desired.definition), "id": desired.app_id}
        return Work(s=s, desired=desired, body=body, gap=Difference(changes=()), record=record)
    role = s.app.definition.get("role")
    whole = full_body(desired.definition, role=str(role) if role else None)
    paced = s.gates.at_once is not None and _STRATEGY not in desired.definition and not checked_by_marathon(desired.definition)
    ignored = (*s.management.ignore_paths, *((f"/{_STRATEGY}",) if paced else ()))
    body = {**keep_ignored(whole, s.app.definition, ignored), "id": desired.app_id}
    try:
        found = normalise(s.app.definition, info=s.cluster.info)
    except (TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
        raise Unreachable(f"Marathon's definition of {desired.app_id} is not in the form of one ({type(error).__name__})") from error
    gap = difference(normalise(body, info=s.cluster.info), found, secret=("/env", *desired.secret_paths))
    gap = s.veil.over_changes(gap)
    if paced and gap.kind is DifferenceKind.CONFIG:
        # by itself the strategy is no difference: writing it alone would restart every task
        bad = sum(task.state is TaskState.RUNNING and task.health is Health.UNHEALTHY for task in s.app.tasks)
        body[_STRATEGY] = _few_at_once(int(body["instances"]), s.gates.at_once or 1, bad=bad)
    work = Work(s=_seen(s, s.app), desired=desired, body=body, gap=gap, record=record, paced=paced)
    if gap.kind is DifferenceKind.CONFIG and _taken_as_it_is(work, s.app):
        kept = tuple(c.path for c in gap.changes if c.path != _INSTANCES)
        return replace(work, gap=Difference(changes=tuple(c for c in gap.changes if c.path == _INSTANCES)), kept=kept)
    return work


_INSTANCES = "/instances"
_STRATEGY = "upgradeStrategy"


def _few_at_once(instances: int, at_once: int, *, bad: int = 0) -> dict[str, float]:
    """So many tasks are replaced at a time, each where it was: none is started beyond the number that there are.

    Marathon keeps ceil(instances x minimumHealthCapacity) healthy; half a task less than wanted is safe from rounding. `bad` are proven
    unhealthy: if they counted among those to keep, it would kill none at its start, start none, and hang. It kills them first.
    """
    share = max(0.0, (instances - bad - at_once - 0.5) / instances) if instances > 0 else 0.0
    return {"minimumHealthCapacity": round(share, 6), "maximumOverCapacity": 0.0}


def _seen(s: Snapshot, app: ActualApp) -> Snapshot:
    """With the memory that our write has changed the app, once seen: from then on, the version before it is somebody else's doing."""
    taken = s.memory.taken
    if taken is None or not taken.over or app.version == taken.over:
        return s
    return replace(s, memory=replace(s.memory, taken=replace(taken, over="")))


def _taken_as_it_is(work: Work, app: ActualApp) -> bool:
    """Whether Marathon has taken this very definition, and nobody has changed its own since.

    This process may remember the write. Else the record of a good revision says so, provided that nothing was asked for since. An app older
    than either was put back by somebody (a restored backup of ZooKeeper).
    """
    taken, record = work.s.memory.taken, work.record
    if taken is not None and taken.asked == work.asked:
        return app.version == taken.over or app.last_config_change_at <= taken.version <= app.version
    if record is None or not work.applied or not status.was_settled(work.s):
        return False
    return app.last_config_change_at <= record.marathon_version <= app.version


def report(
    s: Snapshot, finding: Finding, *, actions: tuple[Action, ...] = (), requeue_after: float | None = None, memory: Memory | None = None
) -> AppPlan:
    """A plan that says what was found."""
    return AppPlan(
        actions=actions,
        conditions=status.conditions(s, finding),
        facts=status.facts(s, finding),
        requeue_after=requeue_after,
        memory=s.memory if memory is None else memory,
    )


def silent(s: Snapshot, *, requeue_after: float | None) -> AppPlan:
    """A plan that leaves everything as it is: nothing is known better than before."""
    return AppPlan(requeue_after=requeue_after, memory=s.memory)


def footing(work: Work) -> tuple[Action, ...]:
    """What comes before any write to Marathon: finalizer and claim, also when somebody has taken them away meanwhile."""
    s = work.s
    actions: list[Action] = []
    if FINALIZER not in s.resource.finalizers:
        actions.append(AddFinalizer())
    if not s.owned:
        actions.append(ClaimId(app_id=work.desired.app_id, replaces=s.claim.uid if s.claim is not None else ""))
    return tuple(actions)


def preparations(work: Work) -> tuple[Action, ...]:
    """What comes before the desired revision is tried: the footing, and the record of the revision."""
    s = work.s
    if work.is_newest and work.tried_here:
        return footing(work)
    adopted = s.app.version if s.app is not None and not s.owned and not work.gap else ""
    number = revisions.next_number(s.revisions)
    record = RecordRevision(revision=work.desired.revision, number=number, app_id=work.desired.app_id, adopted=adopted)
    return (*footing(work), record)


def just_created(s: Snapshot) -> bool:
    """Whether the app is one that we have created, this process or the one before, and that is to be recorded now.

    An app that was adopted could have a deployment of somebody else's.
    """
    return s.owned and not s.revisions and s.management.adoption is Adoption.REFUSE


def given_up(s: Snapshot, record: Revision) -> bool:
    """Whether a revision is not to be tried any more."""
    if record.state is RevisionState.WITHDRAWN:
        return True
    return record.state is RevisionState.FAILED and (record.aborted or s.rollout.on_failure is not OnFailure.IGNORE)


def signature(body: Mapping[str, JsonValue]) -> str:
    """A short name of a request body, to know it again; not reversible, since bodies hold secrets."""
    return hashlib.sha256(json.dumps(body, sort_keys=True, default=str).encode()).hexdigest()[:16]


# ---------------------------------------------------------------------------------------------------- locks

_OURS = frozenset({"Creating", "Updating", "CorrectingDrift", "Scaling", "RollingOut", "RollingBack", "Restarting"})
"""Reasons under which the deployment in the status is one that we began."""


def is_ours(s: Snapshot, deployment: str) -> bool:
    """Whether we began this deployment, by what this process remembers or the former status says."""
    if deployment in s.memory.deployments:
        return True
    return status.former_deployment(s).get("id") == deployment and status.former_reason(s) in _OURS


def lock(work: Work, app: ActualApp) -> tuple[bool, AppPlan | None]:
    """(force, None) when the app may be written; (False, plan) when a deployment that is not ours holds it.

    A deployment of ours is replaced, since the spec has changed since it began. So is one that holds the app while a revision of ours other
    than the desired is being tried: the spec has changed again. A foreign one is waited for, until the spec changes while we wait.
    """
    s = work.s
    if not app.deployments:
        return False, None
    holder = app.deployments[0]
    last = revisions.newest(s.revisions)
    ours = all(is_ours(s, d) for d in app.deployments)
    superseded = last is not None and last.state is RevisionState.TRYING and last.hash != work.desired.revision
    created = just_created(s)
    waited = (
        status.former_reason(s) == "Locked"
        and status.former_deployment(s).get("id") == holder
        and status.former_generation(s) < s.resource.generation
    )
    if ours or superseded or waited or created:
        return True, None
    finding = Finding(
        phase=Phase.PROGRESSING,
        reason="Locked",
        message=f"deployment {holder}, which this operator did not start, holds the app; waiting for it to end "
        "(cancel it in Marathon, or change the spec, to go on at once)",
        in_sync=False,
    )
    return False, report(s, finding, requeue_after=SETTLE)

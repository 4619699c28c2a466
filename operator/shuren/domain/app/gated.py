"""A gated roll-out: the new version as a second app beside the old one, which traffic moves to step by step.

    create beside ► scale ► shift traffic, wait for every load balancer ► hold, within limits ► next step … ► the record says Good
                                                                                  └► the record says Failed, aborted

Everything before the last write concerns the second app only; the old one serves at its full size, so that going back is one change of
weights. What follows the last write is `retire`: of the former version, or of the one that failed.

The step and the weight stand in the status and are all that a new process needs; counters that limits rest on are watched anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from shuren.domain.app import analysis, progress, resize, retire, revisions, rollout, status
from shuren.domain.app.dependencies import unready
from shuren.domain.app.plan import Action, AppPlan, ClaimId, MarkRevision, PutApp, RecordRevision, WriteKind
from shuren.domain.app.progress import ANNOTATION, Command, Progress, Stage
from shuren.domain.app.rollout import Standing, Verdict
from shuren.domain.app.snapshot import Beside, Memory, OnFailure, Revision, RevisionState, Snapshot, Step, Strategy, Watch
from shuren.domain.app.status import Finding, Phase
from shuren.domain.app.steps import effective, size
from shuren.domain.app.work import SETTLE, Work, assemble, footing, given_up, is_ours, report
from shuren.domain.marathon.diff import DifferenceKind
from shuren.domain.marathon.state import ActualApp

_SOON = 0.2
_LOOK_AGAIN = 30.0
_ALL = 100


def applies(work: Work) -> bool:
    """Whether the difference is one that a gated roll-out brings about: another version is asked for, and one serves that deserves care."""
    s = work.s
    if s.rollout.strategy is not Strategy.GATED or s.beside is None or s.app is None:
        return False
    if work.gap.kind is not DifferenceKind.CONFIG or work.drifted:
        return False
    if s.owns_beside and s.beside.app is not None:
        return True
    now = rollout.standing(s.app, desired=s.app.instances)
    return s.owned and now.running > now.unhealthy


def towards(work: Work) -> AppPlan | None:
    """The next steps; None when this revision has failed and nothing of it is left, which is told elsewhere."""
    s, record = work.s, work.record
    if s.beside is None:
        return None
    if record is not None and given_up(s, record):
        if not s.owns_beside:
            return None
        stays = record.state is RevisionState.FAILED and s.rollout.on_failure is OnFailure.PAUSE and not record.aborted
        return _held(work, record) if stays and s.beside.app is not None else _going_back(work, record.failure)
    if s.owns_beside and s.beside.app is not None and not _of_this_revision(work, s.beside):
        return _retreat(work)
    former = progress.read(s.resource.status)
    if former is not None and former.stage is Stage.RETREATING and s.owns_beside and s.beside.app is not None:
        return _retreat(work)
    obstacle = _obstacle(work, s.beside)
    if obstacle is not None:
        return report(s, obstacle, requeue_after=_LOOK_AGAIN if obstacle.phase is Phase.STALLED else None)
    return _Roll(work=work, beside=s.beside).plan()


def _of_this_revision(work: Work, beside: Beside) -> bool:
    record = work.record
    return record is not None and work.is_newest and record.app_id == beside.app_id and record.beside != ""


def _obstacle(work: Work, beside: Beside) -> Finding | None:
    """What keeps the second app from being made; nothing once it is there."""
    s = work.s
    if beside.app is not None and s.owns_beside:
        return None
    if beside.problem is not None:
        return Finding(phase=Phase.STALLED, reason=beside.problem.reason, message=beside.problem.message, in_sync=False)
    if beside.claim is not None and not s.owns_beside and not beside.holder_gone:
        message = (
            f"a gated roll-out needs the app id {beside.app_id}, which is claimed by PaasApp {beside.claim.namespace}/{beside.claim.name}; "
            "rename one of the two, or set spec.rollout.strategy: Rolling"
        )
        return Finding(phase=Phase.STALLED, reason="OwnedByOther", message=message, in_sync=False)
    if beside.app is not None and beside.claim is None:
        message = (
            f"a gated roll-out needs the app id {beside.app_id}, which exists in Marathon and no resource owns; delete or rename that "
            "app, or set spec.rollout.strategy: Rolling"
        )
        return Finding(phase=Phase.STALLED, reason="NotAdopted", message=message, in_sync=False)
    waiting = unready(s.dependencies)
    if waiting:
        return Finding(phase=Phase.WAITING, reason="DependencyNotReady", message=waiting, in_sync=False)
    return None


# ---------------------------------------------------------------------------------------------------- the way back


def _going_back(work: Work, why: str, *, first: tuple[Action, ...] = ()) -> AppPlan:
    """Traffic back to the old version, then the new one goes."""
    s = work.s
    leaving = retire.leave(s, Stage.ABORTING, why=why)
    message = f"revision {work.desired.revision} failed: {why}; going back: {leaving.message}"
    finding = Finding(phase=Phase.PROGRESSING, reason="RollingBack", message=message, in_sync=False, rollout=leaving.progress)
    # what has just been marked is told to everybody before anything goes
    actions = first or (*_size_of_old(s), *leaving.actions)
    return report(s, finding, actions=(*footing(work), *actions), requeue_after=_SOON if first else leaving.requeue_after)


def _retreat(work: Work) -> AppPlan:
    """The spec has changed: what was being tried goes before the next is."""
    s = work.s
    leaving = retire.leave(s, Stage.RETREATING)
    message = f"the spec has changed; the version that was being tried goes first: {leaving.message}"
    finding = Finding(phase=Phase.PROGRESSING, reason="Updating", message=message, in_sync=False, rollout=leaving.progress)
    return report(s, finding, actions=(*footing(work), *_size_of_old(s), *leaving.actions), requeue_after=leaving.requeue_after)


def _held(work: Work, record: Revision) -> AppPlan:
    """It has failed and stays as it is (`onFailure: Pause`), until a person gives it up or changes the spec."""
    s = work.s
    before = progress.read(s.resource.status)
    fresh, handled = progress.asked(s, before)
    if Command.ABORT in fresh and not s.management.suspend:
        mark = MarkRevision(name=record.name, revision=record.hash, state=RevisionState.FAILED, failure=record.failure, aborted=True)
        return _going_back(work, record.failure, first=(mark,))
    now = replace(before, handled=handled) if before is not None else None
    message = f"revision {record.hash} failed: {record.failure}; it stays as it is: annotate {ANNOTATION}abort, or change the spec"
    finding = Finding(phase=Phase.STALLED, reason="RolloutFailed", message=message, in_sync=False, rollout=now)
    return report(s, finding, actions=(*footing(work), *_size_of_old(s)), requeue_after=_LOOK_AGAIN)


def _size_of_old(s: Snapshot) -> tuple[Action, ...]:
    """The old version keeps the size that is asked for; while somebody else deploys it, later."""
    if s.app is None or not all(is_ours(s, d) for d in s.app.deployments):
        return ()
    return resize.towards(s.app, s.wanted_instances, gates=s.gates, force=bool(s.app.deployments))


# ---------------------------------------------------------------------------------------------------- the way forward


@dataclass(frozen=True, kw_only=True)
class _Roll:
    """One look at a roll-out that goes forward."""

    work: Work
    beside: Beside

    @property
    def s(self) -> Snapshot:
        return self.work.s

    @property
    def carried(self) -> bool:
        """Whether there is traffic to move: services with load balancers carry the app, and it has instances."""
        return bool(self.s.carriers) and self.s.wanted_instances > 0

    def plan(self) -> AppPlan:
        """The next steps."""
        before = progress.read(self.s.resource.status)
        begun = before is not None and (before.revision, before.id) == (self.work.desired.revision, self.beside.app_id)
        fresh, handled = progress.asked(self.s, before)
        if not begun or before is None or before.stage.over:
            # commands of before it began are not for it
            fresh, basis = frozenset(), Progress(stage=Stage.STARTING, revision=self.work.desired.revision, id=self.beside.app_id)
            before = None
        else:
            basis = before
        steps = effective(self.s.rollout.steps)
        basis = replace(basis, handled=handled, steps=len(steps), step=min(basis.step, len(steps) - 1))
        if self.s.management.suspend:
            fresh, basis = frozenset(), replace(basis, handled=before.handled if before is not None else {})
        basis = _commanded(basis, fresh)
        if self.beside.app is None:
            return self.create(before, basis, steps)
        if before is not None and before.stage is Stage.ABORTING:
            return self.fail(before.message, by_hand=True)
        if Command.ABORT in fresh:
            return self.fail(f"aborted by the annotation {ANNOTATION}abort", by_hand=True)
        return self.advance(before, basis, steps, self.beside.app)

    # ------------------------------------------------------------------------------------------------ its size

    def own(self, instances: int) -> Work:
        """The second app as work of its own."""
        definition = {**self.work.desired.definition, "id": self.beside.app_id, "instances": instances}
        desired = replace(self.work.desired, app_id=self.beside.app_id, definition=definition)
        own = replace(
            self.s,
            desired=desired,
            claim=self.beside.claim,
            holder_gone=self.beside.holder_gone,
            app=self.beside.app,
            deployment=self.beside.deployment,
            queue=self.beside.queue,
            gates=self.beside.gates,
            beside=None,
        )
        return assemble(own, desired)

    def ground(self) -> tuple[Action, ...]:
        """What comes before the second app is written: finalizer, both claims, and the record."""
        actions = [*footing(self.work)]
        if not self.s.owns_beside:
            holder = self.beside.claim
            actions.append(ClaimId(app_id=self.beside.app_id, replaces=holder.uid if holder is not None else ""))
        if not _of_this_revision(self.work, self.beside):
            number = revisions.next_number(self.s.revisions)
            actions.append(
                RecordRevision(
                    revision=self.work.desired.revision, number=number, app_id=self.beside.app_id, beside=self.work.desired.app_id
                )
            )
        return tuple(actions)

    def create(self, before: Progress | None, basis: Progress, steps: tuple[Step, ...]) -> AppPlan:
        instances = size(steps, basis.step, self.s.wanted_instances)
        made = self.own(instances)
        body = {**made.body, "instances": instances}
        put = PutApp(app_id=self.beside.app_id, definition=body, kind=WriteKind.CREATE, asked=made.asked)
        now = replace(basis, stage=Stage.STARTING, weight=0, message=f"creating {self.beside.app_id}")
        return self.tell(before, now, actions=(*self.ground(), *_size_of_old(self.s), put), requeue_after=SETTLE)

    def advance(self, before: Progress | None, basis: Progress, steps: tuple[Step, ...], app: ActualApp) -> AppPlan:
        wanted = size(steps, basis.step, self.s.wanted_instances)
        made = self.own(wanted)
        basis = replace(basis, deployment=app.deployments[0] if app.deployments else "")
        mine = all(is_ours(self.s, d) or (before is not None and before.deployment == d) for d in app.deployments)
        actions: list[Action] = [*self.ground(), *_size_of_old(self.s)]
        if mine and made.gap.kind is DifferenceKind.CONFIG:
            body = {**made.body, "instances": wanted}
            actions.append(
                PutApp(
                    app_id=app.id,
                    definition=body,
                    kind=WriteKind.CONFIG,
                    asked=made.asked,
                    over=app.version,
                    changes=made.gap.changes,
                    force=bool(app.deployments),
                )
            )
        elif mine:
            actions += resize.towards(app, wanted, gates=self.beside.gates, force=bool(app.deployments))
        standing = rollout.standing(app, desired=wanted)
        ready = standing.complete and app.instances == wanted and not app.deployments and made.gap.kind is not DifferenceKind.CONFIG
        stage = _Step(roll=self, before=before, basis=basis, steps=steps, ready=ready, own=made.s, standing=standing, memory=made.s.memory)
        return stage.plan(tuple(actions), app)

    # ------------------------------------------------------------------------------------------------ its ends

    def fail(self, why: str, *, by_hand: bool = False) -> AppPlan:
        """Mark it failed; with `onFailure: Pause` it stays as it is, unless a person has asked for this, else traffic goes back."""
        record, s = self.work.record, self.s
        if record is None:
            return _retreat(self.work)
        pause = s.rollout.on_failure is OnFailure.PAUSE and not by_hand
        mark = MarkRevision(
            name=record.name, revision=record.hash, state=RevisionState.FAILED, failure=why[:_LONGEST_FAILURE], aborted=not pause
        )
        if not pause:
            return _going_back(self.work, why, first=(mark,))
        before = progress.read(s.resource.status)
        message = f"revision {record.hash} failed: {why}; it stays as it is: annotate {ANNOTATION}abort, or change the spec"
        finding = Finding(phase=Phase.STALLED, reason="RolloutFailed", message=message, in_sync=False, rollout=before)
        return report(s, finding, actions=(*footing(self.work), mark), requeue_after=_SOON)

    def tell(
        self,
        before: Progress | None,
        now: Progress,
        *,
        actions: tuple[Action, ...] = (),
        requeue_after: float | None = None,
        memory: Memory | None = None,
        own: Snapshot | None = None,
    ) -> AppPlan:
        now = progress.entered(self.s, before, now)
        paused = now.stage is Stage.PAUSED
        number = f"step {now.step + 1} of {now.steps}"
        traffic = f"with {now.weight} % of the traffic"
        if not self.s.carriers:
            traffic = "while no PaasService with a load balancer carries it, so that there is no traffic to move"
        finding = Finding(
            phase=Phase.PROGRESSING,
            reason="RolloutPaused" if paused else "RollingOut",
            message=f"revision {now.revision} runs beside as {now.id} {traffic}, {number}: {now.message}"
            + (status.waiting_clause(own) if own is not None else ""),
            in_sync=False,
            rollout=now,
        )
        return report(self.s, finding, actions=actions, requeue_after=requeue_after, memory=memory)


_LONGEST_FAILURE = 512


def _commanded(basis: Progress, fresh: frozenset[Command]) -> Progress:
    """The progress after what people have asked for."""
    if Command.PAUSE in fresh:
        basis = replace(basis, paused=True)
    if Command.RESUME in fresh:
        basis = replace(basis, paused=False)
    if Command.PROMOTE in fresh:
        basis = replace(basis, paused=False, skip=True)
    if Command.PROMOTE_FULL in fresh:
        basis = replace(basis, paused=False, skip=True, step=basis.steps - 1)
    return basis


def _unwatched(memory: Memory) -> Memory:
    """Nothing is waited for: when something is again, its deadline begins then."""
    return replace(memory, revision="", measure=(), progress_at=None, deadline="", unhealthy_since=None)


@dataclass(frozen=True, kw_only=True)
class _Step:
    """One step: its instances come up, its traffic moves, it holds, and the next one follows."""

    roll: _Roll
    before: Progress | None
    basis: Progress
    steps: tuple[Step, ...]
    ready: bool
    own: Snapshot
    standing: Standing
    memory: Memory

    @property
    def s(self) -> Snapshot:
        return self.roll.s

    @property
    def step(self) -> Step:
        return self.steps[self.basis.step]

    @property
    def halted(self) -> bool:
        """Whether a person wants it to stay where it is."""
        asked = self.s.rollout.paused or self.basis.paused
        return (asked and not self.basis.skip) or self.s.management.suspend

    @property
    def holds(self) -> bool:
        """Whether this step's traffic has been moved before, so that an instance less does not begin it anew."""
        return self.basis.stage in {Stage.HOLDING, Stage.PAUSED} and self.basis.weight == self.step.weight

    def plan(self, actions: tuple[Action, ...], app: ActualApp) -> AppPlan:
        """The next steps, after `actions`."""
        weight = self.step.weight if self.roll.carried else self.basis.weight
        if not self.ready and not self.holds:
            return self.judged(actions, replace(self.basis, stage=Stage.SCALING, message="its instances are being started"), reached=0)
        if self.basis.weight != weight:
            if self.halted:
                return self.paused(actions)
            unproven = self.unproven(app.instances) if self.roll.carried and weight > self.basis.weight else ""
            if unproven:
                return self.judged(actions, replace(self.basis, stage=Stage.SCALING, message=unproven), reached=1)
            now = replace(self.basis, stage=Stage.SHIFTING, weight=weight, message=f"moving {weight} % of the traffic to it")
            return self.tell(actions, now, requeue_after=_SOON)
        behind = self.behind(weight) if self.roll.carried and not self.holds else ""
        if behind:
            return self.judged(actions, replace(self.basis, stage=Stage.SHIFTING, message=behind), reached=2)
        return self.hold(actions, app)

    def unproven(self, instances: int) -> str:
        """What keeps more traffic from going to its instances. They take it once load balancers' own checks pass; until then the old ones
        must have it. A service publishes them as soon as Marathon finds them ready.
        """
        for carrier in self.s.carriers:
            if carrier.behind:
                return carrier.behind
            if carrier.ready < instances:
                return f"{carrier.service} has yet to publish {instances - carrier.ready} of its {instances} instances as ready"
            if carrier.unproven:
                return carrier.unproven
        return ""

    def behind(self, weight: int) -> str:
        for carrier in self.s.carriers:
            if carrier.share != weight and not (weight == 0 and carrier.share is None):
                return f"{carrier.service} has yet to publish the weight"
            if carrier.behind:
                return carrier.behind
        return ""

    # ------------------------------------------------------------------------------------------------ holding

    def hold(self, actions: tuple[Action, ...], app: ActualApp) -> AppPlan:
        now = replace(self.basis, stage=Stage.HOLDING, message="")
        watch = self.watched(now)
        held = replace(self, memory=replace(self.memory, watch=watch))
        seen = analysis.since(watch.counts, analysis.counted(self.s.carriers))
        why = analysis.exceeded(self.step, seen) if self.roll.carried else ""
        if why and not self.basis.skip and self.s.rollout.on_failure is not OnFailure.IGNORE and not self.s.management.suspend:
            return self.roll.fail(f"at {self.step.weight} % of the traffic {why}")
        if self.halted:
            return held.paused(actions)
        if not self.ready:
            return held.judged(actions, replace(now, message="waiting until all its instances are ready"), reached=3)
        held = replace(held, memory=_unwatched(held.memory))
        left = watch.at + self.step.duration - self.s.monotonic if self.roll.carried and not self.basis.skip else 0.0
        if left > 0:
            ignored = "; a limit is passed, which spec.rollout.onFailure ignores" if why else ""
            now = replace(now, message=f"holding for {self.step.duration:g} s{ignored}")
            return held.tell(actions, now, requeue_after=min(max(left, 0.1), SETTLE if self.step.limited else _LOOK_AGAIN))
        if self.roll.carried and not self.basis.skip and not analysis.enough(self.step, seen):
            message = f"waiting for {self.step.min_requests} requests to judge it by (minRequests)"
            return replace(held, memory=replace(self.memory, watch=watch)).judged(actions, replace(now, message=message), reached=4)
        if self.step.pause and not self.basis.skip:
            return held.paused(actions)
        return held.next(actions, now, app)

    def watched(self, now: Progress) -> Watch:
        """What is remembered of this step; made anew it begins now, or where the status says when nothing but time counts."""
        name = f"{now.revision}/{now.step}"
        known = self.memory.watch
        if known is not None and known.step == name:
            return known
        began = rollout.moment(now.since) if self.basis.stage in {Stage.HOLDING, Stage.PAUSED} and not self.step.limited else None
        passed = (self.s.now - began).total_seconds() if began is not None else 0.0
        return Watch(step=name, at=self.s.monotonic - max(0.0, passed), counts=analysis.counted(self.s.carriers))

    def paused(self, actions: tuple[Action, ...]) -> AppPlan:
        by = "spec.management.suspend" if self.s.management.suspend else "spec.rollout.paused" if self.s.rollout.paused else ""
        if not by and self.basis.paused:
            by = f"the annotation {ANNOTATION}pause"
        message = f"paused by {by}" if by else f"paused by this step; annotate {ANNOTATION}promote with any new value to go on"
        return self.tell(actions, replace(self.basis, stage=Stage.PAUSED, message=message))

    def next(self, actions: tuple[Action, ...], now: Progress, app: ActualApp) -> AppPlan:
        if now.step + 1 < now.steps:
            return self.tell(actions, replace(now, stage=Stage.SCALING, step=now.step + 1, skip=False), requeue_after=_SOON)
        record = self.roll.work.record
        if record is None or actions:
            return self.tell(actions, replace(now, message="finishing"), requeue_after=_SOON)
        mark = MarkRevision(name=record.name, revision=record.hash, state=RevisionState.GOOD, marathon_version=app.version)
        memory = replace(_unwatched(self.memory), watch=None)
        done = replace(now, message="it takes over")
        return replace(self, memory=memory).tell((*actions, mark), done, requeue_after=_SOON)

    # ------------------------------------------------------------------------------------------------ judging

    def judged(self, actions: tuple[Action, ...], now: Progress, *, reached: int) -> AppPlan:
        """Report what is under way, unless it has come to nothing within the deadline."""
        own = replace(self.own, memory=self.memory)
        former = self.before.deadline if self.before is not None and self.before.step == now.step else ""
        if self.ignored(former):
            told = f"{now.message}; its deadline has passed, which spec.rollout.onFailure ignores"
            return self.tell(actions, replace(now, deadline=former, message=told), requeue_after=_LOOK_AGAIN, waits=True)
        judged = rollout.judge(own, self.standing, revision=f"{now.revision} step {now.step}", reached=reached, former=former)
        if judged.verdict is Verdict.MOVING or self.s.management.suspend:
            now = replace(now, deadline=judged.memory.deadline)
            requeue = min(max(judged.left, 0.1), SETTLE)
            return replace(self, memory=judged.memory).tell(actions, now, requeue_after=requeue, waits=True)
        if self.s.rollout.on_failure is not OnFailure.IGNORE:
            reason = rollout.why(self.s, judged.verdict) + status.waiting_clause(own)
            return self.roll.fail(f"{reason}: {now.message}" if reached else reason)
        return self.tell(actions, replace(now, deadline=rollout.rfc3339(self.s.now)), requeue_after=_SOON, waits=True)

    def ignored(self, deadline: str) -> bool:
        """Whether the deadline of this step has passed before, and is not minded."""
        passed = rollout.moment(deadline)
        return self.s.rollout.on_failure is OnFailure.IGNORE and passed is not None and passed <= self.s.now

    def tell(self, actions: tuple[Action, ...], now: Progress, *, requeue_after: float | None = None, waits: bool = False) -> AppPlan:
        own = self.own if waits else None
        if now.stage not in {Stage.SCALING, Stage.SHIFTING, Stage.HOLDING} or not waits:
            now = replace(now, deadline="")
        return self.roll.tell(self.before, now, actions=actions, requeue_after=requeue_after, memory=self.memory, own=own)

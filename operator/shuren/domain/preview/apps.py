"""What the operator will do about one PaasApp from now until nothing is left to do, if everything goes well.

The first step is the plan of the next pass, value for value. Its actions are then acted out on the snapshot (a new definition replaces all
tasks, and the new ones run well), the same decision is asked again, and so on. What Marathon makes of its own accord is not foreseen.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from shuren.domain.app import rollout
from shuren.domain.app.decide import decide
from shuren.domain.app.plan import (
    Action,
    AddFinalizer,
    AppPlan,
    CancelDeployment,
    ClaimId,
    DeleteApp,
    Drain,
    KillTasks,
    MarkRevision,
    PruneRevision,
    PutApp,
    RecordRevision,
    ReleaseClaim,
    RemoveFinalizer,
    RestartApp,
    RestoreVersion,
    ScaleApp,
)
from shuren.domain.app.snapshot import FINALIZER, Revision, RevisionState, Snapshot, Taken
from shuren.domain.conditions import ConditionType, is_true, written
from shuren.domain.identity import Claim
from shuren.domain.json import JsonValue
from shuren.domain.marathon.state import ActualApp, Health, Task, TaskState

_MOST_STEPS = 60
_STEP = 10.0
"""Seconds that are taken to pass between two steps."""

PLACED_LATER = "(a new task)"
"""Begins the id of a task that Marathon has yet to start: nobody knows where."""


@dataclass(frozen=True, kw_only=True)
class TaskFate:
    """What becomes of the tasks that run now.

    `replaced` end while new ones with another configuration take over, because of `why`; `removed` end without replacement; `kept` run on.
    `started` counts further new tasks.
    """

    replaced: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    started: int = 0
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class AppForecast:
    """`now` is the plan of the next pass, `steps` those that do something, `last` the one that does nothing more, or that waits.

    `open_end` says why it could not be followed to its end, else empty. `awaited` are PaasApps of `dependsOn` that are foreseen to become
    Ready first.
    """

    snapshot: Snapshot
    now: AppPlan
    steps: tuple[AppPlan, ...]
    last: AppPlan
    after: ActualApp | None
    tasks: TaskFate = field(default_factory=TaskFate)
    open_end: str = ""
    awaited: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether it ends Ready."""
        return self.last.conditions is not None and is_true(self.last.conditions, ConditionType.READY)

    @property
    def actions(self) -> tuple[Action, ...]:
        """All of all steps."""
        return tuple(action for step in self.steps for action in step.actions)


def foresee(snapshot: Snapshot, *, ready: Collection[str] = ()) -> AppForecast:
    """Follow the decision to its end. `ready` are PaasApps of `dependsOn` that will be Ready by then."""
    now = decide(snapshot)
    awaited = tuple(d.name for d in snapshot.dependencies if not d.ready and d.name in ready)
    came = tuple(replace(d, exists=True, ready=True) if d.name in awaited else d for d in snapshot.dependencies)
    forecast = _followed(replace(snapshot, dependencies=came))
    return replace(forecast, snapshot=snapshot, now=now, awaited=awaited)


def _followed(snapshot: Snapshot) -> AppForecast:
    steps: list[AppPlan] = []
    stage = _Stage(snapshot)
    for _ in range(_MOST_STEPS):
        plan = decide(stage.s)
        quiet = not plan.actions
        if not quiet:
            steps.append(plan)
            for action in plan.actions:
                stage.act(action)
        settled = quiet and not stage.changed_by_time
        if settled or stage.gone or stage.open_end:
            return _forecast(snapshot, steps, plan, stage)
        stage.pass_on(plan)
    stage.open_end = "there was no end in sight"
    return _forecast(snapshot, steps, plan, stage)


def _forecast(snapshot: Snapshot, steps: list[AppPlan], last: AppPlan, stage: _Stage) -> AppForecast:
    return AppForecast(
        snapshot=snapshot, now=last, steps=tuple(steps), last=last, after=stage.s.app, tasks=stage.fate(), open_end=stage.open_end
    )


class _Stage:
    """A snapshot on which actions are acted out."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.s = snapshot
        self.gone = False
        self.open_end = ""
        self.changed_by_time = False
        self._first = {t.id for t in snapshot.app.tasks if t.state.active} if snapshot.app is not None else set()
        self._replaced: dict[str, str] = {}
        self._removed: dict[str, None] = {}
        self._new = 0

    # ------------------------------------------------------------------------------------------------ time

    def pass_on(self, plan: AppPlan) -> None:
        """Between two passes: the status is written, deployments come to their end, time passes."""
        s = self.s
        self.changed_by_time = bool(plan.actions) and s.app is not None and bool(s.app.deployments)
        status: Mapping[str, JsonValue] = s.resource.status
        if plan.conditions is not None:
            before = status.get("conditions")
            previous = [c for c in before if isinstance(c, Mapping)] if isinstance(before, (list, tuple)) else []
            conditions = written(plan.conditions, generation=s.resource.generation, now=rollout.rfc3339(s.now), previous=previous)
            status = {**plan.facts, "observedGeneration": s.resource.generation, "conditions": conditions}
        # the status says something new: the next pass may go on from it
        self.changed_by_time |= status != s.resource.status
        app = s.app
        if app is not None and plan.actions and app.deployments:
            app = replace(app, deployments=())
        self.s = replace(
            s,
            resource=replace(s.resource, status=status),
            app=app,
            deployment=s.deployment if app is not None and app.deployments else None,
            queue=None if plan.actions else s.queue,
            memory=replace(plan.memory, taken=s.memory.taken or plan.memory.taken, restarted=s.memory.restarted),
            now=s.now + timedelta(seconds=_STEP),
            monotonic=s.monotonic + _STEP,
        )

    # ------------------------------------------------------------------------------------------------ actions

    def act(self, action: Action) -> None:
        """What an action does when it succeeds."""
        if self.s.beside is not None and getattr(action, "app_id", "") == self.s.beside.app_id:
            self.open_end = f"what follows depends on how the new version does beside the old one, as {self.s.beside.app_id}"
            return
        match action:
            case AddFinalizer():
                self._resource(finalizers=(*self.s.resource.finalizers, FINALIZER))
            case RemoveFinalizer():
                self.gone = True
            case ClaimId():
                key = self.s.resource.key
                claim = Claim(app_id=action.app_id, uid=self.s.resource.uid, namespace=key.namespace, name=key.name, epoch=0)
                self.s = replace(self.s, claim=claim, holder_gone=False)
            case ReleaseClaim():
                self._release(action)
            case RecordRevision() | MarkRevision() | PruneRevision():
                self._revision(action)
            case Drain():
                ids = frozenset(action.task_ids)
                self.s = replace(self.s, gates=replace(self.s.gates, draining=ids, released=ids, why={}, left=None))
            case _:
                self._marathon(action)

    def _resource(self, *, finalizers: tuple[str, ...]) -> None:
        self.s = replace(self.s, resource=replace(self.s.resource, finalizers=finalizers))

    def _release(self, action: ReleaseClaim) -> None:
        s = self.s
        if action.cluster == s.cluster.name and s.claim is not None and action.app_id == s.claim.app_id:
            self.s = replace(s, claim=None)
            return
        left = tuple(e for e in s.elsewhere if (e.cluster, e.app_id) != (action.cluster, action.app_id))
        self.s = replace(s, elsewhere=left)

    def _revision(self, action: RecordRevision | MarkRevision | PruneRevision) -> None:
        known = {r.hash: r for r in self.s.revisions}
        match action:
            case RecordRevision():
                known.pop(action.revision, None)
                known[action.revision] = Revision(
                    name=action.revision,
                    hash=action.revision,
                    number=action.number,
                    state=RevisionState.GOOD if action.adopted else RevisionState.TRYING,
                    app_id=self.s.desired.app_id if self.s.desired is not None else "",
                    marathon_version=action.adopted,
                )
            case MarkRevision():
                before = known[action.revision]
                version = action.marathon_version or before.marathon_version
                known[action.revision] = replace(before, state=action.state, marathon_version=version, failure=action.failure)
            case PruneRevision():
                known.pop(action.revision, None)
        self.s = replace(self.s, revisions=tuple(sorted(known.values(), key=lambda r: r.number)))

    def _marathon(self, action: Action) -> None:
        s, app = self.s, self.s.app
        if isinstance(action, (PutApp, ScaleApp, KillTasks, RestartApp)) and app is not None and action.app_id != app.id:
            self.open_end = f"{action.app_id} takes over by the steps of spec.rollout, each judged by what load balancers see"
            return
        match action:
            case PutApp():
                version = self._version()
                instances = int(str(action.definition.get("instances", 1)))
                why = "it is created" if app is None else ", ".join(c.path for c in action.changes)
                definition = {**action.definition, "version": version}
                self._replace_all(why, app_id=action.app_id, definition=definition, version=version, instances=instances)
                self.s = replace(self.s, memory=replace(s.memory, taken=Taken(asked=action.asked, over=action.over, version=version)))
            case ScaleApp() if app is not None:
                missing = max(0, action.instances - sum(1 for t in app.tasks if t.state.active))
                definition = {**app.definition, "instances": action.instances}
                grown = replace(app, definition=definition, instances=action.instances, version=self._version())
                self._show(replace(grown, tasks=(*app.tasks, *self._fresh(grown, missing))))
            case KillTasks() if app is not None:
                gone = set(action.task_ids)
                self._removed |= dict.fromkeys(action.task_ids)
                left = app.instances - len(gone)
                definition = {**app.definition, "instances": left}
                tasks = tuple(t for t in app.tasks if t.id not in gone)
                self._show(replace(app, definition=definition, instances=left, version=self._version(), tasks=tasks))
                self.s = replace(self.s, gates=replace(s.gates, draining=s.gates.draining - gone, released=s.gates.released - gone))
            case RestartApp() if app is not None:
                self.s = replace(s, memory=replace(s.memory, restarted=action.asked or s.memory.restarted))
                version = self._version()
                self._replace_all(str(action), app_id=app.id, definition=app.definition, version=version, instances=app.instances)
            case RestoreVersion() if app is not None:
                self._replaced |= {t.id: str(action) for t in app.tasks if t.state.active}
                self.open_end = f"what follows depends on how revision {action.revision} does"
            case CancelDeployment() if app is not None:
                self._show(replace(app, deployments=tuple(d for d in app.deployments if d != action.deployment_id)))
            case DeleteApp():
                self._delete(action)
            case _:
                pass

    def _delete(self, action: DeleteApp) -> None:
        s = self.s
        if action.cluster == s.cluster.name and s.app is not None and s.app.id == action.app_id:
            self._removed |= {t.id: None for t in s.app.tasks if t.state.active}
            self.s = replace(s, app=None)
            return
        for left in s.elsewhere:
            if (left.cluster, left.app_id) == (action.cluster, action.app_id) and left.app is not None:
                self._first |= {t.id for t in left.app.tasks if t.state.active}
                self._removed |= {t.id: None for t in left.app.tasks if t.state.active}
        elsewhere = tuple(replace(e, app=None) if (e.cluster, e.app_id) == (action.cluster, action.app_id) else e for e in s.elsewhere)
        self.s = replace(s, elsewhere=elsewhere)

    # ------------------------------------------------------------------------------------------------ tasks

    def _version(self) -> str:
        """A version that is later than any there was."""
        at = self.s.now.strftime("%Y-%m-%dT%H:%M:%S.999Z")
        app = self.s.app
        return at if app is None else max(at, f"{app.version}~", f"{app.last_config_change_at}~")

    def _replace_all(self, why: str, *, app_id: str, definition: Mapping[str, JsonValue], version: str, instances: int) -> None:
        if self.s.app is not None:
            self._replaced |= {t.id: why for t in self.s.app.tasks if t.state.active}
        app = ActualApp(
            id=app_id,
            definition=definition,
            version=version,
            last_config_change_at=version,
            last_scaling_at=version,
            instances=instances,
            ready_tasks=() if definition.get("readinessChecks") else None,
        )
        tasks = self._fresh(app, instances)
        ready = tuple(t.id for t in tasks) if definition.get("readinessChecks") else None
        self._show(replace(app, tasks=tasks, ready_tasks=ready))

    def _fresh(self, app: ActualApp, count: int) -> tuple[Task, ...]:
        """New tasks that do well."""
        health = Health.HEALTHY if app.definition.get("healthChecks") else Health.UNKNOWN
        first, self._new = self._new, self._new + count
        return tuple(
            Task(
                id=f"{PLACED_LATER} {app.id} {n}",
                app_id=app.id,
                state=TaskState.RUNNING,
                version=app.version,
                health=health,
                staged_at=app.version,
                started_at=app.version,
            )
            for n in range(first, first + count)
        )

    def _show(self, app: ActualApp) -> None:
        self.s = replace(self.s, app=app)

    def fate(self) -> TaskFate:
        """What has become of the tasks that were there at the beginning."""
        replaced = {task: why for task, why in self._replaced.items() if task in self._first and task not in self._removed}
        removed = tuple(sorted(task for task in self._removed if task in self._first))
        kept = tuple(sorted(self._first - replaced.keys() - set(removed)))
        now = [t for t in self.s.app.tasks if t.state.active and t.id.startswith(PLACED_LATER)] if self.s.app is not None else []
        return TaskFate(
            replaced=tuple(sorted(replaced)),
            removed=removed,
            kept=kept,
            started=max(0, len(now) - len(replaced)),
            why=next(iter(replaced.values()), ""),
        )

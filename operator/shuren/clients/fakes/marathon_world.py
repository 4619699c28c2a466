"""The world behind the fake Marathon: apps, instances, deployments, launch queue, event streams.

Nothing moves by itself: `tick` moves every instance and deployment by one step, `settle` until nothing moves any more. Writes are
normalised, compared and locked as Marathon does it. What a definition's instances do is up to `behave`.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from shuren.clients.fakes.clock import ManualClock
from shuren.clients.fakes.marathon_plans import Action, ActionKind, Plan, advance, steps
from shuren.clients.fakes.marathon_tasks import Behave, Behaviour, Instance, Json, victims
from shuren.domain.errors import FieldError, Invalid, Locked, ShurenError, Throttled
from shuren.domain.json import Document
from shuren.domain.marathon.diff import DifferenceKind, difference
from shuren.domain.marathon.normalise import normalise
from shuren.domain.marathon.state import (
    ActualApp,
    Counts,
    DeploymentRef,
    Health,
    MarathonEvent,
    MarathonInfo,
    QueueItem,
    TaskFailure,
    TaskState,
)
from shuren.ports.clock import Clock

INFO = MarathonInfo(version="1.11.24", framework_id="fake-0000", leader="127.0.0.1:8080")


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One write that reached Marathon: `name` is the method of the port. `error` is what it was refused with."""

    name: str
    app_ids: tuple[str, ...]
    force: bool = False
    error: ShurenError | None = None


@dataclass(kw_only=True)
class _Backoff:
    until: float
    delay: float


def judge(definition: Mapping[str, Any]) -> list[FieldError]:
    """The few of Marathon's rules that tests break on purpose; paths and codes as a real one answers them."""
    found = []
    instances = definition.get("instances", 1)
    if not isinstance(instances, int):
        found.append(FieldError(path="/instances", message="error.expected.jsnumber"))
    elif instances < 0:
        found.append(FieldError(path="/instances", message="error.min"))
    cpus = definition.get("cpus", 1)
    if not isinstance(cpus, int | float):
        found.append(FieldError(path="/cpus", message="error.expected.jsnumber"))
    elif cpus < 0.001:  # noqa: PLR2004 - RAML minimum
        found.append(FieldError(path="/cpus", message="error.min"))
    if not (definition.get("cmd") or definition.get("args") or definition.get("container")):
        found.append(FieldError(path="/", message="AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'."))
    return found


class MarathonWorld:
    """Apps, instances and deployments of one cluster. Public attributes may be changed between ticks."""

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        info: MarathonInfo = INFO,
        agents: Sequence[str] = ("127.0.1.1", "127.0.1.2"),
        behave: Behave = lambda _: Behaviour.RUNS,
        max_running_deployments: int = 100,
    ) -> None:
        self.clock = clock or ManualClock()
        self.info = info
        self.agents = list(agents)
        self.behave = behave
        self.judge: Callable[[Mapping[str, Any]], list[FieldError]] = judge
        self.keeps: Callable[[Json], Json] = lambda definition: definition
        """What is made of a definition besides what `normalise` knows: a release that forgets or adds fields."""
        self.max_running_deployments = max_running_deployments
        self.definitions: dict[str, Json] = {}
        self.instances: dict[str, list[Instance]] = defaultdict(list)
        self.plans: dict[str, Plan] = {}
        self.calls: list[Call] = []
        self._history: dict[str, dict[str, Json]] = defaultdict(dict)
        self._failures: dict[str, TaskFailure] = {}
        self._backoffs: dict[str, _Backoff] = {}
        self._streams: list[asyncio.Queue[MarathonEvent | None]] = []
        self._count = 0
        self._last_stamp = ""

    # ------------------------------------------------------------------------------------------------ what tests do to the world

    def tick(self) -> bool:
        """Every instance and every deployment makes one step. Whether anything moved."""
        moved = False
        for app_id in list(self.instances):
            moved |= self._tick_instances(app_id)
        for plan in list(self.plans.values()):
            moved |= self._tick_plan(plan)
        return moved

    def settle(self, *, limit: int = 10_000) -> int:
        """Tick until nothing moves; how many ticks it took. Hanging deployments stay as they are."""
        for count in range(limit):
            if not self.tick():
                return count
        raise AssertionError(f"the world still moves after {limit} ticks: {[plan.view() for plan in self.plans.values()]}")

    def foreign_put(self, definition: Document, *, force: bool = False) -> DeploymentRef:
        """Somebody else writes an app."""
        return self.update([definition], force=force)

    def foreign_delete(self, app_id: str) -> None:
        """Somebody else deletes an app, with force as Marathon defaults to."""
        self.update([], deletes=[app_id], force=True)

    def crash_task(self, task_id: str, *, message: str = "Command exited with status 1") -> None:
        """A running task ends by itself."""
        instance = self._by_task(task_id)
        self._fail(instance, message)

    def lose_agent(self, host: str) -> None:
        """An agent goes. Its tasks are replaced, unless the app's unreachableStrategy is `disabled`: then they stay, unreachable."""
        self.agents.remove(host)
        for instance in [i for many in self.instances.values() for i in many if i.host == host and i.state.active and not i.scheduled]:
            if instance.definition.get("unreachableStrategy") == "disabled":
                instance.state = TaskState.UNREACHABLE
                continue
            self.instances[instance.app_id].remove(instance)
            if not instance.doomed and instance.app_id in self.definitions:
                self.instances[instance.app_id].append(self._make(instance.definition))

    def fail_over(self) -> None:
        """Another Marathon leads: health is forgotten until checks report again, and every event stream is cut."""
        for many in self.instances.values():
            for instance in many:
                instance.health = Health.UNKNOWN
        self.cut_streams()

    def cut_streams(self) -> None:
        """All event streams end."""
        for stream in self._streams:
            stream.put_nowait(None)
        self._streams.clear()

    def mute(self) -> None:
        """Event streams stay open, and nothing comes any more."""
        self._streams.clear()

    def scale_check(self) -> None:
        """What Marathon does every five minutes: apps that no deployment holds get the number of instances that they should have."""
        locked = {app_id for plan in self.plans.values() for app_id in plan.app_ids}
        for app_id, definition in self.definitions.items():
            if app_id not in locked:
                live = [i for i in self.instances[app_id] if not i.doomed]
                self.instances[app_id] += [self._make(definition) for _ in range(definition["instances"] - len(live))]
                for instance in victims(live, len(live) - definition["instances"]):
                    instance.doomed = instance.expunge = True

    # ------------------------------------------------------------------------------------------------ root updates

    def update(
        self,
        puts: Sequence[Document],
        *,
        deletes: Collection[str] = (),
        restarts: Collection[str] = (),
        kill: Mapping[str, frozenset[str]] | None = None,
        force: bool = False,
    ) -> DeploymentRef:
        """One change of the root group: refused, found to be nothing, locked, or begun as a deployment."""
        self._refuse(puts)
        now = self._stamp()
        target = dict(self.definitions)
        actions: list[Action] = []
        for given in puts:
            definition, found = self._changed(given, now, kill or {})
            target[definition["id"]] = definition
            actions += found
        for app_id in restarts:
            definition = target[app_id] | {"version": now, "versionInfo": _both(now)}
            target[app_id] = definition
            actions.append(Action(ActionKind.RESTART if definition["instances"] else ActionKind.SCALE, app_id, definition))
        for app_id in deletes:
            actions.append(Action(ActionKind.STOP, app_id, target.pop(app_id)))
        plan = Plan(
            id=self._id("deployment"),
            version=now,
            steps=steps(actions, target),
            before={action.app_id: self.definitions.get(action.app_id) for action in actions},
        )
        self._lock(plan, force=force)
        self._store(plan, target)
        return DeploymentRef(id=plan.id, version=now)

    def _refuse(self, puts: Sequence[Document]) -> None:
        errors = tuple(
            FieldError(path=f"({index}){error.path}" if len(puts) > 1 else error.path, message=error.message)
            for index, definition in enumerate(puts)
            for error in self.judge(definition)
        )
        if errors:
            raise Invalid("Object is not valid: " + "; ".join(f"{e.path}: {e.message}" for e in errors), errors=errors)

    def _changed(self, given: Document, now: str, kill: Mapping[str, frozenset[str]]) -> tuple[Json, list[Action]]:
        """The definition as it will be stored, and what it takes to get there."""
        wanted = self.keeps(normalise(given, info=self.info))
        app_id = wanted["id"]
        before = self.definitions.get(app_id)
        wanted = self._with_ports(wanted, before)
        if before is None:
            wanted |= {"version": now, "versionInfo": _both(now)}
            return wanted, [Action(ActionKind.START, app_id, wanted), Action(ActionKind.SCALE, app_id, wanted)]
        kind = difference(wanted, normalise(before, info=self.info)).kind
        if kind is DifferenceKind.NONE:
            return before, []
        if kind is DifferenceKind.SCALE:
            changed = before["versionInfo"]["lastConfigChangeAt"]
            wanted |= {"version": now, "versionInfo": {"lastScalingAt": now, "lastConfigChangeAt": changed}}
        else:
            wanted |= {"version": now, "versionInfo": _both(now)}
        if kind is DifferenceKind.SCALE or not wanted["instances"]:
            return wanted, [Action(ActionKind.SCALE, app_id, wanted, kill.get(app_id, frozenset()))]
        return wanted, [Action(ActionKind.RESTART, app_id, wanted)]

    def _lock(self, plan: Plan, *, force: bool) -> None:
        """Nothing to do conflicts with nothing; else 409, 403, or (with force) the plans in the way are cancelled as a whole."""
        touched = set(plan.app_ids)
        if not touched:
            return
        in_the_way = tuple(other.id for other in self.plans.values() if touched & set(other.app_ids))
        if in_the_way and not force:
            raise Locked("App is locked by one or more deployments.", deployments=in_the_way)
        if len(self.plans) >= self.max_running_deployments:
            raise Throttled(f"Max number ({self.max_running_deployments}) of running deployments is achieved.", retry_after=2.0)
        for other in in_the_way:
            self.cancel(other)

    def _store(self, plan: Plan, target: Mapping[str, Json]) -> None:
        for app_id in plan.before:
            if app_id in target:
                self.definitions[app_id] = target[app_id]
                self._history[app_id][target[app_id]["version"]] = target[app_id]
                if target[app_id]["versionInfo"]["lastConfigChangeAt"] == plan.version:
                    self._backoffs.pop(app_id, None)
            else:
                self.definitions.pop(app_id, None)
                self._failures.pop(app_id, None)
        self.publish("group_change_success", groupId="/", version=plan.version)
        if plan.steps:
            self.plans[plan.id] = plan
            self.publish("deployment_info", plan=plan.document(), currentStep=plan.document()["steps"][0])
            self._begin(plan)
        else:
            self.publish("deployment_success", id=plan.id, plan=plan.document())

    def _begin(self, plan: Plan) -> None:
        """The first step that does anything begins together with the plan: starting alone is nothing, instances come with scaling."""
        while plan.step + 1 < len(plan.steps) and all(action.kind is ActionKind.START for action in plan.steps[plan.step]):
            plan.step += 1
        for action in plan.steps[plan.step]:
            advance(action, self.instances[action.app_id], self._make)

    def cancel(self, plan_id: str) -> None:
        """Forget a plan; what it has done stays as it is."""
        plan = self.plans.pop(plan_id)
        self.publish("deployment_failed", id=plan.id, plan=plan.document(), reason="The upgrade has been cancelled")

    def _with_ports(self, wanted: Json, before: Json | None) -> Json:
        """Service ports left to Marathon: those that the app has, else the lowest free ones."""
        taken = {port for definition in self.definitions.values() for port in _service_ports(definition)}
        own = iter(_service_ports(before) if before else ())
        free = (port for port in range(self.info.local_port_min, self.info.local_port_max + 1) if port not in taken)

        def assign(port: int) -> int:
            return port or next(own, 0) or next(free)

        if "portDefinitions" in wanted:
            wanted = wanted | {"portDefinitions": [p | {"port": assign(p.get("port", 0))} for p in wanted["portDefinitions"]]}
        container = wanted.get("container") or {}
        if container.get("portMappings"):
            mappings = [m | {"servicePort": assign(m.get("servicePort", 0))} for m in container["portMappings"]]
            wanted = wanted | {"container": container | {"portMappings": mappings}}
        return wanted

    # ------------------------------------------------------------------------------------------------ movement

    def _tick_instances(self, app_id: str) -> bool:
        moved = False
        for instance in list(self.instances[app_id]):
            moved |= self._tick_instance(instance)
        if not self.instances[app_id]:
            del self.instances[app_id]
        return moved

    def _tick_instance(self, instance: Instance) -> bool:
        behaviour = self.behave(instance.definition)
        if instance.doomed:
            self._kill(instance)
            return True
        if instance.scheduled:
            backoff = self._backoffs.get(instance.app_id)
            waits = backoff is not None and backoff.until > self.clock.monotonic()
            if waits or behaviour is Behaviour.UNPLACED or not self.agents:
                return False
            instance.launch(host=self.agents[instance.number % len(self.agents)], now=self._stamp())
            self._told(instance)
            return True
        if instance.state is TaskState.STAGING:
            if behaviour is Behaviour.STUCK:
                return False
            if behaviour is Behaviour.FAILS:
                self._fail(instance, "Command exited with status 1")
                return True
            instance.state, instance.started_at = TaskState.RUNNING, self._stamp()
            self._told(instance)
            return True
        if instance.state is not TaskState.RUNNING or not instance.settle(behaviour):
            return False
        self.publish("instance_health_changed_event", runSpecId=instance.app_id, instanceId=instance.id)
        return True

    def _kill(self, instance: Instance) -> None:
        if instance.expunge:
            self.instances[instance.app_id].remove(instance)
        else:
            instance.doomed, instance.expunge = False, True
            instance.die(TaskState.KILLED)
        self._told(instance, status="TASK_KILLED")

    def _fail(self, instance: Instance, message: str) -> None:
        definition = instance.definition
        now = self._stamp()
        self._failures[instance.app_id] = TaskFailure(
            message=message,
            state=TaskState.FAILED.value,
            host=instance.host,
            timestamp=now,
            task_id=instance.task_id,
            version=instance.version,
        )
        instance.die(TaskState.FAILED)
        known = self._backoffs.get(instance.app_id)
        delay = known.delay * definition["backoffFactor"] if known else float(definition["backoffSeconds"])
        delay = min(delay, float(definition["maxLaunchDelaySeconds"]))
        self._backoffs[instance.app_id] = _Backoff(until=self.clock.monotonic() + delay, delay=delay)
        self._told(instance)

    def _tick_plan(self, plan: Plan) -> bool:
        before = [(i.number, i.doomed) for app_id in plan.app_ids for i in self.instances.get(app_id, ())]
        done = [advance(action, self.instances[action.app_id], self._make) for action in plan.steps[plan.step]]
        after = [(i.number, i.doomed) for app_id in plan.app_ids for i in self.instances.get(app_id, ())]
        if not all(done):
            return before != after
        self.publish("deployment_step_success", plan=plan.document(), currentStep=plan.document()["steps"][plan.step])
        plan.step += 1
        if plan.step == len(plan.steps):
            del self.plans[plan.id]
            self.publish("deployment_success", id=plan.id, plan=plan.document())
        return True

    def _make(self, definition: Json) -> Instance:
        self._count += 1
        flat = definition["id"].strip("/").replace("/", "_")
        return Instance(id=f"{flat}.instance-{self._count:08d}", app_id=definition["id"], definition=definition, number=self._count)

    def _by_task(self, task_id: str) -> Instance:
        for many in self.instances.values():
            for instance in many:
                if instance.task_id == task_id and instance.state.active:
                    return instance
        raise KeyError(task_id)

    def running(self, task_ids: Iterable[str]) -> list[Instance]:
        """The instances of those of the given tasks that are alive and not being killed."""
        wanted = set(task_ids)
        return [i for many in self.instances.values() for i in many if i.task_id in wanted and i.state.active and not i.doomed]

    # ------------------------------------------------------------------------------------------------ what readers see

    def actual(self, app_id: str) -> ActualApp | None:
        """One app as a GET shows it."""
        definition = self.definitions.get(app_id)
        if definition is None:
            return None
        mine = self.instances.get(app_id, [])
        tasks = tuple(instance.task() for instance in mine if instance.listed)
        running = [t for t in tasks if t.state is TaskState.RUNNING]
        deployments = tuple(plan.id for plan in self.plans.values() if app_id in plan.app_ids)
        shows_ready = bool(definition.get("readinessChecks")) and bool(deployments)
        return ActualApp(
            id=app_id,
            definition=definition,
            version=definition["version"],
            last_config_change_at=definition["versionInfo"]["lastConfigChangeAt"],
            last_scaling_at=definition["versionInfo"]["lastScalingAt"],
            instances=definition["instances"],
            counts=Counts(
                staged=sum(1 for t in tasks if t.state is TaskState.STAGING),
                running=len(running),
                healthy=sum(1 for t in running if t.health is Health.HEALTHY),
                unhealthy=sum(1 for t in running if t.health is Health.UNHEALTHY),
            ),
            tasks=tasks,
            deployments=deployments,
            last_task_failure=self._failures.get(app_id),
            ready_tasks=tuple(i.task_id for i in mine if i.ready and i.state is TaskState.RUNNING) if shows_ready else None,
        )

    def waiting(self) -> tuple[QueueItem, ...]:
        """The launch queue."""
        items = []
        for app_id, many in self.instances.items():
            count = sum(1 for i in many if i.scheduled and not i.doomed)
            if count and app_id in self.definitions:
                backoff = self._backoffs.get(app_id)
                left = max(0.0, backoff.until - self.clock.monotonic()) if backoff else 0.0
                unplaced = self.behave(self.definitions[app_id]) is Behaviour.UNPLACED
                items.append(
                    QueueItem(
                        app_id=app_id,
                        count=count,
                        delay_seconds=left,
                        overdue=left == 0,
                        since=self.definitions[app_id]["version"],
                        processed_offers=len(self.agents) if unplaced else 0,
                        unused_offers=len(self.agents) if unplaced else 0,
                        rejections={"InsufficientCpus": len(self.agents)} if unplaced else {},
                    )
                )
        return tuple(items)

    def version_of(self, app_id: str, version: str) -> Json | None:
        """An older definition; they survive the app's deletion."""
        return self._history.get(app_id, {}).get(version)

    def forget_version(self, app_id: str, version: str) -> None:
        """As if more than the kept number of versions had followed."""
        self._history[app_id].pop(version, None)

    # ------------------------------------------------------------------------------------------------ events

    def subscribe(self) -> asyncio.Queue[MarathonEvent | None]:
        """A stream that begins with its own attachment; None ends it."""
        stream: asyncio.Queue[MarathonEvent | None] = asyncio.Queue()
        self._streams.append(stream)
        self.publish("event_stream_attached", remoteAddress="127.0.0.1")
        return stream

    def publish(self, kind: str, **data: Any) -> None:
        """Put an event on every stream."""
        event = MarathonEvent(type=kind, data={**data, "eventType": kind, "timestamp": _iso(self.clock.now())})
        for stream in self._streams:
            stream.put_nowait(event)

    def _told(self, instance: Instance, *, status: str = "") -> None:
        self.publish(
            "status_update_event",
            appId=instance.app_id,
            taskId=instance.task_id,
            taskStatus=status or instance.state.value,
            host=instance.host,
            version=instance.version,
        )

    def _stamp(self) -> str:
        """Now, but always later than the stamp before: versions must differ even when the clock stands."""
        moment = self.clock.now()
        stamp = _iso(moment)
        if stamp <= self._last_stamp:
            moment = type(moment).fromisoformat(self._last_stamp) + timedelta(milliseconds=1)
            stamp = _iso(moment)
        self._last_stamp = stamp
        return stamp

    def _id(self, what: str) -> str:
        self._count += 1
        return f"{what}-{self._count:08d}"


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def _both(now: str) -> Json:
    return {"lastScalingAt": now, "lastConfigChangeAt": now}


def _service_ports(definition: Mapping[str, Any]) -> tuple[int, ...]:
    mappings = (definition.get("container") or {}).get("portMappings") or ()
    return (
        *(port.get("port", 0) for port in definition.get("portDefinitions") or ()),
        *(mapping.get("servicePort", 0) for mapping in mappings),
    )

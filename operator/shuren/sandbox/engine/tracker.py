"""The instance tracker: every instance, indexed by app, by agent and by what waits to launch, with counters kept as they change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from shuren.sandbox.engine.ids import instance_of
from shuren.sandbox.engine.model import Condition, Goal, Instance

if TYPE_CHECKING:
    from shuren.sandbox.engine.clock import Clock
    from shuren.sandbox.engine.events import EventBus

Listener = Callable[[Instance, Condition, Goal], None]
"""Called after a change with the condition and the goal before it. An instance that is removed is told by `removed`."""


class Instances:
    """All instances. Changes are made on the instance and then told by `touch`; nothing here is O(all instances) per change."""

    def __init__(self, clock: Clock, bus: EventBus) -> None:
        self._clock = clock
        self._bus = bus
        self._all: dict[str, Instance] = {}
        self._by_app: dict[str, dict[str, Instance]] = {}
        self._by_agent: dict[str, dict[str, Instance]] = {}
        self._scheduled: dict[str, dict[str, Instance]] = {}
        self._provisioned: dict[str, dict[str, Instance]] = {}
        self._counts: dict[str, list[int]] = {}
        self.totals = [0, 0, 0, 0]
        self.dirty: dict[str, Instance | None] = {}
        self.listeners: list[Listener] = []
        self.removed: list[Callable[[Instance], None]] = []

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Instance]:
        return iter(tuple(self._all.values()))

    def get(self, instance_id: str) -> Instance | None:
        return self._all.get(instance_id)

    def by_task(self, task: str) -> Instance | None:
        """The instance of a task id, if that task is its present one."""
        found = instance_of(task)
        instance = None if found is None else self._all.get(found)
        return instance if instance is not None and (task == found or task in instance.task_ids()) else None

    def of(self, app_id: str) -> list[Instance]:
        """Instances of an app or pod, oldest first."""
        return list(self._by_app.get(app_id, {}).values())

    def has(self, app_id: str) -> bool:
        return bool(self._by_app.get(app_id))

    def on_agent(self, agent_id: str) -> list[Instance]:
        return list(self._by_agent.get(agent_id, {}).values())

    def scheduled(self, app_id: str) -> list[Instance]:
        """Those that wait for an offer."""
        return list(self._scheduled.get(app_id, {}).values())

    def waiting(self, app_id: str) -> int:
        """How many wait for an offer."""
        return len(self._scheduled.get(app_id, {}))

    def launching(self, app_id: str) -> list[Instance]:
        """Those that wait for an offer, and those that have just got one."""
        return [*self._scheduled.get(app_id, {}).values(), *self._provisioned.get(app_id, {}).values()]

    def launching_apps(self) -> list[str]:
        """Ids of apps with such instances."""
        return list(dict.fromkeys([*self._scheduled, *self._provisioned]))

    def waiting_apps(self) -> list[str]:
        """Ids of apps with instances that wait for an offer."""
        return list(self._scheduled)

    def counts(self, app_id: str) -> tuple[int, int, int, int]:
        """staged, running, healthy, unhealthy."""
        counts = self._counts.get(app_id)
        return (0, 0, 0, 0) if counts is None else (counts[0], counts[1], counts[2], counts[3])

    def add(self, instance: Instance, *, silent: bool = False) -> None:
        self._all[instance.id] = instance
        self._by_app.setdefault(instance.app_id, {})[instance.id] = instance
        self._index(instance)
        if not silent:
            self.dirty[instance.id] = instance
            self._publish(instance)

    def touch(self, instance: Instance, condition: Condition, *, event: bool = True) -> None:
        """Sets the condition and tells everybody. Calling it with the present condition announces another change (goal, health)."""
        before = instance.condition
        if condition is not before:
            instance.condition = condition
            instance.since = self._clock.now()
        self._tell(instance, before, instance.goal, event=event)

    def set_goal(self, instance: Instance, goal: Goal) -> None:
        """Changes the goal; announced as a change of the instance in its present condition, as Marathon does."""
        before = instance.goal
        if goal is before:
            return
        instance.goal = goal
        self._tell(instance, instance.condition, before, event=True)

    def place(self, instance: Instance, agent_id: str | None) -> None:
        """Notes on which agent it runs."""
        if instance.agent_id is not None:
            self._by_agent.get(instance.agent_id, {}).pop(instance.id, None)
        instance.agent_id = agent_id
        if agent_id is not None:
            self._by_agent.setdefault(agent_id, {})[instance.id] = instance

    def refresh(self, instance: Instance) -> None:
        """Counters and rendering after a change that is no event (a check result)."""
        instance.rendered = None
        self._count(instance)

    def remove(self, instance: Instance) -> None:
        """Expunges it."""
        if self._all.pop(instance.id, None) is None:
            return
        siblings = self._by_app[instance.app_id]
        del siblings[instance.id]
        if instance.agent_id is not None:
            self._by_agent.get(instance.agent_id, {}).pop(instance.id, None)
        _keep(self._scheduled, instance, there=False)
        _keep(self._provisioned, instance, there=False)
        counts = self._counts.get(instance.app_id)
        if counts is not None:
            for i, part in enumerate(instance.contribution):
                counts[i] -= part
                self.totals[i] -= part
        instance.contribution = (0, 0, 0, 0)
        if not siblings:
            del self._by_app[instance.app_id]
            self._counts.pop(instance.app_id, None)
        self.dirty[instance.id] = None
        for listener in tuple(self.removed):
            listener(instance)

    def _tell(self, instance: Instance, condition: Condition, goal: Goal, *, event: bool) -> None:
        self._index(instance)
        instance.rendered = None
        self.dirty[instance.id] = instance
        if event:
            self._publish(instance)
        for listener in tuple(self.listeners):
            listener(instance, condition, goal)

    def _index(self, instance: Instance) -> None:
        if instance.agent_id is not None:
            self._by_agent.setdefault(instance.agent_id, {})[instance.id] = instance
        wanted = instance.goal is Goal.RUNNING
        _keep(self._scheduled, instance, there=wanted and instance.condition is Condition.SCHEDULED)
        _keep(self._provisioned, instance, there=wanted and instance.condition is Condition.PROVISIONED)
        self._count(instance)

    def _count(self, instance: Instance) -> None:
        now = instance.counters()
        before = instance.contribution
        if now != before:
            counts = self._counts.setdefault(instance.app_id, [0, 0, 0, 0])
            for i in range(4):
                counts[i] += now[i] - before[i]
                self.totals[i] += now[i] - before[i]
            instance.contribution = now

    def _publish(self, instance: Instance) -> None:
        if not self._bus.wants("instance_changed_event"):
            return
        placed = instance.condition is not Condition.SCHEDULED
        self._bus.publish(
            "instance_changed_event",
            {
                "instanceId": instance.id,
                "condition": instance.condition.value,
                "runSpecId": instance.app_id,
                "agentId": instance.agent_id if placed else None,
                "host": instance.host if placed else None,
                "runSpecVersion": instance.version,
            },
        )


def _keep(index: dict[str, dict[str, Instance]], instance: Instance, *, there: bool) -> None:
    """Puts an instance into an index by app, or takes it out."""
    if there:
        index.setdefault(instance.app_id, {})[instance.id] = instance
        return
    members = index.get(instance.app_id)
    if members is not None and members.pop(instance.id, None) is not None and not members:
        del index[instance.app_id]

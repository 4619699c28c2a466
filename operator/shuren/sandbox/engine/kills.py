"""Kills on their way (Marathon's KillServiceActor): so many at a time, each repeated until the end of its tasks is seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shuren.sandbox.engine.model import Condition

if TYPE_CHECKING:
    from collections.abc import Callable

    from shuren.sandbox.engine.clock import Timer
    from shuren.sandbox.engine.model import Goal, Instance
    from shuren.sandbox.engine.world import World

CHUNK = 100
"""`kill_chunk_size`: instances of which the end is awaited; those beyond wait until one of these is seen to have ended."""
_ALIVE = frozenset({Condition.PROVISIONED, Condition.STAGING, Condition.STARTING, Condition.RUNNING})


class Kills:
    """`issue` tells the agent of an instance to end its tasks."""

    def __init__(self, world: World, issue: Callable[[Instance], None]) -> None:
        self._world, self._issue = world, issue
        self._waiting: dict[str, Instance] = {}
        self._retries: dict[str, Timer] = {}
        """Of those in flight, when they are told again."""
        world.instances.listeners.append(self._changed)
        world.instances.removed.append(self._over)

    def __len__(self) -> int:
        """How many are in flight."""
        return len(self._retries)

    def add(self, instance: Instance) -> None:
        """Kills an instance when it is its turn. One in flight is told once more when there is room."""
        self._waiting[instance.id] = instance
        self._proceed()

    def _proceed(self) -> None:
        while self._waiting and len(self._retries) < CHUNK:
            self._tell(self._waiting.pop(next(iter(self._waiting))))

    def _tell(self, instance: Instance) -> None:
        pending = self._retries.get(instance.id)
        if pending is not None:
            pending.cancel()
        self._retries[instance.id] = self._world.clock.after(self._world.timing.kill_retry, lambda: self._tell(instance))
        self._issue(instance)

    def _changed(self, instance: Instance, before: Condition, goal: Goal) -> None:
        del before, goal
        if instance.condition not in _ALIVE:
            self._over(instance)

    def _over(self, instance: Instance) -> None:
        waited = self._waiting.pop(instance.id, None)
        timer = self._retries.pop(instance.id, None)
        if timer is not None:
            timer.cancel()
        if waited is not None or timer is not None:
            self._proceed()

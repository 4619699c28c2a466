"""The actions of a deployment: stop, scale and restart of one app or pod, each a small machine driven by what happens to its instances."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from shuren.sandbox.engine.health import checks_of
from shuren.sandbox.engine.model import TERMINAL, Condition, Goal, Instance, config_version, wanted_instances
from shuren.sandbox.engine.readiness import Readiness
from shuren.sandbox.engine.rolling import begin_restart, marathon_checks, may_start
from shuren.sandbox.engine.victims import choose_victims

if TYPE_CHECKING:
    from collections.abc import Callable

    from shuren.sandbox.contract import Json
    from shuren.sandbox.engine.clock import Timer
    from shuren.sandbox.engine.lifecycle import Lifecycle
    from shuren.sandbox.engine.world import World

FIRST_RECOUNT = 1.0


class Running(Protocol):
    """An action under way."""

    done: bool

    def begin(self) -> None:
        """Starts the work; `done` may be true afterwards."""

    def changed(self, instance: Instance, before: Condition) -> None:
        """An instance of the app has changed."""

    def removed(self, instance: Instance) -> None:
        """An instance of the app has been expunged."""

    def health(self, instance: Instance) -> None:
        """The health of an instance of the app has changed."""

    def readiness(self) -> list[Json]:
        """Results of readiness checks."""

    def cancel(self) -> None:
        """Stops working; undoes nothing."""


def is_up(instance: Instance) -> bool:
    """Running without checks, or healthy with them."""
    if instance.condition is not Condition.RUNNING:
        return False
    return not checks_of(instance.definition) or instance.healthy is True


class Stop:
    """Ends all instances of a removed app."""

    def __init__(self, world: World, lifecycle: Lifecycle, app_id: str, before: Json | None, *, told: Callable[[], None]) -> None:
        self._world, self._lifecycle, self._app_id, self._before, self._told = world, lifecycle, app_id, before, told
        self._begun = False
        self.done = False

    def begin(self) -> None:
        for _ in checks_of(self._before or {}):
            self._world.bus.publish("remove_health_check_event", {"appId": self._app_id})
        for instance in self._world.instances.of(self._app_id):
            self._lifecycle.decommission(instance)
        self._finish()
        self._begun = True

    def _finish(self) -> None:
        if self.done or self._world.instances.has(self._app_id):
            return
        self.done = True
        self._world.backoff.forget(self._app_id)
        self._world.failures.pop(self._app_id, None)
        self._world.dirty_failures.add(self._app_id)
        self._world.bus.publish("app_terminated_event", {"appId": self._app_id})
        if self._begun:
            self._told()

    def changed(self, instance: Instance, before: Condition) -> None:
        """Nothing to do before it is gone."""

    def removed(self, instance: Instance) -> None:
        del instance
        self._finish()

    def health(self, instance: Instance) -> None:
        """Of no interest."""

    def readiness(self) -> list[Json]:
        return []

    def cancel(self) -> None:
        self.done = True


class Scale:
    """Brings an app to its count: waits for what it starts to be up and ready, and for what it kills to be gone."""

    def __init__(self, world: World, lifecycle: Lifecycle, definition: Json, *, kill: tuple[str, ...], told: Callable[[], None]) -> None:
        self._world, self._lifecycle, self._definition, self._kill, self._told = world, lifecycle, definition, kill, told
        self._waiting: dict[str, Instance] = {}
        self._not_up: set[str] = set()
        """Of those waited for; kept as they change, since an app may have tens of thousands."""
        self._dying: set[str] = set()
        self._readiness = Readiness(world, self._on_ready)
        self._timer: Timer | None = None
        self.done = False

    def begin(self) -> None:
        app_id = self._definition["id"]
        wanted = [i for i in self._world.instances.of(app_id) if i.wanted]
        target = wanted_instances(self._definition)
        if len(wanted) > target:
            victims = choose_victims(self._world, self._definition, wanted, len(wanted) - target, chosen=self._kill)
            self._dying = {v.id for v in victims}
            for victim in victims:
                self._lifecycle.retire(victim)
        elif len(wanted) < target:
            self._add(target - len(wanted))
            self._timer = self._world.clock.after(FIRST_RECOUNT, self._recount)
        self._check()

    def _add(self, count: int) -> None:
        # Marked as waited for before they exist for others, so that no early news is lost.
        for instance in self._lifecycle.scheduler.add(self._definition, count):
            self._waiting[instance.id] = instance
            self._not_up.add(instance.id)

    def _recount(self) -> None:
        if self.done:
            return
        self._add(self._missing())
        self._timer = self._world.clock.after(self._world.timing.resync, self._recount)

    def _missing(self) -> int:
        wanted = sum(i.wanted for i in self._world.instances.of(self._definition["id"]))
        return max(0, wanted_instances(self._definition) - wanted)

    def _check(self) -> bool:
        """Whether it has just become done."""
        if self.done or self._dying or self._not_up:
            return False
        self.cancel()
        return True

    def _consider(self, instance: Instance) -> None:
        """What was once up and ready counts until it ends, even when its health changes meanwhile."""
        if is_up(instance) and self._readiness.is_ready(instance):
            self._not_up.discard(instance.id)
        elif not instance.active:
            self._not_up.add(instance.id)
        self._look()

    def _on_ready(self, instance: Instance) -> None:
        if instance.id in self._waiting:
            self._consider(instance)

    def _look(self) -> None:
        if self._check():
            self._told()

    def changed(self, instance: Instance, before: Condition) -> None:
        if instance.id in self._waiting and instance.condition is not before and not self.done:
            self._readiness.watch(instance)
            self._consider(instance)

    def removed(self, instance: Instance) -> None:
        self._dying.discard(instance.id)
        self._not_up.discard(instance.id)
        self._readiness.forget(instance)
        if self._waiting.pop(instance.id, None) is not None and not self.done:
            self._add(self._missing())  # somebody wiped what the deployment waits for: another one takes its place
        self._look()

    def health(self, instance: Instance) -> None:
        if instance.id in self._waiting and not self.done:
            self._consider(instance)

    def readiness(self) -> list[Json]:
        return self._readiness.results()

    def cancel(self) -> None:
        self.done = True
        self._readiness.stop()
        if self._timer is not None:
            self._timer.cancel()


class Restart:
    """The rolling restart (Marathon's TaskReplaceActor): replaces instances of older configurations within the app's capacities."""

    def __init__(self, world: World, lifecycle: Lifecycle, definition: Json, *, told: Callable[[], None]) -> None:
        self._world, self._lifecycle, self._definition, self._told = world, lifecycle, definition, told
        self._app_id: str = definition["id"]
        self._config = config_version(definition)
        self._target = wanted_instances(definition)
        self._old: dict[str, Instance] = {}
        """Instances of older configurations that were meant to run when this began, launched or not, until they are gone."""
        self._spare: dict[str, Instance] = {}
        """Of them, those not being killed yet, in the order in which they go."""
        self._fresh: set[str] = set()
        """Instances of the new configuration."""
        self._counted: set[str] = set()
        """Of them, those that were up and ready once and have not ended since."""
        self._max_capacity = 0
        self._readiness = Readiness(world, self._on_ready)
        self._busy = False
        self.done = False

    def begin(self) -> None:
        self._busy = True
        self._lifecycle.scheduler.reset(self._definition)
        everything = self._world.instances.of(self._app_id)
        new = [i for i in everything if i.config == self._config]
        alive = [i for i in everything if i.goal is Goal.RUNNING]
        old = [i for i in alive if i.config != self._config]
        self._old = {i.id: i for i in old}
        self._spare = {i.id: i for i in sorted(old, key=self._considered_healthy)}
        self._fresh = {i.id for i in new}
        strategy = self._definition.get("upgradeStrategy") or self._definition.get("scheduling", {}).get("upgrade") or {}
        start = begin_restart(
            target=self._target,
            current=len(everything),
            healthy=sum(map(self._considered_healthy, alive)),
            minimum_health=float(strategy.get("minimumHealthCapacity", 1.0)),
            over_capacity=float(strategy.get("maximumOverCapacity", 1.0)),
            resident="residency" in self._definition,
        )
        self._max_capacity = start.max_capacity
        for instance in new:  # of a deployment that a change of leader interrupted: its up ones count, and have paid already
            self._readiness.watch(instance)
            if self._is_up_and_ready(instance):
                self._counted.add(instance.id)
        for _ in range(start.kill_now):
            self._kill_one()
        self._busy = False
        self._advance()

    @staticmethod
    def _considered_healthy(instance: Instance) -> bool:
        """The quirk of 1.11: what only Marathon's own checks know of an instance does not make it healthy here."""
        return is_up(instance) and not marathon_checks(instance.definition)

    def _is_up_and_ready(self, instance: Instance) -> bool:
        return instance.goal is Goal.RUNNING and is_up(instance) and self._readiness.is_ready(instance)

    def _kill_one(self) -> None:
        if self._spare:
            self._lifecycle.retire(self._spare.pop(next(iter(self._spare))))

    def _consider(self, instance: Instance) -> None:
        """A new instance that is up and ready for the first time pays for the end of one old."""
        if instance.config != self._config:
            return
        if self._is_up_and_ready(instance):
            if instance.id not in self._counted:
                self._counted.add(instance.id)
                self._kill_one()
        elif not instance.active:
            self._counted.discard(instance.id)

    def _advance(self) -> bool:
        """Starts what may be started; whether it has just become done."""
        if self.done or self._busy:
            return False
        self._busy = True
        count = may_start(target=self._target, started=len(self._fresh), old_active=len(self._old), max_capacity=self._max_capacity)
        if count:
            self._fresh.update(i.id for i in self._lifecycle.scheduler.add(self._definition, count))
        self._busy = False
        if len(self._counted) < self._target or self._old:
            return False
        self.cancel()
        return True

    def _look(self) -> None:
        if self._advance():
            self._told()

    def _on_ready(self, instance: Instance) -> None:
        if not self.done:
            self._consider(instance)
            self._look()

    def changed(self, instance: Instance, before: Condition) -> None:
        if self.done or instance.condition is before:
            return
        if instance.config == self._config:
            self._readiness.watch(instance)
            self._consider(instance)
        elif instance.condition in TERMINAL and instance.goal is Goal.RUNNING:
            # An old one that ends by itself is not started again; a new one takes its place.
            self._spare.pop(instance.id, None)
            instance.goal = Goal.STOPPED if instance.volumes else Goal.DECOMMISSIONED
        self._look()

    def removed(self, instance: Instance) -> None:
        self._old.pop(instance.id, None)
        self._spare.pop(instance.id, None)
        self._fresh.discard(instance.id)
        self._counted.discard(instance.id)
        self._readiness.forget(instance)
        self._look()

    def health(self, instance: Instance) -> None:
        if not self.done:
            self._consider(instance)
            self._look()

    def readiness(self) -> list[Json]:
        return self._readiness.results()

    def cancel(self) -> None:
        self.done = True
        self._readiness.stop()

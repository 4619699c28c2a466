"""The launch queue and the offers: finds agents for the instances that wait, and launches them."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from shuren.sandbox.engine import queue
from shuren.sandbox.engine.constraints import Placement
from shuren.sandbox.engine.ids import new_instance_id, safe_path
from shuren.sandbox.engine.matching import Demand, Reason, demand_of, match
from shuren.sandbox.engine.model import Condition, Goal, Instance, config_version

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from shuren.sandbox.agents.agent import Agent
    from shuren.sandbox.contract import Json
    from shuren.sandbox.engine.clock import Timer
    from shuren.sandbox.engine.world import World

MAX_WAITING = 100_000
"""Instances of one app that wait for an offer; of an app of two billion no more come to be at a time (Marathon would try, and fail)."""

MAX_LAUNCHES = 500
"""Launches in one go; more wait for the next turn of the loop, so that requests are answered in between."""


_UNCONFIRMED = frozenset({Condition.PROVISIONED})
_NOT_RUNNING = frozenset({Condition.PROVISIONED, Condition.STAGING, Condition.STARTING})


class Scheduler:
    """Launches what waits. `launch` is told each instance that got an agent, `give_up` each that does not get up in time."""

    def __init__(self, world: World, launch: Callable[[Instance], None], give_up: Callable[[Instance], None]) -> None:
        self._world = world
        self._launch, self._give_up = launch, give_up
        self._timer: Timer | None = None
        self._last_cycle = float("-inf")
        self._stats: dict[str, queue.OfferStats] = {}
        self._seen: dict[str, dict[str, int]] = {}
        """By app and configuration, the registry version at which nothing fitted: asking again before it moves is vain."""
        self._port_use: dict[int, int] = {}
        world.instances.removed.append(self._removed)

    def add(self, definition: Json, count: int) -> list[Instance]:
        """Instances that wait for an offer: those that were stopped with their volumes first, then new ones."""
        now = self._world.clock.now()
        made = self._revived(definition, count)
        count = min(count, len(made) + max(0, MAX_WAITING - self._world.instances.waiting(definition["id"])))
        for _ in range(count - len(made)):
            instance = Instance(id=new_instance_id(definition["id"]), definition=definition, now=now)
            self._world.instances.add(instance)
            made.append(instance)
        self.wake()
        return made

    def _revived(self, definition: Json, count: int) -> list[Instance]:
        if "residency" not in definition:
            return []
        world = self._world
        chosen = [i for i in world.instances.of(definition["id"]) if i.goal is Goal.STOPPED and not i.active][:count]
        for instance in chosen:
            instance.definition, instance.version, instance.config = definition, definition["version"], config_version(definition)
            instance.goal = Goal.RUNNING
            world.instances.touch(instance, Condition.SCHEDULED)
        return chosen

    def wake(self, *, delay: float | None = None) -> None:
        """Something waits, or something was freed: look at offers soon."""
        world = self._world
        now = world.clock.now()
        wanted = now + (world.timing.offer if delay is None else delay)
        if self._last_cycle + world.settings.min_revive_interval > wanted and delay is None:
            wanted = self._last_cycle + world.settings.min_revive_interval
        if self._timer is not None and self._timer.active:
            if self._timer.when <= wanted:
                return
            self._timer.cancel()
        self._timer = world.clock.after(wanted - now, self._cycle)

    def reset(self, definition: Json) -> None:
        """Back-off of this configuration gone: what waits may launch at once."""
        self._world.backoff.reset(definition)
        if self._world.instances.scheduled(definition["id"]):
            self._seen.pop(definition["id"], None)
            self.wake()

    def waits(self, app_id: str) -> bool:
        """Whether something of this app waits for an offer."""
        return bool(self._world.instances.scheduled(app_id))

    def items(self, *, last_unused_offers: bool) -> list[Json]:
        """`GET /v2/queue`: one item per app with instances scheduled or provisioned."""
        world = self._world
        now = world.clock.now()
        result = []
        for app_id in world.instances.launching_apps():
            launching = world.instances.launching(app_id)
            definition = launching[-1].definition
            stats = self._stats.get(app_id) or queue.OfferStats()
            unused = None
            if last_unused_offers:
                named = [(world.agents.get(agent_id), reason, when) for agent_id, (reason, when) in stats.last.items()]
                unused = [queue.unused_offer(agent, reason, when) for agent, reason, when in named if agent is not None]
            shown = world.definition(app_id) or definition
            result.append(
                queue.item(
                    shown,
                    launching,
                    role=definition.get("role", "*"),
                    until=world.backoff.until(definition),
                    now=now,
                    stats=stats,
                    unused=unused,
                )
            )
        return result

    def adopted(self, instance: Instance) -> None:
        """A task found again after a restart: book what it holds."""
        agent = self._world.agents.get(instance.agent_id)
        if agent is not None:
            agent.hold(instance.id, demand_of(instance.definition).resources, instance.ports)
            self._use_ports(instance.ports, 1)

    def released(self, instance: Instance) -> None:
        """Its task has ended: what it held is free again."""
        agent = self._world.agents.get(instance.agent_id)
        if agent is not None and agent.release(instance.id):
            self._world.agents.version += 1
            self._use_ports(instance.ports, -1)
            if self._world.instances.waiting_apps():
                self.wake()

    def _removed(self, instance: Instance) -> None:
        self.released(instance)
        if not self._world.instances.has(instance.app_id):
            self._stats.pop(instance.app_id, None)
            self._seen.pop(instance.app_id, None)

    def _use_ports(self, ports: tuple[int, ...], step: int) -> None:
        for port in ports:
            count = self._port_use.get(port, 0) + step
            if count > 0:
                self._port_use[port] = count
            else:
                self._port_use.pop(port, None)

    def _cycle(self) -> None:
        world = self._world
        self._timer = None
        now = self._last_cycle = world.clock.now()
        budget = MAX_LAUNCHES
        placed: list[Instance] = []
        next_try = float("inf")
        for app_id in world.instances.waiting_apps():
            taken, again = self._serve(app_id, budget, now)
            placed += taken
            budget -= len(taken)
            next_try = min(next_try, again)
            if budget <= 0:
                break
        if placed:
            world.flush()
            for instance in placed:
                self._launch(instance)
            self._watch_launches([(i, i.attempt) for i in placed])
        if next_try < float("inf"):
            self.wake(delay=max(0.0, next_try - now))

    def _watch_launches(self, launches: list[tuple[Instance, int]]) -> None:
        """What is not staging, or not running, in time is killed. One timer for all that were launched together."""
        settings = self._world.settings

        def expire(late: frozenset[Condition]) -> None:
            for instance, attempt in launches:
                present = self._world.instances.get(instance.id) is instance and instance.attempt == attempt
                if present and instance.condition in late:
                    self._give_up(instance)

        self._world.clock.after(settings.task_launch_confirm_timeout, lambda: expire(_UNCONFIRMED))
        self._world.clock.after(settings.task_launch_timeout, lambda: expire(_NOT_RUNNING))

    def _due_again(self, app_id: str, now: float) -> bool:
        stats = self._stats.get(app_id)
        return stats is None or stats.last_unused is None or now - stats.last_unused >= self._world.timing.offer_refresh - 0.001

    def _serve(self, app_id: str, budget: int, now: float) -> tuple[list[Instance], float]:
        """Places instances of one app; tells when to try again for those that must go on waiting.

        Configurations are served apart: one that is backed off or finds no room does not hold up another.
        """
        world = self._world
        open_: dict[str, tuple[Demand, Placement]] = {}
        closed: dict[str, float] = {}
        offers = world.agents.offers()
        placed: list[Instance] = []
        for instance in world.instances.scheduled(app_id):
            config = instance.config
            if config in closed:
                continue
            if len(placed) >= budget:
                return placed, now
            if config not in open_:
                ready_at = self._ready_at(instance, now)
                if ready_at > now:
                    closed[config] = ready_at
                    continue
                if not open_:
                    stats = self._stats.setdefault(app_id, queue.OfferStats())
                    stats.last.clear()
                open_[config] = (demand_of(instance.definition), self._placement(instance.definition))
            demand, placement = open_[config]
            found = self._find(instance, demand, placement, offers, stats, now)
            if found is None:
                closed[config] = now + world.timing.offer_refresh
                self._seen.setdefault(app_id, {})[config] = world.agents.version
                continue
            agent, ports = found
            offers.remove(agent)
            offers.append(agent)
            self._place(instance, agent, ports, demand, placement, now)
            stats.used(now)
            world.offers_used += 1
            placed.append(instance)
        return placed, min(closed.values(), default=float("inf"))

    def _ready_at(self, instance: Instance, now: float) -> float:
        """When its configuration may be matched with offers: after its back-off, and not before offers differ from those in vain."""
        backed_off = self._world.backoff.until(instance.definition)
        if backed_off > now:
            return backed_off
        known = self._seen.get(instance.app_id, {}).get(instance.config)
        if known == self._world.agents.version and not self._due_again(instance.app_id, now):
            return now + self._world.timing.offer_refresh
        return now

    def _placement(self, definition: Json) -> Placement:
        world = self._world
        constraints = definition.get("constraints", ())
        if not constraints and "scheduling" in definition:
            raw = definition["scheduling"].get("placement", {}).get("constraints", ())
            constraints = [[c["fieldName"], c["operator"], *([c["value"]] if "value" in c else [])] for c in raw]
        agents = [world.agents.get(i.agent_id) for i in world.instances.of(definition["id"]) if i.active] if constraints else []
        return Placement(constraints, [a for a in agents if a is not None])

    def _find(  # noqa: PLR0917 - one call site, right above
        self, instance: Instance, demand: Demand, placement: Placement, offers: list[Agent], stats: queue.OfferStats, now: float
    ) -> tuple[Agent, tuple[int, ...]] | None:
        bound = instance.agent_id if instance.volumes else None
        # All virtual hosts share one machine, and many programs listen on every address: a port is best used once.
        avoid = self._port_use if self._world.runner.binds_ports else ()
        for agent in offers:
            result = match(demand, agent, placement, bound_to=bound, avoid_ports=avoid)
            if isinstance(result, Reason):
                stats.declined(agent, result, now)
                self._world.offers_declined += 1
                continue
            ports = self._bindable(agent, demand, result)
            if ports is None:
                stats.declined(agent, Reason.PORTS, now)
                continue
            return agent, ports
        return None

    def _bindable(self, agent: Agent, demand: Demand, ports: tuple[int, ...]) -> tuple[int, ...] | None:
        """The machine is shared with others: a port that somebody else holds is passed over (a fixed one is the user's affair)."""
        if not self._world.runner.binds_ports:
            return ports
        avoid: set[int] = set()
        for _ in range(8):
            busy = [
                p
                for p, wanted in zip(ports, demand.ports, strict=True)
                if not wanted and not self._world.runner.port_free(agent.hostname, p)
            ]
            if not busy:
                return ports
            avoid = avoid.union(busy, self._port_use)
            again = agent.free_ports(demand.ports, avoid=avoid)
            if again is None:
                return None
            ports = again
        return ports

    def _place(  # noqa: PLR0917 - one call site
        self, instance: Instance, agent: Agent, ports: tuple[int, ...], demand: Demand, placement: Placement, now: float
    ) -> None:
        world = self._world
        instance.attempt += 1
        world.instances.place(instance, agent.id)
        instance.host, instance.ports, instance.ip = agent.hostname, ports, None
        instance.staged_at, instance.started_at = now, None
        instance.healthy, instance.killing, instance.message = None, None, ""
        instance.checks = []
        instance.parts = {}
        if not instance.volumes:
            instance.volumes = _volumes(instance, world.directory / "agents" / agent.id / "volumes")
        agent.hold(instance.id, demand.resources, ports)
        self._use_ports(ports, 1)
        placement.add(agent)
        world.launched += 1
        world.instances.touch(instance, Condition.PROVISIONED)


def _volumes(instance: Instance, root: Path) -> tuple[Json, ...]:
    """The persistent volumes that an instance gets with its first launch and keeps."""
    raw = [v for v in instance.definition.get("container", {}).get("volumes", ()) if "persistent" in v]
    made = []
    for volume in raw:
        identifier = str(uuid.uuid1())
        path = volume["containerPath"]
        persistence = f"{safe_path(instance.app_id)}#{path}#{identifier}"
        named = {"runSpecId": instance.app_id, "containerPath": path, "uuid": identifier, "persistenceId": persistence}
        made.append({**named, "path": str(root / persistence)})
    return tuple(made)

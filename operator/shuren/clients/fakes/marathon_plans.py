"""Deployments in the world of the fake Marathon: plans of steps, and Marathon's arithmetic of rolling restarts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from shuren.clients.fakes.marathon_tasks import Instance, Json, victims
from shuren.domain.marathon.state import Deployment, DeploymentAction

_MARATHON_SIDE = frozenset({"HTTP", "HTTPS", "TCP"})


class ActionKind(Enum):
    """Marathon's names."""

    START = "StartApplication"
    SCALE = "ScaleApplication"
    RESTART = "RestartApplication"
    STOP = "StopApplication"


@dataclass(slots=True)
class Action:
    """One action on one app. `definition` is the target; the rest is how far it has come."""

    kind: ActionKind
    app_id: str
    definition: Json
    kill: frozenset[str] = frozenset()
    begun: bool = False
    fresh: set[int] = field(default_factory=set)
    credited: set[int] = field(default_factory=set)
    capacity: int = 0


@dataclass(slots=True)
class Plan:
    """A running deployment. `before` are the definitions (None: no app) that a roll-back restores."""

    id: str
    version: str
    steps: list[list[Action]]
    before: Mapping[str, Json | None]
    step: int = 0

    @property
    def app_ids(self) -> tuple[str, ...]:
        """The apps that it locks."""
        return tuple(dict.fromkeys(action.app_id for step in self.steps for action in step))

    def view(self) -> Deployment:
        """As Marathon lists it."""
        current = self.steps[self.step] if self.step < len(self.steps) else []
        return Deployment(
            id=self.id,
            version=self.version,
            affected_apps=self.app_ids,
            current_step=self.step + 1,
            total_steps=len(self.steps),
            current_actions=tuple(DeploymentAction(action=action.kind.value, app_id=action.app_id) for action in current),
        )

    def document(self) -> Json:
        """As events carry it."""
        steps = [{"actions": [{"action": a.kind.value, "app": a.app_id} for a in step]} for step in self.steps]
        return {"id": self.id, "steps": steps, "version": self.version}


def steps(actions: Sequence[Action], apps: Mapping[str, Json]) -> list[list[Action]]:
    """Stops, then starts, then scales and restarts by depth of dependency. A new app comes with its START and its SCALE."""
    found: list[list[Action]] = [
        [a for a in actions if a.kind is ActionKind.STOP],
        [a for a in actions if a.kind is ActionKind.START],
    ]
    rest = [a for a in actions if a.kind in {ActionKind.SCALE, ActionKind.RESTART}]
    depths = {a.app_id: _depth(a.app_id, apps, frozenset()) for a in rest}
    found += [[a for a in rest if depths[a.app_id] == depth] for depth in sorted(set(depths.values()))]
    return [step for step in found if step]


def _depth(app_id: str, apps: Mapping[str, Json], seen: frozenset[str]) -> int:
    if app_id in seen:
        return 0
    above = [d for d in apps.get(app_id, {}).get("dependencies", ()) if d in apps]
    return max((_depth(d, apps, seen | {app_id}) + 1 for d in above), default=0)


def advance(action: Action, instances: list[Instance], make: Callable[[Json], Instance]) -> bool:
    """One tick of an action on the instances of its app (changed in place). Whether it is complete."""
    match action.kind:
        case ActionKind.START:
            return True
        case ActionKind.STOP:
            for instance in instances:
                instance.doomed = instance.expunge = True
            return not instances
        case ActionKind.SCALE:
            return _scale(action, instances, make)
        case ActionKind.RESTART:
            return _restart(action, instances, make)


def _scale(action: Action, instances: list[Instance], make: Callable[[Json], Instance]) -> bool:
    wanted = int(action.definition["instances"])
    if not action.begun:
        action.begun = True
        live = [i for i in instances if not i.doomed]
        for _ in range(wanted - len(live)):
            instance = make(action.definition)
            action.fresh.add(instance.number)
            instances.append(instance)
        for instance in victims(live, len(live) - wanted, chosen=action.kill):
            instance.doomed = instance.expunge = True
    if any(i.doomed for i in instances):
        return False
    return all(i.good for i in instances if i.number in action.fresh)


def _restart(action: Action, instances: list[Instance], make: Callable[[Json], Instance]) -> bool:
    wanted = int(action.definition["instances"])
    since = action.definition["versionInfo"]["lastConfigChangeAt"]
    old = [i for i in instances if i.version < since]
    new = [i for i in instances if i.version >= since and not i.doomed]
    if not action.begun:
        action.begun = True
        action.capacity = _begin_restart(action.definition, wanted, old, new)
    for instance in new:
        if instance.good and instance.number not in action.credited:
            action.credited.add(instance.number)
            _kill_first(old, 1)
    for _ in range(min(wanted - len(new), action.capacity - len(old) - len(new))):
        made = make(action.definition)
        instances.append(made)
    good = sum(1 for i in instances if i.version >= since and i.good)
    if good >= wanted:
        _kill_first(old, len(old))
    return good >= wanted and not old


def _begin_restart(definition: Json, wanted: int, old: list[Instance], new: list[Instance]) -> int:
    """Kill what may go at once; the most instances that may exist meanwhile.

    Instances with checks of Marathon's own (HTTP, HTTPS, TCP) count as not healthy here: as seen on a real 1.11, which therefore never
    finishes with `maximumOverCapacity` 0.
    """
    strategy = definition["upgradeStrategy"]
    minimum = math.ceil(wanted * strategy["minimumHealthCapacity"])
    capacity: int = math.floor(wanted * (1 + strategy["maximumOverCapacity"]))
    blind = any(check.get("protocol") in _MARATHON_SIDE for check in definition.get("healthChecks", ()))
    healthy = 0 if blind else sum(1 for i in [*old, *new] if i.good)
    kill_now = max(0, healthy - minimum)
    if minimum == capacity <= healthy:
        capacity += 1
    if wanted < len(old) + len(new):
        kill_now = max(len(old) + len(new) - wanted, kill_now)
    _kill_first(old, kill_now)
    return capacity


def _kill_first(old: list[Instance], count: int) -> None:
    """Kill so many old instances, those that are not good first."""
    for instance in sorted((i for i in old if not i.doomed), key=lambda i: (i.good, i.number))[:count]:
        instance.doomed = instance.expunge = True

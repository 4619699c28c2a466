"""Deployment plans: what has to be done to get from one root group to another, in which steps. Pure.

Marathon's order: one step that stops what is gone, one that starts what is new (a placeholder), then one step per dependency depth that
scales or restarts, dependencies first; empty steps are dropped.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from shuren.sandbox.contract import Group, Json
from shuren.sandbox.engine.ids import parent
from shuren.sandbox.engine.model import config_version, is_pod, wanted_instances


class ActionKind(Enum):
    """What a step does to an app or pod."""

    START = "Start"
    SCALE = "Scale"
    RESTART = "Restart"
    STOP = "Stop"


@dataclass(frozen=True, kw_only=True)
class Action:
    """One action on one app or pod; `kill` are the task ids that a scale-down must choose."""

    kind: ActionKind
    app_id: str
    pod: bool = False
    kill: tuple[str, ...] = ()

    def json(self) -> Json:
        return {"action": self.kind.value + ("Pod" if self.pod else "Application"), "pod" if self.pod else "app": self.app_id}


Step = tuple[Action, ...]


@dataclass(frozen=True, kw_only=True)
class GroupChange:
    """The dependencies of a group before and after; None where it is not there."""

    before: tuple[str, ...] | None
    after: tuple[str, ...] | None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A deployment. `before` and `after` hold the definitions of the affected apps and pods (None: absent), `groups` those that came, went
    or got other dependencies: enough to undo it.
    """

    id: str
    version: str
    steps: tuple[Step, ...]
    before: Mapping[str, Json | None] = field(default_factory=dict)
    after: Mapping[str, Json | None] = field(default_factory=dict)
    groups: Mapping[str, GroupChange] = field(default_factory=dict)

    @property
    def affected(self) -> frozenset[str]:
        return frozenset(a.app_id for step in self.steps for a in step)

    def affected_in_order(self, *, pods: bool) -> list[str]:
        return list(dict.fromkeys(a.app_id for step in self.steps for a in step if a.pod is pods))

    def json(self) -> Json:
        """The plan as events show it (light since 1.8: no original, no target)."""
        return {"id": self.id, "steps": steps_json(self.steps), "version": self.version}

    def dump(self) -> Json:
        """For storage."""
        return {
            "id": self.id,
            "version": self.version,
            "steps": [[{"kind": a.kind.value, "app": a.app_id, "pod": a.pod, "kill": list(a.kill)} for a in step] for step in self.steps],
            "before": dict(self.before),
            "after": dict(self.after),
            "groups": {i: [change.before, change.after] for i, change in self.groups.items()},
        }

    @classmethod
    def load(cls, saved: Json) -> Plan:
        steps = tuple(
            tuple(Action(kind=ActionKind(a["kind"]), app_id=a["app"], pod=a["pod"], kill=tuple(a["kill"])) for a in step)
            for step in saved["steps"]
        )
        return cls(
            id=saved["id"],
            version=saved["version"],
            steps=steps,
            before=saved["before"],
            after=saved["after"],
            groups={i: GroupChange(before=_ids(before), after=_ids(after)) for i, (before, after) in saved["groups"].items()},
        )


def _ids(saved: list[str] | None) -> tuple[str, ...] | None:
    return None if saved is None else tuple(saved)


def steps_json(steps: Collection[Step]) -> list[Json]:
    """Steps as deployments and dry runs show them."""
    return [{"actions": [a.json() for a in step]} for step in steps]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What two roots differ in. Definitions by id; None where one side has none."""

    specs: Mapping[str, tuple[Json | None, Json | None]]
    groups: Mapping[str, tuple[Group | None, Group | None]]


def difference(old: Group, new: Group) -> Difference:
    """Compares two roots. Subtrees that are the same object are skipped, so that an update costs what it touches."""
    specs: dict[str, tuple[Json | None, Json | None]] = {}
    groups: dict[str, tuple[Group | None, Group | None]] = {}
    stack: list[tuple[Group | None, Group | None]] = [(old, new)]
    while stack:
        before, after = stack.pop()
        if before is after:
            continue
        either = after or before
        assert either is not None  # noqa: S101 - the pair is never empty
        groups[either.id] = (before, after)
        for name in ("apps", "pods"):
            _pairs(getattr(before, name, {}), getattr(after, name, {}), specs)
        ids = dict.fromkeys([*(before.groups if before else ()), *(after.groups if after else ())])
        stack += [(before.groups.get(i) if before else None, after.groups.get(i) if after else None) for i in reversed(list(ids))]
    return Difference(specs=specs, groups=groups)


def _pairs(before: Mapping[str, Json], after: Mapping[str, Json], found: dict[str, tuple[Json | None, Json | None]]) -> None:
    if before is after:
        return
    for key, value in before.items():
        other = after.get(key)
        if other is not value and other != value:
            found[key] = (value, other)
    for key, value in after.items():
        if key not in before:
            found[key] = (found.get(key, (None, None))[0], value)


def make_plan(
    *, plan_id: str, version: str, old: Group, new: Group, change: Difference, kill: Mapping[str, Collection[str]] | None = None
) -> Plan:
    """The plan from `old` to `new`. `kill` adds a scale action for its apps even when their count stays."""
    kill = kill or {}
    stop: list[Action] = []
    start: list[Action] = []
    work: dict[str, Action] = {}
    for app_id, (before, after) in change.specs.items():
        if after is None:
            stop.append(Action(kind=ActionKind.STOP, app_id=app_id, pod=is_pod(before or {})))
            continue
        pod = is_pod(after)
        if before is None:
            start.append(Action(kind=ActionKind.START, app_id=app_id, pod=pod))
            work[app_id] = Action(kind=ActionKind.SCALE, app_id=app_id, pod=pod)
        elif (kind := change_kind(before, after)) is not None:
            work[app_id] = Action(kind=kind, app_id=app_id, pod=pod, kill=tuple(kill.get(app_id, ())))
    for app_id, tasks in kill.items():
        if tasks and app_id not in work and (definition := find(new, app_id)) is not None:
            work[app_id] = Action(kind=ActionKind.SCALE, app_id=app_id, pod=is_pod(definition), kill=tuple(tasks))
    depths = _depths(new, work)
    steps: list[Step] = [tuple(stop), tuple(start)]
    steps += [tuple(a for i, a in work.items() if depths[i] == depth) for depth in sorted(set(depths.values()))]
    affected = {a.app_id for step in steps for a in step}
    return Plan(
        id=plan_id,
        version=version,
        steps=tuple(step for step in steps if step),
        before={i: pair[0] if (pair := change.specs.get(i)) else find(old, i) for i in affected},
        after={i: pair[1] if (pair := change.specs.get(i)) else find(new, i) for i in affected},
        groups={i: c for i, pair in change.groups.items() if (c := _group_change(*pair)).before != c.after},
    )


def _group_change(before: Group | None, after: Group | None) -> GroupChange:
    return GroupChange(
        before=None if before is None else before.dependencies,
        after=None if after is None else after.dependencies,
    )


_VERSIONS = ("version", "versionInfo")
_NOT_A_CHANGE = (*_VERSIONS, "instances", "scaling", "executorResources")


def change_kind(before: Json, after: Json) -> ActionKind | None:
    """What an update of one definition asks for; None when nothing has to be done.

    A target of zero instances is always a scale, never a restart. A restart request changes nothing but the version info.
    """
    scaled = wanted_instances(before) != wanted_instances(after)
    if "versionInfo" in before or "versionInfo" in after:
        changed = config_version(before) != config_version(after)
    else:
        changed = _stripped(before) != _stripped(after) or (before["version"] != after["version"] and not scaled)
    if not changed:
        return ActionKind.SCALE if scaled else None
    return ActionKind.RESTART if wanted_instances(after) > 0 else ActionKind.SCALE


def _stripped(definition: Json) -> dict[str, Any]:
    return {k: v for k, v in definition.items() if k not in _NOT_A_CHANGE}


def find_group(root: Group, group_id: str) -> Group | None:
    """The group of that id, None when there is none."""
    if group_id == "/":
        return root
    path, group = "", root
    for segment in group_id.strip("/").split("/"):
        path += "/" + segment
        child = group.groups.get(path)
        if child is None:
            return None
        group = child
    return group


def find(root: Group, app_id: str) -> Json | None:
    """The definition of an app or pod."""
    group = find_group(root, parent(app_id))
    if group is None:
        return None
    return group.apps.get(app_id) or group.pods.get(app_id)


def all_specs(group: Group) -> Iterator[Json]:
    """Every app and pod below a group."""
    stack = [group]
    while stack:
        here = stack.pop()
        yield from here.apps.values()
        yield from here.pods.values()
        stack += reversed(list(here.groups.values()))


def _dependencies(root: Group, app_id: str) -> set[str]:
    """Apps that must be there before this one: its own dependencies, which name apps or groups, and those of the groups around it, which
    name groups. A group stands for its apps. Pods neither wait nor are waited for.
    """
    definition = find(root, app_id)
    if definition is None or is_pod(definition):
        return set()
    found: set[str] = set()
    groups: set[str] = set()
    for name in definition.get("dependencies", ()):
        other = find(root, name)
        if other is not None and not is_pod(other):
            found.add(name)
        else:
            groups.add(name)
    group_id = parent(app_id)
    while group_id != "/":
        around = find_group(root, group_id)
        if around is not None:
            groups |= set(around.dependencies)
        group_id = parent(group_id)
    for name in groups:
        if (group := find_group(root, name)) is not None:
            found |= {str(spec["id"]) for spec in all_specs(group) if not is_pod(spec)}
    found.discard(app_id)
    return found


def _depths(root: Group, wanted: Collection[str]) -> dict[str, int]:
    """Length of the longest chain of dependencies under each app. Cycles are refused by validation; one that slips in counts once."""
    known: dict[str, int] = {}
    for start in wanted:
        stack: list[tuple[str, bool]] = [(start, False)]
        open_: set[str] = set()
        while stack:
            app_id, done = stack.pop()
            if done:
                open_.discard(app_id)
                known[app_id] = 1 + max((known.get(d, 0) for d in _dependencies(root, app_id)), default=0)
            elif app_id not in known and app_id not in open_:
                open_.add(app_id)
                stack.append((app_id, True))
                stack += [(d, False) for d in _dependencies(root, app_id)]
    return {i: known[i] for i in wanted}

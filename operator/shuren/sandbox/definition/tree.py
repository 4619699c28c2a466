"""The group tree: look-ups, and edits that return a new root. Every edit gives all groups the new version, as Marathon's does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from enum import Enum
from typing import Any

from shuren.sandbox.contract import Group

from . import paths

Json = dict[str, Any]


class Kind(Enum):
    """What a group holds besides groups."""

    APPS = "apps"
    PODS = "pods"


def new_group(group_id: str, version: str) -> Group:
    """An empty group."""
    return Group(id=group_id, version=version)


def with_roles(root: Group, *, enforce: bool) -> Group:
    """The root in which every top-level group says whether it enforces its role: `enforce` for those that do not yet."""
    new = {key: replace(group, enforce_role=enforce) for key, group in root.groups.items() if group.enforce_role is None}
    return replace(root, groups={**root.groups, **new}) if new else root


def find(root: Group, group_id: str) -> Group | None:
    """The group with that absolute id."""
    group: Group | None = root
    path = ""
    for part in paths.segments(group_id):
        path += "/" + part
        group = group.groups.get(path) if group is not None else None
    return group


def app(root: Group, app_id: str) -> Json | None:
    """The app with that absolute id."""
    group = find(root, paths.parent(app_id))
    return None if group is None else group.apps.get(app_id)


def pod(root: Group, pod_id: str) -> Json | None:
    """The pod with that absolute id."""
    group = find(root, paths.parent(pod_id))
    return None if group is None else group.pods.get(pod_id)


def spec(root: Group, spec_id: str) -> Json | None:
    """The app or pod with that absolute id."""
    return app(root, spec_id) or pod(root, spec_id)


def walk(group: Group) -> Iterator[Group]:
    """The group and all below it, parents first."""
    yield group
    for child in group.groups.values():
        yield from walk(child)


def all_apps(group: Group) -> dict[str, Json]:
    """All apps of the group and below, by id."""
    return {app_id: definition for member in walk(group) for app_id, definition in member.apps.items()}


def all_pods(group: Group) -> dict[str, Json]:
    """All pods of the group and below, by id."""
    return {pod_id: definition for member in walk(group) for pod_id, definition in member.pods.items()}


def descendants(group: Group) -> list[Group]:
    """The groups below, in the order in which error paths count them: children by id, then theirs."""
    children = [group.groups[key] for key in sorted(group.groups)]
    return children + [grandchild for child in children for grandchild in descendants(child)]


def is_bare(group: Group) -> bool:
    """Whether neither the group nor any below has apps or pods."""
    return not any(member.apps or member.pods for member in walk(group))


def stamped(group: Group, version: str) -> Group:
    """The group with all below it at one version."""
    if not group.groups:
        return group if group.version == version else replace(group, version=version)
    return replace(group, version=version, groups={key: stamped(child, version) for key, child in group.groups.items()})


def put_group(root: Group, group: Group, version: str) -> Group:
    """Add or replace a group; missing parents come into being."""
    result = group
    for parent_id in paths.ancestors(group.id):
        parent = find(root, parent_id) or new_group(parent_id, version)
        result = replace(parent, groups={**parent.groups, result.id: result})
    return stamped(result, version)


def remove_group(root: Group, group_id: str, version: str) -> Group:
    """Take a group out; a root without it is only stamped."""
    parent = find(root, paths.parent(group_id))
    if parent is None or group_id not in parent.groups:
        return stamped(root, version)
    left = {key: child for key, child in parent.groups.items() if key != group_id}
    return put_group(root, replace(parent, groups=left), version)


def _room_for(group: Group, spec_id: str) -> Mapping[str, Group]:
    """Child groups without an empty one of the same id: it silently gives way."""
    clash = group.groups.get(spec_id)
    if clash is None or not is_bare(clash):
        return group.groups
    return {key: child for key, child in group.groups.items() if key != spec_id}


def put_app(root: Group, definition: Json, version: str) -> Group:
    """Add or replace an app."""
    app_id = definition["id"]
    group = find(root, paths.parent(app_id)) or new_group(paths.parent(app_id), version)
    return put_group(root, replace(group, apps={**group.apps, app_id: definition}, groups=_room_for(group, app_id)), version)


def put_pod(root: Group, definition: Json, version: str) -> Group:
    """Add or replace a pod."""
    pod_id = definition["id"]
    group = find(root, paths.parent(pod_id)) or new_group(paths.parent(pod_id), version)
    return put_group(root, replace(group, pods={**group.pods, pod_id: definition}, groups=_room_for(group, pod_id)), version)


def remove_app(root: Group, app_id: str, version: str) -> Group:
    """Take an app out; its group stays, even when empty."""
    group = find(root, paths.parent(app_id))
    if group is None or app_id not in group.apps:
        return stamped(root, version)
    return put_group(root, replace(group, apps={key: value for key, value in group.apps.items() if key != app_id}), version)


def remove_pod(root: Group, pod_id: str, version: str) -> Group:
    """Take a pod out; its group stays, even when empty."""
    group = find(root, paths.parent(pod_id))
    if group is None or pod_id not in group.pods:
        return stamped(root, version)
    return put_group(root, replace(group, pods={key: value for key, value in group.pods.items() if key != pod_id}), version)


def map_apps(group: Group, change: Callable[[Json], Json]) -> Group:
    """Every app of the group and below through a function; parts in which nothing changed keep their identity."""
    apps = {key: change(value) for key, value in group.apps.items()}
    groups = {key: map_apps(child, change) for key, child in group.groups.items()}
    same = all(apps[key] is group.apps[key] for key in apps) and all(groups[key] is group.groups[key] for key in groups)
    return group if same else replace(group, apps=apps, groups=groups)


def _members(group: Group | None, kind: Kind) -> Mapping[str, Json]:
    if group is None:
        return {}
    return group.apps if kind is Kind.APPS else group.pods


def changed(old: Group | None, new: Group, kind: Kind) -> Iterator[tuple[Json | None, Json]]:
    """Every app (or pod) of the new tree that is not the very one of the old, with what it was. What did not change is passed by."""
    before, after = _members(old, kind), _members(new, kind)
    if before is not after:
        yield from ((before.get(key), spec) for key, spec in after.items() if before.get(key) is not spec)
    for key, child in new.groups.items():
        yield from changed(old.groups.get(key) if old is not None else None, child, kind)


def map_changed(old: Group | None, new: Group, kind: Kind, change: Callable[[Json | None, Json], Json]) -> Group:
    """Every app (or pod) that is not the very one of the old tree through a function of the old and the new one.

    What a change did not touch costs next to nothing, so that writing one app does not cost with the size of the estate.
    """
    before, after = _members(old, kind), _members(new, kind)
    if before is not after:
        after = {key: spec if before.get(key) is spec else change(before.get(key), spec) for key, spec in after.items()}
    groups = {key: map_changed(old.groups.get(key) if old is not None else None, child, kind, change) for key, child in new.groups.items()}
    return replace(new, groups=groups, apps=after) if kind is Kind.APPS else replace(new, groups=groups, pods=after)

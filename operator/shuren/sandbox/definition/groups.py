"""Group updates: a tree of groups and apps as a request gives it, laid over the tree that is there."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from shuren.sandbox.contract import Group, Settings

from . import app_shape, apps, normalise, paths, tree
from .errors import Violation, not_valid, refused
from .shape import INT32, Bool, Double, Items, Lazy, Obj, Text, Timestamp, optional

Json = dict[str, Any]


def _update_shape() -> Obj:
    return GROUP_UPDATE


GROUP_UPDATE = Obj(
    (
        optional("id", app_shape.PATH_ID),
        optional("apps", Items(of=app_shape.APP)),
        optional("groups", Items(of=Lazy(_update_shape))),
        optional("dependencies", Items(of=Text(), unique=True)),
        optional("scaleBy", Double(minimum=0)),
        optional("version", Timestamp()),
        optional("enforceRole", Bool()),
    )
)
GROUP_PARTIAL_UPDATE = Obj((optional("enforceRole", Bool()),))
_KEEPS_ROLE = (
    "enforceRole cannot be modified in a request that adds, removes or modifies services; please make these changes in separate requests."
)


def require_name(group_id: str) -> None:
    """Raises a 422 for an id that is none, of a URL or of the body."""
    complaints = paths.complaints(group_id)
    if complaints:
        raise not_valid([Violation(path="/", message=complaint) for complaint in complaints])


def read(value: Any) -> Json:
    """A group update in its shape. Anything but an object says nothing."""
    update: Json = apps.read(GROUP_UPDATE, value)
    return update


def effective_path(update: Mapping[str, Any], base: str) -> str:
    """The group that is meant: the body's id against the URL's."""
    return paths.absolute(update["id"], base) if "id" in update else base


def touches_services(update: Mapping[str, Any]) -> bool:
    """Whether anything but settings of the group itself changes."""
    if any(key in update for key in ("version", "scaleBy", "apps")):
        return True
    return any(touches_services(child) for child in update.get("groups", ()))


def check(update: Json, base: str, root: Group, settings: Settings) -> None:
    """Raises a 422 for what is wrong with the places and combinations in the update; its apps are checked when they are normalised.

    `base` is what a relative id in the body hangs below: a PUT takes the group that is already meant for it (so that only absolute ids
    and none at all go with apps), a POST the group of its URL.
    """
    violations = list(_violations(update, base, "", root, settings, services=touches_services(update)))
    if violations:
        raise not_valid(violations)


def _violations(update: Json, base: str, path: str, root: Group, settings: Settings, *, services: bool) -> Iterator[Violation]:
    group_id = effective_path(update, base)
    for key in ("version", "scaleBy"):
        if key in update and len(update) > 1:
            yield Violation(path=f"{path}/{key}", message="not allowed in conjunction with other properties.")
    if update.get("enforceRole") and not _is_top(group_id):
        message = f"enforceRole can only be set for top-level groups, and {group_id} is not top-level"
        yield Violation(path=f"{path}/enforceRole", message=message)
    existing = tree.find(root, group_id) if _is_top(group_id) else None
    if services and existing is not None and existing.enforce_role != _enforces(update, settings):
        yield Violation(path=f"{path}/enforceRole", message=_KEEPS_ROLE)
    if "id" in update:
        for complaint in paths.complaints(update["id"]):
            yield Violation(path=f"{path}/id", message=complaint)
    for index, app in enumerate(update.get("apps", ())):
        if paths.parent(app["id"]) != group_id:
            yield Violation(path=f"{path}/apps({index})/id", message=f"Identifier is not child of '{group_id}'")
    for index, child in enumerate(update.get("groups", ())):
        yield from _violations(child, group_id, f"{path}/groups({index})", root, settings, services=services)


def _is_top(group_id: str) -> bool:
    return len(paths.segments(group_id)) == 1


def _enforces(update: Mapping[str, Any], settings: Settings) -> bool:
    """What an update makes of a top-level group, whatever that has said before: saying nothing means what new groups get."""
    return bool(update.get("enforceRole", settings.new_groups_enforce_role))


def normalise_apps(update: Json, group_id: str, root: Group, settings: Settings, *, version: str) -> Json:
    """The update with stored definitions in place of its apps. Errors in them carry their own paths, without the group's. What only
    scales or goes back stays as it is.
    """
    if "version" in update or "scaleBy" in update:
        return update
    own, top = paths.top_level(group_id), tree.find(root, "/" + paths.top_level(group_id))
    inherited = own if len(paths.segments(group_id)) > 1 and top is not None and top.enforce_role else settings.mesos_role
    return _normalised(update, group_id, root, settings, version=version, inherited=inherited)


def _normalised(update: Json, group_id: str, root: Group, settings: Settings, *, version: str, inherited: str) -> Json:
    """`inherited` is the role that members of a group below the top level get."""
    result = dict(update)
    role, roles = inherited, dict.fromkeys((inherited, settings.mesos_role))
    if paths.is_root(group_id):
        role, roles = settings.mesos_role, dict.fromkeys((settings.mesos_role,))
    elif _is_top(group_id):
        result["enforceRole"] = _enforces(update, settings)
        role = paths.top_level(group_id) if result["enforceRole"] else settings.mesos_role
        roles = dict.fromkeys((role,))
    for child in update.get("groups", ()):
        if "id" not in child:
            raise refused(500, "None.get")  # a real one asks the child for its name without looking
    if "groups" in update:
        result["groups"] = [
            _normalised(child, effective_path(child, group_id), root, settings, version=version, inherited=role)
            for child in update["groups"]
        ]
    if "apps" in update:
        result["apps"] = []
        for app in update["apps"]:
            at = apps.place_in_group(root, paths.absolute(app["id"], group_id), settings, role=role, roles=tuple(roles))
            result["apps"].append(normalise.to_definition(apps.normalised(app, at, base=group_id), version=version))
    return result


def apply(root: Group, group_id: str, update: Json, now: str) -> Group:
    """The new root after a structural update with normalised apps. What the update does not mention stays; pods always do."""
    current = tree.find(root, group_id) or tree.new_group(group_id, now)
    return tree.put_group(root, _merged(current, update, now), now)


def _merged(current: Group, update: Json, now: str) -> Group:
    apps_now = current.apps
    if "apps" in update:
        apps_now = {app["id"]: app for app in update["apps"]}
    groups = dict(current.groups)
    if "groups" in update:
        groups = {}
        for child in update["groups"]:
            child_id = effective_path(child, current.id)
            groups[child_id] = _merged(current.groups.get(child_id) or tree.new_group(child_id, now), child, now)
    groups = {key: child for key, child in groups.items() if not (key in apps_now and tree.is_bare(child))}
    depends = current.dependencies
    if "dependencies" in update:
        depends = tuple(dict.fromkeys(paths.absolute(dependency, current.id) for dependency in update["dependencies"]))
    role = update.get("enforceRole", current.enforce_role) if _is_top(current.id) else None
    return replace(current, version=now, apps=apps_now, groups=groups, dependencies=depends, enforce_role=role)


def touched(root: Group, group_id: str, update: Json, now: str) -> Group:
    """The same root with every app of the mentioned groups as a new version: so a dry run plans them, changed or not."""
    group = tree.find(root, group_id)
    if group is None:
        return root
    fresh = {
        key: app | {"version": now, "versionInfo": {"lastScalingAt": now, "lastConfigChangeAt": now}} for key, app in group.apps.items()
    }
    root = tree.put_group(root, replace(group, apps=fresh), now)
    for child in update.get("groups", ()):
        root = touched(root, effective_path(child, group_id), child, now)
    return root


def _scaled(instances: int, factor: float) -> int:
    """Rounded up; what passes 32 bits stays at their end, and nothing times infinity is nothing, as in Java's conversion of doubles."""
    return math.ceil(min(instances * factor, INT32[1])) if instances else 0


def scale(root: Group, group_id: str, factor: float, now: str) -> Group:
    """Every app of the group and below times a factor, rounded up. An unknown group changes nothing."""
    group = tree.find(root, group_id)
    if group is None:
        return tree.stamped(root, now)
    times: Callable[[Json], Json] = lambda app: app | {"instances": _scaled(app["instances"], factor)}  # noqa: E731
    return tree.put_group(root, tree.map_apps(group, times), now)

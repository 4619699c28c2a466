"""Changes of the root group, ready for the engine: each is a function of the root as it stands and the time, and stamps what it changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from shuren.sandbox.contract import Change, Group, Settings

from . import apps, groups, paths, pods, root_rules, service_ports, tree, versions
from .errors import refused

Json = dict[str, Any]
History = Callable[[str, str], Json | None]
"""(app id, version) -> the definition at that version."""


def finished(old: Group, new: Group, now: str, settings: Settings) -> Group:
    """A changed root with service ports and versions, checked as a whole."""
    roled = tree.with_roles(new, enforce=settings.new_groups_enforce_role)
    ported = service_ports.assign(old, roled, low=settings.local_port_min, high=settings.local_port_max)
    stamped = versions.stamp_all(old, ported, now)
    root_rules.check(old, stamped)
    return stamped


def _change(settings: Settings, edit: Callable[[Group, str], Group]) -> Change:
    return lambda root, now: finished(root, edit(root, now), now, settings)


# -------------------------------------------------------------------------------------------------- apps


def create_app(definition: Json, settings: Settings) -> Change:
    """A new app; a 409 when there is one of that id."""

    def edit(root: Group, now: str) -> Group:
        if tree.app(root, definition["id"]) is not None:
            raise refused(409, f"An app with id [{definition['id']}] already exists.")
        return tree.put_app(root, definition, now)

    return _change(settings, edit)


def replace_app(app_id: str, app: Json, settings: Settings, *, force: bool = False) -> Change:
    """A whole app in place of what was there, if anything."""

    def edit(root: Group, now: str) -> Group:
        return tree.put_app(root, apps.created(app, apps.place(root, app_id, settings, force=force), version=now), now)

    return _change(settings, edit)


def update_app(app_id: str, update: Json, settings: Settings, history: History, *, force: bool = False) -> Change:
    """A partial update, or a way back to an older version. A 404 when the app (or its version) is not there."""

    def edit(root: Group, now: str) -> Group:
        current = tree.app(root, app_id)
        if current is None:
            raise apps.missing(app_id)
        return tree.put_app(root, _updated(update, current, apps.place(root, current["id"], settings, force=force), now, history), now)

    return _change(settings, edit)


def _updated(update: Json, current: Json, at: apps.Place, now: str, history: History) -> Json:
    if "version" in update:
        old = history(current["id"], update["version"])
        if old is None:
            raise apps.missing(current["id"])
        return old
    return apps.merged(update, current, at, version=now)


def update_apps(updates: Iterable[tuple[str, Json]], settings: Settings, history: History, *, create: bool, force: bool = False) -> Change:
    """Several partial updates at once; unknown apps are created, or refused with a 404."""
    pairs = tuple(updates)

    def edit(root: Group, now: str) -> Group:
        for app_id, update in pairs:
            current = tree.app(root, app_id)
            if current is not None:
                root = tree.put_app(
                    root, _updated(update, current, apps.place(root, current["id"], settings, force=force), now, history), now
                )
            elif create:
                at = apps.place(root, app_id, settings, force=force)
                root = tree.put_app(root, apps.from_partial(update, app_id, at, version=now), now)
            else:
                raise apps.missing(app_id)
        return tree.stamped(root, now)

    return _change(settings, edit)


def replace_apps(wholes: Iterable[tuple[str, Json]], settings: Settings, *, force: bool = False) -> Change:
    """Several whole apps at once."""
    pairs = tuple(wholes)

    def edit(root: Group, now: str) -> Group:
        for app_id, app in pairs:
            root = tree.put_app(root, apps.created(app, apps.place(root, app_id, settings, force=force), version=now), now)
        return tree.stamped(root, now)

    return _change(settings, edit)


def delete_app(app_id: str, settings: Settings) -> Change:
    """The app goes, its group stays. A 404 when it is not there."""

    def edit(root: Group, now: str) -> Group:
        if tree.app(root, app_id) is None:
            raise apps.missing(app_id)
        return tree.remove_app(root, app_id, now)

    return _change(settings, edit)


def restart_app(app_id: str, settings: Settings) -> Change:
    """The same app as a new configuration. A 404 when it is not there."""

    def edit(root: Group, now: str) -> Group:
        current = tree.app(root, app_id)
        if current is None:
            raise apps.missing(app_id)
        return tree.put_app(root, versions.marked_for_restart(current), now)

    return _change(settings, edit)


def scale_down(counts: Mapping[str, int], settings: Settings) -> Change:
    """Fewer instances by these numbers, not below zero: the definition's side of kill-and-scale."""

    def edit(root: Group, now: str) -> Group:
        for spec_id, count in counts.items():
            app, pod = tree.app(root, spec_id), tree.pod(root, spec_id)
            if app is not None:
                root = tree.put_app(root, app | {"instances": max(0, app["instances"] - count)}, now)
            elif pod is not None:
                left = max(0, pod["scaling"]["instances"] - count)
                root = tree.put_pod(root, pod | {"scaling": {"kind": "fixed", "instances": left}}, now)
        return tree.stamped(root, now)

    return _change(settings, edit)


# -------------------------------------------------------------------------------------------------- groups


def _group_edit(
    group_id: str, update: Json, settings: Settings, at_version: Callable[[str, str], Group | None]
) -> Callable[[Group, str], Group]:
    def edit(root: Group, now: str) -> Group:
        if "version" in update:
            old = at_version(group_id, update["version"])
            if old is None:
                raise refused(422, f"Group {group_id} not available in version {update['version']}")
            return tree.put_group(root, old, now)
        if "scaleBy" in update:
            return groups.scale(root, group_id, update["scaleBy"], now)
        fresh = groups.normalise_apps(update, group_id, root, settings, version=now)
        return groups.apply(root, group_id, fresh, now)

    return edit


def update_group(group_id: str, update: Json, settings: Settings, at_version: Callable[[str, str], Group | None]) -> Change:
    """A structural update, a scale of all apps, or a way back to an older version."""
    return _change(settings, _group_edit(group_id, update, settings, at_version))


def plan_group(group_id: str, update: Json, settings: Settings, at_version: Callable[[str, str], Group | None]) -> Change:
    """The root of a dry run: without ports and checks of the whole, and with every mentioned app as a new version."""
    edit = _group_edit(group_id, update, settings, at_version)
    if "version" in update or "scaleBy" in update:
        return lambda root, now: versions.stamp_all(root, edit(root, now), now)
    return lambda root, now: groups.touched(versions.stamp_all(root, edit(root, now), now), group_id, update, now)


def create_group(group_id: str, update: Json, settings: Settings) -> Change:
    """A new group; a 409 when a group or app of that id is there."""

    def edit(root: Group, now: str) -> Group:
        if tree.find(root, group_id) is not None:
            raise refused(409, f"Group {group_id} is already created. Use PUT to change this group.")
        if tree.app(root, group_id) is not None:
            raise refused(409, f"An app with the path {group_id} already exists.")
        return groups.apply(root, group_id, groups.normalise_apps(update, group_id, root, settings, version=now), now)

    return _change(settings, edit)


def delete_group(group_id: str, settings: Settings) -> Change:
    """The group goes with all below; the root is emptied instead. An unknown group changes nothing."""

    def edit(root: Group, now: str) -> Group:
        if paths.is_root(group_id):
            return Group(id="/", version=now)
        return tree.remove_group(root, group_id, now)

    return _change(settings, edit)


def enforce_role(group_id: str, *, enforce: bool) -> Change:
    """Whether a top-level group's members must have its role. An unknown group changes nothing, and no version moves."""

    def change(root: Group, now: str) -> Group:
        group = tree.find(root, group_id)
        del now
        return root if group is None else replace(root, groups={**root.groups, group_id: replace(group, enforce_role=enforce)})

    return change


# -------------------------------------------------------------------------------------------------- pods


def create_pod(definition: Json, settings: Settings) -> Change:
    """A new pod; a 409 when there is one of that id."""

    def edit(root: Group, now: str) -> Group:
        if tree.pod(root, definition["id"]) is not None:
            raise refused(409, f"A pod with id [{definition['id']}] already exists.")
        return tree.put_pod(root, definition | {"version": now}, now)

    return _change(settings, edit)


def replace_pod(pod_id: str, pod: Json, settings: Settings, *, force: bool = False) -> Change:
    """A pod in place of what was there, if anything."""

    def edit(root: Group, now: str) -> Group:
        return tree.put_pod(root, pods.define(pod, apps.place(root, pod_id, settings, force=force), version=now), now)

    return _change(settings, edit)


def delete_pod(pod_id: str, settings: Settings) -> Change:
    """The pod goes, its group stays."""
    return _change(settings, lambda root, now: tree.remove_pod(root, pod_id, now))


def missing_pod(pod_id: str) -> Exception:
    """404 of a pod."""
    return refused(404, f"Pod '{pod_id}' does not exist", details=True)

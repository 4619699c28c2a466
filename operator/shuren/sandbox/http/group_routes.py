"""`/v2/groups`: reads with `embed`, versions, and the updates of whole trees."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from aiohttp import web

from shuren.sandbox.definition import apps, changes, groups, paths, timestamps, tree
from shuren.sandbox.definition.errors import Violation, not_valid, refused

from .answers import deployed, json_answer
from .app_info import app_embeds, app_info, group_embeds, group_info

if TYPE_CHECKING:
    from shuren.sandbox.contract import Group
    from shuren.sandbox.definition.errors import ApiError

    from .call import Call

_VERSION = re.compile(r"(?:(.+)/)?versions/(.+)")
_VERSIONS = re.compile(r"(?:(.+)/)?versions")
_APPS = re.compile(r"(?:(.+)/)?apps")


def _missing(group_id: str) -> ApiError:
    return refused(404, f"Group '{group_id}' does not exist", details=True)


def _group_id(call: Call) -> str:
    return paths.absolute(call.args[0] if call.args else "/")


async def show_group(call: Call) -> web.StreamResponse:
    """GET of a group, of its apps, its versions, or itself at one of them."""
    name = (call.args[0] if call.args else "").strip("/")
    names = call.values("embed")
    if (found := _APPS.fullmatch(name)) is not None:
        group = tree.find(call.root, paths.absolute(found[1] or "/"))
        embeds = app_embeds(names)
        return json_answer([app_info(call.engine, app, embeds) for app in tree.all_apps(group).values()] if group is not None else [])
    if (found := _VERSION.fullmatch(name)) is not None:
        return _show_version(call, paths.absolute(found[1] or "/"), found[2])
    if (found := _VERSIONS.fullmatch(name)) is not None:
        return _list_versions(call, paths.absolute(found[1] or "/"))
    group_id = paths.absolute(name)
    group = tree.find(call.root, group_id)
    if group is None:
        raise _missing(group_id)
    return json_answer(group_info(call.engine, group, group_embeds(names), app_embeds(n for n in names if n.startswith("group.apps."))))


def _show_version(call: Call, group_id: str, version: str) -> web.StreamResponse:
    group = call.engine.group_at(group_id, timestamps.parse(version))
    if group is None:
        raise _missing(group_id)
    return json_answer(group_info(call.engine, group, group_embeds(call.values("embed")), frozenset()))


def _list_versions(call: Call, group_id: str) -> web.StreamResponse:
    if tree.find(call.root, group_id) is None:
        raise _missing(group_id)
    return json_answer(call.engine.group_versions(group_id))


async def _update_of(call: Call, base: str) -> tuple[dict[str, Any], str]:
    """The update in a body and the group that is meant. Both ids are looked at before anything else."""
    groups.require_name(base)
    update = groups.read(await call.json())
    if "id" in update:
        groups.require_name(update["id"])
    return update, groups.effective_path(update, base)


async def create_group(call: Call) -> web.StreamResponse:
    """POST: a group that is not there yet."""
    base = _group_id(call)
    update, group_id = await _update_of(call, base)
    normalised = groups.normalise_apps(update, group_id, call.root, call.settings, version="")
    groups.check(normalised, base, call.root, call.settings)
    change = changes.create_group(group_id, update, call.settings)
    return deployed(
        await call.engine.update(change, force=call.force, group_id=paths.parent(group_id)), status=201, location=call.url(group_id)
    )


async def put_group(call: Call) -> web.StreamResponse:
    """PUT: structure, version or scale of a group; only planned with `dryRun`."""
    base = _group_id(call)
    update, group_id = await _update_of(call, base)
    normalised = groups.normalise_apps(update, group_id, call.root, call.settings, version="")
    groups.check(normalised, group_id, call.root, call.settings)
    if "version" in update:
        update = update | {"version": timestamps.parse(update["version"])}
    if call.flag("dryRun"):
        return json_answer(call.engine.dry_run(changes.plan_group(group_id, update, call.settings, _history(call))))
    change = changes.update_group(group_id, update, call.settings, _history(call))
    return deployed(await call.engine.update(change, force=call.force, group_id=paths.parent(group_id)))


def _history(call: Call) -> Any:
    def at(group_id: str, version: str) -> Group | None:
        return call.engine.group_at(group_id, version)

    return at


async def patch_group(call: Call) -> web.StreamResponse:
    """PATCH of a top-level group: only `enforceRole`, without a deployment and without an answer."""
    group_id = _group_id(call)
    update = apps.read(groups.GROUP_PARTIAL_UPDATE, await call.json())
    if len(paths.segments(group_id)) != 1:
        raise not_valid([Violation(path="/", message="Path needs to be top-level")])
    await call.engine.patch(changes.enforce_role(group_id, enforce=bool(update.get("enforceRole", call.settings.new_groups_enforce_role))))
    return web.Response(status=200)


async def delete_group(call: Call) -> web.StreamResponse:
    """DELETE of a group with all below, or of everything."""
    group_id = _group_id(call)
    change = changes.delete_group(group_id, call.settings)
    return deployed(await call.engine.update(change, force=call.force, group_id=paths.parent(group_id)))

"""`/v2/apps`: list, create, read, update, delete, restart, versions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from shuren.sandbox.definition import app_shape, apps, changes, paths, selectors, timestamps, tree
from shuren.sandbox.definition.errors import refused
from shuren.sandbox.definition.shape import Items

from .answers import deployed, json_answer, raw_json_answer
from .app_info import ALWAYS_ALONE, ALWAYS_IN_LISTS, additions, app_embeds, app_info

if TYPE_CHECKING:
    from aiohttp import web

    from .call import Call

Json = dict[str, Any]


def _plain(value: Any) -> Any:
    """Numbers as events print them: whole ones without a fraction."""
    match value:
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case float() if value.is_integer():
            return int(value)
        case float() if math.isinf(value):
            return "Infinity"
        case _:
            return value


def _post_event(call: Call, definition: Json) -> None:
    payload = {"clientIp": call.remote, "uri": call.request.path, "appDefinition": _plain(definition)}
    call.engine.publish("api_post_event", payload)


async def list_apps(call: Call) -> web.StreamResponse:
    """GET /v2/apps with its filters."""
    query = call.request.query
    command, part, selector = query.get("cmd"), query.get("id"), query.get("label")
    chosen = selectors.parse(selector) if selector is not None else None
    embeds = app_embeds(call.values("embed")) | ALWAYS_IN_LISTS
    found = []
    for app_id, app in tree.all_apps(call.root).items():
        if command is not None and ("cmd" not in app or command.lower() not in app["cmd"].lower()):
            continue
        if part is not None and part.lower() not in app_id.lower():
            continue
        if chosen is not None and not chosen(app["labels"]):
            continue
        found.append((app, additions(call.engine, app_id, embeds)))
    return raw_json_answer(call.pieces.list("apps", found))


async def create_app(call: Call) -> web.StreamResponse:
    """POST /v2/apps. The answer shows the app before service ports are assigned."""
    app = apps.from_request(await call.json())
    app_id = paths.absolute(app["id"])
    at = apps.place(call.root, app_id, call.settings)
    definition = apps.define(apps.normalised(app, at), at, version="")
    started = await call.engine.update(changes.create_app(definition, call.settings), force=call.force, group_id=paths.parent(app_id))
    definition = definition | {"version": started.version}
    _post_event(call, definition)
    counts = dict.fromkeys(("tasksStaged", "tasksRunning", "tasksHealthy", "tasksUnhealthy"), 0)
    body = definition | counts | {"deployments": [{"id": started.deployment_id}]}
    headers = {"Location": call.url(app_id), "Marathon-Deployment-Id": started.deployment_id}
    return json_answer(body, status=201, headers=headers)


async def show_app(call: Call) -> web.StreamResponse:
    """GET /v2/apps/{id}, or of all apps of a group with `/*` at the end."""
    embeds = app_embeds(call.values("embed")) | ALWAYS_ALONE
    if call.args[0] == "*" or call.args[0].endswith("/*"):
        group = group_of_star(call)
        return json_answer({"*": [app_info(call.engine, app, embeds) for app in tree.all_apps(group).values()]})
    app_id = paths.absolute(call.args[0])
    app = tree.app(call.root, app_id)
    if app is None:
        raise apps.missing(app_id, details=True)
    return json_answer({"app": app_info(call.engine, app, embeds)})


def group_of_star(call: Call) -> Any:
    """The group that `{group}/*` means; a 404 when it is not there."""
    group_id = paths.absolute(call.args[0].removesuffix("*"))
    group = tree.find(call.root, group_id)
    if group is None:
        raise refused(404, f"Group '{group_id}' does not exist", details=True)
    return group


async def put_app(call: Call) -> web.StreamResponse:
    """PUT /v2/apps/{id}: partial unless `partialUpdate=false`; creates what is not there."""
    return await _update(call, partial=call.flag("partialUpdate", default=True), create=True)


async def patch_app(call: Call) -> web.StreamResponse:
    """PATCH /v2/apps/{id}: partial, never creates."""
    return await _update(call, partial=True, create=False)


async def _update(call: Call, *, partial: bool, create: bool) -> web.StreamResponse:
    app_id = paths.absolute(call.args[0])
    value = await call.json()
    at = apps.place(call.root, app_id, call.settings, force=call.force)
    existing = tree.app(call.root, app_id)
    if existing is not None and partial:
        update = apps.update_from_request(value, at)
        if "version" in update:
            update = {"version": timestamps.parse(update["version"])}
        else:
            apps.merged(update, existing, at, version="")
        change = changes.update_app(app_id, update, call.settings, call.engine.app_at, force=call.force)
    else:
        whole = apps.replacement(value, app_id)
        apps.normalised(whole, at)
        if existing is None and not create:
            raise apps.missing(app_id)
        change = changes.replace_app(app_id, whole, call.settings, force=call.force)
    started = await call.engine.update(change, force=call.force, group_id=paths.parent(app_id))
    final = tree.app(call.root, app_id)
    if final is not None:
        _post_event(call, final)
    if existing is None:
        return deployed(started, status=201, location=call.url(app_id))
    return deployed(started)


async def put_apps(call: Call) -> web.StreamResponse:
    """PUT /v2/apps: several apps, one deployment."""
    if call.flag("partialUpdate", default=True):
        return await _update_several(call, create=True)
    wholes = []
    for app in apps.read(Items(of=app_shape.APP), await call.json()):
        app_id = paths.absolute(app["id"])
        apps.normalised(app, apps.place(call.root, app_id, call.settings))
        wholes.append((app_id, apps.stripped(app)))
    return deployed(await call.engine.update(changes.replace_apps(wholes, call.settings, force=call.force), force=call.force))


async def patch_apps(call: Call) -> web.StreamResponse:
    """PATCH /v2/apps: several apps, none of them new."""
    return await _update_several(call, create=False)


async def _update_several(call: Call, *, create: bool) -> web.StreamResponse:
    updates = []
    for update in apps.read(Items(of=app_shape.APP_UPDATE), await call.json()):
        if "id" not in update:
            raise refused(422, "requirement failed: App Update must have app id set")
        app_id = paths.absolute(update["id"])
        modern = apps.modern_update(update, apps.place(call.root, app_id, call.settings))
        updates.append((app_id, modern | {"version": timestamps.parse(modern["version"])} if "version" in modern else modern))
    change = changes.update_apps(updates, call.settings, call.engine.app_at, create=create, force=call.force)
    return deployed(await call.engine.update(change, force=call.force))


async def delete_app(call: Call) -> web.StreamResponse:
    """DELETE /v2/apps/{id}: forced unless `force=false`."""
    app_id = paths.absolute(call.args[0])
    force = call.flag("force", default=True)
    return deployed(await call.engine.update(changes.delete_app(app_id, call.settings), force=force, group_id=paths.parent(app_id)))


async def delete_restart(call: Call) -> web.StreamResponse:
    """DELETE /v2/apps/{id}/restart means an app of that name, which only old ones can have."""
    app_id = paths.absolute(call.args[0] + "/restart")
    force = call.flag("force", default=True)
    return deployed(await call.engine.update(changes.delete_app(app_id, call.settings), force=force, group_id=paths.parent(app_id)))


async def restart_app(call: Call) -> web.StreamResponse:
    """POST /v2/apps/{id}/restart."""
    app_id = paths.absolute(call.args[0])
    change = changes.restart_app(app_id, call.settings)
    return deployed(await call.engine.update(change, force=call.force, group_id=paths.parent(app_id)))


async def list_versions(call: Call) -> web.StreamResponse:
    """GET /v2/apps/{id}/versions: they outlive the app."""
    app_id = paths.absolute(call.args[0])
    versions = call.engine.app_versions(app_id)
    if not versions:
        raise apps.missing(app_id, details=True)
    return json_answer({"versions": versions})


async def show_version(call: Call) -> web.StreamResponse:
    """GET /v2/apps/{id}/versions/{timestamp}: the bare definition."""
    app_id, version = paths.absolute(call.args[0]), timestamps.parse(call.args[1])
    app = call.engine.app_at(app_id, version)
    if app is None:
        raise refused(404, f"App '{app_id}' does not exist in version {version}", details=True)
    return json_answer(app)

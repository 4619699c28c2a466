"""Tasks of one app or of all: lists, and the ways to kill."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from shuren.sandbox.definition import apps, changes, paths, tree
from shuren.sandbox.definition.errors import ApiError, Violation, bad_shape, refused
from shuren.sandbox.definition.shape import compact

from .answers import deployed, json_answer
from .app_info import without_service_ports
from .app_routes import group_of_star

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from aiohttp import web

    from .call import Call

Json = dict[str, Any]
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_TASK_ID = re.compile(rf"(?P<instance>.+[._](?:instance-|marathon-){_UUID})[._](?P<container>[^.]*)(?:\.\d+)?")
_OLD_TASK_ID = re.compile(rf"(?P<instance>.+[._]{_UUID})(?:\.\d+)?")


def instance_of(task_id: str) -> str | None:
    """The instance a task id belongs to, None when it is no task id."""
    found = _TASK_ID.fullmatch(task_id) or _OLD_TASK_ID.fullmatch(task_id)
    return None if found is None else found["instance"]


async def list_tasks(call: Call) -> web.StreamResponse:
    """GET /v2/tasks: of the apps that there are, not of pods, nor of what is being deleted.

    `status` (the first) and `status[]` (all) may be running or staging, anything else is ignored. The instance's condition counts: one that
    has just got its agent is not staging, whatever its task says.
    """
    conditions = {"running": "Running", "staging": "Staging"}
    wanted = {conditions[name.lower()] for name in call.values("status")[:1] + call.values("status[]") if name.lower() in conditions}
    members = set(tree.all_apps(call.root))

    def condition(task: Json) -> str:
        found = call.engine.instance(instance_of(task["id"]) or "")
        return "" if found is None else str(found["state"]["condition"])

    found = [task for task in call.engine.tasks() if task["appId"] in members and (not wanted or condition(task) in wanted)]
    return json_answer({"tasks": found})


async def list_app_tasks(call: Call) -> web.StreamResponse:
    """GET /v2/apps/{id}/tasks, also of a whole group with `/*`."""
    if call.args[0] == "*" or call.args[0].endswith("/*"):
        members = set(tree.all_apps(group_of_star(call)))
        found = [task for task in call.engine.tasks() if task["appId"] in members]
    else:
        app_id = paths.absolute(call.args[0])
        if tree.app(call.root, app_id) is None:
            raise apps.missing(app_id, details=True)
        found = call.engine.tasks(app_id)
    return json_answer({"tasks": [without_service_ports(task) for task in found]})


def _refuse_scale_and_wipe(call: Call) -> None:
    if call.flag("scale") and call.flag("wipe"):
        raise refused(400, "You cannot use scale and wipe at the same time.")


async def _scale(call: Call, tasks: Iterable[Json]) -> web.StreamResponse:
    """Kill and scale: fewer instances by the number of active ones among the tasks, and exactly those go."""
    doomed = [task for task in tasks if "stagedAt" in task]  # which only active tasks show
    chosen: dict[str, list[str]] = {}
    for task in doomed:
        chosen.setdefault(task["appId"], []).append(task["id"])
    change = changes.scale_down(Counter(task["appId"] for task in doomed), call.settings)
    return deployed(await call.engine.update(change, force=call.force, kill=chosen))


def _existing_tasks(call: Call, app_id: str, choose: Callable[[Json], bool]) -> list[Json]:
    """The chosen tasks. Kill-and-scale looks for instances and not for the app, so one without any is not there for it."""
    if call.flag("scale"):
        if not call.engine.has_instances(app_id):
            raise refused(404, f"Path '{app_id}' does not exist")
    elif tree.spec(call.root, app_id) is None:
        raise apps.missing(app_id, details=True)
    return [task for task in call.engine.tasks(app_id) if choose(task)]


async def kill_app_tasks(call: Call) -> web.StreamResponse:
    """DELETE /v2/apps/{id}/tasks, of one host or all."""
    _refuse_scale_and_wipe(call)
    host = call.request.query.get("host")
    tasks = _existing_tasks(call, paths.absolute(call.args[0]), lambda task: host is None or host in ("*", task["host"]))
    if call.flag("scale"):
        return await _scale(call, tasks)
    killed = await call.engine.kill_tasks([task["id"] for task in tasks], wipe=call.flag("wipe"))
    return json_answer({"tasks": [without_service_ports(task) for task in killed]})


async def kill_app_task(call: Call) -> web.StreamResponse:
    """DELETE /v2/apps/{id}/tasks/{task}. It is the task's instance that counts, in whatever incarnation."""
    _refuse_scale_and_wipe(call)
    task_id = call.args[1]
    instance = instance_of(task_id)
    choose: Callable[[Json], bool] = lambda task: instance is not None and instance_of(task["id"]) == instance  # noqa: E731
    tasks = _existing_tasks(call, paths.absolute(call.args[0]), choose)
    if call.flag("scale"):
        return await _scale(call, tasks)
    killed = await call.engine.kill_tasks([task["id"] for task in tasks], wipe=call.flag("wipe"))
    if not killed:
        raise refused(404, f"Task '{task_id}' does not exist", details=True)
    return json_answer({"task": without_service_ports(killed[0])})


async def kill_tasks(call: Call) -> web.StreamResponse:
    """POST /v2/tasks/delete with a list of ids; unknown ones are skipped."""
    _refuse_scale_and_wipe(call)
    instances = {_required_instance(task_id) for task_id in _ids(await call.json())}
    tasks = [task for task in call.engine.tasks() if instance_of(task["id"]) in instances]
    if call.flag("scale"):
        return await _scale(call, tasks)
    of_apps = [task["id"] for task in tasks if tree.app(call.root, task["appId"]) is not None]
    killed = await call.engine.kill_tasks(of_apps, wipe=call.flag("wipe"))
    return json_answer({"tasks": [without_service_ports(task) | {"healthCheckResults": []} for task in killed]})


def _required_instance(task_id: str) -> str:
    instance = instance_of(task_id)
    if instance is None:
        message = f"Invalid task id '{task_id}'. [taskId {task_id} no valid identifier (of class java.lang.String)]"
        raise ApiError(400, {"message": message})
    return instance


def _ids(body: Any) -> list[str]:
    """`{"ids": [...]}`, with the errors of a reader that does not say where it looked."""
    if not isinstance(body, dict) or "ids" not in body:
        kind = "object" if isinstance(body, dict) else "not an object"
        message = f"'ids' is undefined on object: {compact(body)}" if kind == "object" else f"{compact(body)} is not an object"
        raise bad_shape([Violation(path="", message=message)])
    ids = body["ids"]
    if not isinstance(ids, list):
        raise bad_shape([Violation(path="", message="error.expected.jsarray")])
    wrong = [Violation(path=f"({i})", message="error.expected.jsstring") for i, item in enumerate(ids) if not isinstance(item, str)]
    if wrong:
        raise bad_shape(wrong)
    return ids

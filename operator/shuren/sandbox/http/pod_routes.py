"""`/v2/pods`: create, read, replace, delete, status, versions, instances."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from aiohttp import web

from shuren.sandbox.definition import apps, changes, paths, pods, timestamps, tree
from shuren.sandbox.definition.errors import ApiError, Violation, not_valid, refused
from shuren.sandbox.definition.shape import Items, Text

from .answers import json_answer
from .task_routes import instance_of

if TYPE_CHECKING:
    from .call import Call

_INSTANCE_ID = re.compile(r"^(.+)\.(instance-|marathon-)([^\.]+)$")
_UUID = re.compile(r"[0-9a-f]{1,8}(-[0-9a-f]{1,4}){3}-[0-9a-f]{1,12}", re.IGNORECASE)


def _valid_id(text: str) -> str:
    pod_id = paths.absolute(text)
    complaints = paths.complaints(pod_id)
    if complaints:
        raise not_valid([Violation(path="/", message=complaint) for complaint in complaints])
    return pod_id


def _event(call: Call, kind: str) -> None:
    call.engine.publish(f"pod_{kind}_event", {"clientIp": call.remote, "uri": call.request.path})


async def list_pods(call: Call) -> web.StreamResponse:
    """GET /v2/pods."""
    return json_answer([pods.public(pod) for pod in tree.all_pods(call.root).values()])


async def can_have_pods(call: Call) -> web.StreamResponse:
    """HEAD /v2/pods: by this clients find out whether there are pods at all."""
    del call
    return web.Response()


async def create_pod(call: Call) -> web.StreamResponse:
    """POST /v2/pods."""
    pod = pods.from_request(await call.json())
    pod_id = paths.absolute(pod["id"])
    definition = pods.define(pod, apps.place(call.root, pod_id, call.settings), version="")
    started = await call.engine.update(changes.create_pod(definition, call.settings), force=call.force, group_id=paths.parent(pod_id))
    _event(call, "created")
    headers = {"Location": call.url(pod_id), "Marathon-Deployment-Id": started.deployment_id}
    return json_answer(pods.public(definition | {"version": started.version}), status=201, headers=headers)


async def show_pod(call: Call) -> web.StreamResponse:
    """GET /v2/pods/{id}. Of one that is not there the message is itself JSON text, as a real one has it."""
    pod_id = _valid_id(call.args[0])
    pod = tree.pod(call.root, pod_id)
    if pod is None:
        raise refused(404, f'{{"message": "pod with {pod_id} does not exist"}}', details=True)
    return json_answer(pods.public(pod))


async def put_pod(call: Call) -> web.StreamResponse:
    """PUT /v2/pods/{id}: always the whole pod, and of the same id."""
    pod_id = paths.absolute(call.args[0])
    pod = pods.from_request(await call.json())
    at = apps.place(call.root, pod_id, call.settings, force=call.force)
    apps.require(pods.rules(pod, at))
    if paths.absolute(pod["id"]) != pod_id:
        text = f"\n{{\"message\": \"'{pod_id}' does not match definition's id ('{pod['id']}')\" }}\n          "
        raise ApiError(400, text, headers={"Content-Type": "application/json"})
    definition = pods.define(pod, at, version="")
    change = changes.replace_pod(pod_id, pod, call.settings, force=call.force)
    started = await call.engine.update(change, force=call.force, group_id=paths.parent(pod_id))
    _event(call, "updated")
    # the version of the deployment, which a pod that has not changed does not get
    return json_answer(pods.public(definition | {"version": started.version}), headers={"Marathon-Deployment-Id": started.deployment_id})


async def delete_pod(call: Call) -> web.StreamResponse:
    """DELETE /v2/pods/{id}: accepted, without a body."""
    pod_id = _valid_id(call.args[0])
    if tree.pod(call.root, pod_id) is None:
        raise changes.missing_pod(pod_id)
    started = await call.engine.update(changes.delete_pod(pod_id, call.settings), force=call.force, group_id=paths.parent(pod_id))
    _event(call, "deleted")
    headers = {"Location": call.url(started.deployment_id), "Marathon-Deployment-Id": started.deployment_id}
    return web.Response(status=202, headers=headers)


async def pod_status(call: Call) -> web.StreamResponse:
    """GET /v2/pods/{id}::status."""
    pod_id = _valid_id(call.args[0])
    pod = tree.pod(call.root, pod_id)
    if pod is None:
        raise changes.missing_pod(pod_id)
    return json_answer(pods.public_status(call.engine.pod_status(pod)))


async def all_status(call: Call) -> web.StreamResponse:
    """GET /v2/pods/::status."""
    return json_answer([pods.public_status(call.engine.pod_status(pod)) for pod in tree.all_pods(call.root).values()])


async def pod_versions(call: Call) -> web.StreamResponse:
    """GET /v2/pods/{id}::versions."""
    pod_id = _valid_id(call.args[0])
    if tree.pod(call.root, pod_id) is None:
        raise changes.missing_pod(pod_id)
    return json_answer(call.engine.app_versions(pod_id))


async def pod_version(call: Call) -> web.StreamResponse:
    """GET /v2/pods/{id}::versions/{timestamp}."""
    version = timestamps.parse(call.args[1])
    pod_id = _valid_id(call.args[0])
    pod = call.engine.app_at(pod_id, version)
    if pod is None:
        raise changes.missing_pod(pod_id)
    return json_answer(pods.public(pod))


def _valid_instances(ids: list[str], *, numbered: bool) -> set[str]:
    """Instance ids that are such. What only looks like one is found out when its UUID is read."""
    message = f"must fully match regular expression '{_INSTANCE_ID.pattern}'"
    wrong = [
        Violation(path=f"({i})" if numbered else "/", message=message) for i, text in enumerate(ids) if not _INSTANCE_ID.fullmatch(text)
    ]
    if wrong:
        raise not_valid(wrong)
    for text in ids:
        uuid = text.rpartition(".")[2].partition("-")[2]
        if not _UUID.fullmatch(uuid):
            raise refused(422, f"Invalid UUID string: {uuid}")
    return set(ids)


async def kill_instance(call: Call) -> web.StreamResponse:
    """DELETE /v2/pods/{id}::instances/{instance}."""
    pod_id = _valid_id(call.args[0])
    killed = await _kill(call, pod_id, _valid_instances([call.args[1]], numbered=False))
    if not killed:
        raise refused(404, f"Task '{call.args[1]}' does not exist", details=True)
    return json_answer(killed[0])


async def kill_instances(call: Call) -> web.StreamResponse:
    """DELETE /v2/pods/{id}::instances with a list of instance ids."""
    pod_id = _valid_id(call.args[0])
    ids = apps.read(Items(of=Text()), await call.json())
    return json_answer(await _kill(call, pod_id, _valid_instances(ids, numbered=True)))


async def _kill(call: Call, pod_id: str, instances: set[str]) -> list[dict[str, Any]]:
    """Kills what is there of these instances of the pod, and shows it as it was."""
    if tree.pod(call.root, pod_id) is None:
        raise refused(404, f"Path '{pod_id}' does not exist")
    tasks: dict[str, list[str]] = {}
    for task in call.engine.tasks(pod_id):
        tasks.setdefault(instance_of(task["id"]) or "", []).append(task["id"])
    found = [(name, shown) for name in sorted(instances & tasks.keys()) if (shown := call.engine.instance(name)) is not None]
    await call.engine.kill_tasks([tasks[name][0] for name, _ in found], wipe=call.flag("wipe"))
    return [shown for _, shown in found]

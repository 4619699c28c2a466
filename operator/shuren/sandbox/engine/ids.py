"""Names that Marathon and Mesos give: instance, task, agent and framework ids.

`<app path joined by underscores>.instance-<uuid1>` is an instance; its tasks are `<instance>._app.<n>` for an app and
`<instance>.<container>.<n>` for a pod, n counting launches from 1 (Marathon >= 1.8).
"""

from __future__ import annotations

import re
import uuid

APP_CONTAINER = "_app"

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_TASK = re.compile(rf"^(?P<instance>(?P<app>.+)\.(?:instance|marathon)-{_UUID})\.(?P<container>[^.]+)(?:\.(?P<attempt>\d+))?$")
_INSTANCE = re.compile(rf"^(?P<app>.+)\.(?:instance|marathon)-{_UUID}$")


def safe_path(app_id: str) -> str:
    """`/shop/web` as it stands at the front of ids: `shop_web`."""
    return app_id.strip("/").replace("/", "_")


def new_instance_id(app_id: str) -> str:
    """An id that no instance has had: `shop_web.instance-<uuid>`."""
    return f"{safe_path(app_id)}.instance-{uuid.uuid1()}"


def task_id(instance_id: str, container: str, attempt: int) -> str:
    """The id of one incarnation, from 1: `<instance>.<container>.<attempt>`."""
    return f"{instance_id}.{container}.{attempt}"


def instance_of(task: str) -> str | None:
    """The instance id inside a task id (or the id itself when it is an instance's), None when it is neither."""
    if found := _TASK.match(task):
        return found["instance"]
    return task if _INSTANCE.match(task) else None


def task_name(app_id: str) -> str:
    """The name that Mesos shows: the path reversed, joined by dots."""
    return ".".join(reversed(app_id.strip("/").split("/")))


def new_framework_id() -> str:
    """As Mesos gives them: a uuid and a counter."""
    return f"{uuid.uuid4()}-0000"


def parent(path: str) -> str:
    """The group that holds an app, pod or group."""
    return path.rsplit("/", 1)[0] or "/"

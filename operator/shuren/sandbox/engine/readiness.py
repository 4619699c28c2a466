"""Readiness checks: asked of each task that a deployment has started, until it says it is ready. At most one check per app (1.11)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shuren.sandbox.engine.model import Condition, Instance
from shuren.sandbox.engine.targets import of_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from shuren.sandbox.contract import Json
    from shuren.sandbox.engine.world import World

MAX_BODY = 2048


@dataclass(slots=True)
class _Watch:
    attempt: int
    result: Json | None = None
    ready: bool = False


class Readiness:
    """The readiness of the instances that one action has started."""

    def __init__(self, world: World, ready: Callable[[Instance], None]) -> None:
        self._world = world
        self._ready = ready
        self._watches: dict[str, _Watch] = {}
        self._stopped = False

    def results(self) -> list[Json]:
        """What the checks said last, per task."""
        return [w.result for w in self._watches.values() if w.result is not None]

    def is_ready(self, instance: Instance) -> bool:
        """True at once without checks, else when its present task has said so."""
        if not instance.definition.get("readinessChecks"):
            return True
        watch = self._watches.get(instance.id)
        return watch is not None and watch.ready and watch.attempt == instance.attempt

    def watch(self, instance: Instance) -> None:
        """Begins to ask a task that runs."""
        checks = instance.definition.get("readinessChecks")
        if not checks or instance.condition is not Condition.RUNNING:
            return
        known = self._watches.get(instance.id)
        if known is not None and known.attempt == instance.attempt:
            return
        watch = self._watches[instance.id] = _Watch(instance.attempt)
        self._ask(instance, checks[0], watch)

    def forget(self, instance: Instance) -> None:
        self._watches.pop(instance.id, None)

    def stop(self) -> None:
        self._stopped = True

    def _ask(self, instance: Instance, check: Json, watch: _Watch) -> None:
        url = _url(instance, check)

        def answered(status: int, content_type: str, body: str) -> None:
            if not self._current(instance, watch):
                return
            watch.ready = status in set(check.get("httpStatusCodesForReady", [200]))
            watch.result = {"name": check.get("name", "readinessCheck"), "taskId": instance.task_id, "ready": watch.ready}
            if check.get("preserveLastResponse"):
                watch.result["lastResponse"] = _response(url, status, content_type, body)
            if watch.ready:
                self._ready(instance)
            else:
                self._world.clock.after(float(check.get("intervalSeconds", 30)), again)

        def again() -> None:
            if self._current(instance, watch):
                self._ask(instance, check, watch)

        timeout = float(check.get("timeoutSeconds", 10))
        self._world.runner.fetch(instance.task_id, url, timeout=timeout, done=answered)

    def _current(self, instance: Instance, watch: _Watch) -> bool:
        return (
            not self._stopped
            and self._watches.get(instance.id) is watch
            and instance.attempt == watch.attempt
            and instance.condition is Condition.RUNNING
        )


def _response(url: str, status: int, content_type: str, body: str) -> Json:
    """What the task answered. That it did not shows as Marathon's own answer, a 504."""
    if not status:
        return {"status": 504, "contentType": "text/plain", "body": f"Marathon could not query {url}: {body}"}
    return {"status": status, "contentType": content_type, "body": body[:MAX_BODY]}


def _url(instance: Instance, check: Json) -> str:
    target = of_name(instance, check.get("portName", "http-api"))
    path = check.get("path", "/")
    return f"{check.get('protocol', 'HTTP').lower()}://{target.address}:{target.port or 0}{path if path.startswith('/') else '/' + path}"

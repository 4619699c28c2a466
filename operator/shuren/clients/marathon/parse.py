"""Marathon's JSON as values. A document of another shape than promised is an answer of no use: Unreachable, never a guess."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from shuren.domain.errors import UnknownOutcome, Unreachable
from shuren.domain.marathon.state import (
    ActualApp,
    Counts,
    Deployment,
    DeploymentAction,
    DeploymentRef,
    Health,
    MarathonInfo,
    QueueItem,
    Task,
    TaskFailure,
    TaskState,
)

_LIVE = frozenset(
    {
        "tasks",
        "tasksStaged",
        "tasksRunning",
        "tasksHealthy",
        "tasksUnhealthy",
        "tasksStats",
        "deployments",
        "lastTaskFailure",
        "readinessCheckResults",
    }
)
_STATES = {state.value: state for state in TaskState}

Json = Mapping[str, Any]


_ODD = (KeyError, TypeError, AttributeError, ValueError)
"""What reading a document of another shape raises."""


class Malformed(Unreachable):
    """The answer is not what Marathon promises."""


def app(document: Json) -> ActualApp:
    """One element of `GET /v2/apps`, or the `app` of `GET /v2/apps/{id}`."""
    try:
        return _app(document)
    except _ODD as error:
        raise Malformed(f"Marathon's description of an app is not as promised: {error!r}") from error


def _app(document: Json) -> ActualApp:
    info: Json = document.get("versionInfo") or {}
    version = _text(document["version"])
    results = document.get("readinessCheckResults")
    checks = len(_list(document.get("healthChecks")))
    return ActualApp(
        id=_path(document["id"]),
        definition={key: value for key, value in document.items() if key not in _LIVE},
        version=version,
        last_config_change_at=_text(info.get("lastConfigChangeAt", version)),
        last_scaling_at=_text(info.get("lastScalingAt", version)),
        instances=_count(document["instances"]),
        counts=Counts(
            staged=_count(document.get("tasksStaged", 0)),
            running=_count(document.get("tasksRunning", 0)),
            healthy=_count(document.get("tasksHealthy", 0)),
            unhealthy=_count(document.get("tasksUnhealthy", 0)),
        ),
        tasks=tuple(_task(item, checks) for item in _list(document.get("tasks"))),
        deployments=tuple(_text(item["id"]) for item in _list(document.get("deployments"))),
        last_task_failure=_failure(document.get("lastTaskFailure")),
        ready_tasks=None if results is None else tuple(_text(item["taskId"]) for item in _list(results) if item.get("ready")),
    )


def _task(document: Json, checks: int) -> Task:
    return Task(
        id=_text(document["id"]),
        app_id=_path(document["appId"]),
        state=_STATES.get(document.get("state", ""), TaskState.UNKNOWN),
        host=_text(document.get("host") or ""),
        agent_id=_text(document.get("slaveId") or ""),
        ports=tuple(_count(port) for port in _list(document.get("ports"))),
        ip_addresses=tuple(_text(item["ipAddress"]) for item in _list(document.get("ipAddresses")) if "ipAddress" in item),
        version=_text_or_none(document.get("version")),
        staged_at=_text_or_none(document.get("stagedAt")),
        started_at=_text_or_none(document.get("startedAt")),
        health=_health(_list(document.get("healthCheckResults")), checks),
    )


# ---------------------------------------------------------------------------------------------------- types, as promised or not at all


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"text is promised, {type(value).__name__} came")
    return value


def _text_or_none(value: object) -> str | None:
    return None if value is None else _text(value)


def _path(value: object) -> str:
    text = _text(value)
    if not text.startswith("/"):
        raise ValueError("an id is promised to begin with /")
    return text


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError(f"a number that counts is promised, {value!r:.40} came")
    return value


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise TypeError(f"seconds are promised, {value!r:.40} came")
    return float(value)


def _required(value: Any) -> Sequence[Any]:
    """A list that must be there: without it nothing is known, which is not the same as nothing."""
    if value is None:
        raise TypeError("a list is promised, null came")
    return _list(value)


def _list(value: Any) -> Sequence[Any]:
    """A list; nothing and null are an empty one."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise TypeError(f"a list is promised, {type(value).__name__} came")
    return value


# ---------------------------------------------------------------------------------------------------- parts of an app


def _health(results: Any, checks: int) -> Health:
    """Unhealthy as soon as one check says so; healthy when every check has reported and says so; else unknown."""
    if any(not result.get("alive") for result in results):
        return Health.UNHEALTHY
    return Health.HEALTHY if results and len(results) >= min(checks, 1) else Health.UNKNOWN


def _failure(document: Json | None) -> TaskFailure | None:
    if not document:
        return None
    return TaskFailure(
        message=_text(document.get("message") or ""),
        state=_text(document.get("state") or ""),
        host=_text(document.get("host") or ""),
        timestamp=_text(document.get("timestamp") or ""),
        task_id=_text(document.get("taskId") or ""),
        version=_text(document.get("version") or ""),
    )


def apps(document: Any) -> tuple[ActualApp, ...]:
    """`GET /v2/apps`."""
    if not isinstance(document, Mapping) or not isinstance(document.get("apps"), list):
        raise Malformed("Marathon's list of apps is not as promised: no `apps`")
    return tuple(app(item) for item in document["apps"])


_HEAD = re.compile(r'\s*\{\s*"apps"\s*:\s*\[\s*')
_BETWEEN = re.compile(r"\s*([,\]])\s*")
_TAIL = re.compile(r"\s*\}\s*")
_DECODER = json.JSONDecoder()


def apps_text(body: bytes) -> Iterator[ActualApp]:
    """`GET /v2/apps` from its bytes, one app at a time, equal strings held once: a list of 10,000 takes a third of the memory that way.

    Raises ValueError when it is not JSON, Malformed when it is another document; either may show at the end only.
    """
    text = body.decode()
    head = _HEAD.match(text)
    if head is None:
        yield from apps(json.loads(text))
        return
    shared: dict[str, str] = {}
    empty = True
    position = head.end()
    while not (empty and text.startswith("]", position)):
        empty = False
        document, position = _DECODER.raw_decode(text, position)
        yield app(_sharing(document, shared))
        between = _BETWEEN.match(text, position)
        if between is None:
            raise ValueError(f"the list is cut short at character {position}")
        position = between.end()
        if between[1] == "]":
            break
    else:
        position += 1
    if not _TAIL.fullmatch(text, position):
        json.loads(text)  # anything but the end of the document is for the whole decoder to judge


def _sharing(value: Any, shared: dict[str, str]) -> Any:
    """A copy in which each string is the one that is held already."""
    kind = type(value)
    if kind is str:
        return shared.setdefault(value, value)
    if kind is dict:
        return {shared.setdefault(key, key): _sharing(item, shared) for key, item in value.items()}
    if kind is list:
        return [_sharing(item, shared) for item in value]
    return value


def deployments(document: Any) -> tuple[Deployment, ...]:
    """`GET /v2/deployments`."""
    try:
        return tuple(
            Deployment(
                id=_text(item["id"]),
                version=_text(item["version"]),
                affected_apps=tuple(_path(app_id) for app_id in _list(item.get("affectedApps"))),
                current_step=_count(item.get("currentStep", 0)),
                total_steps=_count(item.get("totalSteps", 0)),
                current_actions=tuple(
                    DeploymentAction(action=_text(action["action"]), app_id=_text(action.get("app") or action.get("pod") or ""))
                    for action in _list(item.get("currentActions"))
                ),
            )
            for item in _required(document)
        )
    except _ODD as error:
        raise Malformed(f"Marathon's list of deployments is not as promised: {error!r}") from error


def queue(document: Any) -> tuple[QueueItem, ...]:
    """`GET /v2/queue`; pods are left out."""
    try:
        return tuple(_queue_item(item) for item in _required(document["queue"]) if "app" in item)
    except _ODD as error:
        raise Malformed(f"Marathon's launch queue is not as promised: {error!r}") from error


def _queue_item(document: Json) -> QueueItem:
    offers = document.get("processedOffersSummary") or {}
    delay = document.get("delay") or {}
    return QueueItem(
        app_id=_path(document["app"]["id"]),
        count=_count(document.get("count", 0)),
        delay_seconds=_seconds(delay.get("timeLeftSeconds", 0)),
        overdue=bool(delay.get("overdue", True)),
        since=_text(document.get("since") or ""),
        processed_offers=_count(offers.get("processedOffersCount", 0)),
        unused_offers=_count(offers.get("unusedOffersCount", 0)),
        rejections={_text(item["reason"]): _count(item["declined"]) for item in _list(offers.get("rejectSummaryLastOffers"))},
    )


def info(document: Any) -> MarathonInfo:
    """`GET /v2/info`."""
    try:
        config = document.get("marathon_config") or {}
        return MarathonInfo(
            version=_text(document["version"]),
            framework_id=_text_or_none(document.get("frameworkId")),
            leader=_text_or_none(document.get("leader")),
            features=frozenset(_text(feature) for feature in _list(config.get("features"))),
            mesos_role=_text(config.get("mesos_role") or "*"),
            default_network_name=_text_or_none(config.get("default_network_name")),
            local_port_min=_count(config.get("local_port_min") or 10_000),
            local_port_max=_count(config.get("local_port_max") or 20_000),
        )
    except _ODD as error:
        raise Malformed(f"Marathon's info is not as promised: {error!r}") from error


def deployment_ref(document: Any) -> DeploymentRef:
    """The answer to a write. UnknownOutcome when it is something else: the write may have been done all the same."""
    try:
        return DeploymentRef(id=_text(document["deploymentId"]), version=_text(document["version"]))
    except _ODD as error:
        raise UnknownOutcome(f"Marathon's answer to a write is not as promised: {error!r}") from error

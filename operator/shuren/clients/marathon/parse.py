"""Marathon's JSON as values. A document of another shape than promised is an answer of no use: Unreachable, never a guess."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from shuren.domain.errors import Unreachable
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


class Malformed(Unreachable):
    """The answer is not what Marathon promises."""


def app(document: Json) -> ActualApp:
    """One element of `GET /v2/apps`, or the `app` of `GET /v2/apps/{id}`."""
    try:
        return _app(document)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise Malformed(f"Marathon's description of an app is not as promised: {error!r}") from error


def _app(document: Json) -> ActualApp:
    info: Json = document.get("versionInfo") or {}
    version: str = document["version"]
    results = document.get("readinessCheckResults")
    return ActualApp(
        id=document["id"],
        definition={key: value for key, value in document.items() if key not in _LIVE},
        version=version,
        last_config_change_at=str(info.get("lastConfigChangeAt", version)),
        last_scaling_at=str(info.get("lastScalingAt", version)),
        instances=document["instances"],
        counts=Counts(
            staged=document.get("tasksStaged", 0),
            running=document.get("tasksRunning", 0),
            healthy=document.get("tasksHealthy", 0),
            unhealthy=document.get("tasksUnhealthy", 0),
        ),
        tasks=tuple(_task(item, len(document.get("healthChecks") or ())) for item in document.get("tasks") or ()),
        deployments=tuple(item["id"] for item in document.get("deployments") or ()),
        last_task_failure=_failure(document.get("lastTaskFailure")),
        ready_tasks=None if results is None else tuple(item["taskId"] for item in results if item.get("ready")),
    )


def _task(document: Json, checks: int) -> Task:
    return Task(
        id=document["id"],
        app_id=document["appId"],
        state=_STATES.get(document.get("state", ""), TaskState.UNKNOWN),
        host=document.get("host") or "",
        agent_id=document.get("slaveId") or "",
        ports=tuple(document.get("ports") or ()),
        ip_addresses=tuple(item["ipAddress"] for item in document.get("ipAddresses") or () if "ipAddress" in item),
        version=document.get("version"),
        staged_at=document.get("stagedAt"),
        started_at=document.get("startedAt"),
        health=_health(document.get("healthCheckResults") or (), checks),
    )


def _health(results: Any, checks: int) -> Health:
    """Unhealthy as soon as one check says so; healthy when every check has reported and says so; else unknown."""
    if any(not result.get("alive") for result in results):
        return Health.UNHEALTHY
    return Health.HEALTHY if results and len(results) >= min(checks, 1) else Health.UNKNOWN


def _failure(document: Json | None) -> TaskFailure | None:
    if not document:
        return None
    return TaskFailure(
        message=document.get("message", ""),
        state=document.get("state", ""),
        host=document.get("host", ""),
        timestamp=document.get("timestamp", ""),
        task_id=document.get("taskId", ""),
        version=document.get("version", ""),
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


def apps_text(body: bytes) -> tuple[ActualApp, ...]:
    """`GET /v2/apps` from its bytes, one app at a time, equal strings held once: a list of 10,000 takes a third of the memory that way.

    Raises ValueError when it is not JSON, Malformed when it is another document.
    """
    text = body.decode()
    head = _HEAD.match(text)
    if head is None:
        return apps(json.loads(text))
    found: list[ActualApp] = []
    shared: dict[str, str] = {}
    position = head.end()
    while not (text.startswith("]", position) and not found):
        document, position = _DECODER.raw_decode(text, position)
        found.append(app(_sharing(document, shared)))
        between = _BETWEEN.match(text, position)
        if between is None:
            raise ValueError(f"the list is cut short at character {position}")
        position = between.end()
        if between[1] == "]":
            break
    else:
        position += 1
    # anything but the end of the document is for the whole decoder to judge
    return tuple(found) if _TAIL.fullmatch(text, position) else apps(json.loads(text))


def _sharing(value: Any, shared: dict[str, str]) -> Any:
    """A copy in which each string is the one that is held already."""
    if isinstance(value, str):
        return shared.setdefault(value, value)
    if isinstance(value, dict):
        return {shared.setdefault(key, key): _sharing(item, shared) for key, item in value.items()}
    if isinstance(value, list):
        return [_sharing(item, shared) for item in value]
    return value


def deployments(document: Any) -> tuple[Deployment, ...]:
    """`GET /v2/deployments`."""
    try:
        return tuple(
            Deployment(
                id=item["id"],
                version=item["version"],
                affected_apps=tuple(item.get("affectedApps") or ()),
                current_step=item.get("currentStep", 0),
                total_steps=item.get("totalSteps", 0),
                current_actions=tuple(
                    DeploymentAction(action=action["action"], app_id=action.get("app") or action.get("pod") or "")
                    for action in item.get("currentActions") or ()
                ),
            )
            for item in document
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise Malformed(f"Marathon's list of deployments is not as promised: {error!r}") from error


def queue(document: Any) -> tuple[QueueItem, ...]:
    """`GET /v2/queue`; pods are left out."""
    try:
        return tuple(_queue_item(item) for item in document["queue"] if "app" in item)
    except (KeyError, TypeError, AttributeError) as error:
        raise Malformed(f"Marathon's launch queue is not as promised: {error!r}") from error


def _queue_item(document: Json) -> QueueItem:
    offers = document.get("processedOffersSummary") or {}
    delay = document.get("delay") or {}
    return QueueItem(
        app_id=document["app"]["id"],
        count=document.get("count", 0),
        delay_seconds=float(delay.get("timeLeftSeconds", 0)),
        overdue=bool(delay.get("overdue", True)),
        since=document.get("since", ""),
        processed_offers=offers.get("processedOffersCount", 0),
        unused_offers=offers.get("unusedOffersCount", 0),
        rejections={item["reason"]: item["declined"] for item in offers.get("rejectSummaryLastOffers") or ()},
    )


def info(document: Any) -> MarathonInfo:
    """`GET /v2/info`."""
    try:
        config = document.get("marathon_config") or {}
        return MarathonInfo(
            version=document["version"],
            framework_id=document.get("frameworkId"),
            leader=document.get("leader"),
            features=frozenset(config.get("features") or ()),
            mesos_role=config.get("mesos_role") or "*",
            default_network_name=config.get("default_network_name"),
            local_port_min=config.get("local_port_min") or 10_000,
            local_port_max=config.get("local_port_max") or 20_000,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise Malformed(f"Marathon's info is not as promised: {error!r}") from error


def deployment_ref(document: Any) -> DeploymentRef:
    """The answer to a write."""
    try:
        return DeploymentRef(id=document["deploymentId"], version=document["version"])
    except (KeyError, TypeError) as error:
        raise Malformed(f"Marathon's answer to a write is not as promised: {error!r}") from error

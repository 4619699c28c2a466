"""What an event of Marathon's stream says about where to look again.

Payloads are never taken over: neither order nor completeness is promised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shuren.domain.json import Document
from shuren.domain.marathon.state import MarathonEvent

_OF_DEPLOYMENTS = frozenset(
    {"deployment_info", "deployment_success", "deployment_failed", "deployment_step_success", "deployment_step_failure"}
)
_STARTS_OVER = frozenset({"event_stream_attached", "scheduler_registered_event", "scheduler_reregistered_event"})
_WAITS = frozenset({"Scheduled", "Provisioned", "Failed", "Error", "Finished", "Dropped"})
_GOES_ON = frozenset({"TASK_STAGING", "TASK_STARTING", "TASK_RUNNING", "TASK_KILLING", "TASK_UNREACHABLE"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Hint:
    """Apps to read again; whether deployments and queue changed; whether everything has to be read (a new stream or leader)."""

    apps: frozenset[str] = frozenset()
    progress: bool = False
    everything: bool = False


def hint(event: MarathonEvent) -> Hint:
    """Where to look after `event`. Unknown types and odd payloads give an empty hint; the periodic resync covers them."""
    if event.type in _STARTS_OVER:
        return Hint(everything=True)
    if event.type in _OF_DEPLOYMENTS:
        return Hint(apps=_of_plan(event.data), progress=True)
    match event.type:
        case "group_change_success" | "group_change_failed":
            # its apps are named by the deployment events beside it
            return Hint(progress=True)
        case "api_post_event":
            definition = event.data.get("appDefinition")
            return Hint(apps=_ids(definition.get("id") if isinstance(definition, Mapping) else None))
        case "instance_changed_event":
            # an instance that begins or ends to wait also changes the queue
            return Hint(apps=_ids(event.data.get("runSpecId")), progress=event.data.get("condition") in _WAITS)
        case "status_update_event":
            # a task that has ended is launched anew
            return Hint(apps=_ids(event.data.get("appId")), progress=event.data.get("taskStatus") not in _GOES_ON)
        case _:
            return Hint(apps=_ids(event.data.get("appId"), event.data.get("runSpecId")))


def _ids(*values: object) -> frozenset[str]:
    return frozenset(v for v in values if isinstance(v, str) and v.startswith("/"))


def _of_plan(data: Document) -> frozenset[str]:
    plan = data.get("plan")
    steps = plan.get("steps") if isinstance(plan, Mapping) else None
    found: set[str] = set()
    for step in _items(steps):
        for action in _items(step.get("actions")):
            found |= _ids(action.get("app"))
    return frozenset(found)


def _items(value: object) -> list[Document]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, Sequence) and not isinstance(value, str) else []

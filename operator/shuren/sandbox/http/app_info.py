"""Apps, pods and groups as reads show them: the definition plus what `embed` asks of the running world."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from shuren.sandbox.contract import Group, LiveEngine

Json = dict[str, Any]


class Embed(Enum):
    """What can be added to an app."""

    TASKS = "tasks"
    COUNTS = "counts"
    DEPLOYMENTS = "deployments"
    READINESS = "readiness"
    LAST_TASK_FAILURE = "lastTaskFailure"
    TASK_STATS = "taskStats"


class GroupEmbed(Enum):
    """What can be added to a group."""

    GROUPS = "group.groups"
    APPS = "group.apps"
    PODS = "group.pods"


ALWAYS_IN_LISTS = frozenset({Embed.COUNTS, Embed.DEPLOYMENTS})
ALWAYS_ALONE = frozenset({Embed.COUNTS, Embed.DEPLOYMENTS, Embed.TASKS, Embed.LAST_TASK_FAILURE})
_BUNDLES = {
    "tasks": {Embed.TASKS, Embed.DEPLOYMENTS},
    "failures": {Embed.TASKS, Embed.LAST_TASK_FAILURE, Embed.DEPLOYMENTS},
}
_BY_NAME = {embed.value: {embed} for embed in Embed} | _BUNDLES
_PREFIXES = ("group.apps.", "apps.", "app.")


def app_embeds(names: Iterable[str]) -> frozenset[Embed]:
    """The embeds with these names, any prefix or none; unknown names are ignored."""
    found: set[Embed] = set()
    for name in names:
        bare = next((name.removeprefix(prefix) for prefix in _PREFIXES if name.startswith(prefix)), name)
        found |= _BY_NAME.get(bare, set())
    return frozenset(found)


def group_embeds(names: Iterable[str]) -> frozenset[GroupEmbed]:
    """What a group shows: everything without any `embed`, else only what is named."""
    given = list(names)
    if not given:
        return frozenset(GroupEmbed)
    return frozenset(embed for embed in GroupEmbed if embed.value in given)


def app_info(engine: LiveEngine, app: Mapping[str, Any], embeds: frozenset[Embed]) -> Json:
    """An app with what is asked."""
    return {**app, **additions(engine, app["id"], embeds)}


def additions(engine: LiveEngine, app_id: str, embeds: frozenset[Embed]) -> Json:
    """What is asked about an app besides its definition."""
    info: Json = {}
    if Embed.COUNTS in embeds:
        info |= engine.counts(app_id)
    if Embed.DEPLOYMENTS in embeds:
        info["deployments"] = [{"id": deployment_id} for deployment_id in engine.deployments_of(app_id)]
    if Embed.READINESS in embeds:
        info["readinessCheckResults"] = engine.readiness_results(app_id)
    if Embed.TASKS in embeds:
        info["tasks"] = [without_service_ports(task) for task in engine.tasks(app_id)]
    if Embed.LAST_TASK_FAILURE in embeds and (failure := engine.last_task_failure(app_id)) is not None:
        info["lastTaskFailure"] = failure
    if Embed.TASK_STATS in embeds:
        info["tasksStats"] = engine.task_stats(app_id) or {}
    return info


def without_service_ports(task: Mapping[str, Any]) -> Json:
    """A task as everywhere but in `GET /v2/tasks`."""
    return {**task, "servicePorts": []}


def group_info(engine: LiveEngine, group: Group, shown: frozenset[GroupEmbed], embeds: frozenset[Embed]) -> Json:
    """A group with what is asked, of the past too: its pods come with the status of the instances there are now."""
    info: Json = {"id": group.id, "apps": [], "pods": [], "groups": []}
    if GroupEmbed.APPS in shown:
        info["apps"] = [app_info(engine, app, embeds) for app in group.apps.values()]
    if GroupEmbed.PODS in shown:
        info["pods"] = [engine.pod_status(pod) for pod in group.pods.values()]
    if GroupEmbed.GROUPS in shown:
        info["groups"] = [group_info(engine, child, shown, embeds) for child in group.groups.values()]
    info |= {"dependencies": list(group.dependencies), "version": group.version}
    if group.enforce_role is not None:
        info["enforceRole"] = group.enforce_role
    return info

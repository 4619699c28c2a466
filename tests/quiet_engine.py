"""A live engine in whose world nothing ever runs: deployments are over at once, tasks do not exist. For tests of what stands before it."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from shuren.sandbox.contract import Change, Group, Settings, Started
from shuren.sandbox.definition import pods, timestamps, tree, versions

Json = dict[str, Any]
EPOCH = datetime(2026, 11, 23, 20, 0, 0, tzinfo=UTC)


def _step(name: str, ids: list[str]) -> Json:
    return {"actions": [{"action": name, "app": app_id} for app_id in ids]}


def _steps(old: Group, new: Group) -> list[Json]:
    """Enough of a plan for dry runs: stop, start, then one step that scales or restarts."""
    before, after = tree.all_apps(old), tree.all_apps(new)
    steps = [
        _step("StopApplication", [app_id for app_id in before if app_id not in after]),
        _step("StartApplication", [app_id for app_id in after if app_id not in before]),
    ]
    changed = []
    for app_id, app in after.items():
        if before.get(app_id) is app:
            continue
        name = "ScaleApplication" if app_id not in before or versions.instances(app) == 0 else "RestartApplication"
        changed.append({"action": name, "app": app_id})
    return [step for step in [*steps, {"actions": changed}] if step["actions"]]


@dataclass(kw_only=True)
class QuietEngine:
    """What HTTP asks of the running world, without one."""

    settings: Settings = field(default_factory=Settings)
    address: str = "127.0.0.1:8080"
    leading: str | None = "127.0.0.1:8080"
    now: datetime = EPOCH
    root: Group = field(default_factory=lambda: Group(id="/", version=timestamps.show(EPOCH)))
    history: list[Group] = field(default_factory=list)
    apps_history: dict[str, dict[str, Json]] = field(default_factory=dict)
    published: list[tuple[str, Json]] = field(default_factory=list)
    running: list[Json] = field(default_factory=list)
    plans: list[Json] = field(default_factory=list)
    waiting: list[Json] = field(default_factory=list)
    killed: list[tuple[list[str], bool]] = field(default_factory=list)
    chosen: list[Mapping[str, Collection[str]]] = field(default_factory=list)
    raises: Exception | None = None
    events: list[tuple[str, str]] = field(default_factory=list)
    asked_types: list[Collection[str] | None] = field(default_factory=list)
    abdicated: bool = False

    def _tick(self) -> str:
        self.now += timedelta(milliseconds=1)
        return timestamps.show(self.now)

    def _keep(self, root: Group) -> None:
        self.root = root
        self.history.append(root)
        for spec_id, spec in (tree.all_apps(root) | tree.all_pods(root)).items():
            self.apps_history.setdefault(spec_id, {})[spec["version"]] = spec

    async def update(
        self,
        change: Change,
        *,
        force: bool = False,
        kill: Mapping[str, Collection[str]] | None = None,
        wipe: bool = False,
        group_id: str = "/",
    ) -> Started:
        del force, wipe, group_id
        if self.raises is not None:
            raise self.raises
        if kill is not None:
            self.chosen.append(kill)
        now = self._tick()
        self._keep(change(self.root, now))
        return Started(deployment_id=str(uuid.uuid4()), version=now)

    async def patch(self, change: Change) -> None:
        self._keep(change(self.root, self._tick()))

    def dry_run(self, change: Change) -> Json:
        return {"steps": _steps(self.root, change(self.root, self._tick()))}

    def deployments(self) -> list[Json]:
        return self.plans

    def deployments_of(self, app_id: str) -> list[str]:
        return [plan["id"] for plan in self.plans if app_id in plan["affectedApps"]]

    async def cancel_deployment(self, deployment_id: str, *, force: bool) -> Started | None:
        if all(plan["id"] != deployment_id for plan in self.plans):
            raise KeyError(deployment_id)
        return None if force else Started(deployment_id=str(uuid.uuid4()), version=self._tick())

    def counts(self, app_id: str) -> Json:
        running = sum(task["appId"] == app_id and task["state"] == "TASK_RUNNING" for task in self.running)
        return {"tasksStaged": 0, "tasksRunning": running, "tasksHealthy": 0, "tasksUnhealthy": 0}

    def tasks(self, app_id: str | None = None) -> list[Json]:
        return [task for task in self.running if app_id in (None, task["appId"])]

    def instance(self, instance_id: str) -> Json | None:
        tasks = {task["id"]: task for task in self.running if task["id"].startswith(instance_id)}
        condition = next((task["state"].removeprefix("TASK_").capitalize() for task in tasks.values()), "")
        return {"instanceId": {"idString": instance_id}, "tasksMap": tasks, "state": {"condition": condition}} if tasks else None

    def has_instances(self, app_id: str) -> bool:
        return any(task["appId"] == app_id for task in self.running)

    def last_task_failure(self, app_id: str) -> Json | None:
        del app_id
        return None

    def readiness_results(self, app_id: str) -> list[Json]:
        del app_id
        return []

    def task_stats(self, app_id: str) -> Json | None:
        del app_id
        return None

    async def kill_tasks(self, task_ids: Collection[str], *, wipe: bool = False) -> list[Json]:
        self.killed.append((list(task_ids), wipe))
        return [task for task in self.running if task["id"] in task_ids]

    def queue(self, *, last_unused_offers: bool = False) -> list[Json]:
        return [item if last_unused_offers else {k: v for k, v in item.items() if k != "lastUnusedOffers"} for item in self.waiting]

    def reset_delay(self, app_id: str) -> bool:
        return any(item["app"]["id"] == app_id for item in self.waiting)

    def app_versions(self, app_id: str) -> list[str]:
        return list(self.apps_history.get(app_id, ()))

    def app_at(self, app_id: str, version: str) -> Json | None:
        return self.apps_history.get(app_id, {}).get(version)

    def group_versions(self, group_id: str) -> list[str]:
        return [root.version for root in self.history if tree.find(root, group_id) is not None]

    def group_at(self, group_id: str, version: str) -> Group | None:
        return next((tree.find(root, group_id) for root in self.history if root.version == version), None)

    def pod_status(self, pod: Json) -> Json:
        return {"id": pod["id"], "spec": pods.public(pod), "status": "STABLE", "instances": []}

    def publish(self, event_type: str, payload: Json) -> None:
        self.published.append((event_type, payload))

    async def subscribe(self, types: Collection[str] | None, remote: str) -> AsyncIterator[tuple[str, str]]:
        del remote
        self.asked_types.append(types)
        for event in self.events:
            yield event

    def leader(self) -> str | None:
        return self.leading

    def is_leader(self) -> bool:
        return self.leading == self.address

    def streams_silent(self) -> bool:
        return False

    async def admin(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        return 200, {"method": method, "path": path, "body": body}

    async def abdicate(self) -> None:
        self.abdicated = True
        self.leading = None

    def info(self) -> Json:
        return {
            "name": "marathon",
            "version": "1.11.24",
            "leader": self.leading,
            "elected": self.is_leader(),
            "marathon_config": {"ha": True},
        }

    def metrics(self) -> Json:
        return {
            "version": "4.0.0",
            "counters": {"a.b-c.counter": {"count": 3}},
            "gauges": {"x.gauge": {"value": 1.5}},
            "histograms": {},
            "meters": {},
            "timers": {},
        }

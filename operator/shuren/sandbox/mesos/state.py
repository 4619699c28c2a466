"""The Mesos master's view as JSON: state, agents, tasks, metrics, both in the old endpoints' shape and in that of the v1 operator API."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from shuren.sandbox.agents.agent import AgentState
from shuren.sandbox.agents.attributes import Attribute
from shuren.sandbox.engine.completed import EndedTask
from shuren.sandbox.engine.ids import APP_CONTAINER, task_id, task_name
from shuren.sandbox.engine.matching import demand_of
from shuren.sandbox.engine.model import TERMINAL, Condition, Instance
from shuren.sandbox.mesos.resources import NOTHING, shown, single, typed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shuren.sandbox.agents.agent import Agent
    from shuren.sandbox.contract import Json
    from shuren.sandbox.engine.world import World

VERSION = "1.11.0"
CLUSTER = "sandbox"


AGENT_CAPABILITIES = (
    "MULTI_ROLE", "HIERARCHICAL_ROLE", "RESERVATION_REFINEMENT", "RESOURCE_PROVIDER", "RESIZE_VOLUME", "AGENT_OPERATION_FEEDBACK",
    "AGENT_DRAINING", "TASK_RESOURCE_LIMITS",
)  # fmt: skip
MASTER_CAPABILITIES = ("AGENT_UPDATE", "AGENT_DRAINING", "QUOTA_V2")


def agent_json(agent: Agent, pid: str) -> Json:
    """One agent as in `/state`."""
    total = shown(agent.total.json(), agent.spec.ports)
    mine = agent.spec.role == "*"
    body: Json = {
        "id": agent.id,
        "hostname": agent.hostname,
        "port": int(pid.rpartition(":")[2]),
        "attributes": _attributes(agent),
        "pid": pid,
        "registered_time": agent.registered_at,
        "resources": total,
        "used_resources": shown(agent.used.json(), single(agent.used_ports)),
        "offered_resources": {**NOTHING},
        "reserved_resources": {} if mine else {agent.spec.role: total},
        "unreserved_resources": total if mine else {**NOTHING},
        "active": agent.state is AgentState.ACTIVE,
        "deactivated": False,
        "version": VERSION,
        "capabilities": list(AGENT_CAPABILITIES),
    }
    if agent.spec.region or agent.spec.zone:
        body["domain"] = domain(agent)
    return body


def full_agent_json(agent: Agent, pid: str, role: str) -> Json:
    """One agent as in `/slaves`, with its resources in detail. `role` is what they are allocated to."""
    total = typed(agent.total.json(), agent.spec.ports, role=agent.spec.role)
    mine = agent.spec.role == "*"
    return {
        **agent_json(agent, pid),
        "reserved_resources_full": {} if mine else {agent.spec.role: total},
        "unreserved_resources_full": total if mine else [],
        "used_resources_full": typed(agent.used.json(), single(agent.used_ports), role=agent.spec.role, allocation=role),
        "offered_resources_full": [],
    }


def own_json(world: World, agent: Agent, pid: str, *, master: str) -> Json:
    """One agent as it shows itself."""
    there = full_agent_json(agent, pid, world.settings.mesos_role)
    allocated = there["used_resources"]
    mine = agent.spec.role == "*"
    kept = ("id", "pid", "hostname", "capabilities", "resources", "reserved_resources", "unreserved_resources", "reserved_resources_full")
    return {
        "version": VERSION,
        "start_time": agent.registered_at,
        **{name: there[name] for name in kept},
        "unreserved_resources_full": there["unreserved_resources_full"],
        "reserved_resources_allocated": {} if mine else {agent.spec.role: allocated},
        "unreserved_resources_allocated": allocated if mine else {**NOTHING},
        "resource_providers": [],
        "attributes": there["attributes"],
        **({"domain": there["domain"]} if "domain" in there else {}),
        "master_hostname": master,
        "flags": {"work_dir": str(world.directory / "agents" / agent.id)},
        "frameworks": [agent_framework(world, agent)],
        "completed_frameworks": [],
    }


def _attributes(agent: Agent) -> Json:
    return {name: Attribute.parse(text).old() for name, text in agent.spec.attributes.items()}


def domain(agent: Agent) -> Json:
    """Region and zone."""
    return {"fault_domain": {"region": {"name": agent.spec.region or ""}, "zone": {"name": agent.spec.zone or ""}}}


def _present(instance: Instance) -> Iterator[EndedTask]:
    """The tasks of an instance that are under way, none when the last ones have ended."""
    if not instance.attempt or instance.condition in TERMINAL or instance.condition is Condition.SCHEDULED:
        return
    for name in instance.containers:
        state = instance.parts.get(name) or instance.state
        yield EndedTask.of(instance, task_id(instance.id, name, instance.attempt), state, instance.since)


def container_of(task: EndedTask) -> Json:
    """The id of a task's container, which Mesos makes up: here that of the instance, and for a pod one within that."""
    executor: Json = {"value": _executor_of(task)}
    name = task.task_id.rsplit(".", 2)[-2]
    return executor if name == APP_CONTAINER else {"value": name, "parent": executor}


def _executor_of(task: EndedTask) -> str:
    """The container of its executor."""
    return task.instance_id.rpartition("instance-")[2]


def running_in(world: World, agent: Agent, container: str) -> str:
    """The task that runs in a container of that name on an agent. KeyError when none does."""
    for instance in world.instances.on_agent(agent.id):
        for task in _present(instance):
            found = container_of(task)
            if ".".join(one["value"] for one in (found.get("parent"), found) if one) == container:
                return task.task_id
    raise KeyError(container)


def task_json(world: World, task: EndedTask, *, healthy: bool | None = None) -> Json:
    """One task as in `/state`, whether it has ended or not."""
    resources = demand_of(task.definition).resources.json()
    network = {"network_infos": [{"ip_addresses": [{"protocol": "IPv4", "ip_address": task.ip}]}]}
    container: Json = {"container_id": container_of(task), **network}
    statuses: list[Json] = []
    if task.started_at is not None:
        running: Json = {"state": "TASK_RUNNING", "timestamp": task.started_at, "container_status": container}
        if healthy is not None:
            running["healthy"] = healthy
        statuses.append(running)
    if task.state != "TASK_RUNNING":
        statuses.append({"state": task.state, "timestamp": task.ended_at, "container_status": container})
    name = task_name(task.app_id)
    return {
        "id": task.task_id,
        "name": name,
        "framework_id": world.framework_id,
        "executor_id": "" if task.task_id.rsplit(".", 2)[-2] == APP_CONTAINER else task.instance_id,
        "slave_id": task.agent_id,
        "state": task.state,
        "resources": shown(resources, single(task.ports)),
        "role": task.role,
        "statuses": statuses,
        "labels": [{"key": k, "value": v} for k, v in task.definition.get("labels", {}).items()],
        "discovery": {
            "visibility": "FRAMEWORK",
            "name": name,
            "ports": {"ports": [{"number": p, "protocol": "tcp"} for p in task.ports]},
        },
    }


def split_tasks(world: World, agent_id: str | None = None) -> tuple[list[Json], list[Json], list[Json]]:
    """(running or starting, unreachable, completed) tasks; the last ones of the past, oldest first."""
    live: list[Json] = []
    unreachable: list[Json] = []
    for instance in world.instances if agent_id is None else world.instances.on_agent(agent_id):
        lost = instance.condition in {Condition.UNREACHABLE, Condition.UNREACHABLE_INACTIVE}
        (unreachable if lost else live).extend(task_json(world, task, healthy=instance.healthy) for task in _present(instance))
    ended = world.completed if agent_id is None else world.completed.on_agent(agent_id)
    return live, unreachable, [task_json(world, task) for task in ended]


def framework_json(world: World, address: str) -> Json:
    """Marathon as Mesos sees it."""
    live, unreachable, done = split_tasks(world)
    used = _used(world)
    features = world.settings.features
    optional = (("GPU_RESOURCES", "gpu_resources"), ("TASK_KILLING_STATE", "task_killing"))
    return {
        "id": world.framework_id,
        "name": "marathon",
        "pid": f"scheduler-{world.framework_id}@{address}",
        "used_resources": used,
        "offered_resources": {**NOTHING},
        "capabilities": [*_CAPABILITIES, *(name for name, feature in optional if feature in features)],
        "hostname": address.rpartition(":")[0],
        "webui_url": f"http://{address}",
        "active": True,
        "connected": True,
        "recovered": False,
        "user": "root",
        "failover_timeout": 604800.0,
        "checkpoint": True,
        "registered_time": world.since,
        "unregistered_time": 0.0,
        "resources": used,
        "roles": [world.settings.mesos_role],
        "tasks": live,
        "unreachable_tasks": unreachable,
        "completed_tasks": done,
        "offers": [],
        "executors": [],
        "offer_constraints": {},
    }


_CAPABILITIES = ("PARTITION_AWARE", "REGION_AWARE", "MULTI_ROLE")
"""Of the framework that Marathon 1.11 is."""


def _used(world: World) -> Json:
    """What all tasks together take."""
    total = dict(NOTHING)
    for agent in world.agents:
        for name, value in agent.used.json().items():
            total[name] = round(total[name] + value, 3)
    return shown(total, single({port for agent in world.agents for port in agent.used_ports}))


def agent_framework(world: World, agent: Agent) -> Json:
    """Marathon as one agent sees it: executors with their sandboxes, those that have ended too."""

    def executor(task: EndedTask, *, live: bool, healthy: bool | None = None) -> Json:
        body = task_json(world, task, healthy=healthy)
        return {
            "id": task.task_id,
            "name": f"Command Executor (Task: {task.task_id})",
            "source": task.task_id,
            "container": _executor_of(task),
            "directory": str(world.sandbox_of(agent.id, task.instance_id, task.task_id)),
            "resources": body["resources"],
            "role": task.role,
            "labels": body["labels"],
            "tasks": [body] if live else [],
            "queued_tasks": [],
            "completed_tasks": [] if live else [body],
        }

    instances = world.instances.on_agent(agent.id)
    return {
        "id": world.framework_id,
        "name": "marathon",
        "user": "root",
        "failover_timeout": 604800.0,
        "checkpoint": True,
        "hostname": agent.hostname,
        "roles": [world.settings.mesos_role],
        "executors": [executor(task, live=True, healthy=instance.healthy) for instance in instances for task in _present(instance)],
        "completed_executors": [executor(task, live=False) for task in world.completed.on_agent(agent.id)],
    }


def reachable(world: World) -> list[Agent]:
    """The registered agents: the master forgets those it has lost until they register again."""
    return [agent for agent in world.agents if agent.state is AgentState.ACTIVE]


def _lost(world: World) -> int:
    return sum(agent.state is not AgentState.ACTIVE for agent in world.agents)


def _master(world: World, address: str) -> Json:
    host, pid = address.rpartition(":")[0], f"master@{address}"
    return {
        "version": VERSION,
        "id": world.agents.prefix,
        "pid": pid,
        "hostname": host,
        "leader": pid,
        "leader_info": {"id": world.agents.prefix, "pid": pid, "port": int(address.rpartition(":")[2]), "hostname": host},
        "cluster": CLUSTER,
        "capabilities": list(MASTER_CAPABILITIES),
        "start_time": world.since,
        "elected_time": world.since,
    }


def master_state(world: World, *, address: str, marathon: str, pids: dict[str, str]) -> Json:
    """`/state`."""
    agents = [agent_json(a, pids[a.id]) for a in reachable(world)]
    return {
        **_master(world, address),
        "activated_slaves": len(agents),
        "deactivated_slaves": 0,
        "unreachable_slaves": _lost(world),
        "flags": {"cluster": CLUSTER},
        "slaves": agents,
        "recovered_slaves": [],
        "frameworks": [framework_json(world, marathon)],
        "completed_frameworks": [],
        "orphan_tasks": [],
        "unregistered_frameworks": [],
    }


_COUNTED = (
    "TASK_STAGING", "TASK_STARTING", "TASK_RUNNING", "TASK_KILLING", "TASK_FINISHED", "TASK_KILLED", "TASK_FAILED", "TASK_LOST",
    "TASK_ERROR", "TASK_UNREACHABLE",
)  # fmt: skip


def state_summary(world: World, *, address: str, marathon: str, pids: dict[str, str]) -> Json:
    """`/state-summary`: counts of tasks instead of the tasks."""

    def counted(agent_id: str | None) -> Json:
        tasks = [task["state"] for part in split_tasks(world, agent_id) for task in part]
        return {state: tasks.count(state) for state in _COUNTED}

    framework = framework_json(world, marathon)
    kept = (
        "id",
        "name",
        "pid",
        "used_resources",
        "offered_resources",
        "hostname",
        "webui_url",
        "active",
        "connected",
        "recovered",
        "capabilities",
    )
    agents = reachable(world)
    return {
        "hostname": address.rpartition(":")[0],
        "cluster": CLUSTER,
        "slaves": [
            {**agent_json(a, pids[a.id]), **counted(a.id), "framework_ids": [world.framework_id] if world.instances.on_agent(a.id) else []}
            for a in agents
        ],
        "frameworks": [
            {**{k: framework[k] for k in kept}, **counted(None), "slave_ids": [a.id for a in agents if world.instances.on_agent(a.id)]}
        ],
    }


def master_metrics(world: World) -> dict[str, float]:
    """`/metrics/snapshot`."""
    total = {"cpus": 0.0, "mem": 0.0, "disk": 0.0, "gpus": 0.0}
    used = dict(total)
    agents = reachable(world)
    for agent in agents:
        for name, value in agent.total.json().items():
            total[name] += value
        for name, value in agent.used.json().items():
            used[name] += value
    age = world.clock.now() - world.since
    body: dict[str, float] = {"master/elected": 1.0, "master/uptime_secs": age, "registrar/log/recovered": 1.0}
    for name, count in (("active", 1), ("connected", 1), ("inactive", 0), ("disconnected", 0)):
        body[f"master/frameworks_{name}"] = float(count)
        body[f"master/slaves_{name}"] = float(count * len(agents))
    body["master/slaves_unreachable"] = float(_lost(world))
    for name, value in total.items():
        body[f"master/{name}_total"] = value
        body[f"master/{name}_used"] = round(used[name], 3)
        body[f"master/{name}_percent"] = round(used[name] / value, 4) if value else 0.0
    live, unreachable, _ = split_tasks(world)
    for state in ("TASK_STAGING", "TASK_STARTING", "TASK_RUNNING", "TASK_KILLING"):
        body[f"master/{_lower(state)}"] = float(sum(task["state"] == state for task in live))
    body["master/tasks_unreachable"] = float(len(unreachable))
    for state in ("TASK_FINISHED", "TASK_FAILED", "TASK_KILLED", "TASK_LOST", "TASK_ERROR", "TASK_GONE", "TASK_DROPPED"):
        body[f"master/{_lower(state)}"] = float(world.task_updates.get(state, 0))
    cores = float(os.cpu_count() or 1)
    memory = float(os.sysconf("SC_PAGE_SIZE"))
    load = os.getloadavg()
    body |= {"system/cpus_total": cores, "system/load_1min": load[0], "system/load_5min": load[1], "system/load_15min": load[2]}
    body |= {
        "system/mem_total_bytes": memory * os.sysconf("SC_PHYS_PAGES"),
        "system/mem_free_bytes": memory * os.sysconf("SC_AVPHYS_PAGES"),
    }
    return body


def agent_metrics(world: World, agent: Agent) -> dict[str, float]:
    """`/metrics/snapshot` of an agent."""
    live, _, _ = split_tasks(world, agent.id)
    return {"slave/registered": 1.0, "slave/tasks_running": float(len(live))}


def _lower(state: str) -> str:
    return state.lower().replace("task_", "tasks_", 1)

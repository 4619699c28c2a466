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

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shuren.sandbox.agents.agent import Agent
    from shuren.sandbox.contract import Json
    from shuren.sandbox.engine.world import World

VERSION = "1.11.0"
CLUSTER = "sandbox"


def _ranges(agent: Agent) -> str:
    return "[" + ", ".join(f"{a}-{b}" for a, b in agent.spec.ports) + "]"


def _used_ports(agent: Agent) -> str:
    return "[" + ", ".join(f"{p}-{p}" for p in sorted(agent.used_ports)) + "]"


def agent_json(agent: Agent, pid: str) -> Json:
    """One agent as in `/slaves`."""
    body: Json = {
        "id": agent.id,
        "hostname": agent.hostname,
        "port": int(pid.rpartition(":")[2]),
        "pid": pid,
        "attributes": {name: Attribute.parse(text).old() for name, text in agent.spec.attributes.items()},
        "registered_time": agent.registered_at,
        "resources": {**agent.total.json(), "ports": _ranges(agent)},
        "used_resources": {**agent.used.json(), **({"ports": _used_ports(agent)} if agent.used_ports else {})},
        "offered_resources": {"cpus": 0.0, "mem": 0.0, "disk": 0.0, "gpus": 0.0},
        "reserved_resources": {},
        "unreserved_resources": {**agent.total.json(), "ports": _ranges(agent)},
        "active": agent.state is AgentState.ACTIVE,
        "deactivated": False,
        "version": VERSION,
        "capabilities": ["MULTI_ROLE", "HIERARCHICAL_ROLE", "RESERVATION_REFINEMENT"],
        "reserved_resources_full": {},
        "used_resources_full": [],
        "offered_resources_full": [],
    }
    if agent.spec.region or agent.spec.zone:
        body["domain"] = {"fault_domain": {"region": {"name": agent.spec.region or ""}, "zone": {"name": agent.spec.zone or ""}}}
    return body


def _present(instance: Instance) -> Iterator[EndedTask]:
    """The tasks of an instance that are under way, none when the last ones have ended."""
    if not instance.attempt or instance.condition in TERMINAL or instance.condition is Condition.SCHEDULED:
        return
    for name in instance.containers:
        state = instance.parts.get(name) or instance.state
        yield EndedTask.of(instance, task_id(instance.id, name, instance.attempt), state, instance.since)


def task_json(world: World, task: EndedTask, *, healthy: bool | None = None) -> Json:
    """One task as in `/state`, whether it has ended or not."""
    resources = demand_of(task.definition).resources.json()
    ports = "[" + ", ".join(f"{p}-{p}" for p in task.ports) + "]"
    statuses: list[Json] = []
    if task.started_at is not None:
        network = {"network_infos": [{"ip_addresses": [{"protocol": "IPv4", "ip_address": task.ip}]}]}
        running: Json = {"state": "TASK_RUNNING", "timestamp": task.started_at, "container_status": network}
        if healthy is not None:
            running["healthy"] = healthy
        statuses.append(running)
    if task.state != "TASK_RUNNING":
        statuses.append({"state": task.state, "timestamp": task.ended_at})
    name = task_name(task.app_id)
    return {
        "id": task.task_id,
        "name": name,
        "framework_id": world.framework_id,
        "executor_id": "" if task.task_id.rsplit(".", 2)[-2] == APP_CONTAINER else task.instance_id,
        "slave_id": task.agent_id,
        "state": task.state,
        "resources": {**resources, **({"ports": ports} if task.ports else {})},
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
    total: Json = {"cpus": 0.0, "mem": 0.0, "disk": 0.0, "gpus": 0.0}
    for agent in world.agents:
        for name, value in agent.used.json().items():
            total[name] = round(total[name] + value, 3)
    return {
        "id": world.framework_id,
        "name": "marathon",
        "pid": f"scheduler@{address}",
        "used_resources": total,
        "offered_resources": {"cpus": 0.0, "mem": 0.0, "disk": 0.0, "gpus": 0.0},
        "hostname": address.rpartition(":")[0],
        "webui_url": f"http://{address}",
        "active": True,
        "connected": True,
        "recovered": False,
        "user": "root",
        "failover_timeout": 604800.0,
        "checkpoint": True,
        "role": world.settings.mesos_role,
        "roles": [world.settings.mesos_role],
        "capabilities": ["PARTITION_AWARE", "TASK_KILLING_STATE", "REGION_AWARE"],
        "registered_time": world.since,
        "resources": total,
        "tasks": live,
        "unreachable_tasks": unreachable,
        "completed_tasks": done,
        "offers": [],
        "executors": [],
    }


def agent_framework(world: World, agent: Agent) -> Json:
    """Marathon as one agent sees it: executors with their sandboxes, those that have ended too."""

    def executor(task: EndedTask, *, live: bool, healthy: bool | None = None) -> Json:
        body = task_json(world, task, healthy=healthy)
        return {
            "id": task.task_id,
            "name": f"Command Executor (Task: {task.task_id})",
            "source": task.task_id,
            "container": task.instance_id.rpartition("instance-")[2],
            "directory": str(world.sandbox_of(agent.id, task.instance_id, task.task_id)),
            "resources": body["resources"],
            "role": task.role,
            "tasks": [body] if live else [],
            "queued_tasks": [],
            "completed_tasks": [] if live else [body],
        }

    instances = world.instances.on_agent(agent.id)
    return {
        "id": world.framework_id,
        "name": "marathon",
        "hostname": agent.hostname,
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
        "capabilities": ["AGENT_UPDATE", "AGENT_DRAINING"],
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


def _lower(state: str) -> str:
    return state.lower().replace("task_", "tasks_", 1)


def v1_agent(agent: Agent, pid: str) -> Json:
    """One agent as in `GET_AGENTS`."""

    def scalars(values: dict[str, float]) -> list[Json]:
        return [{"name": n, "type": "SCALAR", "scalar": {"value": v}, "role": agent.spec.role} for n, v in values.items()]

    ports: Json = {
        "name": "ports",
        "type": "RANGES",
        "role": "*",
        "ranges": {"range": [{"begin": a, "end": b} for a, b in agent.spec.ports]},
    }
    info: Json = {
        "id": {"value": agent.id},
        "hostname": agent.hostname,
        "port": int(pid.rpartition(":")[2]),
        "resources": [*scalars(agent.total.json()), ports],
        "attributes": [Attribute.parse(text).typed(name) for name, text in agent.spec.attributes.items()],
    }
    if agent.spec.region or agent.spec.zone:
        info["domain"] = {"fault_domain": {"region": {"name": agent.spec.region or ""}, "zone": {"name": agent.spec.zone or ""}}}
    return {
        "agent_info": info,
        "active": agent.state is AgentState.ACTIVE,
        "deactivated": False,
        "version": VERSION,
        "pid": pid,
        "registered_time": {"nanoseconds": int(agent.registered_at * 1e9)},
        "total_resources": [*scalars(agent.total.json()), ports],
        "allocated_resources": scalars(agent.used.json()),
        "offered_resources": [],
        "capabilities": [{"type": "MULTI_ROLE"}],
    }


def v1_task(task: Json) -> Json:
    """One task as in `GET_TASKS`."""
    return {
        "name": task["name"],
        "task_id": {"value": task["id"]},
        "framework_id": {"value": task["framework_id"]},
        "agent_id": {"value": task["slave_id"]},
        "state": task["state"],
        "resources": [
            {"name": n, "type": "SCALAR", "scalar": {"value": v}, "role": task["role"]}
            for n, v in task["resources"].items()
            if isinstance(v, (int, float))
        ],
        "statuses": [{"task_id": {"value": task["id"]}, "state": s["state"], "timestamp": s["timestamp"]} for s in task["statuses"]],
        "labels": {"labels": task["labels"]},
    }

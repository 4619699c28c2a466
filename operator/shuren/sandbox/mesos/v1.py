"""The answers of Mesos' v1 operator API that show agents, frameworks, tasks and the master."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from shuren.sandbox.agents.agent import AgentState
from shuren.sandbox.agents.attributes import Attribute
from shuren.sandbox.mesos.resources import NOTHING, single, typed
from shuren.sandbox.mesos.state import AGENT_CAPABILITIES, MASTER_CAPABILITIES, VERSION, domain, framework_json

if TYPE_CHECKING:
    from shuren.sandbox.agents.agent import Agent
    from shuren.sandbox.contract import Json
    from shuren.sandbox.engine.world import World


def agent(agent: Agent, pid: str, role: str) -> Json:
    """One agent as in `GET_AGENTS`. `role` is what its resources are allocated to."""
    total, ports = agent.total.json(), agent.spec.ports
    info: Json = {
        "hostname": agent.hostname,
        "port": int(pid.rpartition(":")[2]),
        "resources": typed(total, ports),
        "attributes": [Attribute.parse(text).typed(name) for name, text in agent.spec.attributes.items()],
        "id": {"value": agent.id},
        "checkpoint": True,
    }
    if agent.spec.region or agent.spec.zone:
        info["domain"] = domain(agent)
    allocated = typed(agent.used.json(), single(agent.used_ports), role=agent.spec.role, allocation=role)
    return {
        "agent_info": info,
        "active": agent.state is AgentState.ACTIVE,
        "deactivated": False,
        "version": VERSION,
        "pid": pid,
        "registered_time": {"nanoseconds": int(agent.registered_at * 1e9)},
        "total_resources": typed(total, ports, role=agent.spec.role),
        **({"allocated_resources": allocated} if allocated else {}),
        "capabilities": [{"type": name} for name in AGENT_CAPABILITIES],
    }


def framework(world: World, address: str) -> Json:
    """Marathon as in `GET_FRAMEWORKS`."""
    old = framework_json(world, address)
    role = world.settings.mesos_role
    ports = single({port for agent in world.agents for port in agent.used_ports})
    allocated = typed({name: old["used_resources"][name] for name in NOTHING}, ports, role="*", allocation=role)
    info = {
        "user": old["user"],
        "name": old["name"],
        "id": {"value": old["id"]},
        "failover_timeout": old["failover_timeout"],
        "checkpoint": old["checkpoint"],
        "roles": old["roles"],
        "hostname": old["hostname"],
        "webui_url": old["webui_url"],
        "capabilities": [{"type": name} for name in old["capabilities"]],
    }
    since = {"nanoseconds": int(world.since * 1e9)}
    return {
        "framework_info": info,
        "active": True,
        "connected": True,
        "recovered": False,
        "registered_time": since,
        "reregistered_time": since,
        **({"allocated_resources": allocated} if allocated else {}),
        "offer_constraints": {},
    }


def master(world: World, address: str) -> Json:
    """The master as in `GET_MASTER`."""
    host, _, port = address.rpartition(":")
    info = {
        "id": world.agents.prefix,
        "ip": int.from_bytes(ipaddress.ip_address(host).packed, "little") if _is_address(host) else 0,
        "port": int(port),
        "pid": f"master@{address}",
        "hostname": host,
        "version": VERSION,
        "address": {"hostname": host, "ip": host, "port": int(port)},
        "capabilities": [{"type": name} for name in MASTER_CAPABILITIES],
    }
    return {"master_info": info, "start_time": world.since, "elected_time": world.since}


def _is_address(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 4  # noqa: PLR2004 - Mesos has only these
    except ValueError:
        return False


def task(task: Json) -> Json:
    """One task as in `GET_TASKS`."""
    scalars = {name: value for name, value in task["resources"].items() if name in NOTHING}
    ports = [(port["number"], port["number"]) for port in task["discovery"]["ports"]["ports"]]
    executor = task["executor_id"] or task["id"]
    statuses = [
        {
            "task_id": {"value": task["id"]},
            "state": status["state"],
            "source": "SOURCE_EXECUTOR",
            "agent_id": {"value": task["slave_id"]},
            "executor_id": {"value": executor},
            "timestamp": status["timestamp"],
            **{name: status[name] for name in ("healthy", "container_status") if name in status},
        }
        for status in task["statuses"]
    ]
    return {
        "name": task["name"],
        "task_id": {"value": task["id"]},
        "framework_id": {"value": task["framework_id"]},
        **({"executor_id": {"value": task["executor_id"]}} if task["executor_id"] else {}),
        "agent_id": {"value": task["slave_id"]},
        "state": task["state"],
        "resources": typed(scalars, ports, allocation=task["role"]),
        "statuses": statuses,
        "status_update_state": task["state"],
        "labels": {"labels": task["labels"]},
        "discovery": task["discovery"],
    }

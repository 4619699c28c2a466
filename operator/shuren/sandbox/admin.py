"""`/sandbox/...`: the engine's own switches, no part of Marathon.

| call | what |
|---|---|
| GET, PUT, DELETE `/sandbox/faults` | see `faults` |
| POST `/sandbox/leader/change` | leadership is lost and taken again; health is unknown afterwards |
| GET, POST `/sandbox/agents` | list; register one `{hostname, cpus, mem, disk, gpus, ports, attributes, …}` |
| DELETE `/sandbox/agents/{id or hostname}` | the host is gone with its tasks (`?gone=true`: for good, by operator) |
| POST `/sandbox/agents/{id}/partition` | the master loses it (`{"afterSeconds": s}` until its tasks are unreachable, default 0) |
| POST `/sandbox/agents/{id}/return` | it is back |
| POST `/sandbox/agents/{id}/maintenance` | `{"enabled": true}`: offers are declined as AgentMaintenance |
| GET `/sandbox/tasks/{task}/directory` | where its sandbox is |
| POST `/sandbox/shutdown` | ends the engine; `{"tasks": "kill"}` ends the tasks too |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from shuren.sandbox.agents.agent import Agent, AgentSpec, AgentState

if TYPE_CHECKING:
    from shuren.sandbox.engine.live import Engine

Answer = tuple[int, Any]


async def administer(engine: Engine, method: str, path: str, body: Any) -> Answer:  # noqa: C901 - the table of calls
    """Carries out one call. `path` includes the query."""
    split = urlsplit(path)
    parts = [unquote(p) for p in split.path.split("/") if p][1:]
    query = parse_qs(split.query)
    try:
        match method, parts:
            case "GET", ["faults"]:
                return 200, engine.faults.show()
            case "PUT", ["faults"]:
                engine.faults.put(body if body is not None else {}, engine)
                return 200, engine.faults.show()
            case "DELETE", ["faults"]:
                engine.faults.clear(engine)
                return 200, {}
            case "POST", ["leader", "change"]:
                await engine.change_leader()
                return 200, {"leader": engine.leader()}
            case "POST", ["shutdown"]:
                engine.kill_tasks_on_exit = engine.kill_tasks_on_exit or (isinstance(body, dict) and body.get("tasks") == "kill")
                engine.stopping.set()
                return 202, {"message": "shutting down"}
            case _, _ if not engine.is_leader():
                return 503, {"message": f"this engine is a standby; the leader is {engine.leader()}"}
            case "GET", ["agents"]:
                return 200, {"agents": [show(a) for a in engine.leading.world.agents]}
            case "POST", ["agents"]:
                return _add(engine, body)
            case _, ["agents", name, *rest]:
                return _agent(engine, method, name, rest, body, gone=query.get("gone") == ["true"])
            case "GET", ["tasks", task, "directory"]:
                return _directory(engine, task)
            case _:
                return 404, {"message": f"no such switch: {method} {split.path}"}
    except (ValueError, TypeError) as error:
        return 422, {"message": str(error)}


def show(agent: Agent) -> dict[str, Any]:
    """An agent with what is in use."""
    return {
        **agent.spec.dump(),
        "id": agent.id,
        "state": agent.state.value,
        "maintenance": agent.maintenance,
        "used": {**agent.used.json(), "ports": sorted(agent.used_ports)},
    }


def _add(engine: Engine, body: Any) -> Answer:
    if not isinstance(body, dict):
        raise TypeError("an agent is wanted: {hostname, cpus, mem, …}")
    leading = engine.leading
    agent = leading.world.agents.add(AgentSpec.parse(body), now=engine.clock.now())
    leading.lifecycle.scheduler.wake()
    return 201, show(agent)


def _agent(engine: Engine, method: str, name: str, rest: list[str], body: Any, *, gone: bool) -> Answer:
    leading = engine.leading
    agent = leading.world.agents.get(name)
    if agent is None:
        return 404, {"message": f"Agent '{name}' does not exist (or its hostname is not unique)"}
    options = body if isinstance(body, dict) else {}
    match method, rest:
        case "GET", []:
            return 200, show(agent)
        case "DELETE", []:
            leading.reachability.remove(agent, gone=gone)
        case "POST", ["partition"]:
            if agent.state is AgentState.ACTIVE:
                leading.reachability.partition(agent, after=float(options.get("afterSeconds", 0.0)))
        case "POST", ["return"]:
            if agent.state is AgentState.PARTITIONED:
                leading.reachability.come_back(agent)
        case "POST", ["maintenance"]:
            agent.maintenance = bool(options.get("enabled", True))
            leading.world.agents.moved()
            leading.lifecycle.scheduler.wake()
        case _:
            return 404, {"message": f"no such switch of an agent: {method} {'/'.join(rest)}"}
    return 200, show(agent)


def _directory(engine: Engine, task: str) -> Answer:
    instance = engine.leading.world.instances.by_task(task)
    if instance is None or instance.agent_id is None:
        return 404, {"message": f"Task '{task}' does not exist"}
    return 200, {"directory": str(engine.leading.world.sandbox_of(instance.agent_id, instance.id, instance.task_id))}

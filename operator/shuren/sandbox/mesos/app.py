"""Serves the Mesos API: the master on its own address, each agent on the agent's address and, by path, on the master's.

A standby's master redirects to nobody: both engines read the same leader, so it answers 503 until its engine leads.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from aiohttp import web

from shuren.sandbox.engine.live import NotLeader
from shuren.sandbox.mesos import files, state, v1
from shuren.sandbox.mesos.nested import Nested
from shuren.sandbox.mesos.recordio import MEDIA_TYPE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shuren.sandbox.agents.agent import Agent
    from shuren.sandbox.contract import Json
    from shuren.sandbox.engine.live import Engine
    from shuren.sandbox.engine.world import World
    from shuren.sandbox.runners.port import Room

JSON = "application/json"
TASKS_LIMIT = 100
_CALLS = frozenset(
    {
        "GET_HEALTH", "GET_FLAGS", "GET_VERSION", "GET_METRICS", "GET_LOGGING_LEVEL", "SET_LOGGING_LEVEL", "LIST_FILES",
        "READ_FILE", "GET_STATE", "GET_AGENTS", "GET_FRAMEWORKS", "GET_EXECUTORS", "GET_OPERATIONS", "GET_TASKS", "GET_ROLES",
        "GET_WEIGHTS", "UPDATE_WEIGHTS", "GET_MASTER", "SUBSCRIBE", "RESERVE_RESOURCES", "UNRESERVE_RESOURCES", "CREATE_VOLUMES",
        "DESTROY_VOLUMES", "GROW_VOLUME", "SHRINK_VOLUME", "GET_MAINTENANCE_STATUS", "GET_MAINTENANCE_SCHEDULE",
        "UPDATE_MAINTENANCE_SCHEDULE", "START_MAINTENANCE", "STOP_MAINTENANCE", "DRAIN_AGENT", "DEACTIVATE_AGENT",
        "REACTIVATE_AGENT", "GET_QUOTA", "UPDATE_QUOTA", "SET_QUOTA", "REMOVE_QUOTA", "TEARDOWN", "MARK_AGENT_GONE",
    }
)  # fmt: skip
"""What Mesos 1.11 knows; anything else is no type for it."""
_AGENT_CALLS = frozenset(
    {
        "GET_CONTAINERS", "LAUNCH_CONTAINER", "WAIT_CONTAINER", "KILL_CONTAINER", "REMOVE_CONTAINER", "LAUNCH_NESTED_CONTAINER",
        "WAIT_NESTED_CONTAINER", "KILL_NESTED_CONTAINER", "REMOVE_NESTED_CONTAINER", "LAUNCH_NESTED_CONTAINER_SESSION",
        "ATTACH_CONTAINER_INPUT", "ATTACH_CONTAINER_OUTPUT",
    }
)  # fmt: skip
"""What agents know about containers, and masters do not."""
_NEED_MORE = frozenset({"GET_METRICS", "LIST_FILES", "READ_FILE", "TEARDOWN"})
"""Calls that carry an object of their own name, of those that only read and those that tests ask for."""
MAX_AGENT_SITES = 64
"""With more agents than this only the paths `/slave(<n>)/…` on the master serve them."""


async def serve_mesos(engine: Engine, host: str, port: int) -> web.AppRunner:
    """Starts serving. The runner's `cleanup` ends it."""
    mesos = Mesos(engine, host, port)
    # a session ends with the connection that asked for it
    runner = web.AppRunner(mesos.app(), access_log=None, handle_signals=False, shutdown_timeout=0.5, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    if engine.is_leader() and len(engine.leading.world.agents) <= MAX_AGENT_SITES:
        for address in {a.hostname for a in engine.leading.world.agents} - {host}:
            try:
                await web.TCPSite(runner, address, port).start()
            except OSError:
                continue  # not a loopback address, or taken: its paths on the master remain
            mesos.sites.add(address)
    return runner


class Mesos:
    """The handlers."""

    def __init__(self, engine: Engine, host: str, port: int) -> None:
        self._engine, self._host, self._port = engine, host, port
        self.sites: set[str] = set()
        self._nested = Nested()

    def app(self) -> web.Application:
        app = web.Application()
        app.on_shutdown.append(self._close)
        app.router.add_route("*", "/{path:.*}", self._answer)
        return app

    async def _close(self, app: web.Application) -> None:
        del app
        self._nested.close()

    def _pid(self, agent: Agent) -> str:
        host = agent.hostname if agent.hostname in self.sites else self._host
        return f"slave({agent.index + 1})@{host}:{self._port}"

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        try:
            world = self._engine.leading.world
        except NotLeader:
            return web.Response(status=503, text="No leader elected")
        path = request.path.rstrip("/")
        here = request.url.host
        agent = next((a for a in world.agents if a.hostname == here), None) if here in self.sites else None
        if path.startswith("/slave("):
            number, _, path = path[len("/slave(") :].partition(")")
            agent = next((a for a in world.agents if str(a.index + 1) == number), None)
            if agent is None:
                return files.not_found()
        if path.startswith("/files/"):
            return await files.answer(world.directory / "agents", request)
        if path in {"/api/v1", "/master/api/v1"}:
            return await self._operator_call(world, request, agent)
        path = path.removeprefix("/master")
        return self._of_agent(world, agent, path) if agent is not None else self._of_master(world, path, request.query)

    def _of_agent(self, world: World, agent: Agent, path: str) -> web.Response:
        match path:
            case "/health":
                return web.Response()
            case "/state" | "/slave/state":
                return web.json_response(state.own_json(world, agent, self._pid(agent), master=self._host))
            case "/metrics/snapshot":
                return web.json_response(state.agent_metrics(world, agent))
            case _:
                return files.not_found()

    def _of_master(self, world: World, path: str, query: Mapping[str, str]) -> web.Response:
        pids = {a.id: self._pid(a) for a in world.agents}
        address = f"{self._host}:{self._port}"
        match path:
            case "/health" | "":
                return web.Response()
            case "/state":
                return web.json_response(state.master_state(world, address=address, marathon=self._engine.address, pids=pids))
            case "/state-summary":
                return web.json_response(state.state_summary(world, address=address, marathon=self._engine.address, pids=pids))
            case "/slaves":
                chosen = [a for a in state.reachable(world) if query.get("slave_id") in {None, a.id}]
                agents = [state.full_agent_json(a, pids[a.id], world.settings.mesos_role) for a in chosen]
                return web.json_response({"slaves": agents, "recovered_slaves": []})
            case "/tasks":
                return web.json_response({"tasks": _page([task for part in state.split_tasks(world) for task in part], query)})
            case "/frameworks":
                there = [state.framework_json(world, self._engine.address)]
                return web.json_response({"frameworks": there, "completed_frameworks": [], "unregistered_frameworks": []})
            case "/metrics/snapshot":
                return web.json_response(state.master_metrics(world))
            case "/version":
                return web.json_response({"version": state.VERSION})
            case "/redirect":
                return web.Response(status=307, headers={"Location": f"//{address}"})
            case _:
                return files.not_found()

    async def _operator_call(self, world: World, request: web.Request, agent: Agent | None) -> web.StreamResponse:
        """One call of the v1 operator API, in JSON."""
        refused = _refusal(request, streams=agent is not None)
        if refused is not None:
            return refused
        if agent is not None and request.content_type == MEDIA_TYPE:
            return await self._nested.attach_input(request)
        try:
            body = json.loads(await request.read())
        except ValueError as error:
            return web.Response(status=400, text=f"Failed to parse body into JSON: {error}")
        call = body.get("type") if isinstance(body, dict) else None
        if agent is not None and isinstance(call, str) and call in _AGENT_CALLS:
            return await self._agent_call(world, request, agent, body)
        if not isinstance(call, str) or call not in _CALLS:
            return web.Response(status=400, text="Failed to validate master::Call: Expecting 'type' to be present")
        if call in _NEED_MORE and call.lower() not in body:
            return web.Response(status=400, text=f"Failed to validate master::Call: Expecting '{call.lower()}' to be present")
        answer = self._called(world, call)
        if answer is None:
            return web.Response(status=501, text=f"{call} is not served here")
        return web.json_response({"type": call, call.lower(): answer})

    async def _agent_call(self, world: World, request: web.Request, agent: Agent, call: Json) -> web.StreamResponse:
        """A call that agents have beside those of masters: about containers, all of which are tasks'."""

        def room(container: str) -> Room | None:
            return world.runner.room(state.running_in(world, agent, container))

        match call["type"]:
            case "LAUNCH_NESTED_CONTAINER_SESSION":
                return await self._nested.launch(request, call, room)
            case "WAIT_NESTED_CONTAINER" | "WAIT_CONTAINER":
                return await self._nested.wait(call)
            case "KILL_NESTED_CONTAINER" | "KILL_CONTAINER":
                return self._nested.kill(call)
            case other:
                return web.Response(status=501, text=f"{other} is not served here")

    def _called(self, world: World, call: object) -> Json | None:
        answers: dict[object, Callable[[], Json]] = {
            "GET_HEALTH": lambda: {"healthy": True},
            "GET_VERSION": lambda: {"version_info": {"version": state.VERSION}},
            "GET_FLAGS": lambda: {"flags": [{"name": "cluster", "value": state.CLUSTER}]},
            "GET_METRICS": lambda: {"metrics": [{"name": k, "value": v} for k, v in state.master_metrics(world).items()]},
            "GET_MASTER": lambda: v1.master(world, f"{self._host}:{self._port}"),
            "GET_AGENTS": lambda: self._agents(world),
            "GET_FRAMEWORKS": lambda: self._frameworks(world),
            "GET_EXECUTORS": lambda: {"executors": []},
            "GET_TASKS": lambda: self._tasks(world),
            "GET_STATE": lambda: self._state(world),
        }
        answer = answers.get(call) if isinstance(call, str) else None
        return None if answer is None else answer()

    def _state(self, world: World) -> Json:
        parts = {"get_tasks": self._tasks(world), "get_agents": self._agents(world), "get_frameworks": self._frameworks(world)}
        return {**parts, "get_executors": {"executors": []}}

    def _agents(self, world: World) -> Json:
        role = world.settings.mesos_role
        return {"agents": [v1.agent(a, self._pid(a), role) for a in state.reachable(world)], "recovered_agents": []}

    def _tasks(self, world: World) -> Json:
        live, unreachable, done = state.split_tasks(world)
        named = {"tasks": live, "unreachable_tasks": unreachable, "completed_tasks": done}
        return {name: [v1.task(t) for t in chosen] for name, chosen in named.items()}

    def _frameworks(self, world: World) -> Json:
        return {"frameworks": [v1.framework(world, self._engine.address)], "completed_frameworks": []}


def _page(tasks: list[Json], query: Mapping[str, str]) -> list[Json]:
    """`/tasks` by `framework_id`, `task_id`, `offset` and `limit` (100 as Mesos has it), newest first unless `order=asc`."""
    chosen = [
        t for t in tasks if query.get("task_id") in {None, "", t["id"]} and query.get("framework_id") in {None, "", "*", t["framework_id"]}
    ]
    chosen.sort(key=lambda t: t["statuses"][0]["timestamp"] if t["statuses"] else 0.0, reverse=query.get("order") != "asc")
    start = _whole(query.get("offset"), 0)
    return chosen[start : start + _whole(query.get("limit"), TASKS_LIMIT)]


def _whole(text: str | None, default: int) -> int:
    return int(text) if text is not None and text.isdecimal() else default


def _refusal(request: web.Request, *, streams: bool) -> web.Response | None:
    """What the operator API says to a wrong method or media type; None when all is well. `streams`: RecordIO is spoken too."""
    if request.method != "POST":
        text = f"405 Method Not Allowed. Expecting one of {{ 'POST' }}, but received '{request.method}'."
        return web.Response(status=405, headers={"Allow": "POST"}, text=text)
    if request.headers.get("Content-Type") is None:
        return web.Response(status=400, text="Expecting 'Content-Type' to be present")
    known = (JSON, MEDIA_TYPE) if streams else (JSON,)
    if request.content_type not in known:
        return web.Response(status=415, text=f"Expecting 'Content-Type' of {JSON} or application/x-protobuf")
    accept = request.headers.get("Accept", "*/*")
    if not any(wanted in accept for wanted in (*known, "application/*", "*/*")):
        return web.Response(status=406, text=f"Expecting 'Accept' to allow 'application/x-protobuf' or '{JSON}'")
    return None

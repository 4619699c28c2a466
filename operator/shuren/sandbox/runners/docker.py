"""Runs tasks as containers through the Docker Engine API on its socket.

What has no image (a plain `cmd` app) runs in a small default image. Host networking binds the agent's ports as they are; bridge networking
publishes each mapping on the agent's address. The container's own exit is the task's; containers outlive the engine and are found again by
their name.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import aiohttp

from shuren.sandbox.engine.environment import network_mode
from shuren.sandbox.runners.docker_request import container_address, container_name, container_request, further_networks, split_image
from shuren.sandbox.runners.fetch import FetchError, fetch_all
from shuren.sandbox.runners.port import Launch, Report, Room, TaskStatus, Verdict
from shuren.sandbox.runners.probing import Prober, bindable

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from shuren.sandbox.contract import Json

API = "http://docker/v1.41"
_PATIENCE = 5.0
"""Seconds within which a Docker Engine has to answer at the start."""


class DockerError(Exception):
    """The Docker Engine said no; the message is its own."""


async def require(socket: str) -> None:
    """Return when a Docker Engine answers on its socket; without one, each task would fail on its own. ConnectionError says what to do."""
    timeout = aiohttp.ClientTimeout(total=_PATIENCE)
    try:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=socket), timeout=timeout) as session,
            session.get(f"{API}/_ping") as answer,
        ):
            answer.raise_for_status()
    except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
        why = getattr(error, "strerror", None) or str(error) or f"silent for {_PATIENCE:g} s"
        raise ConnectionError(
            f"no Docker Engine answers on {socket} ({why}): start Docker, name its socket with --docker-socket, "
            "or run tasks as local processes with --runner process"
        ) from error


class DockerRunner:
    """`--runner docker`."""

    binds_ports = True

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self._session: aiohttp.ClientSession | None = None
        self._report: Report = lambda _: None
        self._prober = Prober()
        self._jobs: set[asyncio.Task[None]] = set()
        self._launches: dict[str, Launch] = {}
        self._killed: set[str] = set()
        self._lost: set[str] = set()

    def start(self, report: Report) -> None:
        self._report = report
        self._session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=self._socket, limit=0))

    def _job(self, work: Coroutine[Any, Any, None]) -> None:
        job = asyncio.ensure_future(work)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    # ---------------------------------------------------------------- Docker's API
    async def _call(self, method: str, path: str, *, body: Json | None = None, expect: tuple[int, ...] = (200, 201, 204, 304)) -> Any:
        assert self._session is not None  # noqa: S101 - start() comes first
        try:
            async with self._session.request(method, API + path, json=body, timeout=aiohttp.ClientTimeout(total=None)) as answer:
                raw = await answer.read()
                if answer.status not in expect:
                    raise DockerError(_message(raw) or f"{method} {path}: status {answer.status}")
                return json.loads(raw) if raw and answer.content_type == "application/json" else raw
        except aiohttp.ClientError as error:
            raise DockerError(f"Docker Engine at {self._socket} does not answer: {error}") from error

    async def _pull(self, image: str, *, force: bool) -> None:
        if not force:
            with contextlib.suppress(DockerError):
                await self._call("GET", f"/images/{quote(image)}/json")
                return
        name, tag = split_image(image)
        raw = await self._call("POST", f"/images/create?{urlencode({'fromImage': name, 'tag': tag})}")
        for line in raw.splitlines() if isinstance(raw, bytes) else ():
            if (error := json.loads(line).get("error")) is not None:
                raise DockerError(str(error))

    # ---------------------------------------------------------------- tasks
    def launch(self, launch: Launch) -> None:
        self._launches[launch.task_id] = launch
        self._job(self._bring_up(launch))

    async def _bring_up(self, launch: Launch) -> None:
        try:
            launch.directory.mkdir(parents=True, exist_ok=True)
            for name in ("stdout", "stderr"):
                (launch.directory / name).touch()
            for volume in launch.volumes:
                await asyncio.to_thread(os.makedirs, volume["path"], exist_ok=True)
            await fetch_all(launch.definition.get("fetch") or launch.definition.get("artifacts") or (), launch.directory)
            request = container_request(launch)
            docker = launch.definition.get("container", {}).get("docker", {})
            await self._pull(request["Image"], force=bool(docker.get("forcePullImage")))
            name = container_name(launch.task_id)
            await self._call("POST", f"/containers/create?name={name}", body=request)
            for network in further_networks(launch.definition):
                await self._call("POST", f"/networks/{quote(network)}/connect", body={"Container": name})
            self._tell(launch, "TASK_STARTING")
            await self._call("POST", f"/containers/{name}/start")
            inside = container_address(await self._call("GET", f"/containers/{name}/json"))
        except (DockerError, FetchError, OSError, ValueError) as error:
            state = "TASK_KILLED" if launch.task_id in self._killed else "TASK_FAILED"
            self._end(launch, state, f"Failed to launch container: {error}")
            return
        self._tell(launch, "TASK_RUNNING", ip=inside)
        if launch.task_id in self._killed:
            self._job(self._stop(launch.task_id, 0.0))
        await self._follow(launch)

    async def _follow(self, launch: Launch) -> None:
        name = container_name(launch.task_id)
        log = asyncio.ensure_future(self._copy_logs(launch, name))
        try:
            answer = await self._call("POST", f"/containers/{name}/wait")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(log), 2.0)
        except DockerError as error:
            self._end(launch, "TASK_FAILED", str(error))
            return
        finally:
            log.cancel()
        code = int(answer.get("StatusCode", -1))
        if launch.task_id in self._killed:
            self._end(launch, "TASK_KILLED", "Container was stopped")
        elif code == 0:
            self._end(launch, "TASK_FINISHED", "Container exited with status 0")
        else:
            self._end(launch, "TASK_FAILED", f"Container exited with status {code}")
        with contextlib.suppress(DockerError):
            await self._call("DELETE", f"/containers/{name}?v=true")

    async def _copy_logs(self, launch: Launch, name: str) -> None:
        """The whole log from its beginning, so what a predecessor copied is written anew. Docker frames it (one byte for the stream, four
        for the length), but not that of a terminal.
        """
        assert self._session is not None  # noqa: S101 - start() comes first
        url = f"{API}/containers/{name}/logs?follow=true&stdout=true&stderr=true"
        with contextlib.suppress(aiohttp.ClientError, asyncio.IncompleteReadError, OSError):
            async with self._session.get(url, timeout=aiohttp.ClientTimeout(total=None)) as answer:
                with (
                    (launch.directory / "stdout").open("wb", buffering=0) as out,
                    (launch.directory / "stderr").open("wb", buffering=0) as err,
                ):
                    while launch.definition.get("tty"):
                        data = await answer.content.readany()
                        if not data:
                            return
                        out.write(data)
                    while True:
                        head = await answer.content.readexactly(8)
                        data = await answer.content.readexactly(int.from_bytes(head[4:8], "big"))
                        (err if head[0] == 2 else out).write(data)  # noqa: PLR2004 - Docker's number of stderr

    def adopt(self, launch: Launch, *, running: bool) -> None:
        self._launches[launch.task_id] = launch
        self._job(self._take_over(launch, running=running))

    async def _take_over(self, launch: Launch, *, running: bool) -> None:
        try:
            found = await self._call("GET", f"/containers/{container_name(launch.task_id)}/json")
        except DockerError as error:
            if running:
                self._end(launch, "TASK_FAILED", f"Container is gone: {error}")
            else:
                await self._bring_up(launch)
            return
        if not running and found.get("State", {}).get("Running"):
            self._tell(launch, "TASK_RUNNING", ip=container_address(found))
        await self._follow(launch)

    def _tell(self, launch: Launch, state: str, message: str = "", *, ip: str | None = None) -> None:
        if ip is None and network_mode(launch.definition) == "host":
            ip = launch.host
        if launch.task_id not in self._lost:
            self._report(TaskStatus(task_id=launch.task_id, state=state, message=message, ip=ip))

    def _end(self, launch: Launch, state: str, message: str) -> None:
        if self._launches.pop(launch.task_id, None) is not None:
            self._tell(launch, state, message)
        self._killed.discard(launch.task_id)
        self._lost.discard(launch.task_id)

    def kill(self, task_id: str, *, grace: float) -> None:
        if task_id in self._launches and task_id not in self._killed:
            self._killed.add(task_id)
            self._job(self._stop(task_id, grace))

    async def _stop(self, task_id: str, grace: float) -> None:
        with contextlib.suppress(DockerError):
            await self._call("POST", f"/containers/{container_name(task_id)}/stop?t={max(0, round(grace))}")

    def lose(self, task_id: str) -> None:
        if task_id in self._launches:
            self._lost.add(task_id)
            self.kill(task_id, grace=0.0)

    # ---------------------------------------------------------------- checks
    def probe(self, task_id: str, check: Json, *, host: str, port: int | None, done: Verdict) -> None:
        launch = self._launches.get(task_id)
        if launch is None:
            return

        async def run() -> None:
            if check.get("protocol") == "COMMAND":
                cause = await self._exec(task_id, check)
            else:
                cause = await self._prober.check(check, host=host, port=port, directory=launch.directory, environment=launch.environment)
            done(cause is None, cause)

        self._job(run())

    async def _exec(self, task_id: str, check: Json) -> str | None:
        """A COMMAND check runs inside the container."""
        timeout = max(0.001, float(check.get("timeoutSeconds", 20)))
        try:
            async with asyncio.timeout(timeout):
                body = {"Cmd": ["/bin/sh", "-c", check["command"]["value"]], "AttachStdout": False}
                made = await self._call("POST", f"/containers/{container_name(task_id)}/exec", body=body)
                await self._call("POST", f"/exec/{made['Id']}/start", body={"Detach": False})
                while (state := await self._call("GET", f"/exec/{made['Id']}/json")).get("Running"):  # noqa: ASYNC110 - the engine has no wait for an exec
                    await asyncio.sleep(0.05)
        except TimeoutError:
            return f"Command timed out after {timeout:g} s"
        except DockerError as error:
            return str(error)
        return None if state.get("ExitCode") == 0 else f"Command returned exit status {state.get('ExitCode')}"

    def fetch(self, task_id: str, url: str, *, timeout: float, done: Callable[[int, str, str], None]) -> None:
        del task_id

        async def run() -> None:
            done(*await self._prober.ready(url, timeout=timeout))

        self._job(run())

    def room(self, task_id: str) -> Room | None:
        del task_id
        return None  # as in Mesos, where Docker's containers take no nested ones

    def settled(self, task_id: str) -> bool:
        del task_id
        return False

    def port_free(self, host: str, port: int) -> bool:
        del host
        return bindable(port)

    async def close(self, *, kill: bool) -> None:
        if kill:
            await asyncio.gather(*(self._stop(task, 0.0) for task in tuple(self._launches)))
        for job in tuple(self._jobs):
            job.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)
        await self._prober.close()
        if self._session is not None:
            await self._session.close()


def _message(raw: bytes) -> str:
    with contextlib.suppress(ValueError, AttributeError):
        return str(json.loads(raw).get("message", ""))
    return raw.decode(errors="replace")[:200]

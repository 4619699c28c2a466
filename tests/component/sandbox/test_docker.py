"""The docker runner against a Docker Engine that a test plays on a socket: what is asked of it, and what becomes of its answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from shuren.sandbox.__main__ import main
from shuren.sandbox.runners.docker import DockerRunner, require
from shuren.sandbox.runners.docker_request import LABEL, container_name
from shuren.sandbox.runners.port import Launch, TaskStatus

Json = dict[str, Any]


class FakeDocker:
    """Enough of the Docker Engine API: images, containers that end when told, logs, exec."""

    def __init__(self) -> None:
        self.images = {"busybox:stable"}
        self.containers: dict[str, Json] = {}
        self.ends: dict[str, asyncio.Future[int]] = {}
        self.stops: list[tuple[str, str]] = []
        self.removed: list[str] = []
        self.joined: list[tuple[str, str]] = []
        self.app = web.Application()
        add = self.app.router.add_route
        add("GET", "/v1.41/_ping", self._ping)
        add("GET", "/v1.41/images/{name:.*}/json", self._image)
        add("POST", "/v1.41/images/create", self._pull)
        add("POST", "/v1.41/containers/create", self._create)
        add("POST", "/v1.41/containers/{id}/start", self._start)
        add("POST", "/v1.41/containers/{id}/wait", self._wait)
        add("POST", "/v1.41/containers/{id}/stop", self._stop)
        add("GET", "/v1.41/containers/{id}/logs", self._logs)
        add("GET", "/v1.41/containers/{id}/json", self._inspect)
        add("DELETE", "/v1.41/containers/{id}", self._remove)
        add("POST", "/v1.41/containers/{id}/exec", self._exec)
        add("POST", "/v1.41/networks/{name}/connect", self._connect)
        add("POST", "/v1.41/exec/{id}/start", self._run)
        add("GET", "/v1.41/exec/{id}/json", self._result)

    async def _ping(self, request: web.Request) -> web.Response:
        del request
        return web.Response(text="OK")

    async def _image(self, request: web.Request) -> web.Response:
        known = request.match_info["name"] in self.images
        return web.json_response({} if known else {"message": "No such image"}, status=200 if known else 404)

    async def _pull(self, request: web.Request) -> web.Response:
        image = f"{request.query['fromImage']}:{request.query['tag']}"
        if image.startswith("secret"):
            return web.Response(text='{"status":"Pulling"}\n{"error":"pull access denied"}\n')
        self.images.add(image)
        return web.Response(text='{"status":"Pulling"}\n')

    async def _create(self, request: web.Request) -> web.Response:
        name = request.query["name"]
        self.containers[name] = await request.json()
        self.ends[name] = asyncio.get_running_loop().create_future()
        return web.json_response({"Id": name}, status=201)

    async def _start(self, request: web.Request) -> web.Response:
        self.containers[request.match_info["id"]]["running"] = True
        return web.Response(status=204)

    async def _wait(self, request: web.Request) -> web.Response:
        return web.json_response({"StatusCode": await asyncio.shield(self.ends[request.match_info["id"]])})

    async def _stop(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        self.stops.append((name, request.query["t"]))
        self.end(name, 143)
        return web.Response(status=204)

    async def _logs(self, request: web.Request) -> web.Response:
        if self.containers[request.match_info["id"]].get("Tty"):
            return web.Response(body=b"plain text of a terminal")
        return web.Response(body=b"\x01\0\0\0\0\0\0\x03out\x02\0\0\0\0\0\0\x03err")

    async def _inspect(self, request: web.Request) -> web.Response:
        found = self.containers.get(request.match_info["id"])
        if found is None:
            return web.json_response({"message": "No such container"}, status=404)
        bridged = found["HostConfig"]["NetworkMode"] != "host"
        networks = {"bridge": {"IPAddress": "172.17.0.9"}} if bridged else {"host": {"IPAddress": ""}}
        return web.json_response(
            {"State": {"Running": found.get("running", False)}, "NetworkSettings": {"IPAddress": "", "Networks": networks}}
        )

    async def _connect(self, request: web.Request) -> web.Response:
        self.joined.append((request.match_info["name"], (await request.json())["Container"]))
        return web.Response()

    async def _remove(self, request: web.Request) -> web.Response:
        self.removed.append(request.match_info["id"])
        return web.Response(status=204)

    async def _exec(self, request: web.Request) -> web.Response:
        command = (await request.json())["Cmd"][-1]
        return web.json_response({"Id": "good" if command == "true" else "bad"}, status=201)

    async def _run(self, request: web.Request) -> web.Response:
        del request
        return web.Response()

    async def _result(self, request: web.Request) -> web.Response:
        return web.json_response({"Running": False, "ExitCode": 0 if request.match_info["id"] == "good" else 2})

    def end(self, name: str, code: int) -> None:
        if not self.ends[name].done():
            self.ends[name].set_result(code)


class Bench:
    def __init__(self, directory: Path, docker: FakeDocker, socket: Path) -> None:
        self.directory, self.docker, self.socket = directory, docker, str(socket)
        self.statuses: list[TaskStatus] = []
        self.runner = DockerRunner(self.socket)
        self.runner.start(self.statuses.append)

    def launch_of(self, name: str, **definition: Any) -> Launch:
        return Launch(
            task_id=name, app_id="/a", agent_id="S0", host="127.0.0.2", definition=definition, environment={"X": "y"},
            ports=(31_001,), directory=self.directory / name,
        )  # fmt: skip

    def states(self) -> list[str]:
        return [s.state for s in self.statuses]

    async def until(self, question: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not question():
                await asyncio.sleep(0.01)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    docker = FakeDocker()
    server = web.AppRunner(docker.app, shutdown_timeout=0.1)
    await server.setup()
    await web.UnixSite(server, tmp_path / "docker.sock").start()
    made = Bench(tmp_path, docker, tmp_path / "docker.sock")
    yield made
    await made.runner.close(kill=False)
    for future in docker.ends.values():
        future.cancel()
    await server.cleanup()


async def test_a_container_runs_logs_and_ends(bench: Bench) -> None:
    bench.runner.launch(bench.launch_of("t1", cmd="echo x"))
    await bench.until(lambda: "TASK_RUNNING" in bench.states())
    name = container_name("t1")
    assert bench.docker.containers[name]["Labels"] == {LABEL: "t1"}
    await bench.until(lambda: (bench.directory / "t1" / "stderr").read_text() == "err")
    assert (bench.directory / "t1" / "stdout").read_text() == "out"
    bench.docker.end(name, 4)
    await bench.until(lambda: name in bench.docker.removed)
    assert bench.states() == ["TASK_STARTING", "TASK_RUNNING", "TASK_FAILED"]
    assert bench.statuses[-1].message == "Container exited with status 4"


async def test_an_image_is_pulled_and_a_refusal_is_told(bench: Bench) -> None:
    bench.runner.launch(bench.launch_of("t1", container={"docker": {"image": "nginx"}}))
    await bench.until(lambda: "TASK_RUNNING" in bench.states())
    assert bench.docker.images == {"busybox:stable", "nginx:latest"}, "one tag of it, not all"
    bench.runner.launch(bench.launch_of("t2", container={"docker": {"image": "secret/x"}}))
    await bench.until(lambda: "TASK_FAILED" in bench.states())
    assert bench.statuses[-1].message == "Failed to launch container: pull access denied"


async def test_a_kill_stops_with_grace(bench: Bench) -> None:
    bench.runner.launch(bench.launch_of("t1", cmd="sleep 9"))
    await bench.until(lambda: "TASK_RUNNING" in bench.states())
    bench.runner.kill("t1", grace=7)
    await bench.until(lambda: "TASK_KILLED" in bench.states())
    assert bench.docker.stops == [(container_name("t1"), "7")]


async def test_a_lost_container_ends_without_a_word(bench: Bench) -> None:
    bench.runner.launch(bench.launch_of("t1", cmd="sleep 9"))
    await bench.until(lambda: "TASK_RUNNING" in bench.states())
    bench.runner.lose("t1")
    await bench.until(lambda: bool(bench.docker.removed))
    assert bench.states() == ["TASK_STARTING", "TASK_RUNNING"]


async def test_a_successor_finds_the_container(bench: Bench) -> None:
    launch = bench.launch_of("t1", cmd="sleep 9")
    bench.runner.launch(launch)
    await bench.until(lambda: "TASK_RUNNING" in bench.states())
    await bench.runner.close(kill=False)
    second = Bench(bench.directory, bench.docker, Path(bench.socket))
    second.runner.adopt(launch, running=True)
    bench.docker.end(container_name("t1"), 0)
    await second.until(lambda: "TASK_FINISHED" in second.states())
    second.runner.adopt(second.launch_of("gone", cmd="x"), running=True)
    await second.until(lambda: "TASK_FAILED" in second.states())
    await second.runner.close(kill=True)


async def test_commands_are_checked_inside(bench: Bench) -> None:
    bench.runner.launch(bench.launch_of("t1", cmd="sleep 9"))
    await bench.until(lambda: "TASK_RUNNING" in bench.states())
    verdicts: list[tuple[bool, str | None]] = []
    for count, value in enumerate(("true", "false"), start=1):
        check = {"protocol": "COMMAND", "command": {"value": value}}
        bench.runner.probe("t1", check, host="127.0.0.2", port=None, done=lambda ok, cause: verdicts.append((ok, cause)))
        await bench.until(lambda wanted=count: len(verdicts) == wanted)  # type: ignore[misc]
    assert verdicts == [(True, None), (False, "Command returned exit status 2")]


async def test_without_a_docker_engine_launches_fail_with_the_reason(tmp_path: Path) -> None:
    docker = FakeDocker()
    lonely = Bench(tmp_path, docker, tmp_path / "none.sock")
    lonely.runner.launch(lonely.launch_of("t1", cmd="x"))
    await lonely.until(lambda: "TASK_FAILED" in lonely.states())
    assert "does not answer" in lonely.statuses[-1].message
    await lonely.runner.close(kill=True)


async def test_the_log_of_a_terminal_has_no_frames(bench: Bench) -> None:
    bench.runner.launch(bench.launch_of("t1", cmd="top", tty=True))
    await bench.until(lambda: "TASK_RUNNING" in bench.states())
    await bench.until(lambda: (bench.directory / "t1" / "stdout").read_text() == "plain text of a terminal")


async def test_artefacts_are_fetched_into_the_sandbox(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "conf").write_text("x=1")
    bench.runner.launch(bench.launch_of("t1", cmd="cat conf", fetch=[{"uri": f"file://{tmp_path}/conf"}]))
    await bench.until(lambda: "TASK_RUNNING" in bench.states())
    assert (bench.directory / "t1" / "conf").read_text() == "x=1"
    bench.runner.launch(bench.launch_of("t2", cmd="x", fetch=[{"uri": "file:///no/such"}]))
    await bench.until(lambda: "TASK_FAILED" in bench.states())
    assert "/no/such" in bench.statuses[-1].message


async def test_a_container_on_a_bridge_has_its_own_address(bench: Bench) -> None:
    networks = [{"mode": "container", "name": "one"}, {"mode": "container", "name": "two"}]
    bench.runner.launch(bench.launch_of("t1", cmd="x", networks=networks))
    await bench.until(lambda: "TASK_RUNNING" in bench.states())
    assert [s.ip for s in bench.statuses] == [None, "172.17.0.9"]
    assert bench.docker.joined == [("two", container_name("t1"))]
    bench.runner.launch(bench.launch_of("t2", cmd="x"))
    await bench.until(lambda: bench.states().count("TASK_RUNNING") == 2)
    assert bench.statuses[-1].ip == "127.0.0.2", "on the host's network it is the agent's"


async def test_a_successor_writes_the_log_once(bench: Bench) -> None:
    launch = bench.launch_of("t1", cmd="sleep 9")
    bench.runner.launch(launch)
    await bench.until(lambda: (bench.directory / "t1" / "stdout").exists() and (bench.directory / "t1" / "stdout").read_text() == "out")
    await bench.runner.close(kill=False)
    (bench.directory / "t1" / "stdout").write_text("ou")
    second = Bench(bench.directory, bench.docker, Path(bench.socket))
    second.runner.adopt(launch, running=True)
    await second.until(lambda: (bench.directory / "t1" / "stdout").read_text() == "out")
    await second.runner.close(kill=False)


async def test_an_unknown_parameter_is_told(bench: Bench) -> None:
    parameters = [{"key": "no-such-option", "value": "1"}]
    bench.runner.launch(bench.launch_of("t1", cmd="x", container={"docker": {"image": "busybox:stable", "parameters": parameters}}))
    await bench.until(lambda: "TASK_FAILED" in bench.states())
    assert "docker parameter 'no-such-option' is not known here" in bench.statuses[-1].message


def test_without_a_docker_engine_the_program_ends_and_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    socket = tmp_path / "docker.sock"
    state = tmp_path / "state"

    code = main(["--state-dir", str(state), "--listen", "127.0.0.1:0", "--runner", "docker", "--docker-socket", str(socket)])

    assert code == 1
    assert not state.exists()
    assert capsys.readouterr().err == (
        f"error: no Docker Engine answers on {socket} (No such file or directory): start Docker, name its socket with --docker-socket, "
        "or run tasks as local processes with --runner process\n"
    )


async def test_a_docker_engine_that_answers_will_do(bench: Bench) -> None:
    await require(bench.socket)


async def test_what_answers_on_the_socket_must_be_a_docker_engine(tmp_path: Path) -> None:
    runner = web.AppRunner(web.Application())
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "other.sock")).start()
    try:
        with pytest.raises(ConnectionError, match="404"):
            await require(str(tmp_path / "other.sock"))
    finally:
        await runner.cleanup()

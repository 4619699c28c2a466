"""The process runner: real processes, signals, files, fetches, checks, and take-over by a successor."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import tarfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from shuren.sandbox.runners.port import Launch, TaskStatus
from shuren.sandbox.runners.probing import bindable
from shuren.sandbox.runners.process import ProcessRunner, as_user, command_of, sandbox_files, start_time


class Bench:
    """A runner with all that it reports."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.runner = ProcessRunner(start_delay=0, run_delay=0, kill_delay=0)
        self.statuses: list[TaskStatus] = []
        self.runner.start(self._report)

    def _report(self, status: TaskStatus) -> None:
        self.statuses.append(status)

    def launch_of(self, name: str, **definition: Any) -> Launch:
        environment = {"MESOS_TASK_ID": name, **definition.pop("env", {})}
        return Launch(
            task_id=name, app_id="/" + name, agent_id="S0", host="127.0.0.1", definition=definition, environment=environment, ports=(),
            directory=self.directory / name,
        )  # fmt: skip

    def launch(self, name: str, **definition: Any) -> Launch:
        launch = self.launch_of(name, **definition)
        self.runner.launch(launch)
        return launch

    def states(self, name: str) -> list[str]:
        return [s.state for s in self.statuses if s.task_id == name]

    async def until(self, question: Callable[[], bool], seconds: float = 20.0) -> None:
        async with asyncio.timeout(seconds):
            while not question():
                await asyncio.sleep(0.01)

    async def reaches(self, name: str, state: str) -> TaskStatus:
        await self.until(lambda: state in self.states(name))
        return next(s for s in self.statuses if s.task_id == name and s.state == state)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    yield made
    await made.runner.close(kill=True)


async def test_a_task_runs_in_its_sandbox_with_its_environment(bench: Bench) -> None:
    launch = bench.launch("a", cmd='echo "$GREETING $PWD"; echo oops >&2', env={"GREETING": "hello"})
    end = await bench.reaches("a", "TASK_FINISHED")
    assert bench.states("a") == ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]
    assert (launch.directory / "stdout").read_text() == f"hello {launch.directory}\n"
    assert (launch.directory / "stderr").read_text() == "oops\n"
    assert (end.message, end.ip) == ("Command exited with status 0", "127.0.0.1")
    assert [p.name for p in sandbox_files(launch.directory)] == ["stderr", "stdout"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("exit 3", "Command exited with status 3"),
        ("/no/such/cmd", "Command exited with status 127"),
        ("kill -SEGV $$", "Command terminated with signal Segmentation fault"),
    ],
)
async def test_how_it_fails_is_told(bench: Bench, command: str, message: str) -> None:
    bench.launch("a", cmd=command)
    assert (await bench.reaches("a", "TASK_FAILED")).message == message


async def test_a_kill_is_a_sigterm_to_the_whole_group(bench: Bench) -> None:
    launch = bench.launch("a", cmd="sleep 1000 & echo $! > child; trap 'echo bye > last; exit 0' TERM; wait")
    await bench.until(lambda: (launch.directory / "child").exists() and bool((launch.directory / "child").read_text()))
    bench.runner.kill("a", grace=5)
    assert (await bench.reaches("a", "TASK_KILLED")).message
    assert (launch.directory / "last").read_text() == "bye\n"
    child = int((launch.directory / "child").read_text())
    await bench.until(lambda: start_time(child) is None)


async def test_who_does_not_listen_is_killed_after_the_grace_period(bench: Bench) -> None:
    launch = bench.launch("a", cmd="trap '' TERM; touch up; while :; do sleep 0.05; done")
    await bench.until((launch.directory / "up").exists)
    bench.runner.kill("a", grace=0.2)
    assert (await bench.reaches("a", "TASK_KILLED")).message == "Command terminated with signal Killed"


async def test_a_kill_before_the_start_starts_nothing(bench: Bench) -> None:
    launch = bench.launch("a", cmd="touch started")
    bench.runner.kill("a", grace=1)
    await bench.reaches("a", "TASK_KILLED")
    assert not (launch.directory / "started").exists()


async def test_what_it_leaves_behind_ends_with_it(bench: Bench) -> None:
    launch = bench.launch("a", cmd="sleep 1000 & echo $! > child")
    await bench.reaches("a", "TASK_FINISHED")
    child = int((launch.directory / "child").read_text())
    await bench.until(lambda: start_time(child) is None)


async def test_files_and_archives_are_fetched(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "inner.txt").write_text("packed")
    with tarfile.open(tmp_path / "pack.tgz", "w:gz") as archive:
        archive.add(tmp_path / "inner.txt", "inner.txt")
    (tmp_path / "tool").write_text("#!/bin/sh\necho ran > ran\n")

    async def file(_: web.Request) -> web.Response:
        return web.Response(text="from afar")

    app = web.Application()
    app.router.add_get("/data.txt", file)
    server = web.AppRunner(app)
    await server.setup()
    site = web.TCPSite(server, "127.0.0.1", 0)
    await site.start()
    port = server.addresses[0][1]
    fetch = [
        {"uri": f"file://{tmp_path}/pack.tgz"},
        {"uri": f"file://{tmp_path}/tool", "executable": True, "destPath": "bin/tool"},
        {"uri": f"http://127.0.0.1:{port}/data.txt"},
    ]
    launch = bench.launch("a", cmd="bin/tool", fetch=fetch)
    await bench.reaches("a", "TASK_FINISHED")
    await server.cleanup()
    assert (launch.directory / "inner.txt").read_text() == "packed"
    assert (launch.directory / "data.txt").read_text() == "from afar"
    assert (launch.directory / "ran").exists()


@pytest.mark.parametrize("uri", ["file:///no/such/file", "http://127.0.0.1:1/x", "hdfs://x/y"])
async def test_a_failed_fetch_is_a_failed_launch(bench: Bench, uri: str) -> None:
    launch = bench.launch("a", cmd="sleep 1", fetch=[{"uri": uri}])
    end = await bench.reaches("a", "TASK_FAILED")
    assert end.message.startswith("Failed to launch container: Failed to fetch all URIs for container '")
    assert (bench.states("a"), end.ip) == (["TASK_FAILED"], None)
    assert uri in (launch.directory / "stderr").read_text()


async def test_a_destination_outside_the_sandbox_is_refused(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    bench.launch("a", cmd="sleep 1", fetch=[{"uri": f"file://{tmp_path}/f", "destPath": "../../escaped"}])
    await bench.reaches("a", "TASK_FAILED")
    assert not (tmp_path.parent / "escaped").exists()


async def test_an_image_without_a_command_cannot_run_here(bench: Bench) -> None:
    bench.launch("a", container={"type": "DOCKER", "docker": {"image": "nginx"}})
    assert "--runner docker" in (await bench.reaches("a", "TASK_FAILED")).message


async def test_a_successor_takes_over_and_learns_how_it_ended(bench: Bench) -> None:
    launch = bench.launch("a", cmd="touch up; while [ ! -e go ]; do sleep 0.02; done; exit 7")
    await bench.until((launch.directory / "up").exists)
    await bench.reaches("a", "TASK_RUNNING")
    await bench.runner.close(kill=False)
    second = Bench(bench.directory)
    second.runner.adopt(launch, running=True)
    assert second.states("a") == []
    (launch.directory / "go").touch()
    assert (await second.reaches("a", "TASK_FAILED")).message == "Command exited with status 7"
    await second.runner.close(kill=True)


async def test_a_successor_learns_of_an_end_that_nobody_saw(bench: Bench) -> None:
    launch = bench.launch("a", cmd="touch up; while [ ! -e go ]; do sleep 0.02; done")
    await bench.reaches("a", "TASK_RUNNING")
    await bench.runner.close(kill=False)
    (launch.directory / "go").touch()
    await bench.until((launch.directory / ".exit").exists)
    second = Bench(bench.directory)
    second.runner.adopt(launch, running=True)
    await second.reaches("a", "TASK_FINISHED")
    await second.runner.close(kill=True)


async def test_a_launch_that_never_began_is_begun_by_the_successor(bench: Bench) -> None:
    launch = bench.launch_of("a", cmd="true")
    bench.runner.adopt(launch, running=False)
    await bench.reaches("a", "TASK_FINISHED")


async def test_another_process_under_the_same_pid_is_not_ours(bench: Bench) -> None:
    launch = bench.launch_of("a", cmd="true")
    launch.directory.mkdir(parents=True)
    (launch.directory / ".task").write_text(f'{{"pid": {os.getpid()}, "started": "1", "task": "a"}}')
    bench.runner.adopt(launch, running=True)
    assert (await bench.reaches("a", "TASK_FAILED")).message == "Executor terminated"


async def test_a_lost_task_ends_without_a_word(bench: Bench) -> None:
    launch = bench.launch("a", cmd="echo $$ > me; exec sleep 1000")
    await bench.reaches("a", "TASK_RUNNING")
    await bench.until(lambda: (launch.directory / "me").exists() and bool((launch.directory / "me").read_text()))
    bench.runner.lose("a")
    pid = int((launch.directory / "me").read_text())
    await bench.until(lambda: start_time(pid) is None)
    assert bench.states("a") == ["TASK_STARTING", "TASK_RUNNING"]


async def test_host_paths_appear_as_links(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x").write_text("there")
    container = {"type": "MESOS", "volumes": [{"containerPath": "mnt", "hostPath": str(tmp_path / "data"), "mode": "RW"}]}
    launch = bench.launch("a", cmd="cat mnt/x", container=container)
    await bench.reaches("a", "TASK_FINISHED")
    assert (launch.directory / "stdout").read_text() == "there"


async def verdict(bench: Bench, check: dict[str, Any], port: int | None = None) -> tuple[bool, str | None]:
    answer: asyncio.Future[tuple[bool, str | None]] = asyncio.get_running_loop().create_future()
    bench.runner.probe("a", check, host="127.0.0.1", port=port, done=lambda ok, cause: answer.set_result((ok, cause)))
    return await asyncio.wait_for(answer, 20)


async def test_checks_are_really_performed(bench: Bench) -> None:
    async def page(request: web.Request) -> web.Response:
        return web.Response(status=int(request.path[1:]), headers={"Location": "http://127.0.0.1:1/"})

    app = web.Application()
    app.router.add_get("/{status}", page)
    server = web.AppRunner(app)
    await server.setup()
    await web.TCPSite(server, "127.0.0.1", 0).start()
    port = server.addresses[0][1]
    launch = bench.launch("a", cmd="touch here; sleep 100", env={"WORD": "yes"})
    await bench.until((launch.directory / "here").exists)
    for status, healthy in ((200, True), (302, True), (399, True), (404, False), (500, False)):
        ok, _ = await verdict(bench, {"protocol": "HTTP", "path": f"/{status}", "portIndex": 0}, port)
        assert ok is healthy
    assert await verdict(bench, {"protocol": "TCP"}, port) == (True, None)
    assert await verdict(bench, {"protocol": "MESOS_TCP"}, port) == (True, None)
    assert (await verdict(bench, {"protocol": "TCP"}, 1))[0] is False
    assert (await verdict(bench, {"protocol": "HTTP", "portIndex": 3}))[0] is False
    assert await verdict(bench, {"protocol": "COMMAND", "command": {"value": 'test -e here && test "$WORD" = yes'}}) == (True, None)
    assert await verdict(bench, {"protocol": "COMMAND", "command": {"value": "exit 4"}}) == (False, "Command returned exit status 4")
    ok, cause = await verdict(bench, {"protocol": "COMMAND", "command": {"value": "sleep 9"}, "timeoutSeconds": 0.1})
    assert (ok, cause) == (False, "Command timed out after 0.1 s")
    got: asyncio.Future[tuple[int, str, str]] = asyncio.get_running_loop().create_future()
    bench.runner.fetch("a", f"http://127.0.0.1:{port}/503", timeout=5, done=lambda *answer: got.set_result(answer))
    assert (await got)[0] == 503
    await server.cleanup()


def test_commands() -> None:
    assert command_of({"cmd": "x y"}) == ["/bin/sh", "-c", "x y"]
    assert command_of({"args": ["a", "b"]}) == ["a", "b"]
    assert command_of({"exec": {"command": {"argv": ["a"]}}}) == ["a"]
    assert command_of({"exec": {"command": {"shell": "a b"}}}) == ["/bin/sh", "-c", "a b"]
    with pytest.raises(ValueError, match="nothing to run"):
        command_of({})


def test_users() -> None:
    assert as_user(["x"], None) == ["x"]
    if os.geteuid() == 0:
        assert as_user(["x"], "root") == ["x"]
        assert as_user(["x"], "nobody")[0] == "setpriv"
        with pytest.raises(ValueError, match="no such user"):
            as_user(["x"], "who-is-this")


def test_ports_in_use() -> None:
    with contextlib.closing(socket.socket()) as sock:
        sock.bind(("127.0.0.3", 0))
        sock.listen()
        assert not bindable(sock.getsockname()[1])

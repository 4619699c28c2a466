"""Commands beside tasks: the product's own client against an engine whose tasks are processes."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from served_engine import Served, until
from shuren.clients.mesos.sandboxes import Sandbox, Sandboxes
from shuren.clients.mesos.sessions import Input, Sessions, Size, Stream
from shuren.domain.errors import Gone, Invalid
from shuren.sandbox.mesos.recordio import record
from shuren.sandbox.runners.process import ProcessRunner

WEB = {"cmd": "echo up; exec sleep 1000", "env": {"GREETING": "你好"}}


class Beside:
    """A task that runs, and how commands are run beside it."""

    def __init__(self, served: Served, sandbox: Sandbox, task: str) -> None:
        self.served, self.sandbox, self.task = served, sandbox, task
        self.sessions = Sessions()

    async def run(self, *command: str, given: tuple[Input, ...] | None = None, tty: bool = False) -> tuple[str, str, int]:
        """What it wrote to standard output and error, and its exit status."""
        said = {Stream.OUT: b"", Stream.ERR: b""}
        async with asyncio.timeout(30), self.sessions.run(self.sandbox, command, tty=tty) as (session, written):
            feeding = asyncio.ensure_future(self.sessions.feed(session, pieces(given or ())))
            async for stream, data in written:
                said[stream] += data
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            return said[Stream.OUT].decode(), said[Stream.ERR].decode(), await self.sessions.status(session)


async def pieces(given: tuple[Input, ...]) -> AsyncIterator[Input]:
    for one in given:
        yield one


async def find(served: Served, app: str) -> tuple[Sandbox, str]:
    sandboxes = Sandboxes([served.mesos])
    try:
        (task,) = (await served.get(f"/v2/apps{app}/tasks"))["tasks"]
        return await sandboxes.find(task["id"], agent=task["slaveId"]), task["id"]
    finally:
        await sandboxes.close()


@pytest.fixture
async def beside(tmp_path: Path) -> AsyncIterator[Beside]:
    async with Served.of(tmp_path, agents=1, runner=lambda _: ProcessRunner(start_delay=0, run_delay=0, kill_delay=0)) as served:
        await served.put("/shop/web", **WEB)
        await served.running("/shop/web", 1)
        made = Beside(served, *await find(served, "/shop/web"))
        yield made
        await made.sessions.close()


def alive(pid: str) -> bool:
    with suppress(ProcessLookupError):
        os.kill(int(pid), 0)
        return True
    return False


async def test_a_command_has_directory_and_environment_of_the_task_and_its_own_status(beside: Beside) -> None:
    out, err, status = await beside.run("sh", "-c", 'pwd; cat stdout; echo "$MESOS_TASK_ID $GREETING"; echo oops >&2; exit 7')
    assert out == f"{beside.sandbox.directory}\nup\n{beside.task} 你好\n"
    assert (err, status) == ("oops\n", 7)
    assert (await beside.run("sh", "-c", "kill -TERM $$"))[2] == 128 + signal.SIGTERM
    out, err, status = await beside.run("no-such-program")
    assert (out, "No such file or directory" in err, status) == ("", True, 127)


async def test_input_is_passed_on_to_its_end(beside: Beside) -> None:
    many = os.urandom(200_000).hex().encode()
    out, _, status = await beside.run("cat", given=(b"one ", many, b""))
    assert (out, status) == (f"one {many.decode()}", 0)


async def test_what_a_command_has_started_ends_with_it(beside: Beside) -> None:
    out, _, status = await beside.run("sh", "-c", "sleep 1000 & echo $!")
    assert status == 0
    await until(lambda: not alive(out))


async def test_a_terminal_has_a_size_and_one_stream(beside: Beside) -> None:
    script = "tty -s && echo terminal; read line; stty size; echo oops >&2; exit 3"
    out, err, status = await beside.run("sh", "-c", script, given=(Size(rows=33, columns=77), b"go\n"), tty=True)
    assert {"terminal", "33 77", "oops"} <= set(out.split("\r\n"))
    assert (err, status) == ("", 3)


async def test_it_ends_with_the_task(beside: Beside) -> None:
    async with asyncio.timeout(30), beside.sessions.run(beside.sandbox, ["sh", "-c", "echo here; exec sleep 1000"]) as (session, written):
        assert await anext(written) == (Stream.OUT, b"here\n")
        await beside.served.call("DELETE", "/v2/apps/shop/web?force=true")
        assert [one async for one in written] == []
        assert await beside.sessions.status(session) == 128 + signal.SIGKILL
    with pytest.raises(Gone, match="cannot be found"):
        await beside.run("true")


async def test_it_ends_with_the_connection(beside: Beside) -> None:
    async with asyncio.timeout(30), beside.sessions.run(beside.sandbox, ["sh", "-c", "echo $$; exec sleep 1000"]) as (_, written):
        _, pid = await anext(written)
        assert alive(pid.decode())
    await until(lambda: not alive(pid.decode()))


async def test_a_container_of_a_pod_is_entered_too(beside: Beside) -> None:
    container = {"name": "main", "exec": {"command": {"shell": "sleep 1000"}}, "resources": {"cpus": 0.1, "mem": 8}}
    status, _ = await beside.served.call("POST", "/v2/pods", {"id": "/pod", "containers": [container]})
    assert status == 201

    async def runs() -> bool:
        found = await beside.served.get("/v2/pods/pod::status")
        return bool(found["status"] == "STABLE")

    await until(runs)
    (task,) = (t for t in (await beside.served.ask_mesos("/tasks"))["tasks"] if t["name"] == "pod")
    sandboxes = Sandboxes([beside.served.mesos])
    beside.sandbox = await sandboxes.find(task["id"], agent=task["slave_id"])
    await sandboxes.close()
    assert beside.sandbox.container["parent"]["value"] in task["id"]
    assert (await beside.run("sh", "-c", 'echo "$MESOS_TASK_ID"'))[0] == f"{task['id']}\n"


async def test_where_tasks_are_no_processes_it_is_refused(served: Served) -> None:
    await served.put("/a")
    await served.running("/a", 1)
    pretended = Beside(served, *await find(served, "/a"))
    with pytest.raises(Invalid, match="400 The provided ContainerInfo is not supported"):
        await pretended.run("true")
    await pretended.sessions.close()


@pytest.mark.parametrize(
    ("call", "status"),
    [
        ({"type": "LAUNCH_NESTED_CONTAINER_SESSION"}, 400),
        ({"type": "LAUNCH_NESTED_CONTAINER_SESSION", "launch_nested_container_session": {"container_id": {"value": "a"}}}, 400),
        ({"type": "WAIT_NESTED_CONTAINER", "wait_nested_container": {"container_id": {"value": "nobody"}}}, 404),
        ({"type": "KILL_NESTED_CONTAINER", "kill_nested_container": {"container_id": {"value": "nobody"}}}, 404),
        ({"type": "ATTACH_CONTAINER_OUTPUT", "attach_container_output": {}}, 501),
        ({"type": "GET_VERSION"}, 200),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else str(value),
)
async def test_calls_that_are_refused(served: Served, call: dict[str, object], status: int) -> None:
    async with served.session.post(served.mesos + "/slave(1)/api/v1", json=call) as answer:
        assert answer.status == status


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"x\n{}", 400),
        (b"2\n[]", 400),
        (b'{"type":"ATTACH_CONTAINER_INPUT","attach_container_input":{}}', 400),
        (record({"attach_container_input": {"type": "CONTAINER_ID", "container_id": {"value": "a"}}}), 404),
        (record({"attach_container_input": {"type": "PROCESS_IO", "process_io": {}}}), 400),
    ],
)
async def test_input_that_is_none(served: Served, body: bytes, status: int) -> None:
    headers = {"Content-Type": "application/recordio", "Message-Content-Type": "application/json"}
    async with served.session.post(served.mesos + "/slave(1)/api/v1", headers=headers, data=body) as answer:
        assert answer.status == status

"""Commands beside running tasks: `LAUNCH_NESTED_CONTAINER_SESSION`, `ATTACH_CONTAINER_INPUT`, `WAIT_(NESTED_)CONTAINER` and
`KILL_(NESTED_)CONTAINER` of an agent's v1 operator API, in JSON.

A session is a process group with the task's directory, environment and user. As in Mesos it ends with its first process, with the task, and
with the connection that launched it; its wait status stays to be asked for.
(mesos 1.11: include/mesos/v1/agent/agent.proto, src/slave/http.cpp, src/slave/containerizer/mesos/io/switchboard.cpp)
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import web

from shuren.sandbox.mesos.recordio import MEDIA_TYPE, Records, record
from shuren.sandbox.runners.process import as_user

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from shuren.sandbox.contract import Json
    from shuren.sandbox.runners.port import Room

HEARTBEAT_SECONDS = 30
"""`--http_heartbeat_interval` of the agent."""
_PIECE = 64 * 1024
_DRAIN_SECONDS = 2.0
"""How long output is waited for that somebody keeps open who left the process group."""
_FULL_SECONDS = 0.02
"""Between attempts to write where a command does not read."""
_KEPT = 1000
"""Ended sessions whose status is remembered."""
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126
_END_OF_TRANSMISSION = b"\x04"


@dataclass(kw_only=True)
class _Session:
    """`terminal` is our end of its terminal; without one it has pipes. `status` is that of wait(2), once it has ended."""

    process: subprocess.Popen[bytes] | None = None
    terminal: int | None = None
    status: int | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self.process is not None and not self.ended.is_set():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            self.process.send_signal(number)  # one with a terminal has its group only a moment after its start

    def inputs(self) -> int | None:
        """Where its input is written; None when it has none any more."""
        if self.terminal is not None:
            return self.terminal
        return self.process.stdin.fileno() if self.process is not None and self.process.stdin is not None else None

    def outputs(self) -> list[tuple[str, int]]:
        if self.terminal is not None:
            return [("STDOUT", self.terminal)]
        assert self.process is not None and self.process.stdout is not None and self.process.stderr is not None  # noqa: S101, PT018 - pipes
        return [("STDOUT", self.process.stdout.fileno()), ("STDERR", self.process.stderr.fileno())]

    def end_input(self) -> None:
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()
            self.process.stdin = None

    def end(self) -> None:
        """Nothing is left of it but its status."""
        if self.process is not None:
            self.kill()
            self.status = _wait_status(self.process.wait())
            self.end_input()
            for pipe in (self.process.stdout, self.process.stderr):
                if pipe is not None:
                    pipe.close()
        if self.terminal is not None:
            os.close(self.terminal)
            self.terminal = None
        self.ended.set()


class Nested:
    """All sessions of one engine."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, _Session] = OrderedDict()

    async def launch(self, request: web.Request, call: Json, find: Callable[[str], Room | None]) -> web.StreamResponse:
        """Run a command and send what it writes, until it ends.

        `find` gives the room of a container by its name: None where it has none, KeyError when there is no such container.
        """
        asked = _object(call.get("launch_nested_container_session"))
        container, command = _object(asked.get("container_id")), _object(asked.get("command"))
        parent = _object(container.get("parent"))
        if not container.get("value") or not parent.get("value"):
            return web.Response(status=400, text="Expecting 'container_id.value' and 'container_id.parent' to be present")
        if not (command.get("value") or command.get("arguments")):
            return web.Response(status=400, text="Expecting 'command' to be present")
        name = _name(container)
        if name in self._sessions:
            return web.Response(status=202)
        try:
            room = find(_name(parent))
        except KeyError:
            return web.Response(status=404, text=f"Container {name} cannot be found")
        if room is None:
            return web.Response(status=400, text="The provided ContainerInfo is not supported")
        session = self._sessions[name] = _Session()
        self._forget()
        response = web.StreamResponse(headers=_headers(request))
        try:
            await response.prepare(request)
            try:
                _begin(session, command, room, tty="tty_info" in _object(asked.get("container")))
            except OSError as error:
                session.status = (_NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_EXECUTABLE) << 8
                text = f"Failed to execute command: {error.strerror}: {error.filename}\n"
                await response.write(record(_data("STDERR", text.encode())))
                return response
            await _stream(session, response, room)
        finally:
            session.end()
        return response

    async def attach_input(self, request: web.Request) -> web.Response:
        """Pass on what comes, until an empty piece says that it is all, or the session ends."""
        records, session = Records(), None
        try:
            async for data in request.content.iter_any():
                for message in records.feed(data):
                    given = _object(message.get("attach_container_input"))
                    if given.get("type") == "CONTAINER_ID":
                        name = _name(_object(given.get("container_id")))
                        session = self._sessions.get(name)
                        if session is None:
                            return web.Response(status=404, text=f"Container {name} cannot be found")
                        continue
                    if session is None:
                        return web.Response(status=400, text="Expecting 'attach_container_input.type' to be CONTAINER_ID")
                    if session.ended.is_set():
                        return web.Response(status=500, text="The session has ended")
                    await _take(session, _object(given.get("process_io")))
        except (ValueError, KeyError, TypeError, struct.error):
            return web.Response(status=400, text="Failed to decode a record of the body")
        return web.Response()

    async def wait(self, call: Json) -> web.Response:
        """The wait status, once there is one."""
        kind = str(call["type"])
        container = _object(_object(call.get(kind.lower())).get("container_id"))
        session = self._sessions.get(_name(container))
        if session is None:
            return web.Response(status=404, text=f"Container {_name(container)} cannot be found")
        await session.ended.wait()
        return web.json_response({"type": kind, kind.lower(): {"exit_status": session.status}})

    def kill(self, call: Json) -> web.Response:
        """Send a signal, SIGKILL unless another is named."""
        asked = _object(call.get(str(call["type"]).lower()))
        session = self._sessions.get(_name(_object(asked.get("container_id"))))
        if session is None:
            return web.Response(status=404, text=f"Container {_name(_object(asked.get('container_id')))} cannot be found")
        session.kill(int(asked.get("signal") or signal.SIGKILL))
        return web.Response()

    def close(self) -> None:
        """End them all."""
        for session in self._sessions.values():
            session.kill()

    def _forget(self) -> None:
        for name in [name for name, session in self._sessions.items() if session.ended.is_set()][: max(0, len(self._sessions) - _KEPT)]:
            del self._sessions[name]


# ---------------------------------------------------------------------------------------------------- processes


def _begin(session: _Session, command: Json, room: Room, *, tty: bool) -> None:
    """Start it. OSError when there is no such program."""
    variables = _object(command.get("environment")).get("variables") or ()
    environment = {**room.environment, **{str(one["name"]): str(one.get("value", "")) for one in variables}}
    argv = as_user(_argv(command), room.user)
    if not tty:
        pipe = subprocess.PIPE
        session.process = subprocess.Popen(
            argv, cwd=room.directory, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        )
    else:
        session.terminal, theirs = pty.openpty()
        try:
            # makes a session of its own, as start_new_session does, with this terminal as its own
            session.process = subprocess.Popen(
                ["setsid", "--ctty", "--wait", *argv], cwd=room.directory, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
            )
        finally:
            os.close(theirs)
    for descriptor in {session.inputs(), *(descriptor for _, descriptor in session.outputs())}:
        if descriptor is not None:
            os.set_blocking(descriptor, False)


def _argv(command: Json) -> list[str]:
    """CommandInfo: a line for a shell, unless `shell` is false; `arguments` are the whole argv then."""
    value, arguments = str(command.get("value") or ""), [str(one) for one in command.get("arguments") or ()]
    if command.get("shell", True):
        return ["/bin/sh", "-c", value]
    return [value or arguments[0], *arguments[1:]]


async def _stream(session: _Session, response: web.StreamResponse, room: Room) -> None:
    """Send output until the first process or the task has ended."""
    one_by_one = asyncio.Lock()

    async def say(message: Json) -> None:
        async with one_by_one:
            await response.write(record(message))

    async def pump(stream: str, descriptor: int) -> None:
        async for data in _pieces(descriptor):
            await say(_data(stream, data))

    async def beat() -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            interval = {"interval": {"nanoseconds": HEARTBEAT_SECONDS * 10**9}}
            await say({"type": "CONTROL", "control": {"type": "HEARTBEAT", "heartbeat": interval}})

    async def with_task() -> None:
        await _gone(room.pid)
        session.kill()

    assert session.process is not None  # noqa: S101 - begun
    beside = [asyncio.ensure_future(beat()), asyncio.ensure_future(with_task())]
    pumps = [asyncio.ensure_future(pump(*output)) for output in session.outputs()]
    try:
        await _gone(session.process.pid)
        session.kill()  # what it has started ends with it
        await asyncio.wait(pumps, timeout=_DRAIN_SECONDS)
    finally:
        for job in (*beside, *pumps):
            job.cancel()
        await asyncio.gather(*beside, *pumps, return_exceptions=True)


async def _take(session: _Session, given: Json) -> None:
    """One piece of input, or a word about the terminal."""
    if given.get("type") == "CONTROL":
        size = _object(_object(_object(given.get("control")).get("tty_info")).get("window_size"))
        if size and session.terminal is not None:
            fcntl.ioctl(session.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", int(size["rows"]), int(size["columns"]), 0, 0))
        return
    data = base64.b64decode(_object(given.get("data")).get("data") or "")
    if not data and session.terminal is None:
        session.end_input()
        return
    data = data or _END_OF_TRANSMISSION
    while data and (descriptor := session.inputs()) is not None and not session.ended.is_set():
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:
            await asyncio.sleep(_FULL_SECONDS)
        except OSError:
            return  # nobody reads it any more


async def _pieces(descriptor: int) -> AsyncIterator[bytes]:
    """What comes, until nobody has the other end any more (which a terminal tells by EIO)."""
    while True:
        await _readable(descriptor)
        try:
            data = os.read(descriptor, _PIECE)
        except BlockingIOError:
            continue
        except OSError:
            return
        if not data:
            return
        yield data


async def _gone(pid: int) -> None:
    """Wait for the end of a process."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        await _readable(descriptor)
    finally:
        os.close(descriptor)


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)


def _wait_status(code: int) -> int:
    """The status of wait(2) from Python's exit code."""
    return -code if code < 0 else code << 8


# ---------------------------------------------------------------------------------------------------- messages


def _headers(request: web.Request) -> dict[str, str]:
    if MEDIA_TYPE in request.headers.get("Accept", ""):
        return {"Content-Type": MEDIA_TYPE, "Message-Content-Type": "application/json"}
    return {"Content-Type": "application/json"}


def _data(stream: str, data: bytes) -> Json:
    return {"type": "DATA", "data": {"type": stream, "data": base64.b64encode(data).decode()}}


def _object(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _name(container: Json) -> str:
    """As Mesos writes it: the ids from the outermost one, joined by dots."""
    outer = _object(container.get("parent"))
    return f"{_name(outer)}.{container.get('value')}" if outer else str(container.get("value") or "")

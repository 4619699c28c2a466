"""Commands beside a running task, over the agent's v1 operator API (Mesos 1.2 and later; tasks of the Mesos containerizer only).

`LAUNCH_NESTED_CONTAINER_SESSION` answers with a stream of what the command writes, `ATTACH_CONTAINER_INPUT` takes a stream of what it
reads, `WAIT_NESTED_CONTAINER` tells its wait status. Streams are RecordIO: length, newline, message in JSON.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias

import httpx

from shuren.clients.mesos.sandboxes import Sandbox
from shuren.domain.errors import Denied, Gone, Invalid, Unreachable

_REFUSED = frozenset({401, 403})
_RECORDIO = "application/recordio"
_JSON = "application/json"
_LONGEST = 20
"""Digits that the length of a record may have."""

Json = dict[str, Any]


class Stream(Enum):
    """Where a command writes. With a terminal all is `OUT`."""

    OUT = "STDOUT"
    ERR = "STDERR"


@dataclass(frozen=True, kw_only=True)
class Size:
    """Of a terminal, in characters."""

    rows: int
    columns: int


Input: TypeAlias = bytes | Size
"""What a command is given: bytes, or the new size of its terminal. Empty bytes end its input."""

Written: TypeAlias = AsyncIterator[tuple[Stream, bytes]]


@dataclass(frozen=True, kw_only=True)
class Session:
    """One command: URL of the agent's API, and its container."""

    url: str
    container: Json = field(default_factory=dict)


class Sessions:
    """See the module. Raises Unreachable, Denied; Gone when the task is gone, Invalid when its container takes no commands.

    `login` is shown to agents, as `Sandboxes` shows it.
    """

    def __init__(
        self,
        *,
        login: tuple[str, str] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        # a command may be silent for as long as it likes
        timeout = httpx.Timeout(None, connect=5.0)
        self._http = httpx.AsyncClient(auth=login, timeout=timeout, headers={"User-Agent": "shuren"}, transport=transport, trust_env=False)

    async def close(self) -> None:
        """Close all connections, which ends all commands."""
        await self._http.aclose()

    @asynccontextmanager
    async def run(self, sandbox: Sandbox, command: Sequence[str], *, tty: bool = False) -> AsyncIterator[tuple[Session, Written]]:
        """Run a command in the container of a task: the session, and what it writes until it ends. It ends with the block at the latest."""
        if not sandbox.container:
            raise Invalid(f"{sandbox.agent} tells no container of this task; is it still starting?")
        container = {"parent": dict(sandbox.container), "value": str(uuid.uuid4())}
        words: Json = {"container_id": container, "command": {"value": command[0], "arguments": list(command), "shell": False}}
        if tty:
            words["container"] = {"type": "MESOS", "tty_info": {}}
        session = Session(url=f"{sandbox.agent}/{sandbox.process}/api/v1", container=container)
        call = {"type": "LAUNCH_NESTED_CONTAINER_SESSION", "launch_nested_container_session": words}
        headers = {"Content-Type": _JSON, "Accept": _RECORDIO, "Message-Accept": _JSON}
        try:
            async with self._http.stream("POST", session.url, headers=headers, content=json.dumps(call)) as answer:
                if answer.status_code != httpx.codes.OK:
                    raise _refusal(sandbox, answer.status_code, (await answer.aread()).decode(errors="replace"))
                yield session, _written(answer)
        except httpx.HTTPError as error:
            raise Unreachable(f"{sandbox.agent} does not answer: {error or type(error).__name__}") from error

    async def feed(self, session: Session, given: AsyncIterator[Input]) -> None:
        """Pass input on until there is no more, or the command has ended."""

        async def records() -> AsyncIterator[bytes]:
            yield _record("CONTAINER_ID", container_id=session.container)
            async for one in given:
                if isinstance(one, Size):
                    size = {"window_size": {"rows": one.rows, "columns": one.columns}}
                    words: Json = {"type": "CONTROL", "control": {"type": "TTY_INFO", "tty_info": size}}
                else:
                    words = {"type": "DATA", "data": {"type": "STDIN", "data": base64.b64encode(one).decode()}}
                yield _record("PROCESS_IO", process_io=words)

        headers = {"Content-Type": _RECORDIO, "Message-Content-Type": _JSON, "Accept": _JSON}
        try:
            await self._http.post(session.url, headers=headers, content=records())
        except httpx.HTTPError:
            return  # whoever reads its output hears why

    async def status(self, session: Session) -> int:
        """The exit status of a command that has ended, as a shell tells it: 128 and the signal's number when one ended it."""
        call = {"type": "WAIT_NESTED_CONTAINER", "wait_nested_container": {"container_id": session.container}}
        try:
            answer = await self._http.post(session.url, headers={"Content-Type": _JSON, "Accept": _JSON}, content=json.dumps(call))
            answer.raise_for_status()
            status = int(answer.json()["wait_nested_container"]["exit_status"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise Unreachable(f"{session.url} does not tell how the command ended: {error or type(error).__name__}") from error
        return os.WTERMSIG(status) + 128 if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


async def _written(answer: httpx.Response) -> AsyncIterator[tuple[Stream, bytes]]:
    rest = b""
    async for data in answer.aiter_raw():
        rest += data
        try:
            messages, rest = _split(rest)
            for message in messages:
                if message.get("type") == "DATA":
                    yield Stream(message["data"]["type"]), base64.b64decode(message["data"]["data"])
        except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
            raise Unreachable(f"{answer.url.netloc.decode()} answers with something else than a stream of records") from error


def _split(data: bytes) -> tuple[list[Json], bytes]:
    """Complete messages, and what is left. ValueError for what is no RecordIO."""
    found: list[Json] = []
    while True:
        length, newline, rest = data.partition(b"\n")
        if len(length) > _LONGEST:
            raise ValueError(length)
        if not newline or len(rest) < int(length):
            return found, data
        found.append(json.loads(rest[: int(length)]))
        data = rest[int(length) :]


def _record(kind: str, **words: object) -> bytes:
    body = json.dumps({"type": "ATTACH_CONTAINER_INPUT", "attach_container_input": {"type": kind, **words}}).encode()
    return b"%d\n%s" % (len(body), body)


def _refusal(sandbox: Sandbox, status: int, text: str) -> Exception:
    if status in _REFUSED:
        return Denied(f"{sandbox.agent} refuses to run a command: {status}")
    if status == httpx.codes.NOT_FOUND:
        return Gone(f"{sandbox.agent}: {text.strip() or 'no such container'}: the task has ended, or its container takes no commands")
    return Invalid(f"{sandbox.agent} runs no command in this container ({status} {text.strip()[:200]})")

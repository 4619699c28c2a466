"""Orders to a supervisor: one JSON line each way over a unix socket in the state directory.

A unix socket's path must fit into 108 bytes, and a test's temporary directory often does not; so both sides name it through
/proc/self/fd/N, where N is the opened state directory.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from shuren.devenv.errors import DevenvError
from shuren.devenv.places import StateDir


class Verb(enum.StrEnum):
    """What can be asked for."""

    START = "start"
    STOP = "stop"
    KILL = "kill"
    DOWN = "down"


@dataclass(frozen=True, kw_only=True)
class Order:
    """`part` is `NAME` or `NAME=N`; empty for `down`."""

    verb: Verb
    part: str = ""


Act = Callable[[str], Coroutine[None, None, None]]
Obey = Callable[[Order], Awaitable[None]]


@contextmanager
def _short(place: StateDir) -> Iterator[str]:
    handle = os.open(place.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{handle}/{place.socket.name}"
    finally:
        os.close(handle)


@asynccontextmanager
async def serve(place: StateDir, obey: Obey) -> AsyncIterator[None]:
    """Take orders until the block ends; each connection is one order, answered when it has been carried out."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answer = {"error": ""}
        try:
            data = json.loads(await reader.readline())
            await obey(Order(verb=Verb(data["verb"]), part=data["part"]))
        except (DevenvError, ValueError, KeyError) as error:
            answer = {"error": str(error)}
        except ExceptionGroup as errors:
            answer = {"error": "; ".join(str(error) for error in errors.exceptions)}
        with contextlib.suppress(ConnectionError):
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        writer.close()

    with _short(place) as path, _listening(path) as listener:
        server = await asyncio.start_unix_server(talk, sock=listener)
        try:
            yield
        finally:
            server.close()
            place.socket.unlink(missing_ok=True)


@contextmanager
def _listening(path: str) -> Iterator[socket.socket]:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(path)
        yield listener
    finally:
        listener.close()


def send(place: StateDir, order: Order, *, timeout: float = 120.0) -> None:
    """Give an order and wait until it has been carried out. DevenvError with the supervisor's reason, or when none listens."""
    try:
        with _short(place) as path, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout)
            connection.connect(path)
            connection.sendall(json.dumps({"verb": order.verb, "part": order.part}).encode() + b"\n")
            with connection.makefile("r") as answers:
                line = answers.readline()
    except TimeoutError:
        raise DevenvError(f"the supervisor in {place.root} did not {order.verb} {order.part} within {timeout:.0f} s") from None
    except OSError as error:
        raise DevenvError(f"no sandbox takes orders in {place.root} ({error.strerror}): `shuren sandbox up` first") from error
    if not line:
        raise DevenvError(f"the supervisor in {place.root} ended before it answered")
    reason = json.loads(line)["error"]
    if reason:
        raise DevenvError(reason)

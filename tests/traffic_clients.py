"""Clients that ask a service through load balancers and try nothing twice: a program of its own, so that its loop is nobody else's.

`python traffic_clients.py HOST PORT ADDRESS…` asks until its standard input ends. Each line there is answered by how many requests have
ended and how many of them badly; at the end comes every request. Two cores have to do for everything that a test starts, so this speaks
HTTP/1.1 on bare protocols.

A client that keeps its connection opens another one when that was closed while nothing was under way, and each takes the next address when
one refuses the connection, as every client of a name with several addresses does. A request that was sent is never sent again.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

PATIENCE = 30.0
"""Seconds that a request may take."""
BODY = bytes(range(256)) * 80
SLOW_BYTES = 20 * 8192
_NOBODY = 0.05
"""Seconds after which a client asks again when no load balancer takes its connection."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One way to ask. `anew`: a connection for each request. `pause` in seconds between an answer and the next request."""

    name: str
    clients: int
    pause: float
    anew: bool = False
    idempotent: bool = True


KEPT = Kind(name="kept", clients=6, pause=0.004)
ANEW = Kind(name="anew", clients=3, pause=0.006, anew=True)
POST = Kind(name="post", clients=3, pause=0.01, idempotent=False)
SLOW = Kind(name="slow", clients=4, pause=0.0)
MESSAGE = Kind(name="websocket", clients=2, pause=0.02, idempotent=False)
KINDS = (KEPT, ANEW, POST, SLOW, MESSAGE)


class Asked:
    """Everything that was asked: rows of number, kind, address, began, ended, what is wrong (empty: nothing)."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, str, str, float, float, str]] = []
        self.failed = 0
        self._next = 0

    def number(self) -> int:
        self._next += 1
        return self._next

    def ended(self, number: int, kind: Kind, address: str, began: float, wrong: str) -> None:
        self.rows.append((number, kind.name, address, began, time.monotonic(), wrong))
        self.failed += bool(wrong)


@dataclass(frozen=True, kw_only=True)
class Aim:
    """What is asked, at which addresses."""

    host: str
    port: int
    where: Sequence[str]


class Client:
    """One client, over all the connections that it ever has."""

    def __init__(self, kind: Kind, asked: Asked, aim: Aim, *, first: int) -> None:
        self.kind = kind
        self._asked = asked
        self._where, self._port, self._host, self._turn = aim.where, aim.port, aim.host, first
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._data = b""
        self._length: int | None = None
        self._upgraded = self._told = False
        self._number = 0
        self._began = 0.0
        self._address = ""
        self._give_up: asyncio.TimerHandle | None = None
        self._ending = False
        self.idle: asyncio.Future[None] = self._loop.create_future()

    # ------------------------------------------------------------------------------------------------------ connection

    def begin(self) -> None:
        """Next request, over this connection if there is one."""
        if self._ending:
            self._hang_up()
            if not self.idle.done():
                self.idle.set_result(None)
        elif self._usable():
            self._send()
        else:
            self._hang_up()
            self._connecting = self._loop.create_task(self._connect())

    def end(self) -> None:
        self._ending = True

    def _usable(self) -> bool:
        """Whether the other side has not closed it, as connection pools look before they use one again."""
        if self._transport is None or self._transport.is_closing():
            return False
        readable, _, _ = select.select([self._transport.get_extra_info("socket").fileno()], [], [], 0)
        return not readable

    async def _connect(self) -> None:
        for _ in self._where:
            self._turn = (self._turn + 1) % len(self._where)
            self._address = self._where[self._turn]
            try:
                await self._loop.create_connection(lambda: _Wire(self), self._address, self._port)
            except OSError:
                continue
            self._send()
            return
        # nobody took the connection, so nothing was asked; that counts as a failure all the same
        self._asked.ended(self._asked.number(), self.kind, "", time.monotonic(), "no load balancer takes a connection")
        self._loop.call_later(_NOBODY, self.begin)

    def _hang_up(self) -> None:
        if self._transport is not None:
            self._transport.abort()
        self._transport, self._data, self._upgraded, self._told = None, b"", False, False

    # --------------------------------------------------------------------------------------------------------- request

    def _send(self) -> None:
        assert self._transport is not None
        self._number, self._began, self._length = self._asked.number(), time.monotonic(), None
        self._give_up = self._loop.call_later(PATIENCE, self._ended, f"no answer in {PATIENCE:.0f} s")
        if self._upgraded:
            self._transport.write(_frame(0x81, str(self._number).encode()))
            return
        body = BODY if self.kind is POST else b""
        path = {SLOW: "/slow", MESSAGE: "/ws"}.get(self.kind, "/")
        more = "".join(f"{line}\r\n" for line in _UPGRADE) if self.kind is MESSAGE else f"Content-Length: {len(body)}\r\n"
        verb = "POST" if body else "GET"
        head = f"{verb} {path} HTTP/1.1\r\nHost: {self._host}\r\nX-Number: {self._number}\r\n{more}\r\n"
        self._transport.write(head.encode() + body)

    def _ended(self, wrong: str = "") -> None:
        if self._give_up is not None:
            self._give_up.cancel()
            self._give_up = None
        self._asked.ended(self._number, self.kind, self._address, self._began, wrong)
        if wrong or self._told or self.kind.anew:
            self._hang_up()
        if self.kind.pause and not self._ending:
            self._loop.call_later(self.kind.pause, self.begin)
        else:
            self._loop.call_soon(self.begin)

    # ---------------------------------------------------------------------------------------------------------- answer

    def received(self, data: bytes) -> None:
        self._data += data
        if self._upgraded:
            self._frames()
        elif self._give_up is not None:
            self._answer()

    def _answer(self) -> None:
        if self._length is None:
            head, found, rest = self._data.partition(b"\r\n\r\n")
            if not found:
                return
            status, *lines = head.decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            if self.kind is MESSAGE and " 101 " in status:
                self._upgraded, self._data = True, rest
                self._ended()
                self._frames()
                return
            if " 200 " not in status:
                self._ended(status)
                return
            self._length, self._data = int(headers["content-length"]), rest
            self._told = headers.get("connection", "").lower() == "close"
        if len(self._data) >= self._length:
            content, self._data = self._data, b""
            self._ended(self._wrong(content))

    def _wrong(self, content: bytes) -> str:
        if self.kind is SLOW:
            return "" if len(content) == SLOW_BYTES else f"{len(content)} bytes"
        wanted = f"{self._number} {len(BODY)} {zlib.crc32(BODY)}\n" if self.kind is POST else f"{self._number}\n"
        return "" if content == wanted.encode() else f"the answer is {content[:80]!r}"

    def _frames(self) -> None:
        while len(self._data) >= 2 and len(self._data) >= 2 + self._data[1]:
            opcode, text = self._data[0], self._data[2 : 2 + self._data[1]]
            self._data = self._data[2 + self._data[1] :]
            if text == b"bye":
                self._told = True
                if self._give_up is None and self._transport is not None:
                    self._transport.write(_frame(0x88, b"\x03\xe9"))
                    self._hang_up()
                    return
            elif opcode == 0x81:
                self._ended("" if text == str(self._number).encode() else f"the answer is {text[:80]!r}")
                if self._transport is None:
                    return

    def made(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def lost(self, transport: asyncio.Transport, error: Exception | None) -> None:
        if transport is self._transport:
            self._transport = None
            if self._give_up is not None:
                self._ended(f"the connection was closed: {error or 'no whole answer'}")


class _Wire(asyncio.Protocol):
    """One connection of a client."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._client.made(transport)

    def data_received(self, data: bytes) -> None:
        self._client.received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._client.lost(self._transport, exc)


_UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")


def _frame(opcode: int, text: bytes) -> bytes:
    """Masked, as a client's frames have to be, with a mask that changes nothing."""
    return bytes((opcode, 0x80 | len(text), 0, 0, 0, 0)) + text


async def _run(aim: Aim) -> None:
    asked = Asked()
    clients = [Client(kind, asked, aim, first=number) for kind in KINDS for number in range(kind.clients)]
    for client in clients:
        client.begin()
    over = asyncio.get_running_loop().create_future()
    _listen(lambda: _say({"ended": len(asked.rows), "failed": asked.failed}), lambda: over.set_result(None))
    await over
    for client in clients:
        client.end()
    await asyncio.gather(*(client.idle for client in clients))
    _say(asked.rows)


def _listen(asked: Callable[[], None], over: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()

    def readable() -> None:
        data = os.read(0, 65536)
        for _ in range(data.count(b"\n")):
            asked()
        if not data:
            loop.remove_reader(0)
            over()

    loop.add_reader(0, readable)


def _say(what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_run(Aim(host=sys.argv[1], port=int(sys.argv[2]), where=sys.argv[3:])))

"""The app under a load: answers cheaply, goes without a lost request on SIGTERM, and writes down what it was asked. Run as a task.

`/` is answered at once, a POST with length and CRC of its body after a moment, `/slow` over two seconds, `/ws` is a websocket that sends
every text back. `/ready` says 503 from SIGTERM on; the task ends when nobody has asked for `QUIET` seconds, or after `AT_MOST`. So long an
operator may be away while Marathon replaces every task that load balancers know.

What it was asked stands in `$TRAFFIC_LOG/<task id>`, which outlives a SIGKILL: a letter and the request's number on each line.
`B` begun, `F` the first byte of the answer is on its way, `L` the last one is about to be, `E` it is. So what was under way here when the
task was killed can be told, apart from the moment between `L` and `E`.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import signal
import time
import zlib
from pathlib import Path

QUIET, AT_MOST = 1.5, 100.0
BODY_SECONDS = 0.05
PIECES, PIECE, PIECE_SECONDS = 20, b"x" * 8192, 0.1
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TEXT, _CLOSE = 0x81, 0x88


class App:
    """What the connections of a task share."""

    def __init__(self, log: int, task: str) -> None:
        self.task = task
        self.ending = False
        self.asked = time.monotonic()
        self.under_way: set[Http] = set()
        self.sockets: set[Http] = set()
        self._log = log

    def note(self, letter: str, number: str) -> None:
        os.write(self._log, f"{letter} {number}\n".encode())


class Http(asyncio.Protocol):
    """One connection; HAProxy sends one request at a time."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._data = b""
        self._busy = False
        self._websocket = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._app.under_way.discard(self)
        self._app.sockets.discard(self)

    def data_received(self, data: bytes) -> None:
        self._data += data
        if self._websocket:
            self._messages()
        elif not self._busy:
            self._request()

    def _request(self) -> None:
        head, found, rest = self._data.partition(b"\r\n\r\n")
        if not found:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        verb, path, _ = first.split(" ", 2)
        if path in ("/alive", "/ready"):
            self._data = rest
            status = "503 Ending" if path == "/ready" and self._app.ending else "200 OK"
            self._transport.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
            return
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        number, length = headers["x-number"], int(headers.get("content-length", 0))
        if self not in self._app.under_way:
            self._app.under_way.add(self)
            self._app.note("B", number)
            self._app.asked = time.monotonic()
        if len(rest) < length:
            return
        body, self._data = rest[:length], rest[length:]
        self._busy = True
        loop = asyncio.get_running_loop()
        if path == "/ws":
            self._upgrade(headers["sec-websocket-key"], number)
        elif path == "/slow":
            self._app.note("F", number)
            self._transport.write(self._head(PIECES * len(PIECE)))
            loop.call_later(PIECE_SECONDS, self._piece, number, PIECES)
        elif verb == "POST":
            loop.call_later(BODY_SECONDS, self._whole, number, f"{number} {length} {zlib.crc32(body)}\n".encode())
        else:
            self._whole(number, f"{number}\n".encode())

    def _head(self, length: int) -> bytes:
        close = "Connection: close\r\n" if self._app.ending else ""
        return f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nX-Task: {self._app.task}\r\n{close}\r\n".encode()

    def _whole(self, number: str, content: bytes) -> None:
        if self._transport.is_closing():
            return
        self._app.note("L", number)
        self._transport.write(self._head(len(content)) + content)
        self._done(number)

    def _piece(self, number: str, left: int) -> None:
        if self._transport.is_closing():
            return
        if left == 1:
            self._app.note("L", number)
        self._transport.write(PIECE)
        if left == 1:
            self._done(number)
        else:
            asyncio.get_running_loop().call_later(PIECE_SECONDS, self._piece, number, left - 1)

    def _done(self, number: str) -> None:
        self._app.note("E", number)
        self._app.asked = time.monotonic()
        self._app.under_way.discard(self)
        self._busy = False
        if self._data:
            self._request()

    # ------------------------------------------------------------------------------------------------------- websocket

    def _upgrade(self, key: str, number: str) -> None:
        """RFC 6455 §4.2.2."""
        proof = base64.b64encode(hashlib.sha1((key + _GUID).encode(), usedforsecurity=False).digest()).decode()
        self._app.note("L", number)
        head = f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {proof}\r\n"
        self._transport.write(f"{head}X-Task: {self._app.task}\r\n\r\n".encode())
        self._app.note("E", number)
        self._app.under_way.discard(self)
        self._app.sockets.add(self)
        self._websocket = True
        if self._app.ending:
            self.bye()
        self._messages()

    def _messages(self) -> None:
        """Short masked frames, one at a time: each text comes back as it was."""
        while len(self._data) >= 6 and len(self._data) >= 6 + (length := self._data[1] & 0x7F):
            opcode, mask, sent = self._data[0], self._data[2:6], self._data[6 : 6 + length]
            self._data = self._data[6 + length :]
            text = bytes(byte ^ mask[i % 4] for i, byte in enumerate(sent))
            if opcode == _CLOSE:
                self._transport.write(bytes((_CLOSE, len(text))) + text)
                self._transport.close()
                return
            number = text.decode()
            self._app.note("B", number)
            self._app.note("L", number)
            self._transport.write(bytes((_TEXT, len(text))) + text)
            self._app.note("E", number)

    def bye(self) -> None:
        """Ask the client to go elsewhere; what it has sent until it closes is still answered."""
        self._transport.write(bytes((_TEXT, 3)) + b"bye")


async def _end(app: App, server: asyncio.Server) -> None:
    app.ending = True
    told = time.monotonic()
    while time.monotonic() < min(max(told, app.asked) + QUIET, told + AT_MOST):
        await asyncio.sleep(0.05)
    server.close()
    for socket in tuple(app.sockets):
        socket.bye()
    while app.under_way or app.sockets:
        await asyncio.sleep(0.02)


async def _serve() -> None:
    task = os.environ["MESOS_TASK_ID"]
    log = os.open(Path(os.environ["TRAFFIC_LOG"]) / task, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    app = App(log, task)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Http(app), os.environ["HOST"], int(os.environ["PORT0"]), backlog=512)
    told = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, told.set)
    await told.wait()
    await _end(app, server)


if __name__ == "__main__":
    asyncio.run(_serve())

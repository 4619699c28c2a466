"""An aiohttp application spoken to without a socket: bytes in, bytes out, through the very protocol that serves real connections."""

from __future__ import annotations

import asyncio
import http.client
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from aiohttp import web

from shuren.sandbox.http.connection import Connection


class _Pipe(asyncio.Transport):
    """A transport that keeps what is written and tells when it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = bytearray()
        self.closed = asyncio.Event()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self.closed.is_set():
            self.sent += data

    def is_closing(self) -> bool:
        return self.closed.is_set()

    def close(self) -> None:
        self.closed.set()

    def abort(self) -> None:
        self.closed.set()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 50000) if name == "peername" else default

    def pause_reading(self) -> None:
        """Nothing to pause."""

    def resume_reading(self) -> None:
        """Nothing to resume."""


class _File:
    """What http.client wants of a socket."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def makefile(self, mode: str) -> io.BytesIO:
        del mode
        return io.BytesIO(self.data)


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Wire:
    """A client of one application; `async with Wire(app) as wire: await wire.get("/ping")`."""

    def __init__(self, app: web.Application) -> None:
        self._runner = web.AppRunner(app, access_log=None)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def raw(self, request: bytes) -> bytes:
        """Sends bytes that ask to close the connection, and returns all that comes back."""
        server = self._runner.server
        assert server is not None
        protocol = Connection(server)
        pipe = _Pipe()
        protocol.connection_made(pipe)
        protocol.data_received(request)
        async with asyncio.timeout(10):
            await pipe.closed.wait()
        protocol.connection_lost(None)
        return bytes(pipe.sent)

    async def send(self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None) -> Reply:
        """One exchange. A body that is no text or bytes goes as JSON."""
        data = (
            b""
            if body is None
            else body
            if isinstance(body, bytes)
            else body.encode()
            if isinstance(body, str)
            else json.dumps(body).encode()
        )
        given = {"Host": "marathon.test:8080", "Connection": "close", "Content-Length": str(len(data))} | dict(headers or {})
        if body is not None and not isinstance(body, (bytes, str)):
            given.setdefault("Content-Type", "application/json")
        head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in given.items())
        raw = await self.raw(head.encode() + b"\r\n" + data)
        response = http.client.HTTPResponse(_File(raw), method=method)  # type: ignore[arg-type]
        response.begin()
        return Reply(status=response.status, headers={k.title(): v for k, v in response.getheaders()}, body=response.read(), raw=raw)

    async def get(self, path: str, *, headers: Mapping[str, str] | None = None) -> Reply:
        return await self.send("GET", path, headers=headers)

    async def post(self, path: str, body: Any = None) -> Reply:
        return await self.send("POST", path, body)

    async def put(self, path: str, body: Any = None) -> Reply:
        return await self.send("PUT", path, body)

    async def delete(self, path: str) -> Reply:
        return await self.send("DELETE", path)

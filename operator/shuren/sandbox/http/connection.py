"""Connections as Jetty has them: what aiohttp's parser refuses and Jetty takes is put into words that both take, and what Jetty refuses is
refused as Jetty does. (Seen on Jetty 9.4.8, the container of Marathon 1.11.)

Jetty takes any method, and characters beyond ASCII in the request line; of a `Content-Encoding` of requests it knows nothing. It refuses
broken escapes in paths, versions that it does not speak, and heads that are too long.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from .answers import bad_message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

METHOD = "X-Request-Method"
"""The header that carries a method which aiohttp's parser does not know."""
_STAND_IN = b"UNLINK"
_PLAIN = re.compile(rb"(?:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS|TRACE) /[!-$&-~]* HTTP/1\.[01]\r\n")
_LINE = re.compile(rb"([!-~]+) ([^\r\n ]+) HTTP/(\d\.\d)\r\n")
_KNOWN = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE"})
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4})")
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")
_IDLE_SECONDS = 30.0
_NO_LOG = logging.getLogger(f"{__name__}.access")
_NO_LOG.disabled = True
_REASONS = {414: "URI Too Long", 431: "Request Header Fields Too Large"}


class _Refused(Exception):
    """A request line that Jetty does not take."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class Connection(web.RequestHandler):
    """One client's connection."""

    __slots__ = ()

    def __init__(self, manager: web.Server) -> None:
        super().__init__(
            manager,
            loop=asyncio.get_running_loop(),
            access_log=_NO_LOG,
            keepalive_timeout=_IDLE_SECONDS,
            auto_decompress=False,
        )

    def data_received(self, data: bytes) -> None:
        """Bytes. Only a request line, which comes in one piece with the begin of its head, is looked at: no JSON holds such a line."""
        if _PLAIN.match(data) is None and (line := _LINE.match(data)) is not None:
            try:
                data = _understood(*line.groups()) + data[line.end() :]
            except _Refused as refused:
                self._refuse(refused)
                return
        super().data_received(data)

    def _refuse(self, refused: _Refused) -> None:
        answer = bad_message(refused.status, refused.reason)
        assert isinstance(answer.body, bytes) and self.transport is not None  # noqa: S101, PT018 - as made; data come from a transport
        head = f"HTTP/1.1 {answer.status} {answer.reason}\r\nContent-Type: {answer.headers['Content-Type']}\r\n"
        self.transport.write(f"{head}Content-Length: {len(answer.body)}\r\nConnection: close\r\n\r\n".encode() + answer.body)
        self.transport.close()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """What the parser refuses. Nobody's error here, so nothing is logged of it."""
        if status != 400:  # noqa: PLR2004 - HTTP
            return super().handle_error(request, status, exc, message)
        if isinstance(exc, LineTooLong):
            status = 414 if "?" in str(exc) or "'/" in str(exc) else 431
        answer = bad_message(status, _REASONS.get(status, "Bad Request"))
        answer.force_close()
        return answer


def _understood(method: bytes, target: bytes, version: bytes) -> bytes:
    """The request line in words of aiohttp's parser."""
    if version not in (b"1.0", b"1.1"):
        raise _Refused(426, "Upgrade Required") if version[:1] == b"2" else _Refused(400, "Unknown Version")
    path = target.partition(b"?")[0]
    try:
        path.decode()
    except UnicodeDecodeError:
        raise _Refused(400, "Bad Request") from None
    if _BROKEN_ESCAPE.search(path):
        raise _Refused(400, "Bad Request")
    target = b"/*" if target == b"*" else _BEYOND_ASCII.sub(lambda found: b"%%%02X" % ord(found[0]), target)
    line = b"%s %s HTTP/%s\r\n" % (method if method in _KNOWN else _STAND_IN, target, version)
    return line if method in _KNOWN else line + METHOD.encode() + b": " + method + b"\r\n"


def method_of(request: web.BaseRequest) -> str:
    """The method that the client has sent."""
    return request.headers.get(METHOD, request.method) if request.method == _STAND_IN.decode() else request.method


@contextlib.asynccontextmanager
async def listening(app: web.Application, host: str, port: int) -> AsyncIterator[None]:
    """Serves the application as long as the context lasts."""
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.5)
    await runner.setup()
    try:
        manager = runner.server
        assert manager is not None  # noqa: S101 - set up just now
        server = await asyncio.get_running_loop().create_server(lambda: Connection(manager), host, port, backlog=1024, reuse_address=True)
        try:
            yield
        finally:
            server.close()
    finally:
        await runner.cleanup()

"""Builds the aiohttp application that speaks Marathon's API for one engine."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import re
import time
import zlib
from typing import TYPE_CHECKING
from urllib.parse import unquote

import aiohttp
from aiohttp import HttpVersion10, web

from . import gate, negotiation, routes
from .answers import FORESEEN, bad_message, from_exception, json_answer, text_answer, unsupported
from .call import Call, StreamTiming
from .connection import method_of
from .pieces import Pieces
from .traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shuren.sandbox.contract import LiveEngine

log = logging.getLogger(__name__)
_BODY_LIMIT = 256 * 2**20
_ZIP_FROM, _ZIP_ASIDE_FROM = 16, 256 * 1024  # bytes: what Jetty packs, and what would hold up others while it is packed
_MATRIX = re.compile(r";[^/]*")
"""Matrix parameters, which belong to no path."""
_NO_CACHE = {"Cache-Control": "no-cache, no-store, must-revalidate", "Pragma": "no-cache", "Expires": "0"}


def build_app(engine: LiveEngine, *, address: str, streams: StreamTiming | None = None) -> web.Application:
    """The application. `address` is this engine's own host:port, as it names itself to others (leader headers, proxy marks)."""
    app = web.Application(client_max_size=_BODY_LIMIT)
    server = _Server(engine, address, streams or StreamTiming())
    app.on_response_prepare.append(server.dress)
    app.cleanup_ctx.append(server.sessions)
    app.router.add_route("*", "/{path:.*}", server.answer, expect_handler=_expected)
    return app


class _Server:
    """Everything that stands around the handlers of one application."""

    def __init__(self, engine: LiveEngine, address: str, streams: StreamTiming) -> None:
        self._engine, self._address, self._streams = engine, address, streams
        self._pieces = Pieces()
        self._crowd = gate.Crowd(engine.settings.max_concurrent_http_connections)
        self._traffic = Traffic()
        self._forwarder: gate.Forwarder | None = None

    async def sessions(self, app: web.Application) -> AsyncIterator[None]:
        """The client session towards the leader, for the life of the application."""
        del app
        async with aiohttp.ClientSession(auto_decompress=False, connector=aiohttp.TCPConnector(limit=0)) as client:
            self._forwarder = gate.Forwarder(client, self._engine.settings.leader_proxy_max_open_connections)
            yield

    async def dress(self, request: web.Request, response: web.StreamResponse) -> None:
        """Headers that every answer has, and those that aiohttp adds and Marathon does not."""
        headers = response.headers
        if gate.VIA not in headers and not request.path.startswith("/sandbox"):
            headers["X-Marathon-Leader"] = f"http://{self._address}"
            headers["X-Frame-Options"] = "DENY"
            headers["X-XSS-Protection"] = "1; mode=block"
            headers.update(_NO_CACHE)
            gate.allow_origins(request, response, self._engine.settings.access_control_allow_origin)
        headers.popall("Server", None)
        if isinstance(response, web.Response) and not response.body and (request.method != "HEAD" or _unnamed(response)):
            headers.popall("Content-Type", None)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Any request there is."""
        if request.path.startswith("/sandbox/"):
            return await _administer(self._engine, request)
        if request.version < HttpVersion10:
            return bad_message(400, "HTTP/0.9 not supported")
        began = time.monotonic()
        with self._traffic.under_way(), self._crowd.place(request) as there:
            response = await self._admitted(request) if there else self._crowd.refusal(request)
        self._traffic.answered(request.method, response.status, began)
        return response

    async def _admitted(self, request: web.Request) -> web.StreamResponse:
        engine = self._engine
        denied = gate.unauthorised(request, engine.settings.http_credentials)
        if denied is not None:
            return denied
        if not engine.is_leader():
            assert self._forwarder is not None  # noqa: S101 - made when the application started
            passed_on = await gate.to_leader(request, engine, self._address, self._forwarder)
            if passed_on is not None:
                return passed_on
        call = Call(engine=engine, request=request, pieces=self._pieces, traffic=self._traffic, streams=self._streams)
        return await _packed(request, await _serve(request, call))


def _unnamed(response: web.Response) -> bool:
    """Whether nobody but aiohttp has given the answer a content type."""
    return response.headers.get("Content-Type") == "application/octet-stream"


async def _administer(engine: LiveEngine, request: web.Request) -> web.StreamResponse:
    """`/sandbox/...`: the engine's own switches, no part of Marathon."""
    raw = await request.read()
    try:
        body = json.loads(raw) if raw else None
    except ValueError as error:
        return json_answer({"message": f"the body is no JSON: {error}"}, status=400)
    status, result = await engine.admin(request.method, request.path_qs, body)
    return web.Response(status=status) if result is None else json_answer(result, status=status)


async def _serve(request: web.Request, call: Call) -> web.StreamResponse:
    found = routes.find(unquote(_MATRIX.sub("", request.rel_url.raw_path)))
    if found is None:
        return json_answer({"message": "URI not found"}, status=500)
    route, args = found
    method = method_of(request)
    if method == "OPTIONS":
        return web.Response(headers={"Allow": routes.SERVLET_ALLOWS}) if route.servlet else _describe(request, routes.allowed(route))
    handler = route.handlers.get(method) or (route.handlers.get("GET") if method == "HEAD" else None)
    if handler is None:
        return unsupported(method, request.path) if route.servlet else json_answer({"message": "Method Not Allowed"}, status=405)
    if not route.servlet and (refusal := negotiation.unreadable(request)) is not None:
        return refusal
    try:
        if route.reads_json:
            negotiation.require_json_body(request)
        if route.negotiated:
            negotiation.require_accepted(request, route.produces)
        return await handler(dataclasses.replace(call, args=args))
    except (asyncio.CancelledError, web.HTTPException):
        raise
    except Exception as error:  # a server answers whatever happens, and says so in its log
        if not isinstance(error, FORESEEN):
            log.exception("500 for %s %s", request.method, request.path)
        return from_exception(error)


async def _expected(request: web.Request) -> web.StreamResponse | None:
    """The `Expect` header: `100-continue`, and nothing else."""
    if request.headers.get("Expect", "").lower() != "100-continue":
        return bad_message(417, "Expectation Failed")
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # it is no part of the answer
    return None


def _describe(request: web.Request, allow: str) -> web.Response:
    """OPTIONS: a description of the resource in WADL, of which clients read only the `Allow` header."""
    methods = "".join(f'<method name="{method}"/>' for method in allow.split(","))
    body = (
        '<?xml version="1.0" encoding="UTF-8" standalone="yes"?><application xmlns="http://wadl.dev.java.net/2009/02">'
        f'<resources base="http://{request.host}/"><resource path="{request.path.lstrip("/")}">{methods}</resource></resources>'
        "</application>"
    )
    return text_answer(body, "application/vnd.sun.wadl+xml", headers={"Allow": allow})


async def _packed(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """The answer in gzip for who takes it: by default Jetty looks at no other method than GET, and packs only what went well."""
    if request.method != "GET" or response.status != 200 or response.prepared:  # noqa: PLR2004 - HTTP
        return response
    response.headers["Vary"] = "Accept-Encoding, User-Agent"
    if not isinstance(response, web.Response) or not isinstance(response.body, bytes) or len(response.body) < _ZIP_FROM:
        return response
    if "gzip" not in request.headers.get("Accept-Encoding", ""):
        return response
    body = response.body
    response.body = await asyncio.to_thread(_gzip, body) if len(body) >= _ZIP_ASIDE_FROM else _gzip(body)
    response.headers["Content-Encoding"] = "gzip"
    return response


def _gzip(body: bytes) -> bytes:
    packer = zlib.compressobj(level=1, wbits=31)
    return packer.compress(body) + packer.flush()

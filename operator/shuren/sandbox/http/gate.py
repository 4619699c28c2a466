"""What stands before every handler: the password, and the way to the leader."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hmac
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web
from yarl import URL

from .answers import page

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shuren.sandbox.contract import LiveEngine

VIA = "X-Marathon-Via"
_POLLS, _POLL_SECONDS = 10, 0.25
_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=5.0, sock_read=10.0)
_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "te", "trailer", "transfer-encoding", "upgrade", "content-length", "host", "date"}
)


def allow_origins(request: web.Request, response: web.StreamResponse, origins: str | None) -> None:
    """Headers by which browsers let pages of other origins read (`--access_control_allow_origin`, comma separated)."""
    if origins is None:
        return
    for origin in filter(None, (part.strip() for part in origins.split(","))):
        response.headers.add("Access-Control-Allow-Origin", origin)
    for names in request.headers.getall("Access-Control-Request-Headers", []):
        response.headers.add("Access-Control-Allow-Headers", names)
    response.headers["Access-Control-Allow-Methods"] = "GET, HEAD, OPTIONS"
    response.headers["Access-Control-Max-Age"] = str(24 * 3600)


class Crowd:
    """At most so many requests at a time (`--max_concurrent_http_connections`), 0 for any number. Event streams do not count."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._inside = 0

    @contextlib.contextmanager
    def place(self, request: web.Request) -> Iterator[bool]:
        """Whether there is one more place, which is taken meanwhile."""
        if not self._limit or request.path.startswith("/v2/events"):
            yield True
            return
        there = self._inside < self._limit
        self._inside += there
        try:
            yield there
        finally:
            self._inside -= there

    def refusal(self, request: web.Request) -> web.Response:
        """503 for who finds no place."""
        return page(503, f"Too many concurrent requests! Allowed: {self._limit}.", path=request.path)


def unauthorised(request: web.Request, credentials: str | None) -> web.Response | None:
    """401 unless the request carries the credentials (`user:password`) or none are set. The realm is `null`, as on a real one."""
    if credentials is None:
        return None
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    try:
        given = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        given = b""
    if scheme.lower() == "basic" and hmac.compare_digest(given, credentials.encode()):
        return None
    return page(401, "Unauthorized", path=request.path, headers={"WWW-Authenticate": 'basic realm="null"'})


class Forwarder:
    """A standby's way to the leader: so many requests at a time (`--leader_proxy_max_open_connections`), more of them fail."""

    def __init__(self, session: aiohttp.ClientSession, limit: int) -> None:
        self._session, self._limit = session, limit
        self._open = 0

    async def forward(self, request: web.Request, target: str, via: str) -> web.StreamResponse:
        """The leader's answer."""
        if self._open >= self._limit:
            return page(500, "Server Error", path=request.path)
        self._open += 1
        try:
            return await _forward(request, target, via, self._session)
        finally:
            self._open -= 1


async def to_leader(request: web.Request, engine: LiveEngine, address: str, forwarder: Forwarder) -> web.StreamResponse | None:
    """A standby's answer: the leader's, passed on; for the event stream the way there. While nobody leads the request is held for a while;
    None when this engine leads at the end of it and answers itself.
    """
    for _ in range(_POLLS):
        if engine.is_leader() or engine.leader() is not None:
            break
        await asyncio.sleep(_POLL_SECONDS)
    if engine.is_leader():
        return None
    leader = engine.leader()
    if leader is None or leader == address:
        return page(502, "Could not determine the current leader", path=request.path)
    target = f"http://{leader}{request.rel_url.raw_path_qs}"
    if request.path.startswith("/v2/events"):
        return web.Response(status=302, headers={"Location": target})
    via = f"1.1 {address}"
    if any(via in value for value in request.headers.getall(VIA, [])):
        return page(502, f"Prevent proxy cycle, rejecting request: {VIA}", path=request.path)
    return await forwarder.forward(request, target, via)


async def _forward(request: web.Request, target: str, via: str, session: aiohttp.ClientSession) -> web.StreamResponse:
    headers = [(name, value) for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP]
    headers += [(VIA, via), ("X-Forwarded-For", request.remote or ""), ("Host", request.host)]
    body = await request.read()
    try:
        async with session.request(
            request.method,
            URL(target, encoded=True),
            headers=headers,
            data=body or None,
            timeout=_TIMEOUT,
            allow_redirects=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
        ) as answer:
            content = await answer.read()
            passed = [(name, value) for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP]
            return web.Response(status=answer.status, body=content, headers=[*passed, (VIA, via)])
    except (aiohttp.ClientConnectionError, TimeoutError):
        return page(502, "Connection to the leader failed", path=request.path)
    except aiohttp.ClientError as error:
        return page(500, str(error), path=request.path)

"""`GET /v2/events` with the framing of the servlet the real one uses: CRLF lines, no chunks, a bare line end every ten seconds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

from .answers import unsupported

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .call import Call


class Unchunked(web.StreamResponse):
    """A body that ends with the connection. (aiohttp offers no switch; its own websocket answers use this attribute.)"""

    _length_check = False


async def stream_events(call: Call) -> web.StreamResponse:
    """The stream, for who asks for exactly `text/event-stream`; everybody else asks with the wrong method, as the servlet sees it."""
    if call.request.method != "GET" or "text/event-stream" not in call.request.headers.getall("Accept", []):
        return unsupported("GET", call.request.path)  # a HEAD is served as a GET whose body stays away
    types = call.values("event_type") if "event_type" in call.request.query else None
    response = Unchunked(headers={"Content-Type": "text/event-stream;charset=utf-8", "Connection": "close"})
    response.force_close()
    await response.prepare(call.request)
    events = call.engine.subscribe(types, call.remote)
    try:
        await _pump(call, response, events)
    except ConnectionError:
        pass  # the client may go at any time; that ends the stream and is nobody's error
    except TimeoutError:
        if call.request.transport is not None:
            call.request.transport.abort()
    return response


async def _write(call: Call, response: web.StreamResponse, data: bytes) -> None:
    async with asyncio.timeout(call.streams.idle):
        await response.write(data)


async def _pump(call: Call, response: web.StreamResponse, events: AsyncIterator[tuple[str, str]]) -> None:
    iterator = aiter(events)
    pending: asyncio.Task[tuple[str, str]] | None = None
    try:
        while True:
            pending = pending or asyncio.ensure_future(_next(iterator))
            done, _ = await asyncio.wait({pending}, timeout=call.streams.heartbeat)
            if done:
                try:
                    kind, data = pending.result()
                except StopAsyncIteration:
                    return
                pending = None
                await _write(call, response, f"event: {kind}\r\ndata: {data}\r\n\r\n".encode())
            elif not call.engine.streams_silent():
                # two writes, as the servlet does: readers must live with a line end that comes in halves
                await _write(call, response, b"\r")
                await _write(call, response, b"\n")
    finally:
        if pending is not None:
            pending.cancel()
        close = getattr(iterator, "aclose", None)
        if close is not None:
            if pending is not None:
                await asyncio.wait({pending})
            await close()


async def _next(iterator: AsyncIterator[tuple[str, str]]) -> tuple[str, str]:
    return await anext(iterator)

"""A transport that tells how long each request took and how it ended: for metrics, whatever the target."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from typing import TypeAlias

import httpx

Observe: TypeAlias = Callable[[str, str, str, float], None]
"""Gets target, verb, status code (or `error` when there was none), and seconds until the answer began."""


class ObservedTransport(httpx.AsyncBaseTransport):
    """Passes requests on. A watch (`watch=true`) counts as verb WATCH, since its answer begins when the stream opens."""

    def __init__(self, inner: httpx.AsyncBaseTransport, *, target: str, observe: Observe) -> None:
        self._inner = inner
        self._target = target
        self._observe = observe

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See httpx."""
        verb = "WATCH" if b"watch=true" in request.url.query else request.method
        started = time.monotonic()
        code = "error"
        try:
            answer = await self._inner.handle_async_request(request)
            code = str(answer.status_code)
        finally:
            self._observe(self._target, verb, code, time.monotonic() - started)
        return answer

    async def aclose(self) -> None:
        """See httpx."""
        await self._inner.aclose()


def transport(
    *, target: str, observe: Observe | None, tls: ssl.SSLContext | None, connections: int | None, keepalive: int | None = None
) -> httpx.AsyncBaseTransport:
    """Real connections to one target, observed when somebody wants to know; `connections` None: no limit."""
    inner = httpx.AsyncHTTPTransport(
        verify=tls if tls is not None else True,
        limits=httpx.Limits(max_connections=connections, max_keepalive_connections=keepalive if keepalive is not None else connections),
        trust_env=False,
    )
    return inner if observe is None else ObservedTransport(inner, target=target, observe=observe)

"""What clients share: base URLs that can be used, and a transport that tells, for metrics, how long each request took and how it ended."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from typing import Any, TypeAlias

import httpx

from shuren.domain.errors import Invalid

_PORTS = range(1, 65536)

Observe: TypeAlias = Callable[[str, str, str, float], None]
"""Gets target, verb, status code (or `error` when there was none), and seconds until the answer began."""


def base_url(text: str) -> str:
    """The URL without a slash at its end. Invalid when no request could be made with it, or when it holds credentials.

    The schema refuses most of these; what it lets through would else come up as some odd error in the midst of work.
    """
    try:
        url = httpx.URL(text)
        usable = url.scheme in {"http", "https"} and bool(url.host) and (url.port is None or url.port in _PORTS)
    except (httpx.InvalidURL, ValueError) as error:
        raise Invalid(f"{text!r} is no URL: {error}") from error
    if url.userinfo:
        raise Invalid("a URL must not hold a user or password, which everybody could read; put them into a Secret (authSecretRef)")
    if not usable:
        raise Invalid(f"{text!r} is no base URL such as http://marathon1.example.org:8080, with a port from 1 to 65535")
    return text.rstrip("/")


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


class _ClosedWhenCancelled(httpx.AsyncBaseTransport):
    """Closes a connection whose TLS handshake is cancelled: httpcore (1.0.9) closes it only when the handshake fails."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        opened: list[Any] = []

        async def trace(event: str, info: dict[str, Any]) -> None:
            if event == "connection.connect_tcp.complete":
                opened.append(info["return_value"])
            elif event == "connection.start_tls.failed":
                for stream in opened:
                    await stream.aclose()

        request.extensions = {**request.extensions, "trace": trace}
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


class _NamedServer(httpx.AsyncBaseTransport):
    """Expects a certificate of this name, whatever host the URL names."""

    def __init__(self, inner: httpx.AsyncBaseTransport, name: str) -> None:
        self._inner = inner
        self._name = name

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions = {**request.extensions, "sni_hostname": self._name}
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


def transport(
    *,
    target: str,
    observe: Observe | None,
    tls: ssl.SSLContext | None,
    connections: int | None,
    keepalive: int | None = None,
    server_name: str | None = None,
    proxy: str | None = None,
) -> httpx.AsyncBaseTransport:
    """Real connections to one target, observed when somebody wants to know; `connections` None: no limit.

    `server_name` is expected in the certificate instead of the URL's host; `proxy` is the URL of an HTTP proxy.
    """
    plain = httpx.AsyncHTTPTransport(
        proxy=proxy,
        verify=tls if tls is not None else True,
        limits=httpx.Limits(max_connections=connections, max_keepalive_connections=keepalive if keepalive is not None else connections),
        trust_env=False,
    )
    inner: httpx.AsyncBaseTransport = _ClosedWhenCancelled(plain)
    if server_name is not None:
        inner = _NamedServer(inner, server_name)
    return inner if observe is None else ObservedTransport(inner, target=target, observe=observe)

"""What clients share: base URLs that can be used, requests over httpx's models and a transport, and what each took, for metrics."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TypeAlias
from urllib.parse import urlencode

import httpx

from shuren.clients.connections import Connections
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
    inner: httpx.AsyncBaseTransport
    if proxy is None:
        inner = Connections(tls=tls, limit=connections, kept=keepalive)
    else:
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=keepalive if keepalive is not None else connections)
        inner = httpx.AsyncHTTPTransport(proxy=proxy, verify=tls if tls is not None else True, limits=limits, trust_env=False)
    if server_name is not None:
        inner = _NamedServer(inner, server_name)
    return inner if observe is None else ObservedTransport(inner, target=target, observe=observe)


class Server:
    """Requests to one server, by paths below `base`. Raises httpx.HTTPError.

    This is httpx without its client: authentication, cookies and redirects, which an API server does not use, cost as much as all the rest.
    """

    def __init__(self, base: str, transport: httpx.AsyncBaseTransport, *, timeout: httpx.Timeout, headers: Mapping[str, str]) -> None:
        self._base = base.rstrip("/")
        self._transport = transport
        self._headers = {"Host": httpx.URL(base).netloc.decode("ascii"), "Accept": "*/*", **headers}
        self._extensions = {"timeout": timeout.as_dict()}

    @asynccontextmanager
    async def stream(
        self, method: str, path: str, *, params: Mapping[str, str] | None = None, headers: Mapping[str, str], content: bytes | None = None
    ) -> AsyncIterator[httpx.Response]:
        """An answer whose body is still to be read; closed at the end of the block."""
        url = f"{self._base}{path}?{urlencode(params)}" if params else self._base + path
        request = httpx.Request(method, url, headers={**self._headers, **headers}, content=content, extensions=self._extensions)
        answer = await self._transport.handle_async_request(request)
        answer.request = request
        try:
            yield answer
        finally:
            await answer.aclose()

    async def send(
        self, method: str, path: str, *, params: Mapping[str, str] | None = None, headers: Mapping[str, str], content: bytes | None = None
    ) -> httpx.Response:
        """An answer with its body."""
        async with self.stream(method, path, params=params, headers=headers, content=content) as answer:
            await answer.aread()
            return answer

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.aclose()

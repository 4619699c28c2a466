"""HTTP/1.1 over asyncio's streams as a transport for httpx: what one request costs decides how many resources one operator can keep.

httpx's own transport goes through two more layers and, for each request that ends, looks at all that wait: with sixty at a time, one costs
about ten times the CPU of one through this (`docs/performance.md`). Framing is h11's, as there. What is left out is what the operator never
uses: HTTP/2, proxies, upgrades.

Behaviour is httpx's otherwise: timeouts from the request's extensions, its exceptions, connections kept for a few seconds. A request whose
connection breaks is never sent again from here.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, TypeAlias

import h11
import httpx

_KEPT_SECONDS = 5.0
"""A connection that was idle for longer is not used again: servers close idle ones, and a request on its way then would be lost."""
_CHUNK = 256 * 1024

_Origin: TypeAlias = tuple[str, str, int]


class Connections(httpx.AsyncBaseTransport):
    """At most `limit` requests at a time (None: any number), in the order of asking; at most `kept` idle connections stay open.

    `tls` is used for https; without it the system's authorities are trusted.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None, limit: int | None = None, kept: int | None = None) -> None:
        self._tls = tls
        self._places = asyncio.Semaphore(limit) if limit is not None else None
        self._kept = kept if kept is not None else limit
        self._idle: dict[_Origin, list[_Connection]] = {}
        self._open: set[_Connection] = set()
        self._closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See httpx."""
        timeouts: Mapping[str, float | None] = request.extensions.get("timeout", {})
        await self._enter(timeouts.get("pool"))
        connection: _Connection | None = None
        try:
            connection = self._reused(_origin(request.url)) or await self._connect(request, timeouts.get("connect"))
            await connection.send(request, timeouts.get("write"))
            head = await connection.head(timeouts.get("read"))
        except BaseException:
            self._leave(connection, reusable=False)
            raise
        return httpx.Response(
            head.status_code,
            headers=head.headers.raw_items(),
            stream=_Body(self, connection, timeouts.get("read")),
            extensions={"http_version": b"HTTP/" + head.http_version, "reason_phrase": bytes(head.reason)},
        )

    async def aclose(self) -> None:
        """Close every connection, also those in use. Requests fail from now on, those that are still connecting too."""
        self._closed = True
        connections, self._open = self._open, set()
        self._idle.clear()
        for connection in connections:
            connection.close()
        await asyncio.gather(*(connection.closed() for connection in connections))

    # ------------------------------------------------------------------------------------------------ the pool

    async def _enter(self, within: float | None) -> None:
        if self._places is None:
            return
        if not self._places.locked():
            await self._places.acquire()
            return
        try:
            async with asyncio.timeout(within):
                await self._places.acquire()
        except TimeoutError as error:
            raise httpx.PoolTimeout(f"no connection became free within {within} s") from error

    def _reused(self, origin: _Origin) -> _Connection | None:
        """The one that was used last and is still good."""
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()
            if connection.usable and not connection.old:
                return connection
            self._discard(connection)
        return None

    async def _connect(self, request: httpx.Request, within: float | None) -> _Connection:
        self._require_open(request)
        origin = scheme, host, port = _origin(request.url)
        tls = None
        if scheme == "https":
            self._tls = self._tls or httpx.create_ssl_context(trust_env=False)
            tls = self._tls
        name = request.extensions.get("sni_hostname", host) if tls is not None else None
        try:
            async with asyncio.timeout(within):
                # one address after the other: asyncio's race of them (happy_eyeballs_delay) leaves a socket open when it is cancelled
                reader, writer = await asyncio.open_connection(host, port, ssl=tls, server_hostname=name, limit=_CHUNK)
        except TimeoutError as error:
            raise httpx.ConnectTimeout(f"{host}:{port} did not accept a connection within {within} s", request=request) from error
        except OSError as error:  # TLS errors are OSErrors
            raise httpx.ConnectError(str(error) or repr(error), request=request) from error
        connection = _Connection(origin, reader, writer)
        try:
            self._require_open(request)
        except httpx.ConnectError:
            connection.close()
            await connection.closed()
            raise
        self._open.add(connection)
        return connection

    def _require_open(self, request: httpx.Request) -> None:
        if self._closed:
            raise httpx.ConnectError("all connections have been closed by ourselves", request=request)

    def leave(self, connection: _Connection) -> None:
        """A request on it has ended, well or badly."""
        self._leave(connection, reusable=connection.finish())

    def _leave(self, connection: _Connection | None, *, reusable: bool) -> None:
        if self._places is not None:
            self._places.release()
        if connection is None:
            return
        if reusable and connection in self._open:
            idle = self._idle.setdefault(connection.origin, [])
            idle.append(connection)
            while idle and (idle[0].old or (self._kept is not None and len(idle) > self._kept)):
                self._discard(idle.pop(0))
        else:
            self._discard(connection)

    def _discard(self, connection: _Connection) -> None:
        self._open.discard(connection)
        connection.close()


def _origin(url: httpx.URL) -> _Origin:
    return url.scheme, url.raw_host.decode("ascii"), url.port or (443 if url.scheme == "https" else 80)


class _Connection:
    """One connection, one request after the other."""

    def __init__(self, origin: _Origin, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.origin = origin
        self._used_at = time.monotonic()
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.CLIENT)

    @property
    def usable(self) -> bool:
        """Whether it looks open: a server that has closed it meanwhile has said so."""
        return not self._reader.at_eof() and not self._writer.is_closing() and self._reader.exception() is None

    @property
    def old(self) -> bool:
        """Whether it has been idle for too long."""
        return time.monotonic() - self._used_at >= _KEPT_SECONDS

    async def send(self, request: httpx.Request, within: float | None) -> None:
        """The whole request."""
        content = await request.aread()
        head = h11.Request(method=request.method, target=request.url.raw_path, headers=request.headers.raw)
        try:
            data = [self._http.send(head), self._http.send(h11.Data(data=content)) if content else b"", self._http.send(h11.EndOfMessage())]
        except h11.LocalProtocolError as error:
            raise httpx.LocalProtocolError(str(error), request=request) from error
        try:
            self._writer.write(b"".join(part for part in data if part))
            async with asyncio.timeout(within):
                await self._writer.drain()
        except TimeoutError as error:
            raise httpx.WriteTimeout(f"nothing was taken for {within} s", request=request) from error
        except OSError as error:
            raise httpx.WriteError(str(error) or repr(error), request=request) from error

    async def head(self, within: float | None) -> h11.Response:
        """The status line and headers; what comes before (1xx) is passed over."""
        while True:
            event = await self._event(within)
            if isinstance(event, h11.Response):
                return event

    async def body(self, within: float | None) -> AsyncIterator[bytes]:
        """What follows the head, as it comes."""
        while True:
            event = await self._event(within)
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, (h11.EndOfMessage, h11.PAUSED)):
                return

    async def _event(self, within: float | None) -> Any:
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                raise httpx.RemoteProtocolError(str(error)) from error
            if event is not h11.NEED_DATA:
                return event
            self._http.receive_data(await self._read(within))

    async def _read(self, within: float | None) -> bytes:
        try:
            async with asyncio.timeout(within):
                data = await self._reader.read(_CHUNK)
        except TimeoutError as error:
            raise httpx.ReadTimeout(f"nothing came for {within} s") from error
        except OSError as error:
            raise httpx.ReadError(str(error) or repr(error)) from error
        if not data and self._http.their_state is h11.SEND_RESPONSE:
            raise httpx.RemoteProtocolError("Server disconnected without sending a response.")
        return data

    def finish(self) -> bool:
        """Make it ready for the next request; False when it cannot take one, or when the server has said more than was asked."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE or self._http.trailing_data[0]:
            return False
        self._http.start_next_cycle()
        self._used_at = time.monotonic()
        return True

    def close(self) -> None:
        """Close at once, without TLS's farewell: nobody would be left to wait for the answer to it."""
        self._writer.transport.abort()

    async def closed(self) -> None:
        """Wait until it is closed."""
        try:
            async with asyncio.timeout(1.0):
                await self._writer.wait_closed()
        except (OSError, TimeoutError):
            pass


class _Body(httpx.AsyncByteStream):
    """The rest of an answer; its connection is given back when it is closed."""

    def __init__(self, pool: Connections, connection: _Connection, within: float | None) -> None:
        self._pool = pool
        self._connection: _Connection | None = connection
        self._within = within

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._connection is not None:
            async for data in self._connection.body(self._within):
                yield data

    async def aclose(self) -> None:
        """See httpx."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.leave(connection)

"""`/metrics`, `/healthz` and `/readyz` of an agent beside traffic, with nothing but the standard library and prometheus-client."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from shuren.clients.page_tls import PageTls

Check = Callable[[], str]
"""Why not, in a sentence; empty when all is well."""

_MAX_HEAD = 16_384
_SECONDS = 10.0


class Exposition:
    """A server of three pages. `start` binds, `stop` closes."""

    def __init__(self, *, registry: CollectorRegistry, alive: Check, ready: Check) -> None:
        self._registry = registry
        self._checks = {"/healthz": alive, "/readyz": ready}
        self._tls: PageTls | None = None
        self._server: asyncio.Server | None = None

    async def start(self, address: str, port: int, tls: PageTls | None = None) -> int:
        """Serve, plainly or under TLS. Gives the port, which is another for port 0."""
        self._tls = tls
        context = None if tls is None else tls.context()
        self._server = await asyncio.start_server(self._serve, address, port, limit=_MAX_HEAD, ssl=context)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Close the server."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_SECONDS):
                head = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n", 1)[0].split()
                admitted = self._tls is None or self._tls.admits(writer.get_extra_info("peercert"))
                status, kind, body = self._answer(head[1].decode(errors="replace") if len(head) > 1 else "", admitted=admitted)
                lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", "Connection: close", "", ""]
                writer.write("\r\n".join(lines).encode() + (b"" if head[0] == b"HEAD" else body))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, IndexError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _answer(self, target: str, *, admitted: bool) -> tuple[str, str, bytes]:
        path = target.partition("?")[0]
        if path == "/metrics" and not admitted:
            return "403 Forbidden", "text/plain", b"show a certificate of the authority in SHUREN_METRICS_CLIENT_CA\n"
        if path == "/metrics":
            return "200 OK", CONTENT_TYPE_LATEST, generate_latest(self._registry)
        check = self._checks.get(path)
        if check is None:
            return "404 Not Found", "text/plain", b"there are /metrics, /healthz and /readyz\n"
        why = check()
        return ("503 Service Unavailable" if why else "200 OK"), "text/plain; charset=utf-8", (why or "ok").encode()

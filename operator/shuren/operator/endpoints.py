"""`/metrics`, `/healthz`, `/readyz` of the process.

Alive: the event loop runs and the election goes round. Ready: all watches have delivered what existed. Neither asks Marathon, and
ready does not mean leading: a standby that were not ready would block its own Deployment.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from shuren.clients.page_tls import PageTls
from shuren.domain.errors import Invalid

Check = Callable[[], str]
"""Why not, in a sentence; empty when all is well."""


class Endpoints:
    """A small HTTP server; `start` binds, `stop` closes."""

    def __init__(self, *, registry: CollectorRegistry, alive: Check, ready: Check) -> None:
        self._registry = registry
        self._alive = alive
        self._ready = ready
        self._tls: PageTls | None = None
        self._runner: web.AppRunner | None = None

    async def start(self, address: str, port: int, tls: PageTls | None = None) -> None:
        """Serve on address and port, plainly or under TLS. Invalid, naming the settings, when that is not possible."""
        self._tls = tls
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._answer(self._alive))
        app.router.add_get("/readyz", self._answer(self._ready))
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        try:
            context = None if tls is None else tls.context()
            await web.TCPSite(self._runner, address, port, ssl_context=context).start()
        except OSError as error:
            raise Invalid(f"cannot serve /metrics on {address}:{port} (SHUREN_METRICS_ADDRESS, SHUREN_METRICS_PORT): {error}") from error

    async def stop(self) -> None:
        """Close the server."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _metrics(self, request: web.Request) -> web.Response:
        if self._tls is not None and not self._tls.admits(request.get_extra_info("peercert")):
            return web.Response(status=403, text="show a certificate of the authority in SHUREN_METRICS_CLIENT_CA")
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    @staticmethod
    def _answer(check: Check) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def answer(_: web.Request) -> web.StreamResponse:
            why = check()
            return web.Response(text=why or "ok", status=503 if why else 200)

        return answer

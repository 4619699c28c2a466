"""One request on its way through a handler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import negotiation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import web

    from shuren.sandbox.contract import Group, LiveEngine, Settings

    from .pieces import Pieces
    from .traffic import Traffic


@dataclass(frozen=True, kw_only=True)
class StreamTiming:
    """Of event streams, in seconds: the pause after which a sign of life is sent, and how long a reader may take nothing before it is cut
    off, as the servlet container cuts idle connections.
    """

    heartbeat: float = 10.0
    idle: float = 30.0


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request with the engine it is for; `args` are the variable parts of its path, decoded."""

    engine: LiveEngine
    request: web.Request
    pieces: Pieces
    traffic: Traffic
    streams: StreamTiming
    args: tuple[str, ...] = ()

    @property
    def root(self) -> Group:
        """The root group now."""
        return self.engine.root

    @property
    def settings(self) -> Settings:
        """What the server was started with."""
        return self.engine.settings

    @property
    def force(self) -> bool:
        """`?force=true`."""
        return self.flag("force")

    @property
    def remote(self) -> str:
        """The client's address, as events name it."""
        return self.request.remote or "127.0.0.1"

    def flag(self, name: str, *, default: bool = False) -> bool:
        """A boolean of the query."""
        return negotiation.flag(self.request, name, default=default)

    def values(self, name: str) -> list[str]:
        """All values of a query parameter."""
        return list(self.request.query.getall(name, []))

    async def json(self) -> Any:
        """The body as JSON; raises the 400s for what is none."""
        return negotiation.parse_body(await self.request.read())

    def url(self, path: str) -> str:
        """A path on this server as the client knows it."""
        return f"{self.request.scheme}://{self.request.host}/{path.lstrip('/')}"


if TYPE_CHECKING:
    Handler = Callable[[Call], Awaitable[web.StreamResponse]]

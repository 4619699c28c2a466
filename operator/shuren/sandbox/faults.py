"""The fault switch: what a test may make go wrong at will, kept apart from how the engine works.

`PUT /sandbox/faults` takes the whole set (every part optional), `DELETE` ends all, `GET` shows it:

    {"http": [{"path": "^/v2/apps", "methods": ["GET"], "latencySeconds": 0.2, "jitterSeconds": 0.1,
               "status": 503, "body": {…}, "probability": 1.0, "count": 3,
               "drop": "before"|"after", "list": "empty"|"truncated", "stale": true, "hold": true}],
     "events": {"silent": true, "drop": true, "dropAfter": 5},
     "simulated": {"^/web": {"SIM_UNHEALTHY_AFTER": 0}}}

`drop` closes the connection without an answer, before or after the request was carried out. `stale` answers reads as they were when the
rule was set (first asked after it). `hold` keeps a request until the rules are replaced or ended; it is carried out then, whether or not
somebody still waits for the answer. `count` limits how often a rule applies; it goes when used up. The first rule that matches applies.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import re
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from shuren.sandbox.engine.clock import Clock
    from shuren.sandbox.engine.live import Engine

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Drop(Enum):
    """When the connection is closed instead of an answer."""

    BEFORE = "before"
    AFTER = "after"


class ListFault(Enum):
    """What becomes of a list."""

    EMPTY = "empty"
    TRUNCATED = "truncated"


@dataclass(slots=True)
class HttpFault:
    """One rule over requests."""

    path: re.Pattern[str]
    methods: frozenset[str] | None = None
    latency: float = 0.0
    jitter: float = 0.0
    status: int | None = None
    body: Any = None
    probability: float = 1.0
    count: int | None = None
    drop: Drop | None = None
    lists: ListFault | None = None
    stale: bool = False
    hold: bool = False
    let_go: asyncio.Event = field(default_factory=asyncio.Event)
    kept: dict[str, bytes] = field(default_factory=dict)

    @classmethod
    def parse(cls, raw: Mapping[str, Any], where: str) -> HttpFault:
        """ValueError names the field that is wrong."""
        numbers = {"latencySeconds", "jitterSeconds", "probability", "count", "status"}
        known = {"path", "methods", "body", "drop", "list", "stale", "hold", *numbers}
        if unknown := sorted(set(raw) - known):
            raise ValueError(f"{where}.{unknown[0]}: no such field (known: {', '.join(sorted(known))})")
        try:
            return cls(
                path=re.compile(raw.get("path", "")),
                methods=None if raw.get("methods") is None else frozenset(m.upper() for m in raw["methods"]),
                latency=float(raw.get("latencySeconds", 0.0)),
                jitter=float(raw.get("jitterSeconds", 0.0)),
                status=None if raw.get("status") is None else int(raw["status"]),
                body=raw.get("body"),
                probability=float(raw.get("probability", 1.0)),
                count=None if raw.get("count") is None else int(raw["count"]),
                drop=None if raw.get("drop") is None else Drop(raw["drop"]),
                lists=None if raw.get("list") is None else ListFault(raw["list"]),
                stale=bool(raw.get("stale", False)),
                hold=bool(raw.get("hold", False)),
            )
        except (TypeError, ValueError, re.error, AttributeError) as error:
            raise ValueError(f"{where}: {error}") from error

    def applies(self, request: web.Request, chance: random.Random) -> bool:
        if self.count == 0 or (self.methods is not None and request.method not in self.methods) or not self.path.search(request.path_qs):
            return False
        if self.probability < 1.0 and chance.random() >= self.probability:
            return False
        if self.count is not None:
            self.count -= 1
        return True


class Faults:
    """The present faults of one engine."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._raw: dict[str, Any] = {}
        self._http: list[HttpFault] = []
        self._chance = random.Random(20)  # noqa: S311 - repeatable misfortune
        self._drop_after: int | None = None

    def show(self) -> dict[str, Any]:
        """As put, with the counts that are left."""
        body = dict(self._raw)
        if self._http:
            body["http"] = [
                {**raw, **({} if f.count is None else {"count": f.count})} for raw, f in zip(self._raw["http"], self._http, strict=True)
            ]
        return body

    def put(self, raw: Any, engine: Engine) -> None:
        """Replaces all faults. ValueError names what is wrong; nothing is changed then."""
        if not isinstance(raw, dict):
            raise TypeError("an object is wanted: {http?, events?, simulated?}")
        if unknown := sorted(set(raw) - {"http", "events", "simulated"}):
            raise ValueError(f"{unknown[0]}: no such part (known: events, http, simulated)")
        rules = [HttpFault.parse(entry, f"http[{i}]") for i, entry in enumerate(raw.get("http", ()))]
        for former in self._http:
            former.let_go.set()
        self._raw, self._http = dict(raw), rules
        self.apply_to(engine)
        if engine.is_leader():
            engine.leading.health.probe_again()

    def clear(self, engine: Engine) -> None:
        self.put({}, engine)

    def apply_to(self, engine: Engine) -> None:
        """Puts the parts that concern the live room into effect; also after a change of leader."""
        events = self._raw.get("events", {})
        engine.bus.silent = bool(events.get("silent", False))
        if events.get("drop"):
            engine.bus.drop_all()
        engine.bus.drop_after = events.get("dropAfter")
        if engine.is_leader():
            override = getattr(engine.leading.world.runner, "override", None)
            if override is not None:
                override(self._raw.get("simulated", {}))

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Stands around the whole HTTP room."""
        if request.path.startswith("/sandbox"):
            return await handler(request)
        rule = next((f for f in self._http if f.applies(request, self._chance)), None)
        if rule is None:
            return await handler(request)
        if rule.latency or rule.jitter:
            await asyncio.sleep(rule.latency + self._chance.random() * rule.jitter)
        if rule.hold:
            await request.read()  # all of it has come, whatever becomes of the connection
            await rule.let_go.wait()
        if rule.drop is Drop.BEFORE:
            return _hang_up(request)
        if rule.status is not None:
            body = rule.body if rule.body is not None else {"message": "fault"}
            return web.json_response(body, status=rule.status)
        response = await handler(request)
        if rule.drop is Drop.AFTER:
            return _hang_up(request)
        if isinstance(response, web.Response) and request.method == "GET":
            _bend(rule, request, response)
        return response


def _hang_up(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


def _bend(rule: HttpFault, request: web.Request, response: web.Response) -> None:
    if not isinstance(response.body, bytes):
        return
    if response.headers.pop("Content-Encoding", None) == "gzip":
        response.body = gzip.decompress(response.body)
    if rule.stale:
        response.body = rule.kept.setdefault(request.path_qs, response.body)
    if rule.lists is not None:
        try:
            response.body = json.dumps(shortened(json.loads(response.body), rule.lists)).encode()
        except ValueError:
            return


def shortened(value: Any, how: ListFault) -> Any:
    """The outermost lists of a body emptied, or cut to their first half."""
    if isinstance(value, list):
        return [] if how is ListFault.EMPTY else value[: len(value) // 2]
    if isinstance(value, dict):
        return {k: shortened(v, how) if isinstance(v, (list, dict)) else v for k, v in value.items()}
    return value

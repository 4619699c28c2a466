"""The `Marathon` port over httpx.

Any of several URLs will do: a standby forwards to the leader. A URL that does not answer, or that answers nonsense, is left for the next
one; a write is sent to another URL only if the first was never reached. A write whose answer is lost or makes no sense raises
UnknownOutcome and is never sent again from here.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx

from shuren.clients.http import base_url
from shuren.clients.marathon import parse
from shuren.clients.marathon.refusals import refuse
from shuren.clients.marathon.stream import events as read_events
from shuren.domain.errors import Gone, Locked, UnknownOutcome, Unreachable
from shuren.domain.json import Document
from shuren.domain.marathon.state import ActualApp, Deployment, DeploymentRef, MarathonEvent, MarathonInfo, QueueItem

_EMBED = (
    ("embed", "apps.tasks"),
    ("embed", "apps.counts"),
    ("embed", "apps.deployments"),
    ("embed", "apps.lastTaskFailure"),
    ("embed", "apps.readiness"),
)
_Decode = Callable[[bytes], Awaitable[Any]]
_AT_ONCE = 25
"""Apps of a list that are decoded before other tasks get their turn."""
_EMBED_ONE = (("embed", "app.tasks"), ("embed", "app.readiness"))


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """Basic (`username`, `password`) or a token, sent as `Authorization: token=…`; all empty: none."""

    username: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)

    def headers(self) -> dict[str, str]:
        """The Authorization header, if any."""
        if self.token:
            return {"Authorization": f"token={self.token}"}
        if self.username:
            value = httpx.BasicAuth(self.username, self.password)
            request = next(value.auth_flow(httpx.Request("GET", "http://unused")))
            return {"Authorization": request.headers["Authorization"]}
        return {}


class MarathonClient:
    """See the port. `credentials` may be replaced at any time; the next request uses the new ones."""

    def __init__(
        self,
        urls: Sequence[str],
        *,
        credentials: Credentials | None = None,
        tls: ssl.SSLContext | None = None,
        timeout: float = 10.0,
        silence: float = 30.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._urls = [base_url(url) for url in urls]
        self.credentials = credentials or Credentials()
        self._silence = silence
        self._http = httpx.AsyncClient(
            verify=tls if tls is not None else True,
            timeout=httpx.Timeout(timeout, connect=3.0, pool=None),
            limits=httpx.Limits(max_connections=16),
            headers={"User-Agent": "shuren", "Accept": "application/json"},
            transport=transport,
            trust_env=False,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    # ------------------------------------------------------------------------------------------------ reads

    async def info(self) -> MarathonInfo:
        """See the port."""
        return parse.info(await self._read("/v2/info"))

    async def apps(self) -> tuple[ActualApp, ...]:
        """See the port."""
        found: tuple[ActualApp, ...] = await self._read("/v2/apps", _EMBED, decode=_apps_in_turns)
        return found

    async def app(self, app_id: str) -> ActualApp | None:
        """See the port."""
        try:
            document = await self._read(f"/v2/apps{_quoted(app_id)}", _EMBED_ONE)
        except Gone:
            return None
        if not isinstance(document, Mapping) or "app" not in document:
            raise parse.Malformed(f"Marathon's answer about {app_id} is not as promised: no `app`")
        return parse.app(document["app"])

    async def deployments(self) -> tuple[Deployment, ...]:
        """See the port."""
        return parse.deployments(await self._read("/v2/deployments"))

    async def queue(self) -> tuple[QueueItem, ...]:
        """See the port."""
        return parse.queue(await self._read("/v2/queue"))

    async def date(self) -> str:
        """The server's time as its answers carry it (header `Date`); empty when they do not."""
        try:
            answer = await self._http.get(f"{self._urls[0]}/ping")
        except httpx.HTTPError as error:
            raise Unreachable(f"{self._urls[0]} does not answer: {error!r}") from error
        return str(answer.headers.get("date", ""))

    async def pods(self) -> tuple[str, ...]:
        """Ids of all pods; empty where Marathon knows none."""
        try:
            found = await self._read("/v2/pods")
        except Gone:
            return ()
        return tuple(str(pod["id"]) for pod in found if isinstance(pod, Mapping) and "id" in pod) if isinstance(found, list) else ()

    async def group_settings(self) -> Mapping[str, Document]:
        """What groups say themselves, by id: `dependencies` and `enforceRole`, of those that say any of it."""
        found: dict[str, Document] = {}
        waiting = [await self._read("/v2/groups", (("embed", "group.groups"),))]
        while waiting:
            group = waiting.pop()
            if not isinstance(group, Mapping):
                continue
            own = {key: group[key] for key in ("dependencies", "enforceRole") if group.get(key)}
            if own:
                found[str(group.get("id"))] = own
            waiting += group.get("groups") or []
        return found

    async def app_at(self, app_id: str, version: str) -> Document | None:
        """See the port."""
        try:
            document = await self._read(f"/v2/apps{_quoted(app_id)}/versions/{quote(version)}")
        except Gone:
            return None
        if not isinstance(document, dict):
            raise parse.Malformed(f"Marathon's version {version} of {app_id} is not an object")
        return document

    # ------------------------------------------------------------------------------------------------ writes

    async def put_apps(self, definitions: Sequence[Document], *, force: bool = False) -> DeploymentRef:
        """See the port."""
        params = {"force": _boolean(force), "partialUpdate": "false"}
        if len(definitions) == 1:
            app_id = str(definitions[0]["id"])
            return parse.deployment_ref(await self._write("PUT", f"/v2/apps{_quoted(app_id)}", params, definitions[0]))
        return parse.deployment_ref(await self._write("PUT", "/v2/apps", params, list(definitions)))

    async def patch_apps(self, members: Sequence[Document], *, force: bool = False) -> DeploymentRef:
        """See the port."""
        if len(members) == 1:
            return await self.patch_app(str(members[0]["id"]), members[0], force=force)
        params = {"force": _boolean(force), "partialUpdate": "true"}
        return parse.deployment_ref(await self._write("PUT", "/v2/apps", params, list(members)))

    async def patch_app(self, app_id: str, fields: Document, *, force: bool = False) -> DeploymentRef:
        """See the port."""
        params = {"force": _boolean(force), "partialUpdate": "true"}
        return parse.deployment_ref(await self._write("PUT", f"/v2/apps{_quoted(app_id)}", params, fields))

    async def restore(self, app_id: str, version: str, *, force: bool = False) -> DeploymentRef:
        """See the port."""
        params = {"force": _boolean(force), "partialUpdate": "true"}
        return parse.deployment_ref(await self._write("PUT", f"/v2/apps{_quoted(app_id)}", params, {"version": version}))

    async def restart(self, app_id: str, *, force: bool = False) -> DeploymentRef:
        """See the port."""
        return parse.deployment_ref(await self._write("POST", f"/v2/apps{_quoted(app_id)}/restart", {"force": _boolean(force)}))

    async def delete_app(self, app_id: str, *, force: bool = False) -> DeploymentRef | None:
        """See the port."""
        try:
            return parse.deployment_ref(await self._write("DELETE", f"/v2/apps{_quoted(app_id)}", {"force": _boolean(force)}))
        except Gone:
            return None

    async def kill_tasks(self, task_ids: Sequence[str], *, scale: bool = False, force: bool = False) -> DeploymentRef | None:
        """See the port."""
        params = {"scale": _boolean(scale), "force": _boolean(force)}
        answer = await self._write("POST", "/v2/tasks/delete", params, {"ids": list(task_ids)})
        return parse.deployment_ref(answer) if scale else None

    async def cancel_deployment(self, deployment_id: str, *, force: bool) -> DeploymentRef | None:
        """See the port."""
        try:
            answer = await self._write("DELETE", f"/v2/deployments/{quote(deployment_id)}", {"force": _boolean(force)})
        except Gone:
            return None
        return None if force or answer is None else parse.deployment_ref(answer)

    # ------------------------------------------------------------------------------------------------ events

    async def events(self) -> AsyncIterator[MarathonEvent]:
        """See the port. A standby answers 302; it is followed by hand, since a client library would drop the Authorization header."""
        timeout = httpx.Timeout(self._silence, connect=3.0)
        # lines are taken from the bytes as they come, so they must not be compressed on the way
        headers = {"Accept": "text/event-stream", "Accept-Encoding": "identity", **self.credentials.headers()}
        url = f"{self._urls[0]}/v2/events"
        for _ in range(3):
            try:
                async with self._http.stream("GET", url, headers=headers, timeout=timeout) as answer:
                    if answer.is_redirect:
                        url = self._leader(answer, url)
                        continue
                    if answer.status_code != httpx.codes.OK:
                        refuse(answer.status_code, await answer.aread(), "read events")
                    if not answer.headers.get("Content-Type", "").startswith("text/event-stream"):
                        raise parse.Malformed("read events: what came is no event stream")
                    async for event in read_events(answer.aiter_raw()):
                        yield event
            except httpx.HTTPError as error:
                self._rotate()
                raise Unreachable(f"Marathon's event stream has ended: {error!r}") from error
            except Unreachable:
                self._rotate()
                raise
            raise Unreachable("Marathon has closed the event stream")
        raise Unreachable("Marathon's event stream only redirects")

    def _leader(self, answer: httpx.Response, url: str) -> str:
        """Where a standby sends us. Credentials that are kept from listeners are not shown to them because somebody says so."""
        if answer.next_request is None:
            raise parse.Malformed(f"read events: {url} redirects to nowhere")
        target = answer.next_request.url
        if url.startswith("https:") and target.scheme != "https" and self.credentials != Credentials():
            raise Unreachable(f"read events: {url} redirects to {target}, which is not encrypted; credentials are not sent there")
        return str(target)

    # ------------------------------------------------------------------------------------------------ one request

    def _rotate(self) -> None:
        self._urls.append(self._urls.pop(0))

    async def _read(self, path: str, params: Sequence[tuple[str, str]] = (), *, decode: _Decode | None = None) -> Any:
        """The decoded answer of the first URL that has one. Denied, Gone and the like are answers; silence and nonsense are none."""
        what = f"GET {path}"
        failed: Unreachable | None = None
        for _ in range(len(self._urls)):
            base = self._urls[0]
            try:
                answer = await self._http.get(base + path, params=list(params), headers=self.credentials.headers())
                return await _decoded(answer, what, decode)
            except httpx.HTTPError as error:
                failed = Unreachable(f"Marathon does not answer at {base}: {error!r}")
                failed.__cause__ = error
            except Unreachable as error:
                failed = error
            self._rotate()
        raise failed or Unreachable("Marathon has no URL")

    async def _write(self, method: str, path: str, params: Mapping[str, str], body: Any = None) -> Any:
        what = f"{method} {path}"
        headers = self.credentials.headers()
        content = None
        if body is not None:
            content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
            headers["Content-Type"] = "application/json"
        last: httpx.HTTPError | None = None
        for _ in range(len(self._urls)):
            try:
                answer = await self._http.request(method, self._urls[0] + path, params=params, headers=headers, content=content)
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
                last = error
                self._rotate()
                continue
            except httpx.HTTPError as error:
                self._rotate()
                raise UnknownOutcome(f"{what}: sent, but no answer came: {error!r}") from error
            return self._written(answer, what)
        raise Unreachable(f"Marathon does not answer at {', '.join(self._urls)}: {last!r}") from last

    def _written(self, answer: httpx.Response, what: str) -> Any:
        """The answer to a write. One that makes no sense may come from a Marathon that has done it, its words broken by a proxy."""
        if answer.status_code in {httpx.codes.BAD_GATEWAY, httpx.codes.GATEWAY_TIMEOUT}:
            self._rotate()
            raise UnknownOutcome(f"{what}: a standby lost the leader while forwarding it")
        try:
            return _answered(answer, what)
        except parse.Malformed as error:
            self._rotate()
            raise UnknownOutcome(str(error)) from error
        except Unreachable:
            self._rotate()
            raise


async def _decoded(answer: httpx.Response, what: str, decode: _Decode | None) -> Any:
    """The document of an answer to a read, by a decoder of its own if it has one."""
    if decode is None or answer.status_code != httpx.codes.OK:
        return _answered(answer, what)
    try:
        return await decode(answer.content)
    except (ValueError, RecursionError) as error:
        raise parse.Malformed(f"{what}: the answer is not JSON") from error


async def _apps_in_turns(body: bytes) -> tuple[ActualApp, ...]:
    """A long list is decoded a few apps at a time: nothing else runs while one is."""
    found: list[ActualApp] = []
    for app in parse.apps_text(body):
        found.append(app)
        if len(found) % _AT_ONCE == 0:
            await asyncio.sleep(0)
    return tuple(found)


def _answered(answer: httpx.Response, what: str) -> Any:
    """The document of an answer; None for a body that Marathon leaves empty on purpose (202, 204)."""
    if answer.status_code >= httpx.codes.BAD_REQUEST:
        refuse(answer.status_code, answer.content, what)
    if answer.status_code >= httpx.codes.MULTIPLE_CHOICES:
        target = answer.headers.get("Location", "nowhere")
        raise Unreachable(f"{what}: redirected to {target:.200}; name the Marathon itself in spec.marathon.urls")
    if not answer.content and answer.status_code in {httpx.codes.ACCEPTED, httpx.codes.NO_CONTENT}:
        return None
    try:
        return json.loads(answer.content)
    except (ValueError, RecursionError) as error:
        raise parse.Malformed(f"{what}: the answer is not JSON") from error


def _quoted(app_id: str) -> str:
    return quote(app_id)


def _boolean(value: bool) -> str:  # noqa: FBT001 - a value to be written down
    return "true" if value else "false"


__all__ = ["Credentials", "Locked", "MarathonClient"]

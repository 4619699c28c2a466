"""The `Kubernetes` port over httpx."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, NoReturn, TypeAlias

import httpx

from shuren.clients.http import Observe, Server
from shuren.clients.http import transport as transport_to
from shuren.clients.kubernetes.config import Access
from shuren.domain.errors import Conflict, Denied, Exists, FieldError, Gone, Invalid, ShurenError, Throttled, Unauthenticated, Unreachable
from shuren.ports.kubernetes import Change, Expired, Object, Page, Resource, WatchEvent

_CHUNK = 500
_CONNECT = 5.0
_WATCH_SECONDS = 300
_SILENCE = 70.0
"""Seconds without a byte after which a watch may have stalled and is begun anew: quiet ones get a bookmark about every 60 s. Not all do: an
API server (1.37) has none for a kind of which nothing has happened since its start, so silence is no failure."""
_CHANGES = {change.value: change for change in Change}
_METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_STATUS_ROUNDS = 4
"""How often a status meets somebody else's change before it gives the pass back."""

Known: TypeAlias = Callable[[Resource, str, str], tuple[str, str] | None]
"""Uid and resourceVersion of an object as last heard of, if at all: saves a read before each status."""


def _nothing_known(_: Resource, __: str, ___: str) -> None:
    return None


class KubernetesClient:
    """See `ports.kubernetes`. It owns a bounded pool of connections; give the lease a client of its own, so that it never has to wait."""

    def __init__(
        self,
        access: Access,
        *,
        timeout: float = 30.0,
        connections: int = 32,
        chunk: int = _CHUNK,
        silence: float = _SILENCE,
        known: Known = _nothing_known,
        observe: Observe | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._access = access
        self._chunk = chunk
        self._silence = silence
        self._known = known
        self._http = self._server(transport, observe, timeout=timeout, connections=connections)
        # watches hold their connection for minutes; in a pool of their own they cannot starve the writes
        self._watching = self._server(transport, observe, timeout=silence, connections=None)

    def _server(
        self, given: httpx.AsyncBaseTransport | None, observe: Observe | None, *, timeout: float, connections: int | None
    ) -> Server:
        return Server(
            self._access.server,
            given
            or transport_to(
                target="kubernetes",
                observe=observe,
                tls=self._access.context,
                connections=connections,
                keepalive=connections or 4,
                server_name=self._access.server_name,
                proxy=self._access.proxy,
            ),
            timeout=httpx.Timeout(timeout, connect=_CONNECT),
            headers={"User-Agent": "shuren", "Accept-Encoding": "gzip"},
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._http.close()
        await self._watching.close()

    # ------------------------------------------------------------------------------------------------ reads

    async def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """None when there is none."""
        answer = await self._send("GET", path(resource, namespace, name), what=f"get {resource.plural} {name}", missing_ok=True)
        return None if answer is None else _object(answer)

    async def list(
        self, resource: Resource, *, namespace: str = "", name: str = "", label_selector: str = "", metadata_only: bool = False
    ) -> Page:
        """All objects, in chunks. A list whose continue token has expired is begun again, once."""
        for attempt in (1, 2):
            found: list[Object] = []
            version = ""
            pages = self.pages(resource, namespace=namespace, name=name, label_selector=label_selector, metadata_only=metadata_only)
            try:
                async for page in pages:
                    found += page.items
                    version = page.resource_version
            except Expired:
                if attempt == 2:  # noqa: PLR2004 - twice in a row is no accident
                    raise
            else:
                return Page(items=found, resource_version=version)
        raise AssertionError

    async def pages(
        self, resource: Resource, *, namespace: str = "", name: str = "", label_selector: str = "", metadata_only: bool = False
    ) -> AsyncIterator[Page]:
        """See the port."""
        params = {"limit": str(self._chunk)}
        if name:
            params["fieldSelector"] = f"metadata.name={name}"
        if label_selector:
            params["labelSelector"] = label_selector
        headers = {"Accept": _METADATA_ONLY} if metadata_only else {}
        while True:
            answer = await self._send("GET", path(resource, namespace), what=f"list {resource.plural}", params=params, headers=headers)
            document = _object(answer)
            del answer
            token = document["metadata"].get("continue")
            yield Page(items=document.pop("items", None) or [], resource_version=document["metadata"].get("resourceVersion", ""))
            if not token:
                return
            params = {**params, "continue": token}

    async def watch(
        self, resource: Resource, *, resource_version: str, namespace: str = "", name: str = "", label_selector: str = ""
    ) -> AsyncIterator[WatchEvent]:
        """Events after `resource_version`; see the port."""
        params = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(_WATCH_SECONDS),
        }
        if name:
            params["fieldSelector"] = f"metadata.name={name}"
        if label_selector:
            params["labelSelector"] = label_selector
        headers = self._headers({"Accept-Encoding": "identity"})  # lines are taken from the bytes as they come
        what = f"watch {resource.plural}"
        open_ = False
        try:
            async with self._watching.stream("GET", path(resource, namespace), params=params, headers=headers) as answer:
                if answer.status_code >= httpx.codes.BAD_REQUEST:
                    _refuse(answer.status_code, await answer.aread(), what)
                open_, rest = True, b""
                async for chunk in answer.aiter_raw():
                    lines = (rest + chunk).split(b"\n")
                    rest = lines.pop()
                    for line in lines:
                        if line:
                            yield _event(line, what)
        except httpx.ReadTimeout as error:
            if not open_:
                raise Unreachable(f"{what}: silent for {self._silence:.0f} s") from error
        except httpx.HTTPError as error:
            raise Unreachable(f"{what}: {error!r}") from error

    # ------------------------------------------------------------------------------------------------ writes

    async def create(self, resource: Resource, namespace: str, body: Object) -> Object:
        """POST."""
        name = body["metadata"].get("name", "")
        return _object(await self._send("POST", path(resource, namespace), what=f"create {resource.plural} {name}", body=body))

    async def replace(self, resource: Resource, namespace: str, name: str, body: Object) -> Object:
        """PUT."""
        return _object(await self._send("PUT", path(resource, namespace, name), what=f"update {resource.plural} {name}", body=body))

    async def delete(self, resource: Resource, namespace: str, name: str, *, uid: str = "") -> bool:
        """DELETE, in the background."""
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if uid:
            options["preconditions"] = {"uid": uid}
        answer = await self._send(
            "DELETE", path(resource, namespace, name), what=f"delete {resource.plural} {name}", body=options, missing_ok=True
        )
        return answer is not None

    async def apply_status(self, resource: Resource, namespace: str, name: str, status: Object, *, manager: str, uid: str = "") -> Object:
        """Server-side apply of the status subresource.

        The API server does not look at `metadata.uid` here, so a uid is held by the resourceVersion of an object that is known to have it:
        the one `known` tells, else one that is read first. Somebody else's change in between costs another round, never a wrong object.
        """
        if not uid:
            return await self._apply_status(resource, namespace, name, status, manager, precondition={})
        told = self._known(resource, namespace, name)
        for _ in range(_STATUS_ROUNDS):
            seen_uid, seen_version = told or await self._identity(resource, namespace, name)
            if seen_uid != uid:
                raise Conflict(f"{resource.kind} {name} is another object of that name now (uid {seen_uid}, not {uid})")
            try:
                return await self._apply_status(resource, namespace, name, status, manager, precondition={"resourceVersion": seen_version})
            except Gone:
                raise
            except Conflict:
                told = None
        raise Conflict(f"{resource.kind} {name} changes faster than its status can be written")

    async def _identity(self, resource: Resource, namespace: str, name: str) -> tuple[str, str]:
        item = await self.get(resource, namespace, name)
        if item is None:
            raise Gone(f"{resource.kind} {name} is gone")
        return item["metadata"]["uid"], item["metadata"]["resourceVersion"]

    async def _apply_status(
        self, resource: Resource, namespace: str, name: str, status: Object, manager: str, *, precondition: Mapping[str, str]
    ) -> Object:
        metadata: Object = {"name": name, **({"namespace": namespace} if namespace else {}), **precondition}
        body = {"apiVersion": api_version(resource), "kind": resource.kind, "metadata": metadata, "status": status}
        answer = await self._send(
            "PATCH",
            path(resource, namespace, name) + "/status",
            what=f"patch {resource.plural}/status {name}",
            body=body,
            params={"fieldManager": manager, "force": "true"},
            headers={"Content-Type": "application/apply-patch+yaml"},
        )
        return _object(answer)

    async def apply(
        self, resource: Resource, namespace: str, name: str, body: Object, *, manager: str, force: bool = False, dry_run: bool = False
    ) -> Object:
        """Server-side apply of everything but the status. Conflict when others own a field and `force` is not given.

        With `dry_run` nothing is kept: the answer is what would be, defaults filled in and validated.
        """
        params = {"fieldManager": manager, "force": "true" if force else "false", **_dry(dry_run)}
        headers = {"Content-Type": "application/apply-patch+yaml"}
        what = f"apply {resource.plural} {name}"
        return _object(await self._send("PATCH", path(resource, namespace, name), what=what, body=body, params=params, headers=headers))

    async def patch_merge(self, resource: Resource, namespace: str, name: str, patch: Object, *, dry_run: bool = False) -> Object:
        """JSON merge patch (RFC 7386): null takes a field away."""
        headers = {"Content-Type": "application/merge-patch+json"}
        what = f"patch {resource.plural} {name}"
        where = path(resource, namespace, name)
        return _object(await self._send("PATCH", where, what=what, body=patch, params=_dry(dry_run), headers=headers))

    async def post(self, resource: Resource, namespace: str, body: Object, *, name: str = "", dry_run: bool = False) -> Object:
        """POST, also of what only asks a question (a review has no name)."""
        what = f"create {resource.plural} {name}".rstrip()
        return _object(await self._send("POST", path(resource, namespace), what=what, body=body, params=_dry(dry_run)))

    async def text(self, where: str) -> str:
        """GET of a URL path that is no object: `/version`, `/healthz`."""
        return (await self._send("GET", where, what=f"get {where}") or b"").decode(errors="replace")

    async def headers_of(self, where: str) -> Mapping[str, str]:
        """Headers of the answer to a GET, whatever it is: `date`."""
        try:
            return dict((await self._http.send("GET", where, params=None, headers=self._headers({}), content=None)).headers)
        except httpx.HTTPError as error:
            raise Unreachable(f"get {where}: the API server did not answer: {error!r}") from error

    async def patch_json(
        self, resource: Resource, namespace: str, name: str, operations: Sequence[Object], *, subresource: str = ""
    ) -> Object:
        """JSON patch. The API server answers 422 to a failed `test`; that is a Conflict here."""
        try:
            answer = await self._send(
                "PATCH",
                path(resource, namespace, name) + (f"/{subresource}" if subresource else ""),
                what=f"patch {resource.plural} {name}",
                body=list(operations),
                headers={"Content-Type": "application/json-patch+json"},
            )
        except Invalid as error:
            if any(operation.get("op") == "test" for operation in operations) and not error.errors:
                raise Conflict(f"{resource.kind} {name} has changed: {error}") from error
            raise
        return _object(answer)

    # ------------------------------------------------------------------------------------------------ one request

    def _headers(self, extra: Mapping[str, str]) -> dict[str, str]:
        try:
            token = self._access.token()
        except OSError as error:
            raise Denied(f"the token that proves who we are cannot be read: {error}") from error
        return {**({"Authorization": f"Bearer {token}"} if token else {}), **extra}

    async def _send(
        self,
        method: str,
        where: str,
        *,
        what: str,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: object = None,
        missing_ok: bool = False,
    ) -> bytes | None:
        sent = self._headers({"Content-Type": "application/json", **(headers or {})} if body is not None else headers or {})
        content = None if body is None else _encoded(body)
        try:
            answer = await self._http.send(method, where, params=params, headers=sent, content=content)
        except httpx.HTTPError as error:
            raise Unreachable(f"{what}: the API server did not answer: {error!r}") from error
        if answer.status_code < httpx.codes.BAD_REQUEST:
            return answer.content
        if missing_ok and answer.status_code == httpx.codes.NOT_FOUND and _is_status(answer.content):
            return None
        return _refuse(answer.status_code, answer.content, what, retry_after=answer.headers.get("Retry-After"))


def _dry(dry_run: bool) -> dict[str, str]:  # noqa: FBT001 - a parameter's own name
    return {"dryRun": "All"} if dry_run else {}


def _encoded(body: object) -> bytes:
    """Compact JSON with `<`, `>` and `&` escaped as Go escapes them.

    The API server keeps raw JSON (a ControllerRevision's `data`) as it was sent, but re-encodes it when something else of the object is
    patched, and then finds that the immutable bytes have changed.
    """
    text = json.dumps(body, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026").encode()


def api_version(resource: Resource) -> str:
    """`v1` or `group/version`."""
    return f"{resource.group}/{resource.version}" if resource.group else resource.version


def path(resource: Resource, namespace: str = "", name: str = "") -> str:
    """The URL path of a collection or an object."""
    root = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
    middle = f"/namespaces/{namespace}" if resource.namespaced and namespace else ""
    return f"{root}{middle}/{resource.plural}" + (f"/{name}" if name else "")


def _object(content: bytes | None) -> Object:
    try:
        document = json.loads(content or b"")
    except ValueError as error:
        raise Unreachable("the API server's answer is not JSON") from error
    if not isinstance(document, dict):
        raise Unreachable("the API server's answer is not an object")
    return document


def _is_status(content: bytes) -> bool:
    """Whether a 404 speaks of an object (a Status with its name) and not of an unknown URL (no such kind)."""
    try:
        document = json.loads(content)
    except ValueError:
        return False
    return isinstance(document, dict) and document.get("kind") == "Status" and bool((document.get("details") or {}).get("name"))


def _event(line: bytes, what: str) -> WatchEvent:
    try:
        document = json.loads(line)
        kind, item = document["type"], document["object"]
        if kind == "ERROR":
            _refuse(int(item.get("code") or 500), json.dumps(item).encode(), what)
        return WatchEvent(change=_CHANGES[kind], object=item)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unreachable(f"{what}: what came is not an event") from error  # not quoted: it may be half a Secret


def _refuse(code: int, content: bytes, what: str, *, retry_after: str | None = None) -> NoReturn:
    """Raise what an error answer means."""
    status: dict[str, Any] = {}
    try:
        loaded = json.loads(content)
        status = loaded if isinstance(loaded, dict) else {}
    except ValueError:
        pass
    message = f"{what}: {status.get('message') or content[:200].decode(errors='replace').strip() or f'HTTP {code}'}"
    raise _error(code, str(status.get("reason") or ""), status, message, retry_after)


def _error(code: int, reason: str, status: Mapping[str, Any], message: str, retry_after: str | None) -> ShurenError | Expired:
    seconds = float(retry_after) if retry_after and retry_after.isascii() and retry_after.isdigit() else None
    details = status.get("details") or {}
    match code:
        case 404:
            return Gone(message)
        case 403 if _terminating(details):
            return Conflict(message)
        case 401:
            return Unauthenticated(message)
        case 403:
            return Denied(message)
        case 409:
            return Exists(message) if reason == "AlreadyExists" else Conflict(message)
        case 410:
            return Expired(message)
        case 429:
            return Throttled(message, retry_after=seconds or float(details.get("retryAfterSeconds") or 1))
        case 400 | 405 | 406 | 413 | 415 | 422:
            causes = details.get("causes") or []
            errors = tuple(FieldError(path=str(c.get("field", "")), message=str(c.get("message", ""))) for c in causes)
            return Invalid(message, errors=errors)
        case 500 if "field not declared in schema" in message:
            return Invalid(f"{message}; the CRDs are older than this operator: apply the ones that came with it")
        case _:
            return Unreachable(message, retry_after=seconds)


def _terminating(details: Mapping[str, Any]) -> bool:
    """Whether a creation was refused only because its namespace is being deleted: a race with the user, not a missing right."""
    return any(cause.get("reason") == "NamespaceTerminating" for cause in details.get("causes") or ())

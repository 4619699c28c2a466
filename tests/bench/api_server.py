"""A fake API server for benches, as a program of its own: just enough of list, watch, patch, create and replace, without storage, rights or
schemas, so that next to nothing of what is measured is its own cost.

Lists come in chunks, watches replay what happened since the version they begin at and get bookmarks; server-side apply of a status that
changes nothing makes no new version, as in the real one. `POST /bench/…` is for the bench: it makes and touches apps and reads counters.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from aiohttp import web

from bench import objects

Object = dict[str, Any]

_BOOKMARK_SECONDS = 30.0
_KEPT_EVENTS = 100_000
_WATCHED_AT_ONCE = 256 * 1024


def _encoded(document: Object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


@dataclass(eq=False)
class _Watcher:
    """One open watch: what it has yet to send."""

    lines: list[bytes] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    sending: bool = False

    def tell(self, line: bytes) -> None:
        self.lines.append(line)
        self.news.set()

    @property
    def unsent(self) -> int:
        """Events that the client's socket has not taken; one that is being sent counts."""
        return len(self.lines) + self.sending


@dataclass
class _Table:
    """All objects of one resource."""

    plural: str
    kind: str
    api_version: str
    items: dict[tuple[str, str], Object] = field(default_factory=dict)
    events: list[tuple[int, bytes]] = field(default_factory=list)
    forgotten: int = 0
    watchers: set[_Watcher] = field(default_factory=set)


class _Refused(Exception):
    def __init__(self, code: int, reason: str, message: str, name: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.document = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "reason": reason,
            "message": message,
            "details": {"name": name} if name else {},
            "code": code,
        }


_KINDS = {
    "paasapps": ("PaasApp", objects.API_VERSION),
    "mesosclusters": ("MesosCluster", objects.API_VERSION),
    "paasservices": ("PaasService", objects.API_VERSION),
    "services": ("Service", "v1"),
    "endpointslices": ("EndpointSlice", "discovery.k8s.io/v1"),
    "shardmaps": ("ShardMap", objects.API_VERSION),
    "namespaces": ("Namespace", "v1"),
    "controllerrevisions": ("ControllerRevision", "apps/v1"),
    "leases": ("Lease", "coordination.k8s.io/v1"),
    "events": ("Event", "events.k8s.io/v1"),
}
_CLUSTER_WIDE = frozenset({"MesosCluster", "Namespace"})


class ApiServer:
    """The tables and the answers."""

    def __init__(self) -> None:
        self.version = 1000
        self.tables = {plural: _Table(plural, kind, api_version) for plural, (kind, api_version) in _KINDS.items()}
        self.counts: Counter[str] = Counter()
        self.statuses: list[tuple[float, str, Object]] = []
        """When (monotonic seconds) the status of which app was written, and what is in it."""

    # ------------------------------------------------------------------------------------------------ changes

    def put(self, table: _Table, key: tuple[str, str], item: Object) -> Object:
        """Store a new state under a new version and tell the watches."""
        self.version += 1
        item["metadata"]["resourceVersion"] = str(self.version)
        change = "MODIFIED" if key in table.items else "ADDED"
        table.items[key] = item
        self._tell(table, change, item)
        return item

    def _tell(self, table: _Table, change: str, item: Object) -> None:
        line = b'{"type":"' + change.encode() + b'","object":' + _encoded(item) + b"}\n"
        table.events.append((self.version, line))
        if len(table.events) > _KEPT_EVENTS:
            table.forgotten = table.events[_KEPT_EVENTS // 2][0]
            del table.events[: _KEPT_EVENTS // 2 + 1]
        for watcher in table.watchers:
            watcher.tell(line)

    def remove(self, table: _Table, key: tuple[str, str]) -> None:
        """Delete at once: finalizers are nobody's subject here."""
        item = table.items.pop(key)
        self.version += 1
        self._tell(table, "DELETED", {**item, "metadata": {**item["metadata"], "resourceVersion": str(self.version)}})

    # ------------------------------------------------------------------------------------------------ requests

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Any request."""
        url = urlsplit(request.raw_path)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        parts = url.path.strip("/").split("/")
        body = await request.read()
        if parts[0] == "bench":
            return self._json(self._order(parts[1], query, body))
        try:
            return await self._answer(request, parts, query, body)
        except _Refused as refused:
            return self._json(refused.document, status=refused.code)

    @staticmethod
    def _json(document: Any, *, status: int = 200) -> web.Response:
        return web.Response(body=json.dumps(document, separators=(",", ":")).encode(), status=status, content_type="application/json")

    async def _answer(self, request: web.BaseRequest, parts: list[str], query: dict[str, str], body: bytes) -> web.StreamResponse:
        rest = parts[2:] if parts[0] == "api" else parts[3:]
        if not rest and request.method == "GET":
            return self._json(_discovery(parts))
        namespace = ""
        if len(rest) > 2 and rest[0] == "namespaces":
            namespace, rest = rest[1], rest[2:]
        table = self.tables.get(rest[0])
        if table is None:
            raise _Refused(404, "NotFound", f"nothing is served at {request.path}")
        name, subresource = (rest[1] if len(rest) > 1 else ""), (rest[2] if len(rest) > 2 else "")
        if not name and request.method == "GET" and query.get("watch") == "true":
            self.counts[f"WATCH {table.plural}"] += 1
            return await self._watch(request, table, int(query["resourceVersion"]), float(query.get("timeoutSeconds") or 300))
        self.counts[f"{request.method} {table.plural}{'/' + subresource if subresource else ''}"] += 1
        if request.method != "GET":
            return self._json(self._write(request.method, table, (namespace, name, subresource), json.loads(body) if body else {}))
        if name:
            return self._json(self._known(table, namespace, name))
        return self._json(self._list(table, namespace, query, metadata_only="PartialObject" in request.headers.get("Accept", "")))

    def _write(self, method: str, table: _Table, where: tuple[str, str, str], document: Any) -> Object:
        namespace, name, subresource = where
        match method:
            case "POST":
                return self._create(table, namespace, document)
            case "PUT":
                return self._replace(table, namespace, name, document)
            case "PATCH" if subresource == "status":
                return self._apply_status(table, namespace, name, document)
            case "PATCH":
                return self._patch(table, namespace, name, document)
            case "DELETE":
                self._known(table, namespace, name)
                self.remove(table, (namespace, name))
                return {"kind": "Status", "status": "Success"}
        raise _Refused(405, "MethodNotAllowed", method)

    @staticmethod
    def _known(table: _Table, namespace: str, name: str) -> Object:
        item = table.items.get((namespace, name))
        if item is None:
            raise _Refused(404, "NotFound", f"{table.plural} {name!r} not found", name)
        return item

    def _list(self, table: _Table, namespace: str, query: dict[str, str], *, metadata_only: bool) -> Object:
        only = query.get("fieldSelector", "").removeprefix("metadata.name=")
        keys = [key for key in table.items if (not namespace or key[0] == namespace) and only in {"", key[1]}]
        limit, start = int(query.get("limit") or 0) or len(keys), int(query.get("continue") or 0)
        chunk = [table.items[key] for key in keys[start : start + limit]]
        if metadata_only:
            chunk = [{"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": item["metadata"]} for item in chunk]
        metadata = {"resourceVersion": str(self.version)}
        if start + limit < len(keys):
            metadata["continue"] = str(start + limit)
        return {"kind": f"{table.kind}List", "apiVersion": table.api_version, "metadata": metadata, "items": chunk}

    async def _watch(self, request: web.BaseRequest, table: _Table, since: int, seconds: float) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        if since < table.forgotten:
            await response.write(
                _encoded({"type": "ERROR", "object": _Refused(410, "Expired", "too old resource version").document}) + b"\n"
            )
            return response
        watcher = _Watcher([line for version, line in table.events if version > since])
        watcher.news.set()
        table.watchers.add(watcher)
        end = time.monotonic() + seconds
        try:
            while (left := end - time.monotonic()) > 0:
                try:
                    async with asyncio.timeout(min(left, _BOOKMARK_SECONDS)):
                        await watcher.news.wait()
                except TimeoutError:
                    bookmark = {"type": "BOOKMARK", "object": {"kind": table.kind, "metadata": {"resourceVersion": str(self.version)}}}
                    await response.write(_encoded(bookmark) + b"\n")
                    continue
                watcher.news.clear()
                lines, watcher.lines = watcher.lines, []
                text = b"".join(lines)
                watcher.sending = True
                for begin in range(0, len(text), _WATCHED_AT_ONCE):
                    await response.write(text[begin : begin + _WATCHED_AT_ONCE])
                watcher.sending = False
        finally:
            table.watchers.discard(watcher)
        return response

    def _create(self, table: _Table, namespace: str, item: Object) -> Object:
        key = (namespace, item["metadata"]["name"])
        if key in table.items:
            raise _Refused(409, "AlreadyExists", f"{key[1]} exists", key[1])
        item["metadata"].setdefault("uid", objects.uid_of(table.plural, *key, self.version))
        if table.plural == "events":  # nobody reads them back
            self.counts["POST events"] -= 1
            self.counts[f"POST events about {item['regarding']['kind']}"] += 1
            return item
        return self.put(table, key, item)

    def _replace(self, table: _Table, namespace: str, name: str, item: Object) -> Object:
        known = self._known(table, namespace, name)
        if item["metadata"].get("resourceVersion") not in {None, known["metadata"]["resourceVersion"]}:
            raise _Refused(409, "Conflict", f"{name} has been modified", name)
        return self.put(table, (namespace, name), item)

    def _apply_status(self, table: _Table, namespace: str, name: str, document: Object) -> Object:
        known = self._known(table, namespace, name)
        if document["metadata"].get("resourceVersion", known["metadata"]["resourceVersion"]) != known["metadata"]["resourceVersion"]:
            raise _Refused(409, "Conflict", f"{name} has been modified", name)
        if known.get("status") == document["status"]:
            return known
        self.statuses.append((time.monotonic(), f"{namespace}/{name}", document["status"]))
        return self.put(table, (namespace, name), {**known, "metadata": dict(known["metadata"]), "status": document["status"]})

    def _patch(self, table: _Table, namespace: str, name: str, operations: list[Object]) -> Object:
        known = self._known(table, namespace, name)
        changed: Object = {**known, "metadata": dict(known["metadata"])}
        for operation in operations:
            *path, last = operation["path"].strip("/").split("/")
            target = changed
            for part in path:
                target = target[part]
            match operation["op"]:
                case "test":
                    if target.get(last) != operation["value"]:
                        raise _Refused(422, "Invalid", "the server rejected our request due to an error in our request")
                case "add" | "replace":
                    target[last] = operation["value"]
                case "remove":
                    del target[last]
        return self.put(table, (namespace, name), changed)

    # ------------------------------------------------------------------------------------------------ orders of the bench

    def _order(self, what: str, query: dict[str, str], body: bytes) -> Any:
        match what:
            case "object":
                item = json.loads(body)
                table = next(table for table in self.tables.values() if table.kind == item["kind"])
                return self.put(table, (item["metadata"].get("namespace", ""), item["metadata"]["name"]), item)
            case "apps":
                return self._make_apps(int(query["count"]), settled=query.get("settled") == "true")
            case "touch":
                return self._touch(status_only=query.get("what") == "status", turn=int(query.get("turn") or 1))
            case "watched":
                watchers = self.tables["paasapps"].watchers
                return {"watches": len(watchers), "unsent": sum(watcher.unsent for watcher in watchers)}
            case "counts":
                return dict(self.counts)
            case "forget":
                self.counts.clear()
                self.statuses.clear()
                return {}
            case "statuses":
                return self.statuses[int(query.get("since") or 0) :]
            case "ready":
                apps = self.tables["paasapps"].items.values()
                return {"ready": sum(1 for item in apps if _ready(item)), "apps": len(apps)}
        raise _Refused(404, "NotFound", what)

    def _make_apps(self, count: int, *, settled: bool) -> Object:
        table = self.tables["paasapps"]
        make = objects.settled_app if settled else objects.app
        for number in range(count):
            item = make(number)
            self.put(table, (item["metadata"]["namespace"], item["metadata"]["name"]), item)
        return {"began": time.monotonic(), "bytes": sum(len(_encoded(item)) for item in table.items.values()) // max(count, 1)}

    def _touch(self, *, status_only: bool, turn: int) -> Object:
        """Change every app once, as fast as it goes."""
        table = self.tables["paasapps"]
        for number, (key, known) in enumerate(list(table.items.items())):
            item = {**known, "metadata": dict(known["metadata"])}
            if status_only:
                item["status"] = objects.status(number, turn=turn)
            else:
                item["metadata"]["generation"] = known["metadata"]["generation"] + 1
                item["spec"] = {**known["spec"], "env": {**known["spec"]["env"], "TURN": str(turn)}}
            self.put(table, key, item)
        return {"touched": len(table.items)}


def _discovery(parts: list[str]) -> Object:
    """What the server has, as kopf asks for it at the start."""
    match parts:
        case ["version"]:
            return {"major": "1", "minor": "34"}
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"]}
        case ["apis"]:
            preferred = {"groupVersion": objects.API_VERSION, "version": objects.VERSION}
            return {"kind": "APIGroupList", "groups": [{"name": objects.GROUP, "versions": [preferred], "preferredVersion": preferred}]}
        case ["api", version] | ["apis", _, version]:
            group_version = "/".join(parts[1:])
            verbs = ["get", "list", "watch", "patch"]
            resources = [
                {"name": plural, "singularName": kind.lower(), "kind": kind, "namespaced": kind not in _CLUSTER_WIDE, "verbs": verbs}
                for plural, (kind, api_version) in _KINDS.items()
                if api_version == group_version
            ]
            return {"kind": "APIResourceList", "groupVersion": version, "resources": resources}
        case _:
            return {}


def _ready(item: Object) -> bool:
    conditions = (item.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


async def _serve(port: int) -> None:
    server = ApiServer()
    for number in range(objects.NAMESPACES):
        item = objects.namespace(number)
        server.put(server.tables["namespaces"], ("", item["metadata"]["name"]), item)
    for name in ("kube-system", "shuren-system"):
        item = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "uid": objects.uid_of(name)}}
        server.put(server.tables["namespaces"], ("", name), item)
    runner = web.ServerRunner(web.Server(server.handle, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()


def main() -> None:
    """`python -m bench.api_server PORT`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    asyncio.run(_serve(parser.parse_args().port))


if __name__ == "__main__":
    main()

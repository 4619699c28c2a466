"""A Kubernetes API server in memory: versions, uids, generations, status subresources, finalizers, watches, apply of status.

Faults: `fail(verb, plural, error, times)` makes the next calls raise; `hook` is called around every write (crash tests).
"""

from __future__ import annotations

import asyncio
import copy
import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shuren.domain.errors import Conflict, Exists, Gone, Invalid
from shuren.ports.kubernetes import Change, Expired, Object, Page, Resource, WatchEvent

_Name = tuple[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Entry:
    """One change that watches tell."""

    version: int
    plural: str
    change: Change
    item: Object
    labels_before: Mapping[str, str] | None

    def at(self) -> int:
        return self.version

    def seen(self, namespace: str, name: str, selector: str) -> Change | None:
        """What a watch of this scope sees: an object that begins or ends to match is added or deleted for it."""
        metadata = self.item["metadata"]
        if (namespace and metadata.get("namespace", "") != namespace) or (name and metadata["name"] != name):
            return None
        before = self.labels_before is not None and _matches(self.labels_before, selector)
        after = self.change is not Change.DELETED and _matches(metadata.get("labels"), selector)
        match before, after:
            case False, True:
                return Change.ADDED
            case True, True:
                return Change.MODIFIED
            case True, False:
                return Change.DELETED
            case _:
                return None


class FakeKubernetes:
    """See the module. `writes` counts successful writes, `log` names them."""

    def __init__(self, *, hook: Callable[[str], None] | None = None) -> None:
        self._objects: dict[str, dict[_Name, Object]] = defaultdict(dict)
        self._history: list[_Entry] = []
        self._oldest = 0
        self._version = 0
        self._uid = 0
        self._wake = asyncio.Event()
        self._faults: list[tuple[str, str, Exception]] = []
        self.hook = hook
        self.log: list[str] = []

    @property
    def writes(self) -> int:
        """How many writes have succeeded."""
        return len(self.log)

    # ------------------------------------------------------------------------------------------------ faults and set-up

    def fail(self, verb: str, plural: str, error: Exception, *, times: int = 1) -> None:
        """The next `times` calls of `verb` on `plural` raise `error`."""
        self._faults += [(verb, plural, error)] * times

    def forget_history(self) -> None:
        """Watches from now on must start at the present: older resourceVersions are answered 410."""
        self._oldest = self._version
        self._history.clear()
        self._notify()

    def all(self, resource: Resource) -> list[Object]:
        """Copies of all objects of a resource, by namespace and name."""
        return [_copied(item) for _, item in sorted(self._objects[resource.plural].items())]

    def user_apply(self, resource: Resource, body: Object) -> Object:
        """What a person's `kubectl apply` does: create, or replace spec, labels and annotations; the generation rises when spec changes."""
        metadata = body["metadata"]
        name = (metadata.get("namespace", ""), metadata["name"])
        known = self._objects[resource.plural].get(name)
        if known is None:
            return self._insert(resource, _copied(body))
        item = _copied(known)
        for field in ("labels", "annotations"):
            if field in metadata:
                item["metadata"][field] = _copied(metadata[field])
            else:
                item["metadata"].pop(field, None)
        for field, value in body.items():
            if field not in {"metadata", "status", "apiVersion", "kind"}:
                item[field] = _copied(value)
        return self._update(resource, known, item)

    def user_delete(self, resource: Resource, namespace: str, name: str) -> None:
        """What `kubectl delete` does: marks for deletion while finalizers are there, else removes."""
        known = self._objects[resource.plural].get((namespace, name))
        if known is None:
            return
        if known["metadata"].get("finalizers"):
            if "deletionTimestamp" not in known["metadata"]:
                item = _copied(known)
                item["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
                item["metadata"]["generation"] = item["metadata"].get("generation", 1) + 1
                self._store(resource, item, Change.MODIFIED)
            return
        self._remove(resource, known)

    # ------------------------------------------------------------------------------------------------ the port: reads

    async def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """See the port."""
        self._check("get", resource)
        item: Object | None = _copied(self._objects[resource.plural].get((namespace, name)))
        return item

    async def list(
        self, resource: Resource, *, namespace: str = "", name: str = "", label_selector: str = "", metadata_only: bool = False
    ) -> Page:
        """See the port; label selectors know `k=v` joined by commas."""
        self._check("list", resource)
        items = [
            _copied({"metadata": item["metadata"]} if metadata_only else item)
            for (ns, n), item in sorted(self._objects[resource.plural].items())
            if (not namespace or ns == namespace) and (not name or n == name) and _matches(item["metadata"].get("labels"), label_selector)
        ]
        return Page(items=items, resource_version=str(self._version))

    async def pages(
        self, resource: Resource, *, namespace: str = "", name: str = "", label_selector: str = "", metadata_only: bool = False
    ) -> AsyncIterator[Page]:
        """See the port; everything is one page."""
        yield await self.list(resource, namespace=namespace, name=name, label_selector=label_selector, metadata_only=metadata_only)

    async def watch(
        self, resource: Resource, *, resource_version: str, namespace: str = "", name: str = "", label_selector: str = ""
    ) -> AsyncIterator[WatchEvent]:
        """See the port; never ends by itself."""
        self._check("watch", resource)
        position = int(resource_version or 0)
        while True:
            if position < self._oldest:
                raise Expired(f"too old resource version: {position} ({self._oldest})")
            wake = self._wake
            for entry in self._history[bisect_right(self._history, position, key=_Entry.at) :]:
                position = entry.version
                if entry.plural == resource.plural:
                    change = entry.seen(namespace, name, label_selector)
                    if change is not None:
                        yield WatchEvent(change=change, object=_copied(entry.item))
            if wake is self._wake:
                await wake.wait()
            self._check("watch", resource)

    # ------------------------------------------------------------------------------------------------ the port: writes

    async def create(self, resource: Resource, namespace: str, body: Object) -> Object:
        """See the port."""
        item = _copied(body)
        if namespace:
            item["metadata"]["namespace"] = namespace
        with_name = (namespace, item["metadata"]["name"])

        def act() -> Object:
            if with_name in self._objects[resource.plural]:
                raise Exists(f'{resource.plural} "{with_name[1]}" already exists')
            return self._insert(resource, item)

        return self._write("create", resource, with_name[1], act)

    async def replace(self, resource: Resource, namespace: str, name: str, body: Object) -> Object:
        """See the port."""

        def act() -> Object:
            known = self._known(resource, namespace, name)
            given = body["metadata"].get("resourceVersion")
            if given and given != known["metadata"]["resourceVersion"]:
                raise Conflict(f'Operation cannot be fulfilled on {resource.plural} "{name}": the object has been modified')
            item = _copied(body)
            item["metadata"] = {**_copied(known["metadata"]), **{k: v for k, v in item["metadata"].items() if k in _WRITABLE}}
            _keep_status(resource, known, item)
            return self._update(resource, known, item)

        return self._write("replace", resource, name, act)

    async def delete(self, resource: Resource, namespace: str, name: str, *, uid: str = "") -> bool:
        """See the port."""

        def act() -> Object:
            known = self._known(resource, namespace, name)
            if uid and uid != known["metadata"]["uid"]:
                raise Conflict(f"the uid in the precondition ({uid}) is not the object's")
            self.user_delete(resource, namespace, name)
            return known

        try:
            self._write("delete", resource, name, act)
        except Gone:
            return False
        return True

    async def apply_status(self, resource: Resource, namespace: str, name: str, status: Object, *, manager: str, uid: str = "") -> Object:
        """See the port. One manager owns the whole status here, which is how the product uses it."""

        def act() -> Object:
            known = self._known(resource, namespace, name)
            if uid and uid != known["metadata"]["uid"]:
                raise Conflict(f"the uid {uid} is not the object's")
            item = _copied(known)
            item["status"] = json.loads(json.dumps(status))
            return self._update(resource, known, item)

        return self._write(f"apply-status[{manager}]", resource, name, act)

    async def patch_json(
        self, resource: Resource, namespace: str, name: str, operations: Sequence[Object], *, subresource: str = ""
    ) -> Object:
        """See the port: add, replace, remove, test."""

        def act() -> Object:
            known = self._known(resource, namespace, name)
            item: Any = _copied(known)
            for operation in operations:
                item = _patched(item, operation, f"{resource.kind} {name}")
            if not subresource:
                _keep_status(resource, known, item)
            return self._update(resource, known, item)

        return self._write("patch", resource, name, act)

    # ------------------------------------------------------------------------------------------------ inside

    def _check(self, verb: str, resource: Resource) -> None:
        for index, (fault_verb, plural, error) in enumerate(self._faults):
            if fault_verb in {verb, "*"} and plural in {resource.plural, "*"}:
                del self._faults[index]
                raise error

    def _write(self, verb: str, resource: Resource, name: str, act: Callable[[], Object]) -> Object:
        self._check(verb.partition("[")[0], resource)
        label = f"{verb} {resource.plural}/{name}"
        if self.hook is not None:
            self.hook(f"before {label}")
        before = self._version
        answer: Object = _copied(act())
        if self._version != before:
            self.log.append(label)
        if self.hook is not None:
            self.hook(f"after {label}")
        return answer

    def _known(self, resource: Resource, namespace: str, name: str) -> Object:
        known = self._objects[resource.plural].get((namespace, name))
        if known is None:
            raise Gone(f'{resource.plural} "{name}" not found')
        return known

    def _insert(self, resource: Resource, item: Object) -> Object:
        self._uid += 1
        item.setdefault("apiVersion", f"{resource.group}/{resource.version}" if resource.group else resource.version)
        item.setdefault("kind", resource.kind)
        item["metadata"] |= {
            "uid": f"uid-{self._uid}",
            "generation": 1,
            "creationTimestamp": f"2026-01-01T00:{self._uid // 60:02d}:{self._uid % 60:02d}Z",
        }
        return self._store(resource, item, Change.ADDED)

    def _update(self, resource: Resource, known: Object, item: Object) -> Object:
        if _content(item) == _content(known):
            return known
        if {k: v for k, v in item.items() if k not in {"metadata", "status"}} != {
            k: v for k, v in known.items() if k not in {"metadata", "status"}
        }:
            item["metadata"]["generation"] = known["metadata"].get("generation", 1) + 1
        if item["metadata"].get("deletionTimestamp") and not item["metadata"].get("finalizers"):
            self._remove(resource, item)
            return item
        return self._store(resource, item, Change.MODIFIED)

    def _store(self, resource: Resource, item: Object, change: Change) -> Object:
        self._version += 1
        item["metadata"]["resourceVersion"] = str(self._version)
        name = (item["metadata"].get("namespace", ""), item["metadata"]["name"])
        before = self._objects[resource.plural].get(name)
        self._objects[resource.plural][name] = item
        self._tell(resource, change, item, before)
        return item

    def _remove(self, resource: Resource, item: Object) -> None:
        gone = _copied(item)
        self._version += 1
        gone["metadata"]["resourceVersion"] = str(self._version)
        del self._objects[resource.plural][(item["metadata"].get("namespace", ""), item["metadata"]["name"])]
        self._tell(resource, Change.DELETED, gone, item)
        self._collect(item["metadata"]["uid"])

    def _collect(self, owner: str) -> None:
        """Garbage collection: what the removed object owned goes too."""
        for plural, table in list(self._objects.items()):
            for item in list(table.values()):
                if any(ref.get("uid") == owner for ref in item["metadata"].get("ownerReferences", ())):
                    self._remove(Resource(group="", version="v1", plural=plural, kind=item.get("kind", "")), item)

    def _tell(self, resource: Resource, change: Change, item: Object, before: Object | None) -> None:
        labels = None if before is None else dict(before["metadata"].get("labels") or {})
        entry = _Entry(version=self._version, plural=resource.plural, change=change, item=_copied(item), labels_before=labels)
        self._history.append(entry)
        self._notify()

    def _notify(self) -> None:
        wake, self._wake = self._wake, asyncio.Event()
        wake.set()


def _copied(value: Any) -> Any:
    """A deep copy. Of what JSON is made of it costs a fifth of `copy.deepcopy`, which counts where everything read is copied."""
    kind = type(value)
    if kind is dict:
        return {key: _copied(item) for key, item in value.items()}
    if kind is list:
        return [_copied(item) for item in value]
    return value if kind in _SIMPLE else copy.deepcopy(value)


_SIMPLE = frozenset({str, int, float, bool, type(None)})
_OURS = "paas.shurenyun.com"
"""The group whose kinds have a status subresource; of others only plain data is kept here."""
_WRITABLE = {"labels", "annotations", "finalizers", "ownerReferences"}


def _keep_status(resource: Resource, known: Object, item: Object) -> None:
    """A write beside the status subresource leaves the status alone."""
    if resource.group == _OURS:
        item.pop("status", None)
        if "status" in known:
            item["status"] = _copied(known["status"])


def _content(item: Object) -> Object:
    return {**item, "metadata": {k: v for k, v in item["metadata"].items() if k != "resourceVersion"}}


def _matches(labels: Mapping[str, str] | None, selector: str) -> bool:
    labels = labels or {}
    wanted = [part.split("=", 1) for part in selector.split(",") if part]
    return all(labels.get(key.rstrip("=")) == value.lstrip("=") for key, value in wanted)


def _patched(document: Any, operation: Object, what: str) -> Any:  # noqa: C901, PLR0912 - one case per operation and container
    """One operation of a JSON patch on (a copy that may be changed of) an object."""
    parts = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
    node = document
    for part in parts[:-1]:
        try:
            node = node[int(part)] if isinstance(node, list) else node[part]
        except (KeyError, IndexError, ValueError) as error:
            raise Invalid(f"{what}: no {operation['path']}") from error
    last = parts[-1]
    match operation["op"], node:
        case "test", dict():
            if node.get(last) != operation["value"]:
                raise Conflict(f"{what}: {operation['path']} is not as expected")
        case "test", list():
            if int(last) >= len(node) or node[int(last)] != operation["value"]:
                raise Conflict(f"{what}: {operation['path']} is not as expected")
        case (("add" | "replace"), dict()):
            node[last] = _copied(operation["value"])
        case "add", list():
            node.insert(len(node) if last == "-" else int(last), _copied(operation["value"]))
        case "replace", list():
            node[int(last)] = _copied(operation["value"])
        case "remove", dict():
            if last not in node:
                raise Invalid(f"{what}: no {operation['path']}")
            del node[last]
        case "remove", list():
            del node[int(last)]
        case _:
            raise Invalid(f"{what}: unsupported operation {operation}")
    return document

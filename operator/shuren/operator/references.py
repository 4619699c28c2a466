"""Watches of Secrets and ConfigMaps: only of those that some resource names, so that rights can stay narrow.

Each is watched by its name, which a Role can grant one by one. Where many of one namespace are wanted, one watch of the namespace takes
over (ten thousand watches would be ten thousand connections), if the operator may list there; else it stays with the names.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from shuren.clients.kubernetes.source import Reflector
from shuren.domain.errors import Denied
from shuren.domain.identity import ObjectKey
from shuren.ports.clock import Clock
from shuren.ports.kubernetes import CONFIG_MAPS, SECRETS, Kubernetes, Object
from shuren.runtime.workers import beside

_RESOURCES = {resource.kind: resource for resource in (SECRETS, CONFIG_MAPS)}
_MANY = 16
"""More single watches than this in one namespace become one of the namespace."""

_Group = tuple[str, str]
"""Kind and namespace."""


class ReferenceWatch:
    """Implements the controllers' `References`. `changed` is called with each owner of an object that was read, changed or deleted."""

    def __init__(self, *, kubernetes: Kubernetes, clock: Clock, changed: Callable[[ObjectKey], None], chance: Callable[[], float]) -> None:
        self._kubernetes = kubernetes
        self._clock = clock
        self._changed = changed
        self._chance = chance
        self._watched: dict[ObjectKey, _Watched] = {}
        self._wanted: dict[ObjectKey, frozenset[ObjectKey]] = {}
        self._streams: set[_Stream] = set()
        self._names_only: set[_Group] = set()

    def require(self, owner: ObjectKey, wanted: frozenset[ObjectKey]) -> Mapping[ObjectKey, Object | None] | None:
        """See the port. Denied, with what is missing, when one of them may not be read."""
        for dropped in self._wanted.get(owner, frozenset()) - wanted:
            self._drop(owner, dropped)
        if wanted:
            self._wanted[owner] = wanted
        else:
            self._wanted.pop(owner, None)
        found: dict[ObjectKey, Object | None] = {}
        complete = True
        denied: Denied | None = None
        for key in sorted(wanted):
            watched = self._watched.get(key) or self._begin(key)
            watched.owners.add(owner)
            found[key] = watched.item
            if not watched.known:
                complete = False
                refused = watched.stream.reflector.denied
                denied = denied or (None if refused is None else _with_remedy(refused, key.namespace))
        if denied is not None:
            raise denied
        return found if complete else None

    @property
    def streams(self) -> int:
        """Watches that are open."""
        return len(self._streams)

    # ------------------------------------------------------------------------------------------------ beginning and ending

    def _begin(self, key: ObjectKey) -> _Watched:
        watched = _Watched(stream=self._open(key.kind, key.namespace, key.name))
        self._watched[key] = watched
        group = (key.kind, key.namespace)
        single = sum(1 for stream in self._streams if stream.group == group and stream.name)
        taking_over = any(stream.group == group and not stream.name and not stream.reflector.synced for stream in self._streams)
        if single > _MANY and not taking_over and group not in self._names_only:
            self._open(*group, "")
        return watched

    def _open(self, kind: str, namespace: str, name: str) -> _Stream:
        stream = _Stream(kind=kind, namespace=namespace, name=name, watch=self)
        stream.reflector = Reflector(
            kubernetes=self._kubernetes,
            resource=_RESOURCES[kind],
            sink=stream,
            clock=self._clock,
            namespace=namespace,
            name=name,
            chance=self._chance,
            on_synced=lambda: self._adopt(stream),
            on_denied=lambda _: self._refused(stream),
        )
        stream.task = asyncio.create_task(
            stream.reflector.run(),
            name=f"watch {kind} {namespace}/{name or '*'}",
            context=beside(ObjectKey(kind=kind, namespace=namespace, name=name or "*")),
        )
        self._streams.add(stream)
        return stream

    def _close(self, stream: _Stream) -> None:
        self._streams.discard(stream)
        stream.task.cancel()

    def _drop(self, owner: ObjectKey, key: ObjectKey) -> None:
        watched = self._watched.get(key)
        if watched is None:
            return
        watched.owners.discard(owner)
        if not watched.owners:
            del self._watched[key]
            self._close_unused([watched.stream])

    def _close_unused(self, streams: Iterable[_Stream]) -> None:
        used = {watched.stream for watched in self._watched.values()}
        for stream in set(streams) - used:
            self._close(stream)

    async def close(self) -> None:
        """End all watches."""
        tasks = [stream.task for stream in self._streams]
        self._watched.clear()
        self._streams.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ------------------------------------------------------------------------------------------------ what streams bring

    def _adopt(self, stream: _Stream) -> None:
        """A stream has brought its first list, all of it in this very moment: from now on it speaks for its keys."""
        before: list[_Stream] = []
        for key, watched in self._watched.items():
            if stream.covers(key):
                if watched.stream is not stream:
                    before.append(watched.stream)
                    watched.stream = stream
                self._set(stream, key, stream.first.get(key))
        stream.first.clear()
        self._close_unused([*before, stream])

    def _refused(self, stream: _Stream) -> None:
        if not stream.name:
            self._names_only.add(stream.group)
            self._close_unused([stream])
            return
        for key, watched in self._watched.items():
            if watched.stream is stream and not watched.known:
                self._tell(key)

    def _set(self, stream: _Stream, key: ObjectKey, item: Object | None) -> None:
        watched = self._watched.get(key)
        if watched is None or watched.stream is not stream:
            return
        same = watched.known and _version(watched.item) == _version(item)
        watched.item, watched.known = item, True
        if not same:
            self._tell(key)

    def _tell(self, key: ObjectKey) -> None:
        for owner in sorted(self._watched[key].owners):
            self._changed(owner)

    def heard(self, stream: _Stream, key: ObjectKey, item: Object | None) -> None:
        """What a stream says of one object."""
        if stream.reflector.synced:
            self._set(stream, key, item)
        elif item is not None and key in self._watched:
            stream.first[key] = item


@dataclass(eq=False, kw_only=True)
class _Stream:
    """One watch, of a name or (empty) of a namespace; the sink of its reflector. What nobody wants is not kept."""

    kind: str
    namespace: str
    name: str
    watch: ReferenceWatch
    reflector: Reflector = field(init=False)
    task: asyncio.Task[None] = field(init=False)
    first: dict[ObjectKey, Object] = field(default_factory=dict)

    @property
    def group(self) -> _Group:
        return (self.kind, self.namespace)

    def covers(self, key: ObjectKey) -> bool:
        return (key.kind, key.namespace) == self.group and self.name in {"", key.name}

    def upsert(self, key: ObjectKey, item: Object, *, initial: bool) -> None:
        del initial
        self.watch.heard(self, key, item)

    def delete(self, key: ObjectKey) -> None:
        self.watch.heard(self, key, None)


@dataclass(kw_only=True)
class _Watched:
    """One object that somebody refers to, who does, and which stream speaks for it."""

    stream: _Stream
    owners: set[ObjectKey] = field(default_factory=set)
    item: Object | None = None
    known: bool = False


def _with_remedy(error: Denied, namespace: str) -> Denied:
    """The refusal with the command that grants the right; the API server names the ServiceAccount that lacks it."""
    account = re.search(r"system:serviceaccount:([^:\s]+:[^:\s\"]+)", str(error))
    remedy = f"bind the ClusterRole shuren-secrets-reader to the operator in namespace {namespace}"
    if account is not None:
        remedy = (
            f"kubectl create rolebinding shuren-secrets-reader -n {namespace} --clusterrole=shuren-secrets-reader "
            f"--serviceaccount={account[1]}"
        )
    told = Denied(f"{error}. To allow it: {remedy}")
    told.__cause__ = error
    return told


def _version(item: Object | None) -> tuple[str, str] | None:
    return None if item is None else (item["metadata"].get("uid", ""), item["metadata"].get("resourceVersion", ""))

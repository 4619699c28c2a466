"""What ZooKeeper says of names, endpoints, tasks and Mesos: the picture that the zone is built from, and how it is kept up to date.

The last thing heard stands while ZooKeeper is away, and when the whole root is gone. A service of which no endpoint is ready is answered
with the last good ones: a name server that says "there is nobody" is kept by every cache on the way.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from shuren.domain.dns.zone import Zone, build, ready
from shuren.domain.errors import Denied, Invalid, Transient
from shuren.domain.service import wire
from shuren.domain.service.values import Endpoint, EndpointSet, MesosNames, Names, ServiceName, TaskNames
from shuren.ports.zookeeper import ZooKeeper

log = logging.getLogger(__name__)

_RETRY = 1.0
_RESYNC = 300.0
_GATHER = 0.02
_FOLDERS = (wire.NAMES, wire.TASKS)


@dataclass
class Picture:
    """What was last heard. `last_good` are the endpoints to answer of each service."""

    names: dict[ServiceName, Names] = field(default_factory=dict)
    endpoints: dict[ServiceName, EndpointSet] = field(default_factory=dict)
    last_good: dict[ServiceName, tuple[Endpoint, ...]] = field(default_factory=dict)
    tasks: dict[str, TaskNames] = field(default_factory=dict)
    mesos: MesosNames | None = None

    def put_endpoints(self, service: ServiceName, given: EndpointSet | None) -> None:
        """Endpoints as they are now; None: nobody publishes any."""
        if given is None:
            self.endpoints.pop(service, None)
            self.last_good.pop(service, None)
            return
        self.endpoints[service] = given
        self.last_good[service] = ready(given.endpoints, self.last_good.get(service, ()))

    def zone(self) -> Zone:
        """The zone that this makes."""
        services = [(names, self.last_good.get(service, ())) for service, names in sorted(self.names.items())]
        return build(services, [tasks for _, tasks in sorted(self.tasks.items())], self.mesos)

    # ------------------------------------------------------------------------------------------------ for the time after a restart

    def encode(self) -> bytes:
        """To be read again by `decode` when the process starts while ZooKeeper is away."""
        good = {str(s): EndpointSet(generation=0, endpoints=e) for s, e in self.last_good.items()}
        document: dict[str, Any] = {
            "names": {str(s): wire.encode_names(n).decode() for s, n in self.names.items()},
            "endpoints": {s: wire.encode_endpoints(e, limit=1 << 40).head.decode() for s, e in good.items()},
            "tasks": [wire.encode_tasks(t).decode() for t in self.tasks.values()],
        }
        if self.mesos is not None:
            document["mesos"] = wire.encode_mesos(self.mesos).decode()
        return json.dumps(document, ensure_ascii=False).encode()

    @classmethod
    def decode(cls, data: bytes) -> Picture:
        """Invalid when it is none."""
        picture = cls()
        try:
            document: Mapping[str, Any] = json.loads(data)
            for name, text in document["names"].items():
                service = ServiceName.parse(name)
                picture.names[service] = wire.decode_names(text.encode(), service=service)
            for name, text in document["endpoints"].items():
                picture.put_endpoints(ServiceName.parse(name), wire.decode_endpoints(wire.decode_head(text.encode())))
            for text in document["tasks"]:
                tasks = wire.decode_tasks(text.encode())
                picture.tasks[tasks.app] = tasks
            if "mesos" in document:
                picture.mesos = wire.decode_mesos(document["mesos"].encode())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Invalid(f"what was last good cannot be read: {error!r}") from error
        return picture


class Follower:
    """Keeps a picture up to date; `changed` is called after each round of reads. `run` until cancelled."""

    def __init__(self, *, zookeeper: ZooKeeper, root: str, picture: Picture, changed: Callable[[], None], resync: float = _RESYNC) -> None:
        self._zookeeper = zookeeper
        self._root = root.rstrip("/")
        self._picture = picture
        self._changed = changed
        self._resync = resync
        self._woken = asyncio.Event()
        self._stale: set[str] = set()
        self._watched: dict[str, Callable[[], None]] = {}
        self.synced = False
        """Whether everything was read once."""

    async def run(self) -> None:
        """Read everything, then what changes."""
        for path in (*_FOLDERS, wire.MESOS, ""):
            self._watch(path)
            self._wake(path)
        loop = asyncio.get_running_loop()
        whole = loop.time() + self._resync
        while True:
            try:
                async with asyncio.timeout(max(0.0, whole - loop.time())):
                    await self._woken.wait()
            except TimeoutError:
                whole = loop.time() + self._resync
                self._stale |= self._watched.keys()
            # a roll-out changes many nodes within a moment; and watches asked for before are left before what follows is read
            await asyncio.sleep(_GATHER)
            self._woken.clear()
            stale, self._stale = self._stale, set()
            try:
                await self._read(stale)
            except (Transient, Denied) as error:
                log.warning("ZooKeeper cannot be read, what was last heard is answered: %s", error)
                self._stale |= stale
                loop.call_later(_RETRY, self._woken.set)
            else:
                self._changed()

    def _watch(self, path: str) -> None:
        if path not in self._watched:
            self._watched[path] = self._zookeeper.watch(self._root + path, lambda: self._wake(path))

    def _unwatch(self, path: str) -> None:
        end = self._watched.pop(path, None)
        if end is not None:
            end()

    def _wake(self, path: str) -> None:
        self._stale.add(path)
        self._woken.set()

    # ------------------------------------------------------------------------------------------------ reading

    async def _read(self, stale: set[str]) -> None:
        if stale & {"", *_FOLDERS}:
            if await self._zookeeper.get(f"{self._root}/meta") is None:
                if self._picture.names:
                    log.error("there is nothing at %s in ZooKeeper any more; what was last heard is answered", self._root)
                return
            for folder in _FOLDERS:
                stale |= await self._read_folder(folder)
        if wire.MESOS in stale or "" in stale:
            node = await self._zookeeper.get(self._root + wire.MESOS)
            self._picture.mesos = None if node is None else _or(lambda: wire.decode_mesos(node.data), self._picture.mesos)
        await self._read_nodes(sorted(path for path in stale if path.count("/") > 1))
        self.synced = True

    async def _read_folder(self, folder: str) -> set[str]:
        """Forget what is gone; give the paths of what is new."""
        there = {f"{folder}/{name}" for name in await self._zookeeper.children(self._root + folder) or ()}
        known = {path for path in self._watched if path.startswith(f"{folder}/")}
        # what was last good before a restart was never watched, and may be gone as well
        for path in (known | self._remembered(folder)) - there:
            self._forget(path)
        fresh = there - known
        for path in set(fresh):
            self._watch(path)
            if folder == wire.NAMES:
                endpoints = wire.ENDPOINTS + path.removeprefix(wire.NAMES)
                self._watch(endpoints)
                fresh.add(endpoints)
        return fresh

    def _remembered(self, folder: str) -> set[str]:
        if folder == wire.NAMES:
            return {f"{folder}/{service}" for service in self._picture.names}
        return {f"{folder}/{wire.escaped(app)}" for app in self._picture.tasks}

    def _forget(self, path: str) -> None:
        self._unwatch(path)
        name = path.rpartition("/")[2]
        if path.startswith(wire.TASKS):
            self._picture.tasks.pop(wire.unescaped(name), None)
            return
        self._unwatch(f"{wire.ENDPOINTS}/{name}")
        self._picture.names.pop(ServiceName.parse(name), None)
        self._picture.put_endpoints(ServiceName.parse(name), None)

    async def _read_nodes(self, paths: list[str]) -> None:
        nodes = await self._zookeeper.get_many([self._root + path for path in paths])
        for path, node in zip(paths, nodes, strict=True):
            try:
                if node is not None:
                    await self._take(path, node.data)
                elif path.startswith(wire.ENDPOINTS):
                    self._picture.put_endpoints(ServiceName.parse(path.rpartition("/")[2]), None)
            except Invalid as error:
                log.warning("%s cannot be read, what was last heard is answered: %s", path, error)

    async def _take(self, path: str, data: bytes) -> None:
        folder, _, name = path.rpartition("/")
        match folder:
            case wire.NAMES:
                service = ServiceName.parse(name)
                self._picture.names[service] = wire.decode_names(data, service=service)
            case wire.TASKS:
                self._picture.tasks[wire.unescaped(name)] = wire.decode_tasks(data)
            case _:
                await self._take_endpoints(path, data)

    async def _take_endpoints(self, path: str, data: bytes) -> None:
        head = wire.decode_head(data)
        names = [f"{self._root}{path}/{wire.chunk_name(head.generation, n)}" for n in range(head.chunks)]
        chunks = [node.data for node in await self._zookeeper.get_many(names) if node is not None]
        if len(chunks) == head.chunks:  # else a newer head is being written; its watch wakes us
            self._picture.put_endpoints(ServiceName.parse(path.rpartition("/")[2]), wire.decode_endpoints(head, chunks))


def _or(decode: Callable[[], MesosNames], known: MesosNames | None) -> MesosNames | None:
    try:
        return decode()
    except Invalid as error:
        log.warning("%s; what was last heard is answered", error)
        return known

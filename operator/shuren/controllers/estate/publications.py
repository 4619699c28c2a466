"""What is published of services in one cluster's ZooKeeper: read once per term, then kept, and written in groups.

Only the holder of the newest epoch writes here, so what was read once in a term stays true until we write it ourselves. Writes asked for
within a few milliseconds share a multi, in which every service's part is whole; a set too large for one multi has its chunks written first
and its head last. After a write whose outcome is unknown, or that somebody's meddling refused, that service is read again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from shuren.controllers.estate.published import Entry, entry_of, groups_in, services_in, strangers
from shuren.domain.errors import Conflict, Fenced, Gone, ShurenError, Unreachable
from shuren.domain.service import records, wire
from shuren.domain.service.plan import Publish
from shuren.domain.service.snapshot import Published
from shuren.domain.service.values import EndpointSet, ServiceName
from shuren.ports.clock import Clock
from shuren.ports.zookeeper import Create, Delete, FencedZooKeeper, Operation, SetData

log = logging.getLogger(__name__)

_GATHER = 0.01
"""Seconds between writes, so that those that come together share a multi. One that comes alone does not wait: traffic does."""
_MOST_BYTES = 384 * 1024
_MOST_OPERATIONS = 400
_RETRY = 0.5
_RETRY_SLOWEST = 10.0


@dataclass(kw_only=True, slots=True)
class _Asked:
    """A write that somebody waits for. `change` None: withdraw everything."""

    service: ServiceName
    change: Publish | None
    answer: asyncio.Future[None]


@dataclass(kw_only=True, slots=True)
class _Step:
    """The operations of one service (absolute paths), and what is there after them."""

    asked: _Asked
    first: list[list[Operation]]
    operations: list[Operation]
    after: Entry

    @property
    def size(self) -> int:
        """Bytes of the operations."""
        return sum(len(o.path) + (len(o.data) if isinstance(o, (Create, SetData)) else 0) for o in self.operations)


class Publications:
    """See the module. Call `look` when a new term has begun; `changed` is called when what is published has been read in it."""

    def __init__(self, *, zookeeper: FencedZooKeeper, clock: Clock, changed: Callable[[], None] = lambda: None) -> None:
        self._zookeeper = zookeeper
        self._clock = clock
        self._changed = changed
        self._entries: dict[ServiceName, Entry] = {}
        self._unknown: set[ServiceName] = set()
        self._term = 0
        self._asked: list[_Asked] = []
        self._wake = asyncio.Event()
        self._folders: set[str] = set()

    # ------------------------------------------------------------------------------------------------ the picture

    @property
    def known(self) -> bool:
        """Whether this term's picture has been read."""
        epoch = self._zookeeper.epoch
        return epoch is not None and epoch.number == self._term

    def get(self, service: ServiceName) -> Published | None:
        """What is published of a service; None while it is not known."""
        if not self.known or service in self._unknown:
            return None
        entry = self._entries.get(service)
        return Published() if entry is None else entry.published

    @property
    def services(self) -> frozenset[ServiceName]:
        """All of which anything is published; empty while that is not known."""
        return frozenset(self._entries) if self.known else frozenset()

    async def strangers(self, folders: Iterable[records.RecordFolder], journal: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
        """Nodes in these folders that are not ours, by folder; folders with nodes of ours already are not asked about."""
        return await strangers(self._zookeeper, folders, journal)

    # ------------------------------------------------------------------------------------------------ changing

    async def publish(self, change: Publish) -> None:
        """Bring about what a plan says. Conflict: something was not as known, look again. Raises as `FencedZooKeeper.commit` does."""
        await self._ask(change.service, change)

    async def withdraw(self, service: ServiceName) -> None:
        """Remove everything of a service."""
        await self._ask(service, None)

    async def _ask(self, service: ServiceName, change: Publish | None) -> None:
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked.append(_Asked(service=service, change=change, answer=answer))
        self._wake.set()
        await answer

    # ------------------------------------------------------------------------------------------------ running

    async def run(self) -> None:
        """Read in every term, and write what is asked for, until cancelled."""
        failures = 0
        try:
            while True:
                try:
                    await self.read()
                    await self._write_asked()
                    failures = 0
                except (Fenced, Conflict):
                    continue  # answered to those who asked
                except ShurenError as error:
                    failures += 1
                    log.info("what is published cannot be read: %s", error)
                    self._refuse(self._take(), error)
                    await self._clock.sleep(min(_RETRY * 2 ** (failures - 1), _RETRY_SLOWEST))
                if not self._asked and not self._unknown:
                    self._wake.clear()
                    rest = self._clock.monotonic() + _GATHER
                    await self._wake.wait()
                    await self._clock.sleep(max(0.0, rest - self._clock.monotonic()))
        finally:
            self._refuse(self._take(), Unreachable("the connection to this cluster is being closed"))

    def look(self) -> None:
        """A new term has begun: read."""
        self._wake.set()

    def _take(self) -> list[_Asked]:
        asked, self._asked = self._asked, []
        return asked

    @staticmethod
    def _refuse(asked: Iterable[_Asked], error: ShurenError) -> None:
        for item in asked:
            if not item.answer.done():
                item.answer.set_exception(error)

    # ------------------------------------------------------------------------------------------------ reading

    async def read(self) -> None:
        """Read everything at the start of a term, and later what is not known for sure."""
        epoch = self._zookeeper.epoch
        if epoch is None:
            return
        if epoch.number != self._term:
            services = await services_in(self._zookeeper)
            self._entries, self._unknown = {}, set()
            await self._read(services)
            self._term = epoch.number
            self._changed()
        elif self._unknown:
            await self._read(sorted(self._unknown))

    async def _read(self, services: Sequence[ServiceName]) -> None:
        groups = await groups_in(self._zookeeper)
        for service in services:
            entry = await entry_of(self._zookeeper, service, groups)
            if entry:
                self._entries[service] = entry
            else:
                self._entries.pop(service, None)
            self._unknown.discard(service)

    # ------------------------------------------------------------------------------------------------ writing

    async def _write_asked(self) -> None:
        steps: list[_Step] = []
        for item in self._take():
            if item.answer.done():
                continue  # whoever asked was cancelled
            if any(step.asked.service == item.service for step in steps):
                self._asked.append(item)  # builds on what the first of them leaves
                continue
            known = self.get(item.service)
            if known is None:
                self._refuse([item], Unreachable(f"what is published of {item.service} is not known yet"))
                continue
            try:
                steps.append(await self._step(item))
            except ShurenError as error:
                self._refuse([item], error)
        for group in _groups(steps):
            await self._commit(group)

    async def _step(self, asked: _Asked) -> _Step:
        entry = self._entries.get(asked.service, Entry())
        work = _Work(service=asked.service, root=self._zookeeper.root, entry=entry)
        if asked.change is None:
            work.withdraw()
        else:
            await self._ensure(asked.change)
            work.publish(asked.change)
        return _Step(asked=asked, first=work.first, operations=work.operations, after=work.after)

    async def _ensure(self, change: Publish) -> None:
        """Make the parents of what a change creates, once."""
        root = self._zookeeper.root
        wanted = [f"{root}{parent}" for parent in (wire.ENDPOINTS, wire.NAMES, records.JOURNAL, wire.ROUTES)]
        if change.route is not None:
            wanted.append(f"{root}{wire.ROUTES}/{change.route.group}")
        if change.records is not None:
            wanted += change.records.folders
        for path in wanted:
            if path not in self._folders:
                await self._zookeeper.whole.ensure_path(path)
                self._folders.add(path)

    async def _commit(self, group: Sequence[_Step]) -> None:
        asked = [step.asked for step in group]
        try:
            for operations in (*(part for step in group for part in step.first), [o for step in group for o in step.operations]):
                await self._zookeeper.whole.commit(operations)
        except Fenced as error:
            self._refuse(asked, error)
            raise
        except Conflict as error:
            await self._meddled(group, error)
        except ShurenError as error:
            self._unknown |= {item.service for item in asked}
            self._refuse(asked, error)
        else:
            for step in group:
                self._written(step)

    def _written(self, step: _Step) -> None:
        if step.after.nodes:
            self._entries[step.asked.service] = step.after
        else:
            self._entries.pop(step.asked.service, None)
        if not step.asked.answer.done():
            step.asked.answer.set_result(None)

    async def _meddled(self, group: Sequence[_Step], error: Conflict) -> None:
        """Somebody else created, changed or deleted a node: whose service it is finds out alone, and is read again."""
        if isinstance(error, Gone):
            self._folders.clear()
        if len(group) > 1:
            for step in group:
                await self._commit([step])
            return
        (step,) = group
        self._unknown.add(step.asked.service)
        self._refuse([step.asked], error)
        self._wake.set()


class _Work:
    """Turns one service's change into operations."""

    def __init__(self, *, service: ServiceName, root: str, entry: Entry) -> None:
        self._service = service
        self._root = root
        self._entry = entry
        self.first: list[list[Operation]] = []
        self.operations: list[Operation] = []
        self.after = Entry(published=entry.published, nodes=set(entry.nodes), chunks=entry.chunks)

    def _put(self, path: str, data: bytes) -> None:
        """Create or replace a node of ours below the root."""
        where = self._root + path
        self.operations.append(SetData(path=where, data=data, version=-1) if path in self.after.nodes else Create(path=where, data=data))
        self.after.nodes.add(path)

    def _drop(self, path: str) -> None:
        if path in self.after.nodes:
            self.operations.append(Delete(path=self._root + path))
            self.after.nodes.discard(path)

    def publish(self, change: Publish) -> None:
        """The parts of a change, routes before what they refer to is taken away, and after it is there."""
        published = self.after.published
        if change.records:
            self._records(change.records)
            published = replace(published, journal=change.records.kept)
        if change.endpoints is not None:
            self._endpoints(change.endpoints)
            published = replace(published, endpoints=change.endpoints)
        if change.names is not None:
            self._put(f"{wire.NAMES}/{self._service}", wire.encode_names(change.names))
            published = replace(published, names=change.names)
        if change.drop_names:
            self._drop(f"{wire.NAMES}/{self._service}")
            published = replace(published, names=None)
        routes = dict(published.routes)
        if change.route is not None:
            self._put(f"{wire.ROUTES}/{change.route.group}/{self._service}", wire.encode_route(change.route))
            routes[change.route.group] = change.route
        for group in change.drop_routes:
            self._drop(f"{wire.ROUTES}/{group}/{self._service}")
            routes.pop(group, None)
        self.after.published = replace(published, routes=routes)

    def _endpoints(self, given: EndpointSet) -> None:
        path = f"{wire.ENDPOINTS}/{self._service}"
        encoded = wire.encode_endpoints(given)
        old = self.after.chunks
        if encoded.children:
            if path not in self.after.nodes:
                # children need their parent: an empty generation that the head replaces
                empty = wire.encode_endpoints(EndpointSet(generation=0)).head
                self.first.append([Create(path=self._root + path, data=empty)])
                self.after.nodes.add(path)
            for name, data in encoded.children.items():
                where = f"{self._root}{path}/{name}"
                # left there by a write that did not come to its end
                renewed: Operation = SetData(path=where, data=data, version=-1) if name in old else Create(path=where, data=data)
                self.first.append([renewed])
        self._put(path, encoded.head)
        self.operations += [Delete(path=f"{self._root}{path}/{name}") for name in old if name not in encoded.children]
        self.after.chunks = tuple(encoded.children)

    def _records(self, change: records.RecordChange) -> None:
        """Nodes and the journal that lists them go together, in parts when they are many."""
        operations: list[Operation] = [Create(path=path, data=data) for path, data in sorted(change.create.items())]
        operations += [SetData(path=path, data=data, version=-1) for path, data in sorted(change.change.items())]
        operations += [Delete(path=path) for path in change.delete]
        listed = dict(self.after.published.journal)
        for start in range(0, len(operations), _MOST_OPERATIONS):
            part = operations[start : start + _MOST_OPERATIONS]
            for operation in part:
                if isinstance(operation, Delete):
                    listed.pop(operation.path, None)
                else:
                    listed[operation.path] = change.kept[operation.path]
            self.operations += part
            self._journal(listed)
            if start + _MOST_OPERATIONS < len(operations):
                self.first.append(self.operations)
                self.operations = []

    def _journal(self, listed: Mapping[str, str]) -> None:
        path = f"{records.JOURNAL}/{self._service}"
        if listed:
            self._put(path, records.encode_journal(listed))
        else:
            self._drop(path)

    def withdraw(self) -> None:
        """Routes first, so that nobody sends traffic to endpoints that are going; then the rest."""
        published = self.after.published
        for group in sorted(published.routes):
            self._drop(f"{wire.ROUTES}/{group}/{self._service}")
        path = f"{wire.ENDPOINTS}/{self._service}"
        self.operations += [Delete(path=f"{self._root}{path}/{name}") for name in self.after.chunks]
        self.operations += [Delete(path=record) for record in sorted(published.journal)]
        for node in (path, f"{wire.NAMES}/{self._service}", f"{records.JOURNAL}/{self._service}", *sorted(self.after.nodes)):
            self._drop(node)
        self.after = Entry()


def _groups(steps: Sequence[_Step]) -> Iterable[Sequence[_Step]]:
    """Multis that are neither too many operations nor too many bytes. A service comes once: a second write of it builds on the first."""
    group: list[_Step] = []
    size = count = 0
    for step in steps:
        crowded = size + step.size > _MOST_BYTES or count + len(step.operations) > _MOST_OPERATIONS
        if group and (crowded or step.first):
            yield group
            group, size, count = [], 0, 0
        group.append(step)
        size += step.size
        count += len(step.operations)
    if group:
        yield group

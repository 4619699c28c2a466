"""Keeps `/tasks` and `/mesos` in one cluster's ZooKeeper as name servers need them: every app with running tasks, and Mesos' addresses.

Level-triggered like everything: apps that changed are written when what is to be told of them differs from what lies there. Only while this
process leads, and only for a cluster with a DNS zone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from shuren.domain.errors import Conflict, Fenced, ShurenError
from shuren.domain.service import wire
from shuren.domain.service.values import MesosNames, TaskNames
from shuren.ports.clock import Clock
from shuren.ports.zookeeper import Create, Delete, FencedZooKeeper, Operation, SetData

log = logging.getLogger(__name__)

_GATHER = 0.02
_MOST_OPERATIONS = 300
_RETRY = 0.5
_RETRY_SLOWEST = 10.0


class Directory:
    """See the module.

    `names` gives what is to be told of an app, None when nothing is; `apps` all apps that there are, None while that is not known; `mesos`
    the addresses of Mesos; `wanted` whether the cluster has a zone at all.
    """

    def __init__(
        self,
        *,
        zookeeper: FencedZooKeeper,
        clock: Clock,
        names: Callable[[str], TaskNames | None],
        apps: Callable[[], frozenset[str] | None],
        mesos: Callable[[], MesosNames],
        wanted: Callable[[], bool],
    ) -> None:
        self._zookeeper = zookeeper
        self._clock = clock
        self._names = names
        self._apps = apps
        self._mesos = mesos
        self._wanted = wanted
        self._there: dict[str, bytes] = {}
        self._term = 0
        self._parent = False
        self._stale: set[str] = set()
        self._everything = True
        self._wake = asyncio.Event()

    def changed(self, app_ids: Iterable[str] | None = None) -> None:
        """These apps look different; None: all may, or Mesos does, or whether anything is wanted."""
        if app_ids is None:
            self._everything = True
        else:
            self._stale.update(app_ids)
        self._wake.set()

    async def run(self) -> None:
        """Keep both until cancelled."""
        failures = 0
        while True:
            try:
                await self._round()
                failures = 0
            except (Fenced, Conflict):
                self._term = 0
            except ShurenError as error:
                failures += 1
                self._term = 0
                log.debug("names of tasks cannot be written: %s", error)
                await self._clock.sleep(min(_RETRY * 2 ** (failures - 1), _RETRY_SLOWEST))
                continue
            self._wake.clear()
            if not self._due():
                await self._wake.wait()
            await self._clock.sleep(_GATHER)

    def _due(self) -> bool:
        epoch = self._zookeeper.epoch
        return epoch is not None and self._apps() is not None and self._term != epoch.number

    async def _round(self) -> None:
        epoch, apps = self._zookeeper.epoch, self._apps()
        if epoch is None or apps is None:
            return
        if self._term != epoch.number:
            await self._read()
            self._term, self._everything = epoch.number, True
        stale, self._stale = self._stale, set()
        everything, self._everything = self._everything, False
        try:
            await self._write(self._operations(apps, apps if everything else stale, everything=everything))
        except BaseException:
            self._stale |= stale
            self._everything |= everything
            raise

    async def _read(self) -> None:
        paths = [wire.MESOS, *(f"{wire.TASKS}/{name}" for name in await self._zookeeper.children(wire.TASKS) or ())]
        nodes = await self._zookeeper.get_many(paths)
        self._there = {path: node.data for path, node in zip(paths, nodes, strict=True) if node is not None}

    def _operations(self, apps: frozenset[str], app_ids: Iterable[str], *, everything: bool) -> list[Operation]:
        wanted = self._wanted()
        targets: dict[str, bytes | None] = {}
        if everything:
            targets = dict.fromkeys(sorted(self._there))
            targets[wire.MESOS] = wire.encode_mesos(self._mesos()) if wanted else None
        for app_id in sorted(app_ids):
            names = self._names(app_id) if wanted and app_id in apps else None
            targets[f"{wire.TASKS}/{wire.escaped(app_id)}"] = wire.encode_tasks(names) if names is not None else None
        return [operation for path, data in targets.items() for operation in self._towards(path, data)]

    def _towards(self, path: str, data: bytes | None) -> list[Operation]:
        known = self._there.get(path)
        if data == known:
            return []
        if data is None:
            return [Delete(path=path)]
        return [Create(path=path, data=data) if known is None else SetData(path=path, data=data, version=-1)]

    async def _write(self, operations: list[Operation]) -> None:
        if operations and not self._parent:
            await self._zookeeper.ensure_path(wire.TASKS)
            self._parent = True
        for start in range(0, len(operations), _MOST_OPERATIONS):
            part = operations[start : start + _MOST_OPERATIONS]
            await self._zookeeper.commit(part)
            for operation in part:
                if isinstance(operation, (Create, SetData)):
                    self._there[operation.path] = operation.data
                else:
                    self._there.pop(operation.path, None)

"""What this load balancer tells ZooKeeper: that it is there, and what it has brought about of each service.

Registered is persistent, live is ephemeral: a load balancer whose agent died goes on serving, and the operator has to know of it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from shuren.domain.errors import Conflict, Denied, Invalid, Transient
from shuren.domain.service import wire
from shuren.domain.service.values import Applied, LoadBalancer, ServiceName
from shuren.edge.lb.metrics import Metrics
from shuren.edge.lb.process import is_running
from shuren.ports.zookeeper import Create, Delete, Operation, Session, SetData, ZooKeeper

log = logging.getLogger(__name__)

_BATCH = 200
_BYTES = 300_000
_RETRY = 1.0


@dataclass(frozen=True, kw_only=True)
class Instance:
    """Which process holds the name: stands in the ephemeral node, so that two agents of one name do not take turns."""

    host: str
    pid: int = field(default_factory=os.getpid)

    def encode(self) -> bytes:
        """As the node's data."""
        return json.dumps({"host": self.host, "pid": self.pid}, sort_keys=True).encode()

    def may_replace(self, data: bytes) -> bool:
        """Whether the one in the node is we ourselves, or one on this host that has ended and whose session has not."""
        try:
            other = json.loads(data)
            return other["host"] == self.host and (other["pid"] == self.pid or not is_running(int(other["pid"])))
        except (ValueError, TypeError, KeyError):
            return False


class Registrar:
    """Keeps the nodes of one load balancer. `run` until cancelled; `put` and `remove` at any time."""

    def __init__(self, *, zookeeper: ZooKeeper, root: str, balancer: LoadBalancer, instance: Instance, metrics: Metrics) -> None:
        self._zookeeper = zookeeper
        self._root = root
        self._base = f"{root}{wire.LOAD_BALANCERS}/{balancer.id}"
        self._balancer = balancer
        self._instance = instance
        self._metrics = metrics
        self._wanted: dict[ServiceName, bytes] = {}
        self._written: dict[ServiceName, bytes | None] | None = None
        """What lies in ZooKeeper; None while that is not known. The value None: there, content unknown."""
        self._kept: frozenset[ServiceName] | None = None
        """Services that there are; None while that is not known, and nothing may be deleted."""
        self._live = False
        self._woken = asyncio.Event()

    # ------------------------------------------------------------------------------------------------------- wishes

    def put(self, applied: Applied) -> None:
        """This is what there is to say of a service now."""
        data = wire.encode_applied(applied)
        if self._wanted.get(applied.service) != data:
            self._wanted[applied.service] = data
            self._woken.set()

    def keep_only(self, services: Sequence[ServiceName]) -> None:
        """There are these services and no others."""
        self._kept = frozenset(services)
        self._wanted = {service: data for service, data in self._wanted.items() if service in self._kept}
        self._woken.set()

    # -------------------------------------------------------------------------------------------------------- work

    async def run(self) -> None:
        """Register with each session, and write what is wanted."""
        self._zookeeper.on_session(self._session)
        self._zookeeper.watch(f"{self._base}/live", self._live_changed)
        self._woken.set()
        loop = asyncio.get_running_loop()
        while True:
            await self._woken.wait()
            self._woken.clear()
            if self._zookeeper.session is not Session.CONNECTED:
                continue
            try:
                if not self._live:
                    await self._register()
                await self._write()
            except (Transient, Conflict) as error:
                # whatever was believed of the nodes may be wrong: read it again
                log.warning("what this load balancer has to say is not in ZooKeeper yet: %s", error)
                self._written = None
                self._live = False
                loop.call_later(_RETRY, self._woken.set)
            except Denied as error:
                log.error("ZooKeeper does not let this load balancer register: %s", error)  # noqa: TRY400 - one line, again and again
                loop.call_later(10 * _RETRY, self._woken.set)

    def _session(self, session: Session) -> None:
        if session is Session.LOST:
            self._live = False
        if session is Session.CONNECTED:
            self._woken.set()

    def _live_changed(self) -> None:
        self._live = False
        self._woken.set()

    async def _register(self) -> None:
        applied = f"{self._base}/applied"
        await self._zookeeper.ensure_path(applied)
        data = wire.encode_load_balancer(self._balancer)
        node = await self._zookeeper.get(self._base)
        if node is not None and node.data != data:
            await self._zookeeper.commit([SetData(path=self._base, data=data, version=-1)])
        live = f"{self._base}/live"
        there = await self._zookeeper.get(live)
        ours = self._instance.encode()
        if there is None:
            await self._zookeeper.commit([Create(path=live, data=ours, ephemeral=True)])
        elif there.data != ours or self._written is None:
            if not self._instance.may_replace(there.data):
                raise Conflict(f"another load balancer is registered as {self._balancer.id}: {there.data.decode(errors='replace')}")
            # of a session before this one: it would go with that session, under our feet
            await self._zookeeper.commit([Delete(path=live), Create(path=live, data=ours, ephemeral=True)])
        if self._written is None:
            names = await self._zookeeper.children(applied) or ()
            self._written = {ServiceName.parse(name): None for name in names}
        self._live = True
        self._woken.set()

    async def _write(self) -> None:
        if self._written is None:
            return
        operations: list[tuple[ServiceName, Operation]] = []
        for service, data in self._wanted.items():
            path = f"{self._base}/applied/{service}"
            if service not in self._written:
                operations.append((service, Create(path=path, data=data)))
            elif self._written[service] != data:
                operations.append((service, SetData(path=path, data=data, version=-1)))
        if self._kept is not None:
            operations += [(s, Delete(path=f"{self._base}/applied/{s}")) for s in self._written.keys() - self._kept]
        for part in _parts(operations):
            await self._zookeeper.commit([operation for _, operation in part])
            for service, operation in part:
                if isinstance(operation, Delete):
                    del self._written[service]
                else:
                    self._written[service] = operation.data if isinstance(operation, (Create, SetData)) else None
            self._metrics.acknowledged(len(part))

    async def leave(self) -> None:
        """Take everything back: this load balancer serves no more. Never raises."""
        try:
            names = await self._zookeeper.children(f"{self._base}/applied") or ()
            paths = [f"{self._base}/applied/{name}" for name in names]
            for start in range(0, len(paths), _BATCH):
                await self._zookeeper.commit([Delete(path=path) for path in paths[start : start + _BATCH]])
            ends = [Delete(path=f"{self._base}/{name}") for name in await self._zookeeper.children(self._base) or ()]
            await self._zookeeper.commit([*ends, Delete(path=self._base)])
        except (Transient, Conflict, Denied, Invalid) as error:
            log.warning("this load balancer stays registered in ZooKeeper: %s", error)


def _parts(operations: Sequence[tuple[ServiceName, Operation]]) -> Iterator[Sequence[tuple[ServiceName, Operation]]]:
    """Groups that ZooKeeper takes in one transaction."""
    part: list[tuple[ServiceName, Operation]] = []
    size = 0
    for service, operation in operations:
        length = len(operation.data) if isinstance(operation, (Create, SetData)) else 0
        if part and (len(part) >= _BATCH or size + length > _BYTES):
            yield part
            part, size = [], 0
        part.append((service, operation))
        size += length
    if part:
        yield part

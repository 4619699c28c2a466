"""The largest map there may be, 65,536 shards of 3 replicas on 1,000 members, through the product's controller to a real ZooKeeper."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from kazoo.client import KazooClient

from shardkv.mover import Leads, Place
from shuren.clients.clock import SystemClock
from shuren.clients.fakes.kubernetes import FakeKubernetes
from shuren.clients.zookeeper.client import ZooKeeperClient
from shuren.clients.zookeeper.fenced import FencedRoot
from shuren.controllers.estate.shards import ShardMaps
from shuren.controllers.shardmap.controller import ShardMapController
from shuren.domain.errors import Conflict, Transient
from shuren.domain.identity import ObjectKey
from shuren.domain.shardmap.snapshot import FINALIZER, MapName, MapSeen
from shuren.ports.kubernetes import SHARD_MAPS, Object
from shuren.runtime.store import Store
from shuren.sharding.core.codec import moves as codec
from shuren.sharding.core.moves import Live

SHARDS, REPLICAS, MEMBERS = 65_536, 3, 1_000
ROOT = "/shuren/large"
_NAME = MapName(namespace="shop", name="cart")
_KEY = ObjectKey(kind=SHARD_MAPS.kind, namespace="shop", name="cart")
PATH = f"{ROOT}/shards/{_NAME}"
_WITHIN = 120.0


class Large:
    """One operator and its map. All members are registered from outside."""

    def __init__(self, hosts: str) -> None:
        self._zookeeper = ZooKeeperClient(hosts, session_timeout=30.0, request_timeout=60.0)
        self._root = FencedRoot(self._zookeeper, ROOT)
        clock = SystemClock()
        self.maps = ShardMaps(zookeeper=self._root, clock=clock)
        self.kubernetes, self._store = FakeKubernetes(), Store()
        place = Place(self._root, self.maps)
        self._controller = ShardMapController(
            kubernetes=self.kubernetes, store=self._store, clusters=place, leadership=Leads(), clock=clock
        )
        self._outside = KazooClient(hosts, timeout=30.0)
        self._parts: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Connected, and every member registered."""
        self._outside.start(timeout=60)
        await self._zookeeper.connect(within=60.0)
        await self._root.take_over(holder="x", installation="test")
        self._parts.append(asyncio.create_task(self.maps.run()))
        self._outside.ensure_path(f"{PATH}/live")
        # nodes that stay: a machine that stands still for longer than a session must not take all members away
        for result in [self._outside.create_async(self._live(n), self._data(n)) for n in range(MEMBERS)]:
            result.get(timeout=60)

    def _live(self, number: int) -> str:
        return f"{PATH}/live/node-{number}"

    def _data(self, number: int, *, port: int = 7000) -> bytes:
        return codec.encode_live(Live(id=f"node-{number}", instance="1", address=f"10.0.{number // 250}.{number % 250}:{port}"))

    def want(self, **spec: Any) -> None:
        """The resource as it is wanted."""
        static = [{"id": f"node-{n}", "rack": f"rack-{n % 20}"} for n in range(MEMBERS)]
        given: Object = {
            "clusterRef": {"name": "bj1"},
            "partitionings": [{"name": "p1", "shards": SHARDS}],
            "replicas": REPLICAS,
            "members": {"static": static},
        }
        metadata = {"name": _KEY.name, "namespace": _KEY.namespace, "finalizers": [FINALIZER]}
        body: Object = {"apiVersion": "paas.shurenyun.com/v1alpha1", "kind": "ShardMap", "metadata": metadata, "spec": given | spec}
        self._store.put(_KEY, self.kubernetes.user_apply(SHARD_MAPS, body))

    async def generation(self, number: int) -> tuple[float, float]:
        """Passes until a generation is published; seconds of wall and of this process' CPU in the pass that did it."""
        deadline = time.monotonic() + _WITHIN
        while True:
            began, worked = time.monotonic(), time.process_time()
            with contextlib.suppress(Transient, Conflict):
                await self._controller.reconcile(_KEY)
            seen = self.seen()
            if seen is not None and seen.table is not None and seen.table.generation >= number:
                return time.monotonic() - began, time.process_time() - worked
            assert time.monotonic() < deadline, f"generation {number} is not there after {_WITHIN} s"
            await asyncio.sleep(0.05)

    async def move(self, member: int, *, port: int) -> None:
        """A member answers elsewhere: the next generation says so."""
        self._outside.retry(self._outside.set, self._live(member), self._data(member, port=port))
        deadline = time.monotonic() + _WITHIN
        while (seen := self.seen()) is None or not seen.live[f"node-{member}"].address.endswith(f":{port}"):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)

    def seen(self) -> MapSeen | None:
        return self.maps.get(_NAME)

    def status(self) -> dict[str, Any]:
        (item,) = self.kubernetes.all(SHARD_MAPS)
        return dict(item.get("status") or {})

    def sizes(self) -> dict[str, int]:
        """Bytes of each node of the published part, as ZooKeeper has them."""
        found = {"head": len(self._outside.get(f"{PATH}/head")[0])}
        for generation in self.generations():
            for piece in self._outside.get_children(f"{PATH}/gen/{generation}"):
                found[f"gen/{generation}/{piece}"] = len(self._outside.get(f"{PATH}/gen/{generation}/{piece}")[0])
        return found

    def generations(self) -> list[int]:
        """Those that are kept."""
        return sorted(int(name) for name in self._outside.get_children(f"{PATH}/gen"))

    async def stop(self) -> None:
        for part in self._parts:
            part.cancel()
        await asyncio.gather(*self._parts, return_exceptions=True)
        await self._zookeeper.close()
        self._outside.stop()
        self._outside.close()


@asynccontextmanager
async def large(hosts: str) -> AsyncIterator[Large]:
    """One, started and stopped."""
    one = Large(hosts)
    try:
        await one.start()
        yield one
    finally:
        await one.stop()

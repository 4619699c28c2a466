"""An operator in a process of its own: the product's controller of shard maps on a real ZooKeeper; only the API server is in memory.

    python -m shardkv.mover ZOOKEEPER PATH CONTROL STATUS

CONTROL is a file with {"serial", "partitionings": [{"name", "shards"}], "replicas", "members": [{"id", "number", "rack", "address"}],
"draining": [id], "delay", "deaths"}; STATUS is written after each pass. `deaths` names a file: the process is ended by SIGKILL right after
each of its writes to ZooKeeper, which is named there, and begun anew by its parent, which does nothing else. So every life makes one write
(of a generation's pieces, which the next life writes over, only the first).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shuren.clients.clock import SystemClock
from shuren.clients.fakes.kubernetes import FakeKubernetes
from shuren.clients.zookeeper.client import ZooKeeperClient
from shuren.clients.zookeeper.fenced import FencedRoot
from shuren.controllers.estate.shards import ShardMaps
from shuren.controllers.shardmap.controller import ShardMapController
from shuren.domain.app.snapshot import ClusterView
from shuren.domain.errors import Conflict, ShurenError, Transient
from shuren.domain.identity import ObjectKey
from shuren.domain.marathon.state import ActualApp
from shuren.domain.service.observe import Agent
from shuren.domain.service.snapshot import Published
from shuren.domain.service.values import ServiceName
from shuren.domain.shardmap.roster import LAGGING
from shuren.domain.shardmap.snapshot import FINALIZER, MapName, MapSeen
from shuren.domain.tenancy import Tenancy
from shuren.ports.kubernetes import SHARD_MAPS, Object
from shuren.ports.zookeeper import Create, Delete, Operation, SetData
from shuren.runtime.store import Store
from shuren.sharding.core.codec import moves as codec
from shuren.sharding.core.table import NOBODY, ShardTable

_AGAIN = 0.05
"""Seconds between two looks at what is wanted, and after which something that did not succeed is tried again."""
Json = dict[str, Any]


def spec_of(wanted: Json, *, cluster: str) -> Json:
    """The spec of a ShardMap for what is wanted."""
    static = [
        {"id": one["id"], "rack": one["rack"], "address": one["address"], "weight": 0 if one["id"] in wanted["draining"] else 100}
        for one in wanted["members"]
    ]
    return {
        "clusterRef": {"name": cluster},
        "partitionings": wanted["partitionings"],
        "replicas": wanted["replicas"],
        "members": {"static": static},
        "moves": {
            "delaySeconds": int(wanted["delay"]),
            "promoteAfterSeconds": 0,
            "retrySeconds": 1,
            "planned": {"percent": 25},
            "recovery": {"percent": 25},
            "deadlines": {"forwardSeconds": 10, "abortSeconds": 10, "dropSeconds": 20},
        },
    }


class Mortal(ZooKeeperClient):
    """Ends the process right after a write below a map's node, while `deaths` names a file."""

    def __init__(self, hosts: str, below: str) -> None:
        super().__init__(hosts, session_timeout=4.0)
        self._below = below
        self.deaths: Path | None = None
        self.writes = 0

    async def commit(self, operations: Sequence[Operation]) -> tuple[int | None, ...]:
        results = await super().commit(operations)
        self.writes += 1
        if self.deaths is not None:
            (name, again), *_ = [self._name(one) for one in operations if one.path.startswith(f"{self._below}/")] or [("", True)]
            died = self.deaths.read_text().split("\n") if self.deaths.exists() else []
            if name and not (again and name in died):
                with self.deaths.open("a") as file:
                    file.write(f"{name}\n")
                os.kill(os.getpid(), signal.SIGKILL)
        return results

    def _name(self, operation: Operation) -> tuple[str, bool]:
        """What a write is, as "kind: which", and whether the next life makes it again."""
        first, *rest = operation.path.removeprefix(f"{self._below}/").split("/")
        match operation:
            case Create(data=data) | SetData(data=data) if first == "moves":
                move = codec.decode_move(int(rest[0]), data)
                return f"{'primary' if move.primary else 'replica'} {move.state.value}: shard {move.shard}", False
            case Delete() if first == "moves":
                return f"remove: shard {rest[0]}", False
            case Delete():
                return f"forget: {'/'.join(rest)}", False
            case _ if first == "gen":
                return f"publish pieces: {rest[0]}", True
            case _:
                return f"publish {first}: ", False


class Place:
    """`controllers.shardmap.world.Cluster`: a ZooKeeper and nothing else."""

    agents_known = True
    tenancy = Tenancy()
    view = ClusterView(name="bj1", connected=True)

    def __init__(self, root: FencedRoot, shards: ShardMaps) -> None:
        self.shards = shards
        self._root = root
        self.agent_places: dict[str, Agent] = {}
        self.agents_going: frozenset[str] = frozenset()

    @property
    def epoch(self) -> int:
        return self._root.epoch.number if self._root.epoch is not None else 0

    def app(self, _app_id: str, /) -> ActualApp | None:
        return None

    def published(self, _service: ServiceName, /) -> Published | None:
        return None

    def get(self, name: str) -> Place | None:
        """As the only one of all clusters."""
        return self if name == self.view.name else None


class Leads:
    """Leadership that is never lost: the fence in ZooKeeper decides."""

    def held(self) -> bool:
        return True

    def check(self) -> None:
        return

    def remaining(self) -> float:
        return 15.0


class Life:
    """One life of the process."""

    def __init__(self, hosts: str, path: str, control: Path, status: Path) -> None:
        root, _, name = path.rpartition("/shards/")
        self._control, self._status = control, status
        self._name = MapName.parse(name)
        self._key = ObjectKey(kind=SHARD_MAPS.kind, namespace=self._name.namespace, name=self._name.name)
        self._zookeeper = Mortal(hosts, path)
        self._root = FencedRoot(self._zookeeper, root)
        self._wake = asyncio.Event()
        self._wants: Json = {}
        self._kubernetes, self._store = FakeKubernetes(), Store()
        clock = SystemClock()
        self._maps = ShardMaps(zookeeper=self._root, clock=clock, changed=lambda _: self._wake.set())
        place = Place(self._root, self._maps)
        self._controller = ShardMapController(
            kubernetes=self._kubernetes, store=self._store, clusters=place, leadership=Leads(), clock=clock
        )

    async def run(self) -> None:
        """Until standard input ends. Raises what ends a life: somebody else has taken over."""
        await self._zookeeper.connect(within=30.0)
        await self._root.take_over(holder=str(os.getpid()), installation="test")
        looking = asyncio.create_task(self._maps.run())
        try:
            due = 0.0
            while not select.select([sys.stdin], [], [], 0)[0]:
                now = asyncio.get_running_loop().time()
                if self._take() or self._wake.is_set() or now >= due:
                    self._wake.clear()
                    # what is told is what the pass has seen, not what has come since
                    seen, writes = self._maps.get(self._name), self._zookeeper.writes
                    left = await self._pass()
                    due = now + (left if writes == self._zookeeper.writes else 0.0)
                    self._tell(seen)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_AGAIN):
                        await self._wake.wait()
                if looking.done():
                    looking.result()
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            await self._zookeeper.close()

    def _take(self) -> bool:
        """Take up what is wanted; whether that is something else than before."""
        wants = json.loads(self._control.read_text())
        if wants == self._wants:
            return False
        self._wants = wants
        self._zookeeper.deaths = Path(wants["deaths"]) if wants["deaths"] else None
        metadata = {"name": self._name.name, "namespace": self._name.namespace, "finalizers": [FINALIZER]}
        body: Object = {
            "apiVersion": "paas.shurenyun.com/v1alpha1",
            "kind": "ShardMap",
            "metadata": metadata,
            "spec": spec_of(wants, cluster="bj1"),
        }
        self._store.put(self._key, self._kubernetes.user_apply(SHARD_MAPS, body))
        return True

    async def _pass(self) -> float:
        """One pass; seconds until the next one without a reason."""
        try:
            outcome = await self._controller.reconcile(self._key)
        except (Transient, Conflict):
            return _AGAIN
        return outcome.requeue_after if outcome.requeue_after is not None else 30.0

    def _tell(self, seen: MapSeen | None) -> None:
        item = self._store.get(self._key) or {}
        if seen is None or seen.table is None:
            return
        aside = self._status.with_suffix(".new")
        aside.write_text(json.dumps(self._picture(item, seen)))
        aside.rename(self._status)

    def _picture(self, item: Object, seen: MapSeen) -> Json:
        table, said = seen.table, item.get("status") or {}
        assert table is not None
        names = {member.number: member.id for member in table.members}
        ours = {one["id"]: one["number"] for one in self._wants["members"]}
        numbers = {number: ours.get(name, -1) for number, name in names.items()} | {NOBODY: -1}
        true = {c["type"]: c["reason"] for c in said.get("conditions") or () if c["status"] == "True"}
        observed = said.get("observedGeneration") == item["metadata"]["generation"]
        moves: Json = said.get("moves") or {}
        return {
            "serial": self._wants["serial"] if observed else -1,
            "rest": true.get("Ready") == "Ready" and "Rebalancing" not in true and nothing_goes_on(seen, table),
            "live": sorted(seen.live),
            "leaderless": sum(names.get(number) not in seen.live for number in table.owners[: table.shards]),
            "partitioning": seen.partitioning,
            "retiring": seen.retiring,
            "active": len(seen.moves),
            "moves": moves.get("planned", 0),
            "bound": moves.get("lowerBound", 0),
            "proven": moves.get("proven", False),
            "rows": [[numbers.get(number, -1) for number in table.owners_of(slot)] for slot in range(table.shards)],
            "said": said,
        }


def nothing_goes_on(seen: MapSeen, table: ShardTable) -> bool:
    """No moves, and everybody who holds something is there, with copies that follow."""
    holding = [member.id for member in table.members if member.number in table.owners]
    lags = any(live.counts.get(role) for live in seen.live.values() for role in LAGGING)
    return not seen.moves and not lags and all(member in seen.live for member in holding)


def main(hosts: str, path: str, control: str, status: str) -> None:
    """Goes on until its standard input ends; a life that ends otherwise is followed by the next one."""
    ended = 1
    while ended:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                asyncio.run(_live(hosts, path, Path(control), Path(status)))
                code = 0
            except (ShurenError, OSError) as error:
                sys.stderr.write(f"a life ended: {error!r}\n")
            finally:
                sys.stderr.flush()
                os._exit(code)
        ended = os.waitpid(child, 0)[1]


async def _live(hosts: str, path: str, control: Path, status: Path) -> None:
    await Life(hosts, path, control, status).run()


if __name__ == "__main__":
    main(*sys.argv[1:])

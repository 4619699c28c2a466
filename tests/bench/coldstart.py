"""Taking over 10,000 converged apps: what a new leader spends, and that it writes nothing.

The operator starts as a standby (somebody else holds the Lease) until its store is warm and it is quiet: what it has used by then is
the event source's own. Then the Lease falls free, and everything from there until it is quiet again is the cold start: reading
Marathon and the claims, and a pass over each app.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from statistics import median

from kazoo.client import KazooClient

from bench import events, worlds
from bench.report import Row
from bench.worlds import KOPF, NATIVE, World

_TARGET_SECONDS = 5.0
_TARGET_MB = {NATIVE: 200.0, KOPF: 300.0}


@dataclass(frozen=True, kw_only=True)
class Started:
    """One start. CPU in seconds, memory in MB; `writes` by what was written."""

    source_cpu: float
    cpu: float
    memory: float
    peak: float
    passes: int
    writes: dict[str, int]


async def start(world: World, source: str) -> Started:
    """Start an operator on this world as it is, and end it."""
    await world.api.order("object", events.foreign_lease())
    async with world.operator(source) as running:
        await worlds.until_synced(running)
        source_cpu = await running.program.until_quiet()
        await world.api.order("forget")
        before, nodes = await _updates(world), await asyncio.to_thread(_nodes, world.zookeeper)
        await world.api.order("object", events.foreign_lease(holder=""))
        await world.until_connected()
        await running.until_passes(1)
        cpu = await running.program.until_quiet(over=3.0)
        writes = {name: number for name, number in (await world.api.writes()).items() if number}
        updates = await _updates(world) - before
        changed = _changed(nodes, await asyncio.to_thread(_nodes, world.zookeeper))
        return Started(
            source_cpu=source_cpu,
            cpu=cpu - source_cpu,
            memory=running.program.memory(),
            peak=running.program.peak(),
            passes=await running.passes(),
            writes=writes | ({"Marathon": updates} if updates else {}) | ({"ZooKeeper": changed} if changed else {}),
        )


def _of_cluster(write: str) -> bool:
    """A new leader says in the MesosCluster's status that it has connected, which is its own business and no app's."""
    return "mesosclusters" in write or write.endswith("about MesosCluster")


async def _updates(world: World) -> int:
    """How many root updates the engine has seen, refused ones too."""
    async with world.api.session.get(f"{world.marathon_url}/metrics") as answer:
        counters = (await answer.json())["counters"]
    return sum(int(counters.get(f"marathon.deployments{kind}.counter", {}).get("count", 0)) for kind in ("", ".dismissed"))


def _nodes(hosts: str) -> dict[str, int]:
    """The last change of every node of ours."""
    client = KazooClient(hosts=hosts, timeout=10.0)
    client.start(timeout=30)
    try:
        found: dict[str, int] = {}
        waiting = ["/shuren"]
        while waiting:
            path = waiting.pop()
            found[path] = client.exists(path).mzxid
            waiting += [f"{path}/{name}" for name in client.get_children(path)]
        return found
    finally:
        client.stop()
        client.close()


def _changed(before: dict[str, int], after: dict[str, int]) -> int:
    """How many nodes were written, without the epoch, which every new leader raises."""
    return sum(1 for path in before.keys() | after.keys() if before.get(path) != after.get(path) and not path.endswith("/epoch"))


async def measure(world: World, *, apps: int, repeats: int) -> list[Row]:
    """Medians over `repeats` starts from either source, on a world whose apps have converged."""
    rows: list[Row] = []
    for source in (NATIVE, KOPF):
        found = [await start(world, source) for _ in range(repeats)]
        writes = {name: max(one.writes.get(name, 0) for one in found) for one in found for name in one.writes}
        about_cluster = sum(number for name, number in writes.items() if _of_cluster(name))
        about_apps = {name: number for name, number in writes.items() if not _of_cluster(name)}
        rows += [
            Row(
                bench="cold start",
                what=f"{source}: CPU beyond the event source's own",
                measured=median(one.cpu for one in found),
                unit="s CPU",
                against="the event source",
                reference=median(one.source_cpu for one in found),
                limit=_TARGET_SECONDS,
                note=f"{found[0].passes:,} passes over {apps:,} apps",
            ),
            Row(
                bench="cold start",
                what=f"{source}: writes about apps",
                measured=float(sum(about_apps.values())),
                unit="writes",
                limit=0.0,
                note=", ".join(f"{name} {number}" for name, number in about_apps.items())
                or f"API server, Marathon, ZooKeeper; status of the cluster: {about_cluster}",
            ),
            Row(
                bench="cold start",
                what=f"{source}: resident memory",
                measured=median(one.memory for one in found),
                unit="MB",
                limit=_TARGET_MB[source],
                note=f"peak {max(one.peak for one in found):.0f}",
            ),
        ]
    return rows

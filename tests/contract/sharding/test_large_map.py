"""The largest map on a real ZooKeeper: every node far below its limit of 1 MiB, old generations forgotten, and a client that reads it."""

from __future__ import annotations

import pytest

from shardmap_large import MEMBERS, PATH, REPLICAS, SHARDS, large
from shuren.sharding import ShardMapClient, ZooKeeperStore

JUTE_MAX_BUFFER = 0xFFFFF


@pytest.mark.integration
async def test_the_largest_map_is_published_in_small_nodes_and_keeps_five_generations(hosts: str) -> None:
    async with large(hosts) as one:
        one.want()
        await one.generation(1)
        with ShardMapClient(ZooKeeperStore(hosts), PATH) as client:
            table = client.table
            assert table is not None
            assert (table.shards, table.replicas, len(table.members)) == (SHARDS, REPLICAS, MEMBERS)
            for turn in range(1, 7):
                await one.move(turn, port=7000 + turn)
                await one.generation(1 + turn)
            assert client.wait_for(7, within=60.0)
            assert {m.id: m.address for m in client.table.members if m.number in range(8)} if client.table is not None else {}
            assert client.route("user:7").address
        sizes = one.sizes()
        assert max(sizes.values()) < JUTE_MAX_BUFFER / 3, sizes
        assert sizes["head"] < 1_000
        assert one.generations() == [3, 4, 5, 6, 7]
        assert sum(size for name, size in sizes.items() if name.startswith("gen/7/map-")) <= 300_000
        status = one.status()
        assert status["perMember"] == {"min": 196, "max": 197}
        assert status["rackViolations"] == 0
        assert len(repr(status)) < 10_000, "the map itself is never in the status"

"""The sharded service that faults are tried on: what it answers other members while a split lays its shards out anew."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import cast

from shardkv.replica import Disk, Reign, Replica
from shardkv.server import Silence, Store
from shardkv.wire import Json
from shuren.sharding import ShardMember

_LOW, _HIGH = (1, 1, 1), (7, 7, 7)


class AskedMeanwhile(Store):
    """Others ask when the new layout is on the disk and not yet in use; the split goes on when they have their answers, or wait for it."""

    def __init__(self, directory: Path, asking: ThreadPoolExecutor, requests: list[Json]) -> None:
        super().__init__("node-0", "", directory)
        self.disk.begin(8)
        self.replicas = {shard: Replica(self.disk.place, shard) for shard in (1, 2)}
        self.replicas[1].replace(_LOW, {})
        self.replicas[2].replace(_HIGH, {})
        # for what members ask of each other, the library is not asked
        self.member = cast("ShardMember", object())
        self.replies: list[Future[Json]] = []
        store = self

        class Slow(Disk):
            def relay(self, shards: int, content: dict[int, tuple[Reign, Json]]) -> dict[int, Replica]:
                laid = super().relay(shards, content)
                store.replies = [asking.submit(store.asked, request) for request in requests]
                wait(store.replies, timeout=1.0)
                return laid

        self.disk = Slow(directory)

    def asked(self, request: Json) -> Json:
        try:
            return self.answer(request)
        except Silence:
            return {"error": "SILENCE"}


def test_nobody_is_answered_about_the_shard_that_had_the_number_before_a_split(tmp_path: Path) -> None:
    """Shards 1 and 2 of 8 become 2 to 5 of 16. A copy of the old 2 would be one of the new 2 with a reign above its primary's."""
    copy: Json = {"op": "copy", "shard": 2, "of": 16}
    adopt: Json = {"op": "adopt", "shard": 5, "of": 16, "reign": _HIGH, "at": 0, "data": {}}
    with ThreadPoolExecutor(2) as asking:
        store = AskedMeanwhile(tmp_path, asking, [copy, adopt])
        store.resharded(8, 16)
        copied, adopted = (reply.result(10.0) for reply in store.replies)
    assert copied.get("reign", _LOW) == _LOW
    assert adopted.get("error") != "NO_COPY", "whoever says that is not waited for, and this one has a copy"
    again = store.answer(copy)
    assert again["reign"] == _LOW
    for replica in store.replicas.values():
        replica.close()


def test_who_counts_shards_otherwise_is_told_so(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as asking:
        store = AskedMeanwhile(tmp_path, asking, [])
        for operation in ("copy", "join", "follow", "adopt"):
            assert store.answer({"op": operation, "shard": 2, "of": 16}) == {"error": "OTHER_LAYOUT"}
    for replica in store.replicas.values():
        replica.close()

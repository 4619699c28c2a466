"""What a ShardMap must not say: each refused with the field and what to do. The API server's part of the same: tests/integration/shards."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from shuren.api.problems import problems
from shuren.api.v1alpha1 import shardmap


def wrong(**spec: Any) -> str:
    """What is said about a spec; empty for a good one."""
    given = {
        "clusterRef": {"name": "bj1"},
        "partitionings": [{"name": "p1", "shards": 64}],
        "members": {"static": [{"id": "a"}, {"id": "b"}]},
    }
    body = {
        "apiVersion": "paas.shurenyun.com/v1alpha1",
        "kind": "ShardMap",
        "metadata": {"name": "cart", "namespace": "shop"},
        "spec": given | spec,
    }
    try:
        shardmap.read(body)
    except ValidationError as error:
        return "; ".join(str(problem) for problem in problems(error))
    return ""


def partitioned(*shards: int) -> dict[str, Any]:
    return {"partitionings": [{"name": f"p{n}", "shards": count} for n, count in enumerate(shards)]}


CASES = [
    ("a shard count that is no power of two", partitioned(100), "spec.partitionings[0].shards", "a power of two from 1 to 65536"),
    ("no shards", partitioned(0), "spec.partitionings[0].shards", ""),
    ("more shards than can be numbered", partitioned(131_072), "spec.partitionings[0].shards", ""),
    ("a second partitioning that is no split", partitioned(64, 256), "spec.partitionings", "it has twice as many shards"),
    ("replicas above members", {"replicas": 3}, "spec.replicas", "add members or lower replicas"),
    ("duplicate member ids", {"members": {"static": [{"id": "a"}, {"id": "a"}]}}, "spec.members.static", "two members have the same id"),
    (
        "weight 0 for all",
        {"members": {"static": [{"id": "a", "weight": 0}, {"id": "b", "weight": 0}]}},
        "spec.members.static",
        "no member has a weight above 0",
    ),
    ("a weight below 0", {"members": {"static": [{"id": "a", "weight": -1}, {"id": "b"}]}}, "spec.members.static[0].weight", ""),
    ("an unknown algorithm", {"algorithm": "modulo"}, "spec.algorithm", "slots"),
    ("no source of members", {"members": {}}, "spec.members", "give exactly one of appRef, serviceRef and static"),
    (
        "two sources of members",
        {"members": {"appRef": {"name": "a"}, "serviceRef": {"name": "a"}}},
        "spec.members",
        "give exactly one of appRef, serviceRef and static",
    ),
    ("a band turned over", {"balance": {"by": "Load", "abovePercent": 110, "untilPercent": 120}}, "spec.balance.untilPercent", "below"),
]


@pytest.mark.parametrize(("spec", "where", "words"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_refused(spec: dict[str, Any], where: str, words: str) -> None:
    said = wrong(**spec)
    assert where in said
    assert words in said


def test_what_is_good_is_taken() -> None:
    assert not wrong()
    assert not wrong(**partitioned(64, 128))
    assert not wrong(balance={"by": "Load"}, algorithm="slots", replicas=2)

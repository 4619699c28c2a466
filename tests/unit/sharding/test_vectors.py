"""The published vectors: every backend computes them, and so do implementations that are not ours."""

from __future__ import annotations

import hashlib
import json
from binascii import crc_hqx
from collections.abc import Callable
from itertools import count
from math import log
from typing import Any

import jump as jump_library
import pytest
import uhashring
import xxhash

from sharding_vectors import PLACE, key_of, main, members_of
from shuren.sharding.core import NOBODY, Algorithm, Backend, KeyHash, Member, Router, Slots, make_table, router_of_members
from shuren.sharding.core.codec import delta as delta_codec
from shuren.sharding.core.codec import map as map_codec
from shuren.sharding.core.codec import members as members_codec
from shuren.sharding.core.delta import applied

Json = dict[str, Any]
_OF_MEMBERS = [Algorithm.RENDEZVOUS, Algorithm.RING, Algorithm.KETAMA, Algorithm.MAGLEV, Algorithm.JUMP]


def _load(name: str) -> Json:
    document: Json = json.loads((PLACE / f"{name}.json").read_text())
    return document


def _bytes(vector: Json) -> bytes:
    key = key_of(vector)
    return key if isinstance(key, bytes) else key.encode()


def _check(router: Router, vectors: list[Json]) -> None:
    assert len(vectors) > 50
    for vector in vectors:
        key = key_of(vector)
        found: Json = {"slot": router.slot(key)} if "slot" in vector else {"slotHex": f"{router.slot(key):016x}"}
        found |= {"member": router.route(key).id, "replicas": [m.id for m in router.replicas(key)]}
        assert found == {name: vector[name] for name in found}, vector
    assert [m.id for m in router.route_many([key_of(v) for v in vectors])] == [v["member"] for v in vectors]


def test_the_files_are_what_the_library_computes() -> None:
    assert main(["--check"]) == 0


@pytest.mark.parametrize("algorithm", _OF_MEMBERS, ids=lambda a: a.value)
def test_every_backend_routes_as_published(algorithm: Algorithm, backend: Backend) -> None:
    for given in _load(algorithm.value)["sets"]:
        _check(router_of_members(algorithm, members_of(given), replicas=2, backend=backend), given["vectors"])


def _owners(shards: int) -> list[int]:
    owners = [(7 * slot + slot // 5 + 2 * replica) % 5 for replica in (0, 1) for slot in range(shards)]
    owners[shards + 3] = NOBODY
    return owners


@pytest.mark.parametrize("name", ["slots", "redis16384"])
def test_every_backend_routes_by_the_table_as_published(name: str, backend: Backend) -> None:
    document = _load(name)
    layout = document["table"]
    table = make_table(
        shards=layout["shards"],
        replicas=layout["replicas"],
        members=members_of(document),
        owners=_owners(layout["shards"]),
        key_hash=KeyHash(layout["hash"]),
    )
    _check(Slots(table, backend=backend), document["vectors"])


# ---------------------------------------------------------------------------------------------------- implementations that are not ours


def _tag(key: bytes) -> bytes:
    """Redis cluster specification, "Hash tags", in its own order of steps."""
    _, brace, behind = key.partition(b"{")
    tag, closing, _ = behind.partition(b"}")
    return tag if brace and closing and tag else key


def test_slots_by_the_package_xxhash() -> None:
    for vector in _load("slots")["vectors"]:
        tag = _tag(_bytes(vector))
        assert tag.hex() == vector["hashedHex"]
        digest = xxhash.xxh64(tag).digest()
        for shards, slot in vector["slots"].items():
            assert slot == int.from_bytes(digest, "big") * int(shards) >> 64


def test_slots_of_redis_by_the_standard_librarys_crc() -> None:
    for vector in _load("redis16384")["vectors"]:
        assert vector["slot"] == crc_hqx(_tag(_bytes(vector)), 0) % 16384


def test_ketama_by_uhashring() -> None:
    for given in _load("ketama")["sets"]:
        # by id, as uhashring lets the later of two points at one place win
        nodes = {m.id: m.weight for m in sorted(members_of(given), key=lambda m: m.id.encode()) if m.weight}
        ring = uhashring.HashRing(nodes=nodes, hash_fn="ketama")
        texts = [v for v in given["vectors"] if "key" in v]
        assert {v["key"]: v["member"] for v in texts} == {v["key"]: ring.get_node(v["key"]) for v in texts}
        assert {v["key"]: v["slot"] for v in texts} == {v["key"]: ring.hashi(v["key"]) for v in texts}


def test_jump_by_the_library_of_that_name() -> None:
    (given,) = _load("jump")["sets"]
    members = members_of(given)
    for vector in given["vectors"]:
        bucket = jump_library.hash(xxhash.xxh64_intdigest(_bytes(vector)), len(members))
        assert (vector["slot"], vector["member"]) == (bucket, members[bucket].id)


Find = Callable[[int], str]


def _plain_ring(members: list[Member]) -> Find:
    points = {(xxhash.xxh64_intdigest(f"{m.id}_{i}".encode()), m.id) for m in members for i in range(160 * m.weight)}
    return lambda h: min((p for p in points if p[0] >= h), default=min(points))[1]


def _plain_rendezvous(members: list[Member]) -> Find:
    def mixed(x: int) -> int:
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) % 2**64
        return x ^ (x >> 31)

    def cost(h: int, m: Member) -> float:
        return -log(((mixed(h ^ xxhash.xxh64_intdigest(m.id.encode())) >> 12) + 0.5) / 2**52) / m.weight

    return lambda h: min(members, key=lambda m: cost(h, m)).id


def _plain_maglev(members: list[Member]) -> Find:
    """The paper's listing 1, every permutation written out; a member of weight w takes w turns while the heaviest takes W."""
    rows = 65_537
    table: list[str] = [""] * rows
    walks = []
    for m in members:
        offset, skip = xxhash.xxh64_intdigest(m.id.encode()) % rows, xxhash.xxh64_intdigest(m.id.encode(), 1) % (rows - 1) + 1
        walks.append(iter([(offset + j * skip) % rows for j in range(rows)]))
    heaviest, filled = max(m.weight for m in members), 0
    taken = [0] * len(members)
    for turn in count(1):
        for index, m in enumerate(members):
            if turn * m.weight < taken[index] * heaviest or filled == rows:
                continue
            taken[index] += 1
            row = next(row for row in walks[index] if not table[row])
            table[row] = m.id
            filled += 1
        if filled == rows:
            break
    return lambda h: table[h % rows]


@pytest.mark.parametrize(("name", "plain"), [("ring", _plain_ring), ("rendezvous", _plain_rendezvous), ("maglev", _plain_maglev)])
def test_by_a_plain_reading_of_the_description(name: str, plain: Callable[[list[Member]], Find]) -> None:
    for given in _load(name)["sets"]:
        find = plain(sorted((m for m in members_of(given) if m.weight), key=lambda m: m.id.encode()))
        wanted = {v.get("key", v.get("keyHex")): v["member"] for v in given["vectors"]}
        assert wanted == {v.get("key", v.get("keyHex")): find(xxhash.xxh64_intdigest(_bytes(v))) for v in given["vectors"]}


def test_nodes_of_a_map_as_published() -> None:
    document = _load("codec")
    members = members_codec.decode(bytes.fromhex(document["membersHex"]))
    assert members == members_of(document)
    before, after = (map_codec.decode(bytes.fromhex(published["hex"]), members) for published in document["maps"])
    for table, published in zip((before, after), document["maps"], strict=True):
        assert table.owners.tolist() == published["owners"]
        assert table.epochs.tolist() == published["epochs"]
        assert (table.generation, table.term) == (published["generation"], published["term"])
        content = f"shuren.shards/1 {published['hash']} {published['shards']} {published['replicas']}\n".encode()
        content += b"".join(n.to_bytes(2, "little") for n in published["owners"])
        content += b"".join(n.to_bytes(4, "little") for n in published["epochs"])
        assert table.digest() == published["digest"] == hashlib.sha256(content).hexdigest()
    assert applied(before, delta_codec.decode(bytes.fromhex(document["deltaHex"])), members) == after

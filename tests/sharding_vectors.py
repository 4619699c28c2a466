"""Test vectors of the sharding library, for implementations in other languages: `python tests/sharding_vectors.py [--check]`.

Written with Python's own arithmetic alone; tests hold the files against independent implementations and every backend against the files.
They say what deployed clients do: a change here is a change that moves keys. With --check nothing is written and stale files exit with 1.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "operator"))

from shuren.sharding.core import (
    NOBODY,
    Backend,
    Jump,
    Ketama,
    Key,
    KeyHash,
    Maglev,
    Member,
    Rendezvous,
    Ring,
    Router,
    Slots,
    hash_tag,
    make_table,
    redis_slot_of,
    xxh64,
)
from shuren.sharding.core.codec import delta as delta_codec
from shuren.sharding.core.codec import map as map_codec
from shuren.sharding.core.codec import members as members_codec
from shuren.sharding.core.delta import difference
from shuren.sharding.core.slots import shift_of

PLACE = Path(__file__).parent / "golden" / "sharding"
Json = dict[str, Any]

KEYS: tuple[Key, ...] = (
    "",
    "a",
    "abc",
    "somekey",
    "123456789",
    "user:7",
    "user:1000000007",
    "{user:7}:cart",
    "{user:7}:orders",
    "foo{hash_tag}",
    "foo{}{bar}",
    "foo{{bar}}zap",
    "foo{bar}{zap}",
    "}{",
    "open{only",
    "数人云",
    "ключ",
    "k" * 31,
    "k" * 32,
    "k" * 33,
    "the quick brown fox jumps over the lazy dog, twice over the lazy dog",
    b"\x00",
    b"\xff\xfe\x00binary",
    bytes(range(256)),
    *(f"order:{number * 7919}" for number in range(40)),
)
MEMBERS = tuple(
    Member(id=name, number=number, address=f"{name}:7000", host=name, rack=f"rack-{number % 3}", weight=1)
    for number, name in enumerate(("node-a", "node-b", "node-c", "10.0.0.4:11211", "节点-5"))
)
WEIGHTED = tuple(
    Member(id=m.id, number=m.number, address=m.address, host=m.host, rack=m.rack, weight=weight)
    for m, weight in zip(MEMBERS, (1, 2, 3, 5, 0), strict=True)
)
_SEEDS = (0, 1, 0x9E3779B97F4A7C15)


def key_fields(key: Key) -> Json:
    """A key as it stands in the files: `key` when it is text, `keyHex` when it is bytes."""
    return {"key": key} if isinstance(key, str) else {"keyHex": key.hex()}


def key_of(vector: Json) -> Key:
    """The key of a vector."""
    return vector["key"] if "key" in vector else bytes.fromhex(vector["keyHex"])


def members_of(document: Json) -> tuple[Member, ...]:
    """The members of a file."""
    return tuple(Member(**fields) for fields in document["members"])


def _member_fields(members: Iterable[Member]) -> list[Json]:
    return [{"id": m.id, "number": m.number, "address": m.address, "host": m.host, "rack": m.rack, "weight": m.weight} for m in members]


def _routed(router: Router, *, wide: bool) -> list[Json]:
    vectors = []
    for key in KEYS:
        slot = router.slot(key)
        found = {"slotHex": f"{slot:016x}"} if wide else {"slot": slot}
        vectors.append({**key_fields(key), **found, "member": router.route(key).id, "replicas": [m.id for m in router.replicas(key)]})
    return vectors


def _of_members(name: str, note: str, make: Callable[[tuple[Member, ...]], Router], *, wide: bool, weights: bool = True) -> Json:
    sets = [MEMBERS, WEIGHTED] if weights else [MEMBERS]
    return {
        "algorithm": name,
        "note": note,
        "sets": [{"members": _member_fields(members), "vectors": _routed(make(members), wide=wide)} for members in sets],
    }


def _xxh64() -> Json:
    vectors = [
        {"dataHex": data.hex(), "seedHex": f"{seed:016x}", "hashHex": f"{xxh64(data, seed):016x}"}
        for data in (key if isinstance(key, bytes) else key.encode() for key in KEYS[:24])
        for seed in _SEEDS
    ]
    return {"algorithm": "xxh64", "note": "XXH64 of bytes; all numbers are 64 bits in hexadecimal.", "vectors": vectors}


def _table_document(shards: int, key_hash: KeyHash) -> tuple[Json, Slots]:
    replicas = 2
    owners = [(slot * 7 + slot // 5 + replica * 2) % len(MEMBERS) for replica in range(replicas) for slot in range(shards)]
    owners[shards + 3] = NOBODY
    table = make_table(shards=shards, replicas=replicas, members=MEMBERS, owners=owners, key_hash=key_hash)
    rule = "number of replica r of shard s = (7 s + s / 5 (whole) + 2 r) mod 5, but replica 1 of shard 3 is unplaced"
    return {"shards": shards, "replicas": replicas, "hash": key_hash.value, "owners": rule}, Slots(table, backend=Backend.PYTHON)


def _slots() -> Json:
    table, router = _table_document(64, KeyHash.XXH64)
    vectors = _routed(router, wide=False)
    for key, vector in zip(KEYS, vectors, strict=True):
        data = hash_tag(key if isinstance(key, bytes) else key.encode())
        vector["hashedHex"] = data.hex()
        vector["slots"] = {str(shards): xxh64(data) >> shift_of(shards) for shards in (1, 2, 1024, 16384, 65536)}
    note = "slot = xxh64(key or its hash tag) >> (64 - log2 shards); `slots`: for other numbers of shards; `hashedHex`: what is hashed."
    return {"algorithm": "slots", "note": note, "table": table, "members": _member_fields(MEMBERS), "vectors": vectors}


def _redis() -> Json:
    table, router = _table_document(16_384, KeyHash.CRC16)
    vectors = _routed(router, wide=False)
    if any(vector["slot"] != redis_slot_of(key) for key, vector in zip(KEYS, vectors, strict=True)):
        raise AssertionError("two ways to the slot differ")
    note = "slot = CRC-16/XMODEM(key or its hash tag) mod 16384, as a Redis cluster has it."
    return {"algorithm": "redis16384", "note": note, "table": table, "members": _member_fields(MEMBERS), "vectors": vectors}


def _codec() -> Json:
    shards, replicas = 16, 2
    owners = [(slot * 3 + replica) % 3 for replica in range(replicas) for slot in range(shards)]
    owners[shards + 5] = NOBODY
    before = make_table(shards=shards, replicas=replicas, members=MEMBERS[:3], owners=owners, epochs=range(shards), generation=7, term=2)
    owners[1], owners[shards + 5] = 2, 1
    epochs = [*range(shards)]
    epochs[1] += 1
    after = make_table(shards=shards, replicas=replicas, members=MEMBERS[:3], owners=owners, epochs=epochs, generation=8, term=3)
    return {
        "note": "Nodes of a published map in hexadecimal, and what they say; 65535 is nobody. The form: shuren.sharding.core.codec.",
        "members": _member_fields(MEMBERS[:3]),
        "membersHex": members_codec.encode(MEMBERS[:3]).hex(),
        "maps": [
            {
                "hex": map_codec.encode(table).hex(),
                "digest": table.digest(),
                "shards": table.shards,
                "replicas": table.replicas,
                "hash": table.hash.value,
                "generation": table.generation,
                "term": table.term,
                "owners": table.owners.tolist(),
                "epochs": table.epochs.tolist(),
            }
            for table in (before, after)
        ],
        "deltaHex": delta_codec.encode(difference(before, after)).hex(),
    }


def documents() -> dict[str, Json]:
    """All files by name."""
    python = Backend.PYTHON
    return {
        "xxh64": _xxh64(),
        "slots": _slots(),
        "redis16384": _redis(),
        "rendezvous": _of_members(
            "rendezvous",
            "slotHex = xxh64(key); see algorithms/rendezvous.py for the cost; replicas are the two smallest costs.",
            lambda m: Rendezvous(m, replicas=2, backend=python),
            wide=True,
        ),
        "ring": _of_members(
            "ring",
            "160 points a weight: xxh64(id + '_' + i); slotHex = xxh64(key); first point at or behind it, then round the circle.",
            lambda m: Ring(m, replicas=2, backend=python),
            wide=True,
        ),
        "ketama": _of_members(
            "ketama",
            "floor(40 n weight / total) digests md5(id + '-' + i), four points each; slot = first four bytes of md5(key), low byte first.",
            lambda m: Ketama(m, replicas=2),
            wide=False,
        ),
        "maglev": _of_members(
            "maglev", "65537 rows, turns by id; slot = xxh64(key) mod 65537.", lambda m: Maglev(m, replicas=2, backend=python), wide=False
        ),
        "jump": _of_members(
            "jump",
            "slot = jump(xxh64(key), n); further replicas from xxh64(key, seed 1), seed 2, …",
            lambda m: Jump(m, replicas=2, backend=python),
            wide=False,
            weights=False,
        ),
        "codec": _codec(),
    }


def text_of(document: Json) -> str:
    """A file's text: JSON with one member or vector a line."""
    return _text(document, "") + "\n"


def _text(value: Any, indent: str) -> str:
    within = indent + " "
    if isinstance(value, dict) and any(isinstance(inner, list) for inner in value.values()):
        fields = [f"{within}{json.dumps(name)}: {_text(inner, within)}" for name, inner in value.items()]
        return "{\n" + ",\n".join(fields) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        lines = [within + (_text(inner, within) if "vectors" in inner else json.dumps(inner, ensure_ascii=False)) for inner in value]
        return "[\n" + ",\n".join(lines) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False)


def main(arguments: list[str]) -> int:
    """See the module."""
    stale = []
    for name, document in documents().items():
        path, text = PLACE / f"{name}.json", text_of(document)
        if path.exists() and path.read_text() == text:
            continue
        stale.append(str(path.relative_to(PLACE.parents[2])))
        if "--check" not in arguments:
            path.write_text(text)
    if "--check" in arguments and stale:
        sys.stderr.write(f"not as the library computes them: {', '.join(stale)}; if keys may move, run python tests/sharding_vectors.py\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

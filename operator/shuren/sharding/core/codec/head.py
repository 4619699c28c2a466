"""`head`: the one node of a map that readers watch. JSON of less than 1 KB; fields that a reader does not know are passed over.

    {"format": 1, "generation": 12, "term": 3, "partitioning": "p1", "algorithm": "slots", "hash": "xxh64", "shards": 4096, "replicas": 3,
     "digest": "<sha256 of the table's content>", "members": {"bytes": …, "sha256": …}, "map": [{"bytes": …, "sha256": …}, …],
     "delta": {"from": 11, "bytes": …, "sha256": …}}

`retiring` names the partitioning of half as many shards that this one was split from, while both are kept: until it goes, children are
where their parent would be.
`map` lists the chunks gen/<generation>/map-<i>; their bytes one behind the other are the map. `delta` is there when the generation before
had the same layout. `digest` holds for the table however it was come by (`ShardTable.digest`).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from shuren.sharding.core.codec.fields import Fields, parsed
from shuren.sharding.core.errors import Malformed, Mismatch, Unusable
from shuren.sharding.core.router import MAX_REPLICAS, Algorithm
from shuren.sharding.core.slots import shift_of
from shuren.sharding.core.table import MAX_GENERATION, KeyHash

FORMAT = 1
MAX_BYTES = 64 << 10
_MAX_NODE = 1 << 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """One node of a generation: its size and SHA-256 (hexadecimal)."""

    size: int
    sha256: str

    @classmethod
    def of(cls, data: bytes) -> Piece:
        """The piece that holds `data`."""
        return cls(size=len(data), sha256=hashlib.sha256(data).hexdigest())

    def check(self, name: str, data: bytes) -> None:
        """Mismatch when `data` is not what was promised."""
        if len(data) != self.size:
            raise Mismatch(f"{name}: {len(data)} bytes, the head promises {self.size}")
        found = hashlib.sha256(data).hexdigest()
        if found != self.sha256:
            raise Mismatch(f"{name}: its SHA-256 is {found}, the head promises {self.sha256}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """See the module."""

    generation: int
    term: int
    shards: int
    replicas: int
    digest: str
    members: Piece
    map: tuple[Piece, ...]
    algorithm: Algorithm = Algorithm.SLOTS
    hash: KeyHash = KeyHash.XXH64
    partitioning: str = ""
    retiring: str = ""
    delta: Piece | None = None
    delta_from: int = 0


def encode(head: Head) -> bytes:
    """The node's data."""
    document: dict[str, object] = {
        "format": FORMAT,
        "generation": head.generation,
        "term": head.term,
        "partitioning": head.partitioning,
        "algorithm": head.algorithm.value,
        "hash": head.hash.value,
        "shards": head.shards,
        "replicas": head.replicas,
        "digest": head.digest,
        "members": _piece(head.members),
        "map": [_piece(piece) for piece in head.map],
    }
    if head.retiring:
        document["retiring"] = head.retiring
    if head.delta is not None:
        document["delta"] = {"from": head.delta_from, **_piece(head.delta)}
    return json.dumps(document, separators=(",", ":")).encode()


def _piece(piece: Piece) -> dict[str, object]:
    return {"bytes": piece.size, "sha256": piece.sha256}


def decode(data: bytes) -> Head:
    """The head. Malformed, naming the field, for anything that no reader can work with."""
    fields = parsed(data, "head", most=MAX_BYTES)
    version = fields.number("format", MAX_GENERATION)
    if version != FORMAT:
        raise Malformed(f"head: format {version}; this library reads {FORMAT}: update it")
    try:
        algorithm, key_hash = Algorithm(fields.text("algorithm")), KeyHash(fields.text("hash"))
        shards = fields.number("shards", MAX_GENERATION)
        shift_of(shards)
    except (ValueError, Unusable) as error:
        raise Malformed(f"head: {error}") from error
    delta = fields.optional("delta")
    head = Head(
        generation=fields.number("generation", MAX_GENERATION),
        term=fields.number("term", MAX_GENERATION),
        shards=shards,
        replicas=fields.number("replicas", MAX_REPLICAS),
        digest=fields.sha256("digest"),
        members=_read(fields.inner("members")),
        map=tuple(_read(Fields(item, f"head: map[{i}]")) for i, item in enumerate(fields.array("map"))),
        algorithm=algorithm,
        hash=key_hash,
        partitioning=fields.text("partitioning"),
        retiring=fields.text_or_none("retiring") or "",
        delta=_read(delta) if delta is not None else None,
        delta_from=delta.number("from", MAX_GENERATION) if delta is not None else 0,
    )
    if head.replicas < 1 or not head.map:
        raise Malformed("head: it needs at least one replica and one chunk of the map")
    return head


def _read(fields: Fields) -> Piece:
    return Piece(size=fields.number("bytes", _MAX_NODE), sha256=fields.sha256("sha256"))

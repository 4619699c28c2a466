"""Maps travel whole, small and checked; whatever else arrives is one error."""

from __future__ import annotations

import contextlib
import json
import random
import zlib
from array import array
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sharding_tables import even_table, members_of, rosters, tables
from shuren.sharding.core import Algorithm, KeyHash, Malformed, Member, Mismatch, ShardTable, Unusable, make_table
from shuren.sharding.core.codec import bits, head, publication
from shuren.sharding.core.codec import delta as delta_codec
from shuren.sharding.core.codec import map as map_codec
from shuren.sharding.core.codec import members as members_codec
from shuren.sharding.core.delta import Delta
from shuren.sharding.core.table import ShardTable as Table

_MEMBERS = members_of(5)


# ------------------------------------------------------------------------------------------------------------------- what is written


@given(st.lists(st.integers(0, 2**16 - 1), max_size=70), st.integers(0, 16))
def test_numbers_of_any_width_are_packed_and_unpacked(numbers: list[int], width: int) -> None:
    narrow = array("H", [n & ((1 << width) - 1) for n in numbers])
    packed = bits.pack(array("H", numbers).tobytes(), 2, width)
    assert len(packed) == bits.packed_size(len(numbers), width) <= (len(numbers) * width + 7) // 8 + 3
    assert bits.unpack(packed, len(numbers), 2, width) == narrow.tobytes()


@given(st.lists(st.integers(0, 2**32 - 1), max_size=30), st.integers(17, 32))
def test_so_are_wide_ones(numbers: list[int], width: int) -> None:
    narrow = array("I", [n & ((1 << width) - 1) for n in numbers])
    assert bits.unpack(bits.pack(array("I", numbers).tobytes(), 4, width), len(numbers), 4, width) == narrow.tobytes()


def test_the_form_of_packed_numbers_is_as_described() -> None:
    """Three numbers of 11 bits: a column of bytes, one of 2 bits, one of 1 bit."""
    assert list(bits.columns(11)) == [(0, 0, 8), (1, 0, 2), (1, 2, 1)]
    packed = bits.pack(array("H", [0x5FF, 0x201, 0x7AA]).tobytes(), 2, 11)
    assert packed == bytes((0xFF, 0x01, 0xAA, 0b11_10_01, 0b101))


@given(rosters(most=20))
def test_members_come_back(members: tuple[Member, ...]) -> None:
    assert members_codec.decode(members_codec.encode(reversed(members))) == members


@given(tables())
@example(even_table(members_of(1), 1, 1))
@example(even_table(_MEMBERS, 16_384, 2, key_hash=KeyHash.CRC16))
def test_maps_come_back(table: Table) -> None:
    decoded = map_codec.decode(map_codec.encode(table), table.members)
    assert decoded == table
    assert (decoded.owners, decoded.epochs) == (table.owners, table.epochs)


@pytest.mark.parametrize("highest", [0, 1, 2, 3, 127, 254, 255, 256, 65_533, 65_534])
@pytest.mark.parametrize("second", ["unplaced", "placed"])
def test_nobody_is_never_taken_for_the_highest_member(highest: int, second: str) -> None:
    owners = [highest, 65_535 if second == "unplaced" else highest]
    table = make_table(shards=2, replicas=1, members=[Member(id="a", number=highest)], owners=owners)
    assert map_codec.decode(map_codec.encode(table), table.members).owners.tolist() == owners


@given(st.data())
def test_deltas_come_back(data: st.DataObject) -> None:
    shards, replicas = 64, 2
    places = st.lists(st.integers(0, shards * replicas - 1), unique=True).map(sorted)
    owners = tuple((place, data.draw(st.one_of(st.integers(0, 65_535)))) for place in data.draw(places))
    epochs = tuple((slot, data.draw(st.integers(0, 2**32 - 1))) for slot in data.draw(places) if slot < shards)
    delta = Delta(shards=shards, replicas=replicas, from_generation=6, generation=7, term=2**63 - 1, owners=owners, epochs=epochs)
    assert delta_codec.decode(delta_codec.encode(delta)) == delta


# ---------------------------------------------------------------------------------------------------------------- what is published


def _large() -> tuple[ShardTable, ShardTable]:
    """1,000 members x 65,536 shards x 3, placed at random, and the same after one member left."""
    chance = random.Random(5)  # noqa: S311 - a made-up map
    members = members_of(1_000, racks=20)
    rows = [chance.sample(range(1_000), 3) for _ in range(65_536)]
    owners = array("H", [row[replica] for replica in range(3) for row in rows])
    epochs = array("I", [chance.randrange(6) for _ in range(65_536)])
    old = make_table(shards=65_536, replicas=3, members=members, owners=owners, epochs=epochs, generation=1, term=1)
    for place, number in enumerate(owners):
        if number == 999:
            slot = place % 65_536
            owners[place] = chance.choice([n for n in range(999) if n not in owners[slot::65_536]])
            epochs[slot] += place < 65_536
    new = make_table(shards=65_536, replicas=3, members=members[:-1], owners=owners, epochs=epochs, generation=2, term=1)
    return old, new


def test_the_largest_map_fits_one_znode_and_a_leave_is_two_kilobytes() -> None:
    old, new = _large()
    found = publication.publish(new, previous=old)
    sizes = {path.rpartition("/")[2]: len(data) for path, data in found.nodes.items()}
    assert sizes["map-0"] <= 300_000
    assert sizes["delta"] <= 2_000
    assert sizes["members"] <= 20_000
    assert len(found.head_data) < 1_000
    members = publication.read_members(found.head, found.nodes["gen/2/members"])
    assert publication.read_delta(found.head, old, members, found.nodes["gen/2/delta"]) == new
    assert publication.read_map(found.head, members, [found.nodes["gen/2/map-0"]]) == new


def test_a_map_beyond_a_chunk_is_cut_and_put_together() -> None:
    chance = random.Random(6)  # noqa: S311 - a made-up map
    members = members_of(4_000)
    rows = [chance.sample(range(4_000), 8) for _ in range(65_536)]
    table = make_table(shards=65_536, replicas=8, members=members, owners=[row[r] for r in range(8) for row in rows], generation=3)
    found = publication.publish(table, partitioning="p1")
    chunks = [found.nodes[f"gen/3/map-{i}"] for i in range(len(found.head.map))]
    assert len(chunks) > 1
    assert all(len(chunk) <= 512 << 10 for chunk in chunks)
    assert publication.read_map(found.head, members, chunks) == table
    with pytest.raises(Mismatch, match="map-0"):
        publication.read_map(found.head, members, chunks[::-1])
    with pytest.raises(Mismatch, match="chunks"):
        publication.read_map(found.head, members, chunks[:1])


def test_there_is_no_delta_across_layouts() -> None:
    old = even_table(_MEMBERS, 8, 2, generation=1)
    assert publication.publish(even_table(_MEMBERS, 16, 2, generation=2), previous=old).head.delta is None
    assert publication.publish(even_table(_MEMBERS, 8, 2, generation=2), previous=old).head.delta_from == 1


def test_a_redis_map_says_so() -> None:
    found = publication.publish(even_table(_MEMBERS, 16_384, 1, key_hash=KeyHash.CRC16))
    assert head.decode(found.head_data) == found.head
    assert found.head.algorithm is Algorithm.REDIS16384


def test_what_is_not_what_the_head_promised_is_refused() -> None:
    old, new = even_table(_MEMBERS, 8, 2, generation=1), even_table(_MEMBERS, 8, 2, generation=2, term=2)
    first, second = publication.publish(old), publication.publish(new, previous=old)
    members, delta = second.nodes["gen/2/members"], second.nodes["gen/2/delta"]
    with pytest.raises(Mismatch, match=r"members: .* bytes"):
        publication.read_members(second.head, members + b"x")
    with pytest.raises(Mismatch, match="members: its SHA-256"):
        publication.read_members(second.head, members[:-1] + b"x")
    with pytest.raises(Mismatch, match="SHA-256"):
        publication.read_delta(second.head, old, _MEMBERS, delta[:-1] + b"x")
    with pytest.raises(Mismatch, match="head has none"):
        publication.read_delta(first.head, old, _MEMBERS, delta)
    with pytest.raises(Mismatch, match="head promises"):
        publication.read_map(replace(second.head, map=first.head.map), _MEMBERS, [first.nodes["gen/1/map-0"]])
    with pytest.raises(Mismatch, match="digest"):
        publication.read_map(replace(second.head, digest="0" * 64), _MEMBERS, [second.nodes["gen/2/map-0"]])


# ------------------------------------------------------------------------------------------------------------------------ hostile bytes

_TABLE = even_table(_MEMBERS, 32, 2, generation=3)
_DELTA = Delta(shards=32, replicas=2, from_generation=1, generation=2, term=1, owners=((0, 1), (40, 2)), epochs=((5, 9),))
_PUBLISHED = publication.publish(_TABLE)
_READERS: dict[str, tuple[bytes, Callable[[bytes], object]]] = {
    "members": (members_codec.encode(_MEMBERS), members_codec.decode),
    "map": (map_codec.encode(_TABLE), lambda data: map_codec.decode(data, _MEMBERS)),
    "delta": (delta_codec.encode(_DELTA), delta_codec.decode),
    "head": (_PUBLISHED.head_data, head.decode),
}
_nodes = pytest.mark.parametrize("node", _READERS)


def _read(node: str, data: bytes) -> None:
    """Either a value or Malformed; any other error fails the test."""
    with contextlib.suppress(Malformed):
        _READERS[node][1](data)


@_nodes
@given(st.binary(max_size=300))
def test_any_bytes(node: str, data: bytes) -> None:
    _read(node, data)
    _read(node, _READERS[node][0][:6] + data)


@_nodes
@given(st.data())
def test_bytes_changed_cut_and_repeated(node: str, data: st.DataObject) -> None:
    whole = bytearray(_READERS[node][0])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole) - 1))
        end = data.draw(st.integers(at, min(len(whole), at + 8)))
        whole[at:end] = data.draw(st.binary(max_size=8))
        if not whole:
            break
    _read(node, bytes(whole))


@_nodes
def test_every_cut_is_refused(node: str) -> None:
    whole, read = _READERS[node]
    for end in range(len(whole)):
        with pytest.raises(Malformed):
            read(whole[:end])
    with pytest.raises(Malformed):
        read(whole + b"\0")


@_nodes
def test_every_flipped_bit_is_a_value_or_refused(node: str) -> None:
    whole = _READERS[node][0]
    for at in range(len(whole)):
        for bit in range(8):
            _read(node, whole[:at] + bytes((whole[at] ^ 1 << bit,)) + whole[at + 1 :])


def test_a_newer_format_says_to_update() -> None:
    newer = bytearray(members_codec.encode(_MEMBERS))
    newer[5] = 2
    with pytest.raises(Malformed, match="format version 2; this library reads 1: update it"):
        members_codec.decode(bytes(newer))
    with pytest.raises(Malformed, match="format 2; this library reads 1: update it"):
        head.decode(_PUBLISHED.head_data.replace(b'"format":1', b'"format":2'))


def test_one_kind_is_not_read_as_another() -> None:
    with pytest.raises(Malformed, match="of kind 68, not 77"):
        members_codec.decode(delta_codec.encode(_DELTA))


def test_a_bomb_is_not_blown_up() -> None:
    """10 MB of zeros in 10 KB, announced as the 40 bytes that the map needs."""
    bomb = zlib.compress(bytes(10_000_000), 9)
    plain = map_codec.encode(_TABLE)
    start = plain[: plain.index(bytes((3, 0))) + 2]
    body = b"\x01" + bytes((24,)) + _varint(len(bomb)) + bomb
    with pytest.raises(Malformed, match="do not end where they should"):
        map_codec.decode(start + body, _MEMBERS)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes((*out, value))


def test_a_map_of_strangers_is_refused() -> None:
    with pytest.raises(Malformed, match="number 4, which no member has"):
        map_codec.decode(map_codec.encode(_TABLE), _MEMBERS[:4])


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"format": None}, "format is not a number"),
        ({"generation": -1}, "generation is not a number"),
        ({"generation": True}, "generation is not a number"),
        ({"generation": 1.0}, "generation is not a number"),
        ({"shards": 12}, "power of two"),
        ({"shards": 131_072}, "power of two"),
        ({"replicas": 0}, "at least one replica"),
        ({"replicas": 99}, "replicas is not a number of 0 to 16"),
        ({"algorithm": "anchor"}, "anchor"),
        ({"hash": "md5"}, "md5"),
        ({"digest": "abc"}, "digest is not a SHA-256"),
        ({"members": []}, "members: not an object"),
        ({"members": {"bytes": 1}}, "members: sha256 is not text"),
        ({"map": []}, "one chunk"),
        ({"map": [7]}, r"map\[0\]: not an object"),
        ({"map": [{"bytes": 1, "sha256": "0" * 64}] * 65}, "at most 64"),
        ({"delta": {"bytes": 1, "sha256": "0" * 64}}, "delta: from is not a number"),
        ({"partitioning": 7}, "partitioning is not text"),
    ],
)
def test_a_head_that_nobody_can_use_names_the_field(changes: dict[str, Any], why: str) -> None:
    document = json.loads(_PUBLISHED.head_data) | changes
    with pytest.raises(Malformed, match=why):
        head.decode(json.dumps(document).encode())


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"\xff", b"[" * 60_000, b"{}", b"1" * 5_000, b" " * 70_000])
def test_a_head_that_is_no_head(data: bytes) -> None:
    with pytest.raises(Malformed, match="head"):
        head.decode(data)


def test_unknown_fields_of_a_head_are_passed_over() -> None:
    document = json.loads(_PUBLISHED.head_data) | {"later": {"a": 1}}
    assert head.decode(json.dumps(document).encode()) == _PUBLISHED.head


def test_members_that_cannot_be_told_apart_are_not_written() -> None:
    with pytest.raises(Unusable, match="two members have the number"):
        members_codec.encode([Member(id="a"), Member(id="b")])

"""Keys, hash tags and shards."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuren.sharding.core import Unusable, hash_tag, redis_slot_of, shard_name, slot_of, suggested_shards, xxh64

_keys = st.one_of(st.binary(max_size=40), st.text(alphabet=st.sampled_from("ab{}数"), max_size=12).map(str.encode))
_powers = st.integers(min_value=0, max_value=16).map(lambda n: 1 << n)


@pytest.mark.parametrize(
    ("key", "slot"),
    [("somekey", 11058), ("foo{hash_tag}", 2515), ("hash_tag", 2515), ("123456789", 0x31C3), ("", 0)],
)
def test_slots_of_redis_are_those_of_its_documentation(key: str, slot: int) -> None:
    """`CLUSTER KEYSLOT` examples of redis.io, and the check value of CRC-16/XMODEM from the cluster specification."""
    assert redis_slot_of(key) == slot


@pytest.mark.parametrize(
    ("key", "tag"),
    [
        (b"{user1000}.following", b"user1000"),
        (b"foo{}{bar}", b"foo{}{bar}"),
        (b"foo{{bar}}zap", b"{bar"),
        (b"foo{bar}{zap}", b"bar"),
        (b"open{only", b"open{only"),
        (b"close}only", b"close}only"),
        (b"}{x}", b"x"),
        (b"", b""),
    ],
)
def test_hash_tags_are_those_of_the_redis_cluster_specification(key: bytes, tag: bytes) -> None:
    assert hash_tag(key) == tag


@given(_keys, _powers)
def test_a_shard_is_the_top_of_the_hash(key: bytes, shards: int) -> None:
    assert slot_of(key, shards) == xxh64(hash_tag(key)) * shards >> 64


@given(_keys, _powers.filter(lambda n: n <= 32_768))
def test_a_split_moves_no_key_between_unrelated_shards(key: bytes, shards: int) -> None:
    assert slot_of(key, 2 * shards) // 2 == slot_of(key, shards)


@given(st.text(max_size=20))
def test_text_is_its_utf8(key: str) -> None:
    assert slot_of(key, 4096) == slot_of(key.encode(), 4096)
    assert redis_slot_of(key) == redis_slot_of(key.encode())


@pytest.mark.parametrize("shards", [0, -8, 3, 1000, 131_072, True, 8.0])
def test_shards_are_a_power_of_two(shards: int) -> None:
    with pytest.raises(Unusable, match="power of two"):
        slot_of("a", shards)


@pytest.mark.parametrize("key", [7, None, 1.5, ["a"], bytearray(b"a")])
def test_a_key_is_text_or_bytes(key: str) -> None:
    for refuse in (redis_slot_of, lambda k: slot_of(k, 8)):
        with pytest.raises(TypeError, match="a key is str or bytes"):
            refuse(key)


def test_text_that_is_no_unicode_is_refused() -> None:
    with pytest.raises(UnicodeEncodeError):
        slot_of("\ud800", 8)


@pytest.mark.parametrize(
    ("slot", "shards", "name"),
    [
        (0, 1, "-"),
        (0, 2, "-80"),
        (1, 2, "80-"),
        (3, 16, "30-40"),
        (192, 65_536, "00c0-00c1"),
        (65_535, 65_536, "ffff-"),
        (1, 1024, "0040-0080"),
    ],
)
def test_names_of_shards_are_ranges(slot: int, shards: int, name: str) -> None:
    assert shard_name(slot, shards) == name


def test_a_shard_outside_the_map_has_no_name() -> None:
    with pytest.raises(Unusable, match="16 is not among 16"):
        shard_name(16, 16)


@pytest.mark.parametrize(("members", "shards"), [(0, 1024), (16, 1024), (17, 2048), (1000, 65_536), (10**6, 65_536)])
def test_suggested_shards(members: int, shards: int) -> None:
    assert suggested_shards(members) == shards

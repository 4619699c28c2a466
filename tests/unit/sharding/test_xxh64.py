"""XXH64 is what everybody else computes."""

from __future__ import annotations

import json

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from sharding_vectors import PLACE
from shuren.sharding.core import Backend, available
from shuren.sharding.core.backend import hash64
from shuren.sharding.core.xxh64 import mix64

_seeds = st.one_of(st.just(0), st.integers(min_value=0, max_value=2**64 - 1))


@given(st.binary(max_size=200), _seeds)
def test_all_backends_agree_with_the_package_of_its_author(data: bytes, seed: int) -> None:
    wanted = xxhash.xxh64_intdigest(data, seed)
    assert {backend: hash64(backend)(data, seed) for backend in available()} == dict.fromkeys(available(), wanted)


@pytest.mark.parametrize("length", range(100))
def test_every_length_of_a_tail(length: int) -> None:
    data = bytes(range(1, length + 1))
    assert {hash64(backend)(data, 0) for backend in available()} == {xxhash.xxh64_intdigest(data)}


def test_published_vectors(backend: Backend) -> None:
    vectors = json.loads((PLACE / "xxh64.json").read_text())["vectors"]
    assert len(vectors) > 50
    for vector in vectors:
        data, seed = bytes.fromhex(vector["dataHex"]), int(vector["seedHex"], 16)
        assert hash64(backend)(data, seed) == int(vector["hashHex"], 16) == xxhash.xxh64_intdigest(data, seed), vector


def test_the_finalizer_is_that_of_splitmix64() -> None:
    """The generator's published first outputs for seed 0 (Vigna, splitmix64.c): state 0x9E3779B97F4A7C15 times 1, 2, 3."""
    step = 0x9E3779B97F4A7C15
    assert [mix64(step * n & 0xFFFFFFFFFFFFFFFF) for n in (1, 2, 3)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]

"""Key -> shard. A shard is a number below a power of two, the top bits of the key's hash: each is one contiguous range of hashes.

So a split is local: shard s of S is shards 2s and 2s+1 of 2S, and no key moves between others. Redis' slots are the low 14 bits of
CRC-16/XMODEM (Redis cluster specification); hash tags (`keys.hash_tag`) hold for both.
"""

from __future__ import annotations

from binascii import crc_hqx

from shuren.sharding.core.backend import Hash64, chosen, hash64
from shuren.sharding.core.errors import Unusable
from shuren.sharding.core.keys import Key, hash_tag, key_bytes

MAX_SHARDS = 65_536
REDIS_SLOTS = 16_384
_PER_MEMBER = 64
_LEAST = 1_024
_fastest: list[Hash64] = []


def shift_of(shards: int) -> int:
    """How far a 64-bit hash is shifted down to its shard. Unusable unless `shards` is a power of two, 1..65,536."""
    if isinstance(shards, bool) or not isinstance(shards, int) or not 1 <= shards <= MAX_SHARDS or shards & (shards - 1):
        raise Unusable(f"shards is {shards!r}: it has to be a power of two from 1 to {MAX_SHARDS}")
    return 65 - shards.bit_length()


def slot_of(key: Key, shards: int) -> int:
    """The shard of a key among `shards`: XXH64 (seed 0) of the key or its hash tag, top bits."""
    if not _fastest:
        _fastest.append(hash64(chosen(None)))
    return _fastest[0](hash_tag(key_bytes(key)), 0) >> shift_of(shards)


def redis_slot_of(key: Key) -> int:
    """The slot of a key in a Redis cluster, 0..16,383."""
    return crc_hqx(hash_tag(key_bytes(key)), 0) & (REDIS_SLOTS - 1)


def suggested_shards(members: int) -> int:
    """Shards for a map that may grow to so many members: the power of two that keeps rounding under 1.6 %, 1,024 to 65,536."""
    shards = _LEAST
    while shards < _PER_MEMBER * members and shards < MAX_SHARDS:
        shards *= 2
    return shards


def shard_name(slot: int, shards: int) -> str:
    """A shard's range of hashes as Vitess writes key ranges: first and behind the last, hexadecimal, open ends empty (`00c0-0100`,
    `-80`).
    """
    shift = shift_of(shards)
    if not 0 <= slot < shards:
        raise Unusable(f"shard {slot} is not among {shards}")
    bits = 64 - shift
    digits = max(2, (bits + 7) // 8 * 2)
    first = f"{slot << (digits * 4 - bits):0{digits}x}" if slot else ""
    behind = f"{(slot + 1) << (digits * 4 - bits):0{digits}x}" if slot + 1 < shards else ""
    return f"{first}-{behind}"

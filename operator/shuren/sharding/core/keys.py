"""Keys as bytes, and the part of a key that decides its shard.

A str is its UTF-8. Hash tags are those of the Redis cluster specification: when a key holds `{` and a `}` behind it with something between,
only what is between the first such pair decides. Keys with one tag share a shard, so `{user:7}:cart` and `{user:7}:orders` live together.
"""

from __future__ import annotations

from typing import TypeAlias

Key: TypeAlias = str | bytes


def key_bytes(key: Key) -> bytes:
    """The bytes that are hashed. TypeError for anything but str and bytes."""
    if isinstance(key, str):
        return key.encode()
    if isinstance(key, bytes):
        return key
    raise TypeError(f"a key is str or bytes, not {type(key)!r}")


def hash_tag(data: bytes) -> bytes:
    """What lies in the first `{…}` of a key if there is something in it, else the whole key."""
    start = data.find(b"{")
    if start < 0:
        return data
    end = data.find(b"}", start + 1)
    return data[start + 1 : end] if end > start + 1 else data

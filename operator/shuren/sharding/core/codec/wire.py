"""Bytes in and out: numbers of variable length, text, and the frame around every node.

frame   = "SHRN", kind (1 byte), version (1 byte), body
varint  = 7 bits a byte, low ones first, the top bit says that more follow (LEB128); at most 63 bits
text    = varint length, UTF-8
packed  = encoding (0 as it is, 1 zlib), varint length unpacked, varint length stored, the stored bytes
"""

from __future__ import annotations

import zlib
from enum import IntEnum

from shuren.sharding.core.errors import Malformed

MAGIC = b"SHRN"
VERSION = 1
_HEADER = len(MAGIC) + 2
_MAX_BITS = 63
_MORE = 0x80
"""From here on, a byte of a number says that another one follows."""
_LEVEL = 6


class NodeKind(IntEnum):
    """What a node holds; one letter in the frame."""

    MEMBERS = ord("M")
    MAP = ord("T")
    DELTA = ord("D")


class Writer:
    """Collects the body of one node."""

    def __init__(self, kind: NodeKind) -> None:
        self._out = bytearray(MAGIC + bytes((kind, VERSION)))

    def byte(self, value: int) -> None:
        """One byte."""
        self._out.append(value)

    def varint(self, value: int) -> None:
        """A number of 0 to 2**63-1."""
        while value > 0x7F:  # noqa: PLR2004  seven bits
            self._out.append(value & 0x7F | 0x80)
            value >>= 7
        self._out.append(value)

    def text(self, value: str) -> None:
        """Text."""
        data = value.encode()
        self.varint(len(data))
        self._out += data

    def packed(self, data: bytes) -> None:
        """Bytes, compressed when that makes them smaller."""
        smaller = zlib.compress(data, _LEVEL)
        stored = smaller if len(smaller) < len(data) else data
        self.byte(0 if stored is data else 1)
        self.varint(len(data))
        self.varint(len(stored))
        self._out += stored

    def done(self) -> bytes:
        """The node."""
        return bytes(self._out)


class Reader:
    """Takes a node apart. Everything that is not as `Writer` writes it is Malformed, with what and where."""

    def __init__(self, data: bytes, kind: NodeKind) -> None:
        if data[: len(MAGIC)] != MAGIC or len(data) < _HEADER:
            raise Malformed(f"{kind.name.lower()}: does not begin with {MAGIC.decode()!r}; this is no node of a shard map")
        if data[len(MAGIC)] != kind:
            raise Malformed(f"{kind.name.lower()}: the node is of kind {data[len(MAGIC)]}, not {int(kind)}")
        if data[len(MAGIC) + 1] != VERSION:
            raise Malformed(f"{kind.name.lower()}: format version {data[len(MAGIC) + 1]}; this library reads {VERSION}: update it")
        self._data = data
        self._at = _HEADER
        self._name = kind.name.lower()

    def wrong(self, why: str) -> Malformed:
        """The error to raise at this place."""
        return Malformed(f"{self._name}: at byte {self._at}: {why}")

    def _take(self, count: int) -> bytes:
        piece = self._data[self._at : self._at + count]
        if len(piece) != count:
            raise self.wrong(f"{count} more bytes are expected, {len(piece)} are there")
        self._at += count
        return piece

    def byte(self) -> int:
        """One byte."""
        return self._take(1)[0]

    def varint(self, most: int) -> int:
        """A number of 0 to `most`."""
        value, at = 0, self._at
        for shift in range(0, _MAX_BITS, 7):
            if at >= len(self._data):
                raise self.wrong("the node ends within a number")
            byte = self._data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < _MORE:
                if value > most:
                    raise self.wrong(f"{value} is more than {most}")
                self._at = at
                return value
        raise self.wrong("a number does not end")

    def varints(self, count: int) -> list[int]:
        """So many numbers of any size, several times as quick as one by one."""
        at, value, shift, found = self._at, 0, 0, list[int]()
        if not count:
            return found
        for byte in memoryview(self._data)[at:]:
            at += 1
            if byte < _MORE:
                found.append(value | byte << shift)
                if len(found) == count:
                    self._at = at
                    return found
                value = shift = 0
            else:
                value |= (byte & 0x7F) << shift
                shift += 7
                if shift >= _MAX_BITS:
                    raise self.wrong("a number does not end")
        raise self.wrong("the node ends within a number")

    def text(self, most: int) -> str:
        """Text of at most so many bytes."""
        data = self._take(self.varint(most))
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise self.wrong(f"text is not UTF-8: {error}") from error

    def packed(self, least: int, most: int) -> bytes:
        """Bytes that `Writer.packed` wrote; never unpacks more than `most`."""
        encoding, length = self.byte(), self.varint(most)
        stored = self._take(self.varint(len(self._data)))
        if length < least:
            raise self.wrong(f"{length} bytes where at least {least} are needed")
        match encoding:
            case 0:
                data = stored
            case 1:
                data = self._inflated(stored, length)
            case _:
                raise self.wrong(f"encoding {encoding} is not known")
        if len(data) != length:
            raise self.wrong(f"{len(data)} bytes are there, {length} were announced")
        return data

    def _inflated(self, stored: bytes, length: int) -> bytes:
        inflater = zlib.decompressobj()
        try:
            data = inflater.decompress(stored, length + 1)
        except zlib.error as error:
            raise self.wrong(f"cannot be unpacked: {error}") from error
        if not inflater.eof or inflater.unused_data:
            raise self.wrong("the packed bytes do not end where they should")
        return data

    def end(self) -> None:
        """Nothing may follow."""
        if self._at != len(self._data):
            raise self.wrong(f"{len(self._data) - self._at} bytes too many")

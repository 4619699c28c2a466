"""A real ZooKeeper's transaction log: every write that was ever taken, in order.

Format: org.apache.zookeeper.server.persistence.FileTxnLog of 3.8: a header of 16 bytes, then records of a checksum (8), a length (4), a
`TxnHeader` with the transaction in jute, and the byte `B`. Files are filled up with zeros.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_HEADER = 16
_TXN = struct.Struct(">qiqqi")  # session, cxid, zxid, time (ms), type
_MULTI, _CHECK = 14, 13
_WITH_PATH = {1: "create", 2: "delete", 5: "setData", 7: "setACL", _CHECK: "check", 15: "create", 19: "create", 21: "create"}
_FAILED = -1


@dataclass(frozen=True, kw_only=True)
class Part:
    """One operation of a transaction. `version` is what a check found (plus one, as ZooKeeper notes it); None for others."""

    what: str
    path: str
    version: int | None = None


@dataclass(frozen=True, kw_only=True)
class Transaction:
    """One write. `session` tells who; a write that is not a multi has one part; sessions and failed multis have none."""

    session: int
    zxid: int
    parts: tuple[Part, ...]


def transactions(directory: Path) -> list[Transaction]:
    """All that were written by the server whose `dataDir` this is, oldest first."""
    files = sorted(directory.glob("version-2/log.*"), key=lambda file: int(file.suffix[1:], 16))
    return [found for file in files for found in _read(file.read_bytes())]


def unfenced(directory: Path, root: str) -> list[str]:
    """Writes below a root of Shuren's without the check of the epoch as it then was. Before there is an epoch only `meta` is made."""
    at, found = f"{root}/epoch", []
    version = -1
    for written in transactions(directory):
        raised = [part for part in written.parts if part.path == at and part.what in {"create", "setData"}]
        ours = [part for part in written.parts if part.path.startswith(f"{root}/") and part.what != "check" and part not in raised]
        checks = [part.version for part in written.parts if part.what == "check" and part.path == at]
        begun = version >= 0 or {part.path for part in ours} != {f"{root}/meta"}
        if ours and checks != [version + 1] and not raised and begun:
            found += [f"{written.zxid:#x} {part.what} {part.path} checked {checks}, epoch {version}" for part in ours]
        version += len(raised)
    assert version >= 0, f"no epoch of {root} was ever raised in {directory}"
    return found


def _read(data: bytes) -> Iterator[Transaction]:
    assert data[:4] == b"ZKLG"
    at = _HEADER
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">i", data, at + 8)
        if length == 0:
            return  # filled up from here on
        body = data[at + 12 : at + 12 + length]
        assert data[at + 12 + length : at + 13 + length] == b"B", f"not a record at {at}"
        yield _transaction(body)
        at += 13 + length


def _transaction(body: bytes) -> Transaction:
    session, _, zxid, _, kind = _TXN.unpack_from(body)
    rest = body[_TXN.size :]
    parts = tuple(_multi(rest)) if kind == _MULTI else _part(kind, rest)
    return Transaction(session=session, zxid=zxid, parts=parts)


def _multi(rest: bytes) -> Iterator[Part]:
    (count,) = struct.unpack_from(">i", rest)
    at = 4
    for _ in range(count):
        kind, length = struct.unpack_from(">ii", rest, at)
        yield from _part(kind, rest[at + 8 : at + 8 + length])
        at += 8 + length


def _part(kind: int, rest: bytes) -> tuple[Part, ...]:
    if kind == _FAILED or kind not in _WITH_PATH:
        return ()
    (length,) = struct.unpack_from(">i", rest)
    path = rest[4 : 4 + length].decode()
    version = struct.unpack_from(">i", rest, 4 + length)[0] if kind == _CHECK else None
    return (Part(what=_WITH_PATH[kind], path=path, version=version),)

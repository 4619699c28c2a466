"""DNS messages as bytes, as far as the path of every query needs them (RFC 1035 §4, RFC 6891); nothing here raises on any input.

A query is taken apart by hand, since this is done for each one: header, one question, at most an OPT record. Everything else a client may
send is `Odd`, and is answered by its header alone. Records are the library's (`answers`).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

HEADER = struct.Struct("!HHHHHH")
_TYPE_CLASS = struct.Struct("!HH")
_OPT = struct.Struct("!HHBBHH")
_OPT_TYPE = 41
_IN = 1
_LONGEST_NAME = 255
_LONGEST_LABEL = 63

QR, AA, TC, RD = 0x8000, 0x0400, 0x0200, 0x0100
_OPCODE = 0x7800

PLAIN_LIMIT = 512
"""Bytes of an answer to a client that says nothing of what it can take (RFC 1035 §4.2.1)."""
OWN_LIMIT = 1232
"""Bytes of an answer over UDP that no path should have to fragment (DNS flag day 2020)."""


class Rcode(IntEnum):
    """Answers' codes; BADVERS has its upper bits in the OPT record."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
    BADVERS = 16


@dataclass(frozen=True, slots=True)
class Query:
    """A question for us. `question` are its bytes as sent, `name` the name in lower case on the wire, `limit` how long an answer may be."""

    id: int
    flags: int
    question: bytes
    name: bytes
    type: int
    edns: bool
    limit: int


@dataclass(frozen=True, slots=True)
class Odd:
    """What is answered with a code and nothing else. None of it: not a query at all (shorter than a header, or an answer)."""

    id: int
    flags: int
    question: bytes
    rcode: Rcode
    edns: bool = False


def take_apart(data: bytes) -> Query | Odd | None:
    """A message as it came; None when it is not to be answered at all."""
    if len(data) < HEADER.size:
        return None
    number, flags, questions, answers, authorities, additional = HEADER.unpack_from(data)
    if flags & QR:
        return None
    if flags & _OPCODE:
        return Odd(number, flags, b"", Rcode.NOTIMP)
    if questions != 1 or answers or authorities or additional > 1:
        return Odd(number, flags, b"", Rcode.FORMERR)
    end = _name_end(data, HEADER.size)
    if end is None or end + _TYPE_CLASS.size > len(data):
        return Odd(number, flags, b"", Rcode.FORMERR)
    kind, klass = _TYPE_CLASS.unpack_from(data, end)
    question = data[HEADER.size : end + _TYPE_CLASS.size]
    after = end + _TYPE_CLASS.size
    if not additional:
        # what stands behind the question without being announced is nobody's
        return _judged(Query(number, flags, question, question[:-4].lower(), kind, edns=False, limit=PLAIN_LIMIT), klass)
    return _with_opt(data, after, Query(number, flags, question, question[:-4].lower(), kind, edns=True, limit=0), klass)


def _with_opt(data: bytes, at: int, query: Query, klass: int) -> Query | Odd:
    if len(data) < at + 1 + _OPT.size or data[at] != 0:
        return Odd(query.id, query.flags, query.question, Rcode.FORMERR)
    kind, size, _, version, _, length = _OPT.unpack_from(data, at + 1)
    if kind != _OPT_TYPE or at + 1 + _OPT.size + length > len(data):
        return Odd(query.id, query.flags, query.question, Rcode.FORMERR)
    if version:
        return Odd(query.id, query.flags, query.question, Rcode.BADVERS, edns=True)
    limit = min(max(size, PLAIN_LIMIT), OWN_LIMIT)
    return _judged(Query(query.id, query.flags, query.question, query.name, query.type, edns=True, limit=limit), klass)


def _judged(query: Query, klass: int) -> Query | Odd:
    return query if klass == _IN else Odd(query.id, query.flags, query.question, Rcode.REFUSED, edns=query.edns)


def _name_end(data: bytes, at: int) -> int | None:
    """Behind the root label of an uncompressed name; None when it is none. A pointer in a question points at nothing."""
    start, size = at, len(data)
    while at < size:
        length = data[at]
        if length == 0:
            return at + 1 if at + 1 - start <= _LONGEST_NAME else None
        if length > _LONGEST_LABEL:
            return None
        at += 1 + length
    return None


def own_opt(rcode: int = 0) -> bytes:
    """Our OPT record: how much we take, version 0, the upper bits of the code."""
    return b"\x00" + _OPT.pack(_OPT_TYPE, OWN_LIMIT, rcode >> 4, 0, 0, 0)


def odd_answer(odd: Odd) -> bytes:
    """The answer to what is no question for us."""
    opt = own_opt(odd.rcode) if odd.edns else b""
    flags = QR | (odd.flags & (_OPCODE | RD)) | (odd.rcode & 0xF)
    return HEADER.pack(odd.id, flags, 1 if odd.question else 0, 0, 0, 1 if opt else 0) + odd.question + opt

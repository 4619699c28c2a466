"""RecordIO, the framing of Mesos' streams: the length of a message in decimal, a newline, the message, which is JSON here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shuren.sandbox.contract import Json

MEDIA_TYPE = "application/recordio"
_LONGEST_LENGTH = 20
"""Digits that a length may have: what is longer is none."""


def record(message: Json) -> bytes:
    """One message in its frame."""
    body = json.dumps(message).encode()
    return b"%d\n%s" % (len(body), body)


class Records:
    """Messages out of a stream that comes in pieces."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Json]:
        """Messages that are complete with this piece. ValueError for what is no such stream."""
        self._rest += data
        found: list[Json] = []
        while True:
            length, newline, rest = self._rest.partition(b"\n")
            if not newline:
                if len(length) > _LONGEST_LENGTH:
                    raise ValueError("no length of a record")
                return found
            size = int(length)
            if len(rest) < size:
                return found
            message = json.loads(rest[:size])
            if not isinstance(message, dict):
                raise ValueError("a record is no JSON object")  # noqa: TRY004 - of what came, not of a caller
            found.append(message)
            self._rest = rest[size:]

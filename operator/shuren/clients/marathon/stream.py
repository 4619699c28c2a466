"""Marathon's event stream: frames of `event:` and `data:` lines ended by an empty line, and a bare CRLF as a sign of life every 10 s.

Jetty writes the sign of life as two pieces, CR and then LF, so a lone CR may end a piece. There are no ids and nothing is ever replayed.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

from shuren.domain.errors import Unreachable
from shuren.domain.marathon.state import MarathonEvent

_LONGEST = 8 * 1024 * 1024
"""Bytes of one line; a deployment plan of a large group is the longest that Marathon sends."""


async def events(chunks: AsyncIterator[bytes]) -> AsyncIterator[MarathonEvent]:
    """The events in a stream of bytes, however it is cut. Ends with the stream; Unreachable when a line grows without end."""
    rest = bytearray()
    kind = ""
    data: list[str] = []
    async for chunk in chunks:
        rest += chunk
        if len(rest) > _LONGEST and b"\n" not in rest:
            raise Unreachable(f"Marathon's event stream has a line of more than {_LONGEST} bytes")
        *lines, tail = rest.split(b"\n")
        rest = bytearray(tail)
        for line in lines:
            text = line.rstrip(b"\r").decode(errors="replace")
            if not text:
                if data:
                    event = _event(kind, "\n".join(data))
                    if event is not None:
                        yield event
                kind, data = "", []
                continue
            field, _, value = text.partition(":")
            value = value.removeprefix(" ")
            if field == "event":
                kind = value
            elif field == "data":
                data.append(value)


def _event(kind: str, text: str) -> MarathonEvent | None:
    """None for a frame that is not JSON: events are only hints, and the next full read tells the rest."""
    try:
        document = json.loads(text)
    except ValueError:
        return None
    if not isinstance(document, dict):
        return None
    return MarathonEvent(type=kind or str(document.get("eventType", "")), data=document)

"""One line to a unix socket of HAProxy, the whole answer back (management.txt §9.3).

Each exchange has a connection of its own: HAProxy answers in non-interactive mode and closes. The writing side is shut after the line;
without that the master's socket waits for more and never answers.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from shuren.domain.errors import Denied, UnknownOutcome, Unreachable

MAX_ANSWER = 256 << 20
"""Bytes of an answer; `show stat` of 10,000 servers has 5 MB."""


async def exchange(path: Path, line: str, *, timeout: float, writes: bool = False) -> str:  # noqa: ASYNC109 - bounds the exchange as a whole
    """Send a line, or several, give all that is answered.

    Unreachable when nobody listens, or no answer came in `timeout` seconds; UnknownOutcome instead of the latter when the line `writes`.
    """
    try:
        async with asyncio.timeout(timeout):
            return await _exchange(path, line)
    except PermissionError as error:
        raise Denied(f"{path}: not ours to use: {error}") from error
    except (ConnectionRefusedError, FileNotFoundError) as error:
        raise Unreachable(f"HAProxy does not listen on {path}: {error}") from error
    except (TimeoutError, OSError, asyncio.IncompleteReadError) as error:
        if writes:
            raise UnknownOutcome(f"HAProxy was told on {path} and did not answer: {error!r}") from error
        raise Unreachable(f"HAProxy does not answer on {path}: {error!r}") from error


async def _exchange(path: Path, line: str) -> str:
    reader, writer = await asyncio.open_unix_connection(str(path), limit=1 << 20)
    try:
        # not drained first: HAProxy may answer before it has read all of it
        writer.write(line.encode() + b"\n")
        writer.write_eof()
        parts: list[bytes] = []
        size = 0
        while part := await reader.read(1 << 18):
            parts.append(part)
            size += len(part)
            if size > MAX_ANSWER:
                raise Unreachable(f"an answer on {path} has more than {MAX_ANSWER} bytes")
        return b"".join(parts).decode(errors="replace")
    finally:
        writer.close()

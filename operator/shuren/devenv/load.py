"""A load on a service, to count what a change costs: several clients, one request after the other, until the block ends.

A client that tries again by itself, as browsers and most libraries do, would hide what is looked for. So this one speaks HTTP/1.1 on plain
streams, tries nothing twice, and counts as good only a whole answer with status 200.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

_PATIENCE = 30.0
"""Seconds that one request may take."""
_OK = 200


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One way to ask. `connection_each`: a connection of its own for each request, else one that is kept. `body` in bytes, sent by POST."""

    name: str
    path: str = "/"
    body: int = 0
    connection_each: bool = False


KEPT = Kind(name="kept connections")
NEW = Kind(name="new connections", connection_each=True)
POST = Kind(name="POST bodies", body=20_000)
DOWNLOAD = Kind(name="downloads of 2 s", path="/slow")
MIX = (KEPT, KEPT, KEPT, NEW, POST, POST, DOWNLOAD)
"""One client each."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A request without a whole answer; times are of `time.monotonic`. `sent` is false when there was not even a connection."""

    kind: Kind
    began: float
    ended: float
    sent: bool
    why: str

    def __str__(self) -> str:
        return f"{self.kind.name} after {self.ended - self.began:.2f} s: {self.why}"


@dataclass(kw_only=True)
class Tally:
    """What became of the requests so far. Read while the load runs, and complete when it has ended."""

    good: Counter[str] = field(default_factory=Counter)
    failed: list[Failure] = field(default_factory=list)

    @property
    def total(self) -> int:
        """All requests that have ended."""
        return self.good.total() + len(self.failed)

    def __str__(self) -> str:
        return f"{self.total} requests ({', '.join(f'{n} {kind}' for kind, n in sorted(self.good.items()))}), {len(self.failed)} failed"


@contextmanager
def load(address: str, port: int, host: str, *, kinds: Sequence[Kind] = MIX, pause: float = 0.002) -> Iterator[Tally]:
    """Ask in a thread of its own, one client for each of `kinds` with `pause` seconds between its requests; requests under way at the end
    are awaited.
    """
    aim = _Aim(address=address, port=port, host=host, pause=pause)
    tally, ending = Tally(), threading.Event()

    async def clients() -> None:
        await asyncio.gather(*(_client(aim, kind, tally, ending) for kind in kinds))

    thread = threading.Thread(target=lambda: asyncio.run(clients()), name="load", daemon=True)
    thread.start()
    try:
        yield tally
    finally:
        ending.set()
        thread.join(2 * _PATIENCE)


@dataclass(frozen=True, kw_only=True)
class _Aim:
    address: str
    port: int
    host: str
    pause: float


async def _client(aim: _Aim, kind: Kind, tally: Tally, ending: threading.Event) -> None:
    connection: _Connection | None = None
    for number in itertools.count():
        if ending.is_set():
            break
        began, sent = time.monotonic(), False
        try:
            async with asyncio.timeout(_PATIENCE):
                if connection is None:
                    connection = _Connection(*await asyncio.open_connection(aim.address, aim.port))
                sent = True
                await connection.ask(aim.host, kind, number)
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            why = f"{type(error).__name__}: {error}"
            tally.failed.append(Failure(kind=kind, began=began, ended=time.monotonic(), sent=sent, why=why))
            if connection is not None:
                connection.close()
            connection = None
            await asyncio.sleep(0.05)
        else:
            tally.good[kind.name] += 1
            if kind.connection_each or connection.told_to_close:
                connection.close()
                connection = None
        await asyncio.sleep(aim.pause)
    if connection is not None:
        connection.close()


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.told_to_close = False

    async def ask(self, host: str, kind: Kind, number: int) -> None:
        """One request and its whole answer. ValueError when the answer is not 200."""
        verb = "POST" if kind.body else "GET"
        head = f"{verb} {kind.path} HTTP/1.1\r\nHost: {host}\r\nX-Number: {number}\r\nContent-Length: {kind.body}\r\n\r\n"
        self._writer.write(head.encode() + b"x" * kind.body)
        await self._writer.drain()
        status, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        content = await self._reader.readexactly(int(headers.get("content-length", 0)))
        self.told_to_close = headers.get("connection", "").lower() == "close"
        if int(status.split()[1]) != _OK:
            raise ValueError(f"{status}: {content[:200].decode(errors='replace').strip()}")

    def close(self) -> None:
        """Without waiting for the other side."""
        with contextlib.suppress(OSError):
            self._writer.close()

"""Event streams over real connections: keep-alive, readers that fall behind, readers that take nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from served_engine import Served, until
from shuren.sandbox.engine.events import MAX_OUTSTANDING
from shuren.sandbox.http.call import StreamTiming

ASK = b"GET /v2/events%s HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n"


@asynccontextmanager
async def reading(served: Served, query: bytes = b"", *, limit: int = 65_536) -> AsyncIterator[asyncio.StreamReader]:
    """A raw connection to the stream, after its head."""
    host, _, port = served.engine.address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=limit)
    writer.write(ASK % query)
    await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    try:
        yield reader
    finally:
        writer.transport.abort()


async def test_a_silent_stream_is_kept_alive_with_bare_line_ends(tmp_path: Path) -> None:
    timing = StreamTiming(heartbeat=0.05)
    async with Served.of(tmp_path, streams=timing) as served, reading(served, b"?event_type=nothing_such") as reader:
        assert await asyncio.wait_for(reader.readexactly(4), 10) == b"\r\n\r\n"


async def test_a_half_open_stream_shows_no_sign_of_life(tmp_path: Path) -> None:
    async with Served.of(tmp_path, streams=StreamTiming(heartbeat=0.02)) as served, reading(served) as reader:
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        await served.call("PUT", "/sandbox/faults", {"events": {"silent": True}})
        left = await asyncio.wait_for(_until_quiet(reader), 10)
        assert left.strip() == b""
        await served.call("DELETE", "/sandbox/faults")
        assert await asyncio.wait_for(reader.readexactly(2), 10) == b"\r\n"


async def _until_quiet(reader: asyncio.StreamReader) -> bytes:
    """What comes before a pause of many heartbeats."""
    received = b""
    while True:
        try:
            received += await asyncio.wait_for(reader.read(100), 0.3)
        except TimeoutError:
            return received


async def test_the_first_event_is_ones_own_arrival(tmp_path: Path) -> None:
    # that nobody reads any more is noticed when a sign of life is sent
    async with Served.of(tmp_path, streams=StreamTiming(heartbeat=0.2)) as served:
        async with reading(served) as reader:
            assert await asyncio.wait_for(reader.readline(), 10) == b"event: event_stream_attached\r\n"
            assert b'"remoteAddress":"127.0.0.1"' in await asyncio.wait_for(reader.readline(), 10)
            await until(lambda: served.engine.bus.streams == 1)
        await until(lambda: served.engine.bus.streams == 0)


async def test_a_reader_that_falls_behind_is_cut_off(served: Served) -> None:
    """What waits for it is still sent, then the connection ends."""
    async with reading(served, b"?event_type=x", limit=1024) as reader:
        await until(lambda: served.engine.bus.streams == 1)
        for _ in range(MAX_OUTSTANDING + 5):  # in one go: the server cannot hand out anything in between
            served.engine.publish("x", {"filling": "." * 2000})
        received = b""
        while piece := await asyncio.wait_for(reader.read(1 << 20), 10):
            received += piece
        assert MAX_OUTSTANDING <= received.count(b"event: x\r\n") < MAX_OUTSTANDING + 5
        await until(lambda: served.engine.bus.streams == 0)


async def test_a_reader_that_takes_nothing_is_given_up(tmp_path: Path) -> None:
    timing = StreamTiming(idle=0.2)
    async with Served.of(tmp_path, streams=timing) as served, reading(served, b"?event_type=x", limit=1024):
        await until(lambda: served.engine.bus.streams == 1)

        def fill() -> bool:
            served.engine.publish("x", {"filling": "." * 1_000_000})
            return served.engine.bus.streams == 0

        await until(fill)

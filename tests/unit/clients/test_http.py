"""What our transports add to httpx."""

from __future__ import annotations

import asyncio
import ssl

import httpx
import pytest

from shuren.clients.http import transport
from tls_room import serving


async def test_a_request_cancelled_while_it_connects_leaves_no_connection() -> None:
    arrived, gone = asyncio.Event(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read(1)
        arrived.set()
        while await reader.read(65536):
            pass
        gone.set()

    async with (
        serving(silent, None) as port,
        httpx.AsyncClient(
            transport=transport(target="test", observe=None, tls=ssl.create_default_context(), connections=2), trust_env=False
        ) as client,
    ):
        request = asyncio.create_task(client.get(f"https://127.0.0.1:{port}/"))
        await arrived.wait()
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        async with asyncio.timeout(20):
            await gone.wait()

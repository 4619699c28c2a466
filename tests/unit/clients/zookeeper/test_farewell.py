"""A client whose server does not answer is closed all the same: kazoo alone waits for a session's whole timeout."""

from __future__ import annotations

import asyncio
import socket

import pytest

from shuren.clients.zookeeper.client import ZooKeeperClient
from shuren.domain.errors import Unreachable


async def test_closing_does_not_wait_for_a_silent_server() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        client = ZooKeeperClient(f"127.0.0.1:{silent.getsockname()[1]}", session_timeout=60.0)
        with pytest.raises(Unreachable, match="does not answer"):
            await client.connect(within=0.3)
        # a third of what kazoo would wait
        async with asyncio.timeout(20):
            await client.close()

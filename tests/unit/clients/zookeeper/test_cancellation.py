"""A call to ZooKeeper that is given up in the very moment in which its answer comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from shuren.clients.zookeeper.client import ZooKeeperClient


class Answer:
    """What kazoo's asynchronous calls return."""

    def __init__(self) -> None:
        self.callbacks: list[Callable[[Any], None]] = []

    def rawlink(self, callback: Callable[[Any], None]) -> None:
        self.callbacks.append(callback)

    def get(self) -> str:
        return "answer"

    def come(self) -> None:
        for callback in self.callbacks:
            callback(self)


async def test_a_cancellation_together_with_the_answer_is_not_lost() -> None:
    client, answer = ZooKeeperClient("127.0.0.1:9"), Answer()
    task = asyncio.create_task(client._call(lambda: answer))
    while not answer.callbacks:
        await asyncio.sleep(0)
    answer.come()
    asyncio.get_running_loop().call_soon(task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_answer_is_an_answer() -> None:
    client, answer = ZooKeeperClient("127.0.0.1:9"), Answer()
    task = asyncio.create_task(client._call(lambda: answer))
    while not answer.callbacks:
        await asyncio.sleep(0)
    answer.come()
    assert await task == "answer"

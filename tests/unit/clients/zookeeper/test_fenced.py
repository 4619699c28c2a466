"""A fence that is met counts for the term it was met in."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from shuren.clients.fakes.zookeeper import FakeZooKeeper
from shuren.clients.zookeeper.fenced import FencedRoot
from shuren.domain.errors import Fenced
from shuren.ports.zookeeper import Create, Operation

ROOT = "/shuren/test"


class SlowAnswers(FakeZooKeeper):
    """While `held` is set, the answer to a write is kept back until it is set free."""

    held: asyncio.Event | None = None

    async def commit(self, operations: Sequence[Operation]) -> tuple[int | None, ...]:
        held, self.held = self.held, None
        try:
            return await super().commit(operations)
        finally:
            if held is not None:
                await held.wait()


async def test_a_late_answer_to_a_write_of_the_former_term_does_not_end_the_new_one() -> None:
    zookeeper = SlowAnswers()
    root = FencedRoot(zookeeper, ROOT)
    await root.take_over(holder="one", installation="i")
    await FencedRoot(FakeZooKeeper(zookeeper.tree), ROOT).take_over(holder="two", installation="i")
    zookeeper.held = held = asyncio.Event()
    late = asyncio.create_task(root.commit([Create(path="/a", data=b"")]))
    await asyncio.sleep(0)  # it is on its way

    again = await root.take_over(holder="one", installation="i")
    held.set()
    with pytest.raises(Fenced):
        await late
    assert root.epoch == again
    await root.commit([Create(path="/a", data=b"")])

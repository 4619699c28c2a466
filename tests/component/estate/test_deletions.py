"""The guard on deletions remembers across leaders: every deletion is in ZooKeeper before it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from estate_room import ROOT
from shuren.clients.fakes.clock import ManualClock
from shuren.clients.fakes.crash import Moment
from shuren.clients.fakes.zookeeper import FakeZooKeeper, ZooTree
from shuren.clients.zookeeper.fenced import FencedRoot
from shuren.controllers.estate.deletions import PATH, Deletions
from shuren.domain.errors import Conflict, Fenced, Invalid, Unreachable
from shuren.domain.guard import DeletionLimit, decode_deletions
from shuren.ports.zookeeper import Operation, SetData

LIMIT = DeletionLimit(share=0, floor=3)


class Distant(FakeZooKeeper):
    """Takes a turn of the loop for each write, as a real one does."""

    async def commit(self, operations: Sequence[Operation]) -> tuple[int | None, ...]:
        await asyncio.sleep(0)
        return await super().commit(operations)


class Leader:
    def __init__(self, tree: ZooTree, clock: ManualClock, *, holder: str = "one") -> None:
        self.writes = 0
        self.fails = 0
        self.root = FencedRoot(Distant(tree, hook=self._hook), ROOT)
        self.holder = holder
        self.deletions = Deletions(zookeeper=self.root, clock=clock)

    def _hook(self, moment: Moment, name: str) -> None:
        if moment is Moment.BEFORE and name.endswith(PATH):
            self.writes += 1
            if self.fails:
                self.fails -= 1
                raise Unreachable("connection lost")

    async def lead(self) -> Leader:
        await self.root.take_over(holder=self.holder, installation="i")
        await self.deletions.recall()
        return self

    @property
    def wait(self) -> float:
        return self.deletions.wait(LIMIT, apps=100)


async def test_the_next_leader_knows_what_the_last_one_deleted() -> None:
    tree, clock = ZooTree(), ManualClock()
    first = await Leader(tree, clock).lead()
    for _ in range(2):
        await first.deletions.note()
        await clock.advance(10)
    second = await Leader(tree, clock, holder="two").lead()
    assert second.wait == 0
    await second.deletions.note()
    assert second.wait == pytest.approx(40)
    third = await Leader(tree, clock, holder="three").lead()
    assert third.wait == pytest.approx(40)
    await clock.advance(41)
    assert third.wait == 0


async def test_who_restarts_again_and_again_deletes_no_more() -> None:
    tree, clock = ZooTree(), ManualClock()
    done = 0
    for number in range(20):
        leader = await Leader(tree, clock, holder=str(number)).lead()
        if leader.wait == 0:
            await leader.deletions.note()
            done += 1
        await clock.advance(2)
    assert done == LIMIT.floor


async def test_many_at_a_time_share_writes_and_none_is_forgotten() -> None:
    tree, clock = ZooTree(), ManualClock()
    leader = await Leader(tree, clock).lead()
    before = leader.writes
    await asyncio.gather(*(leader.deletions.note() for _ in range(50)))
    assert leader.writes - before == 2
    node = await leader.root.get(PATH)
    assert node is not None
    assert len(decode_deletions(node.data)) == 50


async def test_what_could_not_be_written_was_not_counted() -> None:
    leader = await Leader(ZooTree(), ManualClock()).lead()
    leader.fails = 3
    for _ in range(3):
        with pytest.raises(Unreachable):
            await leader.deletions.note()
    assert leader.wait == 0
    await leader.deletions.recall()
    for _ in range(3):
        await leader.deletions.note()
    assert leader.wait > 0


async def test_a_deposed_leader_counts_nothing() -> None:
    tree, clock = ZooTree(), ManualClock()
    first = await Leader(tree, clock).lead()
    await Leader(tree, clock, holder="two").lead()
    with pytest.raises(Fenced):
        await first.deletions.note()


async def test_a_node_that_somebody_else_wrote_is_read_again() -> None:
    leader = await Leader(ZooTree(), ManualClock()).lead()
    await leader.deletions.note()
    await leader.root.commit([SetData(path=PATH, data=b"nonsense", version=-1)])
    with pytest.raises(Conflict):
        await leader.deletions.note()
    await leader.deletions.recall()
    for _ in range(2):
        await leader.deletions.note()
    assert leader.wait > 0, "it still knows its own"


async def test_a_clock_that_is_ahead_does_not_make_deletions_wait_longer_than_a_minute() -> None:
    tree, clock = ZooTree(), ManualClock()
    leader = await Leader(tree, clock).lead()
    ahead = clock.now().timestamp() + 3600
    await leader.deletions.note()
    data = b'{"at":[%d,%d,%d],"later":1}' % (ahead, ahead, ahead)
    await leader.root.commit([SetData(path=PATH, data=data, version=-1)])
    second = await Leader(tree, clock, holder="two").lead()
    assert second.wait == pytest.approx(60)


@pytest.mark.parametrize("data", [b"{", b"[]", b'{"at":1}', b'{"at":["x"]}', b"{}"])
def test_what_is_no_list_of_times(data: bytes) -> None:
    with pytest.raises(Invalid, match="deleting this node"):
        decode_deletions(data)

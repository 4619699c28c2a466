"""The limits of a cluster are in effect for every request to its Marathon: rate, places, breaker."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from estate_room import FakeFactory, Heard, pass_time, settings, turns
from lead import Lead
from shuren.clients.fakes.clock import ManualClock
from shuren.clients.fakes.marathon import FakeMarathon
from shuren.clients.fakes.marathon_world import MarathonWorld
from shuren.clients.fakes.zookeeper import ZooTree
from shuren.controllers.estate.cluster import Cluster
from shuren.controllers.estate.connection import Identity
from shuren.controllers.estate.guarded import GuardedMarathon, target
from shuren.controllers.estate.registry import Estate
from shuren.domain.cluster import Credentials
from shuren.domain.errors import Locked, ShurenError, UnknownOutcome, Unreachable
from shuren.domain.marathon.state import ActualApp, DeploymentRef
from shuren.ports.marathon import Faulted, Marathon
from shuren.runtime.limits import Breaker


class Counting(FakeMarathon):
    """Counts what reaches it, and holds reads of one app while `gate` is closed."""

    def __init__(self, world: MarathonWorld) -> None:
        super().__init__(world)
        self.reached: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.inside = 0
        self.most = 0

    async def app(self, app_id: str) -> ActualApp | None:
        self.reached.append(app_id)
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            await self.gate.wait()
            return await super().app(app_id)
        finally:
            self.inside -= 1

    async def delete_app(self, app_id: str, *, force: bool = False) -> DeploymentRef | None:
        self.reached.append(app_id)
        return await super().delete_app(app_id, force=force)


class Room:
    def __init__(self, *, rate: float = 1000.0) -> None:
        self.clock = ManualClock()
        self.marathon = Counting(MarathonWorld(clock=self.clock))
        self.limits = target(clock=self.clock, name="bj1", requests_per_second=rate)
        self.guarded = GuardedMarathon(self.marathon, self.limits)

    @property
    def state(self) -> Breaker:
        return self.limits.breaker.state

    async def fail(self, error: ShurenError, *, times: int) -> None:
        self.marathon.fail_next(error, times=times)
        for _ in range(times):
            with pytest.raises(type(error)):
                await self.guarded.app("/a")


async def test_reads_are_paced() -> None:
    room = Room(rate=2.0)
    reads = [asyncio.ensure_future(room.guarded.app(f"/{n}")) for n in range(6)]
    await room.clock.advance(0.1)
    assert len(room.marathon.reached) == 2
    await room.clock.advance(1)
    assert len(room.marathon.reached) == 4
    await room.clock.advance(1)
    await asyncio.gather(*reads)


async def test_no_more_reads_at_a_time_than_there_are_places_and_writes_need_none() -> None:
    room = Room()
    room.marathon.gate.clear()
    reads = [asyncio.ensure_future(room.guarded.app(f"/{n}")) for n in range(40)]
    await turns()
    assert room.marathon.most == 16
    await room.guarded.delete_app("/x")
    room.marathon.gate.set()
    await asyncio.gather(*reads)
    assert room.marathon.most == 16


async def test_a_marathon_that_does_not_answer_is_left_alone_for_a_while_in_the_words_of_the_failure() -> None:
    room = Room()
    await room.fail(Unreachable("connection refused"), times=5)
    room.marathon.reached.clear()
    for attempt in (room.guarded.app("/a"), room.guarded.apps(), room.guarded.delete_app("/a")):
        with pytest.raises(Unreachable, match="connection refused") as refused:
            await attempt
        assert refused.value.retry_after == 1.0
    assert room.marathon.reached == []
    room.clock.shift(1)
    assert await room.guarded.app("/a") is None
    assert room.state is Breaker.CLOSED


async def test_the_pause_grows_to_the_length_of_a_fail_over_and_no_further() -> None:
    room = Room()
    await room.fail(Unreachable("connection refused"), times=5)
    for pause in (1, 2, 4, 5, 5):
        room.clock.shift(pause - 0.1)
        assert room.state is Breaker.OPEN
        room.clock.shift(0.1)
        await room.fail(Unreachable("connection refused"), times=1)
    room.clock.shift(5)
    await room.guarded.app("/a")
    assert room.state is Breaker.CLOSED


@pytest.mark.parametrize("error", [Faulted("500: requirement failed"), Locked("locked"), UnknownOutcome("lost")])
async def test_answers_of_any_kind_keep_the_way_open_but_lost_ones_do_not(error: ShurenError) -> None:
    room = Room()
    await room.fail(error, times=20 if not isinstance(error, UnknownOutcome) else 5)
    assert (room.state is Breaker.OPEN) is isinstance(error, UnknownOutcome)


async def test_every_method_is_let_through_as_it_is() -> None:
    """Reads and writes give what the Marathon behind gives."""
    room = Room()
    guarded: Marathon = room.guarded
    await guarded.put_apps([{"id": "/a", "cmd": "sleep 1", "instances": 3}])
    room.marathon.world.settle()
    app = await guarded.app("/a")
    assert app is not None
    calls: list[Callable[[Marathon], Awaitable[object]]] = [
        lambda m: m.info(),
        lambda m: m.apps(),
        lambda m: m.deployments(),
        lambda m: m.queue(),
        lambda m: m.app_at("/a", app.version),
    ]
    for call in calls:
        assert await call(guarded) == await call(room.marathon)
    await guarded.patch_apps([{"id": "/a", "instances": 4}])
    room.marathon.world.settle()
    await guarded.kill_tasks([app.tasks[0].id], scale=True)
    room.marathon.world.settle()
    await guarded.restore("/a", app.version)
    room.marathon.world.settle()
    ref = await guarded.restart("/a")
    await guarded.cancel_deployment(ref.id, force=True)
    await guarded.delete_app("/a")
    assert [call.name for call in room.marathon.writes] == [
        "put_apps", "patch_apps", "kill_tasks", "restore", "restart", "cancel_deployment", "delete_app",
    ]  # fmt: skip
    assert (await anext(guarded.events())).type == "event_stream_attached"


async def connected(marathon: FakeMarathon, clock: ManualClock, *, rate: float) -> tuple[Estate, Cluster]:
    estate = Estate(
        factory=FakeFactory(marathon=marathon, tree=ZooTree()),
        leadership=Lead(),
        identity=Identity(holder="one", installation="here"),
        listener=Heard(),
        clock=clock,
    )
    basis = settings(mesos=None)
    wanted = replace(basis, marathon=replace(basis.marathon, requests_per_second=rate))
    cluster = await estate.ensure(wanted, Credentials())
    await pass_time(clock, 30)
    return estate, cluster


async def test_a_cluster_asks_no_more_than_its_spec_allows() -> None:
    clock = ManualClock()
    marathon = Counting(MarathonWorld(clock=clock))
    estate, cluster = await connected(marathon, clock, rate=2.0)
    marathon.reached.clear()
    deletions = [asyncio.ensure_future(cluster.writes.delete(f"/{n}", force=False)) for n in range(8)]
    await pass_time(clock, 6)
    assert 4 <= len(marathon.reached) <= 14, "a burst of two, then two a second, reads of apps included"
    await pass_time(clock, 60)
    assert all(deletion.done() for deletion in deletions), "reads that follow each write do not push the next one out"
    await asyncio.gather(*deletions)
    await estate.close()


async def test_writes_to_a_dead_marathon_are_refused_without_being_sent() -> None:
    clock = ManualClock()
    marathon = Counting(MarathonWorld(clock=clock))
    estate, cluster = await connected(marathon, clock, rate=1000.0)
    marathon.fail_next(Unreachable("connection refused"), name="delete_app", times=5)
    for number in range(8):
        with pytest.raises(Unreachable, match="connection refused"):
            await cluster.writes.delete(f"/{number}", force=False)
    assert len([app_id for app_id in marathon.reached if app_id in {f"/{n}" for n in range(8)}]) == 5
    await pass_time(clock, 1)
    assert await cluster.writes.delete("/x", force=False) is None
    await estate.close()

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from shuren.clients.fakes.clock import ManualClock
from shuren.domain.errors import Conflict, Denied, Fenced, NotOurs, Transient
from shuren.domain.identity import ObjectKey
from shuren.runtime.backoff import Backoff
from shuren.runtime.controller import Outcome
from shuren.runtime.queue import Priority, WorkQueue
from shuren.runtime.workers import CURRENT_PASS, PassInfo, Result, Workers, beside

A = ObjectKey(kind="Thing", namespace="n", name="a")
B = ObjectKey(kind="Thing", namespace="n", name="b")


class Scripted:
    """A controller that does what the test says."""

    def __init__(self, act: Callable[[ObjectKey], Awaitable[Outcome]]) -> None:
        self.act = act
        self.passes: list[ObjectKey] = []

    async def reconcile(self, key: ObjectKey) -> Outcome:
        self.passes.append(key)
        return await self.act(key)


class Rig:
    def __init__(self, act: Callable[[ObjectKey], Awaitable[Outcome]], *, limit: int = 4) -> None:
        self.clock = ManualClock()
        self.queue: WorkQueue[ObjectKey] = WorkQueue(monotonic=self.clock.monotonic, backoff=Backoff(chance=lambda: 0.0))
        self.controller = Scripted(act)
        self.results: list[Result] = []
        self.fenced = 0
        self.workers = Workers(
            queue=self.queue,
            controllers={"Thing": self.controller},
            clock=self.clock,
            limit=limit,
            pass_timeout=0.2,
            observer=self,
            on_fenced=self._on_fenced,
        )

    def _on_fenced(self, error: Fenced) -> None:
        assert str(error)
        self.fenced += 1

    def observe(self, *, kind: str, result: Result, seconds: float, waited: float) -> None:
        assert kind
        assert min(seconds, waited) >= 0
        self.results.append(result)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                await asyncio.sleep(0)


@pytest.fixture
async def start() -> AsyncIterator[Callable[[Rig], asyncio.Task[None]]]:
    tasks: list[tuple[Rig, asyncio.Task[None]]] = []

    def begin(rig: Rig) -> asyncio.Task[None]:
        task = asyncio.create_task(rig.workers.run())
        tasks.append((rig, task))
        return task

    yield begin
    for rig, task in tasks:
        rig.queue.close()
        await task


Start = Callable[[Rig], asyncio.Task[None]]


async def fine(_: ObjectKey) -> Outcome:
    return Outcome()


async def test_a_pass_that_goes_well_is_done(start: Start) -> None:
    rig = Rig(fine)
    start(rig)
    rig.queue.add(A)
    await rig.until(lambda: rig.results == [Result.SUCCESS])
    assert A not in rig.queue


async def test_requeue_after_runs_again_when_it_is_time(start: Start) -> None:
    async def again(_: ObjectKey) -> Outcome:
        return Outcome(requeue_after=7)

    rig = Rig(again)
    start(rig)
    rig.queue.add(A)
    await rig.until(lambda: rig.results == [Result.REQUEUE])
    assert rig.queue.next_delay() == 7


@pytest.mark.parametrize(
    ("error", "result", "delay"),
    [
        (Transient("later"), Result.TRANSIENT, 1.0),
        (Transient("later", retry_after=3), Result.TRANSIENT, 3.0),
        (Conflict("changed"), Result.CONFLICT, 0.2),
        (Fenced("not leading"), Result.FENCED, 1.0),
        (Denied("forbidden"), Result.DENIED, 1.0),
        (NotOurs("somebody else's"), Result.ERROR, 1.0),
        (RuntimeError("a mistake"), Result.ERROR, 1.0),
    ],
)
async def test_what_a_pass_raises_decides_when_it_runs_again(start: Start, error: Exception, result: Result, delay: float) -> None:
    async def fail(_: ObjectKey) -> Outcome:
        raise error

    rig = Rig(fail)
    start(rig)
    rig.queue.add(A)
    await rig.until(lambda: rig.results == [result])
    assert rig.queue.next_delay() == pytest.approx(delay)
    assert rig.fenced == (1 if result is Result.FENCED else 0)


async def test_a_poison_object_does_not_hold_up_others(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    async def poisoned(key: ObjectKey) -> Outcome:
        if key == A:
            raise ValueError("poison")
        return Outcome()

    rig = Rig(poisoned, limit=1)
    start(rig)
    with caplog.at_level(logging.CRITICAL):
        rig.queue.add(A)
        rig.queue.add(B)
        await rig.until(lambda: len(rig.results) == 2)
    assert sorted(r.value for r in rig.results) == ["error", "success"]


async def test_no_more_passes_at_a_time_than_the_limit(start: Start) -> None:
    gate = asyncio.Event()

    async def wait(_: ObjectKey) -> Outcome:
        await gate.wait()
        return Outcome()

    rig = Rig(wait, limit=2)
    start(rig)
    for name in "abcd":
        rig.queue.add(ObjectKey(kind="Thing", namespace="n", name=name))
    await rig.until(lambda: len(rig.controller.passes) == 2)
    assert rig.workers.busy == 2
    gate.set()
    await rig.until(lambda: len(rig.results) == 4)


async def test_a_pass_that_hangs_is_stopped_and_tried_again(start: Start) -> None:
    async def hang(_: ObjectKey) -> Outcome:
        await asyncio.Event().wait()
        return Outcome()

    rig = Rig(hang)
    start(rig)
    rig.queue.add(A)
    async with asyncio.timeout(5):
        while not rig.results:
            await asyncio.sleep(0.01)
    assert rig.results == [Result.TRANSIENT]
    assert A in rig.queue


async def test_a_kind_without_controller_is_dropped(start: Start) -> None:
    rig = Rig(fine)
    start(rig)
    stranger = ObjectKey(kind="Stranger", namespace="", name="x")
    rig.queue.add(stranger)
    await rig.until(lambda: rig.results == [Result.ERROR])
    assert stranger not in rig.queue


async def test_log_lines_can_name_the_pass(start: Start) -> None:
    seen = []

    async def note(_: ObjectKey) -> Outcome:
        seen.append(CURRENT_PASS.get())
        return Outcome()

    rig = Rig(note)
    start(rig)
    rig.queue.add(A)
    await rig.until(lambda: bool(rig.results))
    assert seen[0] is not None
    assert (seen[0].key, seen[0].number) == (A, 1)
    assert CURRENT_PASS.get() is None


async def test_draining_waits_and_then_cancels(start: Start) -> None:
    async def hang(_: ObjectKey) -> Outcome:
        await asyncio.Event().wait()
        return Outcome()

    rig = Rig(hang)
    start(rig)
    assert await rig.workers.drain()
    rig.queue.add(A)
    await rig.until(lambda: rig.workers.busy == 1)
    assert not await rig.workers.drain(grace=0.01)
    assert rig.workers.busy == 0
    assert A in rig.queue


async def test_conflicts_that_go_on_are_no_race_and_slow_down(start: Start) -> None:
    async def conflict(_: ObjectKey) -> Outcome:
        raise Conflict("changed")

    rig = Rig(conflict)
    start(rig)
    rig.queue.add(A)
    delays = []
    for number in range(1, 8):
        await rig.until(lambda number=number: len(rig.results) == number)  # type: ignore[misc]
        delays.append(rig.queue.next_delay() or 0.0)
        rig.clock.shift(delays[-1])
        rig.queue.kick()
    assert delays == pytest.approx([0.2, 0.2, 0.2, 0.2, 0.2, 32.0, 64.0])


async def test_a_fresh_edit_that_met_a_race_does_not_wait_behind_everything_else(start: Start) -> None:
    done: list[ObjectKey] = []

    async def one_race(key: ObjectKey) -> Outcome:
        done.append(key)
        if done == [A]:
            rig.queue.add(B)
            raise Conflict("changed")
        return Outcome()

    rig = Rig(one_race, limit=1)
    rig.queue.add(A, priority=Priority.USER)
    start(rig)
    await rig.until(lambda: rig.results == [Result.CONFLICT, Result.SUCCESS])
    rig.queue.add(B, after=0.2)  # ready before A, and of lesser worth
    rig.clock.shift(0.3)
    rig.queue.kick()
    await rig.until(lambda: len(done) == 4)
    assert done == [A, B, A, B]


async def test_observers_and_hooks_are_optional() -> None:
    async def fenced(_: ObjectKey) -> Outcome:
        raise Fenced("not leading")

    clock = ManualClock()
    queue: WorkQueue[ObjectKey] = WorkQueue(monotonic=clock.monotonic, backoff=Backoff(chance=lambda: 0.0))
    workers = Workers(queue=queue, controllers={"Thing": Scripted(fenced)}, clock=clock)
    running = asyncio.create_task(workers.run())
    queue.add(A)
    async with asyncio.timeout(5):
        while not queue.failures(A):
            await asyncio.sleep(0)
    queue.close()
    await running
    assert A in queue


async def test_work_beside_passes_names_its_object_and_no_pass() -> None:
    seen: list[PassInfo | None] = []

    async def act(_: ObjectKey) -> Outcome:
        async def note() -> None:
            seen.append(CURRENT_PASS.get())

        await asyncio.create_task(note(), context=beside(B))
        seen.append(CURRENT_PASS.get())
        return Outcome()

    rig = Rig(act)
    rig.queue.add(A)
    running = asyncio.create_task(rig.workers.run())
    await rig.until(lambda: bool(rig.results))
    rig.queue.close()
    await running
    assert seen == [PassInfo(key=B, number=0), PassInfo(key=A, number=1)]

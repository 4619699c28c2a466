from __future__ import annotations

import asyncio

import pytest

from shuren.clients.fakes.clock import ManualClock
from shuren.domain.errors import Conflict, Throttled, Unreachable
from shuren.runtime.limits import Breaker, BreakerRule, CircuitBreaker, Target, TokenBucket


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def state(breaker: CircuitBreaker) -> Breaker:
    """As of now; a call, so that two looks may differ for the type checker too."""
    return breaker.state


def test_a_bucket_lets_a_burst_through_and_then_its_rate(clock: ManualClock) -> None:
    bucket = TokenBucket(clock=clock, rate=2, burst=2)
    assert [bucket.delay() for _ in range(4)] == [0, 0, 0.5, 1.0]
    clock.shift(10)
    assert [bucket.delay() for _ in range(3)] == [0, 0, 0.5]


def test_a_breaker_opens_probes_and_closes(clock: ManualClock) -> None:
    breaker = CircuitBreaker(clock=clock, target="marathon", rule=BreakerRule(failures=2, pause=1, longest_pause=4))
    for _ in range(2):
        breaker.enter()
        breaker.failed()
    assert state(breaker) is Breaker.OPEN
    with pytest.raises(Unreachable, match="marathon"):
        breaker.enter()
    clock.shift(1)
    assert state(breaker) is Breaker.HALF_OPEN
    breaker.enter()
    with pytest.raises(Unreachable):
        breaker.enter()
    breaker.failed()
    clock.shift(1)
    assert state(breaker) is Breaker.OPEN
    clock.shift(1)
    breaker.enter()
    breaker.succeeded()
    assert state(breaker) is Breaker.CLOSED
    breaker.enter()


def test_a_probe_that_told_nothing_lets_another_try(clock: ManualClock) -> None:
    breaker = CircuitBreaker(clock=clock, target="t", rule=BreakerRule(failures=1, pause=1))
    breaker.failed()
    clock.shift(1)
    breaker.enter()
    breaker.gave_up()
    breaker.enter()


def target(clock: ManualClock) -> Target:
    return Target(clock=clock, name="t", rate=1000, burst=1000, concurrency=1, rule=BreakerRule(failures=1, pause=1))


async def test_only_no_answer_opens_the_breaker(clock: ManualClock) -> None:
    limits = target(clock)
    for error in (Conflict("a refusal is an answer"), Throttled("so is this")):
        with pytest.raises(type(error)):
            async with limits.request():
                raise error
    assert state(limits.breaker) is Breaker.CLOSED
    with pytest.raises(Unreachable):
        async with limits.request():
            raise Unreachable("nothing came")
    assert state(limits.breaker) is Breaker.OPEN


async def test_no_more_requests_at_a_time_than_allowed(clock: ManualClock) -> None:
    limits = target(clock)
    inside = 0
    most = 0

    async def one() -> None:
        nonlocal inside, most
        async with limits.request():
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(one() for _ in range(5)))
    assert most == 1


async def test_a_request_waits_for_its_token(clock: ManualClock) -> None:
    limits = Target(clock=clock, name="t", rate=1, burst=1, concurrency=5)
    done: list[int] = []

    async def one(number: int) -> None:
        async with limits.request():
            done.append(number)

    tasks = [asyncio.create_task(one(n)) for n in range(3)]
    await clock.advance(0)
    assert done == [0]
    await clock.advance(1)
    assert done == [0, 1]
    await clock.advance(1)
    await asyncio.gather(*tasks)
    assert done == [0, 1, 2]


async def test_a_cancelled_probe_is_no_verdict(clock: ManualClock) -> None:
    limits = target(clock)
    limits.breaker.failed()
    clock.shift(1)

    async def hang() -> None:
        async with limits.request():
            await asyncio.Event().wait()

    task = asyncio.create_task(hang())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    limits.breaker.enter()

from __future__ import annotations

import asyncio
import collections

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuren.clients.fakes.clock import ManualClock
from shuren.runtime.backoff import Backoff
from shuren.runtime.queue import Priority, Taken, WorkQueue


def queue(clock: ManualClock) -> WorkQueue[str]:
    return WorkQueue(monotonic=clock.monotonic, backoff=Backoff(chance=lambda: 0.0))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def key(taken: Taken[str] | None) -> str | None:
    return None if taken is None else taken.key


def test_a_key_added_twice_is_handed_out_once(clock: ManualClock) -> None:
    q = queue(clock)
    q.add("a")
    q.add("a")
    assert key(q.take_now()) == "a"
    assert q.take_now() is None
    assert q.adds == 2


def test_a_key_added_while_it_is_worked_on_runs_once_more_afterwards(clock: ManualClock) -> None:
    q = queue(clock)
    q.add("a")
    assert key(q.take_now()) == "a"
    q.add("a")
    q.add("a")
    assert q.take_now() is None
    q.done("a")
    assert key(q.take_now()) == "a"
    q.done("a")
    assert q.take_now() is None


def test_the_higher_priority_goes_first_then_the_older(clock: ManualClock) -> None:
    q = queue(clock)
    q.add("resync", priority=Priority.RESYNC)
    q.add("first", priority=Priority.EXTERNAL)
    clock.shift(1)
    q.add("second", priority=Priority.EXTERNAL)
    q.add("user", priority=Priority.USER)
    q.add("resync", priority=Priority.RETRY)
    assert [key(q.take_now()) for _ in range(4)] == ["user", "first", "second", "resync"]


def test_urgent_keys_are_counted_while_they_wait_and_while_they_are_worked_on(clock: ManualClock) -> None:
    q = queue(clock)
    q.add("a", priority=Priority.USER)
    q.add("later", priority=Priority.USER, after=1.0)
    q.add("raised", priority=Priority.RETRY)
    assert (q.urgent, q.urgent_active) == (1, 0)
    q.add("raised", priority=Priority.USER)
    assert q.urgent == 2
    q.take_now()
    assert (q.urgent, q.urgent_active) == (1, 1)
    q.add("a", priority=Priority.EXTERNAL)
    q.done("a")
    assert (q.urgent, q.urgent_active) == (1, 0)
    clock.shift(1.0)
    assert key(q.take_now()) == "raised"
    q.retry("raised")
    assert (q.urgent, q.urgent_active) == (1, 0), "a retry is less urgent"


def test_a_waiting_key_is_raised_by_a_higher_priority(clock: ManualClock) -> None:
    q = queue(clock)
    q.add("a", priority=Priority.RESYNC)
    q.add("b", priority=Priority.EXTERNAL)
    q.add("a", priority=Priority.USER)
    taken = q.take_now()
    assert taken is not None
    assert (taken.key, taken.priority) == ("a", Priority.USER)


def test_a_delayed_key_waits_and_the_smaller_delay_wins(clock: ManualClock) -> None:
    q = queue(clock)
    q.add("a", after=10)
    q.add("a", after=5)
    q.add("a", after=20)
    assert q.next_delay() == 5
    clock.shift(4)
    assert q.take_now() is None
    clock.shift(1)
    taken = q.take_now()
    assert taken is not None
    assert taken.waited == 0


def test_failures_back_off_up_to_the_cap_and_success_forgets(clock: ManualClock) -> None:
    q = queue(clock)
    delays = []
    for _ in range(12):
        q.add("a")
        assert key(q.take_now()) == "a"
        delays.append(q.retry("a"))
        clock.shift(400)
    assert delays[:4] == [1, 2, 4, 8]
    assert delays[-1] == 300
    assert q.failures("a") == 12
    assert key(q.take_now()) == "a"
    q.done("a")
    assert q.failures("a") == 0
    assert q.retries == 12


def test_a_fresh_edit_of_a_failing_key_does_not_wait_for_its_back_off(clock: ManualClock) -> None:
    q = queue(clock)
    q.add("a")
    q.take_now()
    q.retry("a", after=100)
    q.add("a", priority=Priority.USER)
    assert key(q.take_now()) == "a"


def test_a_discarded_key_does_not_wait_any_more(clock: ManualClock) -> None:
    q = queue(clock)
    q.add("a", priority=Priority.USER)
    q.add("b", after=1)
    q.discard("a")
    q.discard("b")
    q.discard("never added")
    clock.shift(2)
    assert (len(q), q.urgent, q.take_now()) == (0, 0, None)
    q.add("a", priority=Priority.RESYNC)
    taken = q.take_now()
    assert taken is not None
    assert taken.priority == Priority.RESYNC
    q.discard("a")
    assert q.active == 1


def test_a_pass_that_met_a_race_comes_again_at_the_priority_at_which_it_was_taken(clock: ManualClock) -> None:
    q = queue(clock)
    q.add("fresh", priority=Priority.USER)
    q.add("other", priority=Priority.EXTERNAL)
    assert key(q.take_now()) == "fresh"
    assert q.retry("fresh", after=0.2, undiminished=True) == 0.2
    clock.shift(0.3)
    assert q.depth == 2
    assert q.urgent == 1
    assert key(q.take_now()) == "fresh"


def test_requeue_after_runs_later_but_a_signal_meanwhile_runs_sooner(clock: ManualClock) -> None:
    q = queue(clock)
    q.add("a")
    q.take_now()
    q.add("a")
    q.done("a", requeue_after=60)
    assert key(q.take_now()) == "a"
    q.done("a", requeue_after=60)
    assert q.take_now() is None
    clock.shift(60)
    assert key(q.take_now()) == "a"


def test_a_paused_queue_collects_and_a_closed_one_does_not(clock: ManualClock) -> None:
    q = queue(clock)
    q.pause()
    q.add("a")
    assert q.take_now() is None
    assert "a" in q
    assert (len(q), q.depth, q.active) == (1, 1, 0)
    q.resume()
    assert key(q.take_now()) == "a"
    clock.shift(3)
    assert q.longest_running() == 3
    q.close()
    q.add("b")
    assert "b" not in q


async def test_take_waits_for_a_key_and_ends_with_the_queue(clock: ManualClock) -> None:
    q = queue(clock)
    taker = asyncio.create_task(q.take())
    await asyncio.sleep(0)
    q.add("a")
    assert key(await taker) == "a"
    ender = asyncio.create_task(q.take())
    await asyncio.sleep(0)
    q.close()
    assert await ender is None


async def test_take_wakes_for_a_delay_that_is_over() -> None:
    loop = asyncio.get_running_loop()
    q: WorkQueue[str] = WorkQueue(monotonic=loop.time, backoff=Backoff(chance=lambda: 0.0))
    q.add("a", after=0.02)
    assert key(await asyncio.wait_for(q.take(), 5)) == "a"


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "take", "done", "retry", "time"]),
        st.sampled_from("abc"),
        st.sampled_from([0.0, 0.5, 3.0]),
        st.sampled_from(list(Priority)),
    ),
    max_size=60,
)


@given(STEPS)
def test_no_key_is_lost_and_none_runs_twice_at_once(steps: list[tuple[str, str, float, Priority]]) -> None:
    clock = ManualClock()
    q = queue(clock)
    owed: set[str] = set()
    running: collections.Counter[str] = collections.Counter()
    for verb, name, seconds, priority in steps:
        match verb:
            case "add":
                q.add(name, priority=priority, after=seconds)
                owed.add(name)
            case "take":
                taken = q.take_now()
                if taken is not None:
                    running[taken.key] += 1
                    assert running[taken.key] == 1
                    owed.discard(taken.key)
            case "done" if running[name]:
                running[name] -= 1
                q.done(name, requeue_after=seconds or None)
            case "retry" if running[name]:
                running[name] -= 1
                q.retry(name)
                owed.add(name)
            case "time":
                clock.shift(seconds)
    for name in list(running.elements()):
        q.done(name)
    clock.shift(1000)
    seen = set()
    while (taken := q.take_now()) is not None:
        assert taken.key not in seen
        seen.add(taken.key)
    assert owed <= seen


def test_a_key_whose_object_is_gone_starts_its_back_off_anew(clock: ManualClock) -> None:
    q = queue(clock)
    for _ in range(3):
        q.add("a")
        clock.shift(1000)
        assert key(q.take_now()) == "a"
        q.retry("a")
    assert q.failures("a") == 3
    q.forget("a")
    clock.shift(1000)
    assert key(q.take_now()) == "a"
    assert q.retry("a") == 1.0


def test_ages_of_passes_are_told_together_and_of_the_oldest(clock: ManualClock) -> None:
    q = queue(clock)
    assert (q.unfinished(), q.longest_running()) == (0, 0)
    q.add("a")
    q.take_now()
    clock.shift(3)
    q.add("b")
    q.take_now()
    clock.shift(2)
    assert (q.unfinished(), q.longest_running()) == (7, 5)


async def test_nobody_waits_at_a_closed_queue(clock: ManualClock) -> None:
    q = queue(clock)
    q.add("a")
    q.close()
    q.add("b")
    assert await q.take() is None
    assert len(q) == 1


def test_failures_of_passes_that_signals_brought_forward_do_not_lengthen_the_back_off(clock: ManualClock) -> None:
    """A server that is away for a second, and five signals in it: the key is back a second later, not a minute."""
    q = queue(clock)
    q.add("a")
    q.take_now()
    assert q.retry("a") == 1
    for _ in range(5):
        clock.shift(0.1)
        q.add("a")
        assert q.take_now() is not None
        q.retry("a")
    assert q.failures("a") == 1
    clock.shift(0.5)
    assert q.take_now() is not None
    # that one was due: the trouble has outlasted it
    assert (q.retry("a"), q.failures("a")) == (2, 2)
    q.add("a")
    q.take_now()
    q.done("a")
    q.add("a")
    q.take_now()
    assert q.retry("a") == 1

"""A lease is always over before the servers can have ended the session."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuren.sharding.lease import Lease, seconds


@given(st.floats(0.1, 100), st.lists(st.floats(0, 1000), min_size=1))
def test_it_ends_a_third_of_the_session_before_it_could(session_seconds: float, sent: list[float]) -> None:
    """The session can end no earlier than `session_seconds` after the last answered write was sent."""
    lease = Lease()
    lease.confirm(7)
    for at in sent:
        assert lease.extend(7, sent=at, session_seconds=session_seconds)
    expires = max(sent) + session_seconds
    assert lease.until == pytest.approx(expires - session_seconds / 3)
    # a reply that is believed was asked for within the lease, and came before the session could end
    assert lease.until + Lease.reply_bound(session_seconds) <= expires * (1 + 1e-9)


def test_only_a_confirmed_session_counts() -> None:
    lease = Lease()
    assert not lease.extend(7, sent=1.0, session_seconds=9.0)
    assert not lease.extend(0, sent=1.0, session_seconds=9.0)
    lease.confirm(7)
    assert not lease.extend(8, sent=1.0, session_seconds=9.0)
    assert lease.until == 0.0
    assert lease.extend(7, sent=1.0, session_seconds=9.0)
    assert lease.until == 7.0
    lease.end()
    assert (lease.until, lease.session) == (0.0, 0)
    assert not lease.extend(7, sent=2.0, session_seconds=9.0)


def test_a_late_answer_does_not_shorten_it() -> None:
    lease = Lease()
    lease.confirm(7)
    lease.extend(7, sent=10.0, session_seconds=9.0)
    lease.extend(7, sent=5.0, session_seconds=9.0)
    assert lease.until == 16.0


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="only Linux has a clock that goes on while the machine sleeps")
def test_its_clock_is_one_that_nobody_sets_and_that_goes_on_while_the_machine_sleeps() -> None:
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= seconds() <= time.clock_gettime(time.CLOCK_BOOTTIME)

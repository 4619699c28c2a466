"""Counters over workers that come and go, and what still runs on drained servers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haproxy_room import WEB, service
from shuren.domain.haproxy.traffic import Ledger, RowType, Share, StatRow, account, counters, sessions

AT = ("shop.web:http", "a")
SHARES = {AT: Share(service=WEB, label="/shop/web"), ("shop.web:http", "b"): Share(service=WEB, label="/shop/web-new")}


def _row(name: str = "a", requests: int = 0, **more: int | str) -> StatRow:
    return StatRow(type=RowType.SERVER, proxy="shop.web:http", name=name, requests=requests, **more)  # type: ignore[arg-type]


def test_what_comes_is_added_by_label() -> None:
    ledger = account(
        Ledger(), worker=1, rows=[_row(requests=10, server_errors=1, latency=5), _row("b", requests=30, latency=9)], shares=SHARES
    )
    assert counters(ledger, WEB) == {
        "requests": 40,
        "errors": 1,
        "latencyMs": 8,
        "backends": {
            "/shop/web": {"requests": 10, "errors": 1, "latencyMs": 5},
            "/shop/web-new": {"requests": 30, "errors": 0, "latencyMs": 9},
        },
    }
    assert counters(ledger, service("other")) == {"requests": 0, "errors": 0, "latencyMs": 0, "backends": {}}


def test_a_time_without_traffic_keeps_the_latency() -> None:
    first = account(Ledger(), worker=1, rows=[_row(requests=10, latency=5)], shares=SHARES)
    assert account(first, worker=1, rows=[_row(requests=10, latency=0)], shares=SHARES).totals == first.totals


def test_rows_of_backends_and_of_nobody_do_not_count() -> None:
    rows = [StatRow(type=RowType.BACKEND, proxy="shop.web:http", name="BACKEND", requests=5), _row("unknown", requests=7)]
    assert account(Ledger(), worker=1, rows=rows, shares=SHARES).totals == {}


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5), st.booleans()), max_size=10))
def test_no_request_is_lost_or_counted_twice_over_reloads(steps: list[tuple[int, int, bool]]) -> None:
    ledger, worker, requests, errors = Ledger(), 1, 0, 0
    for more, bad, reload in steps:
        requests, errors = requests + more, errors + bad
        ledger = account(ledger, worker=worker, rows=[_row(requests=requests, connect_errors=errors)], shares=SHARES)
        if reload:
            worker, requests, errors = worker + 1, 0, 0
    total = counters(ledger, WEB)
    assert (total["requests"], total["errors"]) == (sum(s[0] for s in steps), sum(s[1] for s in steps))


DRAINING = {AT: "task-a"}


@pytest.mark.parametrize(
    ("current", "leaving", "expected"),
    [
        ([_row(sessions=2, queued=1, status="DRAIN")], [], {"task-a": 3}),
        ([_row(status="DRAIN")], [], {}),
        ([_row("b", sessions=9)], [], {}),
        ([_row(sessions=1, status="DRAIN")], [([_row(sessions=2, status="UP")], False)], {"task-a": 3}),
        ([_row(status="DRAIN")], [([_row(status="UP")], True)], {"task-a": 1}),
        ([_row(status="DRAIN")], [([_row(status="DRAIN (agent)")], True)], {}),
        ([], [([_row(status="no check")], True), ([_row(sessions=1, status="UP 1/2")], True)], {"task-a": 3}),
    ],
)
def test_sessions_of_drained_endpoints_over_all_workers(
    current: list[StatRow], leaving: list[tuple[list[StatRow], bool]], expected: dict[str, int]
) -> None:
    assert sessions(DRAINING, current, leaving) == expected

"""The checker itself: histories that are known to be good or bad, and small random ones against trying every order."""

from __future__ import annotations

import itertools
import random
from math import inf

import pytest

from linearizability import Kind, Operation, violation, violations


def _write(value: int, begin: float, end: float = inf) -> Operation:
    return Operation(kind=Kind.WRITE, value=value, begin=begin, end=end)


def _read(value: int | None, begin: float, end: float = inf) -> Operation:
    return Operation(kind=Kind.READ, value=value, begin=begin, end=end)


_GOOD = {
    "nothing happened": [],
    "one after the other": [_read(None, 0, 1), _write(1, 2, 3), _read(1, 4, 5), _write(2, 6, 7), _read(2, 8, 9)],
    "a read beside a write sees what was": [_write(1, 0, 10), _read(None, 1, 2)],
    "a read beside a write sees what comes": [_write(1, 0, 10), _read(1, 1, 2)],
    "first the new then nothing older": [_write(1, 0, 1), _write(2, 2, 20), _read(1, 3, 4), _read(2, 5, 6), _read(2, 7, 8)],
    "writes side by side in either order": [_write(1, 0, 10), _write(2, 0, 10), _read(2, 11, 12), _read(2, 13, 14)],
    "a write of unknown outcome never happened": [_write(1, 0, 1), _write(2, 2), _read(1, 3, 4), _read(1, 50, 51)],
    "a write of unknown outcome happened much later": [_write(1, 0, 1), _write(2, 2), _read(1, 3, 4), _write(3, 5, 6), _read(2, 50, 51)],
    "a read of unknown outcome says nothing": [_write(1, 0, 1), _read(7, 2)],
}
_BAD = {
    "an acknowledged write is lost": [_write(1, 0, 1), _write(2, 2, 3), _read(1, 4, 5)],
    "a stale read": [_write(1, 0, 1), _write(2, 2, 3), _read(2, 4, 5), _read(1, 6, 7)],
    "back to nothing": [_write(1, 0, 1), _read(None, 2, 3)],
    "seen and unseen": [_write(1, 0, 10), _read(1, 1, 2), _read(None, 3, 4)],
    "read before it was written": [_read(1, 0, 1), _write(1, 2, 3)],
    "read before it was written, outcome unknown": [_read(1, 0, 1), _write(1, 2)],
    "never written": [_read(9, 0, 1)],
    "two readers disagree about the order": [_write(1, 0, 10), _write(2, 0, 10), _read(1, 11, 12), _read(2, 13, 14)],
    "a write of unknown outcome happened twice": [_write(1, 0), _read(1, 1, 2), _write(2, 3, 4), _read(2, 5, 6), _read(1, 7, 8)],
}


@pytest.mark.parametrize("name", _GOOD)
def test_good(name: str) -> None:
    assert violation(_GOOD[name]) == ""


@pytest.mark.parametrize("name", _BAD)
def test_bad(name: str) -> None:
    assert violation(_BAD[name])


def test_a_value_written_twice_proves_nothing() -> None:
    with pytest.raises(ValueError, match="written more than once"):
        violation([_write(1, 0, 1), _write(1, 2, 3)])


def test_registers_are_judged_one_by_one() -> None:
    assert list(violations({"good": _GOOD["one after the other"], "bad": _BAD["a stale read"]})) == ["bad"]


def _any_order_fits(history: list[Operation]) -> bool:
    """By the definition: some subset with all of known outcome, in some order that keeps real time, is a run of a register."""
    known = [one for one in history if one.end < inf]
    unknown = [one for one in history if one.end == inf and one.kind is Kind.WRITE]
    for count in range(len(unknown) + 1):
        for more in itertools.combinations(unknown, count):
            for order in itertools.permutations([*known, *more]):
                if all(later.end >= earlier.begin for at, earlier in enumerate(order) for later in order[at + 1 :]) and _runs(order):
                    return True
    return False


def _runs(order: tuple[Operation, ...]) -> bool:
    value: object = None
    for one in order:
        if one.kind is Kind.READ and one.value != value:
            return False
        if one.kind is Kind.WRITE:
            value = one.value
    return True


@pytest.mark.parametrize("seed", range(4))
def test_it_says_what_the_definition_says(seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311
    verdicts = set()
    for _ in range(150):
        history = []
        for number in range(draw.randint(2, 6)):
            begin = float(draw.randint(0, 8))
            end = begin + draw.randint(1, 5) if draw.random() < 0.75 else inf
            history.append(_write(number, begin, end) if draw.random() < 0.5 else _read(draw.choice([None, 0, 1, 2]), begin, end))
        written = {one.value for one in history if one.kind is Kind.WRITE}
        history = [one for one in history if one.kind is Kind.WRITE or one.value in written | {None}]
        fits = _any_order_fits(history)
        verdicts.add(fits)
        assert (violation(history) == "") == fits, history
    assert verdicts == {True, False}


def test_a_long_history_takes_a_moment() -> None:
    """Five callers and 4,000 operations on one key, one in ten of unknown outcome."""
    draw = random.Random(1)  # noqa: S311
    value: int | None = None
    free_at, history, now = [0.0] * 5, [], 0.0
    for number in range(4_000):
        caller = min(range(5), key=free_at.__getitem__)
        begin = free_at[caller]
        now = max(now, begin) + 0.01
        end = now + draw.random()
        free_at[caller] = end + 0.001
        if draw.random() < 0.5:
            value = number
            history.append(_write(number, begin, end if draw.random() < 0.9 else inf))
        else:
            history.append(_read(value, begin, end))
    assert violation(history) == ""
    last = max(one.end for one in history if one.end < inf)
    assert violation([*history, _read(next(one.value for one in history if one.kind is Kind.WRITE), last + 1, last + 2)])  # type: ignore[arg-type]

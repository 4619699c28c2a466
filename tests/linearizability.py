"""Whether a recorded history of one register could have come from a register that does one thing at a time.

The search of Wing and Gong with Lowe's memory of configurations: of the operations that are open at a point of the history, one takes
effect, and what it leaves must let the rest happen. Keys of a store are independent registers (Herlihy and Wing: linearizability is local),
so a store's history is checked key by key.

Every written value is written once. An operation whose outcome is not known has no end: it may take effect at any later time or never. One
that nobody ever read is left out, since whatever holds with it holds without it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from math import inf


class Kind(Enum):
    """What was asked for."""

    READ = "read"
    WRITE = "write"


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """One call: `value` is what was written, or what the read returned. `end` is infinite when the outcome is not known."""

    kind: Kind
    value: Hashable
    begin: float
    end: float = inf
    who: str = ""

    def __str__(self) -> str:
        return f"{self.kind.value} {self.value!r} by {self.who or '?'} [{self.begin:.6f}, {self.end:.6f}]"


def violation(history: Iterable[Operation], *, initial: Hashable = None) -> str:
    """Why the history of one register is not linearizable; empty when it is."""
    given = list(history)
    writes = Counter(one.value for one in given if one.kind is Kind.WRITE)
    twice = [value for value, count in writes.items() if count > 1]
    if twice:
        raise ValueError(f"{twice[0]!r} was written more than once: nobody could tell which write a read saw")
    read = {one.value for one in given if one.kind is Kind.READ and one.end < inf}
    invented = read - set(writes) - {initial}
    if invented:
        return f"{next(iter(invented))!r} was read and never written"
    ordered = sorted(given, key=lambda one: (one.begin, one.end))
    known = [one for one in ordered if one.end < inf]
    unknown = [one for one in ordered if one.end == inf and one.kind is Kind.WRITE and one.value in read]
    furthest = _search(known, unknown, initial)
    if furthest is None:
        return ""
    return "no order explains what was seen; it fits up to here, and none of these can be next:\n  " + "\n  ".join(map(str, furthest))


def violations(histories: Mapping[str, Sequence[Operation]], *, initial: Hashable = None) -> dict[str, str]:
    """The registers whose histories are not linearizable, with why."""
    found = {key: violation(history, initial=initial) for key, history in histories.items()}
    return {key: why for key, why in found.items() if why}


@dataclass(frozen=True, slots=True)
class _Point:
    """Where a search has come to: the known operations before index `done` have taken effect, besides those in `ahead`, and the writes of
    unknown outcome in `taken`.
    """

    done: int
    ahead: frozenset[int]
    taken: frozenset[int]
    value: Hashable


def _search(known: Sequence[Operation], unknown: Sequence[Operation], initial: Hashable) -> list[Operation] | None:
    """None when there is an order; else the operations that were open where the search came furthest. Both are ordered by their begin."""
    seen: set[_Point] = set()
    stack = [_Point(0, frozenset(), frozenset(), initial)]
    best, furthest = -1, list[Operation]()
    while stack:
        at = _forward(stack.pop())
        if at.done >= len(known):
            return None
        if at in seen:
            continue
        seen.add(at)
        may = _open(known, at)
        if at.done + len(at.ahead) > best:
            best, furthest = at.done + len(at.ahead), [known[i] for i in may]
        fitting = [i for i in may if known[i].kind is Kind.READ and known[i].value == at.value]
        if fitting:
            # a read that fits takes nothing from what may follow: it can only be right to let it happen now
            stack.append(_Point(at.done, at.ahead | set(fitting), at.taken, at.value))
            continue
        # a write of unknown outcome need not take effect earlier than right before the first read of it
        wanted = {known[i].value for i in may if known[i].kind is Kind.READ}
        latest = min(known[i].end for i in may)
        for i, one in enumerate(unknown):
            if one.value in wanted and i not in at.taken and one.begin <= latest:
                stack.append(_Point(at.done, at.ahead, at.taken | {i}, one.value))
        stack.extend(_Point(at.done, at.ahead | {i}, at.taken, known[i].value) for i in reversed(may) if known[i].kind is Kind.WRITE)
    return furthest


def _forward(at: _Point) -> _Point:
    done, ahead = at.done, at.ahead
    while done in ahead:
        ahead -= {done}
        done += 1
    return _Point(done, ahead, at.taken, at.value)


def _open(known: Sequence[Operation], at: _Point) -> list[int]:
    """The operations that may take effect next: those begun before the first end of all that have not."""
    first_end, found = inf, list[int]()
    for index in range(at.done, len(known)):
        one = known[index]
        if one.begin > first_end:
            break
        if index not in at.ahead:
            found.append(index)
            first_end = min(first_end, one.end)
    return [index for index in found if known[index].begin <= first_end]

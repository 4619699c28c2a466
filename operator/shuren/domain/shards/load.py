"""The second way to balance a map: by the load that its members measure, shard by shard, instead of by counts.

Counts are exact and cost nothing to know; loads waver. So a map is left alone as long as every member is within a band, and when one is
not, it is brought well into the band before it is left alone again (hysteresis). What that costs is a budget: in one round no more than
a part of the key space changes its place, and of all changes the one comes first that takes most from the hottest member for what it
moves. (Google's Slicer, OSDI 2016, §4.4.1: moves by gain per churn, at most 9 % of the key space a round.)

A member's load is that of the shards that it leads. Handing a shard to a standby copies nothing and counts less than copying it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

from shuren.domain.shards.assignment import VACANT, Assignment
from shuren.domain.shards.shares import Finding, Shares

_SHARDS_TRIED = 8
_RECEIVERS_TRIED = 6
_LEAST_GAIN = 1e-9


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadPolicy:
    """When and how much is balanced by load. Ratios are a member's load to its fair share (by weight) of the whole.

    Balancing begins when a member is above `above` and goes on, round by round, until none is above `until`. `budget`: the part of all
    shards that may change its place in one round (one shard at least). `handover`: what handing a shard to a standby counts, in relation
    to copying it. `crowd`: no member holds more than so many times its share of replicas, however little they are asked for. `every`:
    seconds from one round to the next at least, so that members can measure what the last one has brought.
    """

    above: float = 1.25
    until: float = 1.10
    budget: float = 0.09
    handover: float = 0.25
    crowd: float = 2.0
    every: float = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Reported:
    """What a member says of the shards that it leads: their load together, and the hottest of them (`core.moves.Live`)."""

    total: float
    hottest: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Shift:
    """One shard that is to be led by another member; `copies`: which does not hold it yet."""

    slot: int
    giver: int
    receiver: int
    copies: bool
    gain: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Balance:
    """One round. `table` is what to go to; `forced` replicas had lost their holder and were placed anew, outside of the budget.

    `active` goes into the next round. `hottest` is the highest ratio, before and after. `churn` is in shards, a hand-over counting as
    `LoadPolicy.handover`.
    """

    table: Assignment
    active: bool
    shifts: tuple[Shift, ...] = ()
    forced: int = 0
    churn: float = 0.0
    hottest: tuple[float, float] = (0.0, 0.0)
    findings: tuple[Finding, ...] = ()


def weights_of(table: Assignment, reported: Mapping[int, Reported]) -> list[float]:
    """The load of each shard, from what the members that lead them say, by number.

    What a member does not name shares evenly what is left of its total. Shards of members that say nothing count as the average shard.
    """
    led: dict[int, list[int]] = {}
    for slot, member in enumerate(table.primaries):
        led.setdefault(member, []).append(slot)
    weights, known, count = [0.0] * table.slots, 0.0, 0
    silent: list[int] = []
    for member, slots in led.items():
        said = reported.get(member)
        if said is None:
            silent += slots
            continue
        named = {slot: max(0.0, said.hottest[slot]) for slot in slots if slot in said.hottest}
        others = len(slots) - len(named)
        rest = max(0.0, said.total - sum(named.values())) / others if others else 0.0
        for slot in slots:
            weights[slot] = named.get(slot, rest)
        known, count = known + sum(weights[slot] for slot in slots), count + len(slots)
    average = known / count if count else 1.0
    for slot in silent:
        weights[slot] = average
    return weights


def balance(
    table: Assignment, weights: Sequence[float], shares: Shares, policy: LoadPolicy | None = None, *, active: bool = False
) -> Balance:
    """One round for a table with the slots and replicas of `shares`. `active` is that of the round before."""
    policy = policy or LoadPolicy()
    work = _Round(table, weights, shares, policy)
    forced = work.place_anew()
    first = work.hottest()
    if first > (policy.until if active else policy.above):
        work.shift()
    last = work.hottest()
    return Balance(
        table=Assignment(replicas=table.replicas, holders=tuple(work.holders)),
        active=last > policy.until and (active or first > policy.above),
        shifts=tuple(work.shifts),
        forced=forced,
        churn=work.churn,
        hottest=(first, last),
        findings=tuple(work.findings()),
    )


class _Ranking:
    """Members in the order of a rank that changes as a round goes on: the first at any time, without a look at all of them."""

    def __init__(self, rank: Callable[[int], tuple[float, int]], members: Iterable[int]) -> None:
        self._rank = rank
        self._heap = [(rank(member), member) for member in members]
        heapify(self._heap)
        self._left_out: set[int] = set()

    def changed(self, member: int) -> None:
        """Its rank is another one. What stands there of its former ranks is passed over."""
        heappush(self._heap, (self._rank(member), member))

    def leave_out(self, member: int) -> None:
        """From now on."""
        self._left_out.add(member)

    def first(self, count: int, fits: Callable[[int], bool] = lambda _: True) -> list[int]:
        """The first ones that fit."""
        found, passed = list[int](), list[tuple[tuple[float, int], int]]()
        while self._heap and len(found) < count:
            entry = heappop(self._heap)
            rank, member = entry
            if member in self._left_out or rank != self._rank(member) or (passed and passed[-1] == entry):
                continue
            passed.append(entry)
            if fits(member):
                found.append(member)
        for entry in passed:
            heappush(self._heap, entry)
        return found


class _Round:
    """A table under way."""

    def __init__(self, table: Assignment, weights: Sequence[float], shares: Shares, policy: LoadPolicy) -> None:
        self._weights, self._shares, self._policy, self._replicas = weights, shares, policy, table.replicas
        self.holders = [member if shares.zone[member] >= 0 else VACANT for member in table.holders]
        units = {member: one.units for member, one in shares.members.items()}
        everything, total = sum(units.values()), sum(weights)
        self._fair = {member: total * unit / everything for member, unit in units.items()}
        self._room = {member: max(1, int(shares.all.high[member] * policy.crowd)) for member in units}
        self._load = dict.fromkeys(units, 0.0)
        self._led: dict[int, set[int]] = {member: set() for member in units}
        for slot, member in enumerate(self.holders[:: self._replicas]):
            if member != VACANT:
                self._lead(slot, member)
        for member in self.holders:
            if member != VACANT:
                self._room[member] -= 1
        self._hot = _Ranking(lambda member: (-self._ratio(member), 0), units)
        self._cool = _Ranking(lambda member: (self._ratio(member), 0), units)
        self._open = _Ranking(lambda member: (self._ratio(member), -self._room[member]), units)
        """The coolest first, of them those with most room."""
        self.shifts: list[Shift] = []
        self.churn = 0.0
        self._stuck: dict[int, int] = {}
        """Members that nothing can be taken from, and their heaviest shard."""

    def _changed(self, *members: int) -> None:
        for ranking in (self._hot, self._cool, self._open):
            for member in members:
                ranking.changed(member)

    def _lead(self, slot: int, member: int) -> None:
        self._led[member].add(slot)
        self._load[member] += self._weights[slot]

    def _ratio(self, member: int, more: float = 0.0) -> float:
        fair = self._fair[member]
        return (self._load[member] + more) / fair if fair > 0 else 0.0

    def hottest(self) -> float:
        """The highest ratio."""
        return max(map(self._ratio, self._load), default=0.0)

    def _row(self, slot: int) -> list[int]:
        return self.holders[slot * self._replicas : (slot + 1) * self._replicas]

    # ------------------------------------------------------------------------------------------------ what has to be

    def place_anew(self) -> int:
        """Give every replica that nobody holds to the coolest member that may hold it; first let a standby lead. Gives how many."""
        count = 0
        for slot in sorted({place // self._replicas for place, member in enumerate(self.holders) if member == VACANT}):
            base = slot * self._replicas
            if self.holders[base] == VACANT:
                heirs = [member for member in self._row(slot) if member != VACANT]
                if heirs:
                    heir = min(heirs, key=self._ratio)
                    place = self.holders.index(heir, base)
                    self.holders[base], self.holders[place] = heir, VACANT
                    self._lead(slot, heir)
                    self._changed(heir)
            for place in range(base, base + self._replicas):
                if self.holders[place] == VACANT:
                    member = self._coolest(slot)
                    if member != VACANT:
                        self.holders[place] = member
                        self._room[member] -= 1
                        count += 1
                        if place == base:
                            self._lead(slot, member)
                        self._changed(member)
        return count

    def _coolest(self, slot: int) -> int:
        fitting = self._open.first(1, lambda m: self._may_hold(m, slot, instead_of=VACANT))
        crowded = fitting or self._open.first(1, lambda m: self._may_hold(m, slot, instead_of=VACANT, crowded=True))
        return crowded[0] if crowded else VACANT

    def _may_hold(self, member: int, slot: int, *, instead_of: int, crowded: bool = False) -> bool:
        """Whether a member may hold the slot in another's place: it meets nothing there more often than it may."""
        if self._room[member] < 1 and not crowded:
            return False
        shares = self._shares
        others = [one for one in self._row(slot) if one not in {VACANT, instead_of}]
        if any(shares.zone[one] == shares.zone[member] for one in others):
            return False
        return all(sum(group in shares.uppers[one] for one in others) < shares.caps[group] for group in shares.uppers[member])

    # ------------------------------------------------------------------------------------------------ what is worth it

    def shift(self) -> None:
        """Take from the hottest member until nobody is above the band's lower edge, the budget is spent, or nothing helps any more."""
        budget, moved = max(1.0, self._policy.budget * len(self._weights)), set[int]()
        while True:
            hot = next(iter(self._hot.first(1)), VACANT)
            if hot == VACANT or self._ratio(hot) <= self._policy.until:
                return
            best = max(self._choices(hot, moved), key=lambda one: one[0], default=None)
            if best is None:
                self._hot.leave_out(hot)
                self._stuck[hot] = max(self._led[hot], key=lambda slot: (self._weights[slot], -slot), default=VACANT)
                continue
            _, cost, shift = best
            if self.churn + cost > budget:
                return
            self.churn += cost
            moved.add(shift.slot)
            self._carry_out(shift)

    def _choices(self, hot: int, moved: set[int]) -> Iterable[tuple[tuple[float, float, int, int], float, Shift]]:
        """Changes that relieve a member: (rank, churn, change). The rank is gain for churn, then the gain."""
        slots = sorted((s for s in self._led[hot] if s not in moved and self._weights[s] > 0), key=lambda s: (self._weights[s], s))
        surplus = self._load[hot] - self._fair[hot]
        near = bisect_left(slots, surplus, key=lambda s: self._weights[s])
        cool = self._cool.first(_RECEIVERS_TRIED)
        for slot in slots[max(0, near - _SHARDS_TRIED // 2) : near + _SHARDS_TRIED // 2]:
            row, weight = self._row(slot), self._weights[slot]
            for member in dict.fromkeys((*row[1:], *cool)):
                if member in {hot, VACANT}:
                    continue
                copies = member not in row
                if copies and not self._may_hold(member, slot, instead_of=hot):
                    continue
                gain = self._ratio(hot) - max(self._ratio(hot, -weight), self._ratio(member, weight))
                if gain > _LEAST_GAIN:
                    cost = 1.0 if copies else self._policy.handover
                    shift = Shift(slot=slot, giver=hot, receiver=member, copies=copies, gain=gain)
                    yield (gain / cost, gain, -slot, -member), cost, shift

    def _carry_out(self, shift: Shift) -> None:
        base = shift.slot * self._replicas
        if shift.copies:
            self._room[shift.receiver] -= 1
            self._room[shift.giver] += 1
        else:
            self.holders[self.holders.index(shift.receiver, base)] = shift.giver
        self.holders[base] = shift.receiver
        self._led[shift.giver].discard(shift.slot)
        self._load[shift.giver] -= self._weights[shift.slot]
        self._lead(shift.slot, shift.receiver)
        self._changed(shift.giver, shift.receiver)
        self.shifts.append(shift)

    def findings(self) -> Iterable[Finding]:
        """Members that are too hot because of single shards."""
        for member, slot in self._stuck.items():
            ratio = self._ratio(member)
            if ratio > self._policy.above and slot != VACANT and self._weights[slot] > self._fair[member] / 2:
                name = self._shares.members[member].known_as
                part = self._weights[slot] / self._load[member]
                message = (
                    f"member {name} has {ratio:.2f} times its share of the load, {part:.0%} of it by shard {slot}: no move helps; "
                    f"split the map or the key"
                )
                yield Finding(reason="ShardTooHot", message=message)

"""From a table to one for other members, with as few replicas moved as can be.

First in one pass: who holds too much gives to who holds too little, and whenever nothing fits any more, two moves are exchanged, which
costs nothing. With a hundred members or more that nearly always reaches the lower bound, which is then the proof. What is left over goes
along exact cheapest paths (`replica_flow`), which prove their result themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush, heapreplace
from itertools import combinations, compress
from operator import eq, ne

from shuren.domain.shards.assignment import VACANT, Assignment, resized
from shuren.domain.shards.flow import Counts, Effort, reach, settle
from shuren.domain.shards.mixing import strided
from shuren.domain.shards.replica_flow import ReplicaNetwork
from shuren.domain.shards.shares import Shares, targets

_SPARE = 8
"""Places of a giver beyond twice as many as it is to give."""
_EXCHANGES = 200
"""How many moves made are looked at for an exchange with one that does not fit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Replaced:
    """Row by row the new holders: who stays keeps its place in the row. `moves` replicas are new to their holder.

    No table needs fewer moves than `bound`; `proven`: no table needs fewer than `moves`.
    """

    holders: list[int]
    moves: int
    bound: int
    proven: bool


def replace(table: Assignment, shares: Shares, effort: Effort) -> Replaced:
    """The nearest table in which every member holds its share and nothing meets more than it may. `table` has the slots of `shares`."""
    start, counted = _resized(table, shares)
    work = _Work(start, counted, shares)
    work.give_away()
    left = work.left_over()
    proven = not left and work.moves() == work.bound
    if not proven and work.broken_up:
        exact = _exact(start, counted, shares, effort)
        if exact is not None:
            return exact
    if left:
        proven = _settle_all(work.network(work.before, begun=True), left, shares, effort) and not work.broken_up
    moves = work.moves()
    return Replaced(holders=work.holders, moves=moves, bound=work.bound, proven=proven or moves == work.bound)


def _exact(start: Sequence[int], counted: Counter[int], shares: Shares, effort: Effort) -> Replaced | None:
    """Along cheapest paths only, where rows had to be broken up: then single moves are no safe beginning. None when that takes too long."""
    work = _Work(start, counted, shares)
    network = work.network(start, begun=False)
    if settle(network, [_node(network, source, shares) for source in work.left_over()], effort):
        return None
    return Replaced(holders=work.holders, moves=work.moves(), bound=work.bound, proven=True)


def _settle_all(network: ReplicaNetwork, left: Iterable[int], shares: Shares, effort: Effort) -> bool:
    """Place what is left over. True when the result is a cheapest one, False when the effort was not enough to make sure."""
    unsettled = settle(network, [_node(network, source, shares) for source in left], effort)
    for node in unsettled:
        if not reach(network, node):
            raise AssertionError("no table fits these shares")
    return not unsettled


def _node(network: ReplicaNetwork, source: int, shares: Shares) -> int:
    return network.vacancy(source // shares.replicas) if source >= 0 else ~source


def _resized(table: Assignment, shares: Shares) -> tuple[list[int], Counter[int]]:
    """The holders of a table that are members, in rows as long as wanted, and how many each holds. Of longer rows the last go."""
    counted = Counter(table.holders)
    gone = {member for member in counted if member != VACANT and shares.zone[member] < 0}
    holders = [VACANT if member in gone else member for member in table.holders] if gone else list(table.holders)
    if table.replicas == shares.replicas:
        vacancies = counted[VACANT] + sum(counted[member] for member in gone)
        for member in gone:
            del counted[member]
        counted[VACANT] = vacancies
        return holders, counted
    holders = list(resized(Assignment(replicas=table.replicas, holders=tuple(holders)), shares.replicas).holders)
    return holders, Counter(holders)


def _wishes(counts: Iterable[int]) -> list[int]:
    """How many places to choose from, for so many to give."""
    return [2 * count + _SPARE if count else 0 for count in counts]


@dataclass(kw_only=True, slots=True)
class _Offer:
    """Places of a member that holds too much: `leading` of those that it leads are to go, otherwise some of the others."""

    leading: int
    led: list[int] = field(default_factory=list)
    others: list[int] = field(default_factory=list)


class _Receivers:
    """Who lacks replicas, the zone that lacks most first; inside a zone its members in turns, first those that may lead more slots.

    Zones are kept by the groups around them, of which there are few that a slot may meet several, but not any number of times.
    """

    def __init__(self, shares: Shares, lacking: Sequence[int], leads: Sequence[bool]) -> None:
        self._zone, self._uppers, self._caps = shares.zone, shares.uppers, shares.caps
        self._queues: dict[int, list[int]] = {}
        turn, done = sorted((m for m in shares.order if lacking[m] > 0), key=lambda member: not leads[member]), 0
        self.left = sum(lacking[member] for member in turn)
        while turn:
            for member in turn:
                self._queues.setdefault(self._zone[member], []).append(member)
            done += 1
            turn = [member for member in turn if lacking[member] > done]
        self._families: dict[tuple[int, ...], list[tuple[int, int]]] = {}
        for zone, queue in self._queues.items():
            queue.reverse()
            self._families.setdefault(self._uppers[queue[0]], []).append((-len(queue), zone))
        for family in self._families.values():
            heapify(family)
        self._only = self._families.get(()) if len(self._families) == 1 else None

    def take(self, row: Sequence[int]) -> int:
        """A receiver for a row with a vacant place; VACANT when none fits."""
        met = list(map(self._zone.__getitem__, row))
        if self._only is not None:
            member = self._take_from(self._only, met)
            self.left -= member != VACANT
            return member
        families = [family for uppers, family in self._families.items() if not uppers or self._has_room(uppers, row)]
        for family in sorted(families):
            member = self._take_from(family, met)
            if member != VACANT:
                self.left -= 1
                return member
        return VACANT

    def _take_from(self, family: list[tuple[int, int]], met: Collection[int]) -> int:
        if not family:
            return VACANT
        if family[0][1] not in met:
            return self._take_first(family)
        passed = []
        while family and family[0][1] in met:
            passed.append(heappop(family))
        member = VACANT
        if family:
            member = self._take_first(family)
        for entry in passed:
            heappush(family, entry)
        return member

    def _take_first(self, family: list[tuple[int, int]]) -> int:
        left, zone = family[0]
        if left < -1:
            heapreplace(family, (left + 1, zone))
        else:
            heappop(family)
        return self._queues[zone].pop()

    def _has_room(self, uppers: Sequence[int], row: Sequence[int]) -> bool:
        return all(sum(group in self._uppers[member] for member in row) < self._caps[group] for group in uppers)


class _Work:
    """A table under way."""

    def __init__(self, start: Sequence[int], counted: Counter[int], shares: Shares) -> None:
        self.shares, self.replicas, self.zone = shares, shares.replicas, shares.zone
        self._limited = any(shares.uppers)
        self._start = start
        self.holders = list(start)
        self._take_stock(counted)
        needed = self._needed()
        self.broken_up = self._break_up()
        if self.broken_up:
            self._take_stock(Counter(self.holders))
        self.bound = max(needed, self._vacancies) if self.broken_up else needed
        self.before = list(self.holders)
        self._held_before = list(self.held)
        self._made: list[int] = []
        self._settled = False
        led = Counter(self.holders[:: self.replicas])
        self._led = [*(led[member] for member in range(len(self.zone) - 1)), 0]
        self._to_lead = targets(shares.primary, self._led, shares.order)
        self._receivers = _Receivers(
            shares, self._lacking(), [now < high for now, high in zip(self._led, shares.primary.high, strict=True)]
        )

    def _take_stock(self, counted: Counter[int]) -> None:
        self._vacancies = counted[VACANT]
        self.held = [counted[member] for member in range(len(self.zone) - 1)]
        self.held.append(0)
        shares = self.shares
        self.target = targets(shares.all, self.held, shares.order, groups=shares.groups, room=shares.room)

    def _lacking(self) -> list[int]:
        return [wanted - now for now, wanted in zip(self.held, self.target, strict=True)]

    def _needed(self) -> int:
        """Moves that no table can do without: what nobody holds, and what members hold too much."""
        return self._vacancies + sum(now - wanted for now, wanted in zip(self.held, self.target, strict=True) if now > wanted)

    def moves(self) -> int:
        """Replicas that are new to their holder."""
        if not self.broken_up and not self._settled:
            return len(self._made)
        count = self.replicas
        slots = {place // count for place in compress(range(len(self.holders)), map(ne, self._start, self.holders))}
        rows = ((self._start[slot * count : slot * count + count], self.holders[slot * count : slot * count + count]) for slot in slots)
        return sum(member not in old for old, new in rows for member in new if member != VACANT)

    # ------------------------------------------------------------------------------------------------ what may not stay together

    def _break_up(self) -> bool:
        """Take replicas away where a slot meets something more often than it may; first from who holds too much. Whether there were any."""
        over = [now - wanted for now, wanted in zip(self.held, self.target, strict=True)]
        slots = self._crowded()
        for slot in slots:
            base = slot * self.replicas
            places = [place for place in range(base, base + self.replicas) if self.holders[place] != VACANT]
            for place in sorted(places, key=lambda place: -over[self.holders[place]]):
                member = self.holders[place]
                self.holders[place] = VACANT
                if self._fits(member, base):
                    self.holders[place] = member
                else:
                    over[member] -= 1
        return bool(slots)

    def _crowded(self) -> list[int]:
        """The slots that meet something too often."""
        zones = list(map(self.zone.__getitem__, self.holders))
        columns = [zones[column :: self.replicas] for column in range(self.replicas)]
        slots: set[int] = set()
        for one, other in combinations(columns, 2):
            slots.update(slot for slot in compress(range(len(one)), map(eq, one, other)) if one[slot] >= 0)
        if self._limited:
            caps = self.shares.caps
            for slot in range(self.shares.slots):
                row = self.holders[slot * self.replicas : (slot + 1) * self.replicas]
                met = Counter(group for member in row for group in self.shares.uppers[member])
                if any(count > caps[group] for group, count in met.items()):
                    slots.add(slot)
        return sorted(slots)

    def _fits(self, member: int, base: int) -> bool:
        """Whether a member may hold a replica of the slot that begins at `base`, beside those that hold one."""
        row = self.holders[base : base + self.replicas]
        zone = self.zone[member]
        if any(self.zone[other] == zone for other in row):
            return False
        caps, uppers = self.shares.caps, self.shares.uppers
        return all(sum(group in uppers[other] for other in row) < caps[group] for group in uppers[member])

    # ------------------------------------------------------------------------------------------------ single moves

    def give_away(self) -> None:
        """Move what can be moved by single moves and exchanges of them."""
        vacant = strided(self._vacant())
        leading = [place for place in vacant if place % self.replicas == 0]
        late = [place for place in (*leading, *(p for p in vacant if p % self.replicas)) if not self._fill(place)]
        for giver, offer in self._offers().items():
            late += self._give(giver, offer)
        for place in late:
            self._exchange(place)

    def _vacant(self) -> list[int]:
        """Places that nobody holds."""
        places, at = list[int](), -1
        for _ in range(self.holders.count(VACANT) if self._vacancies else 0):
            at = self.holders.index(VACANT, at + 1)
            places.append(at)
        return places

    def _offers(self) -> dict[int, _Offer]:
        """Some places of each member that holds too much: enough to choose from."""
        over = [max(0, now - wanted) for now, wanted in zip(self.held, self.target, strict=True)]
        if not any(over):
            return {}
        too_many = [max(0, now - wanted) for now, wanted in zip(self._led, self._to_lead, strict=True)]
        leading = list(map(min, over, too_many))
        offers = {m: _Offer(leading=leading[m]) for m in self.shares.order if over[m]}
        self._collect(0, _wishes(leading), {member: offer.led for member, offer in offers.items()})
        wishes, others = _wishes(over), {member: offer.others for member, offer in offers.items()}
        for column in (*range(1, self.replicas), 0):
            self._collect(column, wishes, others)
        return offers

    def _collect(self, column: int, wishes: list[int], into: Mapping[int, list[int]]) -> None:
        """Places of a column for those who wish for some, in their order; what could be had is taken from `wishes`."""
        wishing = sum(map(bool, wishes))
        for place, member in zip(range(column, len(self.holders), self.replicas), self.holders[column :: self.replicas], strict=True):
            if wishes[member]:
                into[member].append(place)
                wishes[member] -= 1
                if not wishes[member]:
                    wishing -= 1
                    if not wishing:
                        return

    def _fill(self, place: int) -> bool:
        """Give a vacant place to a receiver that its slot may meet."""
        base = place - place % self.replicas
        member = self._receivers.take(self.holders[base : base + self.replicas])
        if member == VACANT:
            return False
        self.holders[place] = member
        self.held[member] += 1
        self._made.append(place)
        return True

    def _give(self, giver: int, offer: _Offer) -> list[int]:
        """Move as many of the giver's replicas as it holds too many; gives back places of which one should have moved and could not."""
        end = self.held[giver] - offer.leading
        refused = []
        for place in offer.led:
            if self.held[giver] <= end:
                break
            if not self._hand_over(giver, place):
                refused.append(place)
        for place in dict.fromkeys((*offer.others, *offer.led)):
            if self.held[giver] <= self.target[giver]:
                break
            if self.holders[place] == giver and not self._hand_over(giver, place):
                refused.append(place)
        return refused if self.held[giver] > self.target[giver] else []

    def _hand_over(self, giver: int, place: int) -> bool:
        self.holders[place] = VACANT
        if self._fill(place):
            self.held[giver] -= 1
            return True
        self.holders[place] = giver
        return False

    def _exchange(self, place: int) -> bool:
        """Free a place for its slot's sake: a move already made goes to a waiting receiver instead, and its former receiver comes here."""
        giver = self.holders[place]
        if not self._receivers.left or (giver != VACANT and self.held[giver] <= self.target[giver]):
            return False
        base = place - place % self.replicas
        self.holders[place] = VACANT
        for made in strided(self._made[-_EXCHANGES:]):
            moved = self.holders[made]
            if made - made % self.replicas == base or not self._fits(moved, base):
                continue
            self.holders[made] = VACANT
            self.held[moved] -= 1
            if self._fill(made):
                self.holders[place] = moved
                self.held[moved] += 1
                if giver != VACANT:
                    self.held[giver] -= 1
                return True
            self.holders[made] = moved
            self.held[moved] += 1
        self.holders[place] = giver
        return False

    # ------------------------------------------------------------------------------------------------ what is left over

    def left_over(self) -> list[int]:
        """Places that nobody holds, and `~member` as often as a member still holds too much."""
        if not self._receivers.left:
            return []
        return self._vacant() + [~m for m, now in enumerate(self.held) for _ in range(now - self.target[m])]

    def network(self, before: Sequence[int], *, begun: bool) -> ReplicaNetwork:
        """The network to settle it in."""
        self._settled = True
        bands = self.shares.all
        first = Counts(bands, self._held_before, self.target) if begun else None
        return ReplicaNetwork(self.shares, before, self.holders, Counts(bands, self.held, self.target), begun=first)

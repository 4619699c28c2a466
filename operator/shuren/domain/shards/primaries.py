"""Which holder of each slot leads it: every member leads its part of the slots, and as few slots as can be change hands.

As with replicas: one pass first, then exact cheapest paths for what is left over. Changing the primary to another holder copies nothing, so
replicas are placed first and primaries chosen among them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress, pairwise
from operator import ne

from shuren.domain.shards.assignment import VACANT, Assignment
from shuren.domain.shards.flow import UNREACHED, Counts, Effort, reach, settle
from shuren.domain.shards.mixing import strided
from shuren.domain.shards.shares import Shares, targets

_SOME = 8
"""So large a part of what is still worth a look may be reached before a search looks it over."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Led:
    """The same rows, the primary first in each. `changed` slots have another primary than before; no choice changes fewer than `bound`.

    `proven`: no choice among these holders changes fewer than `changed`.
    """

    holders: list[int]
    changed: int
    bound: int
    proven: bool


def lead(holders: list[int], former: Assignment | None, shares: Shares, effort: Effort) -> Led:
    """Choose primaries for rows of holders; `former` is the table before."""
    work = _Work(holders, former, shares)
    bound = work.needed()
    work.give_away()
    left = work.left_over()
    changed = work.changed()
    proven = not left and changed == bound
    if left:
        network = PrimaryNetwork(work)
        unsettled = settle(network, [network.vacancy(source) if source >= 0 else ~source for source in left], effort)
        proven = not unsettled
        for node in unsettled:
            if not reach(network, node):
                raise AssertionError("no choice of primaries fits these shares")
        changed = work.changed()
    return Led(holders=work.rows(), changed=changed, bound=bound, proven=proven or changed == bound)


class _Work:
    """A choice under way. `leads` is the primary of each slot, VACANT while there is none."""

    def __init__(self, holders: list[int], former: Assignment | None, shares: Shares) -> None:
        self._former, self._members, self.bands = former, shares.members, shares.primary
        self.holders, self.replicas, self.order = holders, shares.replicas, shares.order[::-1]
        self.leads = holders[:: self.replicas]
        self.before: Sequence[int] = former.primaries if former is not None else [VACANT] * len(self.leads)
        self.open: list[int] = []
        for slot in compress(range(len(self.leads)), map(ne, self.leads, self.before)):
            if self.before[slot] in self.row(slot):
                self.leads[slot] = self.before[slot]
            else:
                self.open.append(slot)
                self.leads[slot] = VACANT
        counted = Counter(self.leads)
        self.held = [*(counted[member] for member in range(len(shares.zone) - 1)), 0]
        self.held_at_first = list(self.held)
        # Odd slots that may still be taken; below 0: so many members lead an odd one too many.
        self.odd = shares.primary.extras[0] - sum(now >= high > low for now, low, high in self._counts())
        self._given: dict[int, list[int]] = {}
        self._dead: set[int] = set()

    def _counts(self) -> Iterator[tuple[int, int, int]]:
        return zip(self.held, self.bands.low, self.bands.high, strict=True)

    def row(self, slot: int) -> Sequence[int]:
        """The holders of a slot."""
        return self.holders[slot * self.replicas : (slot + 1) * self.replicas]

    def needed(self) -> int:
        """Slots that must change hands whatever is chosen."""
        return len(self.open) + sum(now - high for now, _, high in self._counts() if now > high) + max(0, -self.odd)

    def changed(self) -> int:
        """Slots that have another primary than before."""
        return sum(map(ne, self.leads, self.before))

    # ------------------------------------------------------------------------------------------------ single changes

    def give_away(self) -> None:
        """Give slots without a primary, and those of members that lead too many, to holders that lead too few."""
        late = [slot for slot in self.open if not self._give(slot, self._heirs(slot)) and not self._give(slot, self.row(slot))]
        if self.odd < 0 or any(now > high for now, _, high in self._counts()):
            givers = {m for m, (now, low, high) in enumerate(self._counts()) if now > high or (self.odd < 0 and now == high > low)}
            led = strided([slot for slot, member in enumerate(self.leads) if member in givers])
            late += [slot for slot in led if self._too_many(self.leads[slot]) and not self._give(slot, self.row(slot))]
        for slot in late:
            if self.leads[slot] == VACANT or self._too_many(self.leads[slot]):
                self._make_room(slot)

    def _too_many(self, member: int) -> bool:
        low, high = self.bands.low[member], self.bands.high[member]
        return self.held[member] > high or (self.odd < 0 and self.held[member] == high > low)

    def _wants(self, member: int) -> int:
        """How much a member wants another slot; 0: it may not have one."""
        lacking = self.bands.low[member] - self.held[member]
        if lacking >= 0:
            return lacking + 1 if lacking or (self.odd > 0 and self.bands.high[member] > self.bands.low[member]) else 0
        return 0

    def _give(self, slot: int, heirs: Sequence[int]) -> bool:
        """Let the heir lead the slot that wants it most, if any does."""
        heir = max(heirs, key=self._wants)
        if not self._wants(heir):
            return False
        self._hand_over(slot, heir)
        return True

    def _heirs(self, slot: int) -> Sequence[int]:
        """Who comes first as the next primary: where the former one is gone, a holder that has the slot's data already."""
        if self._former is None or self.before[slot] in self._members:
            return self.row(slot)
        former = self._former.row(slot)
        return [member for member in self.row(slot) if member in former] or self.row(slot)

    def _hand_over(self, slot: int, heir: int) -> None:
        giver = self.leads[slot]
        if giver != VACANT:
            self._count(giver, -1)
        self._count(heir, 1)
        self.leads[slot] = heir
        self._given.setdefault(heir, []).append(slot)

    def _count(self, member: int, by: int) -> None:
        low, high = self.bands.low[member], self.bands.high[member]
        had = self.held[member] >= high > low
        self.held[member] += by
        self.odd += had - (self.held[member] >= high > low)

    def _make_room(self, slot: int) -> bool:
        """Give a slot to a holder that passes on another one which it got just now, and so on to one that wants it; that costs nothing.

        Members from which no way was found are passed over from then on: there will be none (as in Kuhn's matching algorithm).
        """
        came_from = {m: (slot, VACANT) for m in self.row(slot) if m not in self._dead and m != self.leads[slot]}
        end = next(filter(self._wants, came_from), VACANT)
        waiting = list(came_from)
        for member in waiting:
            if end != VACANT:
                self._pass_on(end, came_from)
                return True
            end = self._further(member, came_from, waiting)
        if end != VACANT:
            self._pass_on(end, came_from)
            return True
        self._dead.update(waiting)
        return False

    def _further(self, member: int, came_from: dict[int, tuple[int, int]], waiting: list[int]) -> int:
        """Those to whom a member could pass on what it was given, into `waiting`; the first who wants it, or VACANT."""
        dead, count = self._dead, self.replicas
        for given in self._given.get(member, ()):
            if self.leads[given] == member:
                for other in self.holders[given * count : given * count + count]:
                    if other not in came_from and other not in dead:
                        came_from[other] = (given, member)
                        if self._wants(other):
                            return other
                        waiting.append(other)
        return VACANT

    def _pass_on(self, member: int, came_from: Mapping[int, tuple[int, int]]) -> None:
        while member != VACANT:
            slot, member_before = came_from[member]
            self._hand_over(slot, member)
            member = member_before

    # ------------------------------------------------------------------------------------------------ what is left over

    def target(self) -> list[int]:
        """How many slots each member is to lead: as it does now, unless it may not."""
        return targets(self.bands, self.held, self.order)

    def left_over(self) -> list[int]:
        """Slots without a primary, and `~member` as often as a member still leads too many."""
        open_slots = [slot for slot in self.open if self.leads[slot] == VACANT]
        return open_slots + [~m for m, (now, wanted) in enumerate(zip(self.held, self.target(), strict=True)) for _ in range(now - wanted)]

    def rows(self) -> list[int]:
        """The rows with the primary first in each."""
        holders, count = self.holders, self.replicas
        for slot in compress(range(len(self.leads)), map(ne, self.leads, holders[::count])):
            first, place = slot * count, holders.index(self.leads[slot], slot * count)
            holders[first], holders[place] = holders[place], holders[first]
        return holders


class PrimaryNetwork:
    """Members, and the pool of odd slots: a member hands a slot on to another of its holders. Changes the choice in place.

    A slot is a node only while nobody leads it. Else an arc from member to member stands for the slots that could take that way, and the
    cheapest of them is looked for when it is taken.
    """

    def __init__(self, work: _Work) -> None:
        self._work = work
        self.counts = Counts(work.bands, work.held, work.target())
        first = targets(work.bands, work.held_at_first, work.order)
        members, pools = Counts(work.bands, work.held_at_first, first).over_everywhere()
        self._pool = self.counts.size
        self.sink = self._pool + 1
        self._slot_base = self.sink + 1
        self._potential = [0 if member in members else 1 for member in range(self._pool)] + [0 if pools else 1, 1]
        self._of_vacancies: dict[int, int] = {}
        self._distance: Mapping[int, int] = {}
        self._unknown = UNREACHED
        self._far: dict[int, tuple[set[int], int]] = {}
        # Slots that a member leads as before, and those that it has from somebody else: handing one of these on costs nothing more.
        self._kept: list[set[int]] = [set() for _ in range(self.counts.size)]
        self._taken: list[set[int]] = [set() for _ in range(self.counts.size)]
        for slot, member in enumerate(work.leads):
            self._kept[member].add(slot)
        for slot in compress(range(len(work.leads)), map(ne, work.leads, work.before)):
            self._kept[work.leads[slot]].discard(slot)
            self._taken[work.leads[slot]].add(slot)
        self._near: dict[int, set[int]] = {}

    def vacancy(self, slot: int) -> int:
        """The node of a slot that lacks a primary."""
        return self._slot_base + slot

    def begin(self, distance: Mapping[int, int], *, unknown: int = UNREACHED) -> None:
        """See Network."""
        self._distance, self._unknown, self._far = distance, unknown, {}

    def arcs(self, node: int) -> Iterable[tuple[int, int]]:
        """See Network."""
        if node < self._pool:
            return self._from_member(node)
        if node == self._pool:
            return [(member, 0) for member in self.counts.takers[0]]
        slot = node - self._slot_base
        return [(member, self._cost(slot, member)) for member in self._work.row(slot)]

    def _cost(self, slot: int, member: int) -> int:
        return 0 if member == self._work.before[slot] else 1

    def _from_member(self, member: int) -> Iterator[tuple[int, int]]:
        if self.counts.held[member] < self.counts.low[member]:
            yield self.sink, 0
        elif self.counts.odd(member):
            yield self.sink if self.counts.left[0] > 0 else self._pool, 0
        for slot in self._taken[member]:
            for other in self._work.row(slot):
                if other != member:
                    yield other, self._cost(slot, other) - 1
        far = self._brought_nearer(self._distance.get(member, 0) + self._potential[member] + 1)
        if far:
            for other in self._neighbours(member) & far:
                yield other, 1

    def _neighbours(self, member: int) -> set[int]:
        """Those who hold a slot that the member leads as before."""
        found = self._near.get(member)
        if found is None:
            found = self._near[member] = set().union(*map(self._work.row, self._kept[member]))
            found.discard(member)
        return found

    def _brought_nearer(self, cost: int) -> set[int]:
        """The members that this search has reached at no such cost yet: only they are worth a look.

        Looked over anew when the search has come some way further; until then some may be in it that were reached.
        """
        known, unknown, potential = self._distance, self._unknown, self._potential
        far, seen = self._far.get(cost, (None, 0))
        if far is None or (far and len(known) > seen + len(far) // _SOME):
            candidates = far if far is not None else self._work.order
            far = {m for m in candidates if known.get(m, unknown) + potential[m] > cost}
            self._far[cost] = far, len(known)
        return far

    def potential(self, node: int) -> int:
        """See Network."""
        return self._potential[node] if node <= self.sink else self._of_vacancies.get(node, 0)

    def raise_potential(self, node: int, by: int) -> None:
        """See Network."""
        if node <= self.sink:
            self._potential[node] += by
        else:
            self._of_vacancies[node] = self._of_vacancies.get(node, 0) + by

    def push(self, path: Sequence[int]) -> None:
        """See Network."""
        counts = self.counts
        for node, after in pairwise(path):
            if node > self.sink:
                self._hand_over(node - self._slot_base, VACANT, after)
            elif node == self._pool:
                counts.grant(after, granted=False)
            elif after < self._pool:
                self._hand_over(self._cheapest(node, after), node, after)
            elif counts.held[node] > counts.low[node]:
                # not one that it lacked, so an odd one, from another or of those that nobody has
                counts.grant(node, granted=True)
                counts.left[0] -= after == self.sink

    def _cheapest(self, member: int, other: int) -> int:
        """The slot that goes from one member to another at the least cost."""
        fitting = [slot for slot in self._taken[member] if other in self._work.row(slot)]
        if fitting:
            return min(fitting, key=lambda slot: (self._cost(slot, other), slot))
        return min(slot for slot in self._kept[member] if other in self._work.row(slot))

    def _hand_over(self, slot: int, giver: int, member: int) -> None:
        if giver != VACANT:
            self.counts.held[giver] -= 1
        self.counts.held[member] += 1
        self._work.leads[slot] = member
        for one in (giver, member):
            self._kept[one].discard(slot)
            self._taken[one].discard(slot)
            self._near.pop(one, None)
        (self._kept if member == self._work.before[slot] else self._taken)[member].add(slot)

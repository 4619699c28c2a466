"""The network of replicas: slots, the zones and groups in which a slot may meet members, and the members.

A slot is the root of a small tree: groups that it may meet several times, under them zones that it may meet once. A unit at a slot may go
to any zone that the slot does not meet; a unit at an occupied zone may be given to another member of the zone, or go up to the slot.

Nothing is stored per pair of slot and member, and nothing at all for a slot that holds what it held before: every way out of it costs 1, so
its nodes have the potentials of its members, and a search looks at one only where it brings a zone nearer. That keeps a search over 65,536
slots about as long as one over the members and the slots that change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import compress, pairwise
from operator import ne

from shuren.domain.shards.assignment import VACANT
from shuren.domain.shards.flow import UNREACHED, Counts
from shuren.domain.shards.shares import Shares


class ReplicaNetwork:
    """A table under way from `before` to one in which all members hold what they should. Changes `holders` in place.

    Both name only members and VACANT. With `begun` (who held how much at first), `holders` came from `before` by moves that each cost 1,
    and nothing in `before` meets more than it may; without, `holders` is `before` less what may not stay.
    """

    def __init__(self, shares: Shares, before: Sequence[int], holders: list[int], counts: Counts, *, begun: Counts | None) -> None:
        self.shares, self.before, self.holders, self.counts = shares, before, holders, counts
        self.replicas = shares.replicas
        self.holding: list[set[int]] = [set() for _ in range(counts.size)]
        for place, member in enumerate(holders):
            if member != VACANT:
                self.holding[member].add(place)
        places = range(len(holders))
        self._touched = {place // self.replicas for place in compress(places, map(ne, before, holders))}
        self._touched.update(place // self.replicas for place in compress(places, map(VACANT.__eq__, before)))
        self._members_of: list[list[int]] = [[] for _ in range(shares.zones)]
        self._uppers_of: list[tuple[int, ...]] = [()] * shares.zones
        for member in shares.members:
            self._members_of[shares.zone[member]].append(member)
            self._uppers_of[shares.zone[member]] = shares.uppers[member]
        self._plain = not any(self._uppers_of)
        # Nodes in this order: members, zones, pools, the sink; slots, groups met by slots, zones met by slots.
        self._zone_base = counts.size
        self._pool_base = self._zone_base + shares.zones
        self.sink = self._pool_base + len(counts.left)
        self._slot_base = self.sink + 1
        self._upper_base = self._slot_base + shares.slots
        self._met_base = self._upper_base + shares.slots * len(shares.caps)
        self._distance: Mapping[int, int] = {}
        self._unknown = UNREACHED
        self._sources = begun.over_everywhere() if begun is not None else None
        self._level = [self._first_level(node) for node in range(self._slot_base)]
        self._first_levels = [*self._level[: counts.size - 1], 0] if begun is not None else []
        self._own: dict[int, int] = {}
        self._settled_slots: set[int] = set()

    def vacancy(self, slot: int) -> int:
        """The node of a slot that lacks a replica."""
        return self._slot_base + slot

    def begin(self, distance: Mapping[int, int], *, unknown: int = UNREACHED) -> None:
        """See Network."""
        self._distance, self._unknown = distance, unknown

    # ------------------------------------------------------------------------------------------------ arcs

    def arcs(self, node: int) -> Iterable[tuple[int, int]]:
        """See Network."""
        if node < self._zone_base:
            return self._from_member(node)
        if node < self._pool_base:
            return [(member, 0) for member in self._members_of[node - self._zone_base]]
        if node < self.sink:
            pool = node - self._pool_base
            return [(self.sink, 0)] if self.counts.left[pool] > 0 else [(member, 0) for member in self.counts.takers[pool]]
        if node < self._upper_base:
            return self._down(node, node - self._slot_base, None)
        if node < self._met_base:
            slot, group = divmod(node - self._upper_base, len(self.shares.caps))
            return [*self._down(node, slot, group), (self._above(slot, self._chain(group)), 0)]
        return self._from_met_zone(*divmod(node - self._met_base, self.shares.zones))

    def _from_member(self, member: int) -> Iterator[tuple[int, int]]:
        counts = self.counts
        if counts.held[member] < counts.low[member]:
            yield self.sink, 0
        elif counts.odd(member):
            yield self._pool_base + counts.pool[member], 0
        zone = self.shares.zone[member]
        nearer = self._brought_nearer(member)
        for place in self.holding[member]:
            slot = place // self.replicas
            if slot in self._touched:
                yield self._met(slot, zone), 0 if self._was_here(slot, member) else -1
            elif nearer:
                entered = self._open_to(slot, member, nearer)
                if entered:
                    nearer -= entered
                    yield self._met(slot, zone), 0

    def _brought_nearer(self, member: int) -> set[int]:
        """The zones that an untouched slot of a member could bring nearer."""
        length = self._distance.get(member, 0) + self.potential(member) + 1
        base, known = self._zone_base, self._distance
        return {zone for zone in range(self.shares.zones) if length - self.potential(base + zone) < known.get(base + zone, self._unknown)}

    def _open_to(self, slot: int, member: int, zones: set[int]) -> set[int]:
        """Those of some zones that a slot may meet in place of a member of its own."""
        others = [other for other in self._row(slot) if other != member]
        met = {self.shares.zone[other] for other in others}
        if self._plain:
            return zones - met
        meets, caps = self._meets(others), self.shares.caps
        return {z for z in zones - met if all(meets.get(group, 0) < caps[group] for group in self._uppers_of[z])}

    def _from_met_zone(self, slot: int, zone: int) -> Iterator[tuple[int, int]]:
        yield self._zone_base + zone, 1
        if slot in self._touched:
            row = self._row(slot)
            for member in self._row(slot, before=True):
                if member != VACANT and self.shares.zone[member] == zone and member not in row:
                    yield member, 0
        yield self._above(slot, self._uppers_of[zone]), 0

    def _down(self, node: int, slot: int, group: int | None) -> Iterator[tuple[int, int]]:
        """From a slot, or a group in it, to the zones that the slot does not meet and the groups that have room."""
        row = self._row(slot)
        met = {self.shares.zone[member] for member in row}
        if self._plain:
            free = [zone for zone in range(self.shares.zones) if zone not in met]
        else:
            for upper, count in self._meets(row).items():
                if upper != group and count < self.shares.caps[upper] and self._above(slot, self._chain(upper)) == node:
                    yield self._upper(slot, upper), 0
            free = [z for z in range(self.shares.zones) if z not in met and self._above(slot, self._uppers_of[z]) == node]
        for zone in free:
            yield self._zone_base + zone, 1
        if slot in self._touched:
            for member in self._row(slot, before=True):
                if member != VACANT and self.shares.zone[member] in free:
                    yield member, 0

    # ------------------------------------------------------------------------------------------------ the tree of a slot

    def _row(self, slot: int, *, before: bool = False) -> Sequence[int]:
        return (self.before if before else self.holders)[slot * self.replicas : (slot + 1) * self.replicas]

    def _was_here(self, slot: int, member: int) -> bool:
        return member in self._row(slot, before=True)

    def _met(self, slot: int, zone: int) -> int:
        return self._met_base + slot * self.shares.zones + zone

    def _upper(self, slot: int, group: int) -> int:
        return self._upper_base + slot * len(self.shares.caps) + group

    def _meets(self, row: Sequence[int]) -> Mapping[int, int]:
        """How often a row meets each of the groups that it may meet several times."""
        counted: dict[int, int] = {}
        for member in row:
            for group in self.shares.uppers[member]:
                counted[group] = counted.get(group, 0) + 1
        return counted

    def _chain(self, group: int) -> tuple[int, ...]:
        """The groups around a group, the outermost first."""
        uppers = next(uppers for uppers in self._uppers_of if group in uppers)
        return uppers[: uppers.index(group)]

    def _above(self, slot: int, uppers: Sequence[int], row: Sequence[int] | None = None) -> int:
        """The innermost of some groups that the slot (or a row) meets, else the slot."""
        if uppers:
            meets = self._meets(self._row(slot) if row is None else row)
            for group in reversed(uppers):
                if group in meets:
                    return self._upper(slot, group)
        return self._slot_base + slot

    # ------------------------------------------------------------------------------------------------ potentials

    def potential(self, node: int) -> int:
        """See Network."""
        if node < self._slot_base:
            return self._level[node]
        own = self._own.get(node)
        if own is not None:
            return own
        slot = self._slot_of(node)
        if slot in self._settled_slots:
            return self.potential(self._over(node, slot, self._row(slot)))
        if slot not in self._touched:
            return self._follows(node, slot, self._row(slot), self._level)
        return self._follows(node, slot, self._row(slot, before=True), self._first_levels) if self._sources is not None else 0

    def raise_potential(self, node: int, by: int) -> None:
        """See Network. Nodes of untouched slots follow their members."""
        if node < self._slot_base:
            self._level[node] += by
        elif self._slot_of(node) in self._touched:
            self._settle(self._slot_of(node))
            self._own[node] += by

    def _first_level(self, node: int) -> int:
        """The cost from where units were left over at first, at most 1: what the single moves made before were along."""
        if self._sources is None:
            return 0
        members, pools = self._sources
        return 0 if node in members or node - self._pool_base in pools else 1

    def _follows(self, node: int, slot: int, row: Sequence[int], levels: Sequence[int]) -> int:
        """What a node of a slot with this row gets from the members in it."""
        if node < self._upper_base:
            return min(levels[member] for member in row)
        if node < self._met_base:
            group = (node - self._upper_base) % len(self.shares.caps)
            inside = [levels[member] for member in row if group in self.shares.uppers[member]]
            full = len(inside) >= self.shares.caps[group]
        else:
            zone = (node - self._met_base) % self.shares.zones
            inside = [levels[member] for member in row if self.shares.zone[member] == zone]
            full = bool(inside)
        return min(inside) if full else self._follows(self._over(node, slot, row), slot, row, levels)

    def _over(self, node: int, slot: int, row: Sequence[int]) -> int:
        """The node over a zone or group of a slot."""
        if node < self._met_base:
            return self._above(slot, self._chain((node - self._upper_base) % len(self.shares.caps)), row)
        return self._above(slot, self._uppers_of[(node - self._met_base) % self.shares.zones], row)

    def _slot_of(self, node: int) -> int:
        if node < self._upper_base:
            return node - self._slot_base
        if node < self._met_base:
            return (node - self._upper_base) // len(self.shares.caps)
        return (node - self._met_base) // self.shares.zones

    def _settle(self, slot: int) -> None:
        """Give all nodes of a slot potentials of their own, those that they have."""
        if slot not in self._settled_slots:
            self._own.update({node: self.potential(node) for node in self._nodes(slot, self._row(slot))})
            self._settled_slots.add(slot)

    def _nodes(self, slot: int, row: Sequence[int]) -> list[int]:
        """A slot and what it meets."""
        zones = [self._met(slot, self.shares.zone[member]) for member in row if member != VACANT]
        return [self._slot_base + slot, *zones, *(self._upper(slot, group) for group in self._meets(row))]

    # ------------------------------------------------------------------------------------------------ changes

    def push(self, path: Sequence[int]) -> None:
        """See Network. A member on the path takes the place that is free, and frees one of its own, or hands its extra one on."""
        free = self.holders.index(VACANT, (path[0] - self._slot_base) * self.replicas) if path[0] >= self._slot_base else None
        fills: list[tuple[int, int]] = []
        for node, after in pairwise(path):
            if node < self._zone_base:
                if free is not None:
                    fills.append((free, node))
                    self.counts.held[node] += 1
                    free = None
                if after >= self._met_base:
                    free = self.holders.index(node, (after - self._met_base) // self.shares.zones * self.replicas)
                    self.counts.held[node] -= 1
                elif after != self.sink:
                    self.counts.grant(node, granted=True)
            elif self._pool_base <= node < self.sink:
                if after == self.sink:
                    self.counts.left[node - self._pool_base] -= 1
                else:
                    self.counts.grant(after, granted=False)
        for slot in {place // self.replicas for place, _ in fills}:
            self._fill(slot, [(place, member) for place, member in fills if place // self.replicas == slot])

    def _fill(self, slot: int, fills: Sequence[tuple[int, int]]) -> None:
        self._settle(slot)
        row = list(self._row(slot))
        for place, member in fills:
            row[place % self.replicas] = member
        kept = {node: self.potential(node) for node in self._nodes(slot, row)}
        for node in self._nodes(slot, self._row(slot)):
            del self._own[node]
        self._own.update(kept)
        self._touched.add(slot)
        for place, member in fills:
            former = self.holders[place]
            if former != VACANT:
                self.holding[former].discard(place)
            self.holders[place] = member
            self.holding[member].add(place)

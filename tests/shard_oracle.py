"""The fewest moves of any table, found the plain way: the whole network written out, and cheapest paths by Bellman and Ford.

Shares nothing with the product's own flows but the shares of members: slow, and short enough to be seen to be right.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence

from shuren.domain.shards.assignment import Assignment
from shuren.domain.shards.shares import Shares

_MUST = 1_000
"""What it is worth that a member holds what it has to hold at least: more than all moves together."""


class Flow:
    """A network of arcs with a capacity and a cost for each unit."""

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}
        self._out: list[list[int]] = []
        self._ends: list[int] = []
        self._left: list[int] = []
        self._costs: list[int] = []

    def arc(self, begin: Hashable, end: Hashable, capacity: int, cost: int = 0) -> None:
        for one, other, left, paid in ((begin, end, capacity, cost), (end, begin, 0, -cost)):
            self._out[self._node(one)].append(len(self._ends))
            self._ends.append(self._node(other))
            self._left.append(left)
            self._costs.append(paid)

    def cheapest(self, begin: Hashable, end: Hashable) -> tuple[int, int]:
        """Units and cost of a largest flow that costs least."""
        source, sink, units, cost = self._node(begin), self._node(end), 0, 0
        while True:
            distance: list[float] = [float("inf")] * len(self._out)
            arriving = [-1] * len(self._out)
            distance[source] = 0
            waiting = deque([source])
            while waiting:
                node = waiting.popleft()
                for arc in self._out[node]:
                    end_node, length = self._ends[arc], distance[node] + self._costs[arc]
                    if self._left[arc] and length < distance[end_node]:
                        distance[end_node], arriving[end_node] = length, arc
                        waiting.append(end_node)
            if arriving[sink] < 0:
                return units, cost
            node = sink
            while node != source:
                arc = arriving[node]
                self._left[arc] -= 1
                self._left[arc ^ 1] += 1
                cost += self._costs[arc]
                node = self._ends[arc ^ 1]
            units += 1

    def _node(self, name: Hashable) -> int:
        if name not in self._numbers:
            self._numbers[name] = len(self._numbers)
            self._out.append([])
        return self._numbers[name]


def fewest_moves(table: Assignment, shares: Shares) -> int:
    """Replicas that any table for these shares must give to who does not hold them in `table`."""
    flow = Flow()
    zone_of, must = shares.zone, sum(shares.all.low)
    for slot, row in enumerate(table.rows()):
        flow.arc("source", ("slot", slot), shares.replicas)
        entered: set[Hashable] = set()
        for member in shares.members:
            above: Hashable = ("slot", slot)
            for group in shares.uppers[member]:
                within = ("group", slot, group)
                if within not in entered:
                    flow.arc(above, within, shares.caps[group])
                    entered.add(within)
                above = within
            zone = ("zone", slot, zone_of[member])
            if zone not in entered:
                flow.arc(above, zone, 1)
                entered.add(zone)
            flow.arc(zone, ("member", member), 1, 0 if member in row else 1)
    for member in shares.members:
        flow.arc(("member", member), "sink", shares.all.low[member], -_MUST)
        flow.arc(("member", member), ("pool", shares.all.pool[member]), shares.all.high[member] - shares.all.low[member])
    for pool, extras in enumerate(shares.all.extras):
        flow.arc(("pool", pool), "sink", extras)
    units, cost = flow.cheapest("source", "sink")
    assert units == shares.slots * shares.replicas, "no table fits these shares"
    return cost + _MUST * must


def fewest_changes(table: Assignment, primaries: Sequence[int], shares: Shares) -> int:
    """Slots of which any choice of primaries among the holders of `table` must change the one in `primaries`."""
    flow = Flow()
    for slot, row in enumerate(table.rows()):
        flow.arc("source", ("slot", slot), 1)
        for member in row:
            flow.arc(("slot", slot), ("member", member), 1, 0 if member == primaries[slot] else 1)
    for member in shares.members:
        low, high = shares.primary.low[member], shares.primary.high[member]
        flow.arc(("member", member), "sink", low, -_MUST)
        flow.arc(("member", member), "pool", high - low)
    flow.arc("pool", "sink", shares.primary.extras[0])
    units, cost = flow.cheapest("source", "sink")
    assert units == shares.slots, "no choice of primaries fits these shares"
    return cost + _MUST * sum(shares.primary.low)

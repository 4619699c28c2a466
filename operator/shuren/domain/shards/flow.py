"""Exact repair of a table: one replica or primary after another along a cheapest path, and the proof that no table costs less.

Tables are flows: a unit for each replica goes from its slot to a member that may hold it, at most `high` to each member and at least
`low`. A replica put where it was costs nothing, anywhere else it costs 1. Successive shortest paths with potentials (Ahuja, Magnanti and
Orlin, Network Flows, ch. 9.7) keep every state of the flow the cheapest of its kind: when no unit is left over, no table costs less.

What a search walks through is described by a `Network`, so that nothing of size slots × members is ever built.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from shuren.domain.shards.shares import Bands

UNREACHED = 1 << 30


class Network(Protocol):
    """A residual network. Nodes are whole numbers; `sink` is where units end."""

    sink: int

    def begin(self, distance: Mapping[int, int], *, unknown: int = UNREACHED) -> None:
        """A new search begins. `distance` is kept up to date: how near each node was reached, those that are not in it at `unknown`."""
        ...

    def arcs(self, node: int) -> Iterable[tuple[int, int]]:
        """Where a unit at `node` may go, and what that costs: -1, 0 or 1. Nodes that cannot be reached any nearer may be left out."""
        ...

    def potential(self, node: int) -> int:
        """Cost of the arc + potential of its begin - potential of its end is never below 0."""
        ...

    def raise_potential(self, node: int, by: int) -> None:
        """Change the potential of a node by `by`, 0 or less."""
        ...

    def push(self, path: Sequence[int]) -> None:
        """Send one unit along a path to the sink."""
        ...


class Effort:
    """How much searching may be done: a number of arcs looked at, so that the same question always has the same answer."""

    def __init__(self, arcs: int) -> None:
        self.left = arcs

    @property
    def spent(self) -> bool:
        """Whether nothing is left."""
        return self.left <= 0


def settle(network: Network, sources: Sequence[int], effort: Effort) -> list[int]:
    """Send the units at `sources` (a node as often as it has units) to the sink, all together the cheapest way.

    Gives those that are left when the effort is spent or there is no way; what was sent is the cheapest for its number of units.

    One search from all sources tells how far the sink is; then as many units as can be go along arcs that cost nothing more than that
    (the primal-dual method, loc. cit. ch. 9.8). Costs are so small that a few searches do for any number of units.
    """
    left = list(sources)
    while left:
        path = _cheapest(network, left, effort)
        if path is None:
            return left
        network.push(path)
        left.remove(path[0])
        left = _along_free_arcs(network, left, effort)
    return left


def _cheapest(network: Network, sources: Iterable[int], effort: Effort) -> list[int] | None:
    """A cheapest path from any of the sources to the sink; potentials are set so that its arcs cost nothing."""
    distance = dict.fromkeys(sources, 0)
    came_from = {source: source for source in distance}
    network.begin(distance)
    waiting: list[list[int]] = [list(distance)]
    for at, here in enumerate(waiting):
        while here:
            node = here.pop()
            if distance[node] < at:
                continue
            if node == network.sink:
                _lower(network, distance, at)
                return _path(came_from, node)
            if effort.spent:
                return None
            base = at + network.potential(node)
            for to, cost in network.arcs(node):
                effort.left -= 1
                length = base + cost - network.potential(to)
                if length < distance.get(to, UNREACHED):
                    distance[to], came_from[to] = length, node
                    while len(waiting) <= length:
                        waiting.append([])
                    waiting[length].append(to)
    return None


def _along_free_arcs(network: Network, sources: Sequence[int], effort: Effort) -> list[int]:
    """Push units along paths that cost nothing by the present potentials, shortest first (Dinic's method). Gives those that found none."""
    left = list(sources)
    while left and not effort.spent:
        level = _levels(network, left, effort)
        if network.sink not in level:
            break
        left = _straight_on(network, left, level, effort)
    return left


def _levels(network: Network, sources: Iterable[int], effort: Effort) -> dict[int, int]:
    """How many free arcs each node is away from the sources, as far as the sink is."""
    level = dict.fromkeys(sources, 0)
    seen = dict.fromkeys(level, 0)
    network.begin(seen)
    waiting = list(level)
    for node in waiting:
        base, depth = network.potential(node), level[node] + 1
        for to, cost in network.arcs(node):
            effort.left -= 1
            if to not in level and base + cost == network.potential(to):
                level[to], seen[to] = depth, 0
                if to == network.sink:
                    return level
                waiting.append(to)
        if effort.spent:
            break
    return level


def _straight_on(network: Network, sources: Iterable[int], level: dict[int, int], effort: Effort) -> list[int]:
    """Push what can be pushed away from the sources level by level. Gives the sources that found no way.

    A node from which nothing was found loses its level: it is not looked at again. (A path pushed later might open it anew: the next levels
    find that.)
    """
    left = list[int]()
    network.begin(level, unknown=0)
    for source in sources:
        path = None if source not in level or effort.spent else _free_path(network, source, level, effort)
        if path is None:
            left.append(source)
        else:
            network.push(path)
    return left


def _free_path(network: Network, source: int, level: dict[int, int], effort: Effort) -> list[int] | None:
    """A path of free arcs from the source to the sink, one level at each step. Nodes from which there is no way lose their level."""
    path, ways, bases = [source], [iter(network.arcs(source))], [network.potential(source)]
    while path:
        following = level[path[-1]] + 1
        for to, cost in ways[-1]:
            effort.left -= 1
            if level.get(to) == following and bases[-1] + cost == network.potential(to):
                break
        else:
            del level[path.pop()]
            ways.pop()
            bases.pop()
            continue
        path.append(to)
        if to == network.sink:
            return path
        ways.append(iter(network.arcs(to)))
        bases.append(network.potential(to))
    return None


def reach(network: Network, source: int) -> bool:
    """Send the unit at `source` to the sink any way; looks at each node once at most. The flow need not be a cheapest one afterwards."""
    came_from, unknown = {source: source}, dict[int, int]()
    network.begin(unknown)
    waiting = [source]
    for node in waiting:
        for to, _ in network.arcs(node):
            if to not in came_from:
                came_from[to] = node
                if to == network.sink:
                    network.push(_path(came_from, to))
                    return True
                waiting.append(to)
    return False


def _lower(network: Network, distance: Mapping[int, int], reached: int) -> None:
    """Keep all arcs at 0 or above, and those of the path at 0, for the flow after the push."""
    for node, length in distance.items():
        if length < reached:
            network.raise_potential(node, length - reached)


def _path(came_from: Mapping[int, int], node: int) -> list[int]:
    path = [node]
    while came_from[node] != node:
        node = came_from[node]
        path.append(node)
    return path[::-1]


class Counts:
    """How many units each member has, and who uses one of the extra ones. Members are the nodes 0 to `size` - 1."""

    def __init__(self, bands: Bands, held: Sequence[int], target: Sequence[int]) -> None:
        self.low, self.high, self.pool = bands.low, bands.high, bands.pool
        self.size = len(bands.low)
        self.held = list(held)
        self.granted = [now >= wanted > low for now, wanted, low in zip(held, target, bands.low, strict=True)]
        self.left = list(bands.extras)
        self.takers: list[set[int]] = [set() for _ in bands.extras]
        for member in range(self.size):
            if self.granted[member]:
                self.left[self.pool[member]] -= 1
                self.takers[self.pool[member]].add(member)

    def over(self, member: int) -> int:
        """How many units more than it may have."""
        return self.held[member] - self.low[member] - self.granted[member]

    def odd(self, member: int) -> bool:
        """Whether it could use an extra one, and does not."""
        return self.high[member] > self.low[member] and not self.granted[member]

    def grant(self, member: int, *, granted: bool) -> None:
        """Give a member its extra one, or take it back."""
        self.granted[member] = granted
        (self.takers[self.pool[member]].add if granted else self.takers[self.pool[member]].discard)(member)

    def over_everywhere(self) -> tuple[set[int], set[int]]:
        """Members and pools from which a unit is left over without any cost: those with too many, and who could hand them their extra."""
        members = {member for member in range(self.size) if self.over(member) > 0}
        pools = {self.pool[member] for member in members if self.odd(member)}
        return members.union(*(self.takers[pool] for pool in pools)), pools

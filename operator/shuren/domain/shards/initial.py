"""The first table of a map, in closed form: no search.

Lay all replicas that the racks are to hold one after another around a circle of as many places as there are slots, `replicas` times around
(McNaughton's wrap-around rule for scheduling). A rack that holds no more replicas than there are slots then never meets a slot twice, and a
larger one meets every slot as evenly as can be. The same again inside each rack for its hosts and members. To let a member's replicas have
partners in all racks, not only in its neighbours on the circle, the slots are cut into blocks, each with its own order of racks; inside a
rack, slots are dealt in strides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from shuren.domain.shards.assignment import VACANT
from shuren.domain.shards.mixing import coprime, scatter, strided
from shuren.domain.shards.shares import Shares, targets

_BLOCKS = 64


@dataclass(kw_only=True, slots=True)
class _Group:
    """A rack, host or member that is to hold `total` replicas; a member has no parts."""

    number: int
    total: int = 0
    parts: list[_Group] = field(default_factory=list)


def lay_out(shares: Shares) -> list[int]:
    """Row by row the holders of all slots, in no order within a row. Every member holds its share, and nothing meets more than it must."""
    none = [0] * len(shares.zone)
    racks = _tree(shares, targets(shares.all, none, shares.order, groups=shares.groups, room=shares.room))
    holders = [VACANT] * (shares.slots * shares.replicas)
    for rack, places in zip(racks, _around(shares, [rack.total for rack in racks]), strict=True):
        _deal(holders, rack, places, shares.replicas)
    return holders


def _tree(shares: Shares, target: Sequence[int]) -> list[_Group]:
    """The outermost groups, each with its parts down to members, in the order in which they were first met."""
    groups: dict[int, _Group] = {}
    outermost: list[_Group] = []
    for member in shares.members:
        siblings = outermost
        for number in shares.groups[member]:
            if number not in groups:
                groups[number] = _Group(number=number)
                siblings.append(groups[number])
            groups[number].total += target[member]
            siblings = groups[number].parts
        siblings.append(_Group(number=member, total=target[member]))
    return outermost


def _around(shares: Shares, totals: Sequence[int]) -> list[list[int]]:
    """The places (slot × replicas + column) of each rack. Every block of slots gets an equal part of each rack, one more or less."""
    blocks = min(_BLOCKS, shares.slots)
    width, count = shares.slots // blocks, len(totals)
    places: list[list[int]] = [[] for _ in totals]
    first = [0] * count
    for rack in range(1, count):
        first[rack] = (first[rack - 1] + totals[rack - 1]) % blocks
    for block in range(blocks):
        at, base = 0, block * width
        for rack in _order(count, block):
            whole, rest = divmod(totals[rack], blocks)
            end = at + whole + ((block - first[rack]) % blocks < rest)
            while at < end:
                lap, offset = divmod(at, width)
                run = min(end - at, width - offset)
                start = (base + offset) * shares.replicas + lap
                places[rack].extend(range(start, start + run * shares.replicas, shares.replicas))
                at += run
    return places


def _deal(holders: list[int], group: _Group, places: Sequence[int], replicas: int) -> None:
    """Give a group's places to its parts, down to members. A part meets a slot twice only if it holds more than all slots once."""
    if not group.parts:
        for place in places:
            holders[place] = group.number
        return
    laps = _laps(places, replicas)
    dealt = [place for lap in laps for place in lap]
    at = 0
    for part in group.parts:
        _deal(holders, part, dealt[at : at + part.total], replicas)
        at += part.total


def _laps(places: Sequence[int], replicas: int) -> list[list[int]]:
    """Places in an order of which any run that is not longer than the number of slots in it meets no slot twice.

    The slots met most often come first, so that the last, shorter lap is the beginning of the others.
    """
    slots = {place // replicas for place in places}
    if len(slots) == len(places):
        return [strided(places)]
    by_slot: dict[int, list[int]] = {}
    for place in places:
        by_slot.setdefault(place // replicas, []).append(place)
    deepest = max(map(len, by_slot.values()))
    often = strided([slot for slot, met in by_slot.items() if len(met) == deepest])
    seldom = strided([slot for slot, met in by_slot.items() if len(met) < deepest])
    return [[by_slot[slot][lap] for slot in (*often, *seldom) if lap < len(by_slot[slot])] for lap in range(deepest)]


def _order(count: int, block: int) -> list[int]:
    """All racks once, in an order of the block's own."""
    step = coprime(1 + scatter(block) % count, count)
    start = scatter(block, 1) % count
    return [at % count for at in range(start, start + step * count, step)]

"""How many replicas and primaries each member is to hold, and what may meet in one slot.

A member's share is slots × replicas × its weight / all weights, rounded down or up: never further off. Where no two replicas may meet in a
group (a member at least; a rack or host when required), a group never holds more than every slot once; what is cut off there goes to the
others by weight. All in whole numbers: nothing depends on the rounding of floats.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from shuren.domain.shards.members import Member, Spread, SpreadLevel, Wanted, group_of
from shuren.domain.shards.mixing import scatter


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Something about the members that keeps a table from being as good as asked. `reason` is stable, `message` says what to do."""

    reason: str
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Bands:
    """Per member number: it holds `low` or `high` (the share rounded down and up). `extras[pool]` members of a pool hold `high`.

    Who are not members have 0, 0 and pool -1. A member whose share is a whole number has `low` = `high` and is not among the extras.
    """

    low: Sequence[int]
    high: Sequence[int]
    pool: Sequence[int]
    extras: Sequence[int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Shares:
    """What each member may hold. Sequences are indexed by member number; the one after the largest is nobody's: VACANT (-1) finds it.

    `zone` is the largest group around a member that a slot may meet only once (its rack, host, or the member itself), -1 for nobody.
    `uppers` are the groups around the zone that a slot may meet `caps[group]` times. `groups` are all groups with a limit on their sum,
    `room[group]`. `order` are the members in the order in which they get odd slots.
    """

    slots: int
    replicas: int
    members: Mapping[int, Member]
    all: Bands
    primary: Bands
    zone: Sequence[int]
    zones: int
    uppers: Sequence[tuple[int, ...]]
    caps: Sequence[int]
    groups: Sequence[tuple[int, ...]]
    room: Sequence[int]
    order: Sequence[int]
    findings: tuple[Finding, ...]


def shares(wanted: Wanted, *, reach: int = 0) -> Shares:
    """The shares of all members. Sequences reach to `reach` at least: the largest number in a table that is to be changed."""
    eligible = wanted.eligible
    size = max(reach, *(m.id for m in wanted.members)) + 2
    pools = _pools(wanted)
    spread = _Spreading(wanted, pools, size)
    return Shares(
        slots=wanted.slots,
        replicas=wanted.replicas,
        members={m.id: m for m in eligible},
        all=_bands(pools, size),
        primary=_primary_bands(pools, wanted, size),
        zone=spread.zone,
        zones=spread.zones,
        uppers=spread.uppers,
        caps=spread.caps,
        groups=spread.groups,
        room=spread.room,
        order=sorted((m.id for m in eligible), key=lambda member: scatter(member, wanted.salt)),
        findings=tuple(spread.findings),
    )


def targets(
    bands: Bands, held: Sequence[int], order: Sequence[int], *, groups: Sequence[Sequence[int]] = (), room: Sequence[int] = ()
) -> list[int]:
    """How many units each member is to hold, by number.

    Odd ones go to members that hold enough already, then round in `order`, as long as the groups around a member have room for its sum.
    """
    target, left = list(bands.low), list(room)
    extras = list(bands.extras)
    for member in order if room else ():
        for group in groups[member]:
            left[group] -= target[member]
    odd = [m for m in order if bands.high[m] > bands.low[m]]
    keeping = [m for m in odd if held[m] >= bands.high[m]]
    others = [m for m in odd if held[m] < bands.high[m]]
    for member in (*keeping, *others):
        around = groups[member] if room else ()
        if extras[bands.pool[member]] and (held[member] >= bands.high[member] or all(left[group] > 0 for group in around)):
            extras[bands.pool[member]] -= 1
            target[member] += 1
            for group in around:
                left[group] -= 1
    return target


# ---------------------------------------------------------------------------------------------------- shares by weight


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pool:
    """Members that divide `total` replicas by weight. `full`: a group that holds every slot once, since its weight would give it more."""

    members: tuple[Member, ...]
    total: int
    weight: int
    full: bool


def _pools(wanted: Wanted) -> list[_Pool]:
    """Fill groups up to every slot once, the rest by weight, until none overflows."""
    level = wanted.spread.level if wanted.spread.required else SpreadLevel.NONE
    open_groups: dict[tuple[str, ...], list[Member]] = {}
    for member in wanted.eligible:
        open_groups.setdefault(group_of(member, level), []).append(member)
    weights = {group: sum(m.units for m in members) for group, members in open_groups.items()}
    left, pools = wanted.slots * wanted.replicas, []
    while True:
        weight = sum(weights[group] for group in open_groups)
        full = [group for group in open_groups if left * weights[group] > wanted.slots * weight]
        if not full:
            break
        for group in full:
            members = tuple(open_groups.pop(group))
            pools.append(_Pool(members=members, total=wanted.slots, weight=weights[group], full=True))
            left -= wanted.slots
    if open_groups:
        rest = tuple(m for members in open_groups.values() for m in members)
        pools.append(_Pool(members=rest, total=left, weight=weight, full=False))
    return pools


def _bands(pools: Iterable[_Pool], size: int) -> Bands:
    low, high, numbers, extras = [0] * size, [0] * size, [-1] * size, []
    for number, pool in enumerate(pools):
        for member in pool.members:
            whole, rest = divmod(pool.total * member.units, pool.weight)
            low[member.id], high[member.id], numbers[member.id] = whole, whole + (rest > 0), number
        extras.append(pool.total - sum(low[m.id] for m in pool.members))
    return Bands(low=low, high=high, pool=numbers, extras=extras)


def _primary_bands(pools: Iterable[_Pool], wanted: Wanted, size: int) -> Bands:
    """One of `replicas` parts of each share. One pool: that the sums fit follows from the replicas' own fit."""
    low, high, numbers = [0] * size, [0] * size, [-1] * size
    for pool in pools:
        for member in pool.members:
            whole, rest = divmod(pool.total * member.units, pool.weight * wanted.replicas)
            low[member.id], high[member.id], numbers[member.id] = whole, whole + (rest > 0), 0
    return Bands(low=low, high=high, pool=numbers, extras=[wanted.slots - sum(low)])


# ---------------------------------------------------------------------------------------------------- what may meet in one slot


class _Spreading:
    """Groups, how often a slot may meet each, and what is to be said about them."""

    def __init__(self, wanted: Wanted, pools: Sequence[_Pool], size: int) -> None:
        self.zone = [-1] * size
        self.zones = 0
        self.uppers: list[tuple[int, ...]] = [()] * size
        self.caps: list[int] = []
        self.groups: list[tuple[int, ...]] = [()] * size
        self.room: list[int] = []
        self.findings: list[Finding] = []
        self._wanted = wanted
        self._pools = pools
        self._levels = _LEVELS[wanted.spread.level]
        self._number()
        self._say()

    def _number(self) -> None:
        """Walk each member's groups inwards until one that a slot may meet only once."""
        sums = {level: self._sums(level) for level in self._levels[:1]}
        numbers: dict[tuple[SpreadLevel, tuple[str, ...]], int] = {}
        zones: dict[int, int] = {}
        for member in self._wanted.eligible:
            limited, uppers = [], []
            for level in self._levels:
                if level not in sums:
                    sums[level] = self._sums(level)
                group = group_of(member, level)
                number = numbers.setdefault((level, group), len(self.room))
                if number == len(self.room):
                    cap = max(1, ceil(sums[level][group] / self._wanted.slots))
                    self.room.append(cap * self._wanted.slots)
                    self.caps.append(cap)
                limited.append(number)
                if self.caps[number] == 1:
                    self.zone[member.id] = zones.setdefault(number, len(zones))
                    break
                if self.caps[number] < self._wanted.replicas:
                    uppers.append(number)
            self.groups[member.id], self.uppers[member.id] = tuple(limited), tuple(uppers)
        self.zones = len(zones)

    def _sums(self, level: SpreadLevel) -> dict[tuple[str, ...], Fraction]:
        """The shares of all groups of a level."""
        sums: dict[tuple[str, ...], Fraction] = {}
        for pool in self._pools:
            weights: dict[tuple[str, ...], int] = {}
            for member in pool.members:
                group = group_of(member, level)
                weights[group] = weights.get(group, 0) + member.units
            for group, weight in weights.items():
                sums[group] = sums.get(group, Fraction(0)) + Fraction(pool.total * weight, pool.weight)
        return sums

    def _say(self) -> None:
        spread = self._wanted.spread
        if spread.level is SpreadLevel.NONE:
            return
        if spread.required:
            self.findings += [_cut(pool, spread) for pool in self._pools if pool.full and _overflows(pool, self._wanted)]
            return
        groups = self._sums(spread.level)
        word, slots = spread.level.value, self._wanted.slots
        if len(groups) < self._wanted.replicas:
            there = f"{self._wanted.replicas} replicas of a shard cannot be in distinct {word}s: the members are in {len(groups)}"
            message = f"{there}; replicas meet in one {word} until there are {self._wanted.replicas}"
            self.findings.append(Finding(reason=f"TooFew{word.capitalize()}s", message=message))
            return
        for group, share in sorted(groups.items()):
            if share > slots:
                part = _percent(share / (slots * self._wanted.replicas))
                message = (
                    f"{word} {_name(group)} has {part} of the weight, more than one of {self._wanted.replicas} replicas: "
                    f"{_percent(share / slots - 1)} of the shards have two replicas there; add members elsewhere"
                )
                self.findings.append(Finding(reason=f"{word.capitalize()}TooLarge", message=message))


_LEVELS = {
    SpreadLevel.RACK: (SpreadLevel.RACK, SpreadLevel.HOST, SpreadLevel.NONE),
    SpreadLevel.HOST: (SpreadLevel.HOST, SpreadLevel.NONE),
    SpreadLevel.NONE: (SpreadLevel.NONE,),
}


def _overflows(pool: _Pool, wanted: Wanted) -> bool:
    return pool.weight * wanted.replicas > sum(m.units for m in wanted.eligible)


def _cut(pool: _Pool, spread: Spread) -> Finding:
    word = spread.level.value
    group = group_of(pool.members[0], spread.level)
    message = (
        f"{word} {_name(group)} has so much of the weight that it holds one replica of every shard and can hold no more: "
        f"its members get less than their share; add members elsewhere"
    )
    return Finding(reason=f"{word.capitalize()}TooLarge", message=message)


def _name(group: Sequence[str]) -> str:
    named = [part for part in group if part]
    return named[-1] if named else "(unnamed)"


def _percent(share: Fraction) -> str:
    return f"{float(share) * 100:.3g} %"

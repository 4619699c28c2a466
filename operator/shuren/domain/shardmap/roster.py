"""Who counts: from what the source names, what has registered and what the table names, to members with numbers for the planner.

Three sets. *Candidates* may get shards: the source names them, and they have registered or hold something already. *Holders* are named by
the table or a move. Who holds something and is not named by the source any more is kept for the delay (a task that restarts in place is
missing for a moment), then emptied if it is still there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from shuren.domain.shardmap.snapshot import MapSeen, MapSnapshot, MapSpec, SourceMember
from shuren.domain.shards.members import Member
from shuren.domain.shards.migration import Presence
from shuren.sharding.core.duties import Role
from shuren.sharding.core.member import Member as Named
from shuren.sharding.core.moves import Live
from shuren.sharding.core.table import ShardTable

LAGGING = (Role.COPYING.value, Role.FORWARDING.value)
"""Roles of copies that may lag, as live nodes count them."""
_WEIGHT = 100


@dataclass(frozen=True, kw_only=True)
class Roster:
    """`members` are those to plan for, `presences` all that count, `named` what is to be published of them, by number."""

    members: tuple[Member, ...]
    presences: tuple[Presence, ...]
    named: tuple[Named, ...]
    missing_since: Mapping[str, float]
    numbers: Mapping[str, int]
    waiting_for: tuple[str, ...]
    """Members that their source names and that have neither registered nor hold anything."""


def call(s: MapSnapshot, spec: MapSpec, seen: MapSeen) -> Roster:
    """Who counts now."""
    listed = {m.id: m for m in s.source.members or ()}
    known = {m.id: m for m in seen.table.members} if seen.table is not None else {}
    holders = _holders(seen)
    missing = _missing(s, listed, holders)
    absent = {member: seen.absent_for(member) for member in {*listed, *holders, *known}}
    emptied = {m for m in holders if m in missing and s.monotonic - missing[m] >= spec.policy.delay}
    candidates = {m for m in listed if absent[m] == 0 or m in holders}
    kept = {m for m in holders if m not in listed and m not in emptied}
    # nobody leaves the published list only because nobody knows just now who the members are
    there = sorted(candidates | holders | (known.keys() if s.source.members is None else set()))
    numbers = _numbers(there, known, seen.numbers, s.memory.numbers)
    members: list[Member] = []
    presences: list[Presence] = []
    named: list[Named] = []
    for member in there:
        now = _merged(member, listed.get(member), known.get(member), seen.live.get(member))
        draining = member in emptied or _asked_to_drain(s, spec, now) or (now.weight == 0)
        number = numbers[member]
        live = seen.live.get(member)
        presences.append(
            Presence(
                id=member,
                number=number,
                absent_for=absent[member],
                generation=live.generation if live is not None else 0,
                copying=sum(live.counts.get(role, 0) for role in LAGGING) if live is not None else 0,
                draining=draining,
                rack=now.rack,
            )
        )
        named.append(Named(id=member, number=number, address=now.address, host=now.host, rack=now.rack, weight=now.weight))
        if member in candidates or member in kept or member in emptied:
            members.append(Member(id=number, name=member, weight=now.weight / _WEIGHT, rack=now.rack, host=now.host))
    return Roster(
        members=tuple(sorted(members, key=lambda m: m.id)),
        presences=tuple(presences),
        named=tuple(sorted(named, key=lambda m: m.number)),
        missing_since=missing,
        numbers={member: number for member, number in numbers.items() if member not in known},
        waiting_for=tuple(sorted(listed.keys() - candidates)),
    )


def named_by_table(table: ShardTable) -> frozenset[int]:
    """Numbers of members that hold something."""
    return frozenset(set(table.owners) & {m.number for m in table.members})


def _holders(seen: MapSeen) -> set[str]:
    """Ids that the table or a move names."""
    found: set[str] = set()
    if seen.table is not None:
        held = named_by_table(seen.table)
        found = {m.id for m in seen.table.members if m.number in held}
    for move in seen.moves.values():
        found |= {member for member in (move.from_, move.to) if member is not None}
    return found


def _missing(s: MapSnapshot, listed: Mapping[str, SourceMember], holders: Iterable[str]) -> dict[str, float]:
    if s.source.members is None:
        return dict(s.memory.missing_since)
    return {member: s.memory.missing_since.get(member, s.monotonic) for member in sorted(holders) if member not in listed}


def _asked_to_drain(s: MapSnapshot, spec: MapSpec, member: SourceMember) -> bool:
    hosts = {member.id, member.host} - {""}
    return member.drain or bool(hosts & (spec.drain | s.drains))


def _merged(member: str, listed: SourceMember | None, known: Named | None, live: Live | None) -> SourceMember:
    """What is known of a member: its source first, what it says of itself for the address, what was published for the rest."""
    address = live.address if live is not None and live.address else ""
    if listed is not None:
        published = known.address if known is not None else ""
        return replace(listed, address=address or listed.address or published)
    if known is not None:
        return SourceMember(id=member, weight=known.weight, host=known.host, rack=known.rack, address=address or known.address)
    return SourceMember(id=member, address=address)


def _numbers(members: Iterable[str], known: Mapping[str, Named], retained: Mapping[str, int], given: Mapping[str, int]) -> dict[str, int]:
    """A number for each member: the one that it has, else the smallest that no retained generation has given to anybody."""
    numbers: dict[str, int] = {}
    taken = {m.number for m in known.values()} | set(retained.values())
    for member in members:
        if member in known:
            numbers[member] = known[member].number
        elif member in retained:
            numbers[member] = retained[member]
    for member in members:
        if member not in numbers and member in given and given[member] not in taken:
            numbers[member] = given[member]
            taken.add(given[member])
    following = 0
    for member in members:
        if member in numbers:
            continue
        while following in taken:
            following += 1
        numbers[member] = following
        taken.add(following)
    return numbers

"""The members that there would be after a change, as far as one can tell before it: for `shuren shards plan`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from shuren.domain.shardmap.snapshot import MapSeen, Source, SourceMember
from shuren.sharding.core.moves import Live


def source_of(
    seen: MapSeen, *, static: tuple[SourceMember, ...], weights: Mapping[str, int], instances: int | None
) -> tuple[Source, MapSeen]:
    """The source, and what would lie there: members that are still to come have registered.

    `instances` is what the app is to have, None for as many as now. Which task goes, Marathon's order decides when it comes to it; here the
    last ones by name do.
    """
    if static:
        members = static
    else:
        known = {m.id: m for m in seen.table.members} if seen.table is not None else {}
        there = sorted(seen.live)
        kept = there if instances is None else there[:instances]
        members = tuple(
            SourceMember(
                id=m, weight=weights.get(m, 100), host=known[m].host if m in known else m, rack=known[m].rack if m in known else ""
            )
            for m in kept
        )
        members += tuple(SourceMember(id=m, weight=weights.get(m, 100), drain=True) for m in there if m not in kept)
        new = max(0, (instances or 0) - len(there))
        members += tuple(SourceMember(id=f"new-{n}", rack=f"new-{n}") for n in range(1, new + 1))
    live = dict(seen.live)
    for member in members:
        live.setdefault(member.id, Live(id=member.id, address=member.address))
    return Source(members=members, expected=len(members)), replace(seen, live=live)

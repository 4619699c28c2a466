"""A zone as sets of records, in the presentation form in which other name servers are told, and what it takes to get from one to another.

Which sets are ours is written on each of them by whoever keeps them (`RecordSet.ours`). All others are somebody else's and stay as they
are, also where we would have something of the same name and type to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from shuren.domain.dns.zone import Data, RecordType, Srv, Zone

_LABEL, _NAME = 63, 253


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class RecordSet:
    """All records of one name (absolute, with a dot at its end, lower case) and type. `ttl` in seconds; `records` sorted."""

    name: str
    type: str
    ttl: int
    records: tuple[str, ...]
    ours: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class ZoneChange:
    """Sets to put in place whole, and (name, type) of those to remove. `foreign` are wanted ones that somebody else holds."""

    replace: tuple[RecordSet, ...] = ()
    remove: tuple[tuple[str, str], ...] = ()
    foreign: tuple[tuple[str, str], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.replace or self.remove)


def record_sets(zone: Zone, *, name: str, ttl: int) -> tuple[RecordSet, ...]:
    """Everything that the zone `name` (without a dot at its end) holds beside SOA and NS. What cannot be a name of DNS is left out."""
    origin = f"{name.strip('.').lower()}."
    found = []
    for relative, kinds in zone.names.items():
        absolute = f"{relative}.{origin}" if relative else origin
        if not _possible(absolute):
            continue
        for kind in RecordType:
            records = tuple(sorted({text for data in kinds.get(kind, ()) if (text := _text(data, origin)) is not None}))
            if records:
                found.append(RecordSet(name=absolute, type=kind.value, ttl=ttl, records=records))
    return tuple(sorted(found))


def compare(wanted: Iterable[RecordSet], there: Iterable[RecordSet]) -> ZoneChange:
    """What it takes to get from what is there to what is wanted."""
    actual: Mapping[tuple[str, str], RecordSet] = {(s.name, s.type): s for s in there}
    desired = {(s.name, s.type): s for s in wanted}
    foreign = tuple(sorted(key for key in desired if key in actual and not actual[key].ours))
    return ZoneChange(
        replace=tuple(s for key, s in sorted(desired.items()) if key not in foreign and actual.get(key) != s),
        remove=tuple(sorted(key for key, s in actual.items() if s.ours and key not in desired)),
        foreign=foreign,
    )


def _possible(absolute: str) -> bool:
    labels = absolute.rstrip(".").split(".")
    return absolute.isascii() and len(absolute) <= _NAME + 1 and all(0 < len(label) <= _LABEL for label in labels)


def _text(data: Data, origin: str) -> str | None:
    if not isinstance(data, Srv):
        return data
    target = data.target if data.target.endswith(".") else f"{data.target}.{origin}"
    return f"{data.priority} {data.weight} {data.port} {target.lower()}" if _possible(target) else None

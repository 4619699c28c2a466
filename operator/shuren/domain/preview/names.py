"""What name servers will answer otherwise than now, by the function that they build their zone with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from shuren.domain.dns.zone import Data, RecordType, Zone, build, ready
from shuren.domain.service.snapshot import Published
from shuren.domain.service.values import Endpoint, ServiceName


@dataclass(frozen=True, kw_only=True, order=True)
class NameChange:
    """One record set: `name` in full, `before` and `after` as texts, empty where there is none."""

    name: str
    type: str
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


def foresee(before: Iterable[Published], after: Iterable[Published], *, zone: str) -> tuple[NameChange, ...]:
    """From what is published now to what will be. A service without any ready endpoint keeps its last good answers."""
    before = tuple(before)
    good = {p.names.service: _answered(p, ()) for p in before if p.names is not None}
    old, new = _zone(before, {}), _zone(after, good)
    found: list[NameChange] = []
    for name in sorted(old.names.keys() | new.names.keys()):
        for kind in RecordType:
            was, will = _texts(old, name, kind, zone), _texts(new, name, kind, zone)
            if was != will:
                found.append(NameChange(name=f"{name}.{zone}" if name else zone, type=kind.value, before=was, after=will))
    return tuple(found)


def _zone(published: Iterable[Published], last_good: Mapping[ServiceName, tuple[Endpoint, ...]]) -> Zone:
    there = [(p.names, _answered(p, last_good.get(p.names.service, ()))) for p in published if p.names is not None]
    return build(there)


def _answered(published: Published, last_good: Sequence[Endpoint]) -> tuple[Endpoint, ...]:
    return ready(published.endpoints.endpoints, last_good) if published.endpoints is not None else ()


def _texts(zone: Zone, name: str, kind: RecordType, suffix: str) -> tuple[str, ...]:
    return tuple(sorted(_text(data, suffix) for data in zone.names.get(name, {}).get(kind, ())))


def _text(data: Data, suffix: str) -> str:
    if isinstance(data, str):
        return data
    target = data.target if data.target.endswith(".") else f"{data.target}.{suffix}."
    return f"{data.priority} {data.weight} {data.port} {target}"

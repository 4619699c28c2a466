"""A name server in memory that is told the content of zones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from shuren.domain.dns.rrsets import RecordSet, ZoneChange
from shuren.domain.errors import Invalid, ShurenError


@dataclass(kw_only=True)
class FakeZones:
    """See `ports.zones`. `refuse` is raised by every call while it is set; `writes` counts what was changed."""

    zones: dict[str, dict[tuple[str, str], RecordSet]] = field(default_factory=dict)
    refuse: ShurenError | None = None
    writes: int = 0

    async def read(self, zone: str) -> tuple[RecordSet, ...] | None:
        """See the port."""
        self._check()
        found = self.zones.get(zone)
        return None if found is None else tuple(sorted(found.values()))

    async def create(self, zone: str, servers: Sequence[str]) -> None:
        """See the port."""
        self._check()
        if zone in self.zones or not servers:
            raise Invalid(f"{zone} is there already, or has no name servers")
        self.zones[zone] = {}

    async def change(self, zone: str, change: ZoneChange) -> None:
        """See the port."""
        self._check()
        if zone not in self.zones:
            raise Invalid(f"there is no zone {zone}")
        for one in change.replace:
            if not one.name.endswith(zone):
                raise Invalid(f"{one.name} is outside of {zone}")
        self.writes += 1
        for key in change.remove:
            self.zones[zone].pop(key, None)
        self.zones[zone] |= {(one.name, one.type): one for one in change.replace}

    def _check(self) -> None:
        if self.refuse is not None:
            raise self.refuse

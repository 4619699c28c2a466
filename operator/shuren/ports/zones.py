"""Another name server that is told the content of a zone, as its publisher sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from shuren.domain.dns.rrsets import RecordSet, ZoneChange


class ZoneKeeper(Protocol):
    """Names of zones are absolute, with a dot at their end. All raise Unreachable, Denied, or Invalid with the server's own words."""

    async def read(self, zone: str) -> tuple[RecordSet, ...] | None:
        """All sets of a zone but SOA and the zone's own NS; None when there is no such zone."""

    async def create(self, zone: str, servers: Sequence[str]) -> None:
        """Make a zone with these name servers."""

    async def change(self, zone: str, change: ZoneChange) -> None:
        """Replace and remove sets. A large change may come about in several steps; an error leaves open which of them were done."""

"""Tells another name server the content of our zone, instead of answering ourselves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from shuren.domain.dns.rrsets import RecordSet, compare, record_sets
from shuren.domain.dns.zone import Zone
from shuren.domain.errors import ShurenError
from shuren.edge.dns.answers import Authority
from shuren.ports.zones import ZoneKeeper

log = logging.getLogger(__name__)

_RETRY, _LONGEST = 1.0, 30.0


class Publisher:
    """Keeps a zone of the other server as `zone` says. `run` until cancelled.

    What is there is read before the first write, every `resync` seconds, and after every failure; in between what was last told is believed
    to be there. So records that somebody has changed by hand are put right after `resync` seconds.
    """

    def __init__(self, *, keeper: ZoneKeeper, authority: Authority, zone: Callable[[], Zone], resync: float = 60.0) -> None:
        self._keeper = keeper
        self._authority = authority
        self._name = f"{authority.name.strip('.').lower()}."
        self._zone = zone
        self._resync = resync
        self._there: dict[tuple[str, str], RecordSet] | None = None
        self._foreign: tuple[tuple[str, str], ...] = ()
        self._woken = asyncio.Event()
        self.published = False
        """Whether the other server had everything when it was last told."""

    def changed(self) -> None:
        """There is something new to tell."""
        self._woken.set()

    async def run(self) -> None:
        """Tell everything, then what changes."""
        loop = asyncio.get_running_loop()
        failures = 0
        read_at = loop.time()
        while True:
            self._woken.clear()
            if loop.time() >= read_at:
                self._there = None
                read_at = loop.time() + self._resync
            try:
                await self.tell()
                failures = 0
                wait = read_at - loop.time()
            except ShurenError as error:
                self.published, self._there = False, None
                failures += 1
                wait = min(_RETRY * 2 ** (failures - 1), _LONGEST)
                log.warning("%s is not up to date and is told again in %.0f s: %s", self._name, wait, error)
            try:
                async with asyncio.timeout(max(0.0, wait)):
                    # after a failure not at each change: the other server has enough to do
                    await (asyncio.Event().wait() if failures else self._woken.wait())
            except TimeoutError:
                continue

    async def tell(self) -> None:
        """One round."""
        if self._there is None:
            self._there = {(one.name, one.type): one for one in await self._read()}
        wanted = record_sets(self._zone(), name=self._name, ttl=self._authority.ttl)
        change = compare(wanted, self._there.values())
        if change.foreign != self._foreign:
            self._foreign = change.foreign
            for name, kind in change.foreign:
                log.error("%s %s is kept by somebody else and stays as it is", name, kind)
        if change:
            await self._keeper.change(self._name, change)
            for key in change.remove:
                del self._there[key]
            self._there |= {(one.name, one.type): one for one in change.replace}
            log.info("%s: %d record sets put in place, %d removed", self._name, len(change.replace), len(change.remove))
        self.published = True

    async def _read(self) -> tuple[RecordSet, ...]:
        found = await self._keeper.read(self._name)
        if found is None:
            await self._keeper.create(self._name, [f"{server.rstrip('.').lower()}." for server in self._authority.servers])
            log.info("%s is made", self._name)
            found = await self._keeper.read(self._name)
        return found or ()

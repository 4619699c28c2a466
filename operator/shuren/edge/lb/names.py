"""Host names of endpoints outside Mesos → addresses. HAProxy resolves none for servers that are added at run time, so the agent does.

A name that cannot be resolved keeps the addresses that it had.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Iterable

log = logging.getLogger(__name__)

Resolve = Callable[[str], Awaitable[tuple[str, ...]]]
"""Addresses of a name, sorted. Raises OSError when there are none."""


async def by_system(name: str) -> tuple[str, ...]:
    """As this host resolves it."""
    found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    # a zone (`fe80::1%eth0`) would be no address for anybody else
    return tuple(sorted({str(entry[4][0]) for entry in found if "%" not in str(entry[4][0])}))


class Names:
    """What names resolve to."""

    def __init__(self, *, resolve: Resolve = by_system) -> None:
        self._resolve = resolve
        self.addresses: dict[str, tuple[str, ...]] = {}
        self.failed: frozenset[str] = frozenset()
        """Names that could not be resolved when they were last asked for."""

    async def refresh(self, wanted: Iterable[str]) -> frozenset[str]:
        """Resolve these anew and forget all others. Gives the names whose addresses have changed."""
        names = sorted(set(wanted))
        answers = await asyncio.gather(*(self._resolve(name) for name in names), return_exceptions=True)
        changed: set[str] = set()
        failed: set[str] = set()
        for name, answer in zip(names, answers, strict=True):
            match answer:
                case OSError():
                    failed.add(name)
                    log.warning("%s cannot be resolved, it keeps the addresses that it had: %s", name, answer)
                case BaseException():
                    raise answer
                case addresses if addresses != self.addresses.get(name):
                    self.addresses[name] = addresses
                    changed.add(name)
                case _:
                    pass
        for name in self.addresses.keys() - set(names):
            del self.addresses[name]
        changed |= failed ^ self.failed
        self.failed = frozenset(failed)
        return frozenset(changed)

"""Load balancers as they register themselves in one cluster's ZooKeeper, and what each has brought about of each service.

A picture kept by watches: level-triggered, read again whenever anything may have changed. It is read by every replica, leading or not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from shuren.domain.errors import Invalid, ShurenError
from shuren.domain.service import wire
from shuren.domain.service.snapshot import BalancerSeen
from shuren.domain.service.values import Applied, LoadBalancer, ServiceName
from shuren.ports.clock import Clock
from shuren.ports.zookeeper import ZooKeeper

log = logging.getLogger(__name__)

_RETRY = 0.5
_RETRY_SLOWEST = 10.0

Changed = Callable[[frozenset[ServiceName] | None], None]
"""Gets the services of which a load balancer says something new; None when load balancers themselves have come, gone or fallen silent."""

Stale = tuple[str, str]
"""What is to be read again: (load balancer, service); ("", "") is the list of load balancers, (id, "") one of them."""


@dataclass(kw_only=True, slots=True)
class _Seen:
    """One load balancer. `balancer` is None while its node cannot be read."""

    balancer: LoadBalancer | None = None
    applied: dict[str, Applied] = field(default_factory=dict)
    watches: dict[str, Callable[[], None]] = field(default_factory=dict)


class Edge:
    """See the module."""

    def __init__(self, *, zookeeper: ZooKeeper, clock: Clock, changed: Changed) -> None:
        self._zookeeper = zookeeper
        self._clock = clock
        self._changed = changed
        self._seen: dict[str, _Seen] = {}
        self._stale: set[Stale] = {("", "")}
        self._wake = asyncio.Event()

    def balancers(self, group: str, service: ServiceName) -> tuple[BalancerSeen, ...]:
        """All load balancers of a group, by id, with what each has acknowledged of the service."""
        return tuple(
            BalancerSeen(balancer=seen.balancer, applied=seen.applied.get(str(service)))
            for _, seen in sorted(self._seen.items())
            if seen.balancer is not None and seen.balancer.group == group
        )

    # ------------------------------------------------------------------------------------------------ running

    async def run(self) -> None:
        """Keep the picture until cancelled."""
        unwatch = self._zookeeper.watch(wire.LOAD_BALANCERS, self._waker(("", "")))
        failures = 0
        try:
            while True:
                try:
                    await self.read()
                    failures = 0
                except ShurenError as error:
                    failures += 1
                    log.debug("load balancers cannot be read: %s", error)
                    await self._clock.sleep(min(_RETRY * 2 ** (failures - 1), _RETRY_SLOWEST))
                if not self._stale:
                    self._wake.clear()
                    await self._wake.wait()
        finally:
            unwatch()
            for seen in self._seen.values():
                _unwatch(seen)

    def _waker(self, what: Stale) -> Callable[[], None]:
        def wake() -> None:
            self._stale.add(what)
            self._wake.set()

        return wake

    async def read(self) -> None:
        """Read what is stale, at first everything, the list first, since it says what else there is."""
        while self._stale:
            what = min(self._stale)
            self._stale.discard(what)
            try:
                await self._read_one(what)
            except BaseException:
                self._stale.add(what)
                raise

    async def _read_one(self, what: Stale) -> None:
        balancer, service = what
        if not balancer:
            await self._read_list()
        elif balancer not in self._seen:
            return
        elif not service:
            await self._read_balancer(balancer)
        else:
            await self._read_applied(balancer, service)

    async def _read_list(self) -> None:
        names = set(await self._zookeeper.children(wire.LOAD_BALANCERS) or ())
        for gone in self._seen.keys() - names:
            _unwatch(self._seen.pop(gone))
            self._changed(None)
        for new in sorted(names - self._seen.keys()):
            seen = self._seen[new] = _Seen()
            base = f"{wire.LOAD_BALANCERS}/{new}"
            for path in (base, f"{base}/live", f"{base}/applied"):
                seen.watches[path] = self._zookeeper.watch(path, self._waker((new, "")))
            self._stale.add((new, ""))

    async def _read_balancer(self, name: str) -> None:
        base = f"{wire.LOAD_BALANCERS}/{name}"
        node, live = await self._zookeeper.get_many([base, f"{base}/live"])
        services = set(await self._zookeeper.children(f"{base}/applied") or ())
        seen = self._seen[name]
        before = seen.balancer
        try:
            seen.balancer = None if node is None else wire.decode_load_balancer(node.data, balancer=name, live=live is not None)
        except Invalid as error:
            log.warning("%s: %s", base, error)
            seen.balancer = None
        for gone in seen.applied.keys() - services:
            del seen.applied[gone]
            seen.watches.pop(f"{base}/applied/{gone}", lambda: None)()
        for service in services:
            path = f"{base}/applied/{service}"
            if path not in seen.watches:
                seen.watches[path] = self._zookeeper.watch(path, self._waker((name, service)))
                self._stale.add((name, service))
        if seen.balancer != before:
            self._changed(None)

    async def _read_applied(self, name: str, service: str) -> None:
        node = await self._zookeeper.get(f"{wire.LOAD_BALANCERS}/{name}/applied/{service}")
        seen = self._seen[name]
        which = ServiceName.parse(service)
        before = seen.applied.get(service)
        if node is None:
            seen.applied.pop(service, None)
        else:
            try:
                seen.applied[service] = wire.decode_applied(node.data, service=which)
            except Invalid as error:
                log.warning("%s of load balancer %s: %s", service, name, error)
        if seen.applied.get(service) != before:
            self._changed(frozenset({which}))


def _unwatch(seen: _Seen) -> None:
    for stop in seen.watches.values():
        stop()

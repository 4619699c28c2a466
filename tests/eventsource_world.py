"""A source of events at work, what it delivers, and the API server that it watches: for the contract tests of sources."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from shuren.clients.clock import SystemClock
from shuren.clients.kubernetes.config import Access
from shuren.domain.identity import ObjectKey
from shuren.operator.kopf_source import KopfSource
from shuren.operator.native_source import NativeSource
from shuren.ports.kubernetes import MESOS_CLUSTERS, PAAS_APPS, Kubernetes, Object
from shuren.ports.source import EventSource
from shuren.runtime.store import Store

KINDS = (MESOS_CLUSTERS, PAAS_APPS)


@dataclass
class Recording:
    """A sink: the state that the calls add up to, and the calls."""

    store: Store = field(default_factory=Store)
    calls: list[tuple[str, ObjectKey]] = field(default_factory=list)
    loops: set[int] = field(default_factory=set)

    def upsert(self, key: ObjectKey, item: Object, *, initial: bool) -> None:
        self.loops.add(id(asyncio.get_running_loop()))
        self.calls.append(("initial" if initial else "upsert", key))
        self.store.put(key, item)

    def delete(self, key: ObjectKey) -> None:
        self.loops.add(id(asyncio.get_running_loop()))
        self.calls.append(("delete", key))
        self.store.remove(key)


@dataclass(frozen=True)
class World:
    """An API server to act on, a namespace in it, and how to watch it."""

    kubernetes: Kubernetes
    namespace: str
    access: Access | None

    def source(self, sink: Recording, *, kopf: bool, namespaces: tuple[str, ...]) -> EventSource:
        clock = SystemClock()
        if kopf:
            assert self.access is not None
            return KopfSource(
                access=self.access, kubernetes=self.kubernetes, resources=KINDS, sink=sink, namespaces=namespaces, clock=clock
            )
        return NativeSource(
            kubernetes=self.kubernetes, resources=KINDS, sink=sink, namespaces=namespaces, clock=clock, chance=random.random
        )


@dataclass(frozen=True)
class Running:
    """A source at work."""

    source: EventSource
    sink: Recording
    task: asyncio.Task[None]


async def until(question: Callable[[], bool], *, seconds: float = 30.0) -> None:
    """Return as soon as the answer is yes."""
    async with asyncio.timeout(seconds):
        while not question():
            await asyncio.sleep(0.02)

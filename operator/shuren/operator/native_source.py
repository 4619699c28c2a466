"""Our own list+watch as the event source."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from shuren.clients.kubernetes.source import Reflector
from shuren.ports.clock import Clock
from shuren.ports.kubernetes import Kubernetes, Resource
from shuren.ports.source import Sink


class NativeSource:
    """The `EventSource` port on reflectors: one per kind and namespace."""

    def __init__(
        self,
        *,
        kubernetes: Kubernetes,
        resources: Iterable[Resource],
        sink: Sink,
        namespaces: tuple[str, ...],
        clock: Clock,
        chance: Callable[[], float],
    ) -> None:
        self._reflectors = [
            Reflector(kubernetes=kubernetes, resource=resource, sink=sink, clock=clock, namespace=namespace, chance=chance)
            for resource in resources
            for namespace in (namespaces if resource.namespaced and namespaces else ("",))
        ]

    async def run(self) -> None:
        """Deliver until cancelled."""
        async with asyncio.TaskGroup() as group:
            for reflector in self._reflectors:
                group.create_task(reflector.run())

    def synced(self) -> bool:
        """Whether every list has been delivered."""
        return all(reflector.synced for reflector in self._reflectors)

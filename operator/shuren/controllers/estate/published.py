"""Reads what lies in one cluster's ZooKeeper of services: for the operator once per term, for `shuren plan` once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from shuren.domain.errors import Invalid
from shuren.domain.service import records, wire
from shuren.domain.service.snapshot import Published
from shuren.domain.service.values import EndpointSet, Route, ServiceName
from shuren.ports.zookeeper import FencedZooKeeper, Node

log = logging.getLogger(__name__)

V = TypeVar("V")


@dataclass(kw_only=True, slots=True)
class Entry:
    """A service as it lies in ZooKeeper. `nodes` are those of ours below the root that exist; `chunks` the children of the head."""

    published: Published = field(default_factory=Published)
    nodes: set[str] = field(default_factory=set)
    chunks: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.published) or bool(self.nodes)


async def services_in(zookeeper: FencedZooKeeper) -> list[ServiceName]:
    """All services of which something lies there."""
    names: set[str] = set()
    for parent in (wire.ENDPOINTS, wire.NAMES, records.JOURNAL):
        names.update(await zookeeper.children(parent) or ())
    for group in await zookeeper.children(wire.ROUTES) or ():
        names.update(await zookeeper.children(f"{wire.ROUTES}/{group}") or ())
    return sorted(ServiceName.parse(name) for name in names)


async def groups_in(zookeeper: FencedZooKeeper) -> tuple[str, ...]:
    """Groups of load balancers that have routes."""
    return await zookeeper.children(wire.ROUTES) or ()


async def entry_of(zookeeper: FencedZooKeeper, service: ServiceName, groups: Sequence[str]) -> Entry:
    """One service. What cannot be decoded counts as not there: it is written anew."""
    paths = [f"{parent}/{service}" for parent in (wire.ENDPOINTS, wire.NAMES, records.JOURNAL)]
    paths += [f"{wire.ROUTES}/{group}/{service}" for group in groups]
    nodes = await zookeeper.get_many(paths)
    head, names, journal = nodes[:3]
    chunks = await zookeeper.children(paths[0]) if head is not None else ()
    routes: dict[str, Route] = {}
    for group, node in zip(groups, nodes[3:], strict=True):
        route = _or_none(node, partial(wire.decode_route, service=service, group=group))
        if route is not None:
            routes[group] = route
    published = Published(
        endpoints=await _endpoints(zookeeper, paths[0], head),
        names=_or_none(names, partial(wire.decode_names, service=service)),
        routes=routes,
        journal=await _journal(zookeeper, journal),
    )
    existing = {path for path, node in zip(paths, nodes, strict=True) if node is not None}
    return Entry(published=published, nodes=existing, chunks=tuple(chunks or ()))


async def strangers(
    zookeeper: FencedZooKeeper, folders: Iterable[records.RecordFolder], journal: Mapping[str, str]
) -> dict[str, tuple[str, ...]]:
    """Nodes in these folders that are not ours, by folder; folders with nodes of ours already are not asked about."""
    found: dict[str, tuple[str, ...]] = {}
    for folder in folders:
        if any(path.rpartition("/")[0] == folder.path for path in journal):
            continue
        children = await zookeeper.whole.children(folder.path)
        others = records.foreign(folder, children or (), journal)
        if others:
            found[folder.path] = others
    return found


async def _endpoints(zookeeper: FencedZooKeeper, path: str, node: Node | None) -> EndpointSet | None:
    if node is None:
        return None
    try:
        head = wire.decode_head(node.data)
        names = [wire.chunk_name(head.generation, i) for i in range(head.chunks)]
        chunks = [n.data for n in await zookeeper.get_many([f"{path}/{name}" for name in names]) if n is not None]
        return wire.decode_endpoints(head, chunks)
    except Invalid as error:
        log.warning("%s: %s; it is written anew", path, error)
        return None


async def _journal(zookeeper: FencedZooKeeper, node: Node | None) -> dict[str, str]:
    """Our records as they are: what somebody deleted is not there, and what somebody changed is not what we wrote."""
    listed = records.decode_journal(node.data) if node is not None else {}
    nodes = await zookeeper.whole.get_many(list(listed))
    return {path: records.digest(found.data) for path, found in zip(listed, nodes, strict=True) if found is not None}


def _or_none(node: Node | None, decode: Callable[[bytes], V]) -> V | None:
    if node is None:
        return None
    try:
        return decode(node.data)
    except Invalid as error:
        log.warning("%s; it is written anew", error)
        return None

"""The live world, read once and never written: Kubernetes' objects in a store, and the clusters that they are about."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field

from shuren.cli.session import Session, key_of
from shuren.clients.clock import SystemClock
from shuren.clients.parts import Parts, parts_of
from shuren.controllers.estate.roster import Unconnected
from shuren.controllers.estate.survey import Survey, look
from shuren.controllers.identity import cluster_of
from shuren.controllers.mesoscluster import gather as cluster_gather
from shuren.controllers.preview import LookedUp, Preview
from shuren.domain.app.snapshot import OWNER_LABEL, Problem
from shuren.domain.cluster import Blocked, ClusterSettings, Credentials, Obstacle
from shuren.domain.errors import Denied, Invalid, ShurenError
from shuren.domain.identity import ObjectKey
from shuren.domain.marathon.advice import advise
from shuren.domain.preview.whole import Unknown
from shuren.domain.service.slices import MANAGED_BY, MANAGED_BY_LABEL, SERVICE_MANAGED_BY_LABEL
from shuren.ports.kubernetes import (
    CONTROLLER_REVISIONS,
    ENDPOINT_SLICES,
    MESOS_CLUSTERS,
    NAMESPACES,
    PAAS_APPS,
    PAAS_SERVICES,
    SECRETS,
    SERVICES,
    SHARD_MAPS,
    Object,
    Resource,
)
from shuren.runtime.store import Store

_PATIENCE = 8.0
"""Seconds that a ZooKeeper gets to answer."""

_SELECTED = {
    CONTROLLER_REVISIONS: OWNER_LABEL,
    SERVICES: f"{SERVICE_MANAGED_BY_LABEL}={MANAGED_BY}",
    ENDPOINT_SLICES: f"{MANAGED_BY_LABEL}={MANAGED_BY}",
}
"""Kinds of which only what is ours is read."""


@dataclass(frozen=True, kw_only=True)
class Reached:
    """A cluster that is connected: what was seen of it, and the clients for more."""

    survey: Survey
    parts: Parts


@dataclass(frozen=True, kw_only=True)
class LiveWorld:
    """`clusters` fulfils what the kinds ask of clusters. `unknown` says what could not be read at all."""

    store: Store
    reached: Mapping[str, Reached] = field(default_factory=dict)
    unconnected: Mapping[str, Unconnected] = field(default_factory=dict)
    unknown: tuple[Unknown, ...] = ()

    def get(self, name: str) -> Survey | Unconnected | None:
        """The cluster; None when there is no such MesosCluster."""
        if name in self.reached:
            return self.reached[name].survey
        if name in self.unconnected:
            return self.unconnected[name]
        declared = self.store.get(ObjectKey(kind=MESOS_CLUSTERS.kind, namespace="", name=name))
        return Unconnected(name=name) if declared is not None else None

    def names(self) -> tuple[str, ...]:
        """All that are declared."""
        return tuple(sorted(key.name for key in self.store.keys(MESOS_CLUSTERS.kind)))


async def read_kubernetes(session: Session, *, namespaces: Collection[str] = ()) -> tuple[Store, tuple[Unknown, ...]]:
    """All that decisions look at in Kubernetes. Whoever may not list everywhere gets the namespaces that matter."""
    store, unknown = Store(), []
    kinds = (MESOS_CLUSTERS, PAAS_APPS, PAAS_SERVICES, SHARD_MAPS, NAMESPACES, CONTROLLER_REVISIONS, SERVICES, ENDPOINT_SLICES)
    for found, missing in await asyncio.gather(*(_listed(session, resource, namespaces) for resource in kinds)):
        for key, item in found:
            store.put(key, item)
        unknown += missing
    return store, tuple(unknown)


async def _listed(
    session: Session, resource: Resource, namespaces: Collection[str]
) -> tuple[list[tuple[ObjectKey, Object]], list[Unknown]]:
    selector = _SELECTED.get(resource, "")
    try:
        page = await session.kubernetes.list(resource, label_selector=selector)
    except Denied as error:
        return await _listed_in(session, resource, namespaces, error)
    return [(key_of(resource, item), item) for item in page.items], []


async def _listed_in(
    session: Session, resource: Resource, namespaces: Collection[str], refused: Denied
) -> tuple[list[tuple[ObjectKey, Object]], list[Unknown]]:
    """Only these namespaces. What is in others could collide with what is planned, and is not seen."""
    if resource is MESOS_CLUSTERS or not namespaces:
        raise refused
    if resource is NAMESPACES:
        items: list[Object] = []
        for name in sorted(namespaces):
            try:
                items += [item for item in [await session.kubernetes.get(NAMESPACES, "", name)] if item is not None]
            except Denied:
                return [], [Unknown(about=f"labels of namespace {name}", why="you may not read it, so rules of tenancy are judged without")]
        return [(key_of(resource, item), item) for item in items], []
    found: list[tuple[ObjectKey, Object]] = []
    for name in sorted(namespaces):
        page = await session.kubernetes.list(resource, namespace=name, label_selector=_SELECTED.get(resource, ""))
        found += [(key_of(resource, item), item) for item in page.items]
    return found, []


# ---------------------------------------------------------------------------------------------------- clusters


@asynccontextmanager
async def connected(
    session: Session, store: Store, *, clusters: Iterable[str], given: Mapping[ObjectKey, Object], unknown: tuple[Unknown, ...] = ()
) -> AsyncIterator[LiveWorld]:
    """Look at these clusters; connections end with the context. `given` are Secrets that are not in the API server yet."""
    # what a client says while it tries is told by the plan in its own words
    logging.getLogger("kazoo").setLevel(logging.CRITICAL)
    reached: dict[str, Reached] = {}
    unconnected: dict[str, Unconnected] = {}
    async with AsyncExitStack() as stack:
        for name in sorted(set(clusters)):
            item = store.get(ObjectKey(kind=MESOS_CLUSTERS.kind, namespace="", name=name))
            if item is None:
                continue
            try:
                settings = cluster_gather.settings(item)
                credentials = await credentials_of(session, settings, given)
                parts = parts_of(settings, credentials)
            except (Invalid, Denied) as error:
                obstacle = Obstacle(kind=Blocked.STALLED, reason="NotLookedAt", message=str(error))
                unconnected[name] = Unconnected(name=name, obstacle=obstacle)
                continue
            stack.push_async_callback(parts.close)
            reached[name] = Reached(survey=await _look(settings, parts), parts=parts)
        yield LiveWorld(store=store, reached=reached, unconnected=unconnected, unknown=unknown)


async def _look(settings: ClusterSettings, parts: Parts) -> Survey:
    with suppress(ShurenError):  # its first read says so, in the words of the view
        await parts.zookeeper.connect(within=_PATIENCE)
    return await look(settings=settings, marathon=parts.marathon, mesos=parts.mesos, zookeeper=parts.root, clock=SystemClock())


async def credentials_of(session: Session, settings: ClusterSettings, given: Mapping[ObjectKey, Object]) -> Credentials:
    """What the Secrets of a MesosCluster hold. Denied, Invalid: in words for whoever runs the command."""
    secrets: dict[ObjectKey, Object | None] = {}
    for key in sorted(cluster_gather.wanted_secrets(settings)):
        try:
            secrets[key] = given[key] if key in given else await session.kubernetes.get(SECRETS, key.namespace, key.name)
        except Denied as error:
            raise Denied(
                f"you may not read Secret {key.namespace}/{key.name}, which holds the password of MesosCluster {settings.name} ({error})"
            ) from error
    found = cluster_gather.credentials(settings, secrets)
    if isinstance(found, Obstacle):
        raise Invalid(found.message)
    return found


def clusters_of(store: Store, keys: Iterable[ObjectKey]) -> frozenset[str]:
    """Clusters that these resources name, and those that they are leaving."""
    names: set[str] = set()
    for key in keys:
        item = store.get(key) or {}
        names |= {cluster_of(item.get("spec") or {}), str((item.get("status") or {}).get("cluster") or "")}
        if key.kind == MESOS_CLUSTERS.kind:
            names.add(key.name)
    return frozenset(names - {""})


def preview(session: Session, world: LiveWorld, *, given: Mapping[ObjectKey, Object] | None = None) -> Preview:
    """The operator's decisions on this world."""
    return Preview(
        kubernetes=session.kubernetes,
        store=world.store,
        clusters=world,
        references=LookedUp(session.kubernetes, given=given),
        clock=SystemClock(),
        adviser=lambda definition, view: [
            Problem(reason=found.reason, message=str(found)) for found in advise(definition, agents=view.agents, total=view.total)
        ],
    )

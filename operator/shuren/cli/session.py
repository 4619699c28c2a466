"""A command's connection to one Kubernetes cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from shuren.cli.access import choose
from shuren.cli.exits import Failed
from shuren.clients.kubernetes.client import KubernetesClient
from shuren.domain.identity import ObjectKey
from shuren.ports.kubernetes import MESOS_CLUSTERS, PAAS_APPS, PAAS_SERVICES, SHARD_MAPS, Object, Resource

OURS = (MESOS_CLUSTERS, PAAS_APPS, PAAS_SERVICES, SHARD_MAPS)
"""Kinds of this product that a command may name, as kubectl does."""

_SHORT = {
    "papp": PAAS_APPS,
    "psvc": PAAS_SERVICES,
    "mcl": MESOS_CLUSTERS,
    "shm": SHARD_MAPS,
    "app": PAAS_APPS,
    "service": PAAS_SERVICES,
}


@dataclass(frozen=True, kw_only=True)
class Session:
    """`namespace` is the one that was asked for, or that of the context; empty with --all-namespaces."""

    kubernetes: KubernetesClient
    server: str
    context: str
    namespace: str

    async def need(self, resource: Resource, name: str) -> Object:
        """An object that must be there."""
        namespace = self.namespace if resource.namespaced else ""
        item = await self.kubernetes.get(resource, namespace, name)
        if item is None:
            await self.kubernetes.list(resource, namespace=namespace, name=name)  # tells an unknown kind from an unknown name
            where = f" in namespace {namespace}" if namespace else ""
            raise Failed(f"there is no {resource.kind} {name}{where}; kubectl get {resource.plural} -A shows all")
        return item


@dataclass(frozen=True, kw_only=True)
class Where:
    """What the options of a command say of where it is to look; see `cli.options`."""

    kubeconfig: str = ""
    context: str = ""
    namespace: str = ""
    everywhere: bool = False


@asynccontextmanager
async def session(where: Where) -> AsyncIterator[Session]:
    """Connect; everything is closed at the end."""
    chosen = choose(kubeconfig=where.kubeconfig, context=where.context)
    kubernetes = KubernetesClient(chosen.access, timeout=20.0)
    try:
        yield Session(
            kubernetes=kubernetes,
            server=chosen.access.server,
            context=chosen.context,
            namespace="" if where.everywhere else where.namespace or chosen.access.namespace,
        )
    finally:
        await kubernetes.close()


def named(text: str, *, default: Resource = PAAS_APPS) -> tuple[Resource, str]:
    """`web`, `papp/web`, `paasservice/web`, `paasapps.paas.shurenyun.com/web`. Failed for a kind that is not ours."""
    kind, slash, name = text.rpartition("/")
    if not slash:
        return default, name
    word = kind.lower().partition(".")[0]
    for resource in OURS:
        if word in {resource.kind.lower(), resource.plural}:
            return resource, name
    if word in _SHORT:
        return _SHORT[word], name
    raise Failed(f"{text}: {kind} is no kind of Shuren; use papp/NAME, psvc/NAME, shm/NAME or mcl/NAME")


def key_of(resource: Resource, item: Object) -> ObjectKey:
    """The key of an object."""
    metadata = item["metadata"]
    return ObjectKey(kind=resource.kind, namespace=str(metadata.get("namespace") or ""), name=str(metadata["name"]))

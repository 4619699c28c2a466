"""The Kubernetes API as controllers and the runtime see it: a few verbs on JSON objects."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from shuren.domain.errors import Transient

Object = dict[str, Any]
"""One Kubernetes object as JSON."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Resource:
    """A kind as the API serves it. `group` is empty for core."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True


MESOS_CLUSTERS = Resource(group="paas.shurenyun.com", version="v1alpha1", plural="mesosclusters", kind="MesosCluster", namespaced=False)
PAAS_APPS = Resource(group="paas.shurenyun.com", version="v1alpha1", plural="paasapps", kind="PaasApp")
PAAS_SERVICES = Resource(group="paas.shurenyun.com", version="v1alpha1", plural="paasservices", kind="PaasService")
SHARD_MAPS = Resource(group="paas.shurenyun.com", version="v1alpha1", plural="shardmaps", kind="ShardMap")
SECRETS = Resource(group="", version="v1", plural="secrets", kind="Secret")
CONFIG_MAPS = Resource(group="", version="v1", plural="configmaps", kind="ConfigMap")
NAMESPACES = Resource(group="", version="v1", plural="namespaces", kind="Namespace", namespaced=False)
CONTROLLER_REVISIONS = Resource(group="apps", version="v1", plural="controllerrevisions", kind="ControllerRevision")
SERVICES = Resource(group="", version="v1", plural="services", kind="Service")
ENDPOINT_SLICES = Resource(group="discovery.k8s.io", version="v1", plural="endpointslices", kind="EndpointSlice")
LEASES = Resource(group="coordination.k8s.io", version="v1", plural="leases", kind="Lease")
EVENTS = Resource(group="events.k8s.io", version="v1", plural="events", kind="Event")


class Change(Enum):
    """What a watch says happened."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchEvent:
    """One event of a watch. A bookmark's object has only metadata.resourceVersion."""

    change: Change
    object: Object


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """A whole list (chunks already joined) and the resourceVersion to watch from."""

    items: list[Object]
    resource_version: str


class Expired(Transient):
    """410: the resourceVersion is too old; list again."""


class Kubernetes(Protocol):
    """Raises Unreachable (no answer, 5xx), Throttled (429), Denied (401, 403), Conflict (409), Exists, Gone (404 of a write), Invalid."""

    async def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """None when there is none."""

    async def list(
        self, resource: Resource, *, namespace: str = "", name: str = "", label_selector: str = "", metadata_only: bool = False
    ) -> Page:
        """All objects (or the one of that name), read in chunks of 500. `metadata_only` asks for PartialObjectMetadata."""

    def pages(
        self, resource: Resource, *, namespace: str = "", name: str = "", label_selector: str = "", metadata_only: bool = False
    ) -> AsyncIterator[Page]:
        """The same chunk by chunk, for whoever need not hold all at once. Expired when the server has forgotten the list half way."""

    def watch(
        self, resource: Resource, *, resource_version: str, namespace: str = "", name: str = "", label_selector: str = ""
    ) -> AsyncIterator[WatchEvent]:
        """Events after `resource_version`, bookmarks included. Ends normally at the server's timeout, and when nothing has come for so long
        that the connection may be dead; raises Expired, Unreachable.
        """

    async def create(self, resource: Resource, namespace: str, body: Object) -> Object:
        """POST. Exists when the name is taken."""

    async def replace(self, resource: Resource, namespace: str, name: str, body: Object) -> Object:
        """PUT with the resourceVersion inside `body` as compare-and-set. Conflict when it is stale, Gone when deleted."""

    async def delete(self, resource: Resource, namespace: str, name: str, *, uid: str = "") -> bool:
        """DELETE with a uid precondition when given. False when it was already gone."""

    async def apply_status(self, resource: Resource, namespace: str, name: str, status: Object, *, manager: str, uid: str = "") -> Object:
        """Server-side apply of `/status`, forced, as field manager `manager`: always the full set that the manager owns. Gone when deleted.

        With `uid` the apply is refused (Conflict) for a re-created object of the same name.
        """

    async def patch_json(
        self, resource: Resource, namespace: str, name: str, operations: Sequence[Object], *, subresource: str = ""
    ) -> Object:
        """JSON patch; `test` operations that fail raise Conflict."""

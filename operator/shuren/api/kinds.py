"""The kinds of the group and what the API server has to know about each beside its schema."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from shuren.api.v1alpha1.mesoscluster import MesosCluster, MesosClusterSpec, MesosClusterStatus
from shuren.api.v1alpha1.paasapp import PaasApp, PaasAppSpec, PaasAppStatus, ReadOnlyParts
from shuren.api.v1alpha1.paasservice import PaasService, PaasServiceSpec
from shuren.api.v1alpha1.paasservice_status import PaasServiceStatus
from shuren.api.v1alpha1.shardmap import ShardMap, ShardMapSpec
from shuren.api.v1alpha1.shardmap_status import ShardMapStatus

if TYPE_CHECKING:
    from shuren.api.nodes import Node

GROUP = "paas.shurenyun.com"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
CATEGORIES = ("shuren", "paas")


class Scope(StrEnum):
    """Where objects of a kind live."""

    CLUSTER = "Cluster"
    NAMESPACED = "Namespaced"


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of `kubectl get`; priority 1 shows with -o wide only."""

    name: str
    path: str
    type: str = "string"
    priority: int = 0
    description: str = ""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """JSON paths of the scale subresource."""

    spec: str
    status: str
    selector: str


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One custom resource definition."""

    model: type[Node]
    spec: type[Node]
    status: type[Node]
    plural: str
    short: str
    scope: Scope
    columns: tuple[Column, ...]
    spec_extras: tuple[type[Node], ...] = ()
    """Models whose fields the spec accepts beside its own and ignores."""
    scale: Scale | None = None
    selectable: tuple[str, ...] = ()
    """Fields that field selectors may use."""

    @property
    def name(self) -> str:
        """Kind, e.g. PaasApp."""
        return self.model.__name__

    @property
    def crd_name(self) -> str:
        """Name of the definition."""
        return f"{self.plural}.{GROUP}"


def condition(type_: str, field: str) -> str:
    """Give the JSON path of one condition's field."""
    return f'.status.conditions[?(@.type=="{type_}")].{field}'


READY = Column(name="Ready", path=condition("Ready", "status"), description="Summary: does it do what the spec says?")
REASON = Column(name="Reason", path=condition("Ready", "reason"), priority=1, description="Why it is (not) ready")
MESSAGE = Column(name="Message", path=condition("Ready", "message"), priority=1, description="Why it is (not) ready, for people")
AGE = Column(name="Age", path=".metadata.creationTimestamp", type="date")

KINDS = (
    Kind(
        model=MesosCluster,
        spec=MesosClusterSpec,
        status=MesosClusterStatus,
        plural="mesosclusters",
        short="mcl",
        scope=Scope.CLUSTER,
        columns=(
            READY,
            Column(name="Marathon", path=".status.marathon.version", description="Version of Marathon"),
            Column(name="Apps", path=".status.counts.apps", type="integer", description="Apps in this Marathon"),
            Column(name="Tasks", path=".status.counts.tasks", type="integer", description="Tasks of this Marathon"),
            Column(name="Agents", path=".status.mesos.agents", type="integer", description="Active agents"),
            Column(name="Leader", path=".status.marathon.leader", priority=1, description="Leading Marathon"),
            Column(name="ZK-Root", path=".spec.zookeeper.root", priority=1, description="Root of our records"),
            REASON,
            MESSAGE,
            AGE,
        ),
    ),
    Kind(
        model=PaasApp,
        spec=PaasAppSpec,
        status=PaasAppStatus,
        spec_extras=(ReadOnlyParts,),
        plural="paasapps",
        short="papp",
        scope=Scope.NAMESPACED,
        columns=(
            READY,
            Column(name="Instances", path=".status.ready", description="Ready and desired instances"),
            Column(name="Updated", path=".status.counts.updated", type="integer", description="Running instances of the target revision"),
            Column(name="Cluster", path=".spec.clusterRef.name", description="MesosCluster"),
            Column(name="Marathon-ID", path=".status.marathon.id", description="Path of the app in Marathon"),
            Column(name="Rollout", path=".status.rollout.phase", priority=1, description="How far a gated roll-out has come"),
            Column(name="Waiting", path=".status.waiting.reason", priority=1, description="Why instances do not start"),
            Column(name="Revision", path=".status.revision.current", priority=1, description="Revision that runs"),
            REASON,
            MESSAGE,
            AGE,
        ),
        scale=Scale(spec=".spec.instances", status=".status.instances", selector=".status.selector"),
        selectable=(".spec.clusterRef.name",),
    ),
    Kind(
        model=PaasService,
        spec=PaasServiceSpec,
        status=PaasServiceStatus,
        plural="paasservices",
        short="psvc",
        scope=Scope.NAMESPACED,
        columns=(
            READY,
            Column(name="Endpoints", path=".status.ready", description="Ready endpoints of all"),
            Column(name="Cluster", path=".spec.clusterRef.name", description="MesosCluster"),
            Column(name="Name", path=".status.names[0]", description="DNS name"),
            Column(name="Address", path=".status.addresses[0]", priority=1, description="Where load balancers listen for it"),
            Column(name="Generation", path=".status.generation", type="integer", priority=1, description="Published endpoints"),
            REASON,
            MESSAGE,
            AGE,
        ),
        selectable=(".spec.clusterRef.name",),
    ),
    Kind(
        model=ShardMap,
        spec=ShardMapSpec,
        status=ShardMapStatus,
        plural="shardmaps",
        short="shm",
        scope=Scope.NAMESPACED,
        columns=(
            READY,
            Column(name="Settled", path=".status.progress", description="Shards that are where they should be, of all"),
            Column(name="Members", path=".status.members.live", type="integer", description="Registered members"),
            Column(name="Moving", path=".status.moves.active", type="integer", description="Shards that move"),
            Column(name="Cluster", path=".spec.clusterRef.name", description="MesosCluster"),
            Column(name="Generation", path=".status.generations.published", type="integer", priority=1, description="Published table"),
            Column(name="Path", path=".status.path", priority=1, description="Where the map lies in ZooKeeper"),
            REASON,
            MESSAGE,
            AGE,
        ),
        selectable=(".spec.clusterRef.name",),
    ),
)

"""Everything that a decision about one PaasService needs, as values. `controllers.paasservice.gather` fills it; nothing here does I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from shuren.domain.app.snapshot import ClusterView, Problem
from shuren.domain.identity import ObjectKey
from shuren.domain.json import JsonValue
from shuren.domain.marathon.state import ActualApp
from shuren.domain.service.observe import Agent, PortRef
from shuren.domain.service.records import RecordFolder
from shuren.domain.service.values import Applied, EndpointSet, LoadBalancer, Names, Route, ServiceName
from shuren.domain.tenancy import Selector

FINALIZER = "paas.shurenyun.com/service"


@dataclass(frozen=True, kw_only=True)
class ServiceResource:
    """The PaasService itself. `created` (RFC 3339) and uid decide between two that want the same."""

    key: ObjectKey
    uid: str
    generation: int
    created: str = ""
    deleting: bool = False
    finalizers: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    status: Mapping[str, JsonValue] = field(default_factory=dict)

    @property
    def name(self) -> ServiceName:
        """As in ZooKeeper."""
        return ServiceName(namespace=self.key.namespace, name=self.key.name)


@dataclass(frozen=True, kw_only=True)
class BackendSpec:
    """One of `spec.backends`: exactly one of `app` (a PaasApp's name), `selector` and `addresses` says where."""

    name: str
    weight: int = 100
    port: PortRef = 0
    app: str = ""
    selector: Selector | None = None
    addresses: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, kw_only=True)
class KubernetesTarget:
    """`spec.discovery.kubernetes`."""

    service: str
    port: int


@dataclass(frozen=True, kw_only=True)
class ServiceSpec:
    """`spec`, with defaults. `names` are relative to the zone; `listener` is `spec.loadBalancer` with defaults filled in, for `group`."""

    cluster: str
    backends: tuple[BackendSpec, ...]
    protocol: str = "tcp"
    panic_threshold: float = 0.5
    folders: tuple[RecordFolder, ...] = ()
    kubernetes: KubernetesTarget | None = None
    names: tuple[str, ...] = ()
    group: str = ""
    listener: Mapping[str, JsonValue] | None = None
    suspend: bool = False


@dataclass(frozen=True, kw_only=True)
class AppSeen:
    """A PaasApp that a backend names. `cluster` is the one that it is in; `app` what Marathon has of it, None before it is created.

    While a gated roll-out is under way `beside_id` and `beside` are its second app, which gets `weight` percent of the PaasApp's traffic.
    """

    name: str
    exists: bool = True
    cluster: str = ""
    app_id: str = ""
    app: ActualApp | None = None
    beside_id: str = ""
    beside: ActualApp | None = None
    weight: int = 0

    @property
    def ids(self) -> frozenset[str]:
        """Its ids in Marathon."""
        return frozenset({self.app_id, self.beside_id} - {""})


@dataclass(frozen=True, kw_only=True)
class Rival:
    """Something that another, older service holds already. `path` is the field of ours that asks for it, `holder` its `namespace/name`."""

    path: str
    value: str
    holder: str


@dataclass(frozen=True, kw_only=True)
class Published:
    """What lies in ZooKeeper of this service. `routes` by group: more than one while the group changes."""

    endpoints: EndpointSet | None = None
    routes: Mapping[str, Route] = field(default_factory=dict)
    names: Names | None = None
    journal: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.endpoints is not None or bool(self.routes) or self.names is not None or bool(self.journal)


@dataclass(frozen=True, kw_only=True)
class BalancerSeen:
    """A load balancer of the service's group, and what it has acknowledged; None when nothing yet."""

    balancer: LoadBalancer
    applied: Applied | None = None


@dataclass(frozen=True, kw_only=True)
class KubernetesSeen:
    """The Service and slices of `spec.discovery.kubernetes`. `read` is False before they were listed.

    `service` is None when there is none; `ours` whether this PaasService owns it. `slices` are those that we own, also of former names.
    """

    read: bool = True
    service: Mapping[str, Any] | None = None
    ours: bool = False
    slices: tuple[Mapping[str, Any], ...] = ()
    services: tuple[str, ...] = ()
    """Names of all Services that we own."""


@dataclass(frozen=True, kw_only=True)
class ServiceSnapshot:
    """One look at the world.

    `problem` says why the spec is None or may not be followed. `apps` are, for each backend, the PaasApps it stands for. `rivals` lists
    what others hold; `foreign` gives, for folders of records that are not in our journal yet, the nodes of others in them. `withdrawn` are
    things of this service in clusters that it has left.
    """

    resource: ServiceResource
    cluster: ClusterView
    spec: ServiceSpec | None = None
    problem: Problem | None = None
    zone: str = ""
    record_roots: tuple[str, ...] = ()
    apps: tuple[tuple[AppSeen, ...], ...] = ()
    agents: Mapping[str, Agent] = field(default_factory=dict)
    draining: frozenset[str] = frozenset()
    rivals: tuple[Rival, ...] = ()
    route_problems: tuple[str, ...] = ()
    """What of `spec.loadBalancer` an older service holds, each as `path: sentence`."""
    addresses: tuple[str, ...] = ()
    """Where load balancers listen for it, for people."""
    foreign: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    published: Published | None = None
    kubernetes: KubernetesSeen = field(default_factory=KubernetesSeen)
    balancers: tuple[BalancerSeen, ...] = ()
    elsewhere: tuple[str, ...] = ()
    """Names of other clusters in which something of this service is still published."""
    elsewhere_unreachable: tuple[str, ...] = ()
    """Of these (or of the former cluster), those that cannot be written now."""
    now: datetime = datetime(1970, 1, 1, tzinfo=UTC)

"""The kind PaasService: one or more apps (or addresses outside) under one name, found and reached."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from shuren.api.nodes import Int, Matches, Node, Port, Rule, Share, kubernetes, without_nulls
from shuren.api.v1alpha1.loadbalancer import LoadBalancer
from shuren.api.v1alpha1.metadata import ObjectMeta, lenient_status
from shuren.api.v1alpha1.paasservice_status import PaasServiceStatus
from shuren.api.v1alpha1.references import LabelSelector, NameRef

RecordPath = Annotated[
    str,
    Field(min_length=2, max_length=512),
    Matches("(/[A-Za-z0-9_][-._A-Za-z0-9]*)+", "path is a ZooKeeper path, such as /discovery/web"),
]
DnsLabelPath = Annotated[
    str,
    Field(min_length=1, max_length=200),
    Matches(
        "[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9])?([.][a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9])?)*",
        "a name is relative to the cluster's zone, in lower case, such as web.shop",
    ),
]
_HOST = r"[A-Za-z0-9]([-.A-Za-z0-9]*[A-Za-z0-9])?|[0-9a-fA-F:]+"


class Protocol(StrEnum):
    """Transport of a service."""

    TCP = "TCP"
    UDP = "UDP"


class Address(Node):
    """One place outside of Mesos."""

    host: Annotated[str, Field(min_length=1, max_length=253), Matches(_HOST, "a host name or an IP address is needed")]
    """IP address or host name; load balancers and name servers resolve names themselves."""
    port: Annotated[Port, Field(ge=1)]
    """Port."""


class Backend(Node):
    """Where part of the traffic goes: one app, all apps with certain labels, or fixed addresses."""

    rules = (
        Rule(
            cel="[has(self.appRef), has(self.selector), has(self.addresses)].filter(x, x).size() == 1",
            holds=lambda b: sum(x is not None for x in (b.app_ref, b.selector, b.addresses)) == 1,
            message="give exactly one of appRef, selector and addresses",
        ),
        Rule(
            cel="!(has(self.portName) && has(self.portIndex))",
            holds=lambda b: b.port_name is None or b.port_index is None,
            message="give portName or portIndex, not both",
            at="portIndex",
        ),
        Rule(
            cel="!has(self.addresses) || !(has(self.portName) || has(self.portIndex))",
            holds=lambda b: b.addresses is None or (b.port_name is None and b.port_index is None),
            message="addresses carry their own ports: leave portName and portIndex out",
            at="addresses",
        ),
    )

    name: Annotated[
        str, Field(min_length=1, max_length=63), Matches("[a-z0-9]([-a-z0-9]*[a-z0-9])?", "a name has lower-case letters, digits and -")
    ]
    """Name of the backend within the service, e.g. stable or canary."""
    app_ref: NameRef | None = None
    """A PaasApp of the same namespace."""
    selector: LabelSelector | None = None
    """PaasApps of the same namespace and cluster by their labels."""
    addresses: Annotated[list[Address], Field(min_length=1, max_length=256)] | None = None
    """Places outside of Mesos, e.g. a database."""
    port_name: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    """Port of the apps by its name in portDefinitions or portMappings."""
    port_index: Annotated[Int, Field(ge=0, le=127)] | None = None
    """Port of the apps by its place. Default: 0, the first."""
    weight: Annotated[Int, Field(ge=0, le=1000)] = 100
    """Share of the traffic relative to the other backends, however many instances each has; 0: none."""


class RecordFolder(Node):
    """A folder of discovery records in the cluster's ZooKeeper."""

    path: RecordPath
    """Folder; below one of the cluster's spec.tenancy.recordRoots, and nobody else's."""


class ServersetFolder(RecordFolder):
    """Records of Finagle and Aurora."""

    additional_ports: Annotated[list[Annotated[str, Field(min_length=1, max_length=63)]], Field(max_length=32)] | None = None
    """Names of further ports to tell as additionalEndpoints."""


class CuratorFolder(RecordFolder):
    """Records of Curator's x-discovery."""

    enabled_field: bool = True
    """Whether to write `enabled`, which readers before Curator 2.9 (CURATOR-275) refuse."""


class KubernetesService(Node):
    """A selectorless Service with EndpointSlices in the same namespace, so that pods reach the service by name."""

    service: Annotated[
        str, Field(min_length=1, max_length=63), Matches("[a-z]([-a-z0-9]*[a-z0-9])?", "a Service's name begins with a letter")
    ]
    """Name of the Service; must not exist yet, or be ours."""
    port: Annotated[Port, Field(ge=1)]
    """Port of the Service."""


class Discovery(Node):
    """Records for existing clients."""

    serverset: ServersetFolder | None = None
    """Finagle, Aurora: member_ nodes and, when weights differ, a vector_."""
    curator: CuratorFolder | None = None
    """Curator x-discovery; the last part of the path is the service's name."""
    nerve: RecordFolder | None = None
    """SmartStack nerve."""
    kubernetes: KubernetesService | None = None
    """A Service with EndpointSlices."""


class Dns(Node):
    """Names in the cluster's zone."""

    names: Annotated[list[DnsLabelPath], Field(min_length=1, max_length=16)] | None = None
    """Names relative to the zone. Default: <name>.<namespace>."""


class PaasServiceSpec(Node):
    """What makes up the service, and who is told of it."""

    cluster_ref: NameRef
    """MesosCluster; all backends are in this one."""
    backends: Annotated[
        list[Backend], Field(min_length=1, max_length=16, json_schema_extra=kubernetes(list_type="map", list_map_keys=["name"]))
    ]
    """Where traffic goes."""
    protocol: Annotated[Protocol, Field(strict=False)] = Protocol.TCP
    """Transport of the service's port, for SRV records and EndpointSlices."""
    panic_threshold: Share = 0.5
    """Share of endpoints that may turn unhealthy at once; when more do, those that served go on serving and condition Panic says so."""
    discovery: Discovery | None = None
    """Records for existing clients."""
    dns: Dns | None = None
    """Names in the cluster's zone. Default: one name, <name>.<namespace>."""
    load_balancer: LoadBalancer | None = None
    """How load balancers carry the service. Default: not at all."""
    suspend: bool = False
    """Whether to publish nothing new until it is false again; what is published stays."""


class PaasService(Node):
    """Apps on a Mesos cluster under one name: endpoints, discovery records, DNS names, load-balancer routes."""

    api_version: Literal["paas.shurenyun.com/v1alpha1"] = "paas.shurenyun.com/v1alpha1"
    """Group and version."""
    kind: Literal["PaasService"] = "PaasService"
    """Kind."""
    metadata: ObjectMeta
    """Name, namespace, generation, …"""
    spec: PaasServiceSpec
    """What is asked for."""
    status: Annotated[PaasServiceStatus | None, lenient_status(PaasServiceStatus)] = None
    """What was found and done."""


def read(obj: Mapping[str, Any]) -> PaasService:
    """Read a PaasService from its JSON. Raises pydantic.ValidationError, as `paasapp.read` does."""
    return PaasService.model_validate(without_nulls(dict(obj)))

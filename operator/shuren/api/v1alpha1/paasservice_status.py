"""Status of a PaasService: counts and generations, never endpoints themselves."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shuren.api.nodes import Node, kubernetes
from shuren.api.v1alpha1.conditions import Conditions

Count = Annotated[int, Field(ge=0)]
Text = Annotated[str, Field(max_length=2048)]
Short = Annotated[str, Field(max_length=253)]


class EndpointCounts(Node):
    """Endpoints by state."""

    total: Count
    """All of them."""
    ready: Count
    """Taking traffic."""
    starting: Count
    """Not yet healthy and ready."""
    draining: Count
    """Will be removed; finish what they have."""
    unhealthy: Count
    """Proven bad."""


class BackendRollout(Node):
    """A gated roll-out of an app of this backend, as far as this service carries it."""

    app: Short
    """The PaasApp."""
    id: Annotated[str, Field(max_length=1024)]
    """Marathon id of the app beside the one that it lives on."""
    weight: Count
    """Percent of the PaasApp's traffic that goes there."""
    ready: Count
    """Endpoints there that take traffic."""
    acknowledged: bool
    """Whether every live load balancer carries this weight."""


class BackendStatus(Node):
    """One backend."""

    name: Short
    """Name of the backend."""
    ready: Count
    """Its endpoints that take traffic."""
    total: Count
    """Its endpoints."""
    weight: Count
    """Its share, as asked for."""
    rollouts: Annotated[list[BackendRollout], Field(max_length=16)] | None = None
    """Gated roll-outs of its apps."""


class LoadBalancerStatus(Node):
    """What one load balancer has brought about."""

    id: Short
    """Its name."""
    live: bool
    """Whether its agent is there; when not, its HAProxy may still serve."""
    generation: Count
    """Generation of the endpoints that it carries in full."""
    behind: Count
    """How many generations it is behind what is published."""
    reloads: Count
    """Reloads since its agent started."""
    last_reload: Text | None = None
    """When and why it last reloaded."""
    problem: Text | None = None
    """Why it leaves the service out."""


class PaasServiceStatus(Node):
    """What was found and done."""

    observed_generation: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})] | None = None
    """`metadata.generation` that this status was concluded from."""
    cluster: Short | None = None
    """MesosCluster that the service is published in."""
    generation: Count | None = None
    """Generation of the published endpoints."""
    endpoints: EndpointCounts | None = None
    """Endpoints by state."""
    ready: Annotated[str, Field(max_length=32)] | None = None
    """Ready endpoints of all, for people: 3/4."""
    backends: (
        Annotated[list[BackendStatus], Field(max_length=16, json_schema_extra=kubernetes(list_type="map", list_map_keys=["name"]))] | None
    ) = None
    """Backends."""
    names: Annotated[list[Short], Field(max_length=16)] | None = None
    """DNS names in full."""
    addresses: Annotated[list[Text], Field(max_length=64)] | None = None
    """Where load balancers listen for it, e.g. http://shop.example."""
    records: Annotated[list[Text], Field(max_length=8)] | None = None
    """Folders of discovery records."""
    load_balancers: (
        Annotated[list[LoadBalancerStatus], Field(max_length=64, json_schema_extra=kubernetes(list_type="map", list_map_keys=["id"]))]
        | None
    ) = None
    """Load balancers of the group, by what they have acknowledged."""
    conditions: Conditions | None = None
    """Ready, Reconciling, Stalled, Panic, and what else is to be known."""

"""What is said about a service beside traffic: endpoints and their states, routes, names, and what load balancers answer.

The operator writes these values to ZooKeeper (`shuren.domain.service.wire` gives them their form there), load balancers and name servers
read them. Readers ignore what they do not know, so that a newer operator can work with older readers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from shuren.domain.json import JsonValue


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class ServiceName:
    """A PaasService by namespace and name; its node in ZooKeeper is `<namespace>.<name>` (neither a namespace has dots)."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}.{self.name}"

    @classmethod
    def parse(cls, text: str) -> ServiceName:
        """The inverse of `str`: namespaces have no dots, names may."""
        namespace, _, name = text.partition(".")
        return cls(namespace=namespace, name=name)


class EndpointState(Enum):
    """STARTING: not yet healthy and ready, or health never known. READY: takes traffic. DRAINING: will be removed, finishes what it has.

    UNHEALTHY: proven bad.
    """

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    UNHEALTHY = "unhealthy"


MAX_WEIGHT = 256
"""HAProxy's largest weight of a server; 0 takes no new traffic."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """One place where a service answers.

    `id` names it for as long as it exists (of a task: its id and the port's index, so a new incarnation is a new endpoint; of an external
    address: host and port) and is unique within the service. `address` is an IP address, or a host name that readers resolve. `weight`
    0..256, absolute. `ports` are further ports of the same task by name. `agent` is the agent's host name, `zone` its fault domain.
    """

    id: str
    address: str
    port: int
    state: EndpointState
    weight: int = 100
    task: str = ""
    app: str = ""
    agent: str = ""
    zone: str = ""
    ports: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class EndpointSet:
    """All endpoints of a service, sorted by id. `generation` rises by one with each change, from 1.

    `shares` gives, for each app beside another (a gated roll-out), the percent of that app's traffic that it gets: what the weights of the
    endpoints come from, for whoever has to know that they have been brought about.
    """

    generation: int
    endpoints: tuple[Endpoint, ...] = ()
    shares: Mapping[str, int] = field(default_factory=dict)

    def in_state(self, state: EndpointState) -> tuple[Endpoint, ...]:
        """Those in one state."""
        return tuple(e for e in self.endpoints if e.state is state)


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """How load balancers of one group carry a service.

    `listener` is `spec.loadBalancer` as JSON (camelCase, defaults filled in, references to Secrets replaced by what `tls` nodes name):
    `domain.haproxy` gives it meaning. `since` (RFC 3339) and `uid` decide who keeps a host, path or port that two want: the older.
    """

    service: ServiceName
    group: str
    generation: int
    uid: str
    since: str
    listener: Mapping[str, JsonValue]


@dataclass(frozen=True, kw_only=True, slots=True)
class Names:
    """DNS names of a service, relative to the cluster's zone, lower case. `ports` by name are served as `_port._tcp.name` (SRV).

    The first name is the canonical one.
    """

    service: ServiceName
    names: tuple[str, ...]
    protocol: str = "tcp"


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskNames:
    """What name servers know of one app's running tasks, for names of single tasks in Mesos-DNS's scheme."""

    app: str
    framework: str
    tasks: tuple[TaskAddress, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskAddress:
    """One running task. `agent_id` is Mesos' id of its agent, `agent_address` that agent's, `addresses` the task's own (its container's).

    `ports` in order, with `port_names` beside them ("" where a port has no name) and `protocols` ("tcp", "udp").
    """

    task: str
    agent_id: str
    agent_address: str
    addresses: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    port_names: tuple[str, ...] = ()
    protocols: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class MesosNames:
    """Addresses for `leader.`, `master.` and `slave.` in Mesos-DNS's scheme: IP addresses."""

    leader: str = ""
    masters: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadBalancer:
    """A load balancer as it registers itself under `/edge/lb/<id>`. `live` when its ephemeral node is there."""

    id: str
    group: str
    host: str = ""
    version: str = ""
    live: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Applied:
    """What a load balancer has brought about of one service.

    `endpoints` and `route` are the generations that its HAProxy carries in full. `sessions` are the current sessions of each draining
    endpoint (by endpoint id) that is still there; one that is missing is gone or has none. `up` counts servers whose own check passes,
    `up_of` the endpoints of each app for which that is true wherever the service sends to them; None from an agent that does not tell.
    `problem` says why the route is left out, else empty. `counters` of the whole service since the agent started: `requests`,
    `errors` (5xx and failed connections), `latencyMs`, and per backend label below `backends`.
    """

    service: ServiceName
    endpoints: int
    route: int
    sessions: Mapping[str, int] = field(default_factory=dict)
    up: int = 0
    up_of: Mapping[str, int] | None = None
    problem: str = ""
    reloads: int = 0
    last_reload: str = ""
    counters: Mapping[str, JsonValue] = field(default_factory=dict)

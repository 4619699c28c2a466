"""The kind MesosCluster: the connection to one Marathon, its Mesos and its ZooKeeper, and who may use it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from shuren.api.nodes import Immutable, Int, Matches, Natural, Node, Reason, Rule, without_nulls
from shuren.api.v1alpha1.conditions import Conditions
from shuren.api.v1alpha1.metadata import ObjectMeta, lenient_status
from shuren.api.v1alpha1.references import LabelSelector, SecretRef

_PORT = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_HOST = r"([A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?[.]?|\[[0-9A-Fa-f:.]+\])"
Url = Annotated[
    str,
    Field(min_length=1, max_length=2048),
    Matches(
        f"https?://{_HOST}(:{_PORT})?(/[^ ?#]*)?",
        "a base URL is needed, such as http://marathon1.example.org:8080, without user or password (they go into authSecretRef)",
    ),
]
HostPort = Annotated[
    str,
    Field(min_length=1, max_length=260),
    Matches(f"{_HOST}:{_PORT}", "a server is host:port, such as zk1.example.org:2181"),
]
ZooKeeperPath = Annotated[
    str,
    Field(min_length=2, max_length=512),
    Matches("(/[A-Za-z0-9_][-._A-Za-z0-9]*)+", "a ZooKeeper path is needed, below /, such as /shuren/bj1"),
]
Prefix = Annotated[
    str,
    Field(min_length=1, max_length=512),
    Matches("/([a-z0-9.-]+(/[a-z0-9.-]+)*/?)?", "a prefix is a path of Marathon ids, such as /shop; / grants everything"),
]
DomainName = Annotated[
    str,
    Field(min_length=1, max_length=253),
    Matches(
        "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*",
        "a DNS zone has labels of lower-case letters, digits and inner dashes, such as bj1.example.org",
    ),
]
Version = Annotated[str, Field(max_length=64)]
Count = Annotated[int, Field(ge=0)]
Amount = Annotated[float, Field(ge=0)]


class Tls(Node):
    """How to trust the server, and who we are."""

    rules = (
        Rule(
            cel="!(has(self.insecureSkipVerify) && self.insecureSkipVerify && has(self.caSecretRef))",
            holds=lambda t: not (t.insecure_skip_verify and t.ca_secret_ref is not None),
            message="insecureSkipVerify and caSecretRef exclude each other",
            at="insecureSkipVerify",
        ),
    )

    ca_secret_ref: SecretRef | None = None
    """Secret whose key ca.crt holds the certificates to trust. Default: the system's."""
    client_cert_secret_ref: SecretRef | None = None
    """Secret of type kubernetes.io/tls with the client's certificate and key (tls.crt, tls.key)."""
    server_name: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    """Name to expect in the certificate. Default: the host of the URL."""
    insecure_skip_verify: bool = False
    """Whether to trust anybody. For trials only."""


class Limits(Node):
    """How hard the operator may press this Marathon."""

    requests_per_second: Annotated[float, Field(gt=0, le=10000)] = 50
    """Requests a second, on average; short bursts may be larger."""
    max_concurrent_deployments: Annotated[Int, Field(ge=1)] = 20
    """Deployments at the same time; Marathon itself stops at 100 (--max_running_deployments) and refuses everybody's."""


class MarathonEndpoint(Node):
    """Where Marathon is and how to talk to it."""

    urls: Annotated[list[Url], Field(min_length=1, max_length=16)]
    """Base URLs of all Marathons of the cluster; whichever answers leads to the leader."""
    auth_secret_ref: SecretRef | None = None
    """Secret with the keys username and password (basic), or token (sent as `Authorization: token=…`). Default: no authentication."""
    tls: Tls | None = None
    """TLS for https URLs."""
    limits: Limits | None = None
    """How hard the operator may press. Default: {requestsPerSecond: 50, maxConcurrentDeployments: 20}."""


class MesosEndpoint(Node):
    """Where the Mesos masters are."""

    masters: Annotated[list[Url], Field(min_length=1, max_length=16)]
    """Base URLs of all masters."""
    auth_secret_ref: SecretRef | None = None
    """Secret with the keys username and password (basic), for masters with --authenticate_http_readonly. Default: no authentication."""
    tls: Tls | None = None
    """TLS for https URLs."""


class ZooKeeperAuthScheme(StrEnum):
    """How a password is shown to ZooKeeper."""

    DIGEST = "Digest"
    SASL = "Sasl"


class ZooKeeperEndpoint(Node):
    """Where our records are kept: claims, discovery, routes, shards. The application's own ZooKeeper will do; the root keeps us apart."""

    hosts: Annotated[list[HostPort], Field(min_length=1, max_length=16)]
    """Servers as host:port."""
    root: Annotated[ZooKeeperPath, Immutable("root cannot change: all claims lie under it; make another MesosCluster")]
    """Path under which everything is kept, e.g. /shuren/bj1; one per MesosCluster."""
    auth_secret_ref: SecretRef | None = None
    """Secret with the keys username and password. Default: no authentication."""
    auth_scheme: Annotated[ZooKeeperAuthScheme, Field(strict=False)] = ZooKeeperAuthScheme.DIGEST
    """Digest: the scheme digest; what is created is open to this name and password only. Sasl: SASL with DIGEST-MD5, for servers with a
    section in JAAS; what is created is open to this name only."""
    tls: Tls | None = None
    """TLS to the servers. Default: plain."""


class PrefixGrant(Node):
    """Which app ids some namespaces may claim."""

    namespace_selector: LabelSelector
    """Namespaces, by their labels."""
    prefixes: Annotated[
        list[Prefix],
        Field(min_length=1, max_length=64),
    ]
    """Path prefixes, by whole segments: /shop grants /shop and /shop/web, not /shopping; / grants everything. They add to /<namespace>,
    which every namespace has."""


class Tenancy(Node):
    """Which namespaces may use the cluster, and under which app ids."""

    namespaces: LabelSelector | None = None
    """Namespaces that may use the cluster. Default: all."""
    id_prefixes: Annotated[list[PrefixGrant], Field(max_length=64)] | None = None
    """Prefixes beyond /<namespace>. Default: none, so that a namespace claims ids under /<namespace> only."""
    record_roots: Annotated[list[ZooKeeperPath], Field(max_length=16)] | None = None
    """ZooKeeper paths below which PaasServices may keep discovery records (spec.discovery). Default: none."""


class Dns(Node):
    """Names of services."""

    zone: DomainName
    """Zone under which services get their names, e.g. mesos.example.org."""


class DeletionGuard(Node):
    """Stops the operator before it deletes too much of a cluster's apps at once."""

    max_percent_per_minute: Annotated[int, Field(ge=0, le=100)] = 20
    """Share of the cluster's apps that may be deleted within one minute, in percent. Beyond it the rest waits and the condition says so."""
    always_allowed: Natural = 10
    """Number of deletions a minute that are allowed whatever the share."""


class MesosClusterSpec(Node):
    """Connection, tenancy and limits."""

    marathon: MarathonEndpoint
    """Marathon."""
    mesos: MesosEndpoint | None = None
    """Mesos masters; without them hosts and resources are not shown."""
    zookeeper: ZooKeeperEndpoint
    """ZooKeeper."""
    tenancy: Tenancy | None = None
    """Who may use the cluster. Default: all namespaces, each under /<namespace>."""
    dns: Dns | None = None
    """Names of services. Default: none are published."""
    unreachable_grace_seconds: Natural = 60
    """Seconds for which Marathon may be out of reach before apps become Ready=Unknown."""
    deletion_guard: DeletionGuard | None = None
    """Limit of deletions. Default: {maxPercentPerMinute: 20, alwaysAllowed: 10}."""


class MarathonPart(Node):
    """Marathon, as it answers."""

    reachable: bool
    """Whether it answers."""
    version: Version | None = None
    """Version."""
    leader: Annotated[str, Field(max_length=260)] | None = None
    """host:port of the leader."""
    framework_id: Annotated[str, Field(max_length=256)] | None = None
    """Framework id at Mesos."""


class MesosPart(Node):
    """Mesos, as it answers."""

    reachable: bool
    """Whether a leading master answers."""
    version: Version | None = None
    """Version."""
    leader: Annotated[str, Field(max_length=260)] | None = None
    """host:port of the leading master."""
    agents: Count | None = None
    """Agents that are registered and active."""


class ZooKeeperPart(Node):
    """ZooKeeper, as it answers."""

    reachable: bool
    """Whether there is a session."""
    version: Version | None = None
    """Version, where the server tells it."""


class Amounts(Node):
    """Resources."""

    cpus: Amount
    """CPUs."""
    mem: Amount
    """Memory in MiB."""
    disk: Amount
    """Disk in MiB."""
    gpus: Amount
    """GPUs."""


class Resources(Node):
    """Resources of the cluster, rounded so that the status does not change with every task."""

    total: Amounts
    """Of all agents."""
    used: Amounts
    """Used by tasks of all frameworks."""


class ClusterCounts(Node):
    """How much of what."""

    apps: Count
    """Apps in this Marathon."""
    managed: Count
    """Of these, apps that are claimed by a resource."""
    tasks: Count
    """Tasks of this Marathon."""
    deployments: Count
    """Deployments under way."""


class MesosClusterStatus(Node):
    """What the operator found."""

    observed_generation: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})] | None = None
    """`metadata.generation` that this status speaks of."""
    conditions: Conditions | None = None
    """Ready (summary), Reconciling, Stalled, MarathonReachable, MesosReachable, ZooKeeperReachable, …"""
    marathon: MarathonPart | None = None
    """Marathon."""
    mesos: MesosPart | None = None
    """Mesos."""
    zookeeper: ZooKeeperPart | None = None
    """ZooKeeper."""
    counts: ClusterCounts | None = None
    """How much of what."""
    resources: Resources | None = None
    """Resources of the cluster."""
    last_full_sync: Annotated[str, Field(max_length=64)] | None = None
    """When everything was last read from Marathon after a start, a lost event stream or a change of the spec (RFC 3339)."""


class MesosCluster(Node):
    """A Mesos cluster with its Marathon and ZooKeeper, which PaasApps of many namespaces may use."""

    api_version: Literal["paas.shurenyun.com/v1alpha1"] = "paas.shurenyun.com/v1alpha1"
    """Group and version."""
    kind: Literal["MesosCluster"] = "MesosCluster"
    """Kind."""
    metadata: ObjectMeta
    """Name, generation, …"""
    spec: MesosClusterSpec
    """What is asked for."""
    status: Annotated[MesosClusterStatus | None, lenient_status(MesosClusterStatus)] = None
    """What was found. None as well when another version of the operator wrote what this one cannot read."""


def read(obj: Mapping[str, Any]) -> MesosCluster:
    """Read a MesosCluster from its JSON.

    Raises pydantic.ValidationError; `shuren.api.problems.problems` turns it into field paths and messages for people.
    """
    return MesosCluster.model_validate(without_nulls(dict(obj)))


__all__ = ["MesosCluster", "MesosClusterSpec", "MesosClusterStatus", "Reason", "read"]

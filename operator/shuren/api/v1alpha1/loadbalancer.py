"""`spec.loadBalancer` of a PaasService: how HAProxy carries it. `shuren.domain.haproxy.listener` reads the same JSON beside traffic.

Whatever a label of marathon-lb can say has a field here (docs/load-balancer.md has the table). The enums hold only what works while servers
come and go without a reload: HAProxy refuses servers at run time under `static-rr` and under map-based hashing, so hashing is always
consistent.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from shuren.api.nodes import INT32_MAX, Matches, Node, Rule, kubernetes, unique
from shuren.api.v1alpha1.listeners import HeaderName, HeaderValue, Host, Label, Listener, Path, Protocol
from shuren.api.v1alpha1.marathon.networking import PortName
from shuren.api.v1alpha1.references import NameRef


class Algorithm(StrEnum):
    """Which endpoint gets the next request."""

    ROUND_ROBIN = "RoundRobin"
    LEAST_CONNECTIONS = "LeastConnections"
    RANDOM = "Random"
    FIRST = "First"
    SOURCE = "Source"
    URI = "Uri"
    HEADER = "Header"
    QUERY_PARAMETER = "QueryParameter"
    COOKIE = "Cookie"


HASHING = frozenset({Algorithm.SOURCE, Algorithm.URI, Algorithm.HEADER, Algorithm.QUERY_PARAMETER, Algorithm.COOKIE})
"""Algorithms that hash something of the request onto a ring of the endpoints."""
NAMED = frozenset({Algorithm.HEADER, Algorithm.QUERY_PARAMETER, Algorithm.COOKIE})
"""Of these, those that hash something with a name."""


class StickyBy(StrEnum):
    """What makes a client known again."""

    COOKIE = "Cookie"
    SOURCE = "Source"


class SameSite(StrEnum):
    """Attribute of a cookie."""

    NONE = "None"
    LAX = "Lax"
    STRICT = "Strict"


class CheckType(StrEnum):
    """How HAProxy checks an endpoint."""

    TCP = "Tcp"
    HTTP = "Http"


class CheckMethod(StrEnum):
    """Method of an HTTP check."""

    GET = "GET"
    HEAD = "HEAD"
    OPTIONS = "OPTIONS"


class WhenAllFail(StrEnum):
    """What becomes of HTTP requests while every endpoint's check fails."""

    SERVE = "Serve"
    REFUSE = "Refuse"


class RetryOn(StrEnum):
    """What is tried again."""

    CONNECT_FAILURE = "ConnectFailure"
    EMPTY_RESPONSE = "EmptyResponse"
    RESPONSE_TIMEOUT = "ResponseTimeout"
    STATUS_502 = "502"
    STATUS_503 = "503"
    STATUS_504 = "504"


class Reuse(StrEnum):
    """When a connection to an endpoint is shared between clients."""

    NEVER = "Never"
    SAFE = "Safe"
    AGGRESSIVE = "Aggressive"
    ALWAYS = "Always"


class Observe(StrEnum):
    """What of live traffic is watched."""

    LAYER4 = "Layer4"
    LAYER7 = "Layer7"


class EjectAction(StrEnum):
    """What follows when an endpoint fails in live traffic."""

    MARK_DOWN = "MarkDown"
    FAST_CHECK = "FastCheck"
    FAIL_CHECK = "FailCheck"
    SUDDEN_DEATH = "SuddenDeath"


class UpstreamProtocol(StrEnum):
    """What is spoken with endpoints."""

    HTTP1 = "HTTP1"
    HTTP2 = "HTTP2"


class ProxyProtocol(StrEnum):
    """Version of the PROXY protocol."""

    V1 = "V1"
    V2 = "V2"


class UpstreamVerify(StrEnum):
    """Whether an endpoint's certificate is verified."""

    NONE = "None"
    REQUIRED = "Required"


Milliseconds = Annotated[int, Field(ge=1, le=INT32_MAX)]
Cidr = Annotated[
    str,
    Field(min_length=1, max_length=49),
    Matches(r"([0-9]{1,3}([.][0-9]{1,3}){3}|[0-9a-f:]*:[0-9a-f:.]*)(/[0-9]{1,3})?", "a network is such as 10.0.0.0/8 or 2001:db8::/32"),
]
Token = Annotated[str, Field(min_length=1, max_length=128), Matches("[-_.A-Za-z0-9]+", 'letters, digits, "-", "_" and "." only')]
StatusRange = Annotated[
    str,
    Field(max_length=128),
    Matches("[1-5][0-9]{2}(-[1-5][0-9]{2})?(,[1-5][0-9]{2}(-[1-5][0-9]{2})?)*", "status codes are such as 200 or 200-399,401"),
]
Line = Annotated[
    str,
    Field(min_length=1, max_length=1024),
    Matches(
        "(acl|http-request|http-response|http-after-response|http-check|option|tcp-request|tcp-response|timeout|compression)"
        " [^\\x00-\\x1f\\x7f]+",
        "a line begins with acl, http-request, http-response, http-after-response, http-check, option, tcp-request, tcp-response, timeout"
        " or compression",
    ),
]


class Balance(Node):
    """Which endpoint gets the next request."""

    rules = (
        Rule(
            cel="has(self.name) == (self.algorithm in ['Header', 'QueryParameter', 'Cookie'])",
            holds=lambda b: (b.name is not None) == (b.algorithm in NAMED),
            message="name belongs to Header, QueryParameter and Cookie, and only to these",
            at="name",
        ),
        Rule(
            cel="!has(self.boundedLoadPercent) || self.algorithm in ['Source', 'Uri', 'Header', 'QueryParameter', 'Cookie']",
            holds=lambda b: b.bounded_load_percent is None or b.algorithm in HASHING,
            message="boundedLoadPercent belongs to algorithms that hash: Source, Uri, Header, QueryParameter, Cookie",
            at="boundedLoadPercent",
        ),
    )

    algorithm: Annotated[Algorithm, Field(strict=False)] = Algorithm.ROUND_ROBIN
    """RoundRobin; LeastConnections; Random; First (fill one up to connections.perEndpoint, then the next); or a consistent hash of the
    client's address (Source), the path (Uri), a Header, a QueryParameter or a Cookie: few keys move when endpoints change."""
    name: Token | None = None
    """Name of the header, parameter or cookie to hash."""
    bounded_load_percent: Annotated[int, Field(ge=101, le=10000)] | None = None
    """With a hash: no endpoint gets more than this share of the average load; what is above goes on to the next on the ring. 125 to 200
    are usual. Default: no bound."""


class StickyCookie(Node):
    """The cookie that HAProxy sets."""

    name: Token = "SHUREN"
    """Name of the cookie."""
    domain: (
        Annotated[str, Field(min_length=1, max_length=253), Matches("[.]?[a-z0-9]([-.a-z0-9]*[a-z0-9])?", "domain is a domain name")] | None
    ) = None
    """Domain of the cookie. Default: the host alone."""
    secure: bool = False
    """Whether clients send it over https only."""
    http_only: bool = True
    """Whether scripts cannot read it."""
    same_site: Annotated[SameSite, Field(strict=False)] | None = None
    """SameSite attribute. Default: none is sent."""
    max_idle_seconds: Annotated[int, Field(ge=1, le=INT32_MAX)] | None = None
    """Seconds without a request after which the client is balanced anew. Default: no limit."""
    max_life_seconds: Annotated[int, Field(ge=1, le=INT32_MAX)] | None = None
    """Seconds since the first request after which the client is balanced anew. Default: no limit."""


class Sticky(Node):
    """Keeps a client on its endpoint while that endpoint is there and up."""

    rules = (
        Rule(
            cel="!has(self.cookie) || self.by == 'Cookie'",
            holds=lambda s: s.cookie is None or s.by is StickyBy.COOKIE,
            message="cookie belongs to by: Cookie",
            at="cookie",
        ),
    )

    by: Annotated[StickyBy, Field(strict=False)] = StickyBy.COOKIE
    """Cookie (HTTP and HTTPS listeners; the same endpoint on every load balancer), or Source: the client's address, in a table of each load
    balancer that reloads keep."""
    cookie: StickyCookie | None = None
    """The cookie. Default: {name: SHUREN, httpOnly: true}."""
    expire_seconds: Annotated[int, Field(ge=1, le=INT32_MAX)] = 1800
    """By Source: seconds without a connection after which a client is forgotten."""
    table_size: Annotated[int, Field(ge=1, le=10_000_000)] = 100_000
    """By Source: clients to remember; the oldest are forgotten first."""


class Timeouts(Node):
    """Timeouts in milliseconds. Those with clients hold for a port: of services that share one, the longest holds."""

    connect_ms: Milliseconds = 5000
    """To connect to an endpoint."""
    client_ms: Milliseconds = 60_000
    """Silence of a client."""
    server_ms: Milliseconds = 60_000
    """Silence of an endpoint; for HTTP until it answers."""
    tunnel_ms: Milliseconds = 3_600_000
    """Silence of a websocket, and of a TCP connection in both directions."""
    queue_ms: Milliseconds = 30_000
    """Waiting for an endpoint that is full (connections.perEndpoint)."""
    http_request_ms: Milliseconds = 10_000
    """Until a client has sent a request's headers."""
    http_keep_alive_ms: Milliseconds = 10_000
    """Until a client sends its next request."""


class HealthCheck(Node):
    """HAProxy's own check; an endpoint takes traffic when Marathon says that it is healthy *and* this check passes."""

    rules = (
        Rule(
            cel="self.type == 'Http' || (!has(self.path) && !has(self.method) && !has(self.host) && !has(self.expectStatus))",
            holds=lambda h: h.type is CheckType.HTTP or (h.path, h.method, h.host, h.expect_status) == (None, None, None, None),
            message="path, method, host and expectStatus belong to type Http",
        ),
    )

    enabled: bool = True
    """Whether HAProxy checks at all; otherwise Marathon's word alone counts."""
    type: Annotated[CheckType, Field(strict=False)] = CheckType.TCP
    """Tcp: a connection; Http: a request."""
    path: Path | None = None
    """Path of an Http check. Default: /."""
    method: Annotated[CheckMethod, Field(strict=False)] | None = None
    """Method of an Http check. Default: GET."""
    host: Host | None = None
    """Host header of an Http check. Default: the first host of the listeners, else <name>.<namespace>."""
    expect_status: StatusRange | None = None
    """Status codes that mean up. Default: 200-399."""
    port: PortName | None = None
    """Name of a further port of the endpoints to check. Default: the port that takes the traffic."""
    tls: bool | None = None
    """Whether the check uses TLS. Default: as the traffic (upstream.tls)."""
    interval_ms: Milliseconds = 2000
    """Between checks of an endpoint that is up."""
    fast_interval_ms: Milliseconds = 200
    """Between checks while it is changing between up and down."""
    down_interval_ms: Milliseconds = 500
    """Between checks of an endpoint that is down; also until the first check of a new one."""
    timeout_ms: Milliseconds = 2000
    """For the answer."""
    rise: Annotated[int, Field(ge=1, le=100)] = 2
    """Good checks in a row until it is up."""
    fall: Annotated[int, Field(ge=1, le=100)] = 3
    """Bad checks in a row until it is down."""
    when_all_fail: Annotated[WhenAllFail, Field(strict=False)] = WhenAllFail.SERVE
    """What becomes of HTTP requests while the checks of all ready endpoints fail. Serve: they go to some of them all the same, since a 503
    of the load balancer's own would be certain. Refuse: 503, for services whose checks choose one endpoint among many. TCP: refused."""


class Retries(Node):
    """What happens when an endpoint does not answer."""

    attempts: Annotated[int, Field(ge=0, le=100)] = 5
    """Attempts after the first."""
    on: Annotated[list[Annotated[RetryOn, Field(strict=False)]], Field(max_length=8)] | None = None
    """What is tried again: ConnectFailure (nothing was sent, always safe); and for GET, HEAD, OPTIONS, PUT and DELETE of HTTP, without a
    byte of the answer: EmptyResponse (the endpoint closed the connection), ResponseTimeout, 502, 503, 504.
    Default: [ConnectFailure, EmptyResponse]."""
    redispatch: bool = True
    """Whether another attempt goes to another endpoint, even against stickiness."""


class Connections(Node):
    """Limits of connections to endpoints, on each load balancer."""

    per_endpoint: Annotated[int, Field(ge=1, le=INT32_MAX)] | None = None
    """Requests (HTTP) or connections (TCP) at the same time to one endpoint; more wait. Default: no limit."""
    queue: Annotated[int, Field(ge=1, le=INT32_MAX)] | None = None
    """Requests that may wait for one endpoint; more go to others. Default: no limit."""
    reuse: Annotated[Reuse, Field(strict=False)] = Reuse.SAFE
    """When connections to endpoints are shared between clients (HAProxy's http-reuse)."""


class OutlierEjection(Node):
    """Judges endpoints by live traffic as well. Needs healthCheck.enabled, which brings them back."""

    observe: Annotated[Observe, Field(strict=False)] = Observe.LAYER4
    """Layer4: failed connections; Layer7 (HTTP): also answers with 5xx and broken ones."""
    errors: Annotated[int, Field(ge=1, le=INT32_MAX)] = 10
    """Errors in a row."""
    action: Annotated[EjectAction, Field(strict=False)] = EjectAction.MARK_DOWN
    """MarkDown: out at once; FastCheck: check at the fast interval; FailCheck: counts as one bad check; SuddenDeath: the next bad check
    takes it out."""


class BasicAuth(Node):
    """Asks clients for name and password."""

    realm: Annotated[
        str, Field(min_length=1, max_length=128), Matches("[-_. A-Za-z0-9]+", 'realm has letters, digits, spaces, "-", "_", "."')
    ]
    """What clients show when they ask."""
    secret_ref: NameRef
    """Secret of the service's namespace whose key `auth` holds lines of name:hash, the hash as crypt(3) takes it (such as $6$…)."""


class Access(Node):
    """Who may come in."""

    allow: Annotated[list[Cidr], Field(min_length=1, max_length=256)] | None = None
    """Networks of clients; all others are refused. Default: everybody."""
    deny: Annotated[list[Cidr], Field(min_length=1, max_length=256)] | None = None
    """Networks that are refused, before `allow` is asked."""
    basic_auth: BasicAuth | None = None
    """Name and password (HTTP and HTTPS)."""


class HeaderSet(Node):
    """A header with its value."""

    name: HeaderName
    """Name."""
    value: HeaderValue
    """Value, as it is."""


class HeaderEdits(Node):
    """Changes to headers, in the order remove, set, add."""

    set: Annotated[list[HeaderSet], Field(max_length=32)] | None = None
    """Replace all headers of that name."""
    add: Annotated[list[HeaderSet], Field(max_length=32)] | None = None
    """Add one more."""
    remove: Annotated[list[HeaderName], Field(max_length=32)] | None = None
    """Remove all of that name."""


class Hsts(Node):
    """Strict-Transport-Security on answers over https."""

    max_age_seconds: Annotated[int, Field(ge=0, le=INT32_MAX)] = 15_768_000
    """Seconds for which clients use https only; six months as marathon-lb has it."""
    include_subdomains: bool = False
    """Whether names below are meant too."""
    preload: bool = False
    """Whether browsers may build it in."""


class Rewrite(Node):
    """Changes of path and host on the way to the endpoint."""

    remove_prefix: Path | None = None
    """Prefix to take off the path (marathon-lb's PROXYPASS_PATH)."""
    add_prefix: Path | None = None
    """Prefix to put in front of it, after that."""
    host: Annotated[str, Field(min_length=1, max_length=260), Matches("[-.:A-Za-z0-9_]+", "host is a name or name:port")] | None = None
    """Host header that the endpoint sees. Default: the client's."""
    location_prefix: Path | None = None
    """Prefix to put before the path of Location headers in answers (marathon-lb's REVPROXY_PATH)."""


class Http(Node):
    """What is changed in requests and answers."""

    forwarded: bool = True
    """Whether X-Forwarded-For, -Proto and -Port tell the endpoint of the client; what the client sent of them is replaced, X-Forwarded-For
    is added to."""
    hsts: Hsts | None = None
    """Strict-Transport-Security. Default: not sent."""
    rewrite: Rewrite | None = None
    """Path and host."""
    request_headers: HeaderEdits | None = None
    """Headers of requests."""
    response_headers: HeaderEdits | None = None
    """Headers of answers."""
    compress_types: (
        Annotated[list[Annotated[str, Field(max_length=128), Matches("[-+.*a-z0-9]+/[-+.*a-z0-9]+", "a MIME type")]], Field(max_length=32)]
        | None
    ) = None
    """MIME types of answers to compress with gzip. Default: none."""


class UpstreamTls(Node):
    """TLS with endpoints."""

    rules = (
        Rule(
            cel="has(self.caSecretRef) == (self.verify == 'Required')",
            holds=lambda t: (t.ca_secret_ref is not None) == (t.verify is UpstreamVerify.REQUIRED),
            message="verify: Required needs caSecretRef; None takes none",
            at="caSecretRef",
        ),
    )

    verify: Annotated[UpstreamVerify, Field(strict=False)] = UpstreamVerify.NONE
    """Required: the certificate must come from caSecretRef; None: any will do."""
    ca_secret_ref: NameRef | None = None
    """Secret of the service's namespace whose key ca.crt holds the certificates to trust."""
    server_name: Host | None = None
    """Name to ask for (SNI) and to expect in the certificate. Default: none."""


class Upstream(Node):
    """What is spoken with endpoints."""

    protocol: Annotated[UpstreamProtocol, Field(strict=False)] = UpstreamProtocol.HTTP1
    """HTTP1, or HTTP2 (in clear, or over tls)."""
    tls: UpstreamTls | None = None
    """TLS. Default: plain."""
    proxy_protocol: Annotated[ProxyProtocol, Field(strict=False)] | None = None
    """PROXY protocol to send. Default: none."""


class LoadBalancer(Node):
    """How HAProxy carries a service."""

    rules = (
        Rule(
            cel="!has(self.sticky) || self.sticky.by != 'Cookie' || self.listeners.all(l, l.protocol in ['HTTP', 'HTTPS'])",
            holds=lambda b: (
                b.sticky is None
                or b.sticky.by is not StickyBy.COOKIE
                or all(li.protocol in (Protocol.HTTP, Protocol.HTTPS) for li in b.listeners)
            ),
            message="a cookie needs HTTP: use by: Source, or HTTP and HTTPS listeners only",
            at="sticky",
        ),
        Rule(
            cel="!has(self.balance) || !(self.balance.algorithm in ['Uri', 'Header', 'QueryParameter', 'Cookie'])"
            " || self.listeners.all(l, l.protocol in ['HTTP', 'HTTPS'])",
            holds=lambda b: (
                b.balance is None
                or b.balance.algorithm not in HASHING - {Algorithm.SOURCE}
                or all(li.protocol in (Protocol.HTTP, Protocol.HTTPS) for li in b.listeners)
            ),
            message="this algorithm reads requests: it needs HTTP and HTTPS listeners only",
            at="balance",
        ),
        Rule(
            cel="!has(self.outlierEjection) || !has(self.healthCheck) || self.healthCheck.enabled",
            holds=lambda b: b.outlier_ejection is None or b.health_check is None or b.health_check.enabled,
            message="outlierEjection needs healthCheck.enabled: nothing else brings an endpoint back",
            at="outlierEjection",
        ),
        Rule(
            cel="",
            holds=lambda b: unique([li.name for li in b.listeners]),
            message="two listeners have the same name",
            at="listeners",
        ),
    )

    group: Label
    """Load balancers that carry the service: those started with `shuren lb --group` of this name."""
    listeners: Annotated[
        list[Listener], Field(min_length=1, max_length=16, json_schema_extra=kubernetes(list_type="map", list_map_keys=["name"]))
    ]
    """Where clients come in."""
    balance: Balance | None = None
    """Which endpoint gets the next request. Default: {algorithm: RoundRobin}."""
    sticky: Sticky | None = None
    """Keep clients on their endpoint. Default: no."""
    timeouts: Timeouts | None = None
    """Timeouts. Default: each as its field says."""
    health_check: HealthCheck | None = None
    """HAProxy's own check. Default: {type: Tcp}."""
    retries: Retries | None = None
    """Attempts and redispatch. Default: {attempts: 5, on: [ConnectFailure, EmptyResponse], redispatch: true}."""
    connections: Connections | None = None
    """Limits. Default: none."""
    slow_start_seconds: Annotated[int, Field(ge=0, le=86400)] = 0
    """Seconds over which a new or recovered endpoint grows to its full weight; 0 = at once."""
    outlier_ejection: OutlierEjection | None = None
    """Judge endpoints by live traffic. Default: one to which two connections in a row failed is out until its check passes (as with
    {observe: Layer4, errors: 2, action: MarkDown})."""
    access: Access | None = None
    """Who may come in. Default: everybody."""
    http: Http | None = None
    """Changes in requests and answers. Default: {forwarded: true}."""
    upstream: Upstream | None = None
    """What is spoken with endpoints. Default: {protocol: HTTP1}, plain."""
    backend_lines: Annotated[list[Line], Field(max_length=32)] | None = None
    """Lines for the HAProxy backends of this service, as they are, for whatever this schema does not know. A load balancer takes them only
    when started with --allow-backend-lines; a line that HAProxy refuses leaves the service's change out."""


def listener_document(given: LoadBalancer) -> dict[str, Any]:
    """Give what a route holds (`Route.listener`): the JSON of `spec.loadBalancer`, defaults filled in, nothing for what is not set."""
    return given.model_dump(mode="json", by_alias=True, exclude_none=True)

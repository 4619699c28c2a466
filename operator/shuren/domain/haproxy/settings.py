"""What a route asks of HAProxy, typed: `spec.loadBalancer` as values. Fields, units and defaults are those of the custom resource
(`shuren.api.v1alpha1.loadbalancer` describes each); `shuren.domain.haproxy.parse` makes these values of a route's JSON.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class Protocol(Enum):
    """What a listener speaks with clients."""

    HTTP = "HTTP"
    HTTPS = "HTTPS"
    TCP = "TCP"
    TLS = "TLS"

    @property
    def http(self) -> bool:
        """Whether requests can be read."""
        return self in (Protocol.HTTP, Protocol.HTTPS)


class TlsMode(Enum):
    """Who ends TLS."""

    TERMINATE = "Terminate"
    PASSTHROUGH = "Passthrough"


class ClientVerify(Enum):
    """Whether clients must show a certificate."""

    REQUIRED = "Required"
    OPTIONAL = "Optional"


class HeaderMatch(Enum):
    """How the value of a header is compared."""

    EXACT = "Exact"
    PREFIX = "Prefix"
    REGEX = "Regex"
    PRESENT = "Present"


class Algorithm(Enum):
    """Which server gets the next request. HAProxy takes servers at run time under all of these, and under no other."""

    ROUND_ROBIN = "RoundRobin"
    LEAST_CONNECTIONS = "LeastConnections"
    RANDOM = "Random"
    FIRST = "First"
    SOURCE = "Source"
    URI = "Uri"
    HEADER = "Header"
    QUERY_PARAMETER = "QueryParameter"
    COOKIE = "Cookie"

    @property
    def hashes(self) -> bool:
        """Whether it places servers on a ring."""
        return self not in (Algorithm.ROUND_ROBIN, Algorithm.LEAST_CONNECTIONS, Algorithm.RANDOM, Algorithm.FIRST)


class StickyBy(Enum):
    """What makes a client known again."""

    COOKIE = "Cookie"
    SOURCE = "Source"


class CheckType(Enum):
    """How a server is checked."""

    TCP = "Tcp"
    HTTP = "Http"


class WhenAllFail(Enum):
    """What becomes of HTTP requests while every server's check fails: sent to some server all the same, or answered with 503."""

    SERVE = "Serve"
    REFUSE = "Refuse"


class RetryOn(Enum):
    """What is tried again."""

    CONNECT_FAILURE = "ConnectFailure"
    EMPTY_RESPONSE = "EmptyResponse"
    RESPONSE_TIMEOUT = "ResponseTimeout"
    STATUS_502 = "502"
    STATUS_503 = "503"
    STATUS_504 = "504"


class Reuse(Enum):
    """When a connection to a server is shared between clients."""

    NEVER = "Never"
    SAFE = "Safe"
    AGGRESSIVE = "Aggressive"
    ALWAYS = "Always"


class Observe(Enum):
    """What of live traffic is watched."""

    LAYER4 = "Layer4"
    LAYER7 = "Layer7"


class EjectAction(Enum):
    """What follows errors in live traffic."""

    MARK_DOWN = "MarkDown"
    FAST_CHECK = "FastCheck"
    FAIL_CHECK = "FailCheck"
    SUDDEN_DEATH = "SuddenDeath"


class UpstreamProtocol(Enum):
    """What is spoken with servers."""

    HTTP1 = "HTTP1"
    HTTP2 = "HTTP2"


class ProxyProtocol(Enum):
    """Version of the PROXY protocol."""

    V1 = "V1"
    V2 = "V2"


@dataclass(frozen=True, kw_only=True, slots=True)
class HeaderRule:
    """A header that a request must carry; `name` in lower case."""

    name: str
    match: HeaderMatch = HeaderMatch.EXACT
    value: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Redirect:
    """To the same address under https."""

    code: int = 301
    port: int = 443


@dataclass(frozen=True, kw_only=True, slots=True)
class CertificateName:
    """Exactly one of them: a Secret in the namespace of the service, or a file in the load balancer's directory."""

    secret: str = ""
    file: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ListenerTls:
    """TLS with clients. `client_ca` names a Secret; empty: no certificate is asked for."""

    mode: TlsMode = TlsMode.TERMINATE
    certificates: tuple[CertificateName, ...] = ()
    min_version: str = "TLSv1.2"
    ciphers: str = ""
    cipher_suites: str = ""
    http2: bool = True
    client_ca: str = ""
    client_verify: ClientVerify = ClientVerify.REQUIRED


@dataclass(frozen=True, kw_only=True, slots=True)
class Listener:
    """Where clients come in. No hosts: any; no paths: ("/",)."""

    name: str
    protocol: Protocol
    port: int
    addresses: tuple[str, ...] = ("*",)
    hosts: tuple[str, ...] = ()
    paths: tuple[str, ...] = ("/",)
    headers: tuple[HeaderRule, ...] = ()
    target_port: str = ""
    redirect: Redirect | None = None
    tls: ListenerTls | None = None
    accept_proxy: bool = False
    max_connections: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Balance:
    """`bounded_load` in percent of the average; 0: no bound."""

    algorithm: Algorithm = Algorithm.ROUND_ROBIN
    name: str = ""
    bounded_load: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Cookie:
    """The cookie that is set. 0 seconds: no limit."""

    name: str = "SHUREN"
    domain: str = ""
    secure: bool = False
    http_only: bool = True
    same_site: str = ""
    max_idle: int = 0
    max_life: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Sticky:
    """Keeps a client on its server. `expire` in seconds."""

    by: StickyBy = StickyBy.COOKIE
    cookie: Cookie = field(default_factory=Cookie)
    expire: int = 1800
    table_size: int = 100_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeouts:
    """Milliseconds."""

    connect: int = 5000
    client: int = 60_000
    server: int = 60_000
    tunnel: int = 3_600_000
    queue: int = 30_000
    http_request: int = 10_000
    http_keep_alive: int = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class HealthCheck:
    """Intervals in milliseconds. `port` is the name of a further port of the endpoints. `tls` None: as the traffic."""

    enabled: bool = True
    type: CheckType = CheckType.TCP
    path: str = "/"
    method: str = "GET"
    host: str = ""
    expect_status: str = "200-399"
    port: str = ""
    tls: bool | None = None
    interval: int = 2000
    fast_interval: int = 200
    down_interval: int = 500
    timeout: int = 2000
    rise: int = 2
    fall: int = 3
    when_all_fail: WhenAllFail = WhenAllFail.SERVE


@dataclass(frozen=True, kw_only=True, slots=True)
class Retries:
    """Attempts after the first. More than two dead endpoints can take up: a server is out after two (`backends.server_options`)."""

    attempts: int = 5
    on: tuple[RetryOn, ...] = (RetryOn.CONNECT_FAILURE, RetryOn.EMPTY_RESPONSE)
    redispatch: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Connections:
    """0: no limit."""

    per_endpoint: int = 0
    queue: int = 0
    reuse: Reuse = Reuse.SAFE


@dataclass(frozen=True, kw_only=True, slots=True)
class OutlierEjection:
    """Judges servers by live traffic."""

    observe: Observe = Observe.LAYER4
    errors: int = 10
    action: EjectAction = EjectAction.MARK_DOWN


@dataclass(frozen=True, kw_only=True, slots=True)
class BasicAuth:
    """`secret` holds the users."""

    realm: str
    secret: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """Networks; empty `allow`: everybody."""

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    basic_auth: BasicAuth | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class HeaderEdits:
    """In the order remove, set, add; pairs of name and value."""

    set: tuple[tuple[str, str], ...] = ()
    add: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Hsts:
    """Strict-Transport-Security."""

    max_age: int = 15_768_000
    include_subdomains: bool = False
    preload: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Rewrite:
    """Empty: as it is."""

    remove_prefix: str = ""
    add_prefix: str = ""
    host: str = ""
    location_prefix: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Http:
    """What is changed in requests and answers."""

    forwarded: bool = True
    hsts: Hsts | None = None
    rewrite: Rewrite = field(default_factory=Rewrite)
    request_headers: HeaderEdits = field(default_factory=HeaderEdits)
    response_headers: HeaderEdits = field(default_factory=HeaderEdits)
    compress_types: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class UpstreamTls:
    """`ca` names a Secret; empty: any certificate will do."""

    ca: str = ""
    server_name: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Upstream:
    """What is spoken with servers."""

    protocol: UpstreamProtocol = UpstreamProtocol.HTTP1
    tls: UpstreamTls | None = None
    proxy_protocol: ProxyProtocol | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadBalancing:
    """All of `spec.loadBalancer`. `slow_start` in seconds."""

    group: str
    listeners: tuple[Listener, ...]
    balance: Balance = field(default_factory=Balance)
    sticky: Sticky | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)
    health_check: HealthCheck = field(default_factory=HealthCheck)
    retries: Retries = field(default_factory=Retries)
    connections: Connections = field(default_factory=Connections)
    slow_start: int = 0
    outlier_ejection: OutlierEjection | None = None
    access: Access = field(default_factory=Access)
    http: Http = field(default_factory=Http)
    upstream: Upstream = field(default_factory=Upstream)
    backend_lines: tuple[str, ...] = ()

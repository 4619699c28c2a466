"""Listeners of `spec.loadBalancer`: ports, hosts, paths and certificates, where clients come in."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from shuren.api.nodes import INT32_MAX, Matches, Node, Rule
from shuren.api.v1alpha1.marathon.networking import PortName
from shuren.api.v1alpha1.references import NameRef


class Protocol(StrEnum):
    """What a listener speaks with clients."""

    HTTP = "HTTP"
    HTTPS = "HTTPS"
    TCP = "TCP"
    TLS = "TLS"


class TlsMode(StrEnum):
    """Who ends TLS."""

    TERMINATE = "Terminate"
    PASSTHROUGH = "Passthrough"


class TlsVersion(StrEnum):
    """Version of TLS, as HAProxy writes it."""

    TLS10 = "TLSv1.0"
    TLS11 = "TLSv1.1"
    TLS12 = "TLSv1.2"
    TLS13 = "TLSv1.3"


class ClientVerify(StrEnum):
    """Whether clients must show a certificate."""

    REQUIRED = "Required"
    OPTIONAL = "Optional"


class HeaderMatch(StrEnum):
    """How the value of a header is compared."""

    EXACT = "Exact"
    PREFIX = "Prefix"
    REGEX = "Regex"
    PRESENT = "Present"


ListenPort = Annotated[int, Field(ge=1, le=65535)]
HeaderName = Annotated[
    str, Field(min_length=1, max_length=128), Matches("[-!#$%&'*+.^_`|~0-9A-Za-z]+", "the name of a header has no space, colon or comma")
]
HeaderValue = Annotated[
    str, Field(max_length=1024), Matches("[^\\x00-\\x1f\\x7f]*", "the value of a header is one line without control characters")
]
Host = Annotated[
    str,
    Field(min_length=1, max_length=253),
    Matches(
        r"([*][.])?[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?([.][a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?)*",
        "a host is a lower-case name such as shop.example.org, or *.example.org for every name one level below",
    ),
]
Path = Annotated[
    str,
    Field(min_length=1, max_length=512),
    Matches("/[^\\x00-\\x20\\x7f?#]*", "a path begins with / and has no space, ? or #"),
]
Address = Annotated[
    str,
    Field(min_length=1, max_length=45),
    Matches(r"[*]|[0-9]{1,3}([.][0-9]{1,3}){3}|[0-9a-f:]*:[0-9a-f:.]*", "an address is *, an IPv4 or an IPv6 address"),
]
Ciphers = Annotated[str, Field(min_length=1, max_length=1024), Matches("[-A-Za-z0-9_:+!@=.]+", "ciphers are as OpenSSL lists them")]
Label = Annotated[
    str,
    Field(min_length=1, max_length=63),
    Matches("[a-z0-9]([-a-z0-9]*[a-z0-9])?", 'a name has lower-case letters, digits and "-" inside'),
]


class HeaderRule(Node):
    """One header that a request must carry."""

    rules = (
        Rule(
            cel="has(self.value) == !(has(self.match) && self.match == 'Present')",
            holds=lambda h: (h.value is not None) == (h.match is not HeaderMatch.PRESENT),
            message="value belongs to Exact, Prefix and Regex, and only to these",
            at="value",
        ),
    )

    name: HeaderName
    """Name of the header, in any case."""
    match: Annotated[HeaderMatch, Field(strict=False)] = HeaderMatch.EXACT
    """Exact, Prefix, Regex (PCRE), or Present (any value)."""
    value: HeaderValue | None = None
    """Value to compare with, in its case."""


class Redirect(Node):
    """Answers every request of a plain HTTP listener with the same address under https."""

    code: Annotated[int, Field(ge=301, le=308)] = 301
    """301, 302, 303, 307 or 308 (307 and 308 keep method and body)."""
    port: ListenPort = 443
    """Port of the https address."""

    rules = (
        Rule(
            cel="!has(self.code) || self.code in [301, 302, 303, 307, 308]",
            holds=lambda r: r.code in (301, 302, 303, 307, 308),
            message="code is 301, 302, 303, 307 or 308",
            at="code",
        ),
    )


class Certificate(Node):
    """Where a certificate with its key comes from. Keys never pass through ZooKeeper: each load balancer fetches them itself."""

    rules = (
        Rule(
            cel="has(self.secretRef) != has(self.file)",
            holds=lambda c: (c.secret_ref is None) != (c.file is None),
            message="give exactly one of secretRef and file",
        ),
    )

    secret_ref: NameRef | None = None
    """Secret of type kubernetes.io/tls in the namespace of the service (tls.crt, tls.key). The load balancer's ServiceAccount must be
    allowed to get it."""
    file: Annotated[str, Field(min_length=1, max_length=253), Matches("[A-Za-z0-9_][-._A-Za-z0-9]*", "file is a name without /")] | None = (
        None
    )
    """Name of a PEM file (certificates and key) in the certificate directory of each load balancer (`shuren lb --certificates`)."""


class ClientCertificates(Node):
    """Certificates that clients show."""

    ca_secret_ref: NameRef
    """Secret of the service's namespace whose key ca.crt holds the certificates to trust."""
    verify: Annotated[ClientVerify, Field(strict=False)] = ClientVerify.REQUIRED
    """Required: no connection without; Optional: a certificate that is shown must be good."""


class ListenerTls(Node):
    """TLS with clients."""

    rules = (
        Rule(
            cel="(has(self.mode) && self.mode == 'Passthrough') == (!has(self.certificates) || self.certificates.size() == 0)",
            holds=lambda t: (t.mode is TlsMode.PASSTHROUGH) == (not t.certificates),
            message="Terminate needs certificates; Passthrough takes none",
            at="certificates",
        ),
    )

    mode: Annotated[TlsMode, Field(strict=False)] = TlsMode.TERMINATE
    """Terminate: HAProxy ends TLS with the certificates given. Passthrough (protocol TLS): TLS goes on to the endpoint, chosen by SNI."""
    certificates: Annotated[list[Certificate], Field(max_length=16)] | None = None
    """Certificates; clients get the one whose name they asked for."""
    min_version: Annotated[TlsVersion, Field(strict=False)] = TlsVersion.TLS12
    """Oldest version to accept."""
    ciphers: Ciphers | None = None
    """Ciphers up to TLS 1.2, as OpenSSL lists them. Default: the load balancer's."""
    cipher_suites: Ciphers | None = None
    """Cipher suites of TLS 1.3. Default: the load balancer's."""
    http2: Annotated[bool, Field(alias="http2")] = True
    """Whether HTTPS listeners offer HTTP/2."""
    client_certificates: ClientCertificates | None = None
    """Certificates of clients. Default: none are asked for."""


class Listener(Node):
    """Where clients come in. Listeners of several services of the group share a port by host and path (HTTP, HTTPS) or by SNI (TLS)."""

    rules = (
        Rule(
            cel="has(self.port) || self.protocol in ['HTTP', 'HTTPS']",
            holds=lambda li: li.port is not None or li.protocol in (Protocol.HTTP, Protocol.HTTPS),
            message="TCP and TLS listeners need a port",
            at="port",
        ),
        Rule(
            cel="has(self.tls) == (self.protocol in ['HTTPS', 'TLS'])",
            holds=lambda li: (li.tls is not None) == (li.protocol in (Protocol.HTTPS, Protocol.TLS)),
            message="HTTPS and TLS listeners need tls; HTTP and TCP listeners take none",
            at="tls",
        ),
        Rule(
            cel="!has(self.tls) || self.protocol == 'TLS' || !has(self.tls.mode) || self.tls.mode == 'Terminate'",
            holds=lambda li: li.tls is None or li.protocol is Protocol.TLS or li.tls.mode is TlsMode.TERMINATE,
            message="only protocol TLS can pass TLS through",
            at="tls",
        ),
        Rule(
            cel="self.protocol in ['HTTP', 'HTTPS'] || (!has(self.paths) && !has(self.headers))",
            holds=lambda li: li.protocol in (Protocol.HTTP, Protocol.HTTPS) or (li.paths is None and li.headers is None),
            message="paths and headers belong to HTTP and HTTPS listeners",
        ),
        Rule(
            cel="self.protocol != 'TCP' || !has(self.hosts)",
            holds=lambda li: li.protocol is not Protocol.TCP or li.hosts is None,
            message="a TCP listener cannot tell hosts apart: use TLS, or leave hosts out",
            at="hosts",
        ),
        Rule(
            cel="!has(self.redirectToHttps) || self.protocol == 'HTTP'",
            holds=lambda li: li.redirect_to_https is None or li.protocol is Protocol.HTTP,
            message="redirectToHttps belongs to HTTP listeners",
            at="redirectToHttps",
        ),
        Rule(
            cel="!has(self.maxConnections) || self.protocol == 'TCP'",
            holds=lambda li: li.max_connections is None or li.protocol is Protocol.TCP,
            message="maxConnections belongs to TCP listeners, which no other service shares; use connections.perEndpoint",
            at="maxConnections",
        ),
    )

    name: Label
    """Name of the listener, unique in the service."""
    protocol: Annotated[Protocol, Field(strict=False)]
    """HTTP; HTTPS; TCP (the port is this service's alone); TLS (several services share the port by SNI)."""
    port: ListenPort | None = None
    """Port to listen on. Default: 80 for HTTP, 443 for HTTPS. A load balancer opens only the ports that it is allowed to."""
    addresses: Annotated[list[Address], Field(min_length=1, max_length=8)] | None = None
    """Addresses to listen on. Default: ["*"], every address of the load balancer."""
    hosts: Annotated[list[Host], Field(min_length=1, max_length=64)] | None = None
    """Host names (HTTP, HTTPS) or server names (TLS) of this service. Default: whatever no other service of the port asks for."""
    paths: Annotated[list[Path], Field(min_length=1, max_length=64)] | None = None
    """Path prefixes by whole segments: /api takes /api and /api/users, not /apis. The longest prefix wins. Default: every path."""
    headers: Annotated[list[HeaderRule], Field(min_length=1, max_length=8)] | None = None
    """Headers that must all match; of services with the same host and path the one with more of them is asked first."""
    target_port: PortName | None = None
    """Name of a further port of the endpoints to send traffic to. Default: the port that the backend names."""
    redirect_to_https: Redirect | None = None
    """Answer with a redirect to https instead of an endpoint."""
    tls: ListenerTls | None = None
    """TLS with clients."""
    accept_proxy: bool = False
    """Whether clients speak the PROXY protocol (another load balancer in front). Must be the same for all that share the port."""
    max_connections: Annotated[int, Field(ge=1, le=INT32_MAX)] | None = None
    """Connections of a TCP listener at the same time; more wait in the kernel. Default: the load balancer's."""

"""The backend of a service: its section of the configuration, and the words that each of its servers carries."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from shuren.domain.haproxy.claims import Carried
from shuren.domain.haproxy.document import SPARE, Line, Section
from shuren.domain.haproxy.materials import Materials, authority, users
from shuren.domain.haproxy.settings import (
    Access,
    Algorithm,
    Balance,
    CheckType,
    EjectAction,
    HeaderEdits,
    HealthCheck,
    Http,
    LoadBalancing,
    Observe,
    ProxyProtocol,
    Redirect,
    Retries,
    RetryOn,
    Rewrite,
    Sticky,
    StickyBy,
    UpstreamProtocol,
)
from shuren.domain.haproxy.words import literal, quoted
from shuren.domain.service.values import ServiceName

PEERS = "shuren"
"""Section of the local peer, through which a reload hands stick tables on."""

_SPARE_CHECK = (
    "check inter 10s fastinter 500ms downinter 1s rise 1 fall 1",
    # most of the time nobody asks a spare; when somebody does, the first refused connection is enough
    "observe layer4 error-limit 1 on-error mark-down",
)
_UNREACHABLE = "observe layer4 error-limit 2 on-error mark-down"
"""What every checked server carries, if its service does not judge it in another way. Until checks have noticed that several endpoints are
gone, as with the agent that they ran on, requests that are under way together take each other's place in the turn, and one may meet dead
ones at each of its attempts (seen on 2.6.12: three of four gone, 38 of 150 failed in 1 ms). So a server that takes no connection, twice
without one that it took, is out until its check passes; if that goes for all of them, the spares are asked."""
_IDEMPOTENT = "GET HEAD OPTIONS PUT DELETE"

_EJECT = {
    EjectAction.MARK_DOWN: "mark-down",
    EjectAction.FAST_CHECK: "fastinter",
    EjectAction.FAIL_CHECK: "fail-check",
    EjectAction.SUDDEN_DEATH: "sudden-death",
}
_RETRY = {
    RetryOn.CONNECT_FAILURE: "conn-failure",
    RetryOn.EMPTY_RESPONSE: "empty-response",
    RetryOn.RESPONSE_TIMEOUT: "response-timeout",
    RetryOn.STATUS_502: "502",
    RetryOn.STATUS_503: "503",
    RetryOn.STATUS_504: "504",
}
_PLAIN_BALANCE = {
    Algorithm.ROUND_ROBIN: "roundrobin",
    Algorithm.LEAST_CONNECTIONS: "leastconn",
    Algorithm.RANDOM: "random",
    Algorithm.FIRST: "first",
    Algorithm.SOURCE: "source",
    Algorithm.URI: "uri",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class BackendKey:
    """A service has one backend for HTTP and one for TCP, and one more for each further port that a listener sends to.

    Each for HTTP has a `spare` beside it, which takes the requests while every check fails: see `spare_of`.
    """

    carried: Carried
    http: bool
    target_port: str = ""
    spare: bool = False

    @property
    def name(self) -> str:
        """`<ns>.<svc>:http`, `<ns>.<svc>:tcp`, `…:<target port>`; of the spare `any:…`."""
        plain = f"{self.carried.service}:{'http' if self.http else 'tcp'}{f':{self.target_port}' if self.target_port else ''}"
        return spare_of(plain) if self.spare else plain


def spare_of(backend: str) -> str:
    """Name of the backend with some of the same servers, which takes the requests while no server of `backend` is up. There counts only
    whether a port is open.

    When all checks fail, a 503 of ours is certain and an answer of a server's may still be good: an app that is rolled answers its check
    with 503 and serves on until it is asked no more, and who comes after it may not be known here yet.
    """
    return f"{SPARE}{backend}"


REDIRECTS = "redirect:"
"""How the names of backends that redirect begin."""


def redirect_name(redirect: Redirect) -> str:
    """Backend that answers with a redirect; services share it."""
    return f"{REDIRECTS}{redirect.code}:{redirect.port}"


def redirect_section(redirect: Redirect) -> Section:
    """A backend without servers. It keeps host, path and query."""
    if redirect.port == 443:  # noqa: PLR2004 - the port of https, which stands in no address
        rule = f"http-request redirect scheme https code {redirect.code}"
    else:
        rule = f"http-request redirect prefix https://%[req.hdr(host),host_only]:{redirect.port} code {redirect.code}"
    return Section(header=f"backend {redirect_name(redirect)}", lines=(Line("mode http"), Line(rule)))


def userlist_name(secret: str) -> str:
    """Section with the users of a Secret, by its file's name."""
    return f"users:{secret}"


def sticky_by_cookie(settings: LoadBalancing, *, http: bool) -> bool:
    """Whether clients of a backend get a cookie."""
    return http and settings.sticky is not None and settings.sticky.by is StickyBy.COOKIE


def section(key: BackendKey, materials: Materials) -> Section:
    """The section without its servers."""
    settings, owner = key.carried.settings, key.carried.service
    lines = [
        f"mode {'http' if key.http else 'tcp'}",
        *(_balance(settings.balance) if not key.spare else ("balance roundrobin",)),
        *_trusted(settings, owner, materials),
        *_timeouts(settings),
        *_retries(settings.retries, http=key.http),
        *(_check(settings.health_check, settings.health_check.host or _known_as(settings, owner)) if not key.spare else ()),
        *(_sticky(settings.sticky, key.carried.route.uid or str(owner)) if settings.sticky is not None and not key.spare else ()),
        *_access(settings.access, key, materials),
        *(_http(settings.http) if key.http else ()),
        *((f"http-reuse {settings.connections.reuse.value.lower()}",) if key.http else ()),
        *(line for line in settings.backend_lines if key.http or not line.startswith("http-")),
    ]
    return Section(header=f"backend {key.name}", lines=tuple(Line(text, owner) for text in lines), owner=owner)


def _balance(balance: Balance) -> Iterable[str]:
    match balance.algorithm:
        case Algorithm.HEADER:
            yield f"balance hdr({balance.name})"
        case Algorithm.QUERY_PARAMETER:
            yield f"balance url_param {balance.name}"
        case Algorithm.COOKIE:
            yield f"balance hash req.cook({balance.name})"
        case plain:
            yield f"balance {_PLAIN_BALANCE[plain]}"
    if balance.algorithm.hashes:
        yield "hash-type consistent"
        if balance.bounded_load:
            yield f"hash-balance-factor {balance.bounded_load}"


def _trusted(settings: LoadBalancing, owner: ServiceName, materials: Materials) -> Iterable[str]:
    """HAProxy reads no file at run time: `add server … ca-file` takes only what the configuration has named (seen on 2.6.12)."""
    if settings.upstream.tls is not None and settings.upstream.tls.ca:
        yield f"default-server ca-file {quoted(materials.path(authority(owner, settings.upstream.tls.ca)))}"


def _timeouts(settings: LoadBalancing) -> Iterable[str]:
    timeouts = settings.timeouts
    yield f"timeout connect {timeouts.connect}ms"
    yield f"timeout server {timeouts.server}ms"
    yield f"timeout tunnel {timeouts.tunnel}ms"
    yield f"timeout queue {timeouts.queue}ms"
    yield f"timeout check {settings.health_check.timeout}ms"


def _retries(retries: Retries, *, http: bool) -> Iterable[str]:
    yield f"retries {retries.attempts}"
    yield "option redispatch 1" if retries.redispatch else "no option redispatch"
    if http and retries.on:
        yield f"retry-on {' '.join(_RETRY[on] for on in retries.on)}"
        if set(retries.on) != {RetryOn.CONNECT_FAILURE}:
            # a request that reached a server may have had its effect: only what may be repeated is sent again
            yield f"http-request disable-l7-retry unless {{ method {_IDEMPOTENT} }}"


def _known_as(settings: LoadBalancing, owner: ServiceName) -> str:
    """A name that clients use for the service: servers may know no other."""
    hosts = (host for listener in settings.listeners for host in listener.hosts if not host.startswith("*"))
    return next(hosts, f"{owner.name}.{owner.namespace}")


def _check(check: HealthCheck, host: str) -> Iterable[str]:
    """HAProxy adds no Host of its own (seen on 2.6.12), and without one many servers answer HTTP/1.1 with 400 (RFC 9112 §3.2)."""
    if not check.enabled or check.type is not CheckType.HTTP:
        return
    yield "option httpchk"
    yield f"http-check send meth {check.method} uri {quoted(check.path)} ver HTTP/1.1 hdr Host {quoted(host)}"
    yield f"http-check expect status {check.expect_status}"


def _sticky(sticky: Sticky, key: str) -> Iterable[str]:
    if sticky.by is StickyBy.SOURCE:
        yield f"stick-table type ip size {sticky.table_size} expire {sticky.expire}s peers {PEERS}"
        yield "stick on src"
        return
    cookie = sticky.cookie
    # `dynamic`: HAProxy computes the value from the server's address and the key, so that servers added at run time have one as well (it
    # refuses the keyword `cookie` of `add server` before 3.0) and every load balancer gives the same
    words = [f"cookie {cookie.name} insert indirect nocache dynamic"]
    words += [f"domain {cookie.domain}"] if cookie.domain else []
    words += ["httponly"] if cookie.http_only else []
    words += ["secure"] if cookie.secure else []
    words += [f"maxidle {cookie.max_idle}s"] if cookie.max_idle else []
    words += [f"maxlife {cookie.max_life}s"] if cookie.max_life else []
    words += [f'attr "SameSite={cookie.same_site}"'] if cookie.same_site else []
    yield " ".join(words)
    yield f"dynamic-cookie-key {hashlib.sha256(key.encode()).hexdigest()[:32]}"


def _access(access: Access, key: BackendKey, materials: Materials) -> Iterable[str]:
    refuse = "http-request deny deny_status 403" if key.http else "tcp-request content reject"
    for name, networks in (("denied", access.deny), ("allowed", access.allow)):
        yield from (f"acl {name} src {' '.join(networks[i : i + 32])}" for i in range(0, len(networks), 32))
    if access.deny:
        yield f"{refuse} if denied"
    if access.allow:
        yield f"{refuse} unless allowed"
    if access.basic_auth is not None and key.http:
        material = users(key.carried.service, access.basic_auth.secret)
        if material in materials.users:
            yield f"http-request auth realm {quoted(access.basic_auth.realm)} unless {{ http_auth({userlist_name(material.file)}) }}"
        else:  # nobody may come in unasked because the names are not there
            yield "http-request deny deny_status 503"


def _http(http: Http) -> Iterable[str]:
    if http.forwarded:
        yield "option forwardfor"
        yield "http-request set-header X-Forwarded-Proto https if { ssl_fc }"
        yield "http-request set-header X-Forwarded-Proto http unless { ssl_fc }"
        yield "http-request set-header X-Forwarded-Port %[dst_port]"
    yield from _rewrite(http.rewrite)
    yield from _edits("http-request", http.request_headers)
    if http.hsts is not None:
        value = f"max-age={http.hsts.max_age}"
        value += "; includeSubDomains" if http.hsts.include_subdomains else ""
        value += "; preload" if http.hsts.preload else ""
        yield f"http-response set-header Strict-Transport-Security {quoted(value)} if {{ ssl_fc }}"
    yield from _edits("http-response", http.response_headers)
    if http.compress_types:
        yield "compression algo gzip"
        yield f"compression type {' '.join(http.compress_types)}"


def _rewrite(rewrite: Rewrite) -> Iterable[str]:
    if rewrite.remove_prefix.rstrip("/"):
        prefix = re.escape(rewrite.remove_prefix.rstrip("/"))
        yield f"http-request replace-path {quoted(f'^{prefix}/?(.*)$')} /\\1 if {{ path -m reg {quoted(f'^{prefix}(/|$)')} }}"
    if rewrite.add_prefix.rstrip("/"):
        yield f"http-request set-path {quoted(rewrite.add_prefix.rstrip('/').replace('%', '%%') + '%[path]')}"
    if rewrite.host:
        yield f"http-request set-header Host {rewrite.host}"
    if rewrite.location_prefix.rstrip("/"):
        prefix = rewrite.location_prefix.rstrip("/").replace("%", "%%")
        yield f"http-response replace-header Location {quoted('^(https?://[^/]+)?(/.*)$')} {quoted(f'{prefix}')}\\2"


def _edits(verb: str, edits: HeaderEdits) -> Iterable[str]:
    yield from (f"{verb} del-header {quoted(name)}" for name in edits.remove)
    yield from (f"{verb} set-header {quoted(name)} {literal(value)}" for name, value in edits.set)
    yield from (f"{verb} add-header {quoted(name)} {literal(value)}" for name, value in edits.add)


def server_options(key: BackendKey, materials: Materials) -> tuple[str, ...]:
    """Words that stand on every server of the backend, in the configuration and in `add server`."""
    settings = key.carried.settings
    words: list[str] = []
    tls = settings.upstream.tls
    if tls is not None:
        words.append("ssl")
        if tls.ca:
            words += ["verify required", f"ca-file {quoted(materials.path(authority(key.carried.service, tls.ca)))}"]
            words += [f"verifyhost {tls.server_name}"] if tls.server_name else []
        else:
            words.append("verify none")
        words += [f"sni str({tls.server_name})"] if tls.server_name else []
    if settings.upstream.protocol is UpstreamProtocol.HTTP2 and key.http:
        words.append("alpn h2" if tls is not None else "proto h2")
    match settings.upstream.proxy_protocol:
        case ProxyProtocol.V1:
            words.append("send-proxy")
        case ProxyProtocol.V2:
            words.append("send-proxy-v2")
        case None:
            pass
    if settings.connections.per_endpoint:
        words.append(f"maxconn {settings.connections.per_endpoint}")
    if settings.connections.queue:
        words.append(f"maxqueue {settings.connections.queue}")
    words += _check_words(settings, http=key.http) if not key.spare else _SPARE_CHECK
    return tuple(" ".join(words).split())


def _check_words(settings: LoadBalancing, *, http: bool) -> list[str]:
    check, ejection = settings.health_check, settings.outlier_ejection
    if not check.enabled:
        return []
    words = [
        f"check inter {check.interval}ms fastinter {check.fast_interval}ms downinter {check.down_interval}ms",
        f"rise {check.rise} fall {check.fall}",
    ]
    tls = settings.upstream.tls is not None if check.tls is None else check.tls
    words += ["check-ssl"] if tls else []
    words += ["check-send-proxy"] if settings.upstream.proxy_protocol is not None else []
    words += [f"slowstart {settings.slow_start}s"] if settings.slow_start else []
    if ejection is not None:
        layer = "layer7" if ejection.observe is Observe.LAYER7 and http else "layer4"
        words.append(f"observe {layer} error-limit {ejection.errors} on-error {_EJECT[ejection.action]}")
    else:
        words.append(_UNREACHABLE)
    return words

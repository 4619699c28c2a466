"""A route's JSON → `LoadBalancing`. It trusts nothing: who can write ZooKeeper must not be able to write HAProxy's configuration.

Unknown fields are ignored, as everywhere beside traffic. All that is wrong is told at once, each with its field path. A text with a control
character is refused wherever it stands: a line break is the one thing that no quoting of HAProxy could hold.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from enum import Enum
from typing import TypeVar

from shuren.domain.errors import FieldError, Invalid
from shuren.domain.haproxy.settings import (
    Access,
    Algorithm,
    Balance,
    BasicAuth,
    CertificateName,
    CheckType,
    ClientVerify,
    Connections,
    Cookie,
    HeaderEdits,
    HeaderMatch,
    HeaderRule,
    HealthCheck,
    Hsts,
    Http,
    Listener,
    ListenerTls,
    LoadBalancing,
    OutlierEjection,
    Protocol,
    ProxyProtocol,
    Redirect,
    Retries,
    Reuse,
    Rewrite,
    Sticky,
    StickyBy,
    Timeouts,
    TlsMode,
    Upstream,
    UpstreamProtocol,
    UpstreamTls,
)
from shuren.domain.json import JsonValue
from shuren.domain.service.values import ServiceName

E = TypeVar("E", bound=Enum)
V = TypeVar("V")

HOST = re.compile(r"([*][.])?[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?([.][a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?)*")
PATH = re.compile(r"/[^\x00-\x20\x7f?#]*")
HEADER = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
TOKEN = re.compile(r"[-_.A-Za-z0-9]+")
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
OBJECT_NAME = re.compile(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?")
FILE = re.compile(r"[A-Za-z0-9_][-._A-Za-z0-9]*")
CIPHERS = re.compile(r"[-A-Za-z0-9_:+!@=.]+")
STATUSES = re.compile(r"[1-5][0-9]{2}(-[1-5][0-9]{2})?(,[1-5][0-9]{2}(-[1-5][0-9]{2})?)*")
REALM = re.compile(r"[-_. A-Za-z0-9]+")
MIME = re.compile(r"[-+.*a-z0-9]+/[-+.*a-z0-9]+")
HOST_HEADER = re.compile(r"[-.:A-Za-z0-9_]+")
DOMAIN = re.compile(r"[.]?[a-z0-9]([-.a-z0-9]*[a-z0-9])?")
LINE = re.compile(r"(acl|http-request|http-response|http-after-response|http-check|option|tcp-request|tcp-response|timeout|compression) .+")
DANGEROUS = re.compile(
    r"external-check|\blua\.|\benv\(|\bfile\b|\blf-file\b|errorfiles?\b|use-service|\b(add|del|set)-(acl|map)\b|\bmap(_[a-z_]+)?\(|\bspoe\b|\$",
    re.IGNORECASE,
)
"""What no line of a user may contain: programs, Lua, files, HAProxy's environment and the routing of other services."""
CONTROL = re.compile(r"[\x00-\x1f\x7f]")

_VERSIONS = ("TLSv1.0", "TLSv1.1", "TLSv1.2", "TLSv1.3")
_MAX = 2**31 - 1


def named_well(service: ServiceName) -> bool:
    """Whether namespace and name are such as Kubernetes has; they become words of the configuration."""
    return LABEL.fullmatch(service.namespace) is not None and OBJECT_NAME.fullmatch(service.name) is not None


def parse(document: Mapping[str, JsonValue]) -> LoadBalancing:
    """Read it. Invalid with every problem, its path below `spec.loadBalancer`."""
    reader = _Reader(document, "spec.loadBalancer", [])
    result = _load_balancing(reader)
    if reader.errors:
        told = "; ".join(f"{e.path}: {e.message}" for e in reader.errors)
        raise Invalid(f"the load balancer cannot carry this: {told}", errors=tuple(reader.errors))
    return result


class _Reader:
    """One JSON object and its path; what is wrong is collected, and a default stands in for it."""

    def __init__(self, document: Mapping[str, JsonValue], path: str, errors: list[FieldError]) -> None:
        self._document = document
        self.path = path
        self.errors = errors

    def wrong(self, key: str, message: str) -> None:
        self.errors.append(FieldError(path=f"{self.path}.{key}" if key else self.path, message=message))

    def has(self, key: str) -> bool:
        return self._document.get(key) is not None

    def text(self, key: str, default: str = "", *, form: re.Pattern[str] | None = None, say: str = "") -> str:
        value = self._document.get(key)
        if value is None:
            return default
        return self._checked(key, value, form, say) or default

    def _checked(self, key: str, value: JsonValue, form: re.Pattern[str] | None, say: str) -> str:
        if not isinstance(value, str):
            self.wrong(key, "must be a string")
        elif CONTROL.search(value):
            self.wrong(key, "has a control character")
        elif form is not None and form.fullmatch(value) is None:
            self.wrong(key, say or f"must match {form.pattern}")
        else:
            return value
        return ""

    def texts(
        self, key: str, default: tuple[str, ...] = (), *, form: re.Pattern[str] | None = None, say: str = "", most: int = 256
    ) -> tuple[str, ...]:
        value = self._document.get(key)
        if value is None:
            return default
        if not isinstance(value, list) or len(value) > most:
            self.wrong(key, f"must be a list of at most {most} strings")
            return default
        return tuple(self._checked(f"{key}[{i}]", item, form, say) for i, item in enumerate(value)) or default

    def number(self, key: str, default: int, *, least: int = 1, most: int = _MAX) -> int:
        value = self._document.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            self.wrong(key, f"must be a whole number from {least} to {most}")
            return default
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        value = self._document.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.wrong(key, "must be true or false")
            return default
        return value

    def choice(self, key: str, default: E) -> E:
        value = self._document.get(key)
        return default if value is None else self._chosen(key, value, default)

    def _chosen(self, key: str, value: JsonValue, default: E) -> E:
        try:
            return type(default)(value)
        except ValueError:
            self.wrong(key, f"must be one of {', '.join(str(e.value) for e in type(default))}")
            return default

    def choices(self, key: str, default: tuple[E, ...]) -> tuple[E, ...]:
        value = self._document.get(key)
        if value is None:
            return default
        if not isinstance(value, list):
            self.wrong(key, "must be a list")
            return default
        return tuple(self._chosen(f"{key}[{i}]", item, default[0]) for i, item in enumerate(value))

    def child(self, key: str) -> _Reader | None:
        value = self._document.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            self.wrong(key, "must be an object")
            return None
        return _Reader(value, f"{self.path}.{key}", self.errors)

    def read(self, key: str, of: Callable[[_Reader], V], default: V) -> V:
        child = self.child(key)
        return default if child is None else of(child)

    def children(self, key: str, *, most: int) -> list[_Reader]:
        value = self._document.get(key)
        if value is None:
            return []
        if not isinstance(value, list) or len(value) > most or not all(isinstance(item, dict) for item in value):
            self.wrong(key, f"must be a list of at most {most} objects")
            return []
        return [_Reader(item, f"{self.path}.{key}[{i}]", self.errors) for i, item in enumerate(value) if isinstance(item, dict)]

    def secret(self, key: str) -> str:
        return self.read(key, lambda r: r.text("name", form=OBJECT_NAME, say="must be the name of a Secret"), "")


def _load_balancing(r: _Reader) -> LoadBalancing:
    listeners = tuple(_listener(child) for child in r.children("listeners", most=16))
    if not listeners:
        r.wrong("listeners", "needs at least one listener")
    if len({listener.name for listener in listeners}) != len(listeners):
        r.wrong("listeners", "two listeners have the same name")
    result = LoadBalancing(
        group=r.text("group", form=LABEL),
        listeners=listeners,
        balance=r.read("balance", _balance, Balance()),
        sticky=r.read("sticky", _sticky, None),
        timeouts=r.read("timeouts", _timeouts, Timeouts()),
        health_check=r.read("healthCheck", _health_check, HealthCheck()),
        retries=r.read("retries", _retries, Retries()),
        connections=r.read("connections", _connections, Connections()),
        slow_start=r.number("slowStartSeconds", 0, least=0, most=86400),
        outlier_ejection=r.read("outlierEjection", _outliers, None),
        access=r.read("access", _access, Access()),
        http=r.read("http", _http, Http()),
        upstream=r.read("upstream", _upstream, Upstream()),
        backend_lines=_lines(r),
    )
    _judge(r, result)
    return result


def _judge(r: _Reader, given: LoadBalancing) -> None:
    """Rules over several fields."""
    only_http = all(listener.protocol.http for listener in given.listeners)
    if given.sticky is not None and given.sticky.by is StickyBy.COOKIE and not only_http:
        r.wrong("sticky", "a cookie needs HTTP: use by: Source, or HTTP and HTTPS listeners only")
    if given.balance.algorithm.hashes and given.balance.algorithm is not Algorithm.SOURCE and not only_http:
        r.wrong("balance", "this algorithm reads requests: it needs HTTP and HTTPS listeners only")
    if given.outlier_ejection is not None and not given.health_check.enabled:
        r.wrong("outlierEjection", "needs healthCheck.enabled: nothing else brings an endpoint back")


def _lines(r: _Reader) -> tuple[str, ...]:
    lines = r.texts("backendLines", form=LINE, say="does not begin with a keyword that may be given", most=32)
    for index, line in enumerate(lines):
        if DANGEROUS.search(line):
            r.wrong(f"backendLines[{index}]", "reaches outside this service (a program, Lua, a file, the environment or a map)")
    return lines


def _listener(r: _Reader) -> Listener:
    protocol = r.choice("protocol", Protocol.HTTP)
    tls = r.read("tls", _listener_tls, None)
    listener = Listener(
        name=r.text("name", form=LABEL, say="must be a name of lower-case letters, digits and -"),
        protocol=protocol,
        port=r.number("port", 443 if protocol is Protocol.HTTPS else 80, most=65535),
        addresses=tuple(_address(r, i, text) for i, text in enumerate(r.texts("addresses", ("*",), most=8))),
        hosts=r.texts("hosts", form=HOST, say="must be a lower-case host name, or *. and one", most=64),
        paths=tuple(
            path.rstrip("/") or "/"
            for path in r.texts("paths", ("/",), form=PATH, say="must begin with / and have no space, ? or #", most=64)
        ),
        headers=tuple(_header_rule(child) for child in r.children("headers", most=8)),
        target_port=r.text("targetPort", form=LABEL),
        redirect=r.read("redirectToHttps", _redirect, None),
        tls=tls,
        accept_proxy=r.flag("acceptProxy", default=False),
        max_connections=r.number("maxConnections", 0),
    )
    if not r.has("protocol"):
        r.wrong("protocol", "is required")
    if not r.has("name"):
        r.wrong("name", "is required")
    _judge_listener(r, listener)
    return listener


def _judge_listener(r: _Reader, given: Listener) -> None:
    secured = given.protocol in (Protocol.HTTPS, Protocol.TLS)
    if not given.protocol.http and not r.has("port"):
        r.wrong("port", "TCP and TLS listeners need a port")
    if (given.tls is not None) != secured:
        r.wrong("tls", "HTTPS and TLS listeners need tls; HTTP and TCP listeners take none")
    if given.tls is not None and given.tls.mode is TlsMode.PASSTHROUGH and given.protocol is Protocol.HTTPS:
        r.wrong("tls.mode", "only protocol TLS can pass TLS through")
    if not given.protocol.http and (r.has("paths") or given.headers):
        r.wrong("", "paths and headers belong to HTTP and HTTPS listeners")
    if given.protocol is Protocol.TCP and given.hosts:
        r.wrong("hosts", "a TCP listener cannot tell hosts apart: use TLS, or leave hosts out")
    if given.redirect is not None and given.protocol is not Protocol.HTTP:
        r.wrong("redirectToHttps", "belongs to HTTP listeners")
    if given.max_connections and given.protocol is not Protocol.TCP:
        r.wrong("maxConnections", "belongs to TCP listeners")


def _address(r: _Reader, index: int, text: str) -> str:
    if text == "*":
        return text
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        r.wrong(f"addresses[{index}]", "must be *, an IPv4 or an IPv6 address")
        return "*"


def _header_rule(r: _Reader) -> HeaderRule:
    rule = HeaderRule(
        name=r.text("name", form=HEADER, say="must be the name of a header").lower(),
        match=r.choice("match", HeaderMatch.EXACT),
        value=r.text("value"),
    )
    if not rule.name:
        r.wrong("name", "is required")
    if (rule.match is HeaderMatch.PRESENT) == r.has("value"):
        r.wrong("value", "belongs to Exact, Prefix and Regex, and only to these")
    return rule


def _redirect(r: _Reader) -> Redirect:
    code = r.number("code", 301, least=301, most=308)
    if code in (304, 305, 306):
        r.wrong("code", "is 301, 302, 303, 307 or 308")
    return Redirect(code=code, port=r.number("port", 443, most=65535))


def _listener_tls(r: _Reader) -> ListenerTls:
    mode = r.choice("mode", TlsMode.TERMINATE)
    certificates = tuple(_certificate(child) for child in r.children("certificates", most=16))
    if (mode is TlsMode.PASSTHROUGH) != (not certificates):
        r.wrong("certificates", "Terminate needs certificates; Passthrough takes none")
    version = r.text("minVersion", "TLSv1.2")
    if version not in _VERSIONS:
        r.wrong("minVersion", f"must be one of {', '.join(_VERSIONS)}")
    client = r.child("clientCertificates")
    ca = client.secret("caSecretRef") if client is not None else ""
    if client is not None and not ca:
        client.wrong("caSecretRef", "is required")
    return ListenerTls(
        mode=mode,
        certificates=certificates,
        min_version=version,
        ciphers=r.text("ciphers", form=CIPHERS),
        cipher_suites=r.text("cipherSuites", form=CIPHERS),
        http2=r.flag("http2", default=True),
        client_ca=ca,
        client_verify=client.choice("verify", ClientVerify.REQUIRED) if client is not None else ClientVerify.REQUIRED,
    )


def _certificate(r: _Reader) -> CertificateName:
    name = CertificateName(secret=r.secret("secretRef"), file=r.text("file", form=FILE, say="must be a file name without /"))
    if bool(name.secret) == bool(name.file):
        r.wrong("", "give exactly one of secretRef and file")
    return name


def _balance(r: _Reader) -> Balance:
    algorithm = r.choice("algorithm", Algorithm.ROUND_ROBIN)
    balance = Balance(
        algorithm=algorithm, name=r.text("name", form=TOKEN), bounded_load=r.number("boundedLoadPercent", 0, least=101, most=10000)
    )
    if (algorithm in (Algorithm.HEADER, Algorithm.QUERY_PARAMETER, Algorithm.COOKIE)) != bool(balance.name):
        r.wrong("name", "belongs to Header, QueryParameter and Cookie, and only to these")
    if balance.bounded_load and not algorithm.hashes:
        r.wrong("boundedLoadPercent", "belongs to algorithms that hash")
    return balance


def _sticky(r: _Reader) -> Sticky:
    return Sticky(
        by=r.choice("by", StickyBy.COOKIE),
        cookie=r.read("cookie", _cookie, Cookie()),
        expire=r.number("expireSeconds", 1800),
        table_size=r.number("tableSize", 100_000, most=10_000_000),
    )


def _cookie(r: _Reader) -> Cookie:
    same_site = r.text("sameSite")
    if same_site not in ("", "None", "Lax", "Strict"):
        r.wrong("sameSite", "must be None, Lax or Strict")
    return Cookie(
        name=r.text("name", "SHUREN", form=TOKEN),
        domain=r.text("domain", form=DOMAIN),
        secure=r.flag("secure", default=False),
        http_only=r.flag("httpOnly", default=True),
        same_site=same_site,
        max_idle=r.number("maxIdleSeconds", 0),
        max_life=r.number("maxLifeSeconds", 0),
    )


def _timeouts(r: _Reader) -> Timeouts:
    standard = Timeouts()
    return Timeouts(
        connect=r.number("connectMs", standard.connect),
        client=r.number("clientMs", standard.client),
        server=r.number("serverMs", standard.server),
        tunnel=r.number("tunnelMs", standard.tunnel),
        queue=r.number("queueMs", standard.queue),
        http_request=r.number("httpRequestMs", standard.http_request),
        http_keep_alive=r.number("httpKeepAliveMs", standard.http_keep_alive),
    )


def _health_check(r: _Reader) -> HealthCheck:
    standard = HealthCheck()
    method = r.text("method", standard.method)
    if method not in ("GET", "HEAD", "OPTIONS"):
        r.wrong("method", "must be GET, HEAD or OPTIONS")
    kind = r.choice("type", standard.type)
    if kind is CheckType.TCP and any(r.has(key) for key in ("path", "method", "host", "expectStatus")):
        r.wrong("type", "path, method, host and expectStatus belong to type Http")
    return HealthCheck(
        enabled=r.flag("enabled", default=True),
        type=kind,
        path=r.text("path", standard.path, form=PATH),
        method=method,
        host=r.text("host", form=HOST),
        expect_status=r.text("expectStatus", standard.expect_status, form=STATUSES),
        port=r.text("port", form=LABEL),
        tls=r.flag("tls", default=False) if r.has("tls") else None,
        interval=r.number("intervalMs", standard.interval),
        fast_interval=r.number("fastIntervalMs", standard.fast_interval),
        down_interval=r.number("downIntervalMs", standard.down_interval),
        timeout=r.number("timeoutMs", standard.timeout),
        rise=r.number("rise", standard.rise, most=100),
        fall=r.number("fall", standard.fall, most=100),
        when_all_fail=r.choice("whenAllFail", standard.when_all_fail),
    )


def _retries(r: _Reader) -> Retries:
    standard = Retries()
    return Retries(
        attempts=r.number("attempts", standard.attempts, least=0, most=100),
        on=r.choices("on", standard.on),
        redispatch=r.flag("redispatch", default=True),
    )


def _connections(r: _Reader) -> Connections:
    return Connections(per_endpoint=r.number("perEndpoint", 0), queue=r.number("queue", 0), reuse=r.choice("reuse", Reuse.SAFE))


def _outliers(r: _Reader) -> OutlierEjection:
    standard = OutlierEjection()
    return OutlierEjection(
        observe=r.choice("observe", standard.observe),
        errors=r.number("errors", standard.errors),
        action=r.choice("action", standard.action),
    )


def _access(r: _Reader) -> Access:
    return Access(allow=_networks(r, "allow"), deny=_networks(r, "deny"), basic_auth=r.read("basicAuth", _basic_auth, None))


def _networks(r: _Reader, key: str) -> tuple[str, ...]:
    found = []
    for index, text in enumerate(r.texts(key)):
        try:
            found.append(str(ipaddress.ip_network(text, strict=False)))
        except ValueError:
            r.wrong(f"{key}[{index}]", "must be a network such as 10.0.0.0/8")
    return tuple(found)


def _basic_auth(r: _Reader) -> BasicAuth | None:
    auth = BasicAuth(realm=r.text("realm", form=REALM), secret=r.secret("secretRef"))
    if not auth.realm or not auth.secret:
        r.wrong("", "needs realm and secretRef")
        return None
    return auth


def _http(r: _Reader) -> Http:
    return Http(
        forwarded=r.flag("forwarded", default=True),
        hsts=r.read("hsts", _hsts, None),
        rewrite=r.read("rewrite", _rewrite, Rewrite()),
        request_headers=r.read("requestHeaders", _edits, HeaderEdits()),
        response_headers=r.read("responseHeaders", _edits, HeaderEdits()),
        compress_types=r.texts("compressTypes", form=MIME, say="must be a MIME type", most=32),
    )


def _hsts(r: _Reader) -> Hsts:
    return Hsts(
        max_age=r.number("maxAgeSeconds", Hsts().max_age, least=0),
        include_subdomains=r.flag("includeSubdomains", default=False),
        preload=r.flag("preload", default=False),
    )


def _rewrite(r: _Reader) -> Rewrite:
    return Rewrite(
        remove_prefix=r.text("removePrefix", form=PATH),
        add_prefix=r.text("addPrefix", form=PATH),
        host=r.text("host", form=HOST_HEADER),
        location_prefix=r.text("locationPrefix", form=PATH),
    )


def _edits(r: _Reader) -> HeaderEdits:
    def pairs(key: str) -> tuple[tuple[str, str], ...]:
        found = [(child.text("name", form=HEADER), child.text("value"), child) for child in r.children(key, most=32)]
        for name, _, child in found:
            if not name:
                child.wrong("name", "is required")
        return tuple((name, value) for name, value, _ in found)

    return HeaderEdits(set=pairs("set"), add=pairs("add"), remove=r.texts("remove", form=HEADER, most=32))


def _upstream(r: _Reader) -> Upstream:
    return Upstream(
        protocol=r.choice("protocol", UpstreamProtocol.HTTP1),
        tls=r.read("tls", _upstream_tls, None),
        proxy_protocol=r.choice("proxyProtocol", ProxyProtocol.V1) if r.has("proxyProtocol") else None,
    )


def _upstream_tls(r: _Reader) -> UpstreamTls:
    ca = r.secret("caSecretRef")
    if (r.text("verify", "None") == "Required") != bool(ca):
        r.wrong("caSecretRef", "verify: Required needs caSecretRef; None takes none")
    return UpstreamTls(ca=ca, server_name=r.text("serverName", form=HOST))

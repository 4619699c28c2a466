"""marathon-lb's labels of an app to PaasServices, and what of them has no equal.

Labels are as marathon-lb's Longhelp.md describes them: `HAPROXY_GROUP` for the app, `HAPROXY_<n>_<WORD>` for its port n. The labels stay
on the app: taking one away would restart its tasks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shuren.domain.json import Document

Json = dict[str, Any]

_LABEL = re.compile(r"HAPROXY_(?:(\d+)_)?([A-Z0-9_]+)")
_GROUP = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_HOST = re.compile(r"([*][.])?[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?([.][a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?)*")
_BALANCE = {
    "roundrobin": "RoundRobin",
    "static-rr": "RoundRobin",
    "leastconn": "LeastConnections",
    "random": "Random",
    "first": "First",
    "source": "Source",
    "uri": "Uri",
}
_TRUE = frozenset({"true", "t", "yes", "y", "1"})
_HTTP_CHECKS = frozenset({"HTTP", "HTTPS", "MESOS_HTTP", "MESOS_HTTPS"})
_TOP = 65_535
_USED = frozenset(
    {
        "GROUP",
        "ENABLED",
        "VHOST",
        "PATH",
        "PORT",
        "MODE",
        "BIND_ADDR",
        "BIND_OPTIONS",
        "SSL_CERT",
        "REDIRECT_TO_HTTPS",
        "USE_HSTS",
        "STICKY",
        "BALANCE",
        "AUTH",
        "BACKEND_HEALTHCHECK_PORT_INDEX",
        "BACKEND_NETWORK_ALLOWED_ACL",
        "BACKEND_WEIGHT",
        "HTTP_BACKEND_PROXYPASS_PATH",
        "HTTP_BACKEND_REVPROXY_PATH",
    }
)


@dataclass(frozen=True, kw_only=True)
class ImportedService:
    """The PaasService for one port of an app: what goes after the app's name (empty for the first port), and its spec."""

    suffix: str
    spec: Json


@dataclass(frozen=True, kw_only=True)
class Converted:
    """Services of an app, and sentences about labels that have no equal."""

    services: tuple[ImportedService, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(kw_only=True)
class _Port:
    index: int
    words: Mapping[str, str]
    service_port: int = 0
    checks: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    """Marathon's checks by HTTP, the first of each port by its index."""
    names: Sequence[str] = ()
    """Names of the app's ports, in order; empty where one has none."""
    notes: list[str] = field(default_factory=list)

    def note(self, word: str, what: str) -> None:
        self.notes.append(f"HAPROXY_{self.index}_{word}: {what}")

    def flag(self, word: str) -> bool:
        return self.words.get(word, "").strip().lower() in _TRUE

    def given(self, word: str) -> str:
        return self.words.get(word, "").strip()


def convert(definition: Document, *, app: str, cluster: str) -> Converted:
    """Services for an app's labels; none when it has no group, for then marathon-lb carries it nowhere."""
    labels = {str(k): str(v) for k, v in (_mapping(definition.get("labels"))).items() if str(k).startswith("HAPROXY_")}
    if not labels:
        return Converted()
    whole, by_port, notes = _sorted(labels)
    ports, names, checks = _service_ports(definition), _port_names(definition), _http_checks(definition)
    services: list[ImportedService] = []
    indexes = sorted({*by_port, *range(len(ports))} if whole.get("GROUP") else by_port)
    for index in indexes:
        port = _Port(
            index=index,
            words={**whole, **by_port.get(index, {})},
            service_port=ports[index] if index < len(ports) else 0,
            checks=checks,
            names=names,
        )
        spec = _spec(port, app, cluster)
        if spec is not None:
            services.append(ImportedService(suffix="" if not services else f"-{index}", spec=spec))
        notes += port.notes
    if not services and not notes:
        notes.append("HAPROXY_… labels without HAPROXY_GROUP: marathon-lb carries it only where it was started for all groups")
    return Converted(services=tuple(services), notes=tuple(notes))


def _sorted(labels: Mapping[str, str]) -> tuple[dict[str, str], dict[int, dict[str, str]], list[str]]:
    """Words of the app, words by port, and what is no label of marathon-lb."""
    whole: dict[str, str] = {}
    by_port: dict[int, dict[str, str]] = {}
    notes: list[str] = []
    for label, value in sorted(labels.items()):
        match = _LABEL.fullmatch(label)
        if match is None:
            notes.append(f"{label}: no label of marathon-lb that is known here")
        elif match[1] is not None:
            by_port.setdefault(int(match[1]), {})[match[2]] = value
        elif match[2] == "GROUP":
            whole["GROUP"] = value
        else:
            notes.append(f"{label}: how marathon-lb does zero-downtime deployments; spec.rollout of the PaasApp takes its place")
    return whole, by_port, notes


def _spec(port: _Port, app: str, cluster: str) -> Json | None:
    group = port.given("GROUP")
    if port.given("ENABLED") and not port.flag("ENABLED"):
        port.note("ENABLED", "switched off, so there is no service for it")
        return None
    if not group:
        return None
    names = [name.strip().lower() for name in group.split(",") if name.strip()]
    if not names or not _GROUP.fullmatch(names[0]):
        port.note("GROUP", f"{group!r} cannot be the name of a group here: lower-case letters, digits and '-'")
        return None
    for other in names[1:]:
        port.note("GROUP", f"a service has one group; it is {names[0]}, make another service for {other}")
    listeners = _listeners(port)
    if not listeners:
        port.note("GROUP", "there is neither a host nor a port to listen on")
        return None
    balancer: Json = {"group": names[0], "listeners": listeners, **_backend(port, listeners, app)}
    for word in sorted(port.words.keys() - _USED):
        port.note(word, "has no equal; see docs/load-balancer.md, `backendLines` is the way out")
    return {
        "clusterRef": {"name": cluster},
        "backends": [{"name": "main", "appRef": {"name": app}, "portIndex": port.index}],
        "loadBalancer": balancer,
    }


# ---------------------------------------------------------------------------------------------------- listeners


def _listeners(port: _Port) -> list[Json]:
    hosts = _hosts(port)
    mode = port.given("MODE").lower() or ("http" if hosts or port.index in port.checks else "tcp")
    paths = _paths(port)
    found: list[Json] = []
    number = _number(port.given("PORT")) or port.service_port
    if port.given("PORT") and not _number(port.given("PORT")):
        port.note("PORT", f"{port.given('PORT')!r} is no port")
    if 0 < number <= _TOP:
        own: Json = {"name": "port", "protocol": "HTTP" if mode == "http" else "TCP", "port": number}
        address = port.given("BIND_ADDR")
        if address and address != "*":
            own["addresses"] = [address]
        found.append(own)
    if hosts:
        found += _virtual(port, hosts, paths)
    elif port.given("SSL_CERT"):
        port.note("SSL_CERT", "TLS on the service port is not converted: give that listener protocol TLS and its certificate")
    bound = _bind_options(port)
    return [{**listener, **bound} for listener in found]


def _bind_options(port: _Port) -> Json:
    words = port.given("BIND_OPTIONS").split()
    rest = [word for word in words if word != "accept-proxy"]
    if rest:
        port.note("BIND_OPTIONS", f"{' '.join(rest)!r} is not converted: ciphers and the oldest version of TLS are listeners[].tls.*")
    return {"acceptProxy": True} if "accept-proxy" in words else {}


def _hosts(port: _Port) -> list[str]:
    hosts: list[str] = []
    for name in port.given("VHOST").lower().split(","):
        host = name.strip()
        if not host:
            continue
        if _HOST.fullmatch(host):
            hosts.append(host)
        else:
            port.note("VHOST", f"{host!r} is no host name")
    return list(dict.fromkeys(hosts))


def _paths(port: _Port) -> list[str]:
    path = port.given("PATH").partition(" ")[2] if port.given("PATH").startswith("-i ") else port.given("PATH")
    if not path:
        return []
    if not path.startswith("/"):
        port.note("PATH", f"{path!r} does not begin with /")
        return []
    port.note("PATH", f"marathon-lb takes every path that begins with {path}; here whole segments count, so {path}x is another")
    return [path]


def _virtual(port: _Port, hosts: Sequence[str], paths: Sequence[str]) -> list[Json]:
    way: Json = {"hosts": list(hosts), **({"paths": list(paths)} if paths else {})}
    plain: Json = {"name": "http", "protocol": "HTTP", "port": 80, **way}
    if port.flag("REDIRECT_TO_HTTPS"):
        plain["redirectToHttps"] = {}
    certificates = [name.strip() for name in port.given("SSL_CERT").split(",") if name.strip()]
    if not certificates:
        port.note("VHOST", "marathon-lb serves it on 443 too, with its own certificate; add an HTTPS listener with tls.certificates")
        if port.flag("REDIRECT_TO_HTTPS"):
            port.note("REDIRECT_TO_HTTPS", "clients are sent to 443, where nothing listens before that")
        return [plain]
    files = [{"file": path.rpartition("/")[2]} for path in certificates]
    port.note("SSL_CERT", "the files must lie in the folder that shuren lb gets with --certificates; better is a Secret (secretRef)")
    secure: Json = {"name": "https", "protocol": "HTTPS", "port": 443, **way, "tls": {"certificates": files}}
    return [plain, secure]


# ---------------------------------------------------------------------------------------------------- backend


def _backend(port: _Port, listeners: Iterable[Json], app: str) -> Json:
    http = all(li["protocol"] in {"HTTP", "HTTPS"} for li in listeners)
    found: Json = {}
    balance = port.given("BALANCE").lower()
    if balance in _BALANCE and (balance != "uri" or http):
        found["balance"] = {"algorithm": _BALANCE[balance]}
    elif balance:
        port.note("BALANCE", f"{balance!r} has no equal; RoundRobin is used")
    if port.flag("STICKY"):
        found["sticky"] = {"by": "Cookie" if http else "Source"}
    check = _health_check(port) if http else {}
    if check:
        found["healthCheck"] = check
    access = _access(port, app, http=http)
    if access:
        found["access"] = access
    web = _web(port) if http else {}
    if web:
        found["http"] = web
    if port.given("BACKEND_WEIGHT"):
        port.note("BACKEND_WEIGHT", "not needed: the longest path wins")
    return found


def _health_check(port: _Port) -> Json:
    """marathon-lb asks as Marathon does; how often, and what counts, is HAProxy's own here, so that a dead task is noticed at once."""
    given = port.given("BACKEND_HEALTHCHECK_PORT_INDEX")
    if given and not (given.isascii() and given.isdigit()):
        port.note("BACKEND_HEALTHCHECK_PORT_INDEX", f"{given!r} is no index of a port")
        given = ""
    index = int(given) if given else port.index
    check = port.checks.get(index)
    if check is None:
        if given:
            port.note(
                "BACKEND_HEALTHCHECK_PORT_INDEX", f"the app has no check by HTTP of port {index}; a connection to its own port is tried"
            )
        return {}
    found: Json = {"type": "Http"}
    path = str(check.get("path") or "/")
    if path != "/":
        found["path"] = path
    if str(check.get("protocol", "HTTP")).endswith("HTTPS"):
        found["tls"] = True
    if index != port.index:
        name = port.names[index] if index < len(port.names) else ""
        if not name:
            port.note("BACKEND_HEALTHCHECK_PORT_INDEX", f"port {index} has no name; give it one and set healthCheck.port to it")
            return {}
        found["port"] = name
    return found


def _access(port: _Port, app: str, *, http: bool) -> Json:
    found: Json = {}
    networks = port.given("BACKEND_NETWORK_ALLOWED_ACL").split()
    if networks and networks != ["0.0.0.0/0"]:
        found["allow"] = networks
    realm, _, user = port.given("AUTH").partition(":")
    if not user:
        return found
    if not http:
        port.note("AUTH", "a TCP listener asks nobody for a name; marathon-lb does not either")
        return found
    secret = f"{app}-auth"
    plain = re.sub(r"[^-_. A-Za-z0-9]", "-", realm)[:128] or app
    port.note(
        "AUTH", f"make a Secret {secret} with the key `auth`: {user.partition(':')[0]}:<hash, as in the label>; nobody gets in before"
    )
    return {**found, "basicAuth": {"realm": plain, "secretRef": {"name": secret}}}


def _web(port: _Port) -> Json:
    """`spec.loadBalancer.http`."""
    web: Json = {}
    if port.flag("USE_HSTS"):
        web["hsts"] = {}
    rewrite: Json = {}
    if port.given("HTTP_BACKEND_PROXYPASS_PATH").startswith("/"):
        rewrite["removePrefix"] = port.given("HTTP_BACKEND_PROXYPASS_PATH")
    if port.given("HTTP_BACKEND_REVPROXY_PATH").startswith("/"):
        rewrite["locationPrefix"] = port.given("HTTP_BACKEND_REVPROXY_PATH")
    if rewrite:
        web["rewrite"] = rewrite
    return web


# ---------------------------------------------------------------------------------------------------- the app


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and 0 < int(text) <= _TOP else 0


def _service_ports(definition: Document) -> list[int]:
    """Service ports in the order of the app's ports."""
    container = _mapping(definition.get("container"))
    mappings = container.get("portMappings") or _mapping(container.get("docker")).get("portMappings")
    if isinstance(mappings, Sequence) and mappings:
        return [int(str(_mapping(m).get("servicePort") or 0)) for m in mappings]
    definitions = definition.get("portDefinitions")
    if isinstance(definitions, Sequence) and not isinstance(definitions, str):
        return [int(str(_mapping(d).get("port") or 0)) for d in definitions]
    return []


def _port_names(definition: Document) -> list[str]:
    container = _mapping(definition.get("container"))
    for ports in (container.get("portMappings"), _mapping(container.get("docker")).get("portMappings"), definition.get("portDefinitions")):
        if isinstance(ports, Sequence) and ports and not isinstance(ports, str):
            return [str(_mapping(port).get("name") or "") for port in ports]
    return []


def _http_checks(definition: Document) -> dict[int, Mapping[str, Any]]:
    checks = definition.get("healthChecks")
    every = [_mapping(c) for c in checks] if isinstance(checks, Sequence) and not isinstance(checks, str) else []
    by_http = [c for c in every if c.get("protocol", "HTTP") in _HTTP_CHECKS and "port" not in c]
    return {int(str(c.get("portIndex") or 0)): c for c in reversed(by_http)}

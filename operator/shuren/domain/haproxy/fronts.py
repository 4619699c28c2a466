"""The section of a frontend, and how it finds the backend of a request: by maps, whose size does not slow a request down.

A request's host and path are looked up with one `map_beg`, a prefix tree in which the longest key wins. Keys are `host/path/` and so is
what is looked up, so that `/api` takes `/api/users` and not `/apis`. Rules with headers cannot stand in a map: the keys that have some lead
to a *chain*, rules that are tried one after the other; one that is not taken falls back to the next shorter path of the same host.
A chain of which no rule is taken leaves the request to wider hosts: `*.` and the parent, then any.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from shuren.domain.haproxy.backends import REDIRECTS, redirect_name, spare_of
from shuren.domain.haproxy.claims import Front, Kind, Rule
from shuren.domain.haproxy.document import Line, MapEntry, Section
from shuren.domain.haproxy.materials import Materials, authority, certificate
from shuren.domain.haproxy.settings import ClientVerify, HeaderMatch, HeaderRule, ListenerTls, Timeouts
from shuren.domain.haproxy.words import quoted
from shuren.domain.service.values import ServiceName

NOBODY = "shuren:nobody"
"""Backend that answers 404 for hosts and paths that no service has."""

_MATCH = {HeaderMatch.EXACT: "-m str", HeaderMatch.PREFIX: "-m beg", HeaderMatch.REGEX: "-m reg"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Fronted:
    """A frontend's section with the files that it reads."""

    section: Section
    maps: Mapping[str, tuple[MapEntry, ...]]
    files: Mapping[str, tuple[Line, ...]]


def backend_of(rule: Rule, kind: Kind) -> str:
    """Name of the backend that a rule leads to."""
    if rule.redirect is not None:
        return redirect_name(rule.redirect)
    return f"{rule.service}:{'http' if kind.http else 'tcp'}{f':{rule.target_port}' if rule.target_port else ''}"


def fronted(front: Front, timeouts: Mapping[ServiceName, Timeouts], materials: Materials) -> Fronted | None:
    """Section and files of a frontend; None when it would have no certificate to show."""
    certificates = _certificates(front, materials) if front.kind.ends_tls else ()
    if front.kind.ends_tls and not certificates:
        return None
    base = front.name.replace(":", "_")
    list_name, map_name = f"{base}.crtlist", f"{base}.map"
    bind = f"bind {_bind_address(front.address)}:{front.port}"
    bind += " accept-proxy" if front.accept_proxy else ""
    bind += f" ssl crt-list {list_name}" if front.kind.ends_tls else ""
    lines = [Line(text) for text in _mode(front.kind)] + [Line(bind), *_limits(front, timeouts)]
    maps: dict[str, tuple[MapEntry, ...]] = {}
    match front.kind:
        case Kind.TCP:
            lines.append(Line(f"default_backend {backend_of(front.rules[0], front.kind)}", front.rules[0].service))
        case Kind.PASSTHROUGH | Kind.TERMINATED:
            maps[map_name] = tuple(sorted((MapEntry(rule.host, backend_of(rule, front.kind)) for rule in front.rules), key=_by_key))
            lines += [Line(text) for text in _by_name(front.kind, map_name, maps[map_name])]
        case Kind.HTTP | Kind.HTTPS:
            entries, chains = _paths(front)
            maps[map_name] = entries
            conditions, acls = _conditions(chains)
            lines += [*acls, *_by_path(map_name, entries, chains, conditions), *_chain_lines(chains, conditions, front.kind)]
            lines += [Line(text) for text in _BY_KEY] + [Line(f"default_backend {NOBODY}")]
    return Fronted(
        section=Section(header=f"frontend {front.name}", lines=tuple(lines)),
        maps=maps,
        files={list_name: certificates} if front.kind.ends_tls else {},
    )


def _mode(kind: Kind) -> Iterable[str]:
    """Without idle-close-on-response a reload closes idle connections under clients that are about to use them."""
    if kind.http:
        yield from ("mode http", "option httplog", "option idle-close-on-response")
    else:
        yield from ("mode tcp", "option tcplog")


def _by_key(entry: MapEntry) -> str:
    return entry.key


def _bind_address(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _limits(front: Front, timeouts: Mapping[ServiceName, Timeouts]) -> Iterable[Line]:
    """What holds for clients of the port: of services that share it, the longest timeout."""
    given = [timeouts[service] for service, _ in front.listeners]
    yield Line(f"timeout client {max(t.client for t in given)}ms")
    if front.kind.http:
        yield Line(f"timeout http-request {max(t.http_request for t in given)}ms")
        yield Line(f"timeout http-keep-alive {max(t.http_keep_alive for t in given)}ms")
    limit = max((listener.max_connections for _, listener in front.listeners), default=0)
    if limit:
        yield Line(f"maxconn {limit}")


# ------------------------------------------------------------------------------------------------------- certificates


def _certificates(front: Front, materials: Materials) -> tuple[Line, ...]:
    """Lines of the certificate list, the oldest service's first: HAProxy shows that to clients that ask for no name that it knows."""
    lines: dict[str, Line] = {}
    for service, listener in front.listeners:
        tls = listener.tls
        if tls is None or (tls.client_ca and materials.why_not(authority(service, tls.client_ca))):
            continue
        for named in tls.certificates:
            material = certificate(service, secret=named.secret, file=named.file)
            if not materials.why_not(material):
                text = " ".join([quoted(materials.path(material)), _tls_options(service, tls, front.kind, materials), *listener.hosts])
                lines.setdefault(text, Line(text, service))
    return tuple(lines.values())


def _tls_options(service: ServiceName, tls: ListenerTls, kind: Kind, materials: Materials) -> str:
    words = [f"ssl-min-ver {tls.min_version}"]
    if kind is Kind.HTTPS:
        words.append("alpn h2,http/1.1" if tls.http2 else "alpn http/1.1")
    words += [f"ciphers {tls.ciphers}"] if tls.ciphers else []
    words += [f"ciphersuites {tls.cipher_suites}"] if tls.cipher_suites else []
    if tls.client_ca:
        verify = "required" if tls.client_verify is ClientVerify.REQUIRED else "optional"
        words.append(f"verify {verify} ca-file {quoted(materials.path(authority(service, tls.client_ca)))}")
    return f"[{' '.join(words)}]"


# ------------------------------------------------------------------------------------------------------- server names


def _by_name(kind: Kind, map_name: str, entries: Sequence[MapEntry]) -> Iterable[str]:
    """Choose by the name that the client asked for in its TLS hello."""
    if kind is Kind.PASSTHROUGH:
        yield "tcp-request inspect-delay 5s"
        said, when = "req.ssl_sni", "{ req.ssl_hello_type 1 }"
    else:
        said, when = "ssl_fc_sni", "{ ssl_fc }"
    look_up, otherwise = f"map_str({map_name}) if {when}", "!{ var(txn.key) -m found }"
    yield f"tcp-request content set-var(txn.key) {said},lower,{look_up}"
    if any(entry.key.startswith("*.") for entry in entries):
        yield f"tcp-request content set-var(txn.key) {said},lower,regsub(^[^.]*,*),{look_up} {otherwise}"
    if any(entry.key == "*" for entry in entries):
        yield f"tcp-request content set-var(txn.key) str(*),{look_up} {otherwise}"
    yield "tcp-request content accept if { var(txn.key) -m found }"
    yield "tcp-request content reject" + (f" if {when}" if kind is Kind.PASSTHROUGH else "")
    yield "use_backend %[var(txn.key)] if { var(txn.key) -m found }"


# -------------------------------------------------------------------------------------------------------- host and path


@dataclass(frozen=True, kw_only=True, slots=True)
class _Chain:
    """Rules to try for one host and path; `rest` is the one without headers, None: nobody's of this host."""

    name: str
    host: str
    rules: tuple[Rule, ...]
    rest: Rule | None


def _paths(front: Front) -> tuple[tuple[MapEntry, ...], tuple[_Chain, ...]]:
    """The map of host and path, and the chains that some of its entries lead to."""
    by_place: dict[tuple[str, str], list[Rule]] = {}
    for rule in front.rules:
        by_place.setdefault((rule.host, rule.path), []).append(rule)
    entries: list[MapEntry] = []
    chains: list[_Chain] = []
    for host, path in sorted(by_place):
        rules, rest = _tried(host, path, by_place)
        key = f"{host}{path.rstrip('/')}/"
        if rules:
            chains.append(_Chain(name=f"chain:{len(chains)}", host=host, rules=rules, rest=rest))
            entries.append(MapEntry(key, chains[-1].name))
        elif rest is not None:
            entries.append(MapEntry(key, backend_of(rest, front.kind)))
    return tuple(sorted(entries, key=_by_key)), tuple(chains)


def _tried(host: str, path: str, by_place: Mapping[tuple[str, str], Sequence[Rule]]) -> tuple[tuple[Rule, ...], Rule | None]:
    """Rules with headers, those with more of them first, then older ones; from longer to shorter paths until one without headers is met."""
    tried: list[Rule] = []
    plain: Rule | None = None
    for prefix in _prefixes(path):
        rules = by_place.get((host, prefix), ())
        tried += sorted((rule for rule in rules if rule.headers), key=lambda rule: -len(rule.headers))
        plain = next((rule for rule in rules if not rule.headers), None)
        if plain is not None:
            break
    # a service that names two paths of one line with the same headers is tried once
    once = {(rule.service, rule.headers, rule.target_port, rule.redirect): rule for rule in reversed(tried)}
    return tuple(rule for rule in tried if rule in once.values()), plain


def _prefixes(path: str) -> Iterable[str]:
    """`/a/b` → `/a/b`, `/a`, `/`."""
    while path not in ("", "/"):
        yield path
        path = path.rpartition("/")[0]
    yield "/"


_Conditions = Mapping[tuple[ServiceName, HeaderRule], str]
"""Names of the acls that test for headers."""


def _conditions(chains: Sequence[_Chain]) -> tuple[_Conditions, tuple[Line, ...]]:
    names: dict[tuple[ServiceName, HeaderRule], str] = {}
    lines: list[Line] = []
    for rule in (rule for chain in chains for rule in chain.rules):
        for header in rule.headers:
            if (rule.service, header) not in names:
                names[rule.service, header] = f"header_{len(names)}"
                lines.append(Line(f"acl {names[rule.service, header]} {_header_condition(header)}", rule.service))
    return names, tuple(lines)


def _when(chain: _Chain, rule: Rule | None, conditions: _Conditions) -> str:
    headers = [conditions[rule.service, header] for header in rule.headers] if rule is not None else []
    return " ".join([f"{{ var(txn.key) -m str {chain.name} }}", *headers])


def _by_path(map_name: str, entries: Sequence[MapEntry], chains: Sequence[_Chain], conditions: _Conditions) -> Iterable[Line]:
    """Look host and path up: the host itself, then `*.` and its parent, then any host."""
    yield Line("http-request set-var(txn.host) req.hdr(host),host_only,lower")
    yield Line("http-request set-var(txn.path) path")
    look_up = f"concat(,txn.path,/),map_beg({map_name})"
    unless = "unless { var(txn.key) -m found }"
    parents = any(entry.key.startswith("*.") for entry in entries)
    anybody = any(entry.key.startswith("*/") for entry in entries)
    yield Line(f"http-request set-var(txn.key) var(txn.host),{look_up}")
    if parents or anybody:
        yield from _give_up((chain for chain in chains if not chain.host.startswith("*")), conditions)
    if parents:
        yield Line(f"http-request set-var(txn.key) var(txn.host),regsub(^[^.]*,*),{look_up} {unless}")
        if anybody:
            yield from _give_up((chain for chain in chains if chain.host.startswith("*.")), conditions)
    if anybody:
        yield Line(f"http-request set-var(txn.key) str(*),{look_up} {unless}")


def _give_up(chains: Iterable[_Chain], conditions: _Conditions) -> Iterable[Line]:
    """Forget a chain of which no rule would be taken, so that a wider host is looked up."""
    for chain in chains:
        if chain.rest is None:
            for rule in chain.rules:
                yield Line(f"http-request set-var(txn.taken) bool(true) if {_when(chain, rule, conditions)}", rule.service)
            yield Line(f"http-request unset-var(txn.key) if {_when(chain, None, conditions)} !{{ var(txn.taken) -m found }}")


_SERVICE = f"{{ var(txn.key) -m found }} !{{ var(txn.key) -m beg {REDIRECTS} }}"
_BY_KEY = (
    f"use_backend {spare_of('%[var(txn.key)]')} if {_SERVICE} {{ var(txn.key),nbsrv eq 0 }}",
    "use_backend %[var(txn.key)] if { var(txn.key) -m found }",
)


def _chain_lines(chains: Sequence[_Chain], conditions: _Conditions, kind: Kind) -> Iterable[Line]:
    for chain in chains:
        for rule in chain.rules:
            yield from _use(rule, kind, _when(chain, rule, conditions))
        if chain.rest is not None:
            yield from _use(chain.rest, kind, _when(chain, None, conditions))
        else:
            yield Line(f"use_backend {NOBODY} if {_when(chain, None, conditions)}")


def _use(rule: Rule, kind: Kind, condition: str) -> Iterable[Line]:
    backend = backend_of(rule, kind)
    if rule.redirect is None:
        yield Line(f"use_backend {spare_of(backend)} if {condition} {{ nbsrv({backend}) eq 0 }}", rule.service)
    yield Line(f"use_backend {backend} if {condition}", rule.service)


def _header_condition(header: HeaderRule) -> str:
    if header.match is HeaderMatch.PRESENT:
        return f"req.fhdr({header.name}) -m found"
    # `--` ends the options, so that a value may begin with a dash
    return f"req.fhdr({header.name}) {_MATCH[header.match]} -- {quoted(header.value)}"

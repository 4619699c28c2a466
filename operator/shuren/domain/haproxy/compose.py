"""Routes and endpoints of a group → what HAProxy shall be: its document, and the servers of each backend. Pure and deterministic."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from shuren.domain.errors import Invalid
from shuren.domain.haproxy.backends import (
    PEERS,
    BackendKey,
    redirect_section,
    section,
    server_options,
    sticky_by_cookie,
    userlist_name,
)
from shuren.domain.haproxy.claims import Carried, Front, PortSet, resolve
from shuren.domain.haproxy.converge import BackendPlan
from shuren.domain.haproxy.document import Document, Line, MapEntry, Section
from shuren.domain.haproxy.fronts import NOBODY, backend_of, fronted
from shuren.domain.haproxy.materials import Material, Materials, missing_for
from shuren.domain.haproxy.parse import named_well, parse
from shuren.domain.haproxy.servers import Server, servers_of, spares
from shuren.domain.haproxy.settings import HealthCheck, LoadBalancing, StickyBy, WhenAllFail
from shuren.domain.haproxy.words import quoted
from shuren.domain.service.values import EndpointSet, Route, ServiceName


@dataclass(frozen=True, kw_only=True, slots=True)
class Globals:
    """What is the load balancer's own.

    Sockets and files are paths on its host. `metrics` is `address:port` of HAProxy's own exporter, `log` the target of its `log` line;
    empty: none. `hard_stop` in seconds ends workers of before a reload. `max_connections` and `threads` 0: HAProxy's own choice.
    """

    api_socket: str
    state_file: str
    peer_socket: str
    metrics: str = ""
    log: str = ""
    hard_stop: int = 1800
    max_connections: int = 0
    threads: int = 0
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What this load balancer allows, and which addresses and ports its host does not give it.

    `address` is opened for listeners that name none; "*": all of the host's.
    """

    ports: PortSet = field(default_factory=PortSet)
    address: str = "*"
    backend_lines: bool = False
    blocked: Mapping[tuple[str, int], str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Composition:
    """What HAProxy shall be.

    `backends` are those of each service, `binds` all addresses and ports; `problems` say per service what of its route is not carried, and
    why. `keep_alive` is the longest time in milliseconds for which a client may hold an idle connection; `tables` tells whether clients are
    remembered by their address.
    """

    document: Document
    backends: Mapping[ServiceName, tuple[BackendKey, ...]]
    problems: Mapping[ServiceName, tuple[str, ...]]
    binds: frozenset[tuple[str, int]] = frozenset()
    keep_alive: int = 0
    tables: bool = False


def read_routes(routes: Iterable[Route], options: Options) -> tuple[tuple[Carried, ...], dict[ServiceName, str]]:
    """Routes that can be read, and why the others cannot."""
    carried: list[Carried] = []
    problems: dict[ServiceName, str] = {}
    for route in routes:
        if not named_well(route.service):
            problems[route.service] = "its node in ZooKeeper is not named <namespace>.<name>"
            continue
        try:
            settings = parse(route.listener)
        except Invalid as error:
            problems[route.service] = str(error)
            continue
        if settings.backend_lines and not options.backend_lines:
            problems[route.service] = "spec.loadBalancer.backendLines: this load balancer takes none (shuren lb --allow-backend-lines)"
            continue
        carried.append(Carried(route=route, settings=settings))
    return tuple(carried), problems


def compose(carried: Sequence[Carried], *, machine: Globals, materials: Materials, options: Options) -> Composition:
    """Everything but servers, from routes that `read_routes` has read."""
    by_service = {c.service: c for c in carried}
    resolution = resolve(carried, ports=options.ports, blocked=options.blocked, everywhere=options.address)
    timeouts = {service: c.settings.timeouts for service, c in by_service.items()}
    made = [(front, fronted(front, timeouts, materials)) for front in resolution.fronts]
    problems = {service: list(told) for service, told in resolution.problems.items()}
    for one in carried:
        missing = missing_for(one.service, one.settings, materials)
        if missing:
            problems.setdefault(one.service, []).extend(missing)
    keys = _keys([front for front, there in made if there is not None], by_service)
    redirects = {rule.redirect for front, there in made if there is not None for rule in front.rules if rule.redirect is not None}
    maps: dict[str, tuple[MapEntry, ...]] = {}
    files: dict[str, tuple[Line, ...]] = {}
    fronts: list[Section] = []
    for _, there in made:
        if there is not None:
            fronts.append(there.section)
            maps |= there.maps
            files |= there.files
    sections = [
        *_own(machine),
        *_userlists(materials),
        *fronts,
        *sorted((redirect_section(redirect) for redirect in redirects), key=lambda s: s.header),
        *(section(key, materials) for key in keys),
        Section(header=f"backend {NOBODY}", lines=(Line("mode http"), Line(_NOT_FOUND))),
    ]
    backends: dict[ServiceName, tuple[BackendKey, ...]] = {}
    for key in keys:
        backends[key.carried.service] = (*backends.get(key.carried.service, ()), key)
    return Composition(
        document=Document(
            sections=tuple(sections), options={key.name: server_options(key, materials) for key in keys}, files=files, maps=maps
        ),
        backends=backends,
        problems={service: tuple(told) for service, told in problems.items()},
        binds=frozenset((front.address, front.port) for front, there in made if there is not None),
        tables=any(key.carried.settings.sticky is not None and key.carried.settings.sticky.by is StickyBy.SOURCE for key in keys),
        keep_alive=max((t.http_keep_alive for t in timeouts.values()), default=0),
    )


_NOT_FOUND = 'http-request return status 404 content-type text/plain string "no service has this host and path\\n"'


def plans(
    composition: Composition, service: ServiceName, endpoints: EndpointSet | None, resolved: Mapping[str, Sequence[str]]
) -> tuple[BackendPlan, ...]:
    """The backends of one service with the servers that they shall have."""
    return tuple(_plan(composition, key, endpoints, resolved) for key in composition.backends.get(service, ()))


def _plan(composition: Composition, key: BackendKey, endpoints: EndpointSet | None, resolved: Mapping[str, Sequence[str]]) -> BackendPlan:
    settings = key.carried.settings
    if key.spare and not _serves_unchecked(settings.health_check):
        return BackendPlan(name=key.name, servers=(), options=composition.document.options[key.name], spare=True)
    servers = servers_of(
        endpoints.endpoints if endpoints is not None else (),
        target_port=key.target_port,
        check_port=settings.health_check.port,
        sticky=settings.sticky is not None and not key.spare,
        resolved=resolved,
    )
    if key.spare:
        options = composition.document.options[key.name]
        return BackendPlan(name=key.name, servers=spares(servers), options=options, checked=True, spare=True)
    return BackendPlan(
        name=key.name,
        servers=tuple(_checked_in_clear(server) for server in servers) if _clear_check(settings) else servers,
        options=composition.document.options[key.name],
        checked=settings.health_check.enabled,
        sticky=sticky_by_cookie(settings, http=key.http),
    )


def _serves_unchecked(check: HealthCheck) -> bool:
    return check.enabled and check.when_all_fail is WhenAllFail.SERVE


def _clear_check(settings: LoadBalancing) -> bool:
    return settings.upstream.tls is not None and settings.health_check.tls is False


def _checked_in_clear(server: Server) -> Server:
    """A check inherits TLS from the traffic unless it names its port; `no-check-ssl` is refused for servers that are added at run time."""
    return server if server.check_port else replace(server, check_port=server.port)


def _keys(fronts: Sequence[Front], by_service: Mapping[ServiceName, Carried]) -> tuple[BackendKey, ...]:
    keys = {
        backend_of(rule, front.kind): BackendKey(carried=by_service[rule.service], http=front.kind.http, target_port=rule.target_port)
        for front in fronts
        for rule in front.rules
        if rule.redirect is None
    }
    found = [keys[name] for name in sorted(keys)]
    return (*found, *(replace(key, spare=True) for key in found if key.http))


def _userlists(materials: Materials) -> Iterable[Section]:
    for material in sorted(materials.users):
        yield Section(header=f"userlist {userlist_name(material.file)}", lines=tuple(_user_lines(materials, material)))


def _user_lines(materials: Materials, material: Material) -> Iterable[Line]:
    for name, digest in materials.users[material]:
        yield Line(f"user {name} password {quoted(digest)}")


def _own(machine: Globals) -> Iterable[Section]:
    top = [
        "default-path config",
        f"stats socket {quoted(machine.api_socket)} mode 600 level admin expose-fd listeners",
        f"server-state-file {quoted(machine.state_file)}",
        "localpeer shuren",
        f"hard-stop-after {machine.hard_stop}s",
        # checks of many servers that were added in one burst would otherwise all come at the same moment, for ever
        "spread-checks 5",
        *([f"maxconn {machine.max_connections}"] if machine.max_connections else []),
        *([f"nbthread {machine.threads}"] if machine.threads else []),
        *([f"log {machine.log}"] if machine.log else []),
        *machine.lines,
    ]
    yield Section(header="global", lines=_lines(top))
    yield Section(header=f"peers {PEERS}", lines=_lines([f"peer shuren unix@{machine.peer_socket}"]))
    defaults = [
        "load-server-state-from-file global",
        "option dontlognull",
        "timeout connect 5s",
        "timeout client 60s",
        "timeout server 60s",
        *(["log global"] if machine.log else []),
    ]
    yield Section(header="defaults", lines=_lines(defaults))
    if machine.metrics:
        lines = ["mode http", f"bind {machine.metrics}", "http-request use-service prometheus-exporter if { path /metrics }"]
        yield Section(header="frontend shuren:metrics", lines=_lines([*lines, "http-request deny deny_status 404"]))


def _lines(texts: Iterable[str]) -> tuple[Line, ...]:
    return tuple(Line(text) for text in texts)

"""Who gets which port, host and path: routes of one group → frontends with their rules, and what had to be left out.

The older service keeps what two want (`since`, then `uid`); the younger loses that one claim, not the rest of its route: a service that
adds a host which somebody else has must not lose those that it serves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from shuren.domain.haproxy.settings import HeaderRule, Listener, LoadBalancing, Protocol, Redirect, TlsMode
from shuren.domain.service.values import Route, ServiceName


class Kind(Enum):
    """What a frontend is. PASSTHROUGH chooses by the SNI of a TLS that it does not end, TERMINATED by that of one that it does."""

    HTTP = "http"
    HTTPS = "https"
    TCP = "tcp"
    PASSTHROUGH = "sni"
    TERMINATED = "tls"

    @property
    def http(self) -> bool:
        """Whether requests can be read."""
        return self in (Kind.HTTP, Kind.HTTPS)

    @property
    def ends_tls(self) -> bool:
        """Whether it shows certificates."""
        return self in (Kind.HTTPS, Kind.TERMINATED)

    @property
    def shared(self) -> bool:
        """Whether several services may use one."""
        return self is not Kind.TCP


@dataclass(frozen=True, kw_only=True, slots=True)
class Carried:
    """A route with what it asks for."""

    route: Route
    settings: LoadBalancing

    @property
    def service(self) -> ServiceName:
        """Whose it is."""
        return self.route.service


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """Traffic that a frontend sends to one service. `host` "*": any that no other rule names. TCP: host "*", path "/"."""

    service: ServiceName
    listener: str
    host: str = "*"
    path: str = "/"
    headers: tuple[HeaderRule, ...] = ()
    target_port: str = ""
    redirect: Redirect | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Front:
    """One address and port. `listeners` are those that share it, oldest first; `rules` in the same order."""

    kind: Kind
    address: str
    port: int
    accept_proxy: bool
    listeners: tuple[tuple[ServiceName, Listener], ...]
    rules: tuple[Rule, ...]

    @property
    def name(self) -> str:
        """As HAProxy calls it."""
        return f"{self.kind.value}:{'any' if self.address == '*' else self.address}:{self.port}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Resolution:
    """Frontends, sorted by port and address, and for each service what was left out and why (in words for its status)."""

    fronts: tuple[Front, ...]
    problems: Mapping[ServiceName, tuple[str, ...]]


def older_first(carried: Sequence[Carried]) -> list[Carried]:
    """The order in which claims are judged. RFC 3339 in UTC sorts as text."""
    return sorted(carried, key=lambda c: (c.route.since, c.route.uid, c.service))


def resolve(
    carried: Sequence[Carried], *, ports: PortSet, blocked: Mapping[tuple[str, int], str] | None = None, everywhere: str = "*"
) -> Resolution:
    """Give each claim to the oldest that makes it.

    `ports` are those that this load balancer opens; `blocked` says why an address and port cannot be had on its host; `everywhere` is the
    address that it opens for listeners that name none.
    """
    book = _Book(ports, blocked or {})
    for one in older_first(carried):
        for index, listener in enumerate(one.settings.listeners):
            for address in dict.fromkeys(everywhere if named == "*" else named for named in listener.addresses):
                book.enter(one.service, listener, address, f"spec.loadBalancer.listeners[{index}]")
    fronts = (draft.front() for draft in book.drafts.values() if draft.rules)
    problems = {service: tuple(dict.fromkeys(told)) for service, told in book.problems.items()}
    return Resolution(fronts=tuple(sorted(fronts, key=lambda f: (f.port, f.address))), problems=problems)


@dataclass(frozen=True, kw_only=True, slots=True)
class PortSet:
    """Ports that may be opened, as closed ranges."""

    ranges: tuple[tuple[int, int], ...] = ((1, 65535),)

    def __contains__(self, port: int) -> bool:
        return any(first <= port <= last for first, last in self.ranges)

    def __str__(self) -> str:
        return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in self.ranges)

    @classmethod
    def parse(cls, text: str) -> PortSet:
        """From `80,443,10000-10999`; ValueError when it is none."""
        ranges = []
        for part in text.split(","):
            first, dash, last = part.strip().partition("-")
            last = last if dash else first
            low, high = (int(end) if end.isascii() and end.isdigit() else 0 for end in (first, last))
            if not 1 <= low <= high <= 65535:  # noqa: PLR2004 - the largest port there is
                raise ValueError(f"{part.strip()!r} is no range of ports; ports look like 80,443,1024-65535")
            ranges.append((low, high))
        return cls(ranges=tuple(ranges))


@dataclass(kw_only=True)
class _Draft:
    kind: Kind
    address: str
    port: int
    accept_proxy: bool
    owner: ServiceName
    listeners: list[tuple[ServiceName, Listener]] = field(default_factory=list)
    rules: dict[tuple[object, ...], Rule] = field(default_factory=dict)

    def front(self) -> Front:
        return Front(
            kind=self.kind,
            address=self.address,
            port=self.port,
            accept_proxy=self.accept_proxy,
            listeners=tuple(self.listeners),
            rules=tuple(self.rules.values()),
        )


class _Book:
    """Claims entered one after the other."""

    def __init__(self, ports: PortSet, blocked: Mapping[tuple[str, int], str]) -> None:
        self._ports = ports
        self._blocked = blocked
        self.drafts: dict[tuple[str, int], _Draft] = {}
        self.problems: dict[ServiceName, list[str]] = {}

    def _refuse(self, service: ServiceName, message: str) -> None:
        self.problems.setdefault(service, []).append(message)

    def enter(self, service: ServiceName, listener: Listener, address: str, at: str) -> None:
        """Take as many of the listener's claims as are free."""
        if listener.port not in self._ports:
            self._refuse(service, f"{at}.port: port {listener.port} is none of those that this load balancer opens ({self._ports})")
            return
        if why := self._blocked.get((address, listener.port)):
            self._refuse(service, f"{at}.port: {why}")
            return
        kind = kind_of(listener)
        draft = self.drafts.get((address, listener.port))
        if draft is None:
            draft = _Draft(kind=kind, address=address, port=listener.port, accept_proxy=listener.accept_proxy, owner=service)
            self.drafts[address, listener.port] = draft
        elif not kind.shared or draft.kind is not kind:
            self._refuse(service, f"{at}.port: port {listener.port} belongs to {draft.owner}, which is older, as {draft.kind.value}")
            return
        elif draft.accept_proxy != listener.accept_proxy:
            said = "true" if draft.accept_proxy else "false"
            self._refuse(service, f"{at}.acceptProxy: is {said} on port {listener.port} for {draft.owner}, which is older")
            return
        before = len(draft.rules)
        for rule in _rules(service, listener, kind):
            key = (rule.host, rule.path, frozenset(rule.headers))
            holder = draft.rules.setdefault(key, rule)
            if holder is not rule:
                what = "port" if rule.host == "*" and rule.path == "/" else f"{rule.host if rule.host != '*' else 'any host'}{rule.path}"
                whose = "another listener of the service" if holder.service == service else f"{holder.service}, which is older"
                self._refuse(service, f"{at}: {what} on port {listener.port} belongs to {whose}")
        if len(draft.rules) > before:
            draft.listeners.append((service, listener))


def kind_of(listener: Listener) -> Kind:
    """The kind of frontend that it needs."""
    match listener.protocol:
        case Protocol.HTTP:
            return Kind.HTTP
        case Protocol.HTTPS:
            return Kind.HTTPS
        case Protocol.TCP:
            return Kind.TCP
        case Protocol.TLS:
            passed = listener.tls is not None and listener.tls.mode is TlsMode.PASSTHROUGH
            return Kind.PASSTHROUGH if passed else Kind.TERMINATED


def _rules(service: ServiceName, listener: Listener, kind: Kind) -> list[Rule]:
    return [
        Rule(
            service=service,
            listener=listener.name,
            host=host,
            path=path,
            headers=listener.headers,
            target_port=listener.target_port,
            redirect=listener.redirect,
        )
        for host in listener.hosts or ("*",)
        for path in (listener.paths if kind.http else ("/",))
    ]

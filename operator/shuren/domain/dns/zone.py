"""The content of a zone: every name with its records, from services, tasks and Mesos.

Names are relative to the zone, lower case, "" is the zone itself. Two schemes live side by side:

- services: `web.shop` has an address for each ready endpoint; `_web._tcp.shop` a service record for each, and `_http._tcp.web.shop` one for
  each port named `http`;
- Mesos-DNS: `web-shop.marathon` the tasks of `/shop/web`, `_web-shop._tcp.marathon` their service records, `leader`, `master`, `slave`.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from shuren.domain.dns import mesosdns
from shuren.domain.service.values import Endpoint, EndpointState, MesosNames, Names, TaskAddress, TaskNames


class RecordType(Enum):
    """Types that the zone holds beside SOA and NS."""

    A = "A"
    AAAA = "AAAA"
    SRV = "SRV"


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Srv:
    """One service record. `target` is relative to the zone, or absolute when it ends in a dot."""

    target: str
    port: int
    weight: int = 1
    priority: int = 0


Data = str | Srv
"""An IP address, or a service record."""


@dataclass(frozen=True, kw_only=True)
class Zone:
    """All names of a zone.

    `weights` are those of the addresses of a name, where they are not all alike: an address has none on the wire, and most clients take the
    first, so each is to be the first as often as its weight says.
    """

    names: Mapping[str, Mapping[RecordType, tuple[Data, ...]]] = field(default_factory=dict)
    weights: Mapping[str, Mapping[Data, int]] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        """Whether the name exists: it has records, or a name below it has (then it is empty, which is not the same as unknown)."""
        return name in self.names


def ready(endpoints: Sequence[Endpoint], last_good: Sequence[Endpoint] = ()) -> tuple[Endpoint, ...]:
    """What is answered of a service: its ready endpoints that take traffic; the last good ones when none is ready."""
    found = tuple(e for e in endpoints if e.state is EndpointState.READY and e.weight)
    return found or tuple(last_good)


def below(name: str, zone: str) -> str | None:
    """A name relative to the zone (without a dot at its end); None when it is not in it."""
    whole, end = name.rstrip(".").lower(), f".{zone.strip('.').lower()}"
    return whole.removesuffix(end) if whole.endswith(end) and whole != end else None


def with_hosts(zone: Zone, hosts: Mapping[str, str]) -> Zone:
    """The zone with the addresses of `hosts` (IP addresses by relative name) besides: name servers of the zone that are named in it."""
    if not hosts:
        return zone
    book = _Book()
    for name, address in hosts.items():
        book.address(name, address)
    added = book.zone().names
    return replace(zone, names={**zone.names, **{name: {**zone.names.get(name, {}), **kinds} for name, kinds in added.items()}})


def build(
    services: Iterable[tuple[Names, Sequence[Endpoint]]] = (), tasks: Iterable[TaskNames] = (), mesos: MesosNames | None = None
) -> Zone:
    """The zone of these services (with the endpoints to answer, see `ready`), tasks and masters."""
    book = _Book()
    for names, endpoints in services:
        for name in names.names:
            book.service(name, names.protocol, endpoints)
    for app in tasks:
        book.app(app)
    if mesos is not None:
        book.mesos(mesos)
    return book.zone()


class _Book:
    def __init__(self) -> None:
        self._records: dict[str, dict[RecordType, dict[Data, None]]] = {}
        self._weights: dict[str, dict[Data, int]] = {}

    def add(self, name: str, kind: RecordType, data: Data) -> None:
        self._records.setdefault(name, {}).setdefault(kind, {})[data] = None

    def address(self, name: str, address: str) -> bool:
        """An A or AAAA record; False when it is no IP address."""
        try:
            version = ipaddress.ip_address(address).version
        except ValueError:
            return False
        self.add(name, RecordType.A if version == 4 else RecordType.AAAA, address)  # noqa: PLR2004 - IPv4
        return True

    def zone(self) -> Zone:
        """Everything, with the empty names between the zone and names with records."""
        names = {name: {kind: tuple(data) for kind, data in kinds.items()} for name, kinds in self._records.items()}
        for name in list(names):
            parent = name.partition(".")[2]
            while parent and parent not in names:
                names[parent] = {}
                parent = parent.partition(".")[2]
        names.setdefault("", {})
        return Zone(names=names, weights={name: known for name, known in self._weights.items() if len(set(known.values())) > 1})

    # ------------------------------------------------------------------------------------------------ services

    def service(self, name: str, protocol: str, endpoints: Sequence[Endpoint]) -> None:
        first, _, rest = name.partition(".")
        main = f"_{first}._{protocol}{'.' if rest else ''}{rest}"
        for e in endpoints:
            target = self._endpoint(name, e)
            weight = min(max(e.weight, 1), 65535)
            # several endpoints at one address have it for all of them
            known = self._weights.setdefault(name, {})
            known[e.address] = known.get(e.address, 0) + weight
            self.add(main, RecordType.SRV, Srv(target=target, port=e.port, weight=weight))
            for port, number in sorted(e.ports.items()):
                self.add(f"_{port.lower()}._{protocol}.{name}", RecordType.SRV, Srv(target=target, port=number, weight=weight))

    def _endpoint(self, name: str, e: Endpoint) -> str:
        """The name of one endpoint, for service records to point to; a host outside is its own."""
        own = f"e-{hashlib.sha256(e.address.encode()).hexdigest()[:8]}.{name}"
        if not self.address(own, e.address):
            return f"{e.address.rstrip('.').lower()}."
        self.address(name, e.address)
        return own

    # ------------------------------------------------------------------------------------------------ Mesos-DNS

    def app(self, app: TaskNames) -> None:
        """Tasks of an app."""
        task, domain = mesosdns.task_label(app.app), mesosdns.framework(app.framework)
        if not task or not domain:
            return
        for one in app.tasks:
            addresses = one.addresses or (one.agent_address,)
            canonical = f"{mesosdns.canonical_label(app.app, one.task, one.agent_id)}.{domain}"
            for address in addresses:
                self.address(f"{task}.{domain}", address)
                self.address(canonical, address)
            self.address(f"{task}.{domain}.slave", one.agent_address)
            self.address(f"{canonical}.slave", one.agent_address)
            self._ports(task, domain, canonical, one)

    def _ports(self, task: str, domain: str, canonical: str, one: TaskAddress) -> None:
        for number, name, protocols in zip(one.ports, one.port_names, one.protocols, strict=False):
            for protocol in protocols.split(","):
                record = Srv(target=canonical, port=number)
                self.add(f"_{task}._{protocol}.{domain}", RecordType.SRV, record)
                self.add(f"_{task}._{protocol}.{domain}.slave", RecordType.SRV, Srv(target=f"{canonical}.slave", port=number))
                if mesosdns.label(name):
                    self.add(f"_{mesosdns.label(name)}._{task}._{protocol}.{domain}", RecordType.SRV, record)

    def mesos(self, mesos: MesosNames) -> None:
        """Masters and agents."""
        if mesos.leader:
            self.address("leader", mesos.leader)
            for protocol in ("tcp", "udp"):
                self.add(f"_leader._{protocol}", RecordType.SRV, Srv(target="leader", port=5050))
        for number, address in enumerate(mesos.masters):
            self.address("master", address)
            self.address(f"master{number}", address)
        for address in mesos.agents:
            self.address("slave", address)
        if mesos.agents:
            self.add("_slave._tcp", RecordType.SRV, Srv(target="slave", port=5051))

"""Answers to queries about one zone, from prebuilt parts.

What follows the question (records, counts, code) is built once for each name and type that is asked for, in a few orders that take turns,
so that the usual answer is a look-up and a copy. A change of the zone takes away what it concerns, and no more. Owner names are pointers
into the question (RFC 1035 §4.1.4), which is sent back byte by byte, so that a client's mixture of cases comes back as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import dns.exception
import dns.message
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from shuren.domain.dns.zone import Data, RecordType, Srv, Zone, below
from shuren.edge.dns import packets
from shuren.edge.dns.packets import AA, HEADER, QR, RD, TC, Odd, Query, Rcode

_OF_NUMBER = {int(dns.rdatatype.from_text(kind.value)): kind for kind in RecordType}
_ANY = int(dns.rdatatype.ANY)
_TRANSFERS = frozenset({int(dns.rdatatype.AXFR), int(dns.rdatatype.IXFR)})
_APEX = frozenset({int(dns.rdatatype.SOA), int(dns.rdatatype.NS)})
_LARGEST = 65535
_ORDERS = 8
"""Orders of records that are prebuilt, each beginning with another one."""
_TURNS = 100
"""Orders where weights say which record comes first how often."""
_BUILT = 200_000
"""Answers that are kept at most: who asks for every type of every name must not fill the memory."""
_ADDITIONAL = 16
"""Service records of an answer for which addresses of targets are added."""


@dataclass(frozen=True, kw_only=True)
class Authority:
    """Who we are. `name` is the zone without its last dot, `servers` names of our name servers. Seconds.

    `negative_ttl` is for how long "there is none" may be kept (RFC 2308).
    """

    name: str
    servers: tuple[str, ...]
    contact: str = "hostmaster"
    ttl: int = 5
    negative_ttl: int = 5


@dataclass(frozen=True, slots=True)
class _Body:
    """What follows the question in one order: code, counts, bytes; how many of these are no additional records, which may be left out; and
    whether it is for us to say (the flag AA).
    """

    rcode: int
    answers: int = 0
    authorities: int = 0
    additional: int = 0
    data: bytes = b""
    needed: int = 0
    authoritative: int = AA


@dataclass(slots=True)
class _Bodies:
    """The orders of one answer, each built when its turn first comes, and which is next. `uses` are the names whose records it tells."""

    build: Sequence[Callable[[], _Body]]
    uses: frozenset[str] = frozenset()
    next: int = 0
    orders: list[_Body | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.orders = [None] * len(self.build)

    def take(self) -> _Body:
        self.next = (self.next + 1) % len(self.orders)
        body = self.orders[self.next]
        if body is None:
            body = self.orders[self.next] = self.build[self.next]()
        return body


@dataclass(kw_only=True)
class Counters:
    """Answers by code since the start, for metrics."""

    by_rcode: dict[int, int] = field(default_factory=dict)
    truncated: int = 0
    ignored: int = 0


class Answers:
    """See the module. `put` changes the zone; `chance` gives numbers in 0..1, for where the order of records begins."""

    def __init__(self, authority: Authority, *, chance: Callable[[], float] = lambda: 0.0) -> None:
        self._authority = authority
        self._chance = chance
        self._origin = dns.name.from_text(authority.name.lower())
        self._zone_wire = self._origin.to_wire() or b""
        self._serial = 1
        self._content = Zone(names={"": {}})
        self._heard = False
        self._names: dict[bytes, str] = {self._zone_wire: ""}
        self._built: dict[tuple[bytes, int], _Bodies] = {}
        self._unknown: dict[int, _Bodies] = {}
        self.counters = Counters()

    @property
    def zone(self) -> str:
        """Name of the zone."""
        return self._authority.name

    @property
    def serial(self) -> int:
        """Of the zone: rises with each change."""
        return self._serial

    def put(self, zone: Zone) -> None:
        """Answer from this zone from now on; before the first, nothing is known (SERVFAIL). What cannot be a name is left out."""
        self._heard = True
        if zone == self._content:
            return
        before, after = self._content.names, zone.names
        changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
        heavier, lighter = self._content.weights, zone.weights
        changed |= {name for name in heavier.keys() | lighter.keys() if heavier.get(name) != lighter.get(name)}
        for name in changed - after.keys():
            absolute = self._absolute(name)
            if absolute is not None:
                self._names.pop(absolute.to_wire() or b"", None)
        for name in changed & after.keys():
            absolute = self._absolute(name)
            if absolute is not None:
                self._names[absolute.to_wire() or b""] = name
        self._content = zone
        self._serial = self._serial % 0xFFFFFFFF + 1
        # whatever shows the serial has changed with it
        self._built = {key: bodies for key, bodies in self._built.items() if bodies.uses and not bodies.uses & changed}
        self._unknown.clear()

    def _absolute(self, relative: str) -> dns.name.Name | None:
        """A name of the zone; None when it cannot be one (a label that is too long, or not ASCII)."""
        try:
            return dns.name.from_text(relative.lower(), origin=self._origin) if relative.isascii() else None
        except dns.exception.DNSException:
            return None

    # ------------------------------------------------------------------------------------------------ answering

    def answer(self, data: bytes, *, udp: bool = True) -> bytes | None:
        """The answer to a message; None when it deserves none. Never raises."""
        asked = packets.take_apart(data)
        match asked:
            case Query():
                return self._answer(asked, udp=udp)
            case Odd():
                self._count(asked.rcode)
                return packets.odd_answer(asked)
            case None:
                self.counters.ignored += 1
                return None

    def _answer(self, query: Query, *, udp: bool) -> bytes:
        bodies = self._built.get((query.name, query.type))
        if bodies is None:
            bodies = self._bodies(query.name, query.type)
        body = bodies.take()
        self._count(body.rcode)
        flags = QR | body.authoritative | (query.flags & RD) | body.rcode
        opt = packets.own_opt() if query.edns else b""
        around = HEADER.size + len(query.question) + len(opt)
        if udp and around + len(body.data) > query.limit:
            if around + body.needed <= query.limit:  # RFC 2181 §9: for want of room for what is additional nothing is cut off
                head = HEADER.pack(query.id, flags, 1, body.answers, body.authorities, 1 if opt else 0)
                return head + query.question + body.data[: body.needed] + opt
            self.counters.truncated += 1
            head = HEADER.pack(query.id, flags | TC, 1, 0, 0, 1 if opt else 0)
            return head + query.question + opt
        counts = (body.answers, body.authorities, body.additional + (1 if opt else 0))
        return HEADER.pack(query.id, flags, 1, *counts) + query.question + body.data + opt

    def _count(self, rcode: int) -> None:
        self.counters.by_rcode[rcode] = self.counters.by_rcode.get(rcode, 0) + 1

    # ------------------------------------------------------------------------------------------------ building

    def _bodies(self, name: bytes, kind: int) -> _Bodies:
        if not (name == self._zone_wire or name.endswith(self._zone_wire)) or not self._is_below(name):
            return _Bodies([lambda: _Body(Rcode.REFUSED, authoritative=0)])
        if not self._heard:
            # "there is none" would be kept; after this a client asks another server
            return _Bodies([lambda: _Body(Rcode.SERVFAIL, authoritative=0)])
        relative = self._names.get(name)
        if relative is None:
            return self._no_such_name(name)
        if len(self._built) >= _BUILT:
            self._built.clear()
        bodies = self._built[name, kind] = self._orders(name, relative, kind)
        bodies.next = int(self._chance() * len(bodies.orders)) % len(bodies.orders)
        return bodies

    def _no_such_name(self, name: bytes) -> _Bodies:
        """Names that do not exist are countless; what is said of them differs by their length only, to which its pointers point."""
        known = self._unknown.get(len(name))
        if known is None:
            nobody = _nobody(len(name) - len(self._zone_wire)) + self._zone_wire
            known = self._unknown[len(name)] = _Bodies([lambda: self._negative(nobody, Rcode.NXDOMAIN)])
        return known

    def _is_below(self, name: bytes) -> bool:
        """Whether the zone's name ends this one at a label's border."""
        at = 0
        while at < len(name):
            if len(name) - at == len(self._zone_wire):
                return name[at:] == self._zone_wire
            at += 1 + name[at]
        return False

    def _orders(self, name: bytes, relative: str, kind: int) -> _Bodies:
        if kind in _TRANSFERS:
            return _Bodies([lambda: _Body(Rcode.REFUSED, authoritative=0)])
        if kind == _ANY:
            # RFC 8482: a small answer, so that nobody is flooded with it
            return _Bodies([lambda: self._render(name, kind, answer=[self._rrset(name, "HINFO", ['"RFC8482" ""'])])])
        if relative == "" and kind in _APEX:
            return _Bodies(
                [lambda: self._render(name, kind, answer=[self._apex(dns.rdatatype.RdataType(kind).name)], additional=self._glue())]
            )
        wanted = _OF_NUMBER.get(kind)
        records = list(self._content.names[relative].get(wanted, ())) if wanted is not None else []
        if wanted is None or not records:
            return _Bodies([lambda: self._negative(name, Rcode.NOERROR, kind)])
        firsts = _turns(records, self._content.weights.get(relative, {}))
        build = [partial(self._of_records, name, wanted, records[first:] + records[:first]) for first in firsts]
        return _Bodies(build, uses=frozenset({relative, *(r.target for r in records if isinstance(r, Srv))}))

    def _of_records(self, name: bytes, kind: RecordType, records: list[Data]) -> _Body:
        answer = self._rrset(name, kind.value, [self._text(r) for r in records])
        additional = self._addresses(dict.fromkeys(r.target for r in records[:_ADDITIONAL] if isinstance(r, Srv)))
        return self._render(name, int(dns.rdatatype.from_text(kind.value)), answer=[answer], additional=additional)

    def _negative(self, name: bytes, rcode: Rcode, kind: int = 1) -> _Body:
        """No such name, or no record of that type: the SOA says so, and for how long (RFC 2308 §3)."""
        soa = self._apex("SOA")
        soa.ttl = min(self._authority.ttl, self._authority.negative_ttl)
        return self._render(name, kind, rcode=rcode, authority=[soa])

    def _apex(self, kind: str) -> dns.rrset.RRset:
        a = self._authority
        servers = [f"{server.rstrip('.').lower()}." for server in a.servers]
        if kind == "NS":
            return self._rrset(self._zone_wire, kind, servers)
        text = f"{servers[0]} {a.contact}.{a.name.lower()}. {self._serial} 60 10 86400 {a.negative_ttl}"
        return self._rrset(self._zone_wire, kind, [text])

    def _glue(self) -> list[dns.rrset.RRset]:
        """Addresses of our name servers, as far as the zone has them."""
        own = (below(server, self._authority.name) for server in self._authority.servers)
        return self._addresses(name for name in own if name is not None)

    def _addresses(self, names: Iterable[str]) -> list[dns.rrset.RRset]:
        return [
            self._rrset(absolute.to_wire() or b"", kind.value, [str(a) for a in held])
            for name in names
            if (absolute := self._absolute(name)) is not None
            for kind in (RecordType.A, RecordType.AAAA)
            if (held := self._content.names.get(name, {}).get(kind, ()))
        ]

    def _text(self, data: Data) -> str:
        if isinstance(data, Srv):
            absolute = data.target if data.target.endswith(".") else f"{data.target}.{self._authority.name}."
            return f"{data.priority} {data.weight} {data.port} {absolute.lower()}"
        return data

    def _rrset(self, name: bytes, kind: str, texts: Sequence[str]) -> dns.rrset.RRset:
        owner, _ = dns.name.from_wire(name, 0)
        return dns.rrset.from_text_list(owner, self._authority.ttl, "IN", kind, list(texts))

    def _render(
        self,
        name: bytes,
        kind: int,
        *,
        rcode: Rcode = Rcode.NOERROR,
        answer: Sequence[dns.rrset.RRset] = (),
        authority: Sequence[dns.rrset.RRset] = (),
        additional: Sequence[dns.rrset.RRset] = (),
    ) -> _Body:
        """What follows the question in a whole message, names compressed, records in the order given."""
        message = dns.message.QueryMessage(id=0)
        owner, _ = dns.name.from_wire(name, 0)
        message.question.append(dns.rrset.RRset(owner, dns.rdataclass.IN, dns.rdatatype.RdataType.make(kind)))
        message.answer.extend(answer)
        message.authority.extend(authority)
        before = HEADER.size + len(name) + 4
        needed = data = message.to_wire(max_size=_LARGEST, want_shuffle=False)
        if additional:
            message.additional.extend(additional)
            data = message.to_wire(max_size=_LARGEST, want_shuffle=False)
        _, _, _, answers, authorities, more = HEADER.unpack_from(data)
        return _Body(rcode, answers, authorities, more, data[before:], len(needed) - before)


def _turns(records: Sequence[Data], weights: Mapping[Data, int]) -> Sequence[int]:
    """Which record comes first, one turn after the other; each as often as its weight says, well mixed (as nginx chooses its peers)."""
    if not any(record in weights for record in records):
        return range(0, len(records), max(1, len(records) // _ORDERS))
    own = [weights.get(record, 1) for record in records]
    ahead, turns = [0] * len(own), []
    for _ in range(_TURNS):
        ahead = [so_far + weight for so_far, weight in zip(ahead, own, strict=True)]
        first = ahead.index(max(ahead))
        ahead[first] -= sum(own)
        turns.append(first)
    return turns


def _nobody(size: int) -> bytes:
    """Labels of so many bytes in all that no name has: whatever is told beside them points behind them, never at one of them."""
    found = b""
    while left := size - len(found):
        length = min(left - 1, 63)
        if left - 1 - length == 1:  # one byte more is no label
            length -= 1
        found += bytes([length]) + b"\0" * length
    return found

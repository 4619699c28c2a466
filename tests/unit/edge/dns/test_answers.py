"""Answers as dnspython reads them, and any bytes at all."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shuren.domain.dns.zone import Zone, build, with_hosts
from shuren.domain.service.values import Endpoint, EndpointState, Names, ServiceName
from shuren.edge.dns.answers import Answers, Authority
from shuren.edge.dns.packets import OWN_LIMIT

AUTHORITY = Authority(name="mesos.example", servers=("ns1.mesos.example",), ttl=7, negative_ttl=3)


def endpoint(number: int) -> Endpoint:
    return Endpoint(
        id=f"web.{number}:0",
        address=f"10.0.{number // 250}.{number % 250 + 1}",
        port=31000 + number,
        state=EndpointState.READY,
        ports={"http": 80},
    )


def answers(count: int = 3) -> Answers:
    made = Answers(AUTHORITY)
    names = Names(service=ServiceName(namespace="shop", name="web"), names=("web.shop",))
    made.put(build([(names, [endpoint(n) for n in range(count)])]))
    return made


def ask(server: Answers, name: str, kind: str = "A", *, udp: bool = True, **options: object) -> dns.message.Message:
    query = dns.message.make_query(name, kind, **options)  # type: ignore[arg-type]
    data = server.answer(query.to_wire(), udp=udp)
    assert data is not None
    answer = dns.message.from_wire(data)
    assert answer.id == query.id
    assert answer.flags & dns.flags.QR
    return answer


def addresses(answer: dns.message.Message) -> list[str]:
    return [rdata.to_text() for rrset in answer.answer for rdata in rrset]


def test_an_address_for_each_endpoint() -> None:
    answer = ask(answers(), "web.shop.mesos.example")
    assert sorted(addresses(answer)) == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    assert answer.flags & dns.flags.AA
    assert answer.answer[0].ttl == 7
    assert answer.answer[0].name == dns.name.from_text("web.shop.mesos.example.")


def test_the_order_goes_round_so_that_clients_spread() -> None:
    server = answers()
    assert {addresses(ask(server, "web.shop.mesos.example"))[0] for _ in range(6)} == {"10.0.0.1", "10.0.0.2", "10.0.0.3"}


def test_each_address_comes_first_as_often_as_its_weight_says() -> None:
    """Of a canary with a twentieth of the traffic, a twentieth of the clients that take the first address come there."""
    server = Answers(AUTHORITY)
    names = Names(service=ServiceName(namespace="shop", name="web"), names=("web.shop",))
    old, new = (replace(endpoint(n), weight=weight) for n, weight in ((1, 190), (2, 10)))
    server.put(build([(names, [old, new])]))
    counted = Counter(addresses(ask(server, "web.shop.mesos.example"))[0] for _ in range(200))
    assert counted == {"10.0.0.2": 190, "10.0.0.3": 10}
    server.put(build([(names, [old, replace(new, weight=190)])]))
    counted = Counter(addresses(ask(server, "web.shop.mesos.example"))[0] for _ in range(200))
    assert counted == {"10.0.0.2": 100, "10.0.0.3": 100}


def test_service_records_with_the_addresses_of_their_targets() -> None:
    answer = ask(answers(), "_web._tcp.shop.mesos.example", "SRV", use_edns=0, payload=4096)
    ports = sorted(rdata.port for rdata in answer.answer[0])
    assert ports == [31000, 31001, 31002]
    targets = {rdata.target for rdata in answer.answer[0]}
    assert {rrset.name for rrset in answer.additional} == targets
    assert sorted(r.to_text() for rrset in answer.additional for r in rrset) == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]


def test_a_name_that_does_not_exist_and_a_type_that_it_has_not() -> None:
    server = answers()
    unknown = ask(server, "nobody.shop.mesos.example")
    assert unknown.rcode() == dns.rcode.NXDOMAIN
    empty = ask(server, "web.shop.mesos.example", "AAAA")
    between = ask(server, "shop.mesos.example")
    for answer in (unknown, empty, between):
        (soa,) = answer.authority
        assert soa.rdtype == dns.rdatatype.SOA
        assert soa.name == dns.name.from_text("mesos.example.")
        assert (soa.ttl, soa[0].minimum) == (3, 3)
        assert answer.flags & dns.flags.AA
    assert empty.rcode() == between.rcode() == dns.rcode.NOERROR


@pytest.mark.parametrize("first", ["hostmaster", "a.ns1", "b.hostmaster", "ns1.x", f"{'y' * 63}.{'z' * 62}", f"{'y' * 63}.z"])
def test_what_is_said_of_one_unknown_name_is_true_of_all(first: str) -> None:
    """Those of one length share what follows the question, and that must not point at a label of the one that came first."""
    server = answers()
    size = len(first)
    others = [
        ".".join("q" * len(label) for label in first.split(".")),
        ".".join(["q" * 63] * (size // 64) + ["q" * (size % 64)]).strip("."),
    ]
    for name in (first, *others):
        assert len(name) == size
        (soa,) = ask(server, f"{name}.mesos.example").authority
        assert soa.name == dns.name.from_text("mesos.example.")
        assert soa[0].mname == dns.name.from_text("ns1.mesos.example.")
        assert soa[0].rname == dns.name.from_text("hostmaster.mesos.example.")


@pytest.mark.parametrize("name", ["example.org", "xmesos.example", "example", "."])
def test_other_zones_are_refused(name: str) -> None:
    answer = ask(answers(), name)
    assert answer.rcode() == dns.rcode.REFUSED
    assert not answer.flags & dns.flags.AA


def test_the_zones_own_records() -> None:
    server = answers()
    (soa,) = ask(server, "mesos.example", "SOA").answer
    assert soa[0].mname == dns.name.from_text("ns1.mesos.example.")
    before = soa[0].serial
    assert addresses(ask(server, "mesos.example", "NS")) == ["ns1.mesos.example."]
    server.put(build())
    assert ask(server, "mesos.example", "SOA").answer[0][0].serial == before + 1
    server.put(build())
    assert ask(server, "mesos.example", "SOA").answer[0][0].serial == before + 1


_ASKED = [
    (name, kind)
    for name in ("a.ns", "b.ns", "_a._tcp.ns", "_http._tcp.b.ns", "ns", "", "nobody.ns")
    for kind in ("A", "SRV", "AAAA", "SOA", "ANY")
]


def _zone(counts: tuple[int, int]) -> Zone:
    services = [
        (Names(service=ServiceName(namespace="ns", name=name), names=(f"{name}.ns",)), count)
        for name, count in zip("ab", counts, strict=True)
    ]
    return build([(names, [endpoint(n) for n in range(count)]) for names, count in services if count])


@settings(max_examples=15)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=4))
def test_after_any_changes_the_answers_are_those_of_a_server_that_has_just_begun(changes: list[tuple[int, int]]) -> None:
    server = Answers(AUTHORITY)
    for counts in changes:
        server.put(_zone(counts))
        fresh = Answers(AUTHORITY)
        fresh.put(_zone(counts))
        for name, kind in _ASKED:
            asked = f"{name}.mesos.example" if name else "mesos.example"
            old, new = ask(server, asked, kind), ask(fresh, asked, kind)
            assert (old.rcode(), _sections(old)) == (new.rcode(), _sections(new)), (asked, kind)
        assert ask(server, "mesos.example", "SOA").answer[0][0].serial == server.serial


def _sections(message: dns.message.Message) -> list[list[str]]:
    """Without the SOA, whose serial tells of all changes before."""
    sections = (message.answer, message.additional)
    return [sorted(d.to_text() for rrset in section if rrset.rdtype != dns.rdatatype.SOA for d in rrset) for section in sections]


def test_cases_come_back_as_they_were_sent() -> None:
    query = dns.message.make_query("WeB.ShOp.MeSoS.eXaMpLe", "A")
    data = answers().answer(query.to_wire())
    assert data is not None
    assert b"WeB\x04ShOp\x05MeSoS\x07eXaMpLe" in data
    assert len(addresses(dns.message.from_wire(data))) == 3


def test_what_does_not_fit_is_cut_off_and_whole_over_tcp() -> None:
    server = answers(200)
    plain = ask(server, "web.shop.mesos.example")
    assert plain.flags & dns.flags.TC
    assert not plain.answer
    larger = ask(answers(60), "web.shop.mesos.example", use_edns=0, payload=4096)
    assert len(addresses(larger)) == 60
    assert len(addresses(ask(server, "web.shop.mesos.example", udp=False))) == 200


def test_nothing_is_cut_off_for_want_of_room_for_what_is_additional() -> None:
    server = answers(9)
    small = ask(server, "_web._tcp.shop.mesos.example", "SRV", use_edns=0, payload=600)
    assert not small.flags & dns.flags.TC
    assert (len(small.answer[0]), small.additional) == (9, [])
    whole = ask(server, "_web._tcp.shop.mesos.example", "SRV", use_edns=0, payload=1232)
    assert (len(whole.answer[0]), len(whole.additional)) == (9, 9)


def test_edns_is_answered_with_our_own_size() -> None:
    answer = ask(answers(), "web.shop.mesos.example", use_edns=0, payload=4096)
    assert (answer.edns, answer.payload) == (0, OWN_LIMIT)
    assert ask(answers(), "web.shop.mesos.example").edns == -1
    assert ask(answers(), "web.shop.mesos.example", use_edns=1).rcode() == dns.rcode.BADVERS


def test_any_is_answered_small() -> None:
    answer = ask(answers(100), "web.shop.mesos.example", "ANY")
    assert [rrset.rdtype for rrset in answer.answer] == [dns.rdatatype.HINFO]


def test_other_classes_and_operations_are_refused() -> None:
    server = answers()
    for transfer in ("AXFR", "IXFR"):
        assert ask(server, "mesos.example", transfer, udp=False).rcode() == dns.rcode.REFUSED
    assert ask(server, "web.shop.mesos.example", "TXT", rdclass=dns.rdataclass.CH).rcode() == dns.rcode.REFUSED
    update = dns.message.make_query("mesos.example", "SOA")
    update.set_opcode(dns.opcode.UPDATE)
    data = server.answer(update.to_wire())
    assert data is not None
    assert data[3] & 0xF == dns.rcode.NOTIMP
    assert server.answer(data) is None, "an answer is not answered, or two servers would talk for ever"


def test_a_changed_zone_is_answered_at_once() -> None:
    server = answers(1)
    assert addresses(ask(server, "web.shop.mesos.example")) == ["10.0.0.1"]
    server.put(build())
    assert ask(server, "web.shop.mesos.example").rcode() == dns.rcode.NXDOMAIN


def test_counts_for_metrics() -> None:
    server = answers()
    ask(server, "web.shop.mesos.example")
    ask(server, "nobody.mesos.example")
    server.answer(b"")
    assert server.counters.by_rcode == {0: 1, 3: 1}
    assert server.counters.ignored == 1


QUERIES = st.builds(
    lambda name, kind, edns: dns.message.make_query(name, kind, use_edns=edns).to_wire(),
    st.sampled_from(["web.shop.mesos.example", "_web._tcp.shop.mesos.example", "mesos.example", "example.org", "a.b.c.mesos.example"]),
    st.sampled_from(["A", "AAAA", "SRV", "SOA", "NS", "ANY", "TXT"]),
    st.sampled_from([None, 0, 1]),
)
SERVER = answers(40)


@given(st.binary(max_size=600))
def test_no_bytes_are_too_odd(data: bytes) -> None:
    _harmless(data)


@given(
    QUERIES, st.lists(st.tuples(st.integers(min_value=0), st.integers(min_value=0, max_value=255)), max_size=6), st.integers(min_value=0)
)
def test_spoilt_queries_are_answered_well_formed_and_never_amplified_beyond_the_limit(
    query: bytes, changes: list[tuple[int, int]], cut: int
) -> None:
    data = bytearray(query)
    for at, value in changes:
        data[at % len(data)] = value
    _harmless(bytes(data[: len(data) - cut % 4]))


def _harmless(data: bytes) -> None:
    for udp in (True, False):
        answer = SERVER.answer(data, udp=udp)
        if answer is None:
            continue
        assert len(answer) >= 12
        assert answer[:2] == data[:2]
        assert answer[2] & 0x80
        if udp:
            assert len(answer) <= OWN_LIMIT
        try:
            dns.message.from_wire(answer)
        except dns.exception.DNSException as error:
            # a question that dnspython itself would not have sent (e.g. an unknown class) is still sent back as it came
            raise AssertionError(f"{data!r} is answered with what nobody can read: {answer!r}") from error


def test_before_anything_was_heard_nobody_is_told_that_there_is_nothing() -> None:
    server = Answers(AUTHORITY)
    for name in ("web.shop.mesos.example", "mesos.example"):
        answer = ask(server, name)
        assert answer.rcode() == dns.rcode.SERVFAIL
        assert not answer.flags & dns.flags.AA
    server.put(build())
    assert ask(server, "web.shop.mesos.example").rcode() == dns.rcode.NXDOMAIN


def test_name_servers_that_are_named_in_the_zone_have_their_addresses_there() -> None:
    server = Answers(AUTHORITY)
    server.put(with_hosts(build(), {"ns1": "10.9.9.9"}))
    assert addresses(ask(server, "ns1.mesos.example")) == ["10.9.9.9"]
    (glue,) = ask(server, "mesos.example", "NS").additional
    assert (glue.name, glue[0].to_text()) == (dns.name.from_text("ns1.mesos.example."), "10.9.9.9")


def test_names_that_cannot_be_on_the_wire_are_left_out() -> None:
    server = Answers(AUTHORITY)
    names = Names(service=ServiceName(namespace="shop", name="x"), names=("a" * 64, "网", "ok.shop"))
    server.put(build([(names, [endpoint(1)])]))
    assert addresses(ask(server, "ok.shop.mesos.example")) == ["10.0.0.2"]


def test_chance_says_where_the_order_begins() -> None:
    first = {
        addresses(ask(_with_chance(random.Random(seed).random), "web.shop.mesos.example"))[0]  # noqa: S311 - chance for tests
        for seed in range(20)
    }
    assert len(first) == 3


def _with_chance(chance: object) -> Answers:
    made = Answers(AUTHORITY, chance=chance)  # type: ignore[arg-type]
    names = Names(service=ServiceName(namespace="shop", name="web"), names=("web.shop",))
    made.put(build([(names, [endpoint(n) for n in range(3)])]))
    return made

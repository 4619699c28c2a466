"""Records of services keep their meaning through ZooKeeper, and readers bear what newer writers add."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuren.domain.errors import Invalid
from shuren.domain.service import wire
from shuren.domain.service.values import (
    Applied,
    Endpoint,
    EndpointSet,
    EndpointState,
    LoadBalancer,
    MesosNames,
    Names,
    Route,
    ServiceName,
    TaskAddress,
    TaskNames,
)

WEB = ServiceName(namespace="shop", name="web")
WORD = st.text(st.characters(codec="utf-8"), max_size=12)
PORT = st.integers(min_value=0, max_value=65535)
ENDPOINTS = st.builds(
    Endpoint,
    id=WORD,
    address=WORD,
    port=PORT,
    state=st.sampled_from(EndpointState),
    weight=st.integers(min_value=0, max_value=256),
    task=WORD,
    app=WORD,
    agent=WORD,
    zone=WORD,
    ports=st.dictionaries(WORD, PORT, max_size=2),
)
SETS = st.builds(EndpointSet, generation=st.integers(min_value=1), endpoints=st.lists(ENDPOINTS, max_size=8).map(tuple))


@given(SETS, st.integers(min_value=1, max_value=2000))
def test_endpoints_come_back_however_they_are_cut(given_set: EndpointSet, limit: int) -> None:
    encoded = wire.encode_endpoints(given_set, limit=limit)
    head = wire.decode_head(encoded.head)
    chunks = [encoded.children[wire.chunk_name(head.generation, i)] for i in range(head.chunks)]
    assert len(chunks) == len(encoded.children)
    assert wire.decode_endpoints(head, chunks) == given_set


def test_a_large_set_has_chunks_of_bounded_size() -> None:
    many = EndpointSet(
        generation=3,
        endpoints=tuple(
            Endpoint(id=f"e{n}", address="127.0.0.1", port=31000, state=EndpointState.READY, task="t" * 80) for n in range(20_000)
        ),
    )
    encoded = wire.encode_endpoints(many)
    assert len(encoded.children) > 1
    assert all(len(data) <= wire.CHUNK + 1024 for data in encoded.children.values())
    assert json.loads(encoded.head) == {"generation": 3, "chunks": len(encoded.children)}


def test_an_unknown_state_or_field_of_a_newer_writer_is_left_out() -> None:
    known = {"id": "a", "address": "127.0.0.1", "port": 1, "state": "ready", "new": {}}
    paused = {"id": "b", "address": "127.0.0.1", "port": 2, "state": "paused"}
    head = wire.decode_head(json.dumps({"generation": 2, "more": 1, "endpoints": [known, paused]}).encode())
    assert [e.id for e in wire.decode_endpoints(head).endpoints] == ["a"]


def test_missing_chunks_are_invalid() -> None:
    with pytest.raises(Invalid, match="has 2 chunks"):
        wire.decode_endpoints(wire.Head(generation=4, chunks=2), [b"[]"])


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'"x"', b'{"generation":"x"}', b'{"generation":1,"endpoints":[{}]}', b"\xff"])
def test_what_is_no_head_is_invalid(data: bytes) -> None:
    with pytest.raises(Invalid):
        wire.decode_head(data)


def test_routes_names_tasks_and_answers_come_back() -> None:
    route = Route(service=WEB, group="public", generation=4, uid="u", since="2026-01-01T00:00:00Z", listener={"listeners": [{"port": 80}]})
    assert wire.decode_route(wire.encode_route(route), service=WEB, group="public") == route
    names = Names(service=WEB, names=("web", "网.shop"), protocol="udp")
    assert wire.decode_names(wire.encode_names(names), service=WEB) == names
    task = TaskAddress(
        task="shop_web.1", agent_id="S1", agent_address="127.0.0.2", ports=(80, 81), port_names=("http", ""), protocols=("tcp", "udp")
    )
    tasks = TaskNames(app="/shop/web", framework="marathon", tasks=(task,))
    assert wire.decode_tasks(wire.encode_tasks(tasks)) == tasks
    mesos = MesosNames(leader="127.0.0.1", masters=("127.0.0.1",), agents=("127.0.0.2", "127.0.0.3"))
    assert wire.decode_mesos(wire.encode_mesos(mesos)) == mesos
    balancer = LoadBalancer(id="lb-1", group="public", host="h", version="2.6.12", live=False)
    assert wire.decode_load_balancer(wire.encode_load_balancer(balancer), balancer="lb-1", live=False) == balancer
    applied = Applied(service=WEB, endpoints=3, route=1, sessions={"e": 2}, up=1, problem="why", up_of={"/a": 1}, counters={"requests": 5})
    assert wire.decode_applied(wire.encode_applied(applied), service=WEB) == applied


@given(st.from_regex(r"(/[a-z0-9]([a-z0-9-]*(\.[a-z0-9])?)){1,4}", fullmatch=True))
def test_app_ids_come_back_from_node_names(app_id: str) -> None:
    name = wire.escaped(app_id)
    assert "/" not in name
    assert wire.unescaped(name) == app_id


def test_service_names_come_back() -> None:
    assert ServiceName.parse("shop.web.v2") == ServiceName(namespace="shop", name="web.v2")

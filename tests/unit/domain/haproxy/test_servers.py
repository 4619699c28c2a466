"""Endpoints → servers."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haproxy_room import endpoint
from shuren.domain.haproxy.servers import IDS, STATES, Admin, assign_ids, host_names, server_name, servers_of
from shuren.domain.service.values import EndpointState


@pytest.mark.parametrize(
    ("state", "admin"),
    [
        (EndpointState.STARTING, Admin.MAINT),
        (EndpointState.READY, Admin.READY),
        (EndpointState.DRAINING, Admin.DRAIN),
        (EndpointState.UNHEALTHY, Admin.MAINT),
    ],
)
def test_states_mean_what_the_table_says(state: EndpointState, admin: Admin) -> None:
    assert servers_of([endpoint("a", state=state)])[0].admin is admin
    assert STATES.keys() == set(EndpointState)


def test_where_clients_stick_a_drained_server_lets_none_of_them_in() -> None:
    drained = endpoint("a", state=EndpointState.DRAINING)
    plain, sticky = servers_of([drained])[0], servers_of([drained], sticky=True)[0]
    assert (plain.admin, plain.draining) == (Admin.DRAIN, True)
    assert (sticky.admin, sticky.draining) == (Admin.MAINT, True)
    assert not servers_of([endpoint("a", state=EndpointState.STARTING)], sticky=True)[0].draining


@given(st.lists(st.text(min_size=1, max_size=200), unique=True, max_size=20))
def test_names_are_words_of_haproxy_and_unique(ids: list[str]) -> None:
    names = [server_name(text) for text in ids]
    assert len(set(names)) == len(ids)
    assert all(re.fullmatch(r"[A-Za-z0-9_.:-]{1,120}", name) for name in names)


def test_a_task_stays_readable() -> None:
    assert server_name("shop_web.instance-4f-aa._app.1/0") == "shop_web.instance-4f-aa._app.1:0"


@given(
    st.lists(st.text(min_size=1, max_size=8), unique=True, max_size=30),
    st.dictionaries(st.text(max_size=4), st.integers(1, IDS - 1), max_size=5),
)
def test_ids_are_unique_within_reach_of_the_ring_and_independent_of_order(names: list[str], taken: dict[str, int]) -> None:
    given_ids = assign_ids(names, taken)
    assert given_ids == assign_ids(reversed(names), taken)
    assert given_ids.keys() == set(names) - taken.keys()
    assert len(set(given_ids.values())) == len(given_ids)
    assert not set(given_ids.values()) & set(taken.values())
    assert all(1 <= number < IDS for number in given_ids.values())


def test_ids_of_those_there_never_change() -> None:
    first = assign_ids(["a", "b"], {})
    assert assign_ids(["a", "b", "c"], first).keys() == {"c"}


def test_an_id_that_is_taken_gives_way_to_another() -> None:
    number = assign_ids(["a"], {})["a"]
    assert assign_ids(["a"], {"other": number})["a"] != number


def test_a_host_name_becomes_a_server_for_each_address_and_they_share_its_weight() -> None:
    given_endpoint = endpoint("db.example:5432", address="db.example", port=5432, weight=100)
    assert host_names([given_endpoint, endpoint("a")]) == {"db.example"}
    servers = servers_of([given_endpoint], resolved={"db.example": ["10.0.0.1", "10.0.0.2", "10.0.0.3"]})
    assert [(s.address, s.weight, s.endpoint) for s in servers] == [(f"10.0.0.{n}", 33, "db.example:5432") for n in (1, 2, 3)]
    assert len({s.name for s in servers}) == 3
    assert servers_of([given_endpoint]) == ()


@pytest.mark.parametrize(("weight", "expected"), [(0, 0), (1, 1), (256, 256), (300, 256), (-1, 0)])
def test_weights_are_within_bounds(weight: int, expected: int) -> None:
    assert servers_of([endpoint("a", weight=weight)])[0].weight == expected


def test_a_weight_that_is_not_nothing_does_not_become_nothing() -> None:
    servers = servers_of([endpoint("a", address="h", weight=1)], resolved={"h": ["10.0.0.1", "10.0.0.2"]})
    assert [s.weight for s in servers] == [1, 1]


@pytest.mark.parametrize("address", ["::1%eth0", "::1% x", "10.0.0.1 backup", "10.0.0.1\n", ""])
def test_what_is_no_address_never_becomes_one(address: str) -> None:
    assert servers_of([endpoint("a", address=address)]) == ()


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_what_is_no_port_is_left_out(port: int) -> None:
    assert servers_of([endpoint("a", port=port)]) == ()


def test_further_ports() -> None:
    given_endpoints = [endpoint("a", ports={"admin": 9000}), endpoint("b")]
    assert [(s.name, s.port) for s in servers_of(given_endpoints, target_port="admin")] == [("a", 9000)]
    assert [(s.name, s.check_port) for s in servers_of(given_endpoints, check_port="admin")] == [("a", 9000), ("b", 0)]

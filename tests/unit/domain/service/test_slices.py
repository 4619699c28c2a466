"""EndpointSlices: conditions, addresses, at most 100 a slice, and one changed endpoint writes one slice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuren.domain.service import slices
from shuren.domain.service.slices import Owner, SliceChange, address_family
from shuren.domain.service.values import Endpoint, EndpointState

OWNER = Owner(api_version="paas.shurenyun.com/v1alpha1", kind="PaasService", name="web", uid="u")


def endpoint(number: int, **fields: Any) -> Endpoint:
    given: dict[str, Any] = {"id": f"web.{number:05}:0", "address": f"10.0.{number // 250}.{number % 250 + 1}", "port": 8080}
    return Endpoint(**({"state": EndpointState.READY} | given | fields))


def desired(endpoints: Sequence[Endpoint], existing: Sequence[Mapping[str, Any]] = ()) -> SliceChange:
    return slices.desired(endpoints, existing, service_name="web", namespace="shop", protocol="tcp", owner=OWNER)


def applied(change: SliceChange, existing: Sequence[Mapping[str, Any]] = ()) -> list[Mapping[str, Any]]:
    by_name = {item["metadata"]["name"]: item for item in existing} | dict(change.write)
    return [item for name, item in sorted(by_name.items()) if name not in change.delete]


@pytest.mark.parametrize(
    ("state", "ready", "serving", "terminating"),
    [
        (EndpointState.READY, True, True, False),
        (EndpointState.STARTING, False, False, False),
        (EndpointState.DRAINING, False, True, True),
        (EndpointState.UNHEALTHY, False, False, False),
    ],
)
def test_conditions(state: EndpointState, ready: bool, serving: bool, terminating: bool) -> None:  # noqa: FBT001
    (item,) = desired([endpoint(1, state=state)]).write.values()
    assert item["endpoints"][0]["conditions"] == {"ready": ready, "serving": serving, "terminating": terminating}


def test_a_slice_says_whose_it_is_and_where_its_endpoints_are() -> None:
    (item,) = desired([endpoint(1, zone="bj-a")]).write.values()
    assert item["metadata"]["labels"] == {
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "paas.shurenyun.com",
    }
    assert item["metadata"]["ownerReferences"][0]["uid"] == "u"
    assert (item["addressType"], item["ports"]) == ("IPv4", [{"name": "main", "port": 8080, "protocol": "TCP"}])
    assert item["endpoints"][0]["zone"] == "bj-a"


@pytest.mark.parametrize("address", ["db.example", "127.0.0.1", "169.254.1.1", "::1", "0.0.0.0", "224.0.0.1"])
def test_what_the_api_server_refuses_is_left_out_and_told(address: str) -> None:
    change = desired([endpoint(1, address=address), endpoint(2)])
    assert change.left_out == (address,)
    assert sum(len(item["endpoints"]) for item in change.write.values()) == 1


def test_families_and_ports_have_slices_of_their_own() -> None:
    change = desired([endpoint(1), endpoint(2, port=8081), endpoint(3, address="2001:db8::1")])
    assert {(s["addressType"], s["ports"][0]["port"]) for s in change.write.values()} == {("IPv4", 8080), ("IPv4", 8081), ("IPv6", 8080)}
    assert address_family("2001:db8::1") == "IPv6"


def test_no_slice_has_more_than_a_hundred() -> None:
    sizes = [len(item["endpoints"]) for item in applied(desired([endpoint(n) for n in range(250)]))]
    assert sizes == [100, 100, 50]


def test_one_changed_endpoint_writes_one_slice() -> None:
    many = [endpoint(n) for n in range(250)]
    existing = applied(desired(many))
    change = desired([replace(e, state=EndpointState.DRAINING) if e.id == many[120].id else e for e in many], existing)
    assert len(change.write) == 1
    gone = desired(many[1:], existing)
    assert (len(gone.write), gone.delete) == (1, ())


def test_emptied_slices_go() -> None:
    existing = applied(desired([endpoint(n) for n in range(150)]))
    change = desired([], existing)
    assert (change.write, change.delete) == ({}, ("web-1", "web-2"))


def test_a_slice_whose_labels_were_edited_is_written_again() -> None:
    (item,) = applied(desired([endpoint(1)]))
    edited = {**item, "metadata": {**item["metadata"], "labels": {}}}
    assert list(desired([endpoint(1)], [edited]).write) == ["web-1"]


def test_the_service_has_no_selector() -> None:
    made = slices.service(name="web", namespace="shop", port=80, protocol="tcp", owner=OWNER)
    assert made["spec"] == {"ports": [{"name": "main", "port": 80, "protocol": "TCP"}]}


SETS = st.lists(
    st.builds(
        endpoint, st.integers(min_value=0, max_value=400), state=st.sampled_from(EndpointState), port=st.sampled_from([80, 80, 80, 81])
    ),
    max_size=300,
    unique_by=lambda e: e.id,
)


@given(SETS, SETS)
def test_slices_hold_exactly_the_endpoints_and_a_second_look_changes_nothing(before: list[Endpoint], after: list[Endpoint]) -> None:
    existing = applied(desired(before))
    now = applied(desired(after, existing), existing)
    held = [(e["targetRef"]["name"], s["ports"][0]["port"]) for s in now for e in s["endpoints"]]
    assert sorted(held) == sorted((e.id, e.port) for e in after)
    assert all(len(s["endpoints"]) <= slices.PER_SLICE for s in now)
    assert not desired(after, now)

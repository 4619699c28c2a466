"""Records for existing clients: their formats, whose nodes they are, and what changes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuren.domain.errors import Invalid
from shuren.domain.service.records import (
    RecordFolder,
    RecordFormat,
    change,
    decode_journal,
    encode_journal,
    foreign,
    records,
)
from shuren.domain.service.values import Endpoint, EndpointState

A = Endpoint(id="web.1:0", address="127.0.0.1", port=31000, state=EndpointState.READY, task="web.1", ports={"http": 31000, "admin": 31001})
B = replace(A, id="web.2:0", address="127.0.0.2", task="web.2")
SERVERSET = RecordFolder(format=RecordFormat.SERVERSET, path="/aurora/prod/web", additional=("admin", "missing"))
CURATOR = RecordFolder(format=RecordFormat.CURATOR, path="/services/web")
NERVE = RecordFolder(format=RecordFormat.NERVE, path="/nerve/web")


def documents(folder: RecordFolder, *endpoints: Endpoint) -> dict[str, Any]:
    return {path.removeprefix(f"{folder.path}/"): json.loads(data) for path, data in records(folder, endpoints).items()}


def test_a_serverset_member() -> None:
    ((name, member),) = documents(SERVERSET, A).items()
    assert name.startswith("member_")
    assert len(name.removeprefix("member_")) == 10
    assert 1_000_000_000 <= int(name.removeprefix("member_")) < 2**31
    assert member == {
        "serviceEndpoint": {"host": "127.0.0.1", "port": 31000},
        "additionalEndpoints": {"admin": {"host": "127.0.0.1", "port": 31001}},
        "status": "ALIVE",
    }


def test_weights_of_a_serverset_are_one_vector_and_only_when_they_differ() -> None:
    assert not any(name.startswith("vector_") for name in documents(SERVERSET, A, B))
    seen = documents(SERVERSET, replace(A, weight=256), replace(B, weight=64))
    (vector,) = (document["vector"] for name, document in seen.items() if name.startswith("vector_"))
    members = {seen[name]["serviceEndpoint"]["host"]: name for name in seen if name.startswith("member_")}
    assert {(v["select"], v["weight"]) for v in vector} == {
        (f"member={members['127.0.0.1']}", 1.0),
        (f"member={members['127.0.0.2']}", 0.25),
    }


def test_a_curator_instance_with_and_without_enabled() -> None:
    ((name, instance),) = documents(CURATOR, A).items()
    assert name == instance["id"] == "web.1:0"
    assert (instance["name"], instance["address"], instance["port"], instance["serviceType"]) == ("web", "127.0.0.1", 31000, "PERMANENT")
    assert instance["enabled"] is True
    ((_, plain),) = documents(replace(CURATOR, format=RecordFormat.CURATOR_PLAIN), A).items()
    assert "enabled" not in plain


def test_a_nerve_node() -> None:
    ((name, node),) = documents(NERVE, A).items()
    assert name.rpartition("_")[0] == "web.1:0"
    assert node == {"host": "127.0.0.1", "port": 31000, "name": "web.1", "weight": 100}


@pytest.mark.parametrize("state", [s for s in EndpointState if s is not EndpointState.READY])
@pytest.mark.parametrize("folder", [SERVERSET, CURATOR, NERVE])
def test_only_ready_endpoints_are_told(folder: RecordFolder, state: EndpointState) -> None:
    assert documents(folder, replace(A, state=state)) == {}


ENDPOINTS = st.lists(
    st.builds(
        Endpoint,
        id=st.text(min_size=1, max_size=12),
        address=st.just("127.0.0.1"),
        port=st.integers(min_value=1, max_value=65535),
        state=st.sampled_from(EndpointState),
        weight=st.integers(min_value=0, max_value=256).filter(bool),
    ),
    max_size=6,
    unique_by=lambda e: e.id,
)


@given(ENDPOINTS, ENDPOINTS)
def test_applying_a_change_gives_what_should_be_there_and_a_second_one_is_empty(before: list[Endpoint], after: list[Endpoint]) -> None:
    folders = [SERVERSET, CURATOR, NERVE]
    first = change(folders, before, {})
    nodes = dict(first.create)
    second = change(folders, after, decode_journal(encode_journal(first.kept)))
    for path in second.delete:
        del nodes[path]
    assert not nodes.keys() & second.create.keys()
    assert second.change.keys() <= nodes.keys()
    nodes |= {**second.create, **second.change}
    assert nodes == {path: data for folder in folders for path, data in records(folder, after).items()}
    assert not change(folders, after, second.kept)
    assert all(path.count("/") == 1 + folder.path.count("/") for folder in folders for path in records(folder, after))


def test_a_folder_that_is_no_longer_wanted_is_emptied() -> None:
    written = change([CURATOR, NERVE], [A], {}).kept
    left = change([NERVE], [A], written)
    assert left.delete == ("/services/web/web.1:0",)
    assert not left.create


def test_nodes_of_somebody_else_are_known() -> None:
    ours = change([CURATOR], [A], {}).kept
    assert foreign(CURATOR, ["web.1:0"], ours) == ()
    assert foreign(CURATOR, ["web.1:0", "0f3c", "member_0000000001"], ours) == ("0f3c", "member_0000000001")


@pytest.mark.parametrize("data", [b"x", b"[]", b"{}", b'{"nodes":[1]}'])
def test_a_journal_that_cannot_be_read_is_no_order_to_delete(data: bytes) -> None:
    with pytest.raises(Invalid):
        decode_journal(data)


def test_no_journal_is_an_empty_one() -> None:
    assert decode_journal(b"") == {}

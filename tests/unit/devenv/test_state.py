from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuren.devenv.errors import DevenvError
from shuren.devenv.processes import ProcessId
from shuren.devenv.state import Endpoints, PartState, PartStatus, Phase, SandboxState, read_state, write_state

names = st.sampled_from(["etcd", "apiserver", "zookeeper", "operator"])
processes = st.builds(ProcessId, pid=st.integers(1, 1 << 22), started=st.integers(0, 1 << 40))
part_states = st.builds(
    PartState,
    name=names,
    index=st.integers(1, 5),
    status=st.sampled_from(PartStatus),
    log=st.text(max_size=20),
    ports=st.dictionaries(st.text(max_size=5), st.integers(1, 65_535), max_size=3),
    process=st.none() | processes,
    detail=st.text(max_size=20),
)
endpoints = st.builds(
    Endpoints,
    kubeconfig=st.text(),
    operator_kubeconfig=st.text(),
    marathon_urls=st.lists(st.text(), max_size=2).map(tuple),
    mesos_url=st.text(),
    zookeeper_hosts=st.text(),
    cluster=st.just("sandbox"),
    path_prefix=st.text(),
)
states = st.builds(
    SandboxState,
    id=st.text(),
    phase=st.sampled_from(Phase),
    supervisor=processes,
    reason=st.text(),
    parts=st.lists(part_states, max_size=4).map(tuple),
    endpoints=st.none() | endpoints,
)


def sandbox(*parts: PartState) -> SandboxState:
    return SandboxState(id="x", phase=Phase.READY, supervisor=ProcessId(pid=1, started=1), parts=parts)


def part(name: str, index: int = 1, status: PartStatus = PartStatus.RUNNING) -> PartState:
    return PartState(name=name, index=index, status=status, log="/log")


@given(state=states)
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, state: SandboxState) -> None:
    path = tmp_path_factory.getbasetemp() / "state.json"
    write_state(path, state)
    assert read_state(path) == state


@given(known=st.lists(part_states, max_size=4), fresh=part_states)
def test_a_part_is_replaced_or_added(known: list[PartState], fresh: PartState) -> None:
    state = sandbox(*{one.key: one for one in known}.values())
    after = state.with_part(fresh)
    assert [one for one in after.parts if one.key == fresh.key] == [fresh]
    assert [one for one in after.parts if one.key != fresh.key] == [one for one in state.parts if one.key != fresh.key]


def test_no_file_is_no_sandbox(tmp_path: Path) -> None:
    assert read_state(tmp_path / "state.json") is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 1}', '{"format": 99}', '{"format": 1, "id": "x", "phase": "odd"}'])
def test_a_file_that_is_not_ours_is_said_not_guessed(tmp_path: Path, text: str) -> None:
    path = tmp_path / "state.json"
    path.write_text(text)
    with pytest.raises(DevenvError):
        read_state(path)


def test_a_selector_names_all_of_a_kind_or_one() -> None:
    state = sandbox(part("etcd"), part("operator", 1), part("operator", 2))
    assert [one.key for one in state.select("operator")] == ["operator=1", "operator=2"]
    assert [one.key for one in state.select("operator=2")] == ["operator=2"]
    with pytest.raises(DevenvError, match=r"no part 'operator=3' in this sandbox; there are: etcd=1, operator=1, operator=2"):
        state.select("operator=3")


def test_exports_put_our_kubectl_in_front_and_name_the_first_engine() -> None:
    reach = Endpoints(
        kubeconfig="/a",
        operator_kubeconfig="/o",
        marathon_urls=("http://m1", "http://m2"),
        mesos_url="http://mesos",
        zookeeper_hosts="h:1,h:2",
        cluster="sandbox",
        path_prefix="/tools",
    )
    assert reach.exports("/bin:/usr/bin") == {
        "KUBECONFIG": "/a",
        "MARATHON_URL": "http://m1",
        "ZOOKEEPER_HOSTS": "h:1,h:2",
        "OPERATOR_KUBECONFIG": "/o",
        "MESOS_URL": "http://mesos",
        "CLUSTER": "sandbox",
        "PATH": "/tools:/bin:/usr/bin",
    }
    assert reach.exports("")["PATH"] == "/tools"


def test_exports_name_load_balancers_where_there_are_any() -> None:
    reach = Endpoints(
        kubeconfig="/a",
        operator_kubeconfig="/o",
        marathon_urls=(),
        mesos_url="",
        zookeeper_hosts="h:1",
        cluster="sandbox",
        path_prefix="/tools",
        lb_addresses=("127.9.9.251", "127.9.9.252"),
    )
    exports = reach.exports("")
    assert (exports["LB_ADDRESS"], exports["LB_ADDRESSES"]) == ("127.9.9.251", "127.9.9.251,127.9.9.252")
    state = replace(sandbox(), endpoints=reach)
    assert SandboxState.from_json(json.loads(json.dumps(state.to_json()))).endpoints == reach


def test_the_file_is_json_for_others_to_read(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_state(path, sandbox(part("etcd")))
    assert json.loads(path.read_text())["parts"][0]["status"] == "running"

"""Virtual agents: files, ports, bookings."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuren.sandbox.agents.agent import Agent, AgentSpec, AgentState, Resources
from shuren.sandbox.agents.registry import Agents, numbered, read_file, wanted_specs


def made(**fields: object) -> Agent:
    return Agent("S0", AgentSpec.parse({"hostname": "127.0.0.2", **fields}), index=0, registered_at=0.0)


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "agents.yaml"
    path.write_text("agents:\n- {hostname: 127.0.0.2, cpus: 2, gpus: 1, ports: '31000-31001,40000', attributes: {rack: 1}, zone: z}\n")
    (spec,) = read_file(path)
    assert spec.resources == Resources(cpus=2.0, mem=8192.0, disk=100_000.0, gpus=1)
    assert (spec.ports, spec.attributes, spec.zone) == (((31_000, 31_001), (40_000, 40_000)), {"rack": "1"}, "z")
    assert AgentSpec.parse(spec.dump()) == spec
    assert list(wanted_specs(count=None, file=path)) == [spec]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("agents: 3", "agents: a list"),
        ("- 3", r"agents[0]: an object"),
        ("- {}", r"agents[0].hostname"),
        ("- {hostname: x, cpus: lots}", r"agents[0].cpus"),
        ("- {hostname: x, ports: '9-1'}", r"agents[0].ports"),
        ("- {hostname: x, ports: 'a'}", r"agents[0].ports"),
        ("- {hostname: x, ports: 7}", r"agents[0].ports"),
        ("- {hostname: x, cpu: 1}", r"agents[0].cpu"),
        ("{", "not YAML"),
    ],
)
def test_a_wrong_file_says_where(tmp_path: Path, text: str, place: str) -> None:
    path = tmp_path / "agents.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"agents\.yaml") as error:
        read_file(path)
    assert place in str(error.value)


@given(st.integers(1, 600))
def test_numbered_agents_have_addresses_of_their_own(count: int) -> None:
    hosts = [s.hostname for s in numbered(count)]
    assert len(set(hosts)) == count
    assert all(h.startswith("127.0.") and 1 <= int(h.rpartition(".")[2]) <= 250 for h in hosts)


def test_ports_are_free_fixed_or_avoided() -> None:
    agent = made(ports="31000-31003")
    assert agent.free_ports([31_002]) == (31_002,)
    assert agent.free_ports([80]) is None
    assert agent.free_ports([31_002, 31_002]) is None
    assert set(agent.free_ports([0, 0, 0, 0]) or ()) == {31_000, 31_001, 31_002, 31_003}
    assert agent.free_ports([0] * 5) is None
    assert agent.free_ports([0], avoid={31_000, 31_001, 31_003}) == (31_002,)
    assert agent.free_ports([0], avoid=range(31_000, 31_004)) is not None
    agent.hold("i", Resources(cpus=1.0), (31_002,))
    assert agent.free_ports([31_002]) is None


@given(st.lists(st.tuples(st.floats(0, 2), st.integers(0, 3)), max_size=20))
def test_what_is_given_back_is_free_again(holds: list[tuple[float, int]]) -> None:
    agent = made()
    for i, (cpus, count) in enumerate(holds):
        agent.hold(f"i{i}", Resources(cpus=cpus), agent.free_ports([0] * count) or ())
    for i in range(len(holds)):
        assert agent.release(f"i{i}")
        assert not agent.release(f"i{i}")
    assert agent.used.cpus == pytest.approx(0)
    assert agent.used_ports == set()


def test_the_registry_keeps_ids_and_states() -> None:
    agents = Agents()
    first, second = (agents.add(spec, now=0.0) for spec in numbered(2))
    assert (first.id, second.id) == (f"{agents.prefix}-S0", f"{agents.prefix}-S1")
    second.state, first.maintenance = AgentState.PARTITIONED, True
    again = Agents.load(agents.dump(), now=1.0)
    assert [(a.id, a.state, a.maintenance, a.index) for a in again] == [(a.id, a.state, a.maintenance, a.index) for a in agents]
    again.remove(second.id)
    third = again.add(numbered(3)[2], now=2.0)
    assert (third.id, third.index) == (f"{agents.prefix}-S2", 2)
    with pytest.raises(ValueError, match="already registered"):
        again.add(AgentSpec(hostname="x", resources=Resources(), id=first.id), now=0.0)
    assert again.get("127.0.0.1") is again.get(first.id)
    assert again.get(None) is None


def test_offers_begin_with_another_agent_each_time() -> None:
    agents = Agents()
    for spec in numbered(3):
        agents.add(spec, now=0.0)
    assert len({agents.offers()[0].id for _ in range(3)}) == 3
    for agent in agents:
        agent.state = AgentState.PARTITIONED
    assert agents.offers() == []

from __future__ import annotations

import ipaddress
import json
from pathlib import Path

import pytest

from shuren.devenv import parts
from shuren.devenv.binaries import Binaries
from shuren.devenv.bringup import STOP_ORDER
from shuren.devenv.keypairs import KeyPair
from shuren.devenv.options import MAX_AGENTS, Options, Runner
from shuren.devenv.places import StateDir


@pytest.fixture
def place(tmp_path: Path) -> StateDir:
    return StateDir.at(tmp_path)


def control_plane(place: StateDir) -> tuple[parts.Part, parts.Part, parts.Part]:
    binaries = Binaries(
        etcd=Path("/b/etcd"),
        apiserver=Path("/b/kube-apiserver"),
        controller_manager=Path("/b/kcm"),
        kubectl=Path("/t/kubectl"),
        tools=Path("/t"),
        origin="here",
    )
    pair = KeyPair(certificate=Path("/p/x.crt"), key=Path("/p/x.key"))
    secrets = parts.KubeSecrets(ca=pair, apiserver=pair, accounts=pair, kubelets=pair, manager_kubeconfig=Path("/k/kcm"))
    return parts.control_plane(place, binaries, parts.KubePorts(etcd_client=1, etcd_peer=2, apiserver=3, manager=4), secrets)


def test_every_listener_is_on_loopback(place: StateDir) -> None:
    for part in control_plane(place):
        flags = [word for word in part.argv if word.startswith("--")]
        addresses = [flag for flag in flags if any(word in flag.split("=")[0] for word in ("listen", "bind", "advertise"))]
        assert addresses
        assert all("127.0.0.1" in word for word in addresses)


def test_rights_are_checked_and_requests_written_down(place: StateDir) -> None:
    _, apiserver, _ = control_plane(place)
    assert "--authorization-mode=Node,RBAC" in apiserver.argv
    assert f"--audit-log-path={place.audit_log}" in apiserver.argv
    policy = json.loads((place.kube / "audit-policy.json").read_text())
    silent = [user for rule in policy["rules"] if rule["level"] == "None" for user in rule.get("users", [])]
    assert "system:serviceaccount:shuren-system:shuren-operator" not in silent
    assert policy["rules"][-1] == {"level": "Metadata"}


def _home(part: parts.Part) -> Path:
    assert part.cwd is not None
    return part.cwd


def test_a_single_zookeeper_knows_no_peers_and_an_ensemble_knows_all(place: StateDir) -> None:
    ports = [parts.ZooKeeperPorts(client=n, peer=n + 100, election=n + 200) for n in (1, 2, 3)]
    (single,) = parts.zookeepers(place, Path("/java"), Path("/z.jar"), ports[:1])
    assert "server." not in (_home(single) / single.argv[-1]).read_text()
    ensemble = parts.zookeepers(place, Path("/java"), Path("/z.jar"), ports)
    for index, part in enumerate(ensemble, 1):
        config = (_home(part) / part.argv[-1]).read_text()
        assert [line for line in config.splitlines() if line.startswith("server.")] == [
            "server.1=127.0.0.1:101:201",
            "server.2=127.0.0.1:102:202",
            "server.3=127.0.0.1:103:203",
        ]
        assert (_home(part) / "data" / "myid").read_text() == f"{index}\n"


def test_a_zookeeper_finds_its_files_in_a_directory_of_any_name(tmp_path: Path) -> None:
    """Java reads its configuration as Latin-1: the data of a sandbox in 沙箱 would lie elsewhere, and be left behind there."""
    place = StateDir.at(tmp_path / "沙箱")
    (part,) = parts.zookeepers(place, Path("/java"), Path("/z.jar"), [parts.ZooKeeperPorts(client=1, peer=2, election=3)])
    told = [*part.argv, *(_home(part) / part.argv[-1]).read_text().splitlines()]
    assert [line for line in told if not line.isascii()] == []


def test_two_engines_share_their_state_and_know_each_other(place: StateDir) -> None:
    options = Options(state_dir=place.root, engines=2, runner=Runner.SIMULATED, engine_arguments=("--charge-write-cost",))
    ports = [parts.EnginePorts(marathon=10, mesos=11), parts.EnginePorts(marathon=20, mesos=21)]
    first, second = parts.engines(place, options, ports, Path("/a"))
    assert len({word for part in (first, second) for word in part.argv if word.startswith("--state-dir")}) == 1
    assert "--ha-peer=http://127.0.0.1:20" in first.argv
    assert "--ha-peer=http://127.0.0.1:10" in second.argv
    assert first.argv[-1] == "--charge-write-cost"
    assert "--runner=simulated" in first.argv


def test_agents_have_addresses_of_the_sandbox_alone(tmp_path: Path) -> None:
    path = parts.write_agents(tmp_path / "engine" / "agents.json", "127.83.12", 4)
    agents = json.loads(path.read_text())
    network = ipaddress.ip_network("127.83.12.0/24")
    assert len({agent["hostname"] for agent in agents}) == 4
    assert all(ipaddress.ip_address(agent["hostname"]) in network for agent in agents)
    assert {agent["attributes"]["rack"] for agent in agents} == {"rack-1", "rack-2", "rack-3"}


def test_operators_run_under_the_granted_account_with_ports_and_names_of_their_own(place: StateDir) -> None:
    first, second = parts.operators(place, Path("/k/operator"), [1, 2])
    assert first.env["KUBECONFIG"] == second.env["KUBECONFIG"] == "/k/operator"
    assert (first.env["SHUREN_METRICS_PORT"], second.env["SHUREN_METRICS_PORT"]) == ("1", "2")
    assert first.env["SHUREN_IDENTITY"] != second.env["SHUREN_IDENTITY"]


def test_load_balancers_have_addresses_above_the_agents_and_share_nothing(place: StateDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/home/me/.kube/config")
    first, second = parts.load_balancers(place, "127.0.0.1:2181", "127.83.12", Path("/k/lb"), [1, 2])
    agents = json.loads(parts.write_agents(place.root / "agents.json", "127.83.12", MAX_AGENTS).read_text())
    addresses = {part.env["SHUREN_LB_BIND_ADDRESS"] for part in (first, second)}
    assert addresses == {"127.83.12.251", "127.83.12.252"}
    assert not addresses & {agent["hostname"] for agent in agents}
    assert [part.key for part in (first, second)] == ["lb=1", "lb=2"]
    for name in ("SHUREN_LB_ID", "SHUREN_LB_STATE_DIR", "SHUREN_LB_METRICS_PORT"):
        assert first.env[name] != second.env[name]
    assert first.env["SHUREN_LB_GROUP"] == second.env["SHUREN_LB_GROUP"]
    assert first.env["KUBECONFIG"] == "/k/lb"


def test_who_keeps_something_is_asked_to_stop_the_operator_first() -> None:
    assert STOP_ORDER == ["operator", "lb", "engine"]

from __future__ import annotations

from pathlib import Path

import pytest

from shuren.devenv.errors import DevenvError, log_tail
from shuren.devenv.options import Options, Runner
from shuren.devenv.places import StateDir, cache_dir, default_state_dir, find_manifests
from shuren.devenv.processes import ProcessId


def test_options_travel_to_the_background(tmp_path: Path) -> None:
    options = Options(
        state_dir=tmp_path,
        agents=7,
        runner=Runner.SIMULATED,
        operators=2,
        zookeepers=3,
        engines=2,
        load_balancers=2,
        engine_arguments=("--charge-write-cost", "--x=y"),
        owner=ProcessId(pid=1, started=2),
        kubeconfig=tmp_path / "k",
    )
    options.write(tmp_path / "config.json")
    assert Options.read(tmp_path / "config.json") == options
    Options(state_dir=tmp_path).write(tmp_path / "config.json")
    assert Options.read(tmp_path / "config.json") == Options(state_dir=tmp_path)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"agents": 0}, "--agents 0: between 1 and 250"),
        ({"agents": 251}, "--agents 251: between 1 and 250"),
        ({"zookeepers": 2}, "--zookeepers 2: 1, 3 for an ensemble"),
        ({"engines": 3}, "--engines 3: 1, 2 for a leader and a standby"),
        ({"operators": 6}, "--operators 6: between 0 and 5"),
        ({"operators": -1}, "--operators -1: between 0 and 5"),
        ({"load_balancers": 5}, "--load-balancers 5: between 0 and 4"),
        ({"load_balancers": 1, "operators": 0, "zookeepers": 0}, "a load balancer follows ZooKeeper"),
        ({"bare": True}, "--bare applies nothing of the product"),
        ({"bare": True, "operators": 0, "load_balancers": 1}, "--bare applies nothing of the product"),
        ({"zookeepers": 0}, "an operator needs ZooKeeper and an engine"),
        ({"engines": 0}, "an operator needs ZooKeeper and an engine"),
    ],
    ids=str,
)
def test_what_cannot_be_built_is_refused_with_the_option(tmp_path: Path, wrong: dict[str, int], words: str) -> None:
    with pytest.raises(DevenvError, match=words):
        Options(state_dir=tmp_path, **wrong)  # type: ignore[arg-type]


def test_a_directory_is_claimed_when_new_empty_or_ours(tmp_path: Path) -> None:
    place = StateDir.at(tmp_path / "new" / "deep")
    place.claim()
    (place.root / "etcd").mkdir()
    place.claim()
    assert place.lock.exists()


def test_somebody_elses_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(DevenvError, match=r"not made by `shuren sandbox` \(found thesis.tex\)"):
        StateDir.at(tmp_path).claim()


def test_a_fresh_up_removes_neither_its_lock_nor_its_own_orders(tmp_path: Path) -> None:
    place = StateDir.at(tmp_path)
    assert not {place.lock, place.config, place.supervisor_log} & set(place.own_entries())
    assert {place.state, place.socket, place.pki, place.kube, place.logs} <= set(place.own_entries())


def test_the_cache_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("SHUREN_CACHE", raising=False)
    assert cache_dir() == tmp_path / "xdg" / "shuren"
    monkeypatch.setenv("SHUREN_CACHE", str(tmp_path / "own"))
    assert cache_dir() == tmp_path / "own"
    assert (tmp_path / "own").is_dir()


def test_the_state_directory_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHUREN_STATE_DIR", "/somewhere")
    assert default_state_dir() == Path("/somewhere")
    monkeypatch.delenv("SHUREN_STATE_DIR")
    assert default_state_dir() == Path(".sandbox")


def test_manifests_are_the_repositorys_and_hold_neither_lists_nor_the_deployment() -> None:
    manifests = find_manifests()
    crds = {path.name for path in manifests.crd_files()}
    assert {"paas.shurenyun.com_paasapps.yaml", "paas.shurenyun.com_mesosclusters.yaml"} <= crds
    assert "kustomization.yaml" not in crds
    base = [path.name for path in manifests.base_files()]
    assert base[0] == "namespace.yaml"
    assert "rbac.yaml" in base
    assert all(path.is_file() for path in manifests.base_files())


def test_manifests_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHUREN_MANIFESTS", str(tmp_path))
    with pytest.raises(DevenvError, match="set SHUREN_MANIFESTS"):
        find_manifests()
    (tmp_path / "crds").mkdir()
    (tmp_path / "crds" / "a.yaml").touch()
    base = tmp_path / "manifests" / "base"
    assert find_manifests().base_files() == []
    base.mkdir(parents=True)
    (base / "kustomization.yaml").write_text("resources: [namespace.yaml, ../../crds, rbac.yaml, deployment.yaml]\n")
    assert [path.name for path in find_manifests().base_files()] == ["namespace.yaml", "rbac.yaml"]
    assert [path.name for path in find_manifests().crd_files()] == ["a.yaml"]


def test_the_end_of_a_log_is_whole_lines_with_its_path(tmp_path: Path) -> None:
    log = tmp_path / "etcd.log"
    assert log_tail(log) == ""
    log.write_text("".join(f"line {n}\n" for n in range(100)))
    assert log_tail(log, lines=2).splitlines() == [f"  --- end of {log}", "  | line 98", "  | line 99"]

"""Finding programs; made-up ones stand for the real."""

from __future__ import annotations

from pathlib import Path

import pytest

from shuren.devenv import gobuild
from shuren.devenv.binaries import find_binaries, find_java, find_zookeeper_jar, kubernetes_version
from shuren.devenv.errors import DevenvError
from shuren.devenv.wheels import KUBECTL_LAYER, go_version


def program(path: Path, says: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {says}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that is full, so that nothing is downloaded or built."""
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    tools = tmp_path / "cache" / "tools" / KUBECTL_LAYER.replace("==", "-")
    for name in ("kubectl", "helm"):
        program(tools / name)
    place = gobuild.built_place(tmp_path / "cache")
    for name in ("etcd", "kubebox", *gobuild.APPLETS):
        program(place / name, "Kubernetes v1.37.2")
    return tmp_path / "cache"


def silent(_line: str) -> None:
    pytest.fail("nothing is to be said when everything is there")


def test_the_cache_is_taken_without_a_word(cache: Path) -> None:
    found = find_binaries(cache, silent)
    assert found.apiserver == gobuild.built_place(cache) / "kube-apiserver"
    assert found.kubectl.parent == found.tools


def test_assets_named_by_the_environment_go_first(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("etcd", "kube-apiserver", "kube-controller-manager"):
        program(tmp_path / "assets" / name, "Kubernetes v1.34.0")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "assets"))
    found = find_binaries(cache, silent)
    assert {found.etcd.parent, found.apiserver.parent, found.controller_manager.parent} == {tmp_path / "assets"}


def test_assets_without_an_api_server_are_an_error_not_a_surprise(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "assets" / "etcd")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "assets"))
    with pytest.raises(DevenvError, match="no program kube-apiserver there"):
        find_binaries(cache, silent)


@pytest.mark.parametrize(("server", "allowed"), [("v1.37.9", True), ("v1.38.0-rc.1", True), ("v1.36.3", False)])
def test_envtests_missing_controller_manager_is_ours_if_not_newer(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: str, *, allowed: bool
) -> None:
    for name in ("etcd", "kube-apiserver"):
        program(tmp_path / "assets" / name, f"Kubernetes {server}")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "assets"))
    if allowed:
        assert find_binaries(cache, silent).controller_manager == gobuild.built_place(cache) / "kube-controller-manager"
    else:
        with pytest.raises(DevenvError, match=r"\(1.37.2\) is newer than the API server there \(1.36.3\)"):
            find_binaries(cache, silent)


def test_a_foreign_cluster_needs_no_control_plane(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "nowhere"))
    assert find_binaries(cache, silent, own_cluster=False).kubectl.exists()


def test_a_program_without_a_version_is_said(tmp_path: Path) -> None:
    assert kubernetes_version(program(tmp_path / "a", "Kubernetes v1.37.2-alpha.1+abc")) == (1, 37, 2)
    with pytest.raises(DevenvError, match="gives no Kubernetes version"):
        kubernetes_version(program(tmp_path / "b", "hello"))
    with pytest.raises(DevenvError, match="gives no Kubernetes version"):
        kubernetes_version(tmp_path / "missing")


def test_the_age_of_a_go_is_read_and_a_broken_one_has_none(tmp_path: Path) -> None:
    assert go_version(program(tmp_path / "new", "go1.26.8")) == (1, 26)
    assert go_version(program(tmp_path / "candidate", "go1.27rc1")) == (1, 27)
    assert go_version(program(tmp_path / "odd", "gopher")) is None
    assert go_version(tmp_path / "missing") is None


def test_a_changed_recipe_is_another_place_in_the_cache() -> None:
    assert gobuild.Recipe().digest() == gobuild.Recipe().digest()
    assert gobuild.Recipe(version="v1.37.3").digest() != gobuild.Recipe().digest()


def test_the_build_says_the_version_it_pins() -> None:
    lines = (gobuild.SOURCES / "go.mod").read_text().splitlines()
    pinned = [line.split() for line in lines if line.strip().startswith("k8s.io/kubernetes v")]
    assert [version for _, version in pinned] == [gobuild.KUBERNETES_VERSION]
    assert any(f"gitVersion={gobuild.KUBERNETES_VERSION}" in word for word in gobuild.Recipe().arguments)


def test_missing_java_and_zookeeper_name_their_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DevenvError, match="apt-get install -y default-jre-headless"):
        find_java()
    program(tmp_path / "java")
    assert find_java() == tmp_path / "java"
    monkeypatch.setenv("ZOOKEEPER_JAR", str(tmp_path / "no.jar"))
    with pytest.raises(DevenvError, match="apt-get install -y zookeeper"):
        find_zookeeper_jar()

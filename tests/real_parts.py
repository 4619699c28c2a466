"""Fixtures that give running real parts. Each pytest process has its own; they end with it, even when it is killed.

`kube`      API server, controller manager, ZooKeeper: no engine, no operator
`operated`  the same with the engine and one operator; tests talk through kubectl
`breakable` the same with two operators and two engines, for tests that break parts and put them back
`new_sandbox(**options)`  one more, for a test that breaks things; ends with the test
`kube_namespace` a fresh namespace in `kube`; `operated_namespace` in `operated`
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pytest

from room_coverage import unmeasured
from shuren.devenv.background import Sandbox, up_in_background
from shuren.devenv.options import Options, Runner
from shuren.devenv.processes import ProcessId
from shuren.devenv.progress import to_stderr


class NewSandbox(Protocol):
    """Brings up a sandbox that ends with the test."""

    def __call__(
        self,
        *,
        agents: int = 2,
        runner: Runner = Runner.PROCESS,
        operators: int = 0,
        zookeepers: int = 1,
        engines: int = 0,
        engine_arguments: tuple[str, ...] = (),
        kubeconfig: Path | None = None,
    ) -> Sandbox: ...


@contextmanager
def running(options: Options) -> Iterator[Sandbox]:
    """Up, and down with its bulky data removed; logs stay for pytest's kept temporary directories."""
    sandbox = up_in_background(options, to_stderr)
    try:
        yield sandbox
    finally:
        sandbox.down(to_stderr)
        for bulky in ("etcd", "zookeeper"):
            shutil.rmtree(options.state_dir / bulky, ignore_errors=True)


def owner() -> ProcessId:
    """This process: a sandbox with it ends when we do."""
    me = ProcessId.of(os.getpid())
    assert me is not None
    return me


@pytest.fixture(scope="session")
def kube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with running(Options(state_dir=tmp_path_factory.mktemp("kube"), engines=0, operators=0, owner=owner())) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def operated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with unmeasured(), running(Options(state_dir=tmp_path_factory.mktemp("operated"), operators=1, owner=owner())) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def breakable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with unmeasured(), running(Options(state_dir=tmp_path_factory.mktemp("breakable"), operators=2, engines=2, owner=owner())) as sandbox:
        yield sandbox


@pytest.fixture
def new_sandbox(tmp_path: Path) -> Iterator[NewSandbox]:
    made: list[Sandbox] = []

    def make(
        *,
        agents: int = 2,
        runner: Runner = Runner.PROCESS,
        operators: int = 0,
        zookeepers: int = 1,
        engines: int = 0,
        engine_arguments: tuple[str, ...] = (),
        kubeconfig: Path | None = None,
    ) -> Sandbox:
        options = Options(
            state_dir=tmp_path / f"sandbox-{len(made) + 1}",
            agents=agents,
            runner=runner,
            operators=operators,
            zookeepers=zookeepers,
            engines=engines,
            engine_arguments=engine_arguments,
            kubeconfig=kubeconfig,
            owner=owner(),
        )
        made.append(Sandbox.at(options.state_dir))
        return up_in_background(options, to_stderr)

    yield make
    for sandbox in made:
        sandbox.down(to_stderr)
        for bulky in ("etcd", "zookeeper"):
            shutil.rmtree(sandbox.place.root / bulky, ignore_errors=True)


@contextmanager
def fresh_namespace(sandbox: Sandbox) -> Iterator[str]:
    """A namespace of that sandbox; its deletion is asked for at the end and not awaited."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    sandbox.kubectl("create", "namespace", name)
    try:
        yield name
    finally:
        sandbox.kubectl("delete", "namespace", name, "--wait=false", check=False)


@pytest.fixture
def operated_namespace(operated: Sandbox) -> Iterator[str]:
    with fresh_namespace(operated) as name:
        yield name


@pytest.fixture
def kube_namespace(kube: Sandbox) -> Iterator[str]:
    with fresh_namespace(kube) as name:
        yield name

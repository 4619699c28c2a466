"""Users of the shared sandbox, and of one whose parts may be broken; after each test what must never happen is looked for.

Never, whatever a test does: a request that the operator lacks the right for (the audit log tells), and in its log a traceback or an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kube_rest import Rest
from real_parts import fresh_namespace, owner, running
from replicas import World, replicas
from room_coverage import unmeasured
from shuren.devenv.background import Sandbox
from shuren.devenv.options import Options
from shuren.devenv.state import PartStatus
from tenant import PATIENCE, Engine, Tenant, lease_holder, refusals
from waiting import eventually

_BAD_LINE = re.compile(r"^Traceback|^\S+ (ERRO|CRIT) |exception was never retrieved|was never awaited")


EVERYWHERE = "*"


@pytest.fixture(scope="session")
def cut_off(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Two replicas on lines that can be cut; both say all they can."""
    directory = tmp_path_factory.mktemp("cut")
    own = Options(state_dir=directory / "sandbox", operators=0, owner=owner())
    with unmeasured(), running(own) as sandbox, replicas(sandbox, directory) as both:
        rest = Rest(sandbox.endpoints.kubeconfig)
        both[0].start()
        eventually(lambda: lease_holder(rest) == both[0].name, seconds=PATIENCE)
        yield World(sandbox=sandbox, both=both, rest=rest)
        rest.close()


@pytest.fixture
def may_be_refused() -> list[str]:
    """Namespaces in which a test makes the API server refuse what the operator asks."""
    return []


@contextmanager
def _user_of(sandbox: Sandbox, may_be_refused: list[str]) -> Iterator[Tenant]:
    audited, logs = sandbox.audited(), {path: path.stat().st_size for path in _logs(sandbox)}
    rest = Rest(sandbox.endpoints.kubeconfig)
    with fresh_namespace(sandbox) as namespace:
        yield Tenant(sandbox=sandbox, namespace=namespace, rest=rest)
    rest.close()
    lines = [line for path in _logs(sandbox) for line in _since(path, logs.get(path, 0)) if _BAD_LINE.search(line)]
    if EVERYWHERE in may_be_refused:
        assert [line for line in lines if "is forbidden" not in line] == []
        return
    assert lines == []
    assert [(where, what) for where, what in refusals(sandbox, audited) if where not in may_be_refused] == []


def _logs(sandbox: Sandbox) -> list[Path]:
    return sorted(sandbox.place.logs.glob("operator-*.log"))


def _since(path: Path, size: int) -> list[str]:
    return path.read_bytes()[size:].decode(errors="replace").splitlines()


@pytest.fixture
def tenant(operated: Sandbox, may_be_refused: list[str]) -> Iterator[Tenant]:
    """A user of the shared sandbox, in a namespace of his own. Tests with it break nothing."""
    with _user_of(operated, may_be_refused) as user:
        yield user


@pytest.fixture
def unlucky(breakable: Sandbox, may_be_refused: list[str]) -> Iterator[Tenant]:
    """A user of the sandbox whose parts a test may stop, kill and pause; afterwards those that ran run again and no fault is left."""
    with _user_of(breakable, may_be_refused) as user:
        before = _running(breakable)
        try:
            yield user
        finally:
            _mend(breakable, before)


def _running(sandbox: Sandbox) -> set[str]:
    return {part.key for part in sandbox.state().parts if part.status is PartStatus.RUNNING}


def _mend(sandbox: Sandbox, before: set[str]) -> None:
    for part in sandbox.state().parts:
        if part.process is not None and part.process.frozen():
            sandbox.resume(part.key)
    for key in sorted(before - _running(sandbox)):
        sandbox.start(key)
    Engine(sandbox=sandbox).no_faults()

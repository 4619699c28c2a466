"""Load balancers as parts of a sandbox: each on an address of its own, HAProxy outliving its agent but not the sandbox."""

from __future__ import annotations

from pathlib import Path

import pytest

from real_parts import owner, running
from shuren.devenv.background import Sandbox
from shuren.devenv.options import Options
from shuren.devenv.processes import ProcessId, marked
from shuren.devenv.progress import to_stderr
from shuren.devenv.state import PartStatus
from waiting import eventually


def test_haproxy_outlives_its_agent_and_ends_with_the_sandbox(kube: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> None:
    # a short path: HAProxy's sockets lie below it
    place, foreign = tmp_path_factory.mktemp("lb"), Path(kube.endpoints.kubeconfig)
    with running(Options(state_dir=place, operators=0, engines=0, load_balancers=2, owner=owner(), kubeconfig=foreign)) as sandbox:
        _agents_go_haproxy_stays(sandbox)


def _agents_go_haproxy_stays(sandbox: Sandbox) -> None:
    endpoints, sandbox_id = sandbox.endpoints, sandbox.state().id
    assert len(set(endpoints.lb_addresses)) == 2
    assert sandbox.environment()["LB_ADDRESS"] == endpoints.lb_addresses[0]

    def others() -> set[ProcessId]:
        state = sandbox.state()
        return set(marked(sandbox_id)) - {part.process for part in state.parts if part.process is not None}

    haproxies = others()
    assert len(haproxies) == 4, "a master and a worker each"
    sandbox.kill("lb=1")
    sandbox.stop("lb=2")
    assert [sandbox.part(key).status for key in ("lb=1", "lb=2")] == [PartStatus.KILLED, PartStatus.STOPPED]
    assert haproxies <= others()
    sandbox.start("lb")
    eventually(lambda: others() == haproxies, seconds=30)
    sandbox.pause("lb=1")
    sandbox.resume("lb=1")
    sandbox.down(to_stderr)
    assert marked(sandbox_id) == []

"""Up, parts one by one, down; killed supervisors; several sandboxes side by side.

A control plane takes most of the time that a sandbox takes to come up. Where a test is about who ends a sandbox, and when, it has that of
`kube`, and a ZooKeeper of its own.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from real_parts import NewSandbox, owner, running
from shuren.devenv.background import Sandbox, up_in_background
from shuren.devenv.errors import DevenvError
from shuren.devenv.options import Options
from shuren.devenv.probes import ZooKeeperProbe, ready
from shuren.devenv.processes import ProcessId, marked
from shuren.devenv.progress import to_stderr
from shuren.devenv.state import PartStatus, Phase, SandboxState
from waiting import eventually


@pytest.fixture(scope="module")
def mendable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """For tests that break a part and start it again. Without engine and operator."""
    with running(Options(state_dir=tmp_path_factory.mktemp("mendable"), engines=0, operators=0, owner=owner())) as sandbox:
        yield sandbox


def shuren(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "shuren.cli", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=False, env={**os.environ, **(environment or {})}, timeout=120)


def server(sandbox: Sandbox) -> str:
    """The URL of its API server."""
    return sandbox.kubectl("config", "view", "-o", "jsonpath={.clusters[0].cluster.server}")


def test_the_commands_of_the_contract(kube: Sandbox, tmp_path: Path) -> None:
    """And a cluster that the environment names is left alone."""
    place = ("--state-dir", str(tmp_path / "s"))
    environment = {"KUBECONFIG": kube.endpoints.kubeconfig}
    up = shuren("sandbox", "up", *place, "--detach", "--no-operator", "--engines", "0", environment=environment)
    assert up.returncode == 0, up.stderr
    assert server(Sandbox.at(tmp_path / "s")) != server(kube)
    assert "apiserver=1 ready after" in up.stderr
    hint = up.stderr.splitlines()[-1]
    assert subprocess.run(["bash", "-c", f"{hint}; echo $CLUSTER"], capture_output=True, text=True, check=True).stdout == "sandbox\n"
    try:
        env = shuren("sandbox", "env", *place)
        assert env.stdout.startswith("export KUBECONFIG=")
        exported = dict(word.split("=", 1) for word in shlex.split(env.stdout)[1:])
        assert set(exported) == {"KUBECONFIG", "MARATHON_URL", "ZOOKEEPER_HOSTS", "OPERATOR_KUBECONFIG", "MESOS_URL", "CLUSTER", "PATH"}
        assert exported["CLUSTER"] == "sandbox"
        script = f"{env.stdout.strip()} && kubectl get namespaces -o name"
        assert "namespace/shuren-system" in subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout

        status = shuren("sandbox", "status", "-o", "json", *place)
        assert status.returncode == 0
        parts = {part["key"]: part for part in json.loads(status.stdout)["parts"]}
        assert set(parts) == {"etcd=1", "apiserver=1", "controller-manager=1", "zookeeper=1"}
        assert all(part["status"] == "running" and part["pid"] > 0 and part["ports"] for part in parts.values())
        assert "zookeeper=1" in shuren("sandbox", "status", *place).stdout

        assert shuren("sandbox", "kill", "zookeeper=1", *place).returncode == 0
        after = json.loads(shuren("sandbox", "status", "-o", "json", *place).stdout)
        assert [part["status"] for part in after["parts"] if part["key"] == "zookeeper=1"] == ["killed"]
        assert shuren("sandbox", "status", *place).stdout.startswith("sandbox is ready, but not zookeeper=1 (")
        unknown = shuren("sandbox", "stop", "zookeeper=7", *place)
        assert unknown.returncode == 1
        assert unknown.stderr.startswith("shuren: no part 'zookeeper=7'")
        assert "zookeeper=1" in unknown.stderr

        assert "--- end of" in shuren("sandbox", "logs", "apiserver", *place).stdout
        again = shuren("sandbox", "up", *place, "--detach", "--no-operator", "--engines", "0")
        assert again.returncode == 1
        assert "already running" in again.stderr
    finally:
        down = shuren("sandbox", "down", *place)
    assert down.returncode == 0, down.stderr
    assert shuren("sandbox", "status", *place).returncode == 3
    assert "stopped" in shuren("sandbox", "env", *place).stderr


async def test_a_part_stopped_killed_and_started_again_keeps_its_port(mendable: Sandbox) -> None:
    sandbox = mendable
    before = sandbox.part("zookeeper")
    assert before.process is not None
    sandbox.stop("zookeeper")
    assert sandbox.part("zookeeper").status is PartStatus.STOPPED
    assert not before.process.alive()
    assert await ready(ZooKeeperProbe(port=before.ports["client"])) is not None
    sandbox.start("zookeeper")
    sandbox.kill("zookeeper")
    assert sandbox.part("zookeeper").status is PartStatus.KILLED
    sandbox.start("zookeeper")
    after = sandbox.part("zookeeper")
    assert after.ports == before.ports
    assert after.process != before.process
    assert await ready(ZooKeeperProbe(port=before.ports["client"])) is None


def test_a_part_that_dies_by_itself_is_shown_as_exited_and_can_be_started(mendable: Sandbox) -> None:
    sandbox = mendable
    process = sandbox.part("zookeeper").process
    assert process is not None
    process.signal(signal.SIGKILL)
    eventually(lambda: sandbox.part("zookeeper").status is PartStatus.EXITED)
    assert sandbox.part("zookeeper").detail == "signal SIGKILL"
    sandbox.start("zookeeper")
    assert sandbox.part("zookeeper").status is PartStatus.RUNNING


def test_objects_survive_a_killed_api_server(mendable: Sandbox) -> None:
    sandbox = mendable
    sandbox.kubectl("create", "configmap", "kept")
    sandbox.kill("apiserver")
    with pytest.raises(DevenvError, match="refused"):
        sandbox.kubectl("get", "configmap", "kept")
    sandbox.start("apiserver")
    assert sandbox.get("configmap", "kept")["metadata"]["name"] == "kept"
    assert sandbox.kubectl("auth", "can-i", "list", "paasapps.paas.shurenyun.com", "-A", as_operator=True).strip() == "yes"


def test_a_paused_part_still_has_its_process_and_can_be_resumed_or_taken_down(kube: Sandbox, new_sandbox: NewSandbox) -> None:
    sandbox = new_sandbox(kubeconfig=Path(kube.endpoints.kubeconfig))
    process = sandbox.part("zookeeper").process
    assert process is not None
    sandbox.pause("zookeeper")
    assert process.frozen()
    assert process.alive()
    sandbox.resume("zookeeper")
    eventually(lambda: not process.frozen())
    sandbox.pause("zookeeper")
    sandbox.down(to_stderr)
    assert not process.alive()


def test_two_side_by_side_share_nothing(kube: Sandbox, mendable: Sandbox) -> None:
    ports = [{port for part in one.state().parts for port in part.ports.values()} for one in (kube, mendable)]
    assert not ports[0] & ports[1]
    mendable.kubectl("create", "namespace", "only-here")
    assert "only-here" not in kube.kubectl("get", "namespaces", "-o", "name")


def test_a_killed_supervisor_is_noticed_and_cleaned_by_the_next_up_or_by_down(kube: Sandbox, new_sandbox: NewSandbox) -> None:
    first = new_sandbox()
    state = _supervisor_killed(first)
    left = [part.process for part in state.parts if part.process is not None]
    assert all(process.alive() for process in left)
    second = up_in_background(Options(state_dir=first.place.root, engines=0, operators=0), to_stderr)
    assert not any(process.alive() for process in left)
    assert marked(state.id) == []
    assert second.state().id != state.id
    second.kubectl("get", "namespaces")

    state = _supervisor_killed(second)
    second.down(to_stderr)
    assert marked(state.id) == []
    assert second.state().phase is Phase.STOPPED
    assert "default" in kube.kubectl("get", "namespaces", "-o", "name"), "the one beside it stays"


def _supervisor_killed(sandbox: Sandbox) -> SandboxState:
    """What it last wrote; and that this is noticed."""
    state = sandbox.state()
    state.supervisor.signal(signal.SIGKILL)
    eventually(lambda: not state.supervisor.alive())
    assert sandbox.state().phase is Phase.FAILED
    return state


def test_a_sandbox_ends_with_its_owner(kube: Sandbox, tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as owner:
        identity = ProcessId.of(owner.pid)
        assert identity is not None
        foreign = Path(kube.endpoints.kubeconfig)
        options = Options(state_dir=tmp_path / "s", engines=0, operators=0, owner=identity, kubeconfig=foreign)
        sandbox = up_in_background(options, to_stderr)
        state = sandbox.state()
        assert marked(state.id), "its ZooKeeper"
        owner.kill()
    eventually(lambda: not state.supervisor.alive())
    assert marked(state.id) == []
    assert sandbox.state().phase is Phase.STOPPED


def test_down_ends_only_its_own(kube: Sandbox, new_sandbox: NewSandbox) -> None:
    """A stranger that works in the state directory stays, and so does a cluster that is not its own."""
    sandbox = new_sandbox(kubeconfig=Path(kube.endpoints.kubeconfig))
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, cwd=sandbox.place.root) as stranger:
        sandbox.down(to_stderr)
        assert stranger.poll() is None
        stranger.kill()
    assert "default" in kube.kubectl("get", "namespaces", "-o", "name")


def test_up_fails_with_the_reason_and_the_end_of_the_log(tmp_path: Path) -> None:
    broken = tmp_path / "java"
    broken.write_text("#!/bin/sh\necho the disk is on fire\nexit 3\n")
    broken.chmod(0o755)
    place = ("--state-dir", str(tmp_path / "s"))
    path = f"{tmp_path}:{os.environ['PATH']}"
    up = shuren("sandbox", "up", *place, "--detach", "--no-operator", "--engines", "0", environment={"PATH": path})
    assert up.returncode == 1
    assert "zookeeper=1 ended while starting (exit code 3)" in up.stderr
    assert "| the disk is on fire" in up.stderr
    state = Sandbox.at(tmp_path / "s").state()
    assert state.phase is Phase.FAILED
    assert marked(state.id) == []


def test_up_without_a_docker_engine_for_its_tasks_says_so(tmp_path: Path) -> None:
    missing = tmp_path / "docker.sock"
    options = ("--detach", "--no-operator", "--zookeepers", "0", "--runner", "docker", f"--engine-argument=--docker-socket={missing}")
    up = shuren("sandbox", "up", "--state-dir", str(tmp_path / "s"), *options)
    assert up.returncode == 1
    assert "engine=1 ended while starting (exit code 1)" in up.stderr
    assert f"no Docker Engine answers on {missing} (No such file or directory): start Docker" in up.stderr
    assert Sandbox.at(tmp_path / "s").state().phase is Phase.FAILED


def test_a_foreign_directory_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    up = shuren("sandbox", "up", "--state-dir", str(tmp_path), "--detach", "--no-operator", "--engines", "0")
    assert up.returncode == 1
    assert "was not made by `shuren sandbox` (found thesis.tex)" in up.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def foreground(kube: Sandbox, place: Path) -> list[str]:
    """The command that keeps a sandbox up for as long as it runs."""
    options = ("--no-operator", "--engines", "0", "--kubeconfig", kube.endpoints.kubeconfig)
    return [sys.executable, "-m", "shuren.cli", "sandbox", "up", "--state-dir", str(place), *options]


def test_in_the_foreground_ctrl_c_takes_it_down(kube: Sandbox, tmp_path: Path) -> None:
    with subprocess.Popen(foreground(kube, tmp_path / "s"), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            said = next((line for line in process.stderr if "Ctrl-C ends the sandbox" in line), "")
            state = Sandbox.at(tmp_path / "s").state()
            there = marked(state.id)
            process.send_signal(signal.SIGINT)
            process.stderr.read()
        finally:
            process.terminate()
    assert "shuren sandbox env --state-dir" in said
    assert state.phase is Phase.READY
    assert there, "its ZooKeeper"
    assert process.returncode == 0
    assert marked(state.id) == []


def test_a_foreign_cluster_is_used_only_when_named(kube: Sandbox, new_sandbox: NewSandbox) -> None:
    """By --kubeconfig, with the rights of the manifests. That KUBECONFIG in the environment leads nowhere is shown above."""
    foreign = new_sandbox(kubeconfig=Path(kube.endpoints.kubeconfig), zookeepers=0)
    assert foreign.state().parts == ()
    assert foreign.kubectl("auth", "can-i", "list", "paasapps.paas.shurenyun.com", "-A", as_operator=True).strip() == "yes"
    assert server(foreign) == server(kube)


async def test_an_ensemble_of_three_survives_the_loss_of_one(kube: Sandbox, new_sandbox: NewSandbox) -> None:
    sandbox = new_sandbox(zookeepers=3, kubeconfig=Path(kube.endpoints.kubeconfig))
    assert len(sandbox.endpoints.zookeeper_hosts.split(",")) == 3
    sandbox.kill("zookeeper=1")
    second = ZooKeeperProbe(port=sandbox.part("zookeeper=2").ports["client"])
    for _ in range(100):
        if await ready(second) is None:
            break
    assert await ready(second) is None
    sandbox.start("zookeeper=1")


def test_nobody_listening_to_its_words_does_not_keep_it_from_going_down(kube: Sandbox, tmp_path: Path) -> None:
    with subprocess.Popen(foreground(kube, tmp_path / "s"), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any("Ctrl-C ends the sandbox" in line for line in process.stderr)
        state = Sandbox.at(tmp_path / "s").state()
        assert marked(state.id), "its ZooKeeper"
        process.stderr.close()
        process.terminate()
    assert process.returncode == 0
    assert marked(state.id) == []
    assert Sandbox.at(tmp_path / "s").state().phase is Phase.STOPPED

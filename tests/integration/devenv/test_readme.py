"""The README's commands, as a new user types them: each must be true."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from real_parts import NewSandbox
from shuren.devenv.background import Sandbox

REPOSITORY = Path(__file__).parents[3]
_PATIENCE = 90.0


def blocks(heading: str) -> list[str]:
    """The code blocks under a heading of the README, in order."""
    _, _, rest = (REPOSITORY / "README.md").read_text().partition(f"\n## {heading}\n")
    section = rest.partition("\n## ")[0]
    return [found[1] for found in re.finditer(r"```\w*\n(.*?)```", section, re.DOTALL)]


def run(script: str, *, where: Path, environment: dict[str, str] | None = None) -> str:
    """The script in a shell that stops at the first failure, with the README's program and paths standing where they stand here."""
    program = Path(sys.executable).with_name("shuren")
    text = script.replace(".venv/bin/shuren", str(program)).replace("manifests/base", str(REPOSITORY / "manifests" / "base"))
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=where,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_first_app(tmp_path: Path) -> None:
    up, manifest, use = blocks("First app")
    (tmp_path / "web.yaml").write_text(manifest)
    try:
        said = run(up + use, where=tmp_path)
    finally:
        Sandbox.at(tmp_path / ".sandbox" / "mine").down(print)
    assert "paasapp.paas.shurenyun.com/web condition met" in said
    assert re.search(r"^web +True +2/2 ", said, re.MULTILINE)
    assert "paasapp.paas.shurenyun.com/web scaled" in said
    assert 'paasapp.paas.shurenyun.com "web" deleted' in said


def test_with_your_own_marathon(tmp_path: Path, kube: Sandbox, new_sandbox: NewSandbox) -> None:
    """ "Yours" is the engine of a sandbox, which no cluster resource speaks of."""
    yours = new_sandbox(engines=1, zookeepers=0, kubeconfig=Path(kube.endpoints.kubeconfig)).endpoints
    manifest, commands = blocks("With your own Marathon")
    for pattern, here in (
        (r"urls: \[.*?\]", f"urls: [{', '.join(yours.marathon_urls)}]"),
        (r"masters: \[.*?\]", f"masters: [{yours.mesos_url}]"),
        (r"hosts: \[.*?\]", f"hosts: [{kube.endpoints.zookeeper_hosts}]"),
    ):
        manifest, replaced = re.subn(pattern, here, manifest)
        assert replaced == 1
    (tmp_path / "cluster.yaml").write_text(manifest)
    environment = {
        "KUBECONFIG": str(kube.endpoints.kubeconfig),
        "PATH": f"{kube.endpoints.path_prefix}:{os.environ['PATH']}",
        "SHUREN_METRICS_PORT": "0",
    }
    *setting_up, operator = commands.strip().splitlines()
    assert operator == "KUBECONFIG=operator.kubeconfig .venv/bin/shuren operator"
    # somebody has applied these before, and an apply of somebody else's fields asks for force
    run("\n".join(setting_up).replace("--server-side", "--server-side --force-conflicts"), where=tmp_path, environment=environment)
    settings = {**os.environ, **environment, "KUBECONFIG": str(tmp_path / "operator.kubeconfig")}
    log = tmp_path / "operator.log"
    with log.open("wb") as said, subprocess.Popen([sys.executable, "-m", "shuren.cli", "operator"], env=settings, stderr=said) as process:
        try:
            deadline = time.monotonic() + _PATIENCE
            while "condition met" not in kube.kubectl("wait", "mesoscluster/bj1", "--for=condition=Ready", "--timeout=5s", check=False):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, kube.kubectl("get", "mesoscluster", "-o", "yaml")
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)
            kube.kubectl("delete", "mesoscluster", "bj1")

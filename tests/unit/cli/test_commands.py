"""The command tree as a user meets it, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import shuren


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "shuren.cli", *arguments], capture_output=True, text=True, check=False)


def test_the_version() -> None:
    assert run("version").stdout == f"shuren {shuren.__version__}\n"
    assert run("version", "--short").stdout == f"{shuren.__version__}\n"


def test_only_the_operator_command_loads_kopf() -> None:
    script = "import sys; from shuren.cli.app import app; print(sorted({'kopf', 'httpx', 'kazoo', 'kubernetes'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("command", ["env", "status", "start", "stop", "kill", "logs"])
def test_without_a_sandbox_the_message_says_what_to_do(tmp_path: Path, command: str) -> None:
    part = ["etcd"] if command in {"start", "stop", "kill"} else []
    result = run("sandbox", command, *part, "--state-dir", str(tmp_path / "none"))
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "shuren sandbox up" in result.stderr


def test_down_of_nothing_is_nothing_to_do(tmp_path: Path) -> None:
    result = run("sandbox", "down", "--state-dir", str(tmp_path / "none"))
    assert (result.returncode, result.stderr) == (0, "")


def test_a_wrong_option_names_itself() -> None:
    assert "--runner" in run("sandbox", "up", "--runner", "magic").stderr
    refused = run("sandbox", "up", "--agents", "0")
    assert refused.returncode == 1
    assert refused.stderr.startswith("shuren: --agents 0: between 1 and 250")


def test_a_kubeconfig_that_is_not_there_is_told_before_anything_starts(tmp_path: Path) -> None:
    refused = run("sandbox", "up", "--kubeconfig", str(tmp_path / "none"), "--state-dir", str(tmp_path / "sandbox"))
    assert refused.returncode == 2
    assert "--kubeconfig" in refused.stderr
    assert not (tmp_path / "sandbox").exists()

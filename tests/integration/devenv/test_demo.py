"""The demo's ends; its way is run by `make demo ONCE=1`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shuren.devenv.background import Sandbox
from shuren.devenv.processes import marked
from shuren.devenv.state import Phase


@contextmanager
def demo(tmp_path: Path, path: str = "") -> Iterator[subprocess.Popen[str]]:
    argv = [sys.executable, "-m", "shuren.cli", "demo", "--once", "--state-dir", str(tmp_path / "s")]
    environment = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}"} if path else None
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def test_ctrl_c_on_the_way_leaves_nothing_running(tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        assert process.stdout is not None
        assert any("zookeeper=1 ready" in line for line in process.stdout)
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(timeout=60) == 130
    assert "nothing is left running" in rest
    state = Sandbox.at(tmp_path / "s").state()
    assert state.phase in {Phase.STOPPED, Phase.FAILED}
    assert marked(state.id) == []


def test_a_failure_is_shown_and_is_the_exit_code(tmp_path: Path) -> None:
    broken = tmp_path / "java"
    broken.write_text("#!/bin/sh\necho the disk is on fire\nexit 3\n")
    broken.chmod(0o755)
    with demo(tmp_path, path=str(tmp_path)) as process:
        assert process.stdout is not None
        said = process.stdout.read()
        assert process.wait(timeout=60) == 1
    assert "FAILED: the sandbox did not come up: zookeeper=1 ended while starting" in said
    assert "| the disk is on fire" in said
    assert marked(Sandbox.at(tmp_path / "s").state().id) == []

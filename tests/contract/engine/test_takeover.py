"""Engines come and go, tasks stay: restart, kill -9, standby and shutdown, with real processes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine_process import free_port
from engine_program import Program
from waiting import eventually

pytestmark = pytest.mark.contract


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[Program]]:
    programs: list[Program] = []
    yield programs
    for program in programs:
        program.end()
    for path in tmp_path.glob("agents/**/me"):
        with contextlib.suppress(OSError, ValueError):
            os.kill(int(path.read_text()), signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["term", "kill"])
def test_tasks_outlive_the_engine_and_are_taken_over(tmp_path: Path, started: list[Program], number: signal.Signals) -> None:
    started.append(Program(tmp_path))
    before = started[0].run_two()
    pids = started[0].pids()
    started[0].end(number)
    assert all(map(alive, pids))
    started.append(Program(tmp_path))
    assert started[1].tasks() == before
    assert started[1].pids() == pids
    status, _ = started[1].call("DELETE", "/v2/apps/a")
    assert status == 200
    eventually(lambda: not any(map(alive, pids)))
    eventually(lambda: started[1].call("GET", "/v2/deployments") == (200, []))


def test_a_task_that_ended_meanwhile_is_started_again(tmp_path: Path, started: list[Program]) -> None:
    started.append(Program(tmp_path))
    before = started[0].run_two()
    started[0].end(signal.SIGKILL)
    victim = started[0].pids()[0]
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: not alive(victim))
    started.append(Program(tmp_path))
    eventually(lambda: list(started[1].tasks().values()) == ["TASK_RUNNING"] * 2)
    assert len(before.keys() & started[1].tasks().keys()) == 1


def test_the_standby_forwards_and_takes_over_when_the_leader_dies(tmp_path: Path, started: list[Program]) -> None:
    started.append(Program(tmp_path))
    started.append(Program(tmp_path))
    leader, standby = started
    assert leader.ready.startswith("ready leader ")
    assert standby.ready.startswith("ready standby ")
    before = leader.run_two()
    assert standby.tasks() == before
    assert standby.call("GET", "/v2/leader") == (200, {"leader": f"127.0.0.1:{leader.port}"})
    leader.end(signal.SIGKILL)
    eventually(lambda: standby.tasks() == before)
    assert standby.call("GET", "/v2/leader") == (200, {"leader": f"127.0.0.1:{standby.port}"})
    assert standby.call("PUT", "/v2/apps/a", {"instances": 3})[0] == 200
    eventually(lambda: list(standby.tasks().values()) == ["TASK_RUNNING"] * 3)


def test_abdication_hands_over(tmp_path: Path, started: list[Program]) -> None:
    started.append(Program(tmp_path, "--runner", "simulated"))
    started.append(Program(tmp_path, "--runner", "simulated"))
    first, second = started
    assert first.call("DELETE", "/v2/leader")[1]["message"] == "Leadership abdicated"
    address = f"127.0.0.1:{second.port}"
    eventually(lambda: first.call("GET", "/v2/leader") == (200, {"leader": address}))
    assert second.call("GET", "/v2/info")[1]["elected"] is True


@pytest.mark.parametrize("how", ["flag", "request"])
def test_tasks_can_be_ended_with_the_engine(tmp_path: Path, started: list[Program], how: str) -> None:
    started.append(Program(tmp_path, *(["--kill-tasks-on-exit"] if how == "flag" else [])))
    started[0].run_two()
    pids = started[0].pids()
    if how == "request":
        assert started[0].call("POST", "/sandbox/shutdown", {"tasks": "kill"})[0] == 202
        started[0].process.wait(20)
    started[0].end()
    eventually(lambda: not any(map(alive, pids)))


def test_a_wrong_agents_file_is_refused_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "agents.yaml").write_text("agents:\n- {hostname: 127.0.0.2}\n- {hostname: 127.0.0.3, cpus: -1}\n")
    command = [sys.executable, "-m", "shuren.sandbox", "--state-dir", str(tmp_path / "s"), "--listen", f"127.0.0.1:{free_port()}"]
    done = subprocess.run(
        [*command, "--agents-file", str(tmp_path / "agents.yaml")], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 1
    assert "agents[1].cpus" in done.stderr


def test_what_was_forgotten_on_a_lost_agent_dies_when_it_returns_to_the_next_engine(tmp_path: Path, started: list[Program]) -> None:
    started.append(Program(tmp_path))
    before = started[0].run_two()
    pids = set(started[0].pids())
    assert started[0].call("POST", "/sandbox/agents/127.0.0.1/partition", {})[0] == 200
    eventually(lambda: list(started[0].tasks().values()) == ["TASK_RUNNING"] * 2 and before.keys() != started[0].tasks().keys())
    forgotten = {int(p.read_text()) for p in tmp_path.glob("agents/*-S0/**/me")}
    assert forgotten
    assert forgotten <= pids
    started[0].end(signal.SIGTERM)
    started.append(Program(tmp_path))
    now = started[1].tasks()
    assert all(map(alive, forgotten)), "its agent is still away"
    assert started[1].call("POST", "/sandbox/agents/127.0.0.1/return", {})[0] == 200
    eventually(lambda: not any(map(alive, forgotten)))
    assert started[1].tasks() == now

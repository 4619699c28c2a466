from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

from shuren.devenv.errors import DevenvError
from shuren.devenv.progress import only_one, run_reporting


def test_a_long_command_tells_how_far_it_is() -> None:
    said: list[str] = []
    script = "import sys\nprint('one'); print('two', flush=True)\nsys.stdin.close()\nimport threading; threading.Event().wait(0.3)"
    took = run_reporting(
        [sys.executable, "-c", script], what="building", report=said.append, every=0.1, describe=lambda count, line: f"{count}: {line}"
    )
    assert took >= 0.3
    assert any(line.startswith("  building: 0 s") for line in said)
    assert said[-1].endswith("2: two")


def test_a_short_command_says_nothing() -> None:
    said: list[str] = []
    run_reporting([sys.executable, "-c", "print('done')"], what="building", report=said.append)
    assert said == []


def test_a_failed_command_shows_its_end() -> None:
    with pytest.raises(DevenvError, match="building failed") as caught:
        run_reporting([sys.executable, "-c", "print('out of memory'); raise SystemExit(3)"], what="building", report=print)
    assert "(exit code 3)" in caught.value.message
    assert caught.value.tail == "  | out of memory"


def test_the_second_waits_and_says_for_whom(tmp_path: Path) -> None:
    lock = tmp_path / "locks" / "kube"
    lock.parent.mkdir()
    script = (
        "import fcntl, os, sys\n"
        "f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); f.write(str(os.getpid())); f.flush()\n"
        "print('held', flush=True); input()"
    )
    said: list[str] = []
    with subprocess.Popen([sys.executable, "-c", script, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdout.readline()

        def say_and_let_go(line: str) -> None:
            said.append(line)
            assert holder.stdin is not None
            holder.stdin.write("\n")
            holder.stdin.flush()

        with only_one(lock, what="control plane", report=say_and_let_go), lock.open() as probe:
            with pytest.raises(BlockingIOError):
                fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
            assert said == [f"  control plane: another process (pid {holder.pid}) is at it; waiting"]

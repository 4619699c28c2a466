from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from shuren.devenv.processes import MARK, ProcessId, end_marked, marked
from waiting import eventually

WAIT = [sys.executable, "-c", "print('up', flush=True); input()"]


def child(**environment: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(WAIT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **environment})
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_a_process_is_known_by_more_than_its_pid() -> None:
    with child() as process:
        identity = ProcessId.of(process.pid)
        assert identity is not None
        assert identity.alive()
        reused = ProcessId(pid=identity.pid, started=identity.started + 1)
        assert not reused.alive()
        assert not reused.signal(signal.SIGKILL)
        assert process.poll() is None
        assert identity.signal(signal.SIGKILL)
        eventually(lambda: not identity.alive())  # dead as a zombie too, before anybody has waited for it
    assert not identity.signal(signal.SIGKILL)
    assert ProcessId.of(process.pid) != identity


def test_frozen_is_alive() -> None:
    with child() as process:
        identity = ProcessId.of(process.pid)
        assert identity is not None
        identity.signal(signal.SIGSTOP)
        eventually(identity.frozen)
        assert identity.alive()
        process.kill()


def test_a_process_lives_until_its_last_thread_has_gone() -> None:
    """Killed, threads go one after the other; on a busy machine the first is a zombie while the last still holds the ports."""
    last = "threading.Thread(target=lambda: (sys.stdin.readline(), os._exit(0))).start()"
    script = f"import ctypes, os, sys, threading; {last}; print('up', flush=True); ctypes.CDLL(None).pthread_exit(None)"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        identity = ProcessId.of(process.pid)
        assert identity is not None
        eventually(lambda: ") Z " in Path(f"/proc/{process.pid}/stat").read_text())
        assert identity.alive()
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
        eventually(lambda: not identity.alive())


def test_only_what_carries_the_mark_is_found_and_ended() -> None:
    with child(**{MARK: "test-mark-a"}) as ours, child(**{MARK: "test-mark-ab"}) as similar, child() as stranger:
        assert [process.pid for process in marked("test-mark-a")] == [ours.pid]
        assert end_marked("test-mark-a") == 1
        assert ours.wait(timeout=10) == -signal.SIGKILL
        assert similar.poll() is None
        assert stranger.poll() is None
        similar.kill()
        stranger.kill()


def test_children_of_children_carry_the_mark() -> None:
    grandchild = "subprocess.Popen([sys.executable, '-c', 'input()'], start_new_session=True)"
    script = f"import subprocess, sys; {grandchild}; print('up', flush=True); input()"
    argv = [sys.executable, "-c", script]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, MARK: "test-mark-deep"}) as process:
        assert process.stdout is not None
        process.stdout.readline()
        eventually(lambda: len(marked("test-mark-deep")) == 2)
        assert end_marked("test-mark-deep") == 2
    assert marked("test-mark-deep") == []

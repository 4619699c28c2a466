"""Processes we may end: known by pid *and* start time, or by a mark that only we put into their environment.

A pid alone is no name: after a crash the number may belong to somebody else. Linux only, as the rest of the local environment: facts come
from /proc.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

MARK = "SHUREN_SANDBOX_ID"
"""Environment variable that carries a sandbox' id into everything it starts, tasks of the engine included."""


@dataclass(frozen=True, kw_only=True)
class ProcessId:
    """A process that cannot be mistaken: `started` is its start time in clock ticks since boot (field 22 of /proc/PID/stat)."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        """The identity of a living process; None when there is none."""
        stat = _stat(pid)
        return None if stat is None else cls(pid=pid, started=stat.started)

    def alive(self) -> bool:
        """False when it ended, was reused by another process, or is a zombie.

        Of a process that is killed the first thread may be a zombie while another one has yet to go, and holds its ports open till then.
        """
        stat = _stat(self.pid)
        return stat is not None and stat.started == self.started and (stat.state not in "ZX" or stat.threads > 1)

    def frozen(self) -> bool:
        """Whether it lives but was stopped by a signal (SIGSTOP)."""
        stat = _stat(self.pid)
        return stat is not None and stat.started == self.started and stat.state in "Tt"

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal if it is still the same process; False when it is gone."""
        if not self.alive():
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
            return True
        return False


@dataclass(frozen=True, kw_only=True)
class _Stat:
    state: str
    started: int
    threads: int


def _stat(pid: int) -> _Stat | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(")") + 2 :].split()  # the name in brackets may hold spaces and brackets
    return _Stat(state=fields[0], started=int(fields[19]), threads=int(fields[17]))


def marked(sandbox_id: str) -> list[ProcessId]:
    """All living processes of this user that carry the sandbox' mark."""
    needle = f"{MARK}={sandbox_id}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environment = (entry / "environ").read_bytes()
        except OSError:  # ended meanwhile, or another user's
            continue
        if needle in environment.split(b"\0"):
            identity = ProcessId.of(int(entry.name))
            if identity is not None and identity.alive():
                found.append(identity)
    return found


def end_marked(sandbox_id: str, *, timeout: float = 10.0) -> int:
    """Kill (SIGKILL) what carries the mark and wait until it is gone, repeating for children that were being born. Returns how many."""
    deadline = time.monotonic() + timeout
    ended: set[ProcessId] = set()
    while left := marked(sandbox_id):
        for process in left:
            process.signal(signal.SIGKILL)
        ended.update(left)
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    return len(ended)

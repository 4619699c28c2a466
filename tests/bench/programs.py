"""Child processes whose CPU time and memory are read from /proc: what a bench measures, and what it measures against."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_END_SECONDS = 30.0
SOURCES = Path(__file__).parents[1]


@dataclass(frozen=True)
class Program:
    """A running child."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def cpu(self) -> float:
        """Seconds of CPU used so far, user and system."""
        self._check()
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK

    def memory(self) -> float:
        """Resident memory now, in MB (10^6)."""
        self._check()
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * resource.getpagesize() / 1e6

    def peak(self) -> float:
        """The most resident memory so far, in MB (10^6)."""
        self._check()
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM"))

    def _check(self) -> None:
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.name} has ended with status {self.process.returncode}: {self.tail()}")

    def tail(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-3000:]

    async def until_quiet(self, *, seconds: float = 600.0, idle: float = 0.05, over: float = 1.0) -> float:
        """Wait until it uses less than `idle` of a core for `over` seconds; returns the CPU seconds used by then."""
        deadline = time.monotonic() + seconds
        before = self.cpu()
        while time.monotonic() < deadline:
            await asyncio.sleep(over)
            now = self.cpu()
            if now - before <= idle * over:
                return now
            before = now
        raise TimeoutError(f"{self.name} was not quiet within {seconds:.0f} s")


@contextlib.contextmanager
def program(name: str, command: Sequence[str], *, directory: Path, environment: Mapping[str, str] | None = None) -> Iterator[Program]:
    """Start a child, and end it: SIGTERM, then SIGKILL."""
    log = directory / f"{name}.log"
    given = os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": str(SOURCES)} | dict(environment or {})
    with log.open("ab") as output:
        process = subprocess.Popen([sys.executable, *command], stdout=output, stderr=subprocess.STDOUT, env=given)
    try:
        yield Program(name, process, log)
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END_SECONDS)
        if process.poll() is None:
            process.kill()
            process.wait()

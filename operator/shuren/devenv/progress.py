"""Telling a person what takes long: plain lines, so that logs of a CI read like a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from shuren.devenv.errors import DevenvError

Report = Callable[[str], None]


def to_stderr(line: str) -> None:
    """The report used by commands: a line on standard error, at once.

    A reader that has gone away (a closed terminal, a killed parent) must not keep a sandbox from being taken down.
    """
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def run_reporting(
    argv: Sequence[str],
    *,
    what: str,
    report: Report,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    every: float = 10.0,
    describe: Callable[[int, str], str] = lambda _count, line: line,
) -> float:
    """Run a long command; every `every` seconds report the seconds gone and what `describe` makes of (lines so far, last line).

    Returns its duration in seconds. DevenvError with the end of its output when it fails.
    """
    began = time.monotonic()
    lines: list[str] = []
    with subprocess.Popen(
        argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        output = process.stdout
        assert output is not None  # noqa: S101 - stdout=PIPE
        reader = threading.Thread(target=lambda: lines.extend(line.rstrip() for line in output), daemon=True)
        reader.start()
        try:
            while True:
                try:
                    code = process.wait(timeout=every)
                    break
                except subprocess.TimeoutExpired:
                    last = lines[-1] if lines else ""
                    report(f"  {what}: {time.monotonic() - began:.0f} s  {describe(len(lines), last)}".rstrip())
        except BaseException:
            process.kill()
            raise
        reader.join(timeout=5)
    if code != 0:
        raise DevenvError(f"{what} failed (exit code {code}): {' '.join(argv)}", tail="\n".join(f"  | {line}" for line in lines[-25:]))
    return time.monotonic() - began


@contextmanager
def only_one(lock: Path, *, what: str, report: Report) -> Iterator[None]:
    """Hold a lock file while something expensive is made; says so when another process holds it, and waits for that one."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(handle, 32, 0).decode(errors="replace").strip()
            report(f"  {what}: another process (pid {holder or '?'}) is at it; waiting")
            fcntl.flock(handle, fcntl.LOCK_EX)
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(handle)

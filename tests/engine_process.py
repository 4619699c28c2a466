"""A sandbox engine in a process of its own, on a free port, with its state in a directory of the test."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

START_SECONDS = 30.0


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/ping")
        return connection.getresponse().read() == b"pong"
    except OSError:
        return False
    finally:
        connection.close()


@contextlib.contextmanager
def engine(directory: Path, *flags: str) -> Iterator[str]:
    """Starts the engine, gives its base URL, and ends it with all its tasks."""
    port = free_port()
    log = directory / "engine.log"
    command = [
        sys.executable,
        "-m",
        "shuren.sandbox",
        "--state-dir",
        str(directory / "state"),
        "--listen",
        f"127.0.0.1:{port}",
        "--kill-tasks-on-exit",
        *flags,
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=os.environ | {"PYTHONUNBUFFERED": "1"})
        try:
            deadline = time.monotonic() + START_SECONDS
            while not _answers(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"the engine did not start: {log.read_text(errors='replace')[-2000:]}")
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            if process.poll() is None:
                process.kill()
                process.wait()

"""Engines as programs of which a test kills one and starts another on the same state directory."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from engine_process import free_port
from waiting import eventually


class Program:
    """`python -m shuren.sandbox` on a state directory."""

    def __init__(self, directory: Path, *flags: str) -> None:
        self.port = free_port()
        self.directory = directory
        command = [sys.executable, "-m", "shuren.sandbox", "--state-dir", str(directory), "--listen", f"127.0.0.1:{self.port}", *flags]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.ready = self.process.stdout.readline()

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            raw = answer.read()
        finally:
            connection.close()
        return answer.status, json.loads(raw) if raw[:1] in (b"{", b"[") else raw

    def tasks(self) -> dict[str, str]:
        with contextlib.suppress(OSError):
            status, body = self.call("GET", "/v2/tasks")
            if status == 200:
                return {t["id"]: t["state"] for t in body["tasks"]}
        return {}

    def run_two(self) -> dict[str, str]:
        status, _ = self.call("PUT", "/v2/apps/a", {"cmd": "echo $$ > me; exec sleep 1000", "cpus": 0.1, "mem": 32, "instances": 2})
        assert status == 201
        eventually(lambda: list(self.tasks().values()) == ["TASK_RUNNING"] * 2)
        # a task runs as soon as its shell was begun; on a busy machine it says only later who it is
        eventually(lambda: len(self.pids()) == 2)
        return self.tasks()

    def pids(self) -> list[int]:
        return [int(text) for p in self.directory.glob("agents/**/me") if (text := p.read_text().strip())]

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(20)
        if self.process.stdout is not None:
            self.process.stdout.close()

"""A sandbox whose supervisor runs in the background, as other programs see it: bring up, look at, order about, take down.

Commands, the demo and the tests all go through this. Calls block; from asyncio use `asyncio.to_thread`.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shuren.devenv import orders
from shuren.devenv.errors import DevenvError, log_tail
from shuren.devenv.options import Options
from shuren.devenv.parts import OPERATOR_ACCOUNT, OPERATOR_NAMESPACE
from shuren.devenv.places import StateDir
from shuren.devenv.progress import Report
from shuren.devenv.state import Endpoints, PartState, Phase, SandboxState, read_state
from shuren.devenv.supervisor import alone, clean

OPERATOR_USER = f"system:serviceaccount:{OPERATOR_NAMESPACE}:{OPERATOR_ACCOUNT}"
"""How the API server calls the operator, in its audit log."""

_POLL = 0.05
_LONGEST_EVENT = 1 << 20
"""Bytes that no line of the audit log has."""


@dataclass(frozen=True, kw_only=True)
class Sandbox:
    """A running sandbox, found by its state directory."""

    place: StateDir

    @classmethod
    def at(cls, state_dir: Path) -> Sandbox:
        """The sandbox there, running or not."""
        return cls(place=StateDir.at(state_dir))

    def state(self) -> SandboxState:
        """What its supervisor last wrote; the phase is `failed` when the supervisor is gone without having taken it down."""
        state = read_state(self.place.state)
        if state is None:
            raise DevenvError(f"no sandbox in {self.place.root}: `shuren sandbox up --state-dir {self.place.root}` makes one")
        if state.phase in {Phase.STARTING, Phase.READY, Phase.STOPPING} and not state.supervisor.alive():
            return replace(state, phase=Phase.FAILED, reason="the supervisor was killed; `up` or `down` cleans up")
        return state

    @property
    def endpoints(self) -> Endpoints:
        """How to reach it. DevenvError when it is not up."""
        state = self.state()
        if state.phase is not Phase.READY or state.endpoints is None:
            raise DevenvError(f"the sandbox in {self.place.root} is {state.phase}{': ' + state.reason if state.reason else ''}")
        return state.endpoints

    def part(self, selector: str) -> PartState:
        """The one part that `NAME` or `NAME=N` means (the first of several)."""
        return self.state().select(selector)[0]

    def start(self, selector: str) -> None:
        """Start a part (or all of that name) and wait until it is ready."""
        orders.send(self.place, orders.Order(verb=orders.Verb.START, part=selector))

    def stop(self, selector: str) -> None:
        """SIGTERM a part and wait until it has ended."""
        orders.send(self.place, orders.Order(verb=orders.Verb.STOP, part=selector))

    def kill(self, selector: str) -> None:
        """SIGKILL a part and wait until it has ended."""
        orders.send(self.place, orders.Order(verb=orders.Verb.KILL, part=selector))

    def pause(self, selector: str) -> None:
        """SIGSTOP a part and wait until it is frozen: its connections stay open and nothing answers."""
        self._signal(selector, signal.SIGSTOP)
        while any(part.process.alive() and not part.process.frozen() for part in self.state().select(selector) if part.process is not None):
            time.sleep(_POLL)  # the kernel stops threads one by one

    def resume(self, selector: str) -> None:
        """SIGCONT a part."""
        self._signal(selector, signal.SIGCONT)

    def _signal(self, selector: str, number: signal.Signals) -> None:
        for part in self.state().select(selector):
            if part.process is None or not part.process.signal(number):
                raise DevenvError(f"{part.key} has no process: it is {part.status}")

    def down(self, report: Report, *, timeout: float = 90.0) -> None:
        """End it and everything it started. Also when its supervisor was killed; nothing to do when it is down."""
        state = read_state(self.place.state)
        if state is None:
            return
        if state.phase is not Phase.STOPPED and state.supervisor.alive():
            state.supervisor.signal(signal.SIGTERM)
            _until_unlocked(self.place, timeout)
        with alone(self.place):
            clean(self.place, report)

    def environment(self) -> dict[str, str]:
        """The process environment with what `shuren sandbox env` exports."""
        return {**os.environ, **self.endpoints.exports(os.environ.get("PATH", ""))}

    def kubectl(self, *arguments: str, stdin: str | None = None, as_operator: bool = False, check: bool = True) -> str:
        """Run kubectl against it; returns standard output. DevenvError with its words when it fails and `check` is set."""
        endpoints = self.endpoints
        kubeconfig = endpoints.operator_kubeconfig if as_operator else endpoints.kubeconfig
        argv = [f"{endpoints.path_prefix}/kubectl", f"--kubeconfig={kubeconfig}", f"--cache-dir={self.place.kube / 'cache'}", *arguments]
        result = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)
        if check and result.returncode != 0:
            raise DevenvError(f"kubectl {' '.join(arguments)} failed: {result.stderr.strip()}")
        return result.stdout

    def get(self, *arguments: str) -> dict[str, Any]:
        """`kubectl get … -o json`."""
        found: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "-o", "json"))
        return found

    def apply(self, resource: Mapping[str, Any]) -> str:
        """`kubectl apply -f -` of one object."""
        return self.kubectl("apply", "-f", "-", stdin=json.dumps(resource))

    def audit(self, *, user: str | None = None, since: int = 0) -> list[dict[str, Any]]:
        """The API server's audit events after the place `since` (see `audited`), oldest first; of one user when named (`OPERATOR_USER`)."""
        with self.place.audit_log.open("rb") as log:
            log.seek(since)
            *lines, _ = log.read().split(b"\n")
        if user is not None:  # a log has tens of thousands of lines, and most are somebody else's
            lines = [line for line in lines if user.encode() in line]
        events = [json.loads(line) for line in lines]
        return [event for event in events if user is None or event["user"].get("username") == user]

    def audited(self) -> int:
        """A place in the audit log: after the last event that is there whole."""
        with self.place.audit_log.open("rb") as log:
            end = log.seek(0, os.SEEK_END)
            begin = log.seek(max(0, end - _LONGEST_EVENT))
            return begin + log.read(end - begin).rfind(b"\n") + 1


def up_in_background(options: Options, report: Report) -> Sandbox:
    """Start a supervisor and wait until the sandbox is ready. DevenvError with the reason and the log's tail when it does not get there."""
    place = StateDir.at(options.state_dir)
    with alone(place):
        clean(place, report)
        place.state.unlink(missing_ok=True)
        options.write(place.config)
    log = place.supervisor_log
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "shuren.devenv", str(place.root)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd="/",
        )
    shown = 0
    try:
        while True:
            code = process.poll()
            shown = _show(log, shown, report)
            state = read_state(place.state)
            if state is not None and state.phase is Phase.READY and code is None:
                # The child goes on without us; telling Popen so keeps it from warning about a process it believes forgotten.
                process.returncode = 0
                return Sandbox(place=place)
            if code is not None:
                reason = state.reason if state is not None and state.reason else log_tail(log)
                raise DevenvError(f"the sandbox did not come up: {reason or f'its supervisor ended with exit code {code}'}")
            time.sleep(_POLL)
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise


def _show(log: Path, shown: int, report: Report) -> int:
    with log.open("rb") as file:
        file.seek(shown)
        fresh = file.read()
    whole = fresh[: fresh.rfind(b"\n") + 1]
    for line in whole.decode(errors="replace").splitlines():
        report(line)
    return shown + len(whole)


def _until_unlocked(place: StateDir, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    handle = os.open(place.lock, os.O_RDWR | os.O_CLOEXEC)
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise DevenvError(
                        f"the sandbox in {place.root} did not end within {timeout:.0f} s; see {place.supervisor_log}"
                    ) from None
                time.sleep(_POLL)
            else:
                return
    finally:
        os.close(handle)

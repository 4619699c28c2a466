"""The processes of one sandbox: started, watched, stopped; every change lands in the state file before anybody is told."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace

from shuren.devenv.errors import DevenvError, log_tail
from shuren.devenv.parts import Part
from shuren.devenv.probes import ready
from shuren.devenv.processes import MARK, ProcessId
from shuren.devenv.state import PartState, PartStatus

_POLL = 0.05
"""Seconds between two questions to a part that is starting."""


class Children:
    """Owns the processes. `changed` is called with each new state of a part."""

    def __init__(self, sandbox_id: str, changed: Callable[[PartState], None]) -> None:
        self._id = sandbox_id
        self._changed = changed
        self._parts: dict[str, Part] = {}
        self._states: dict[str, PartState] = {}
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._watchers: dict[str, asyncio.Task[None]] = {}
        self._asked: dict[str, PartStatus] = {}

    def add(self, part: Part) -> None:
        """Make a part known without starting it, so that it can be named by commands."""
        self._parts[part.key] = part
        self._set(PartState(name=part.name, index=part.index, status=PartStatus.PENDING, log=str(part.log), ports=dict(part.ports)))

    def part(self, key: str) -> Part:
        """The part of that key."""
        return self._parts[key]

    async def start(self, part: Part) -> None:
        """Start and wait until ready; nothing to do when it runs. DevenvError with the log's tail when it ends or does not get ready."""
        if part.key not in self._parts:
            self.add(part)
        if part.key in self._processes:
            return
        self._asked.pop(part.key, None)
        part.log.parent.mkdir(parents=True, exist_ok=True)
        with part.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *part.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=part.cwd or part.log.parent,
                env={**os.environ, **part.env, MARK: self._id},
                start_new_session=True,  # a Ctrl-C in the terminal reaches the supervisor only, which stops parts in order
            )
        self._processes[part.key] = process
        self._update(part.key, status=PartStatus.STARTING, process=ProcessId.of(process.pid), detail="")
        self._watchers[part.key] = asyncio.create_task(self._watch(part.key, process), name=f"watch {part.key}")
        await self._until_ready(part, process)
        self._update(part.key, status=PartStatus.RUNNING)

    async def stop(self, key: str) -> None:
        """SIGTERM and wait; SIGKILL after the part's `stop_seconds`. Nothing to do when it does not run."""
        await self._end(key, signal.SIGTERM, PartStatus.STOPPED)

    async def kill(self, key: str) -> None:
        """SIGKILL and wait: the part has no chance to tidy up."""
        await self._end(key, signal.SIGKILL, PartStatus.KILLED)

    async def end_all(self, order: list[str]) -> None:
        """Stop the parts named so, in that order, parts of the same name together; then kill all others."""
        for name in order:
            await asyncio.gather(*(self.stop(key) for key, part in self._parts.items() if part.name == name))
        await asyncio.gather(*(self.kill(key) for key in self._parts))

    def running(self, key: str) -> bool:
        """Whether it has a process."""
        return key in self._processes

    async def _end(self, key: str, number: signal.Signals, status: PartStatus) -> None:
        process, watcher = self._processes.get(key), self._watchers.get(key)
        if process is None or watcher is None:
            return
        self._asked[key] = status
        self._send(process, number)
        part = self._parts[key]
        try:
            await asyncio.wait_for(asyncio.shield(watcher), part.stop_seconds)
        except TimeoutError:
            self._asked[key] = PartStatus.KILLED
            self._send(process, signal.SIGKILL)
            await watcher
            self._update(key, detail=f"did not end within {part.stop_seconds:.0f} s of SIGTERM and was killed")

    @staticmethod
    def _send(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
        if process.returncode is None:
            process.send_signal(number)
            if number is signal.SIGTERM:
                process.send_signal(signal.SIGCONT)  # a part stopped by SIGSTOP would never see SIGTERM

    async def _watch(self, key: str, process: asyncio.subprocess.Process) -> None:
        code = await process.wait()
        del self._processes[key]
        asked = self._asked.pop(key, None)
        if asked is None:
            self._update(key, status=PartStatus.EXITED, process=None, detail=_how(code))
        else:
            self._update(key, status=asked, process=None, detail="")

    async def _until_ready(self, part: Part, process: asyncio.subprocess.Process) -> None:
        deadline = time.monotonic() + part.ready_seconds
        while True:
            why = await ready(part.probe)
            if process.returncode is not None or part.key not in self._processes:
                raise DevenvError(f"{part.key} ended while starting ({_how(process.returncode)})", tail=log_tail(part.log))
            if why is None:
                return
            if time.monotonic() > deadline:
                raise DevenvError(f"{part.key} was not ready after {part.ready_seconds:.0f} s: {why}", tail=log_tail(part.log))
            await asyncio.sleep(_POLL)

    def _update(
        self, key: str, *, status: PartStatus | None = None, process: ProcessId | str | None = "keep", detail: str | None = None
    ) -> None:
        state = self._states[key]
        if status is not None:
            state = replace(state, status=status)
        if not isinstance(process, str):
            state = replace(state, process=process)
        if detail is not None:
            state = replace(state, detail=detail)
        self._set(state)

    def _set(self, state: PartState) -> None:
        self._states[state.key] = state
        self._changed(state)


def _how(code: int | None) -> str:
    if code is None:
        return "no exit code"
    if code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"

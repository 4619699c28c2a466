"""HAProxy as a program: checked, started, watched.

It is started in a session of its own, with its output in a file: it goes on when the agent ends, however the agent ends, and the next agent
attaches to it. Nobody waits for it; its end is heard through a pidfd, whether it is our child or not.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from shuren.clients.haproxy.master import Master
from shuren.domain.errors import Invalid, ShurenError, Unreachable
from shuren.edge.lb.disk import StateDirectory

log = logging.getLogger(__name__)

MINIMUM = (2, 6)
_CHECK_SECONDS = 120.0
_START_SECONDS = 60.0
_MAX_LOG = 16 << 20
"""Bytes of HAProxy's own output that are kept."""


class Program(Protocol):
    """HAProxy as the agent sees it from outside."""

    async def version(self) -> str:
        """Such as 2.6.12. Invalid when there is none or it is too old."""

    async def validate(self, configuration: Path) -> str:
        """What HAProxy has against a configuration; empty when it would start by it."""

    async def start(self) -> None:
        """Start it with the configuration in use, and wait until it serves. Unreachable when it does not."""

    async def stop(self, *, within: float) -> None:
        """Let it finish what it has, and end it."""

    def watch(self, pid: int, ended: Callable[[], None]) -> Callable[[], None]:
        """Call `ended` when the process is gone, at once when it is already. Returns a function that ends the watch."""


class HAProxyProgram:
    """The real one. `name` is found in the PATH, or is a path."""

    def __init__(self, name: str, disk: StateDirectory) -> None:
        self._name = name
        self._disk = disk
        self._path = ""

    async def version(self) -> str:
        """See the protocol."""
        self._path = shutil.which(self._name) or ""
        if not self._path:
            raise Invalid(f"there is no HAProxy: {self._name!r} is not in the PATH (apt-get install haproxy, or --haproxy PATH)")
        _, output = await self._run("-v")
        match = re.search(r"version (\d+)\.(\d+)[.\d]*", output)
        if match is None:
            raise Invalid(f"{self._path} is no HAProxy: {output[:200]!r}")
        if (int(match[1]), int(match[2])) < MINIMUM:
            raise Invalid(
                f"{self._path} is {match[0]}; {MINIMUM[0]}.{MINIMUM[1]} or newer is needed: servers cannot be added at run time before"
            )
        return match[0].removeprefix("version ")

    async def validate(self, configuration: Path) -> str:
        """See the protocol."""
        status, output = await self._run("-c", "-f", str(configuration))
        return output or f"haproxy -c ended with {status} and said nothing" if status else ""

    async def _run(self, *arguments: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            self._path,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                output, _ = await process.communicate()
        except TimeoutError as error:
            raise Unreachable(f"{self._path} {' '.join(arguments)} did not end within {_CHECK_SECONDS:.0f} s") from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return process.returncode or 0, output.decode(errors="replace")

    async def start(self) -> None:
        """See the protocol."""
        self._shorten_log()
        began = self._disk.log.stat().st_size if self._disk.log.exists() else 0
        pid = self._spawn()
        log.info("HAProxy started as process %d", pid)
        try:
            async with asyncio.timeout(_START_SECONDS):
                await self._serving(pid)
        except TimeoutError as error:
            raise Unreachable(f"HAProxy does not serve {_START_SECONDS:.0f} s after its start: {self._said(began)}") from error
        except ProcessLookupError as error:
            raise Unreachable(f"HAProxy ended at once: {self._said(began)}") from error

    def _spawn(self) -> int:
        # quiet: otherwise it writes a line of every server that changes, while it changes it
        arguments = [self._path, "-W", "-q", "-S", f"{self._disk.master_socket},mode,600", "-f", str(self._disk.configuration)]
        handle = os.open(self._disk.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            return os.posix_spawn(
                self._path,
                arguments,
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, handle, 1),
                    (os.POSIX_SPAWN_DUP2, handle, 2),
                ],
                setsid=True,
            )
        finally:
            os.close(handle)

    async def _serving(self, pid: int) -> None:
        master = Master(self._disk.master_socket, patience=0.0)
        while True:
            if not is_running(pid):
                raise ProcessLookupError(pid)
            with contextlib.suppress(ShurenError):
                found = await master.processes()
                if found.master == pid and found.workers and self._disk.api_socket.exists():
                    return
            await asyncio.sleep(0.02)

    def _said(self, since: int) -> str:
        with contextlib.suppress(OSError), self._disk.log.open("rb") as file:
            file.seek(since)
            lines = file.read(1 << 16).decode(errors="replace").splitlines()
            return "; ".join(line for line in lines if "[ALERT]" in line) or "; ".join(lines[-3:])
        return ""

    def _shorten_log(self) -> None:
        """It is open for appending, so that it may be cut under HAProxy."""
        with contextlib.suppress(FileNotFoundError):
            if self._disk.log.stat().st_size > _MAX_LOG:
                os.truncate(self._disk.log, 0)

    async def stop(self, *, within: float) -> None:
        """See the protocol. SIGUSR1: listeners close, what is under way goes on; after `within` seconds SIGTERM."""
        try:
            master = (await Master(self._disk.master_socket, patience=0.0).processes()).master
        except ShurenError:
            return
        ended = asyncio.Event()
        unwatch = self.watch(master, ended.set)
        try:
            for number in (signal.SIGUSR1, signal.SIGTERM):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(master, number)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(within):
                        await ended.wait()
                        return
        finally:
            unwatch()

    def watch(self, pid: int, ended: Callable[[], None]) -> Callable[[], None]:
        """See the protocol."""
        loop = asyncio.get_running_loop()
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            loop.call_soon(ended)
            return lambda: None

        def unwatch() -> None:
            nonlocal handle
            if handle >= 0:
                loop.remove_reader(handle)
                os.close(handle)
                handle = -1

        def gone() -> None:
            unwatch()
            is_running(pid)  # takes its exit status, if it was our child
            ended()

        loop.add_reader(handle, gone)
        return unwatch


def is_running(pid: int) -> bool:
    """Whether a process is there; one of our children that has ended is reaped."""
    with contextlib.suppress(ChildProcessError):
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

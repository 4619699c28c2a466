"""The process that owns a sandbox: brings it up, takes orders, takes it down, and leaves nothing behind.

It holds a lock for as long as it lives. Whoever finds a state file without that lock knows that the supervisor was killed, and may end what
carries the sandbox' mark (`clean`).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from shuren.devenv import orders
from shuren.devenv.bringup import STOP_ORDER, Bringup
from shuren.devenv.children import Children
from shuren.devenv.errors import DevenvError
from shuren.devenv.options import Options
from shuren.devenv.places import StateDir
from shuren.devenv.ports import Reservations
from shuren.devenv.processes import ProcessId, end_marked
from shuren.devenv.progress import Report
from shuren.devenv.state import Endpoints, PartState, Phase, SandboxState, read_state, write_state

_LETTING_GO = 5.0
"""Seconds: a killed process counts as dead when its main thread is, but its lock goes with its last thread."""


@contextmanager
def alone(place: StateDir) -> Iterator[None]:
    """Hold the sandbox' lock. DevenvError when a supervisor is already at work there."""
    place.claim()
    handle = os.open(place.lock, os.O_RDWR | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + _LETTING_GO
        while not _locked(handle):
            state = read_state(place.state)
            if time.monotonic() > deadline or (state is not None and state.supervisor.alive()):
                raise DevenvError(f"a sandbox is already running in {place.root}: `shuren sandbox down --state-dir {place.root}` ends it")
            time.sleep(0.02)
        yield
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def clean(place: StateDir, report: Report) -> None:
    """End what a killed supervisor left running. Call it with the lock held."""
    state = read_state(place.state)
    if state is None or state.phase is Phase.STOPPED:
        return
    ended = end_marked(state.id)
    if ended:
        report(f"  ended {ended} processes that an earlier sandbox in {place.root} had left")
    parts = tuple(replace(part, process=None) for part in state.parts)
    write_state(place.state, replace(state, phase=Phase.STOPPED, reason="the supervisor was killed", parts=parts))


class Supervisor:
    """One sandbox from `up` to `down`."""

    def __init__(self, options: Options, report: Report, *, on_ready: Callable[[], None] = lambda: None) -> None:
        """`on_ready` is called once, when orders are taken and the state file says so."""
        self._on_ready = on_ready
        self._place = StateDir.at(options.state_dir)
        self._options = options
        self._report = report
        me = ProcessId.of(os.getpid())
        assert me is not None  # noqa: S101 - we are alive
        self._state = SandboxState(id=uuid.uuid4().hex, phase=Phase.STARTING, supervisor=me)
        self._children = Children(self._state.id, self._part_changed)
        self._end = asyncio.Event()

    async def run(self) -> None:
        """Up, serve until told to end, down. DevenvError when it cannot come up; everything started is ended then too."""
        with alone(self._place), Reservations() as reservations:
            clean(self._place, self._report)
            for entry in self._place.own_entries():
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink(missing_ok=True)
            self._write(self._state)
            bringup = Bringup(
                place=self._place, options=self._options, reservations=reservations, children=self._children, report=self._report
            )
            loop = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                loop.add_signal_handler(number, self._end.set)
            try:
                with self._owner_watched():
                    endpoints = await self._unless_ended(bringup)
                    if endpoints is not None:
                        async with orders.serve(self._place, self._obey):
                            self._write(replace(self._state, phase=Phase.READY, endpoints=endpoints))
                            self._on_ready()
                            await self._end.wait()
            except DevenvError as error:
                self._write(replace(self._state, phase=Phase.FAILED, reason=str(error)))
                raise
            finally:
                await self._down()

    async def _unless_ended(self, bringup: Bringup) -> Endpoints | None:
        """Bring up, or give up when the end is asked for meanwhile (None)."""
        coming, ending = asyncio.create_task(bringup.run()), asyncio.create_task(self._end.wait())
        try:
            await asyncio.wait({coming, ending}, return_when=asyncio.FIRST_COMPLETED)
            return coming.result() if coming.done() else None
        finally:
            for task in (coming, ending):
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError, DevenvError):
                await coming

    async def _down(self) -> None:
        self._report("stopping")
        failed = self._state.phase is Phase.FAILED
        if not failed:
            self._write(replace(self._state, phase=Phase.STOPPING))
        for part in self._state.parts:
            if part.name == "engine" and self._children.running(part.key):
                await _end_tasks(part.ports["marathon"])
        await self._children.end_all(STOP_ORDER)
        # Tasks outlive their engine by design; and a part may have left a child of its own.
        await asyncio.to_thread(end_marked, self._state.id)
        if not failed:
            self._write(replace(self._state, phase=Phase.STOPPED))

    @contextmanager
    def _owner_watched(self) -> Iterator[None]:
        """End when the owner ends, however it ends: a killed test run leaves no API server behind."""
        owner = self._options.owner
        if owner is None:
            yield
            return
        try:
            handle = os.pidfd_open(owner.pid)
        except ProcessLookupError:
            self._end.set()
            yield
            return
        loop = asyncio.get_running_loop()
        loop.add_reader(handle, self._end.set)
        if not owner.alive():
            self._end.set()
        try:
            yield
        finally:
            loop.remove_reader(handle)
            os.close(handle)

    async def _obey(self, order: orders.Order) -> None:
        match order.verb:
            case orders.Verb.DOWN:
                self._end.set()
            case orders.Verb.START:
                await self._each(order, self._start)
            case orders.Verb.STOP:
                await self._each(order, self._children.stop)
            case orders.Verb.KILL:
                await self._each(order, self._children.kill)

    async def _each(self, order: orders.Order, act: orders.Act) -> None:
        async with asyncio.TaskGroup() as group:
            for part in self._state.select(order.part):
                group.create_task(act(part.key))

    async def _start(self, key: str) -> None:
        await self._children.start(self._children.part(key))

    def _part_changed(self, part: PartState) -> None:
        self._write(self._state.with_part(part))

    def _write(self, state: SandboxState) -> None:
        self._state = state
        write_state(self._place.state, state)


async def _end_tasks(port: int) -> None:
    """Ask the engine to end its tasks in good order; what it does not end is ended by its mark."""
    url = f"http://127.0.0.1:{port}/sandbox/shutdown"
    import aiohttp  # noqa: PLC0415 - as in `probes`

    with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session, session.post(url, json={"tasks": "kill"}):
            pass

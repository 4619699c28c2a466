"""`shuren exec`: a command beside a running task, through the Mesos agent."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import termios
import threading
import tty as terminals
from typing import TYPE_CHECKING, Annotated

import typer

from shuren.cli import options
from shuren.cli.exits import Exit, Failed, fail, run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from shuren.cli.session import Where
    from shuren.clients.mesos.sandboxes import Sandbox
    from shuren.clients.mesos.sessions import Input, Sessions, Written

_PIECE = 4096
_FIRST = asyncio.FIRST_COMPLETED


def exec_(
    target: Annotated[str, typer.Argument(metavar="APP|TASK", help="A PaasApp (its first task), or the id of one task.")],
    command: Annotated[list[str] | None, typer.Argument(metavar="-- COMMAND…", help="What to run there.")] = None,
    *,
    stdin: Annotated[bool, typer.Option("--stdin", "-i", help="Pass standard input on.")] = False,
    tty: Annotated[bool, typer.Option("--tty", "-t", help="Give it a terminal.")] = False,
    kubeconfig: options.Kubeconfig = "",
    context: options.Context = "",
    namespace: options.Namespace = "",
) -> None:
    """Run a command beside a task, in its container: its directory, environment and user. The exit status is the command's own.

    Through the Mesos agent, which does that for tasks of Mesos' own containerizer; for Docker's use `docker exec` on the agent.
    """
    from shuren.cli.session import Where  # noqa: PLC0415 - what only this command needs

    if not command:
        raise fail(f"name a command: shuren exec {target} -- ps aux", code=Exit.USAGE)
    if tty and not (stdin and sys.stdin.isatty()):
        raise fail("--tty needs --stdin, and a terminal on standard input; leave it out in scripts", code=Exit.USAGE)
    where = Where(kubeconfig=kubeconfig, context=context, namespace=namespace)
    status = run(_exec(where, target, command, stdin=stdin, tty=tty))
    if status:
        raise typer.Exit(status)


async def _exec(where: Where, target: str, command: Sequence[str], *, stdin: bool, tty: bool) -> int:
    from shuren.cli.live import clusters_of, connected, read_kubernetes  # noqa: PLC0415
    from shuren.cli.session import session  # noqa: PLC0415
    from shuren.cli.tasks import sandboxes_of, tasks_of  # noqa: PLC0415
    from shuren.domain.errors import Denied, Invalid  # noqa: PLC0415
    from shuren.ports.kubernetes import PAAS_APPS  # noqa: PLC0415

    async with session(where) as connection:
        store, _ = await read_kubernetes(connection, namespaces={connection.namespace})
        keys = [key for key in store.keys(PAAS_APPS.kind) if key.namespace == connection.namespace]
        async with connected(connection, store, clusters=clusters_of(store, keys), given={}) as world:
            name, tasks = tasks_of(target, store, world, keys)
            sandboxes, open_sessions = sandboxes_of(world, name), world.reached[name].parts.sessions
            assert open_sessions is not None  # noqa: S101 - as sandboxes are
            task, agent = min(tasks)
            if len(tasks) > 1:
                typer.echo(f"shuren: in {task}, one of {len(tasks)} tasks", err=True)
            sandbox = await sandboxes.find(task, agent=agent)
            sessions = open_sessions()
            try:
                return await _through(sessions, sandbox, command, stdin=stdin, tty=tty)
            except Denied as error:
                raise Failed(
                    f"{error}; the user in spec.mesos.authSecretRef of MesosCluster {name} needs Mesos' right "
                    "launch_nested_container_sessions"
                ) from error
            except Invalid as error:
                words = " ".join(command)
                raise Failed(f"{error}; if it is one of Docker's, log in to the agent and use: docker exec CONTAINER {words}") from error
            finally:
                await sessions.close()


async def _through(sessions: Sessions, sandbox: Sandbox, command: Sequence[str], *, stdin: bool, tty: bool) -> int:
    async with sessions.run(sandbox, command, tty=tty) as (session, written):
        with _raw() if tty else contextlib.nullcontext():
            printing = asyncio.ensure_future(_print(written))
            feeding = asyncio.ensure_future(sessions.feed(session, _given(tty=tty))) if stdin else None
            try:
                # without its input a command might wait for ever
                if feeding is not None and printing not in (await asyncio.wait({printing, feeding}, return_when=_FIRST))[0]:
                    await feeding
                await printing
            finally:
                for job in (printing, feeding):
                    if job is not None:
                        job.cancel()
                        await asyncio.gather(job, return_exceptions=True)
        return await sessions.status(session)


async def _print(written: Written) -> None:
    from shuren.clients.mesos.sessions import Stream  # noqa: PLC0415

    async for stream, data in written:
        out = sys.stdout.buffer if stream is Stream.OUT else sys.stderr.buffer
        out.write(data)
        out.flush()


@contextlib.contextmanager
def _raw() -> Iterator[None]:
    """Every key goes to the command as it is, Ctrl-C too."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    terminals.setraw(descriptor, termios.TCSANOW)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSAFLUSH, before)


async def _given(*, tty: bool) -> AsyncIterator[Input]:
    """Standard input piece by piece and, with a terminal, its size at first and whenever it changes."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Input | None] = asyncio.Queue()

    def read() -> None:
        # a thread that nobody waits for at the end: a read of a terminal or pipe cannot be called back
        with contextlib.suppress(OSError, RuntimeError):
            while data := os.read(sys.stdin.fileno(), _PIECE):
                loop.call_soon_threadsafe(queue.put_nowait, data)
            loop.call_soon_threadsafe(queue.put_nowait, None)

    if tty:
        loop.add_signal_handler(signal.SIGWINCH, lambda: queue.put_nowait(_size()))
        queue.put_nowait(_size())
    threading.Thread(target=read, daemon=True).start()
    try:
        while (one := await queue.get()) is not None:
            yield one
        yield b""
    finally:
        if tty:
            loop.remove_signal_handler(signal.SIGWINCH)


def _size() -> Input:
    from shuren.clients.mesos.sessions import Size  # noqa: PLC0415

    found = os.get_terminal_size(sys.stdin.fileno())
    return Size(rows=found.lines, columns=found.columns)

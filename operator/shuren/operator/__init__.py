"""The kopf shell and composition root: the only room that imports kopf.

`shuren operator` runs the process itself, with kopf (or our own watch) as its source of events; `kopf run -m shuren.operator` lets kopf run
the process, with the same parts inside. Without kopf as the source kopf is not even loaded, which saves a quarter of the memory.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence

from shuren.clients import coredumps
from shuren.clients.clock import SystemClock
from shuren.clients.kubernetes.client import KubernetesClient
from shuren.clients.kubernetes.config import Access
from shuren.clients.kubernetes.config import from_environment as access_from_environment
from shuren.domain.errors import ShurenError
from shuren.operator import logs
from shuren.operator.application import KINDS, Application, MakeSource, Surroundings
from shuren.operator.preflight import check_kinds, installation
from shuren.operator.settings import Settings, from_environment

__all__ = ["prepare", "run"]


def run(argv: Sequence[str] = ()) -> int:
    """Run one operator until SIGTERM or SIGINT. Returns the exit status: 0, or 1 with one sentence on standard error."""
    if argv:
        sys.stderr.write(f"shuren operator takes no arguments, its settings come from the environment: {' '.join(argv)}\n")
        return 2
    try:
        settings = from_environment()
        logs.set_up(settings.log_format, settings.log_level)
        asyncio.run(_run(settings))
    except ShurenError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


async def prepare(settings: Settings, access: Access, *, make_source: MakeSource | None = None) -> Application:
    """Look around and build the application. Invalid, Denied or Unreachable say why it cannot work here."""
    coredumps.refuse()
    clock = SystemClock()
    kubernetes = KubernetesClient(access, connections=2)
    try:
        await check_kinds(kubernetes, KINDS, settings, clock)
        name = await installation(kubernetes, settings)
    finally:
        await kubernetes.close()
    surroundings = Surroundings(access=access, clock=clock, installation=name)
    return Application(settings=settings, surroundings=surroundings, make_source=make_source)


async def _run(settings: Settings) -> None:
    application = await prepare(settings, access_from_environment(os.environ))
    work = asyncio.ensure_future(application.run())
    loop = asyncio.get_running_loop()

    def ask() -> None:
        """An orderly end at the first signal, a quick one at the second."""
        if application.asked_to_stop:
            work.cancel()
        application.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ask)
    try:
        await work
    except asyncio.CancelledError:
        if not application.asked_to_stop:
            raise


if "kopf" in sys.modules:  # `kopf run` has loaded kopf before it loads us, and wants its handlers now
    from shuren.operator import shell

    shell.register(prepare)

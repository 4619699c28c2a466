"""`python -m shuren.sandbox`: one engine, serving until SIGTERM. Tasks go on running and are taken over by the next start."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from shuren.sandbox.agents.registry import wanted_specs
from shuren.sandbox.contract import Settings
from shuren.sandbox.engine.live import Engine
from shuren.sandbox.http.app import build_app
from shuren.sandbox.http.connection import listening
from shuren.sandbox.mesos.app import serve_mesos
from shuren.sandbox.runners.choose import RunnerKind, make_runner
from shuren.sandbox.runners.docker import require

if TYPE_CHECKING:
    from collections.abc import Sequence

CREDENTIALS = "MESOSPHERE_HTTP_CREDENTIALS"
_COST = "make root updates cost what they cost on a real Marathon 1.11 (7 ms + 22 us per app)"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m shuren.sandbox", description=__doc__)
    made.add_argument("--state-dir", type=Path, required=True, help="everything the engine keeps; a second engine on it stands by")
    made.add_argument("--listen", required=True, metavar="HOST:PORT", help="Marathon's API")
    made.add_argument("--mesos-listen", metavar="HOST:PORT", help="the Mesos master's API")
    made.add_argument("--agents", type=int, metavar="N", help="N equal agents, 127.0.0.1 and up (default 2)")
    made.add_argument("--agents-file", type=Path, metavar="FILE", help="agents from YAML or JSON; only a fresh state directory reads it")
    made.add_argument(
        "--runner", type=RunnerKind, choices=list(RunnerKind), default=RunnerKind.PROCESS, help="process, docker or simulated"
    )
    made.add_argument("--docker-socket", default="/var/run/docker.sock", help="for --runner docker")
    made.add_argument("--ha-peer", action="append", metavar="URL", help="accepted, not needed: engines meet in the state directory")
    made.add_argument("--charge-write-cost", action="store_true", help=_COST)
    made.add_argument("--kill-tasks-on-exit", action="store_true", help="end all tasks when the engine ends")
    made.add_argument("--log-level", default="warning")
    settings = made.add_argument_group("as Marathon's own flags")
    for item in dataclasses.fields(Settings):
        flag = "--" + item.name.replace("_", "-")
        if item.name == "features":
            settings.add_argument(flag, default="", metavar="A,B", help="enabled features, comma separated")
        elif item.name == "http_credentials":
            given = os.environ.get(CREDENTIALS)
            settings.add_argument(flag, default=given, metavar="USER:PASSWORD", help=f"basic authentication (default ${CREDENTIALS})")
        elif item.name == "new_group_enforce_role":
            settings.add_argument(
                flag, choices=("off", "top"), default=item.default, help=f"of new top-level groups (default {item.default})"
            )
        else:
            kind = type(item.default) if item.default is not None else str
            settings.add_argument(flag, type=kind, default=item.default, help=f"default {item.default}")
    return made


def settings_of(options: argparse.Namespace) -> Settings:
    """The part of the options that answers depend on."""
    values = {item.name: getattr(options, item.name) for item in dataclasses.fields(Settings)}
    values["features"] = frozenset(filter(None, (f.strip() for f in values["features"].split(","))))
    return Settings(**values)


def split(address: str) -> tuple[str, int]:
    """`host:port`."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise SystemExit(f"{address}: host:port is wanted, such as 127.0.0.1:8080")
    return host, int(port)


async def serve(options: argparse.Namespace) -> None:
    """Runs until told to stop."""
    host, port = split(options.listen)
    if options.runner is RunnerKind.DOCKER:
        await require(options.docker_socket)
    options.state_dir.mkdir(parents=True, exist_ok=True)
    engine = Engine(
        directory=options.state_dir.resolve(),
        address=options.listen,
        settings=settings_of(options),
        runner=lambda clock: make_runner(options.runner, clock, docker_socket=options.docker_socket),
        agents=wanted_specs(count=options.agents, file=options.agents_file),
        charge_write_cost=options.charge_write_cost,
        mesos_url=None if options.mesos_listen is None else f"http://{options.mesos_listen}/",
    )
    engine.kill_tasks_on_exit = options.kill_tasks_on_exit
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, engine.stopping.set)
    app = build_app(engine, address=options.listen)
    app.middlewares.insert(0, engine.faults.middleware)
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(listening(app, host, port))
        await engine.start()
        if options.mesos_listen is not None:
            mesos = await serve_mesos(engine, *split(options.mesos_listen))
            stack.push_async_callback(mesos.cleanup)
        role = "leader" if engine.is_leader() else "standby"
        print(f"ready {role} http://{options.listen}", flush=True)  # noqa: T201 - what starts this program waits for it
        await engine.stopping.wait()
        await engine.close(kill_tasks=engine.kill_tasks_on_exit)


def main(arguments: Sequence[str] | None = None) -> int:
    """The program."""
    options = parser().parse_args(arguments)
    logging.basicConfig(level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        asyncio.run(serve(options))
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - a program's message
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

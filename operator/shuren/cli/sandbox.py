"""`shuren sandbox …`: a real control plane, ZooKeeper, the Marathon-compatible engine and the operator on this machine."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import shutil
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from shuren.devenv.background import Sandbox, up_in_background
from shuren.devenv.errors import log_tail
from shuren.devenv.options import Options, Runner
from shuren.devenv.places import default_state_dir
from shuren.devenv.progress import to_stderr
from shuren.devenv.state import PartState, PartStatus, Phase, SandboxState
from shuren.devenv.supervisor import Supervisor

app = typer.Typer(
    no_args_is_help=True,
    help="Real API server, ZooKeeper, Marathon-compatible engine and operator on this machine, for trying and testing.",
)

StateDirOption = Annotated[
    Path,
    typer.Option("--state-dir", help="Directory of the sandbox: $SHUREN_STATE_DIR, else .sandbox.", default_factory=default_state_dir),
]
PartArgument = Annotated[
    str,
    typer.Argument(
        metavar="PART[=N]",
        help="etcd, apiserver, controller-manager, zookeeper, engine, operator or lb; =N for one of several, counted from 1.",
    ),
]

_ALIASES = {
    "kube-apiserver": "apiserver",
    "kube-controller-manager": "controller-manager",
    "marathon": "engine",
    "mesos": "engine",
    "zk": "zookeeper",
}


class Output(StrEnum):
    """How `status` prints."""

    TABLE = "table"
    JSON = "json"


@app.command()
def up(
    state_dir: StateDirOption,
    *,
    detach: Annotated[bool, typer.Option("--detach", help="Return when ready and leave it running.")] = False,
    agents: Annotated[int, typer.Option(help="Virtual Mesos agents.")] = 3,
    runner: Annotated[Runner, typer.Option(help="How tasks run.")] = Runner.PROCESS,
    operators: Annotated[int, typer.Option(help="Replicas of the operator.")] = 1,
    no_operator: Annotated[bool, typer.Option("--no-operator", help="The same as --operators 0.")] = False,
    zookeepers: Annotated[int, typer.Option(help="ZooKeeper servers: 1, 3 for an ensemble, 0 for none.")] = 1,
    engines: Annotated[int, typer.Option(help="Engines: 1, 2 for a leader and a standby, 0 for none.")] = 1,
    load_balancers: Annotated[int, typer.Option(help="Load balancers: `shuren lb`, each with a HAProxy.")] = 0,
    bare: Annotated[bool, typer.Option("--bare", help="Apply nothing of the product: you install its chart or manifests.")] = False,
    engine_argument: Annotated[list[str] | None, typer.Option(help="Passed on to the engine; may be repeated.")] = None,
    kubeconfig: Annotated[
        Path | None,
        typer.Option(
            help="Use this cluster instead of an own control plane. KUBECONFIG in the environment is never used.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
) -> None:
    """Bring a sandbox up: CRDs and rights applied, a MesosCluster named `sandbox` connected. Stays in the foreground until Ctrl-C."""
    options = Options(
        state_dir=state_dir.absolute(),
        agents=agents,
        runner=runner,
        operators=0 if no_operator else operators,
        zookeepers=zookeepers,
        engines=engines,
        load_balancers=load_balancers,
        engine_arguments=tuple(engine_argument or ()),
        kubeconfig=kubeconfig.absolute() if kubeconfig else None,
        bare=bare,
    )
    hint = f'eval "$({_program()} sandbox env --state-dir {shlex.quote(str(state_dir))})"'
    if detach:
        up_in_background(options, to_stderr)
        to_stderr(hint)
        return

    def on_ready() -> None:
        to_stderr(f"in another shell: {hint}; Ctrl-C ends the sandbox")

    asyncio.run(Supervisor(options, to_stderr, on_ready=on_ready).run())


def _program() -> str:
    """This very program as it can be typed here: its name alone only where the PATH leads to it."""
    own = Path(sys.executable).with_name("shuren")
    found = shutil.which("shuren")
    if found is not None and own.exists() and own.samefile(found):
        return "shuren"
    return shlex.quote(str(own.relative_to(Path.cwd()) if own.is_relative_to(Path.cwd()) else own))


@app.command()
def env(state_dir: StateDirOption) -> None:
    """Print `export …` for a shell: eval "$(shuren sandbox env)".

    PATH leads to kubectl and helm, and to this program where it is not found without.
    """
    path = os.environ.get("PATH", "")
    if shutil.which("shuren") is None:
        path = f"{path}:{Path(sys.executable).parent}" if path else str(Path(sys.executable).parent)
    exports = Sandbox.at(state_dir).endpoints.exports(path)
    print("export " + " ".join(f"{name}={shlex.quote(value)}" for name, value in exports.items()))


@app.command()
def status(
    state_dir: StateDirOption, output: Annotated[Output, typer.Option("-o", "--output", help="table or json")] = Output.TABLE
) -> None:
    """Show every part with its pid and ports.

    Exit code 0 when the sandbox is up (parts that were stopped or killed are named), 3 when it is not, 1 when none was ever there.
    """
    state = Sandbox.at(state_dir).state()
    if output is Output.JSON:
        print(json.dumps(_as_json(state, state_dir.absolute()), indent=2))
    else:
        _print_table(state)
    if state.phase is not Phase.READY:
        raise typer.Exit(3)


def _as_json(state: SandboxState, state_dir: Path) -> dict[str, Any]:
    document = state.to_json()
    document["stateDir"] = str(state_dir)
    document["supervisor"] = state.supervisor.pid
    for part in document["parts"]:
        process = part.pop("process")
        part["pid"] = process["pid"] if process else None
        part["key"] = f"{part['name']}={part['index']}"
    return document


def _print_table(state: SandboxState) -> None:
    table = Table("PART", "STATUS", "PID", "PORTS", "DETAIL", box=None, pad_edge=False)
    for part in state.parts:
        ports = " ".join(f"{name}:{port}" for name, port in part.ports.items())
        table.add_row(part.key, part.status, str(part.process.pid) if part.process else "-", ports, part.detail)
    ended = [part.key for part in state.parts if part.status is not PartStatus.RUNNING]
    but = f", but not {', '.join(ended)}" if state.phase is Phase.READY and ended else ""
    print(f"sandbox is {state.phase}{but} (supervisor {state.supervisor.pid})")
    if state.reason:
        print(state.reason)
    Console().print(table)


@app.command()
def start(part: PartArgument, state_dir: StateDirOption) -> None:
    """Start one part again (or all of that name) and wait until it is ready."""
    Sandbox.at(state_dir).start(_selector(part))


@app.command()
def stop(part: PartArgument, state_dir: StateDirOption) -> None:
    """Stop one part in good order (SIGTERM) and wait until it has ended."""
    Sandbox.at(state_dir).stop(_selector(part))


@app.command()
def kill(part: PartArgument, state_dir: StateDirOption) -> None:
    """Kill one part (SIGKILL) and wait until it has ended."""
    Sandbox.at(state_dir).kill(_selector(part))


@app.command()
def pause(part: PartArgument, state_dir: StateDirOption) -> None:
    """Freeze one part (SIGSTOP): it stays there and answers nothing."""
    Sandbox.at(state_dir).pause(_selector(part))


@app.command()
def resume(part: PartArgument, state_dir: StateDirOption) -> None:
    """Let a frozen part go on (SIGCONT)."""
    Sandbox.at(state_dir).resume(_selector(part))


def _selector(text: str) -> str:
    name, equals, index = text.partition("=")
    return f"{_ALIASES.get(name, name)}{equals}{index}"


@app.command()
def logs(
    state_dir: StateDirOption,
    part: Annotated[str | None, typer.Argument(metavar="[PART[=N]]", help="One part; default: all of them.")] = None,
    *,
    tail: Annotated[int, typer.Option(help="Lines from the end of each log.")] = 40,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
) -> None:
    """Show the ends of the parts' logs."""
    state = Sandbox.at(state_dir).state()
    chosen = state.select(_selector(part)) if part else list(state.parts)
    for one in chosen:
        print(log_tail(Path(one.log), lines=tail, limit=1 << 20) or f"  --- {one.log} is empty")
    if follow:
        _follow(chosen)


def _follow(chosen: list[PartState]) -> None:
    places = {part.key: Path(part.log) for part in chosen}
    read = {key: path.stat().st_size if path.exists() else 0 for key, path in places.items()}
    try:
        while True:
            for key, path in places.items():
                if path.exists() and path.stat().st_size > read[key]:
                    with path.open("rb") as file:
                        file.seek(read[key])
                        fresh = file.read()
                    read[key] += len(fresh)
                    for line in fresh.decode(errors="replace").splitlines():
                        print(f"{key} | {line}", flush=True)
            time.sleep(0.2)
    except KeyboardInterrupt:
        sys.exit(0)


@app.command()
def down(state_dir: StateDirOption) -> None:
    """End the sandbox and everything it started, tasks included; also one whose supervisor was killed."""
    Sandbox.at(state_dir).down(to_stderr)

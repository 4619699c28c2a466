"""`shuren logs`, `top`: tasks themselves."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shuren.cli import options
from shuren.cli.exits import Failed, run
from shuren.cli.output import Format, structured, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from shuren.cli.live import LiveWorld
    from shuren.cli.session import Where
    from shuren.clients.mesos.sandboxes import Sandbox, Sandboxes
    from shuren.domain.app.snapshot import Snapshot
    from shuren.domain.identity import ObjectKey
    from shuren.domain.marathon.state import ActualApp, Task
    from shuren.runtime.store import Store

    Found = tuple[str, list[tuple[str, str]]]

Json = dict[str, Any]
_PAUSE = 1.0
"""Seconds between looks at a file that is followed."""
_LINE = 200
"""Bytes that a line is taken to have, at most, when the last lines of a file are looked for."""


@dataclass(frozen=True, kw_only=True)
class _Source:
    """One file of one task."""

    task: str
    sandbox: Sandbox
    file: str


def logs(
    target: Annotated[str, typer.Argument(metavar="APP|TASK", help="A PaasApp (all its tasks), or the id of one task.")],
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    tail: Annotated[int, typer.Option("--tail", min=0, help="Lines from the end of each file.")] = 50,
    file: Annotated[str, typer.Option("--file", help="File in the sandbox: stdout, stderr, or any other.")] = "",
    last: Annotated[bool, typer.Option("--previous", "-p", help="Of the task that failed last.")] = False,
    kubeconfig: options.Kubeconfig = "",
    context: options.Context = "",
    namespace: options.Namespace = "",
) -> None:
    """Show what tasks have written, out of their sandboxes on the Mesos agents: standard output and error, or a file by name."""
    from shuren.cli.session import Where  # noqa: PLC0415 - what only this command needs

    where = Where(kubeconfig=kubeconfig, context=context, namespace=namespace)
    run(_logs(where, target, follow=follow, tail=tail, files=[file] if file else ["stdout", "stderr"], previous=last))


async def _logs(where: Where, target: str, *, follow: bool, tail: int, files: Sequence[str], previous: bool) -> None:
    from shuren.cli.live import clusters_of, connected, read_kubernetes  # noqa: PLC0415
    from shuren.cli.session import session  # noqa: PLC0415
    from shuren.ports.kubernetes import PAAS_APPS  # noqa: PLC0415

    async with session(where) as connection:
        store, _ = await read_kubernetes(connection, namespaces={connection.namespace})
        keys = [key for key in store.keys(PAAS_APPS.kind) if key.namespace == connection.namespace]
        async with connected(connection, store, clusters=clusters_of(store, keys), given={}) as world:
            name, tasks = tasks_of(target, store, world, keys, previous=previous)
            sandboxes = sandboxes_of(world, name)
            sources = [
                _Source(task=task, sandbox=sandbox, file=file)
                for task, agent in tasks
                for sandbox in [await sandboxes.find(task, agent=agent)]
                for file in files
            ]
            await _print(sandboxes, sources, follow=follow, tail=tail)


def sandboxes_of(world: LiveWorld, cluster: str) -> Sandboxes:
    """Whom to ask for what tasks of a cluster have. Failed when its resource does not say."""
    sandboxes = world.reached[cluster].parts.sandboxes
    if sandboxes is None:
        raise Failed(f"MesosCluster {cluster} names no Mesos masters (spec.mesos.masters), so its agents cannot be asked; name them")
    return sandboxes


def tasks_of(target: str, store: Store, world: LiveWorld, keys: Iterable[ObjectKey], *, previous: bool = False) -> Found:
    """The cluster, and (task, agent) of what was asked for, by the name of a PaasApp or the id of a task; Failed when there is none."""
    found = _tasks_of(target, store, world, keys, previous=previous)
    if not found:
        raise Failed(f"{target} has no task{' that failed' if previous else ''}; shuren why {target} says why")
    return found


def _tasks_of(target: str, store: Store, world: LiveWorld, keys: Iterable[ObjectKey], *, previous: bool) -> Found | None:
    from shuren.controllers.identity import app_id_of, cluster_of  # noqa: PLC0415

    name = target.rpartition("/")[2] if not target.startswith("/") else target
    for key in keys:
        spec = (store.get(key) or {}).get("spec") or {}
        reached = world.reached.get(cluster_of(spec))
        app: ActualApp | None = reached.survey.app(app_id_of(key.namespace, key.name, spec)) if reached is not None else None
        if app is None or reached is None:
            continue
        own = [t for t in app.tasks if t.id == target]
        if key.name != name and not own:
            continue
        failure = app.last_task_failure
        if previous:
            agent = next((t.agent_id for t in app.tasks if failure is not None and t.id == failure.task_id), "")
            agents = {a.hostname: a.id for a in reached.survey.findings.agents}
            return (cluster_of(spec), [(failure.task_id, agent or agents.get(failure.host, ""))]) if failure is not None else None
        tasks: Sequence[Task] = own or [t for t in app.tasks if t.state.active and t.agent_id]
        return (cluster_of(spec), [(t.id, t.agent_id) for t in tasks]) if tasks else None
    raise Failed(f"there is no PaasApp or task {target} in this namespace; kubectl get paasapps -A shows all")


async def _print(sandboxes: Sandboxes, sources: Sequence[_Source], *, follow: bool, tail: int) -> None:
    from shuren.domain.errors import Gone  # noqa: PLC0415

    many = len({s.task for s in sources}) > 1
    at: dict[_Source, int] = {}
    for source in sources:
        try:
            size = await sandboxes.size(source.sandbox, source.file)
        except Gone:
            continue  # a task that has written nothing there
        start = max(0, size - tail * _LINE)
        text, at[source] = await _from(sandboxes, source, start)
        lines = text.splitlines()
        if start and lines:
            lines = lines[1:]  # begins in the midst of a line
        _say(source, lines[-tail:] if tail else [], many=many)
    if not at:
        raise Failed("none of these tasks has such a file")
    while follow:
        await asyncio.sleep(_PAUSE)
        for source, offset in list(at.items()):
            text, at[source] = await _from(sandboxes, source, offset)
            _say(source, text.splitlines(), many=many)


async def _from(sandboxes: Sandboxes, source: _Source, offset: int) -> tuple[str, int]:
    """All from an offset on, and the offset behind it."""
    from shuren.clients.mesos.sandboxes import PIECE  # noqa: PLC0415

    size = await sandboxes.size(source.sandbox, source.file)
    parts: list[str] = []
    while offset < size:
        length = min(PIECE, size - offset)
        parts.append(await sandboxes.read(source.sandbox, source.file, offset=offset, length=length))
        offset += length  # of bytes: characters that were no UTF-8 have another length now
    return "".join(parts), offset


def _say(source: _Source, lines: Iterable[str], *, many: bool) -> None:
    head = f"{source.task} {source.file} | " if many else "" if source.file == "stdout" else f"{source.file} | "
    for line in lines:
        print(f"{head}{line}", flush=True)


# ---------------------------------------------------------------------------------------------------- top


def top(
    name: Annotated[list[str] | None, typer.Argument(metavar="[NAME…]", help="PaasApps; default: all.")] = None,
    *,
    kubeconfig: options.Kubeconfig = "",
    context: options.Context = "",
    namespace: options.Namespace = "",
    everywhere: options.Everywhere = False,
    output: options.Output = Format.TABLE,
) -> None:
    """Show what apps have reserved of their clusters, largest first, and the services' requests and errors as load balancers count them."""
    from shuren.cli.session import Where  # noqa: PLC0415
    from shuren.cli.status import look  # noqa: PLC0415

    where = Where(kubeconfig=kubeconfig, context=context, namespace=namespace, everywhere=everywhere)
    seen, _, _ = run(look(where, name or []))
    rows = sorted((_row(key, s) for key, s in seen.apps.items()), key=lambda r: (-r["cpus"], -r["mem"], r["name"]))
    traffic = [_traffic(key.namespace, key.name, s) for key, s in sorted(seen.services.items()) if s.balancers]
    if structured({"apps": rows, "services": traffic}, output):
        return
    table(
        ("APP", "CLUSTER", "TASKS", "READY", "CPUS", "MEM MIB", "DISK MIB", "GPUS"),
        [
            (f"{r['namespace']}/{r['name']}", r["cluster"], *(f"{r[k]:g}" for k in ("tasks", "ready", "cpus", "mem", "disk", "gpus")))
            for r in rows
        ],
    )
    if traffic:
        print()
        table(
            ("SERVICE", "REQUESTS", "ERRORS", "LATENCY MS", "SERVERS UP"),
            [
                (f"{t['namespace']}/{t['name']}", f"{t['requests']:g}", f"{t['errors']:g}", f"{t['latencyMs']:g}", str(t["up"]))
                for t in traffic
            ],
        )


def _row(key: ObjectKey, s: Snapshot) -> Json:
    definition = s.app.definition if s.app is not None else {}
    tasks = sum(1 for t in s.app.tasks if t.state.active) if s.app is not None else 0
    counts = s.app.counts if s.app is not None else None
    ready = (counts.healthy if definition.get("healthChecks") else counts.running) if counts is not None else 0
    each = {name: float(str(definition.get(name) or 0)) for name in ("cpus", "mem", "disk", "gpus")}
    return {
        "namespace": key.namespace,
        "name": key.name,
        "cluster": s.cluster.name,
        "tasks": tasks,
        "ready": ready,
        **{name: value * tasks for name, value in each.items()},
    }


def _traffic(namespace: str, name: str, s: Any) -> Json:
    applied = [b.applied for b in s.balancers if b.applied is not None]

    def total(counter: str) -> float:
        return sum(float(str(a.counters.get(counter) or 0)) for a in applied)

    return {
        "namespace": namespace,
        "name": name,
        "requests": total("requests"),
        "errors": total("errors"),
        "latencyMs": total("latencyMs") / len(applied) if applied else 0.0,
        "up": max((a.up for a in applied), default=0),
    }

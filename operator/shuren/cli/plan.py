"""`shuren plan`: what would change in Marathon, ZooKeeper, load balancers and names, before it does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from shuren.cli import options
from shuren.cli.exits import Exit, Failed, run
from shuren.cli.output import Format, say, structured

if TYPE_CHECKING:
    from shuren.cli.session import Where
    from shuren.domain.identity import ObjectKey
    from shuren.domain.preview.whole import WholePlan
    from shuren.runtime.store import Store


def plan(
    name: Annotated[list[str] | None, typer.Argument(metavar="[NAME…]", help="With --live: only these, as web or psvc/web.")] = None,
    *,
    file: Annotated[list[str] | None, typer.Option("--filename", "-f", help="File or folder, - for standard input; repeatable.")] = None,
    kustomize: Annotated[list[str] | None, typer.Option("--kustomize", "-k", help="Folder with a kustomization; repeatable.")] = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-R", help="Folders given with -f: those in them too.")] = False,
    live: Annotated[bool, typer.Option("--live", help="Of resources as they are stored: what the operator is about to do.")] = False,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="End with 3 when anything will change, for CI.")] = False,
    kubeconfig: options.Kubeconfig = "",
    context: options.Context = "",
    namespace: options.Namespace = "",
    everywhere: options.Everywhere = False,
    output: options.Output = Format.TABLE,
) -> None:
    """Show what applying resources would do: in Marathon field by field and task by task, in ZooKeeper, HAProxy and DNS.

    It is the very plan that the operator would apply: its own code decides, on the world as it is now. Nothing is written anywhere. With
    --exit-code: 0 nothing will change, 3 something will, 4 part of the world could not be read.
    """
    if not (file or kustomize or live):
        raise typer.BadParameter("say what to plan: -f FILE, -k FOLDER or --live")
    if live and (file or kustomize):
        raise typer.BadParameter("--live looks at what is stored; it does not go with -f or -k")
    from shuren.cli.plan_text import document, lines  # noqa: PLC0415 - what only this command needs
    from shuren.cli.session import Where  # noqa: PLC0415

    where = Where(kubeconfig=kubeconfig, context=context, namespace=namespace, everywhere=everywhere)
    found = run(_plan(file or [], kustomize or [], name or [], where, recursive=recursive))
    if not structured(document(found), output):
        for text, style in lines(found, wide=output is Format.WIDE):
            say(text, style)
    if found.unknown:
        raise typer.Exit(Exit.INCOMPLETE)
    if exit_code and found.changes:
        raise typer.Exit(Exit.FOUND)


async def _plan(files: list[str], kustomize: list[str], names: list[str], where: Where, *, recursive: bool) -> WholePlan:
    from dataclasses import replace  # noqa: PLC0415

    from shuren.cli.files import read  # noqa: PLC0415
    from shuren.cli.live import clusters_of, connected, preview, read_kubernetes  # noqa: PLC0415
    from shuren.cli.overlay import Overlay, overlay  # noqa: PLC0415
    from shuren.cli.release import older_operator  # noqa: PLC0415
    from shuren.cli.session import session  # noqa: PLC0415
    from shuren.domain.preview.whole import Unknown  # noqa: PLC0415

    given = read(files, kustomize, recursive=recursive)
    async with session(where) as connection:
        laid = await overlay(connection, given) if given else Overlay()
        wanted = {key.namespace for key in laid.ours if key.namespace} | ({connection.namespace} if connection.namespace else set())
        store, unknown = await read_kubernetes(connection, namespaces=wanted)
        laid.onto(store)
        if given:
            keys = frozenset(laid.ours) | _of_clusters(store, laid.ours)
            if not keys:
                raise Failed("none of these files holds a resource of Shuren (PaasApp, PaasService, ShardMap, MesosCluster)")
        else:
            keys = _chosen(store, names, connection.namespace)
        async with connected(connection, store, clusters=clusters_of(store, keys), given=laid.values, unknown=unknown) as world:
            found = await preview(connection, world, given=laid.values).plan(keys)
        older = await older_operator(connection)
        if older is not None:
            unknown = (*unknown, Unknown(about="what the operator decides", why=f"{older.found}, so it may decide otherwise; {older.mend}"))
    return replace(found, unknown=(*found.unknown, *unknown))


def _of_clusters(store: Store, keys: dict[ObjectKey, dict[str, object]]) -> frozenset[ObjectKey]:
    """Everything on the clusters that are changed themselves."""
    from shuren.cli.live import clusters_of  # noqa: PLC0415
    from shuren.ports.kubernetes import MESOS_CLUSTERS, PAAS_APPS, PAAS_SERVICES, SHARD_MAPS  # noqa: PLC0415

    changed = {key.name for key in keys if key.kind == MESOS_CLUSTERS.kind}
    every = (key for resource in (PAAS_APPS, PAAS_SERVICES, SHARD_MAPS) for key in store.keys(resource.kind))
    return frozenset(key for key in every if changed & clusters_of(store, [key]))


def _chosen(store: Store, names: list[str], namespace: str) -> frozenset[ObjectKey]:
    from shuren.cli.session import named  # noqa: PLC0415
    from shuren.domain.identity import ObjectKey as Key  # noqa: PLC0415
    from shuren.ports.kubernetes import PAAS_APPS, PAAS_SERVICES, SHARD_MAPS  # noqa: PLC0415

    every = [key for resource in (PAAS_APPS, PAAS_SERVICES, SHARD_MAPS) for key in store.keys(resource.kind)]
    if not names:
        return frozenset(key for key in every if not namespace or key.namespace == namespace)
    found: set[ObjectKey] = set()
    for text in names:
        resource, name = named(text)
        key = Key(kind=resource.kind, namespace=namespace, name=name)
        if store.get(key) is None:
            raise Failed(f"there is no {resource.kind} {name} in namespace {namespace}; kubectl get {resource.plural} -A shows all")
        found.add(key)
    return frozenset(found)

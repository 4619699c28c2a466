"""`restart`, `rollback`, `suspend`, `resume`, `promote`, `abort`, `pause`: what a person asks for, without a fight with Git.

Nothing here writes a field that Git owns. A restart and the commands of a roll-out are annotations, which Argo CD and Flux leave alone. A
roll-back marks revisions as taken back, so that the operator goes back to the last good one and stays there until the spec changes. Only
`suspend` touches the spec, by a field manager of its own: if Git states the field itself, the API server refuses, and so does this.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shuren.cli import options
from shuren.cli.exits import Failed, run
from shuren.cli.output import say

if TYPE_CHECKING:
    from shuren.cli.session import Session, Where
    from shuren.ports.kubernetes import Object, Resource

Json = dict[str, Any]
App = Annotated[str, typer.Argument(metavar="NAME", help="A PaasApp.")]
Suspendable = Annotated[str, typer.Argument(metavar="NAME", help="web, papp/web, psvc/web or shm/web.")]
_SUSPENDER = "shuren-suspend"
_ROLLOUT = "paas.shurenyun.com/rollout-"
_PREFIX = "paas.shurenyun.com/"


def _where(kubeconfig: str, context: str, namespace: str) -> Where:
    from shuren.cli.session import Where  # noqa: PLC0415 - what only these commands need

    return Where(kubeconfig=kubeconfig, context=context, namespace=namespace)


# ---------------------------------------------------------------------------------------------------- restart


def restart(name: App, *, kubeconfig: options.Kubeconfig = "", context: options.Context = "", namespace: options.Namespace = "") -> None:
    """Replace all tasks once, by the upgrade strategy, with the spec unchanged. Survives GitOps: it is an annotation."""
    say(run(_restart(_where(kubeconfig, context, namespace), name)))


async def _restart(where: Where, name: str) -> str:
    from shuren.cli.release import need_no_older_operator  # noqa: PLC0415
    from shuren.cli.session import session  # noqa: PLC0415
    from shuren.domain.app.snapshot import RESTART  # noqa: PLC0415

    async with session(where) as connection:
        resource, item = await _app(connection, name)
        await need_no_older_operator(connection)
        # Marathon's own version, so that no second clock matters; before it was ever created there is nothing to restart
        version = ((item.get("status") or {}).get("marathon") or {}).get("version")
        if not version:
            raise Failed(f"{name} has nothing in Marathon to restart; shuren why {name} says what holds it up")
        await _annotate(connection, resource, item, {RESTART: version})
    return f"all tasks of {name} are replaced, by its upgrade strategy; shuren status {name} shows how far it is"


# ---------------------------------------------------------------------------------------------------- roll-back


def rollback(
    name: App,
    *,
    to: Annotated[int, typer.Option("--to", help="Number of a good revision (shuren history). Default: the last good one before.")] = 0,
    undo: Annotated[bool, typer.Option("--undo", help="Try the revision that the spec asks for again.")] = False,
    kubeconfig: options.Kubeconfig = "",
    context: options.Context = "",
    namespace: options.Namespace = "",
) -> None:
    """Go back to an earlier good revision and stay there until the spec changes. The spec is not written: Git stays as it is.

    Revisions after the chosen one are marked as taken back and are not tried again. The resource is Stalled (RolledBack) until Git follows:
    revert the commit there, or fix forward.
    """
    say(run(_rollback(_where(kubeconfig, context, namespace), name, to=to, undo=undo)))


async def _rollback(where: Where, name: str, *, to: int, undo: bool) -> str:
    from shuren.cli.release import need_no_older_operator  # noqa: PLC0415
    from shuren.cli.session import session  # noqa: PLC0415
    from shuren.controllers.paasapp.history import revision_of  # noqa: PLC0415
    from shuren.domain.app.rollback import chosen  # noqa: PLC0415
    from shuren.domain.app.snapshot import OWNER_LABEL, RevisionState  # noqa: PLC0415
    from shuren.domain.errors import Invalid  # noqa: PLC0415
    from shuren.ports.kubernetes import CONTROLLER_REVISIONS  # noqa: PLC0415

    async with session(where) as connection:
        _, item = await _app(connection, name)
        await need_no_older_operator(connection)
        namespace = item["metadata"]["namespace"]
        selector = f"{OWNER_LABEL}={item['metadata']['uid']}"
        page = await connection.kubernetes.list(CONTROLLER_REVISIONS, namespace=namespace, label_selector=selector)
        target = ((item.get("status") or {}).get("revision") or {}).get("target", "")
        try:
            decision = chosen([revision_of(i) for i in page.items], target=target, to=to, undo=undo)
        except Invalid as error:
            raise Failed(f"{name}: {error}; shuren history {name} lists them") from error
        for revision in decision.withdraw:
            notes = {f"{_PREFIX}state": RevisionState.WITHDRAWN.value, f"{_PREFIX}failure": "by hand (shuren rollback)"}
            await connection.kubernetes.patch_merge(CONTROLLER_REVISIONS, namespace, revision.name, {"metadata": {"annotations": notes}})
        for revision in decision.retry:
            again: Json = {f"{_PREFIX}state": RevisionState.TRYING.value, f"{_PREFIX}failure": None}
            await connection.kubernetes.patch_merge(CONTROLLER_REVISIONS, namespace, revision.name, {"metadata": {"annotations": again}})
    if undo:
        return f"{name} tries revision {target} again"
    return (
        f"{name} goes back to revision {decision.goal.number} ({decision.goal.hash}); the spec still asks for {target}: revert it in Git, "
        f"or take this back with shuren rollback {name} --undo"
    )


# ---------------------------------------------------------------------------------------------------- suspend, resume


def suspend(
    name: Suspendable, *, kubeconfig: options.Kubeconfig = "", context: options.Context = "", namespace: options.Namespace = ""
) -> None:
    """Let the operator change nothing outside for this resource until `resume`."""
    say(run(_suspend(_where(kubeconfig, context, namespace), name, on=True)))


def resume(
    name: Suspendable, *, kubeconfig: options.Kubeconfig = "", context: options.Context = "", namespace: options.Namespace = ""
) -> None:
    """Let the operator go on with a suspended resource, and with a paused roll-out."""
    say(run(_suspend(_where(kubeconfig, context, namespace), name, on=False)))


async def _suspend(where: Where, name: str, *, on: bool) -> str:
    from shuren.cli.release import need_no_older_operator  # noqa: PLC0415
    from shuren.cli.session import named, session  # noqa: PLC0415
    from shuren.clients.kubernetes.client import api_version  # noqa: PLC0415
    from shuren.domain.errors import Conflict  # noqa: PLC0415
    from shuren.ports.kubernetes import MESOS_CLUSTERS, PAAS_APPS  # noqa: PLC0415

    resource, plain = named(name)
    if resource is MESOS_CLUSTERS:
        raise Failed("a MesosCluster cannot be suspended; suspend what lives on it")
    async with session(where) as connection:
        item = await connection.need(resource, plain)
        await need_no_older_operator(connection)
        metadata = {"name": plain, "namespace": item["metadata"]["namespace"]}
        spec: Json = {"management": {"suspend": True}} if resource is PAAS_APPS else {"suspend": True}
        body = {"apiVersion": api_version(resource), "kind": resource.kind, "metadata": metadata, **({"spec": spec} if on else {})}
        try:
            after = await connection.kubernetes.apply(resource, metadata["namespace"], plain, body, manager=_SUSPENDER)
        except Conflict as error:
            field = "spec.management.suspend" if resource is PAAS_APPS else "spec.suspend"
            raise Failed(f"{field} of {name} is stated by somebody else, who would change it back: change it in Git ({error})") from error
        if not on:
            return await _resumed(connection, resource, plain, after)
    return f"{resource.kind} {plain} is suspended; shuren resume {name} lets it go on"


async def _resumed(connection: Session, resource: Resource, name: str, item: Object) -> str:
    """The field of ours is gone; whoever else set it must take it back himself. A paused roll-out goes on too."""
    spec = item.get("spec") or {}
    still = spec.get("suspend") is True or (spec.get("management") or {}).get("suspend") is True
    if still:
        raise Failed(f"{resource.kind} {name} is suspended by its own spec: set suspend to false there (in Git, if it comes from Git)")
    if ((item.get("status") or {}).get("rollout") or {}).get("paused"):
        await _annotate(connection, resource, item, {f"{_ROLLOUT}resume": _now()})
    return f"{resource.kind} {name} goes on"


# ---------------------------------------------------------------------------------------------------- gated roll-outs


def promote(
    name: App,
    *,
    full: Annotated[bool, typer.Option("--full", help="Skip all steps that are left.")] = False,
    kubeconfig: options.Kubeconfig = "",
    context: options.Context = "",
    namespace: options.Namespace = "",
) -> None:
    """Let a gated roll-out pass its present step (or all of them)."""
    say(run(_command(_where(kubeconfig, context, namespace), name, "promote-full" if full else "promote")))


def abort(name: App, *, kubeconfig: options.Kubeconfig = "", context: options.Context = "", namespace: options.Namespace = "") -> None:
    """Break a gated roll-out off: traffic goes back to the former version."""
    say(run(_command(_where(kubeconfig, context, namespace), name, "abort")))


def pause(name: App, *, kubeconfig: options.Kubeconfig = "", context: options.Context = "", namespace: options.Namespace = "") -> None:
    """Hold a gated roll-out where it is until `resume` or `promote`."""
    say(run(_command(_where(kubeconfig, context, namespace), name, "pause")))


async def _command(where: Where, name: str, word: str) -> str:
    from shuren.cli.release import need_no_older_operator  # noqa: PLC0415
    from shuren.cli.session import session  # noqa: PLC0415
    from shuren.domain.app import progress  # noqa: PLC0415

    async with session(where) as connection:
        resource, item = await _app(connection, name)
        await need_no_older_operator(connection)
        under_way = progress.read(item.get("status") or {})
        if under_way is None or under_way.stage.over:
            strategy = ((item.get("spec") or {}).get("rollout") or {}).get("strategy", "Rolling")
            raise Failed(f"no gated roll-out of {name} is under way (spec.rollout.strategy: {strategy}); see shuren status {name}")
        await _annotate(connection, resource, item, {f"{_ROLLOUT}{word}": _now()})
    return f"{word} of {name} is asked for; shuren status {name} shows what follows"


# ---------------------------------------------------------------------------------------------------- shared


async def _app(connection: Session, name: str) -> tuple[Resource, Object]:
    from shuren.cli.session import named  # noqa: PLC0415
    from shuren.ports.kubernetes import PAAS_APPS  # noqa: PLC0415

    resource, plain = named(name)
    if resource is not PAAS_APPS:
        raise Failed(f"{name} is no PaasApp")
    return resource, await connection.need(resource, plain)


async def _annotate(connection: Session, resource: Resource, item: Object, notes: Json) -> None:
    metadata = item["metadata"]
    await connection.kubernetes.patch_merge(resource, metadata["namespace"], metadata["name"], {"metadata": {"annotations": notes}})


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

"""`shuren backup` and `restore`: what only this product holds. Claims and shard maps in ZooKeeper, revisions in Kubernetes.

What runs lies in Marathon, what is asked for in Kubernetes (and Git); both have their own backups. What is published for load balancers and
name servers is made again from those. Restoring never takes anything from anybody: what is there stays, unless it says the same.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shuren.cli import options
from shuren.cli.exits import Failed, run
from shuren.cli.output import say

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from shuren.cli.live import Reached
    from shuren.cli.session import Session, Where
    from shuren.domain.identity import Claim
    from shuren.ports.zookeeper import FencedZooKeeper, ZooKeeper

    Uids = Mapping[tuple[str, str], str]

Json = dict[str, Any]
FORMAT = 1
_TREES = ("/owners", "/shards")
"""Below a cluster's root: what cannot be made again from elsewhere."""


def backup(
    file: Annotated[Path, typer.Argument(help="Where to write it (JSON).")],
    *,
    kubeconfig: options.Kubeconfig = "",
    context: options.Context = "",
) -> None:
    """Write claims, shard maps and revisions of all clusters into one file. It holds no values of Secrets."""
    from shuren.cli.session import Where  # noqa: PLC0415 - what only this command needs

    document = run(_backup(Where(kubeconfig=kubeconfig, context=context, everywhere=True)))
    try:
        file.write_text(json.dumps(document, indent=1), encoding="utf-8")
    except OSError as error:
        raise Failed(f"{file} cannot be written: {error.strerror}") from error
    nodes = sum(len(cluster["nodes"]) for cluster in document["clusters"].values())
    say(f"{file}: {len(document['clusters'])} clusters, {nodes} nodes, {len(document['revisions'])} revisions")


async def _backup(where: Where) -> Json:
    from shuren.cli.live import clusters_of, connected, read_kubernetes  # noqa: PLC0415
    from shuren.cli.session import session  # noqa: PLC0415
    from shuren.domain.app.snapshot import OWNER_LABEL  # noqa: PLC0415
    from shuren.ports.kubernetes import CONTROLLER_REVISIONS, MESOS_CLUSTERS  # noqa: PLC0415

    clusters: Json = {}
    async with session(where) as connection:
        store, _ = await read_kubernetes(connection)
        revisions = (await connection.kubernetes.list(CONTROLLER_REVISIONS, label_selector=OWNER_LABEL)).items
        async with connected(connection, store, clusters=clusters_of(store, store.keys(MESOS_CLUSTERS.kind)), given={}) as world:
            for name in world.names():
                clusters[name] = await _cluster(name, world.reached.get(name))
    return {
        "format": FORMAT,
        "at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "server": connection.server,
        "clusters": clusters,
        "revisions": [_slim(item) for item in revisions],
    }


async def _cluster(name: str, reached: Reached | None) -> Json:
    if reached is None or reached.survey.findings.error is not None:
        why = "it is not connected" if reached is None else str(reached.survey.findings.error)
        raise Failed(f"MesosCluster {name} cannot be read ({why}); a backup without it would be none: mend it first (shuren doctor)")
    return {"root": reached.survey.settings.zookeeper.root, "nodes": await nodes_of(reached.parts.root)}


async def nodes_of(root: FencedZooKeeper) -> dict[str, str]:
    """What cannot be made again from elsewhere: path below the root → data (base64)."""
    nodes: dict[str, str] = {}
    waiting = list(_TREES)
    while waiting:
        path = waiting.pop()
        node = await root.get(path)
        if node is None:
            continue
        nodes[path] = base64.b64encode(node.data).decode()
        waiting += [f"{path}/{child}" for child in await root.children(path) or ()]
    return dict(sorted(nodes.items()))


def _slim(item: Json) -> Json:
    kept = {k: item["metadata"][k] for k in ("name", "namespace", "labels", "annotations", "ownerReferences") if k in item["metadata"]}
    return {"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": kept, "data": item.get("data"), "revision": item["revision"]}


# ---------------------------------------------------------------------------------------------------- restore


def restore(
    file: Annotated[Path, typer.Argument(help="A file of `shuren backup`.", exists=True, dir_okay=False)],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be restored.")] = False,
    kubeconfig: options.Kubeconfig = "",
    context: options.Context = "",
) -> None:
    """Bring back claims, shard maps and revisions that are missing. What is there already is left as it is.

    Resources that were made anew have other uids: their claims and revisions are given to the present ones of the same name. Stop the
    operator first (scale it to 0), so that nobody decides on half of it; this is refused while one leads.
    """
    from shuren.cli.session import Where  # noqa: PLC0415

    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Failed(f"{file} is no backup: {error}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise Failed(f"{file} is no backup of a form that this program knows (format {FORMAT})")
    for line in run(_restore(Where(kubeconfig=kubeconfig, context=context, everywhere=True), document, dry_run=dry_run)):
        say(line)


async def _restore(where: Where, document: Json, *, dry_run: bool) -> list[str]:
    from shuren.cli.live import connected, read_kubernetes  # noqa: PLC0415
    from shuren.cli.session import session  # noqa: PLC0415
    from shuren.ports.kubernetes import PAAS_APPS  # noqa: PLC0415

    async with session(where) as connection:
        if not dry_run:
            await _nobody_leads(connection)
        store, _ = await read_kubernetes(connection)
        uids = {(key.namespace, key.name): item["metadata"]["uid"] for key, item in store.items(PAAS_APPS.kind)}
        said = [await _restore_revisions(connection, document["revisions"], uids, dry_run=dry_run)]
        async with connected(connection, store, clusters=document["clusters"], given={}) as world:
            for name, saved in sorted(document["clusters"].items()):
                reached = world.reached.get(name)
                if reached is None or reached.survey.findings.error is not None:
                    raise Failed(f"MesosCluster {name} cannot be reached; mend it first (shuren doctor)")
                said.append(await _restore_cluster(name, saved, reached, uids, dry_run=dry_run))
    return said


async def _nobody_leads(connection: Session) -> None:
    from shuren.domain.app.rollout import moment  # noqa: PLC0415
    from shuren.ports.kubernetes import LEASES  # noqa: PLC0415
    from shuren.ports.leadership import LEASE_NAME  # noqa: PLC0415

    for lease in (await connection.kubernetes.list(LEASES)).items:
        spec = lease.get("spec") or {}
        renewed = moment(spec.get("renewTime"))
        fresh = renewed is not None and (datetime.now(UTC) - renewed).total_seconds() < int(spec.get("leaseDurationSeconds") or 15)
        if lease["metadata"]["name"] == LEASE_NAME and spec.get("holderIdentity") and fresh:
            raise Failed(
                f"{spec['holderIdentity']} leads and would decide on half of what is restored; stop it first: "
                f"kubectl scale deployment -n {lease['metadata']['namespace']} -l app.kubernetes.io/name=shuren --replicas=0"
            )


async def _restore_revisions(connection: Session, revisions: list[Json], uids: Uids, *, dry_run: bool) -> str:
    from shuren.domain.app.snapshot import OWNER_LABEL  # noqa: PLC0415
    from shuren.domain.errors import Conflict, Exists  # noqa: PLC0415
    from shuren.ports.kubernetes import CONTROLLER_REVISIONS  # noqa: PLC0415

    made = kept = orphans = 0
    for item in revisions:
        owner = item["metadata"]["ownerReferences"][0]
        uid = uids.get((item["metadata"]["namespace"], owner["name"]))
        if uid is None:
            orphans += 1
            continue
        body = json.loads(json.dumps(item))
        body["metadata"]["ownerReferences"][0]["uid"] = uid
        body["metadata"]["labels"][OWNER_LABEL] = uid
        try:
            await connection.kubernetes.post(CONTROLLER_REVISIONS, body["metadata"]["namespace"], body, dry_run=dry_run)
            made += 1
        except Exists:
            kept += 1
        except Conflict:  # its namespace is going, or gone by now
            orphans += 1
    return f"revisions: {made} restored, {kept} were there, {orphans} belong to PaasApps that do not exist"


async def _restore_cluster(name: str, saved: Json, reached: Reached, uids: Uids, *, dry_run: bool) -> str:
    root = reached.survey.settings.zookeeper.root
    made, kept = await restored(reached.parts.zookeeper, root, saved["nodes"], uids, dry_run=dry_run)
    return f"cluster {name}: {made} nodes or claims {'would be ' if dry_run else ''}restored below {root}, {kept} were there"


async def restored(zookeeper: ZooKeeper, root: str, nodes: Mapping[str, str], uids: Uids, *, dry_run: bool = False) -> tuple[int, int]:
    """Bring back what is missing; (how much that was, how much was there). A claim that is there stays with whoever holds it."""
    from shuren.domain import claims  # noqa: PLC0415
    from shuren.ports.zookeeper import Create, SetData  # noqa: PLC0415

    made = kept = 0
    for path, coded in sorted(nodes.items()):
        data = base64.b64decode(coded)
        there = await zookeeper.get(root + path)
        old = {c.app_id: c for c in _of_today(claims.decode(data).values(), uids)} if path.startswith("/owners/") else {}
        if path.startswith("/owners/"):
            data = claims.encode(old.values())
        if there is None:
            made += 1
            if not dry_run:
                await zookeeper.ensure_path((root + path).rpartition("/")[0])
                await zookeeper.commit([Create(path=root + path, data=data)])
            continue
        known = claims.decode(there.data) if path.startswith("/owners/") else {}
        missing = [c for app_id, c in old.items() if app_id not in known]
        made, kept = made + len(missing), kept + (len(known) if known or old else 1)
        if missing and not dry_run:
            whole = claims.encode([*known.values(), *missing])
            await zookeeper.commit([SetData(path=root + path, data=whole, version=there.version)])
    return made, kept


def _of_today(saved: Iterable[Claim], uids: Uids) -> list[Claim]:
    """Claims of resources that exist, under their present uids."""
    from dataclasses import replace  # noqa: PLC0415

    return [replace(c, uid=uids[c.namespace, c.name]) for c in saved if (c.namespace, c.name) in uids]

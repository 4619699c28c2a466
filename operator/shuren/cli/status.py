"""`shuren status`, `why`, `diff`, `history`, `top`: how things stand, by a look at the live world."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shuren.cli import options
from shuren.cli.exits import Exit, Failed, run
from shuren.cli.output import Format, say, structured, table

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from shuren.cli.session import Where
    from shuren.controllers.preview import Seen
    from shuren.domain.explain.links import Link
    from shuren.domain.identity import ObjectKey
    from shuren.domain.preview.whole import Unknown
    from shuren.domain.service.snapshot import ServiceSnapshot
    from shuren.runtime.store import Store

    Looked = tuple[Seen, Store, tuple[Unknown, ...]]

Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME…]", help="web, papp/web, psvc/web or shm/web; default: all.")]
Json = dict[str, Any]


# ---------------------------------------------------------------------------------------------------- status


def status(
    name: Names = None,
    *,
    kubeconfig: options.Kubeconfig = "",
    context: options.Context = "",
    namespace: options.Namespace = "",
    everywhere: options.Everywhere = False,
    output: options.Output = Format.TABLE,
) -> None:
    """Show apps as trees: the app, its services, their endpoints, what each load balancer carries, and the shards that its tasks hold."""
    from shuren.cli.session import Where  # noqa: PLC0415 - what only this command needs
    from shuren.cli.status_text import documents, trees  # noqa: PLC0415
    from shuren.cli.tree import drawn  # noqa: PLC0415

    where = Where(kubeconfig=kubeconfig, context=context, namespace=namespace, everywhere=everywhere)
    seen, store, unknown = run(look(where, name or []))
    if structured({"items": documents(seen, store), "unknown": [{"about": u.about, "why": u.why} for u in unknown]}, output):
        return
    for tree in trees(seen, store, wide=output is Format.WIDE):
        for text, style in drawn(tree):
            say(text, style)
    if not (seen.apps or seen.services or seen.maps):
        say("There is nothing of Shuren here; -A looks in all namespaces.")
    _not_known(unknown)


def _not_known(unknown: Sequence[Unknown]) -> None:
    for one in unknown:
        say(f"! not known: {one.about}: {one.why}", "bold yellow")
    if unknown:
        raise typer.Exit(Exit.INCOMPLETE)


async def look(where: Where, names: Sequence[str]) -> Looked:
    """The resources that are named (all of the namespace), with what decisions about them see."""
    from shuren.cli.live import clusters_of, connected, preview, read_kubernetes  # noqa: PLC0415
    from shuren.cli.session import session  # noqa: PLC0415
    from shuren.domain.preview.whole import Unknown  # noqa: PLC0415

    async with session(where) as connection:
        store, unknown = await read_kubernetes(connection, namespaces={connection.namespace} - {""})
        keys = chosen(store, names, connection.namespace)
        behind = _related(store, keys)
        async with connected(connection, store, clusters=clusters_of(store, behind), given={}, unknown=unknown) as world:
            seen = await preview(connection, world).look(keys)
            away = [
                Unknown(about=f"MesosCluster {view.name}", why=view.problem.message if view.problem is not None else view.silence)
                for view in (cluster.view for cluster in map(world.get, clusters_of(store, behind)) if cluster is not None)
                if view.problem is not None or view.unreachable_for is not None
            ]
    return seen, store, (*unknown, *away)


def _related(store: Store, keys: Collection[ObjectKey]) -> frozenset[ObjectKey]:
    """These, and everything in their namespaces: what one refers to is there."""
    from shuren.ports.kubernetes import PAAS_APPS, PAAS_SERVICES, SHARD_MAPS  # noqa: PLC0415

    namespaces = {key.namespace for key in keys}
    every = (key for resource in (PAAS_APPS, PAAS_SERVICES, SHARD_MAPS) for key in store.keys(resource.kind))
    return frozenset(keys) | {key for key in every if key.namespace in namespaces}


def chosen(store: Store, names: Sequence[str], namespace: str) -> frozenset[ObjectKey]:
    """The resources that are named, or all of the namespace."""
    from shuren.cli.session import named  # noqa: PLC0415
    from shuren.domain.identity import ObjectKey as Key  # noqa: PLC0415
    from shuren.ports.kubernetes import MESOS_CLUSTERS, PAAS_APPS, PAAS_SERVICES, SHARD_MAPS  # noqa: PLC0415

    kinds = (PAAS_APPS, PAAS_SERVICES, SHARD_MAPS)
    if not names:
        return frozenset(key for resource in kinds for key in store.keys(resource.kind) if not namespace or key.namespace == namespace)
    found: set[ObjectKey] = set()
    for text in names:
        resource, name = named(text)
        if resource is MESOS_CLUSTERS:
            raise Failed(f"{text}: of a MesosCluster tell `shuren doctor` and `kubectl get mcl {name} -o yaml`")
        wanted = kinds if "/" not in text else (resource,)
        keys = (Key(kind=one.kind, namespace=namespace, name=name) for one in wanted)
        key = next((key for key in keys if store.get(key) is not None), None)
        if key is None:
            raise Failed(f"there is no {text} in namespace {namespace or '(all)'}; kubectl get shuren -A shows all")
        found.add(key)
    return frozenset(found)


# ---------------------------------------------------------------------------------------------------- why


def why(
    resource: Annotated[str, typer.Argument(help="web, papp/web, psvc/web or shm/web.")],
    *,
    dns_server: Annotated[str, typer.Option("--dns-server", help="Ask this name server too, as 10.0.0.1:53.")] = "",
    kubeconfig: options.Kubeconfig = "",
    context: options.Context = "",
    namespace: options.Namespace = "",
    output: options.Output = Format.TABLE,
) -> None:
    """Walk from a resource to an answer and name the first broken link, with what was seen and what to do.

    Resource, operator, cluster, references, claim, Marathon app, deployment, launch queue, tasks, health, ZooKeeper record, load
    balancers, DNS; for shards: members, published table, registration, moves. Ends with 3 when a link is broken, with 4 when one could not
    be looked at.
    """
    from shuren.cli.session import Where  # noqa: PLC0415
    from shuren.domain.explain.links import Verdict  # noqa: PLC0415

    seen, store, _ = run(look(Where(kubeconfig=kubeconfig, context=context, namespace=namespace), [resource]))
    found = _ways(resource, seen, store, dns_server)
    verdicts = [link.verdict for _, links in found for link in links]
    document = [{"of": title, "links": [_link(link) for link in links]} for title, links in found]
    if not structured(document, output):
        for title, links in found:
            say(title, "bold")
            _say_links(links)
    if Verdict.BROKEN in verdicts:
        raise typer.Exit(Exit.FOUND)
    if Verdict.UNKNOWN in verdicts:
        raise typer.Exit(Exit.INCOMPLETE)


def _ways(resource: str, seen: Seen, store: Store, dns_server: str) -> list[tuple[str, Sequence[Link]]]:
    """The way of what was asked for, and those that lead on from it: an app's services and shard maps, a service's shard maps."""
    from shuren.cli.session import named  # noqa: PLC0415
    from shuren.domain.explain import apps as app_way  # noqa: PLC0415
    from shuren.domain.explain import services as service_way  # noqa: PLC0415
    from shuren.domain.explain import shards as shard_way  # noqa: PLC0415
    from shuren.ports.kubernetes import PAAS_APPS, PAAS_SERVICES, SHARD_MAPS  # noqa: PLC0415

    kind, name = (named(resource)[0].kind if "/" in resource else ""), resource.rpartition("/")[2]
    ways = {key.name: app_way.way(snapshot) for key, snapshot in seen.apps.items()}
    found: list[tuple[str, Sequence[Link]]] = []
    if name in ways and kind in {"", PAAS_APPS.kind}:
        found.append((f"PaasApp {name}", ways[name]))
    services: dict[str, Sequence[Link]] = {}
    for key, snapshot in seen.services.items():
        answers = _ask(snapshot, dns_server) if dns_server else None
        services[key.name] = service_way.way(snapshot, apps=ways, answers=answers)
        if kind != SHARD_MAPS.kind:
            found.append((f"PaasService {key.name}", services[key.name]))
    for key, of_map in seen.maps.items():
        members = ((store.get(key) or {}).get("spec") or {}).get("members") or {}
        app, service = ((members.get(field) or {}).get("name") for field in ("appRef", "serviceRef"))
        # a PaasService's own way says what ails its apps
        behind: dict[str, Sequence[Link]] = {f"{PAAS_APPS.kind} {app}": ways[app]} if app in ways else {}
        behind |= {f"{PAAS_SERVICES.kind} {service}": services[service]} if service in services else {}
        found.append((f"ShardMap {key.name}", shard_way.way(of_map, behind=behind)))
    return found


def _ask(snapshot: ServiceSnapshot, server: str) -> dict[str, list[str]]:
    """What a name server says of a service's names."""
    try:
        import dns.exception  # noqa: PLC0415
        import dns.resolver  # noqa: PLC0415
    except ImportError as error:
        raise Failed("--dns-server needs the package dnspython: pip install shuren[edge]") from error
    host, _, port = server.rpartition(":")
    resolver = dns.resolver.Resolver(configure=False)
    try:
        resolver.nameservers = [socket.gethostbyname(host or port)]
        resolver.port = int(port) if host else 53
    except (OSError, ValueError) as error:
        raise Failed(f"--dns-server {server}: give it as HOST:PORT ({error})") from error
    resolver.lifetime = 5.0
    names = snapshot.published.names.names if snapshot.published is not None and snapshot.published.names is not None else ()
    answers: dict[str, list[str]] = {}
    for name in names:
        full = f"{name}.{snapshot.zone}"
        try:
            answers[full] = [str(record) for record in resolver.resolve(f"{full}.", "A")]
        except dns.exception.DNSException:
            answers[full] = []
    return answers


def _link(link: Link) -> Json:
    return {"link": link.name, "verdict": link.verdict.value, "evidence": link.evidence, "advice": link.advice or None}


def _say_links(links: Sequence[Link]) -> None:
    from shuren.domain.explain.links import Verdict  # noqa: PLC0415

    signs = {
        Verdict.HOLDS: ("✓", "green"),
        Verdict.BROKEN: ("✗", "bold red"),
        Verdict.UNKNOWN: ("?", "yellow"),
    }
    for link in links:
        sign, style = signs[link.verdict]
        say(f"  {sign} {link.name}: {link.evidence}", style)
        if link.advice:
            say(f"      do: {link.advice}")


# ---------------------------------------------------------------------------------------------------- diff


def diff(
    name: Names = None,
    *,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="End with 3 when something differs.")] = False,
    kubeconfig: options.Kubeconfig = "",
    context: options.Context = "",
    namespace: options.Namespace = "",
    everywhere: options.Everywhere = False,
    output: options.Output = Format.TABLE,
) -> None:
    """Show where Marathon differs from the specs, field by field after normalisation: drift, or changes that have yet to be made."""
    from shuren.cli.session import Where  # noqa: PLC0415
    from shuren.cli.status_text import differences  # noqa: PLC0415

    where = Where(kubeconfig=kubeconfig, context=context, namespace=namespace, everywhere=everywhere)
    seen, _, unknown = run(look(where, name or []))
    found = differences(seen.apps)
    document = [
        {"namespace": d.key.namespace, "name": d.key.name, "drift": d.drift, "fields": [vars_of(c) for c in d.changes]} for d in found
    ]
    if not structured({"items": document, "unknown": [{"about": u.about, "why": u.why} for u in unknown]}, output):
        for one in found:
            say(f"PaasApp {one.key.namespace}/{one.key.name} ({one.app_id}): {one.words}", "bold")
            for change in one.changes:
                say(f"  {change.path}: Marathon has {_short(change.before)}, the spec asks for {_short(change.after)}", "yellow")
        if not found and not unknown:
            say("Nothing differs.")
    _not_known(unknown)
    if exit_code and found:
        raise typer.Exit(Exit.FOUND)


def vars_of(change: Any) -> Json:
    """A changed field for programs."""
    return {"path": change.path, "actual": change.before, "desired": change.after}


def _short(value: object) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 200 else f"{text[:197]}..."  # noqa: PLR2004 - what a person reads in a line


# ---------------------------------------------------------------------------------------------------- history


def history(
    name: Annotated[str, typer.Argument(help="A PaasApp.")],
    *,
    kubeconfig: options.Kubeconfig = "",
    context: options.Context = "",
    namespace: options.Namespace = "",
    output: options.Output = Format.TABLE,
) -> None:
    """List the revisions of a PaasApp: number, state, Marathon's version, and how one failed. The newest is last."""
    from shuren.cli.session import Where  # noqa: PLC0415

    rows = run(_history(Where(kubeconfig=kubeconfig, context=context, namespace=namespace), name))
    if structured(rows, output):
        return
    table(
        ("NUMBER", "REVISION", "STATE", "RUNS", "CREATED", "MARATHON VERSION", "FAILURE"),
        [
            (str(r["number"]), r["revision"], r["state"], "yes" if r["current"] else "", r["created"], r["marathonVersion"], r["failure"])
            for r in rows
        ],
    )


async def _history(where: Where, name: str) -> list[Json]:
    from shuren.cli.session import named, session  # noqa: PLC0415
    from shuren.controllers.paasapp.history import revision_of  # noqa: PLC0415
    from shuren.domain.app.snapshot import OWNER_LABEL  # noqa: PLC0415
    from shuren.ports.kubernetes import CONTROLLER_REVISIONS, PAAS_APPS  # noqa: PLC0415

    resource, plain = named(name)
    if resource is not PAAS_APPS:
        raise Failed(f"only PaasApps have revisions, {name} is none")
    async with session(where) as connection:
        item = await connection.need(PAAS_APPS, plain)
        selector = f"{OWNER_LABEL}={item['metadata']['uid']}"
        page = await connection.kubernetes.list(CONTROLLER_REVISIONS, namespace=connection.namespace, label_selector=selector)
    current = ((item.get("status") or {}).get("revision") or {}).get("current", "")
    created = {i["metadata"]["name"]: str(i["metadata"].get("creationTimestamp", "")) for i in page.items}
    return [
        {
            "number": r.number,
            "revision": r.hash,
            "state": r.state.value,
            "current": r.hash == current,
            "created": created.get(r.name, ""),
            "marathonVersion": r.marathon_version,
            "failure": r.failure,
            "object": r.name,
        }
        for r in sorted((revision_of(i) for i in page.items), key=lambda r: r.number)
    ]

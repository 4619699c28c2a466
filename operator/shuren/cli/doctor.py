"""`shuren doctor`: looks at every part and says what is to be mended."""

from __future__ import annotations

import asyncio
import email.utils
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer

from shuren.cli import options
from shuren.cli.exits import Exit, run
from shuren.cli.output import Format, counted, say, structured

if TYPE_CHECKING:
    from shuren.cli.live import LiveWorld, Reached
    from shuren.cli.session import Session, Where
    from shuren.domain.doctor import Finding, Right

Json = dict[str, Any]
_NEEDED = (
    ("list", "paas.shurenyun.com", "paasapps", "", "plan, status, why"),
    ("list", "paas.shurenyun.com", "paasservices", "", "plan, status, why"),
    ("list", "paas.shurenyun.com", "mesosclusters", "", "all"),
    ("list", "apps", "controllerrevisions", "", "history, plan"),
    ("list", "", "namespaces", "", "plan: rules of tenancy"),
    ("get", "", "secrets", "", "plan: envRefs; passwords of clusters"),
    ("create", "paas.shurenyun.com", "paasapps", "", "plan -f of what is new"),
    ("patch", "paas.shurenyun.com", "paasapps", "", "plan -f, restart, suspend, promote"),
    ("patch", "apps", "controllerrevisions", "", "rollback"),
)


def doctor(
    *,
    kubeconfig: options.Kubeconfig = "",
    context: options.Context = "",
    namespace: options.Namespace = "",
    output: options.Output = Format.TABLE,
) -> None:
    """Look at the API server, CRDs, rights, the operator and every cluster: what is ill, and what mends it.

    Connectivity, releases, clocks, leadership, limits. Ends with 3 when something is ill.
    """
    from shuren.cli.session import Where  # noqa: PLC0415 - what only this command needs
    from shuren.domain.doctor import Health, worst  # noqa: PLC0415

    found = run(_doctor(Where(kubeconfig=kubeconfig, context=context, namespace=namespace)))
    document = [{"part": f.part, "health": f.health.value, "found": f.found, "mend": f.mend or None} for f in found]
    if not structured(document, output):
        signs = {Health.WELL: ("✓", "green"), Health.ADVICE: ("!", "yellow"), Health.ILL: ("✗", "bold red")}
        for finding in found:
            sign, style = signs[finding.health]
            say(f"{sign} {finding.part}: {finding.found}", style)
            if finding.mend:
                say(f"    do: {finding.mend}")
    if worst(found) is Health.ILL:
        raise typer.Exit(Exit.FOUND)


async def _doctor(where: Where) -> list[Finding]:
    from shuren.cli.live import clusters_of, connected, read_kubernetes  # noqa: PLC0415
    from shuren.cli.session import session  # noqa: PLC0415
    from shuren.domain.doctor import ill, well  # noqa: PLC0415
    from shuren.domain.errors import Denied, Gone, ShurenError  # noqa: PLC0415
    from shuren.ports.kubernetes import MESOS_CLUSTERS  # noqa: PLC0415

    async with session(where) as connection:
        found = await _api_server(connection)
        try:
            store, unknown = await read_kubernetes(connection, namespaces={connection.namespace})
        except Gone as error:
            mend = "helm install, or kubectl apply --server-side -f crds/"
            return [*found, ill("CRDs", f"the cluster does not know our kinds ({error})", mend)]
        except Denied as error:
            return [*found, await _rights(connection), ill("your rights", str(error), "ask for the ClusterRole shuren-viewer")]
        found += [await _rights(connection), *await _definitions(connection), *await _operator(connection)]
        found += [ill(one.about, one.why, "ask for that right") for one in unknown]
        names = clusters_of(store, store.keys(MESOS_CLUSTERS.kind))
        if not names:
            found.append(ill("clusters", "there is no MesosCluster", "create one: manifests/samples shows how"))
        async with connected(connection, store, clusters=names, given={}) as world:
            for name in sorted(names):
                try:
                    found += await _cluster(world, name)
                except ShurenError as error:
                    found.append(ill(f"cluster {name}", str(error), "see that message"))
        found += [well("commands", "exit statuses: 0 well, 3 something is ill (docs/cli.md)")] if not found else []
    return found


# ---------------------------------------------------------------------------------------------------- Kubernetes


async def _api_server(connection: Session) -> list[Finding]:
    import json  # noqa: PLC0415

    from shuren.domain.doctor import clock, release, well  # noqa: PLC0415

    began, ours = time.monotonic(), datetime.now(UTC)
    headers = await connection.kubernetes.headers_of("/version")
    took = time.monotonic() - began
    version = json.loads(await connection.kubernetes.text("/version"))
    part = f"API server {connection.server}"
    return [
        well(part, f"answers within {took:.2f} s (context {connection.context or 'of this pod'})"),
        release(part, "Kubernetes", str(version.get("gitVersion", ""))),
        clock(part, theirs=_date(headers), ours=ours, took=took),
    ]


def _date(headers: Mapping[str, str]) -> datetime | None:
    try:
        return email.utils.parsedate_to_datetime(headers.get("date", ""))
    except ValueError:
        return None


async def _rights(connection: Session) -> Finding:
    from shuren.domain.doctor import rights  # noqa: PLC0415

    answers = await asyncio.gather(*(_may(connection, *need) for need in _NEEDED))
    return rights([right for right, allowed in answers if not allowed], asked=len(_NEEDED))


async def _may(connection: Session, verb: str, group: str, plural: str, name: str, what: str) -> tuple[Right, bool]:  # noqa: PLR0917 - a row
    from shuren.domain.doctor import Right  # noqa: PLC0415
    from shuren.ports.kubernetes import Resource  # noqa: PLC0415

    review = Resource(
        group="authorization.k8s.io", version="v1", plural="selfsubjectaccessreviews", kind="SelfSubjectAccessReview", namespaced=False
    )
    scoped = plural not in {"mesosclusters", "namespaces"}
    attributes = {"verb": verb, "group": group, "resource": plural, "name": name, "namespace": connection.namespace if scoped else ""}
    body: Json = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "metadata": {},
        "spec": {"resourceAttributes": attributes},
    }
    answer = await connection.kubernetes.post(review, "", body)
    return Right(verb=verb, resource=f"{plural}{f'.{group}' if group else ''}", for_what=what), bool(answer["status"].get("allowed"))


async def _definitions(connection: Session) -> list[Finding]:
    """Installed CRDs against the ones that this program would generate."""
    from shuren.api.crdgen import definition as generated  # noqa: PLC0415
    from shuren.api.kinds import KINDS  # noqa: PLC0415
    from shuren.domain.doctor import advice, definition, ill  # noqa: PLC0415
    from shuren.domain.errors import Denied  # noqa: PLC0415
    from shuren.ports.kubernetes import Resource  # noqa: PLC0415

    crds = Resource(
        group="apiextensions.k8s.io", version="v1", plural="customresourcedefinitions", kind="CustomResourceDefinition", namespaced=False
    )
    found: list[Finding] = []
    for kind in KINDS:
        try:
            item = await connection.kubernetes.get(crds, "", kind.crd_name)
        except Denied:
            return [advice("CRDs", "you may not read them, so their age is not known", "ask for get on customresourcedefinitions")]
        if item is None:
            found.append(ill(f"CRD {kind.crd_name}", "it is missing", "kubectl apply --server-side -f crds/, or upgrade the chart"))
            continue
        conditions = item.get("status", {}).get("conditions") or ()
        established = any(c.get("type") == "Established" and c.get("status") == "True" for c in conditions)
        missing = _missing(_schema(generated(kind)), _schema(item))
        found.append(definition(kind.crd_name, missing=missing, established=established))
    return found


def _schema(item: Json) -> Json:
    schema: Json = item["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    return {name: schema.get(name) or {} for name in ("spec", "status")}


def _missing(ours: Mapping[str, Any], theirs: Mapping[str, Any], where: str = "") -> list[str]:
    """Paths of properties that we know and they do not."""
    found: list[str] = []
    for name, node in ours.items():
        path = f"{where}.{name}" if where else name
        if name not in theirs:
            found.append(path)
            continue
        other = theirs[name]
        found += _missing(node.get("properties") or {}, other.get("properties") or {}, path)
        if "items" in node and "items" in other:
            found += _missing(node["items"].get("properties") or {}, other["items"].get("properties") or {}, f"{path}[]")
    return found


async def _operator(connection: Session) -> list[Finding]:
    """The lease says who leads; its annotation says which release that is."""
    import shuren  # noqa: PLC0415
    from shuren.domain.doctor import advice, lease, operator_release  # noqa: PLC0415
    from shuren.domain.errors import Denied  # noqa: PLC0415
    from shuren.ports.kubernetes import LEASES  # noqa: PLC0415
    from shuren.ports.leadership import LEASE_NAME, VERSION_ANNOTATION  # noqa: PLC0415

    try:
        page = await connection.kubernetes.list(LEASES)
    except Denied:
        return [advice("operator", "you may not read leases, so whether it runs is not known", "ask for list on leases")]
    item = next((i for i in page.items if i["metadata"]["name"] == LEASE_NAME), None)
    spec = (item or {}).get("spec") or {}
    notes = (item or {}).get("metadata", {}).get("annotations") or {}
    return [
        lease(
            holder=str(spec.get("holderIdentity") or ""),
            renewed=str(spec.get("renewTime") or ""),
            seconds=int(spec.get("leaseDurationSeconds") or 0),
            now=datetime.now(UTC),
        ),
        operator_release(ours=shuren.__version__, theirs=str(notes.get(VERSION_ANNOTATION) or "")),
    ]


# ---------------------------------------------------------------------------------------------------- one cluster


async def _cluster(world: LiveWorld, name: str) -> list[Finding]:
    from shuren.domain.doctor import ill  # noqa: PLC0415

    part = f"cluster {name}"
    reached = world.reached.get(name)
    if reached is None:
        view = (world.get(name) or world.unconnected[name]).view
        return [ill(part, view.problem.message if view.problem is not None else "it was not read", f"kubectl get mcl {name} -o yaml")]
    if reached.survey.findings.error is not None:
        return [ill(part, str(reached.survey.findings.error), "does this machine reach it, and do the Secrets hold the right passwords?")]
    return [*await _zookeeper(part, reached), *await _marathon(part, reached), *_mesos(part, reached)]


async def _zookeeper(part: str, reached: Reached) -> list[Finding]:
    from shuren.domain.doctor import advice, release, well  # noqa: PLC0415

    version = await reached.parts.zookeeper.version()
    found = [release(f"{part}, ZooKeeper", "ZooKeeper", version)] if version else []
    if not version:
        found.append(advice(f"{part}, ZooKeeper", "answers, and does not tell its release", "allow the four-letter word srvr to know more"))
    hosts = reached.survey.settings.zookeeper.hosts
    if len(hosts) < 3:  # noqa: PLR2004 - the smallest ensemble that survives a loss
        found.append(advice(f"{part}, ZooKeeper", f"{counted(len(hosts), 'server')} named", "name three or five: one alone is no safety"))
    meta = await reached.parts.root.get("/meta")
    root = reached.survey.settings.zookeeper.root
    found.append(
        well(f"{part}, ZooKeeper", f"{root} holds {counted(reached.survey.claims.count, 'claim')}")
        if meta is not None
        else advice(f"{part}, ZooKeeper", f"{root} is empty: no operator has ever led here", "does an operator run?")
    )
    return found


async def _marathon(part: str, reached: Reached) -> list[Finding]:
    from shuren.domain.doctor import clock, release, size  # noqa: PLC0415

    survey = reached.survey
    began, ours = time.monotonic(), datetime.now(UTC)
    date = await reached.parts.marathon.date()
    took = time.monotonic() - began
    where = f"{part}, Marathon"
    return [
        release(where, "Marathon", survey.findings.info.version),
        clock(where, theirs=_date({"date": date}), ours=ours, took=took),
        size(where, apps=len(survey.findings.apps), limit=survey.settings.marathon.max_concurrent_deployments),
    ]


def _mesos(part: str, reached: Reached) -> list[Finding]:
    from shuren.domain.doctor import advice, ill, release, room, well  # noqa: PLC0415

    where = f"{part}, Mesos"
    summary = reached.survey.findings.mesos
    if reached.parts.mesos is None:
        return [advice(where, "spec.mesos.masters names none: no logs, no addresses of agents", "name them")]
    if summary is None:
        return [ill(where, "no master answers", "correct spec.mesos.masters")]
    found = [release(where, "Mesos", summary.version), well(where, f"{summary.agents} agents, leader {summary.leader}")]
    found += [
        room(where, used=summary.used.cpus, total=summary.total.cpus, what="cpus"),
        room(where, used=summary.used.mem, total=summary.total.mem, what="MiB of memory"),
    ]
    return found

"""`shuren import`: what runs in a Marathon today, as resources that take it over without restarting anything."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shuren.cli import options
from shuren.cli.exits import Exit, Failed, run
from shuren.cli.output import Format, say, structured

if TYPE_CHECKING:
    from shuren.cli.session import Where
    from shuren.clients.marathon.client import MarathonClient
    from shuren.domain.importing.naming import Place
    from shuren.domain.marathon.state import ActualApp, MarathonInfo

Json = dict[str, Any]
_MANAGER = "shuren-import"


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the options ask for."""

    cluster: str
    namespace: str = "default"
    by_group: bool = False
    prefixes: tuple[str, ...] = ()
    services: bool = True
    secrets: bool = True
    whole: bool = False


@dataclass(kw_only=True)
class Imported:
    """Resources by app id, and sentences about what needs a look; `refused` are apps that could not be expressed."""

    resources: dict[str, list[Json]] = field(default_factory=dict)
    secrets: list[Json] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)

    def every(self) -> Iterator[Json]:
        """All resources, what others refer to first."""
        yield from self.secrets
        for resources in self.resources.values():
            yield from resources


def import_(
    cluster: Annotated[str, typer.Option("--cluster", help="Name of the MesosCluster that the resources refer to.")],
    marathon: Annotated[str, typer.Option(help="URL of a Marathon to read. Default: that of the MesosCluster --cluster.")] = "",
    directory: Annotated[Path | None, typer.Option("--directory", "-d", help="Write files here, for Git.")] = None,
    *,
    apply: Annotated[bool, typer.Option("--apply", help="Create the resources in Kubernetes at once.")] = False,
    by_group: Annotated[bool, typer.Option("--by-group", help="/shop/web goes into namespace shop, not into one with all.")] = False,
    prefix: Annotated[list[str] | None, typer.Option("--prefix", help="Only ids at or below this path; repeatable.")] = None,
    services: Annotated[bool, typer.Option("--services/--no-services", help="PaasServices for marathon-lb's labels.")] = True,
    secrets: Annotated[
        bool, typer.Option("--secrets/--no-secrets", help="Variables that look like secrets go into Secrets, not into the spec.")
    ] = True,
    whole: Annotated[bool, typer.Option("--whole", help="Every field, also those that Marathon would fill in the same way.")] = False,
    kubeconfig: options.Kubeconfig = "",
    context: options.Context = "",
    namespace: options.Namespace = "",
    output: options.Output = Format.TABLE,
) -> None:
    """Turn the apps of a live Marathon into PaasApps (and marathon-lb's labels into PaasServices) that take them over as they are.

    No app is changed and no task restarts: the specs ask for exactly what Marathon has, and adoption (AdoptIfIdentical) refuses anything
    else. Without --directory and --apply only the report is printed. A user for --marathon comes from MARATHON_USERNAME and
    MARATHON_PASSWORD, or MARATHON_TOKEN. Pods, and what groups say themselves, have no equal and are named in the report.
    """
    from shuren.cli.session import Where  # noqa: PLC0415

    wish = Wish(
        cluster=cluster,
        namespace=namespace,
        by_group=by_group,
        prefixes=tuple(prefix or ()),
        services=services,
        secrets=secrets,
        whole=whole,
    )
    where = Where(kubeconfig=kubeconfig, context=context, namespace=namespace)
    found = run(_import(where, wish, marathon, apply=apply))
    if directory is not None:
        _write(directory, found)
    if not structured(_document(found), output):
        _report(found, directory, applied=apply)
    if found.refused:
        raise typer.Exit(Exit.FOUND)


async def _import(where: Where, wish: Wish, url: str, *, apply: bool) -> Imported:
    from dataclasses import replace  # noqa: PLC0415

    from shuren.cli.live import credentials_of  # noqa: PLC0415
    from shuren.cli.session import session  # noqa: PLC0415
    from shuren.clients.marathon.client import Credentials, MarathonClient  # noqa: PLC0415
    from shuren.clients.parts import parts_of  # noqa: PLC0415
    from shuren.controllers.mesoscluster import gather  # noqa: PLC0415
    from shuren.ports.kubernetes import MESOS_CLUSTERS  # noqa: PLC0415

    if url and not apply:
        login = Credentials(
            username=os.environ.get("MARATHON_USERNAME", ""),
            password=os.environ.get("MARATHON_PASSWORD", ""),
            token=os.environ.get("MARATHON_TOKEN", ""),
        )
        client = MarathonClient([url], credentials=login, timeout=60.0)
        try:
            return await read(client, replace(wish, namespace=wish.namespace or "default"))
        finally:
            await client.close()
    async with session(where) as connection:
        item = await connection.need(MESOS_CLUSTERS, wish.cluster)
        settings = gather.settings(item)
        parts = parts_of(settings, await credentials_of(connection, settings, {}))
        try:
            found = await read(parts.marathon, replace(wish, namespace=connection.namespace))
        finally:
            await parts.close()
        if apply:
            await _apply(connection, found)
        return found


async def read(client: MarathonClient, wish: Wish) -> Imported:
    """Read a Marathon and convert what it has."""
    from shuren.domain.importing.naming import places  # noqa: PLC0415
    from shuren.domain.marathon.paths import within  # noqa: PLC0415

    info, apps = await client.info(), await client.apps()
    chosen = [app for app in apps if not wish.prefixes or any(within(app.id, prefix) for prefix in wish.prefixes)]
    found = Imported()
    where = places((app.id for app in chosen), namespace=wish.namespace, by_group=wish.by_group)
    for app in sorted(chosen, key=lambda a: a.id):
        _convert(app, where[app.id], wish, info, found)
    for pod in await client.pods():
        found.refused.append((pod, "is a pod, which Shuren does not manage: it stays as it is"))
    for group, own in sorted((await client.group_settings()).items()):
        found.notes.append((group, f"the group's own settings have no equal and stay as they are: {', '.join(sorted(own))}"))
    return found


def _convert(app: ActualApp, place: Place, wish: Wish, info: MarathonInfo, found: Imported) -> None:
    from shuren.domain.importing.apps import imported  # noqa: PLC0415
    from shuren.domain.importing.marathonlb import convert  # noqa: PLC0415

    secret = f"{place.name}-env" if wish.secrets else ""
    made = imported(
        app.definition,
        namespace=place.namespace,
        name=place.name,
        cluster=wish.cluster,
        info=info,
        secret=secret,
        whole=wish.whole,
    )
    resource = _resource("PaasApp", place.namespace, place.name, made.spec)
    problem = _refusal(resource)
    if problem or made.differs:
        found.refused.append((app.id, problem or f"cannot be expressed: {', '.join(made.differs)}"))
        return
    if made.secrets:
        found.secrets.append(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": secret, "namespace": place.namespace},
                "type": "Opaque",
                "stringData": dict(made.secrets),
            }
        )
        found.notes.append((app.id, f"{', '.join(made.secrets)} went into Secret {place.namespace}/{secret}: do not commit its file"))
    found.resources[app.id] = [resource]
    if not wish.services:
        return
    converted = convert(app.definition, app=place.name, cluster=wish.cluster)
    found.notes += [(app.id, note) for note in converted.notes]
    for service in converted.services:
        one = _resource("PaasService", place.namespace, f"{place.name}{service.suffix}", service.spec)
        problem = _refusal(one)
        if problem:
            found.notes.append((app.id, f"PaasService {one['metadata']['name']} is left out: {problem}"))
        else:
            found.resources[app.id].append(one)


def _resource(kind: str, namespace: str, name: str, spec: Json) -> Json:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "paas.shurenyun.com/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def _refusal(resource: Json) -> str:
    """What the schema has against a resource; empty when nothing."""
    from pydantic import ValidationError  # noqa: PLC0415

    from shuren.api.problems import problems  # noqa: PLC0415
    from shuren.api.v1alpha1 import paasapp, paasservice  # noqa: PLC0415

    try:
        if resource["kind"] == "PaasApp":
            paasapp.read(resource)
        else:
            paasservice.read(resource)
    except ValidationError as error:
        return "; ".join(str(problem) for problem in problems(error)[:3])
    return ""


async def _apply(connection: Any, found: Imported) -> None:
    """Create everything. What is there already is somebody's: it is refused, not overwritten."""
    from shuren.domain.errors import Exists  # noqa: PLC0415
    from shuren.ports.kubernetes import PAAS_APPS, PAAS_SERVICES, SECRETS  # noqa: PLC0415

    resources = {r.kind: r for r in (PAAS_APPS, PAAS_SERVICES, SECRETS)}
    for item in found.every():
        resource, name, namespace = resources[item["kind"]], item["metadata"]["name"], item["metadata"]["namespace"]
        try:
            await connection.kubernetes.post(resource, namespace, item, name=name)
        except Exists:
            known = await connection.kubernetes.get(resource, namespace, name)
            if known is not None and resource is not SECRETS and known.get("spec") == item["spec"]:
                continue
            found.notes.append((f"{item['kind']} {namespace}/{name}", "exists already and was left as it is"))


# ---------------------------------------------------------------------------------------------------- files, report


def _write(directory: Path, found: Imported) -> None:
    import yaml  # noqa: PLC0415

    def dump(path: Path, documents: list[Json]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True, width=140), encoding="utf-8")

    try:
        names: list[str] = []
        for resources in found.resources.values():
            metadata = resources[0]["metadata"]
            name = f"{metadata['namespace']}/{metadata['name']}.yaml"
            dump(directory / name, resources)
            names.append(name)
        if found.secrets:
            dump(directory / "secrets.yaml", found.secrets)
            (directory / "secrets.yaml").chmod(0o600)
            (directory / ".gitignore").write_text("# values of Secrets in clear\nsecrets.yaml\n")
        dump(
            directory / "kustomization.yaml",
            [{"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": sorted(names)}],
        )
    except OSError as error:
        raise Failed(f"{directory} cannot be written: {error.strerror}") from error


def _document(found: Imported) -> Json:
    """For programs; values of Secrets are not among it."""
    return {
        "resources": [item for resources in found.resources.values() for item in resources],
        "secrets": [{"namespace": s["metadata"]["namespace"], "name": s["metadata"]["name"]} for s in found.secrets],
        "notes": [{"about": about, "note": note} for about, note in found.notes],
        "refused": [{"about": about, "why": why} for about, why in found.refused],
    }


def _counted(items: Mapping[str, list[Json]]) -> tuple[int, int]:
    return len(items), sum(len(resources) - 1 for resources in items.values())


def _report(found: Imported, directory: Path | None, *, applied: bool) -> None:
    apps, services = _counted(found.resources)
    did = "created in Kubernetes" if applied else f"written to {directory}" if directory is not None else "found; nothing is written"
    say(f"{apps} apps and {services} services {did}.", "bold")
    for about, note in found.notes:
        say(f"  {about}: {note}")
    for about, why in found.refused:
        say(f"  ! {about}: {why}", "yellow")
    if directory is not None:
        secrets = f" -f {directory / 'secrets.yaml'}" if found.secrets else ""
        say(f"next: shuren plan -k {directory}{secrets}    (shows that nothing restarts), then kubectl apply")

"""`shuren export`: resources of this product as plain Kubernetes objects, with a report of what has no equal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shuren.cli import options
from shuren.cli.exits import Failed, run
from shuren.cli.output import Format, say, structured

if TYPE_CHECKING:
    from shuren.cli.session import Where
    from shuren.domain.exporting.workloads import Exported

Json = dict[str, Any]


def export(
    name: Annotated[list[str] | None, typer.Argument(metavar="[NAME…]", help="web, papp/web or psvc/web; default: all.")] = None,
    *,
    kubernetes: Annotated[bool, typer.Option("--kubernetes", help="As Deployments, Services, Ingresses: the only form so far.")] = False,
    autoscale: Annotated[bool, typer.Option("--autoscale", help="With a HorizontalPodAutoscaler for each Deployment.")] = False,
    directory: Annotated[Path | None, typer.Option("--directory", "-d", help="Write files here, one for each resource.")] = None,
    kubeconfig: options.Kubeconfig = "",
    context: options.Context = "",
    namespace: options.Namespace = "",
    everywhere: options.Everywhere = False,
    output: options.Output = Format.TABLE,
) -> None:
    """Convert PaasApps and PaasServices to Deployments, Services and Ingresses, and say what of them has no equal there.

    The report goes to standard error, the objects (YAML) to standard output or to files. Nothing is applied and nothing changes.
    """
    if not kubernetes:
        raise typer.BadParameter("say what to export to: --kubernetes")
    from shuren.cli.session import Where  # noqa: PLC0415 - what only this command needs

    where = Where(kubeconfig=kubeconfig, context=context, namespace=namespace, everywhere=everywhere)
    found = run(_export(where, name or [], autoscale=autoscale))
    objects = [item for _, one in found for item in one.objects]
    notes = [(about, note) for about, one in found for note in one.notes]
    if directory is not None:
        _write(directory, found)
    elif output is Format.JSON:
        structured({"objects": objects, "notes": [{"about": about, "note": note} for about, note in notes]}, output)
        return
    else:
        import yaml  # noqa: PLC0415

        print(yaml.safe_dump_all(objects, sort_keys=False, allow_unicode=True, width=140), end="")
    for about, note in notes:
        typer.echo(f"{about}: {note}", err=True)
    if directory is not None:
        say(f"{len(objects)} objects written to {directory}; {len(notes)} notes on what has no equal")


async def _export(where: Where, names: list[str], *, autoscale: bool) -> list[tuple[str, Exported]]:
    from shuren.api.v1alpha1.paasapp import marathon_definition  # noqa: PLC0415
    from shuren.cli.live import read_kubernetes  # noqa: PLC0415
    from shuren.cli.session import session  # noqa: PLC0415
    from shuren.cli.status import chosen  # noqa: PLC0415
    from shuren.domain.exporting import services, workloads  # noqa: PLC0415
    from shuren.domain.identity import ObjectKey  # noqa: PLC0415
    from shuren.ports.kubernetes import PAAS_APPS, PAAS_SERVICES  # noqa: PLC0415

    found: list[tuple[str, Exported]] = []
    async with session(where) as connection:
        store, _ = await read_kubernetes(connection, namespaces={connection.namespace} - {""})
        keys = chosen(store, names, connection.namespace)
    for key in sorted(keys):
        spec = (store.get(key) or {}).get("spec") or {}
        if key.kind == PAAS_APPS.kind:
            definition = marathon_definition(spec)
            made = workloads.workload(definition, namespace=key.namespace, name=key.name, references=spec.get("envRefs") or ())
            made.notes += [f"{field}: has no equal" for field in ("filesFrom", "patches", "dependsOn") if spec.get(field)]
            if autoscale:
                instances = int(spec.get("instances", 1))
                made.objects.append(workloads.autoscaler(namespace=key.namespace, name=key.name, instances=instances))
            found.append((f"PaasApp {key.namespace}/{key.name}", made))
        elif key.kind == PAAS_SERVICES.kind:
            first = next((b["appRef"]["name"] for b in spec.get("backends") or () if "appRef" in b), "")
            app = store.get(ObjectKey(kind=PAAS_APPS.kind, namespace=key.namespace, name=first)) or {}
            ports = workloads.ports(marathon_definition(app.get("spec") or {}))
            found.append(
                (f"PaasService {key.namespace}/{key.name}", services.service(spec, namespace=key.namespace, name=key.name, ports=ports))
            )
    return found


def _write(directory: Path, found: list[tuple[str, Exported]]) -> None:
    import yaml  # noqa: PLC0415

    try:
        directory.mkdir(parents=True, exist_ok=True)
        for about, one in found:
            kind, _, place = about.partition(" ")
            if one.objects:
                text = yaml.safe_dump_all(one.objects, sort_keys=False, allow_unicode=True, width=140)
                (directory / f"{place.replace('/', '.')}.{kind.removeprefix('Paas').lower()}.yaml").write_text(text, encoding="utf-8")
    except OSError as error:
        raise Failed(f"{directory} cannot be written: {error.strerror}") from error

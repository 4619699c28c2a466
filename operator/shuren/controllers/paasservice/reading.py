"""From the resource's JSON to the values that decisions know: the rim where api models end and the domain begins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from shuren.api.problems import problems
from shuren.api.v1alpha1 import paasservice as api
from shuren.api.v1alpha1.loadbalancer import listener_document
from shuren.controllers.identity import cluster_of
from shuren.controllers.selectors import selector_of
from shuren.domain.app.snapshot import Problem
from shuren.domain.errors import Invalid
from shuren.domain.haproxy.parse import parse
from shuren.domain.haproxy.settings import LoadBalancing
from shuren.domain.identity import ObjectKey
from shuren.domain.service import addresses
from shuren.domain.service.records import RecordFolder, RecordFormat
from shuren.domain.service.snapshot import BackendSpec, KubernetesTarget, ServiceResource, ServiceSpec
from shuren.ports.kubernetes import Object

_SHOWN = 5
ROUTE = "spec.loadBalancer"
"""The field under which claims on ports and hosts are kept; load balancers resolve them, so they are no rivals by themselves."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A resource as far as it could be read. `spec` is None, and `problem` says why, when the schema refuses it."""

    resource: ServiceResource
    cluster: str
    spec: ServiceSpec | None = None
    settings: LoadBalancing | None = None
    problem: Problem | None = None


def read(key: ObjectKey, item: Object) -> Reading:
    """Read a PaasService. Never raises: what is wrong becomes a problem."""
    metadata = item["metadata"]
    resource = ServiceResource(
        key=key,
        uid=metadata["uid"],
        generation=int(metadata.get("generation", 1)),
        created=str(metadata.get("creationTimestamp") or ""),
        deleting="deletionTimestamp" in metadata,
        finalizers=tuple(metadata.get("finalizers") or ()),
        annotations=dict(metadata.get("annotations") or {}),
        status=item.get("status") or {},
    )
    cluster = cluster_of(item.get("spec") or {})
    try:
        model = api.read(item)
    except ValidationError as error:
        found = [str(problem) for problem in problems(error)]
        more = f" (and {len(found) - _SHOWN} more)" if len(found) > _SHOWN else ""
        message = "; ".join(found[:_SHOWN]) + more
        return Reading(resource=resource, cluster=cluster, problem=Problem(reason="InvalidSpec", message=message))
    spec = _spec(key, model.spec)
    try:
        settings = parse(spec.listener) if spec.listener is not None else None
    except Invalid as error:
        return Reading(resource=resource, cluster=cluster, problem=Problem(reason="InvalidSpec", message=str(error)))
    return Reading(resource=resource, cluster=cluster, spec=spec, settings=settings)


def _spec(key: ObjectKey, model: api.PaasServiceSpec) -> ServiceSpec:
    discovery = model.discovery or api.Discovery()
    target = discovery.kubernetes
    names = model.dns.names if model.dns is not None else None
    return ServiceSpec(
        cluster=model.cluster_ref.name,
        backends=tuple(_backend(b) for b in model.backends),
        protocol=model.protocol.value.lower(),
        panic_threshold=model.panic_threshold,
        folders=tuple(_folders(discovery)),
        kubernetes=KubernetesTarget(service=target.service, port=target.port) if target is not None else None,
        names=tuple(names) if names is not None else (f"{key.name}.{key.namespace}",),
        group=model.load_balancer.group if model.load_balancer is not None else "",
        listener=listener_document(model.load_balancer) if model.load_balancer is not None else None,
        suspend=model.suspend,
    )


def _backend(model: api.Backend) -> BackendSpec:
    return BackendSpec(
        name=model.name,
        weight=model.weight,
        port=model.port_name if model.port_name is not None else model.port_index or 0,
        app=model.app_ref.name if model.app_ref is not None else "",
        selector=selector_of(model.selector) if model.selector is not None else None,
        addresses=tuple((a.host, a.port) for a in model.addresses or ()),
    )


def _folders(model: api.Discovery) -> Iterable[RecordFolder]:
    if model.serverset is not None:
        additional = tuple(model.serverset.additional_ports or ())
        yield RecordFolder(format=RecordFormat.SERVERSET, path=model.serverset.path, additional=additional)
    if model.curator is not None:
        plain = not model.curator.enabled_field
        yield RecordFolder(format=RecordFormat.CURATOR_PLAIN if plain else RecordFormat.CURATOR, path=model.curator.path)
    if model.nerve is not None:
        yield RecordFolder(format=RecordFormat.NERVE, path=model.nerve.path)


# ---------------------------------------------------------------------------------------------------- what two cannot have


def wants(key: ObjectKey, spec: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """What a raw spec asks for and only one service of a cluster can have, as (field, value); nothing when the spec is broken."""
    try:
        model = _spec(key, api.PaasServiceSpec.model_validate(dict(spec)))
    except ValidationError:
        return ()
    names = [("spec.dns.names", name) for name in model.names]
    folders = [(f"spec.discovery.{f.format.value.removesuffix('Plain')}.path", f.path) for f in model.folders]
    return (*names, *folders, *_route_wants(model))


def _route_wants(spec: ServiceSpec) -> tuple[tuple[str, str], ...]:
    settings = _settings(spec)
    return tuple((ROUTE, want) for want in addresses.wants(spec.group, settings)) if settings is not None else ()


def collides_with(key: ObjectKey, spec: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """What others would have to want so that they and this one cannot both have it, in the form of `wants`."""
    try:
        model = _spec(key, api.PaasServiceSpec.model_validate(dict(spec)))
    except ValidationError:
        return ()
    settings = _settings(model)
    routes = addresses.could_want_the_same(model.group, settings) if settings is not None else ()
    return (*(want for want in wants(key, spec) if want[0] != ROUTE), *((ROUTE, want) for want in routes))


def _settings(spec: ServiceSpec) -> LoadBalancing | None:
    try:
        return parse(spec.listener) if spec.listener is not None else None
    except Invalid:
        return None

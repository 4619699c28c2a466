"""A selectorless Kubernetes Service with EndpointSlices, so that pods reach a service on Mesos by name.

Slices hold at most 100 endpoints each and one family of addresses. An endpoint stays in its slice as long as that exists, so that a change
of one endpoint writes one slice. Conditions as in design §4.4: `ready` takes traffic, `serving` and `terminating` while draining.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shuren.domain.json import JsonValue
from shuren.domain.service.values import Endpoint, EndpointState

PER_SLICE = 100
MANAGED_BY = "paas.shurenyun.com"
SERVICE_LABEL = "kubernetes.io/service-name"
MANAGED_BY_LABEL = "endpointslice.kubernetes.io/managed-by"
SERVICE_MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
PORT_NAME = "main"


@dataclass(frozen=True, kw_only=True, slots=True)
class Owner:
    """The PaasService that owns the objects."""

    api_version: str
    kind: str
    name: str
    uid: str

    def reference(self) -> dict[str, JsonValue]:
        """As in `metadata.ownerReferences`."""
        return {"apiVersion": self.api_version, "kind": self.kind, "name": self.name, "uid": self.uid, "controller": True}


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceChange:
    """Slices to create or replace (whole objects by name), names of slices to delete, and addresses that no slice can hold."""

    write: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    delete: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.write or self.delete)


def service(*, name: str, namespace: str, port: int, protocol: str, owner: Owner) -> dict[str, Any]:
    """The Service object: no selector, so that nobody but us names its endpoints."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {SERVICE_MANAGED_BY_LABEL: MANAGED_BY},
            "ownerReferences": [owner.reference()],
        },
        "spec": {"ports": [{"name": PORT_NAME, "port": port, "protocol": protocol.upper()}]},
    }


def same_service(existing: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a Service is as wanted, whatever the API server has filled in beside."""
    spec = existing.get("spec") or {}
    ports = [{key: port.get(key) for key in ("name", "port", "protocol")} for port in spec.get("ports") or ()]
    labels = (existing.get("metadata") or {}).get("labels") or {}
    marked = labels.get(SERVICE_MANAGED_BY_LABEL) == MANAGED_BY
    return marked and not spec.get("selector") and ports == wanted["spec"]["ports"]


def desired(
    endpoints: Collection[Endpoint],
    existing: Sequence[Mapping[str, Any]],
    *,
    service_name: str,
    namespace: str,
    protocol: str,
    owner: Owner,
) -> SliceChange:
    """What to change of the slices that exist (ours only) so that they hold `endpoints`.

    Endpoints at host names are left out, since kube-proxy carries no slice of type FQDN, and so is what the API server refuses (loopback,
    link-local, multicast); `left_out` names them.
    """
    placed: dict[tuple[str, int], list[Endpoint]] = {}
    for e in sorted(endpoints, key=lambda e: e.id):
        family = address_family(e.address)
        if family is not None:
            placed.setdefault((family, e.port), []).append(e)
    left_out = tuple(sorted({e.address for e in endpoints if address_family(e.address) is None}))
    write: dict[str, Mapping[str, Any]] = {}
    used: set[str] = set()
    by_name = {str(item["metadata"]["name"]): item for item in existing}
    groups = _groups(existing)
    for key, members in placed.items():
        slices = _distribute(members, groups.get(key, []))
        for name, held in slices:
            chosen = name or _fresh(service_name, used | by_name.keys())
            used.add(chosen)
            document = _document(held, name=chosen, key=key, service_name=service_name, namespace=namespace, protocol=protocol, owner=owner)
            if chosen not in by_name or not _same(by_name[chosen], document):
                write[chosen] = document
    return SliceChange(write=write, delete=tuple(sorted(by_name.keys() - used)), left_out=left_out)


def address_family(address: str) -> str | None:
    """`IPv4`, `IPv6`, or None for what cannot be in a slice."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return None
    refused = ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_unspecified
    return None if refused else f"IPv{ip.version}"


def _groups(existing: Sequence[Mapping[str, Any]]) -> dict[tuple[str, int], list[Mapping[str, Any]]]:
    """Slices by address family and port: all endpoints of a slice share both."""
    groups: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for item in sorted(existing, key=lambda s: str(s["metadata"]["name"])):
        ports = item.get("ports") or [{}]
        groups.setdefault((str(item.get("addressType")), int(ports[0].get("port") or 0)), []).append(item)
    return groups


def _distribute(members: Sequence[Endpoint], slices: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Endpoint]]]:
    """Endpoints into slices: each stays where it is, new ones fill what has room, what is left makes new slices (named "")."""
    by_id = {e.id: e for e in members}
    result: list[tuple[str, list[Endpoint]]] = []
    for item in slices:
        names = [str((e.get("targetRef") or {}).get("name") or e.get("hostname") or "") for e in item.get("endpoints") or ()]
        result.append((str(item["metadata"]["name"]), [by_id.pop(name) for name in names if name in by_id]))
    left = list(by_id.values())
    for _, held in result:
        room = PER_SLICE - len(held)
        held.extend(left[:room])
        left = left[room:]
    result += [("", left[start : start + PER_SLICE]) for start in range(0, len(left), PER_SLICE)]
    return [(name, held) for name, held in result if held]


def _fresh(service_name: str, taken: Collection[str]) -> str:
    number = 1
    while f"{service_name}-{number}" in taken:
        number += 1
    return f"{service_name}-{number}"


def _document(
    held: Sequence[Endpoint], *, name: str, key: tuple[str, int], service_name: str, namespace: str, protocol: str, owner: Owner
) -> dict[str, Any]:
    family, port = key
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {SERVICE_LABEL: service_name, MANAGED_BY_LABEL: MANAGED_BY},
            "ownerReferences": [owner.reference()],
        },
        "addressType": family,
        "ports": [{"name": PORT_NAME, "port": port, "protocol": protocol.upper()}],
        "endpoints": [_endpoint(e) for e in held],
    }


def _endpoint(e: Endpoint) -> dict[str, Any]:
    draining = e.state is EndpointState.DRAINING
    ready = e.state is EndpointState.READY and e.weight > 0  # a slice knows no weights
    document: dict[str, Any] = {
        "addresses": [e.address],
        "conditions": {"ready": ready, "serving": e.state is EndpointState.READY or draining, "terminating": draining},
        "targetRef": {"kind": "MesosTask", "name": e.id},
    }
    if e.zone:
        document["zone"] = e.zone
    return document


def _same(existing: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    labels = (existing.get("metadata") or {}).get("labels") or {}
    same_labels = all(labels.get(key) == value for key, value in wanted["metadata"]["labels"].items())
    return same_labels and all(existing.get(key) == wanted[key] for key in ("addressType", "ports", "endpoints"))

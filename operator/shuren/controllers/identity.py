"""What a raw spec says of which app and which cluster it is about: read by every kind, even of a spec that is broken elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shuren.domain.marathon.paths import absolute, default_id


def app_id_of(namespace: str, name: str, spec: Mapping[str, Any]) -> str:
    """The Marathon id that the spec of a PaasApp of that name asks for."""
    given = spec.get("id")
    return absolute(given) if isinstance(given, str) and given else default_id(namespace, name)


def cluster_of(spec: Mapping[str, Any]) -> str:
    """The name of the MesosCluster, empty when the spec is broken there."""
    reference = spec.get("clusterRef")
    name = reference.get("name") if isinstance(reference, dict) else None
    return name if isinstance(name, str) else ""

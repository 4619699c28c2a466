"""Resources in Mesos' two forms: numbers by name in the old endpoints, typed values in the v1 API."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Json = dict[str, Any]
NOTHING: Json = {"cpus": 0.0, "mem": 0.0, "disk": 0.0, "gpus": 0.0}
Ports = Iterable[tuple[int, int]]


def single(ports: Iterable[int]) -> list[tuple[int, int]]:
    """Ports as ranges of one."""
    return [(port, port) for port in sorted(ports)]


def shown(values: Mapping[str, float], ports: Ports) -> Json:
    """As the old endpoints show resources: every scalar, ports when there are some."""
    ranges = ", ".join(f"{low}-{high}" for low, high in ports)
    return {**values, **({"ports": f"[{ranges}]"} if ranges else {})}


def typed(values: Mapping[str, float], ports: Ports, *, role: str | None = None, allocation: str | None = None) -> list[Json]:
    """As the v1 API shows them: what there is of nothing is left out."""
    roles: Json = {"role": role} if role is not None else {}
    if allocation is not None:
        roles["allocation_info"] = {"role": allocation}
    found: list[Json] = [{"name": name, "type": "SCALAR", "scalar": {"value": value}, **roles} for name, value in values.items() if value]
    ranges = [{"begin": low, "end": high} for low, high in ports]
    if ranges:
        found.append({"name": "ports", "type": "RANGES", "ranges": {"range": ranges}, **roles})
    return found

"""Where checks go: the address and port at which a task's declared ports can be reached. Pure.

A port with a place on the host is reached at the host; one without at the container's own address under its container port.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shuren.sandbox.engine.environment import declared_ports
from shuren.sandbox.engine.model import is_pod

if TYPE_CHECKING:
    from shuren.sandbox.contract import Json
    from shuren.sandbox.engine.model import Instance


@dataclass(frozen=True, kw_only=True)
class Target:
    """An address with a port; None when the check names a port that the task does not have."""

    address: str
    port: int | None


def _named_ports(definition: Json) -> list[tuple[int, str | None, int]]:
    """(container port, name, wanted host port; -1 for none) of each port of an app, or of each endpoint of a pod."""
    if not is_pod(definition):
        return declared_ports(definition)
    endpoints = [e for container in definition["containers"] for e in container.get("endpoints", ())]
    return [(int(e.get("containerPort", 0)), e["name"], int(e.get("hostPort", -1))) for e in endpoints]


def targets(instance: Instance) -> list[tuple[str | None, Target]]:
    """(name, target) of each declared port, in order."""
    host = instance.host or ""
    inside = instance.network_ip or instance.ip or host
    given = iter(instance.ports)
    found = []
    for number, name, wanted in _named_ports(instance.definition):
        target = Target(address=host, port=next(given, None)) if wanted >= 0 else Target(address=inside, port=number or None)
        found.append((name, target))
    return found


def of_check(instance: Instance, check: Json) -> Target:
    """A health check's: `port` wins over `portIndex` (0 by default); pods name an endpoint."""
    known = targets(instance)
    if "port" in check:
        on_host = not known or known[0][1].address == instance.host
        return Target(address=(instance.host or "") if on_host else known[0][1].address, port=int(check["port"]))
    if "endpoint" in check:
        return of_name(instance, check["endpoint"])
    index = int(check.get("portIndex", 0))
    return known[index][1] if index < len(known) else Target(address=instance.host or "", port=None)


def of_name(instance: Instance, name: str) -> Target:
    """That of a port with this name."""
    nowhere = Target(address=instance.host or "", port=None)
    return next((target for other, target in targets(instance) if other == name), nowhere)

"""Matching an instance with an offer: role, constraints, resources, ports, in the order of Marathon's ten reasons."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from shuren.sandbox.agents.agent import Agent, Resources
from shuren.sandbox.engine.environment import wanted_ports
from shuren.sandbox.engine.model import is_pod

if TYPE_CHECKING:
    from collections.abc import Container

    from shuren.sandbox.contract import Json
    from shuren.sandbox.engine.constraints import Placement


class Reason(Enum):
    """Why an offer was not used; the order is that of the funnel in `GET /v2/queue`."""

    ROLE = "UnfulfilledRole"
    CONSTRAINT = "UnfulfilledConstraint"
    RESERVATION = "NoCorrespondingReservationFound"
    MAINTENANCE = "AgentMaintenance"
    CPUS = "InsufficientCpus"
    MEMORY = "InsufficientMemory"
    DISK = "InsufficientDisk"
    GPUS = "InsufficientGpus"
    PORTS = "InsufficientPorts"
    SCARCE = "DeclinedScarceResources"


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What one instance of a definition needs."""

    resources: Resources
    ports: tuple[int, ...]
    roles: frozenset[str]
    role: str


def demand_of(definition: Json) -> Demand:
    """Reads an app's or pod's needs. Pods add up their containers and their executor."""
    role = str(definition.get("role", "*"))
    accepted = frozenset(definition.get("acceptedResourceRoles", ())) or frozenset({"*", role})
    if is_pod(definition):
        executor = definition.get("executorResources", {"cpus": 0.1, "mem": 32.0, "disk": 10.0})
        parts = [executor, *(c.get("resources", {}) for c in definition["containers"])]
        accepted = frozenset(definition.get("scheduling", {}).get("placement", {}).get("acceptedResourceRoles", ())) or accepted
        resources = Resources()
        for part in parts:
            resources = resources.plus(_resources(part))
    else:
        resources = _resources(definition)
    return Demand(resources=resources, ports=tuple(wanted_ports(definition)), roles=accepted, role=role)


def _resources(part: Json) -> Resources:
    return Resources(
        cpus=float(part.get("cpus", 0)), mem=float(part.get("mem", 0)), disk=float(part.get("disk", 0)), gpus=int(part.get("gpus", 0))
    )


def match(
    demand: Demand, agent: Agent, placement: Placement, *, bound_to: str | None = None, avoid_ports: Container[int] = ()
) -> tuple[int, ...] | Reason:
    """Host ports when the agent's offer fits, else the first reason why not. `bound_to`: the agent that holds its volumes."""
    if agent.spec.role not in demand.roles:
        return Reason.ROLE
    if not placement.allows(agent):
        return Reason.CONSTRAINT
    if bound_to is not None and agent.id != bound_to:
        return Reason.RESERVATION
    if agent.maintenance:
        return Reason.MAINTENANCE
    cpus, mem, disk, gpus = agent.fits(demand.resources)
    for enough, reason in ((cpus, Reason.CPUS), (mem, Reason.MEMORY), (disk, Reason.DISK), (gpus, Reason.GPUS)):
        if not enough:
            return reason
    ports = agent.free_ports(demand.ports, avoid=avoid_ports)
    if ports is None:
        return Reason.PORTS
    # `--gpu_scheduling_behavior restricted`, the default: hosts with GPUs are kept for those who need them.
    if agent.total.gpus and not demand.resources.gpus:
        return Reason.SCARCE
    return ports

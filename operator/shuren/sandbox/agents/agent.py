"""One virtual agent: what it has, what of it is in use, and whether the master hears from it."""

from __future__ import annotations

import random
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from shuren.sandbox.agents.attributes import Attribute

PortRange = tuple[int, int]
DEFAULT_PORTS: tuple[PortRange, ...] = ((31_000, 32_000),)
_DUST = 1e-6


class AgentState(Enum):
    """What the master knows of it."""

    ACTIVE = "active"
    PARTITIONED = "partitioned"
    """The master has lost it; its tasks go on running, unseen."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Scalar resources. `mem` and `disk` in MiB."""

    cpus: float = 0.0
    mem: float = 0.0
    disk: float = 0.0
    gpus: int = 0

    def plus(self, other: Resources) -> Resources:
        return Resources(cpus=self.cpus + other.cpus, mem=self.mem + other.mem, disk=self.disk + other.disk, gpus=self.gpus + other.gpus)

    def json(self) -> dict[str, float]:
        return {"cpus": round(self.cpus, 3), "mem": round(self.mem, 3), "disk": round(self.disk, 3), "gpus": float(self.gpus)}


@dataclass(frozen=True, kw_only=True)
class AgentSpec:
    """An agent as a file or a request describes it."""

    hostname: str
    resources: Resources
    ports: tuple[PortRange, ...] = DEFAULT_PORTS
    attributes: Mapping[str, str] = field(default_factory=dict)
    region: str | None = None
    zone: str | None = None
    role: str = "*"
    id: str | None = None

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> AgentSpec:
        """Reads `{hostname, cpus, mem, disk, gpus, ports, attributes, region, zone, role}`. ValueError names the field that is wrong."""
        known = {"hostname", "cpus", "mem", "disk", "gpus", "ports", "attributes", "region", "zone", "role", "id"}
        if unknown := sorted(set(raw) - known):
            raise ValueError(f"{unknown[0]}: no such field of an agent (known: {', '.join(sorted(known))})")
        hostname = raw.get("hostname")
        if not isinstance(hostname, str) or not hostname:
            raise ValueError("hostname: required, an address in 127.0.0.0/8 such as 127.0.0.2")
        numbers: dict[str, float] = {}
        for name, default in (("cpus", 4.0), ("mem", 8192.0), ("disk", 100_000.0), ("gpus", 0.0)):
            value = raw.get(name, default)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
                raise ValueError(f"{name}: a number >= 0 is wanted, got {value!r}")
            numbers[name] = float(value)
        return cls(
            hostname=hostname,
            resources=Resources(cpus=numbers["cpus"], mem=numbers["mem"], disk=numbers["disk"], gpus=int(numbers["gpus"])),
            ports=_ranges(raw.get("ports", "31000-32000")),
            attributes=_attributes(raw.get("attributes") or {}),
            region=raw.get("region"),
            zone=raw.get("zone"),
            role=str(raw.get("role", "*")),
            id=raw.get("id"),
        )

    def dump(self) -> dict[str, Any]:
        body: dict[str, Any] = {
            "hostname": self.hostname,
            **{k: v for k, v in self.resources.json().items() if k != "gpus"},
            "gpus": self.resources.gpus,
            "ports": ",".join(f"{a}-{b}" for a, b in self.ports),
            "attributes": dict(self.attributes),
            "role": self.role,
        }
        for name in ("region", "zone", "id"):
            if (value := getattr(self, name)) is not None:
                body[name] = value
        return body


def _attributes(value: Mapping[str, Any]) -> dict[str, str]:
    found = {str(name): str(text) for name, text in dict(value).items()}
    for name, text in found.items():
        try:
            Attribute.parse(text)
        except ValueError as error:
            raise ValueError(f"attributes.{name}: {error}") from None
    return found


def _ranges(value: object) -> tuple[PortRange, ...]:
    text = value if isinstance(value, str) else ",".join(map(str, value)) if isinstance(value, list) else None
    if text is None:
        raise ValueError('ports: a text such as "31000-32000,33000-33100" is wanted')
    ranges = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        first, _, last = part.partition("-")
        try:
            low, high = int(first), int(last or first)
        except ValueError:
            raise ValueError(f"ports: {part!r} is not a range such as 31000-32000") from None
        if not 0 < low <= high <= 65_535:  # noqa: PLR2004 - the last port there is
            raise ValueError(f"ports: {part!r} is not a range within 1-65535")
        ranges.append((low, high))
    return tuple(ranges)


class Agent:
    """A registered agent with its present use."""

    def __init__(self, agent_id: str, spec: AgentSpec, *, index: int, registered_at: float) -> None:
        self.id = agent_id
        self.spec = spec
        self.index = index
        self.registered_at = registered_at
        self.state = AgentState.ACTIVE
        self.maintenance = False
        self.forgotten: set[str] = set()
        """Tasks that Marathon has expunged while the agent was away. They may still run there, and are killed when it returns."""
        self.used = Resources()
        self.used_ports: set[int] = set()
        self._held: dict[str, tuple[Resources, tuple[int, ...]]] = {}
        self._port_count = sum(high - low + 1 for low, high in spec.ports)
        self._random = random.Random(index)  # noqa: S311 - choosing ports, not secrets

    @property
    def hostname(self) -> str:
        return self.spec.hostname

    @property
    def total(self) -> Resources:
        return self.spec.resources

    def fits(self, wanted: Resources) -> tuple[bool, bool, bool, bool]:
        """Whether cpus, mem, disk and gpus are each enough."""
        free, used = self.spec.resources, self.used
        return (
            free.cpus - used.cpus + _DUST >= wanted.cpus,
            free.mem - used.mem + _DUST >= wanted.mem,
            free.disk - used.disk + _DUST >= wanted.disk,
            free.gpus - used.gpus >= wanted.gpus,
        )

    def owns_port(self, port: int) -> bool:
        return any(low <= port <= high for low, high in self.spec.ports)

    def free_ranges(self) -> list[PortRange]:
        """What is left of its port ranges."""
        ranges = []
        for low, high in self.spec.ports:
            for used in sorted(p for p in self.used_ports if low <= p <= high):
                if low < used:
                    ranges.append((low, used - 1))
                low = used + 1  # noqa: PLW2901 - the rest of the range
            if low <= high:
                ranges.append((low, high))
        return ranges

    def free_ports(self, wanted: Iterable[int], *, avoid: Container[int] = ()) -> tuple[int, ...] | None:
        """Ports for the wanted list (0: any). Those in `avoid` are taken only when there is nothing else. None when it cannot be done."""
        chosen: list[int] = []
        for port in wanted:
            if port:
                if not self.owns_port(port) or port in self.used_ports or port in chosen:
                    return None
                chosen.append(port)
                continue
            picked = self._pick(chosen, avoid)
            if picked is None:
                picked = self._pick(chosen, ())
            if picked is None:
                return None
            chosen.append(picked)
        return tuple(chosen)

    def _pick(self, chosen: Container[int], avoid: Container[int]) -> int | None:
        """A free port from a random place on, as Mesos gives them."""
        size = self._port_count
        if size == 0 or len(self.used_ports) >= size:
            return None
        start = self._random.randrange(size)
        for step in range(size):
            offset = (start + step) % size
            for low, high in self.spec.ports:
                if offset <= high - low:
                    port = low + offset
                    if port not in self.used_ports and port not in chosen and port not in avoid:
                        return port
                    break
                offset -= high - low + 1
        return None

    def hold(self, instance_id: str, resources: Resources, ports: tuple[int, ...]) -> None:
        """Books resources for an instance."""
        self.release(instance_id)
        self._held[instance_id] = (resources, ports)
        self.used = self.used.plus(resources)
        self.used_ports.update(ports)

    def release(self, instance_id: str) -> bool:
        """Gives back what an instance held; False when it held nothing."""
        held = self._held.pop(instance_id, None)
        if held is None:
            return False
        resources, ports = held
        self.used = Resources(
            cpus=self.used.cpus - resources.cpus,
            mem=self.used.mem - resources.mem,
            disk=self.used.disk - resources.disk,
            gpus=self.used.gpus - resources.gpus,
        )
        self.used_ports.difference_update(ports)
        return True

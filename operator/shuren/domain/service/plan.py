"""What is to be done about a service, as values: the operator applies exactly these, and `shuren plan` prints them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from shuren.domain.conditions import Condition
from shuren.domain.json import JsonValue
from shuren.domain.service.records import RecordChange
from shuren.domain.service.values import EndpointSet, EndpointState, Names, Route, ServiceName


@dataclass(frozen=True, kw_only=True)
class AddFinalizer:
    """Before anything outside is touched."""

    def __str__(self) -> str:
        return "add the finalizer"


@dataclass(frozen=True, kw_only=True)
class RemoveFinalizer:
    """Last of all."""

    def __str__(self) -> str:
        return "remove the finalizer"


@dataclass(frozen=True, kw_only=True)
class Publish:
    """One write to the cluster's ZooKeeper: what is given becomes so, the rest stays.

    `endpoints` replaces the set, `route` that of its group, `names` the names; groups in `drop_routes` go, and names with `drop_names`.
    """

    service: ServiceName
    endpoints: EndpointSet | None = None
    before: int = 0
    route: Route | None = None
    drop_routes: tuple[str, ...] = ()
    names: Names | None = None
    drop_names: bool = False
    records: RecordChange | None = None

    def __bool__(self) -> bool:
        changes = (self.endpoints, self.route, self.names, self.records or None)
        return any(c is not None for c in changes) or bool(self.drop_routes) or self.drop_names

    def __str__(self) -> str:
        return f"publish {self.service}: {'; '.join(self._parts())}"

    def _parts(self) -> list[str]:
        parts: list[str] = []
        if self.endpoints is not None:
            counts = ", ".join(f"{n} {state.value}" for state in EndpointState if (n := len(self.endpoints.in_state(state))))
            parts.append(f"endpoints generation {self.endpoints.generation} ({counts or 'none'})")
        if self.route is not None:
            parts.append(f"route of group {self.route.group}, generation {self.route.generation}")
        parts += [f"no route of group {group}" for group in self.drop_routes]
        if self.names is not None:
            parts.append(f"names {', '.join(self.names.names)}")
        if self.drop_names:
            parts.append("no names")
        if self.records:
            parts.append(f"records: {len(self.records.create)} new, {len(self.records.change)} changed, {len(self.records.delete)} gone")
        return parts


@dataclass(frozen=True, kw_only=True)
class Withdraw:
    """Remove all of the service from a cluster's ZooKeeper: routes, endpoints, names, records. `best_effort`: a person has let go."""

    service: ServiceName
    cluster: str
    best_effort: bool = False

    def __str__(self) -> str:
        return f"withdraw {self.service} from {self.cluster}"


@dataclass(frozen=True, kw_only=True)
class WriteService:
    """Create or replace the selectorless Service."""

    name: str
    body: Mapping[str, Any] = field(repr=False)
    exists: bool = False

    def __str__(self) -> str:
        return f"{'update' if self.exists else 'create'} Service {self.name}"


@dataclass(frozen=True, kw_only=True)
class WriteSlice:
    """Create or replace one EndpointSlice."""

    name: str
    body: Mapping[str, Any] = field(repr=False)
    exists: bool = False

    def __str__(self) -> str:
        return f"{'update' if self.exists else 'create'} EndpointSlice {self.name} ({len(self.body['endpoints'])} endpoints)"


@dataclass(frozen=True, kw_only=True)
class DeleteSlice:
    """Delete one of our EndpointSlices."""

    name: str

    def __str__(self) -> str:
        return f"delete EndpointSlice {self.name}"


@dataclass(frozen=True, kw_only=True)
class DeleteService:
    """Delete a Service that we own and that is no longer asked for."""

    name: str

    def __str__(self) -> str:
        return f"delete Service {self.name}"


ServiceAction: TypeAlias = AddFinalizer | RemoveFinalizer | Publish | Withdraw | WriteService | WriteSlice | DeleteSlice | DeleteService


@dataclass(frozen=True, kw_only=True)
class ServicePlan:
    """The decision of one pass: actions in order, then the status. `conditions` None leaves the status alone. Seconds."""

    actions: tuple[ServiceAction, ...] = ()
    conditions: tuple[Condition, ...] | None = None
    facts: Mapping[str, JsonValue] = field(default_factory=dict)
    requeue_after: float | None = None

    def __str__(self) -> str:
        return "; ".join(str(a) for a in self.actions) or "nothing to do"

"""What load balancers will do: a reload, entries of maps, commands of HAProxy's runtime API. By the functions that their agent uses itself.

Settings of the load balancer's own host (ports it may open, lines of its own, which certificates it has) are not known here: they are taken
as they are by default, and certificates as there. They count on both sides of the comparison.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from shuren.domain.haproxy.compose import Composition, Globals, Options, compose, plans, read_routes
from shuren.domain.haproxy.converge import BackendPlan, ObservedServer, converge
from shuren.domain.haproxy.document import compare
from shuren.domain.haproxy.materials import Material, MaterialKind, Materials, needs
from shuren.domain.haproxy.servers import Admin, assign_ids
from shuren.domain.service.values import EndpointSet, Route, ServiceName

_MACHINE = Globals(api_socket="api.sock", state_file="servers.state", peer_socket="peer.sock")


@dataclass(frozen=True, kw_only=True)
class Carrying:
    """Routes of one group and the endpoints of their services, at one moment."""

    routes: Mapping[ServiceName, Route] = field(default_factory=dict)
    endpoints: Mapping[ServiceName, EndpointSet] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class BalancerForecast:
    """What each load balancer of a group will be told.

    `reload` says why HAProxy must read its configuration anew, and is empty when it need not; `maps` are map files that change at run time,
    `commands` what its runtime API is told, by backend. `problems` say what of a route is not carried, by service. `arriving` counts
    servers that come with tasks which have no place yet.
    """

    cluster: str
    group: str
    balancers: tuple[str, ...] = ()
    reload: tuple[str, ...] = ()
    maps: tuple[str, ...] = ()
    commands: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    problems: Mapping[ServiceName, tuple[str, ...]] = field(default_factory=dict)
    arriving: int = 0

    @property
    def changes(self) -> bool:
        """Whether anything is told."""
        return bool(self.reload or self.maps or self.commands or self.arriving)


def foresee(
    before: Carrying, after: Carrying, *, cluster: str = "", group: str = "", balancers: tuple[str, ...] = (), arriving: int = 0
) -> BalancerForecast:
    """From one moment to the other."""
    old, new = _composed(before), _composed(after)
    change = compare(old.document, new.document)
    commands: dict[str, tuple[str, ...]] = {}
    former = _plans(old, before)
    for name, plan in _plans(new, after).items():
        gap = converge(plan, _observed(former.get(name)))
        if gap.commands and name in former:
            commands[name] = gap.commands
    problems = {service: told for service, told in new.problems.items() if told}
    return BalancerForecast(
        cluster=cluster,
        group=group,
        balancers=balancers,
        reload=change.reasons,
        maps=change.maps,
        commands=commands,
        problems=problems,
        arriving=arriving,
    )


def _composed(carrying: Carrying) -> Composition:
    options = Options()
    carried, _ = read_routes(carrying.routes.values(), options)
    wanted: set[Material] = {material for one in carried for material in needs(one.service, one.settings)}
    people = {material: (("somebody", "$6$x"),) for material in wanted if material.kind == MaterialKind.USERS.value}
    return compose(carried, machine=_MACHINE, materials=Materials(there=frozenset(wanted), users=people), options=options)


def _plans(composition: Composition, carrying: Carrying) -> dict[str, BackendPlan]:
    found = (plan for service in composition.backends for plan in plans(composition, service, carrying.endpoints.get(service), {}))
    return {plan.name: plan for plan in found}


def _observed(plan: BackendPlan | None) -> list[ObservedServer]:
    """A HAProxy that carries a plan, as it would show its servers: those that are ready pass their checks."""
    if plan is None:
        return []
    ids = assign_ids((server.name for server in plan.servers), {})
    return [
        ObservedServer(
            backend=plan.name,
            name=server.name,
            id=ids[server.name],
            address=server.address,
            port=server.port,
            operation=2 if server.admin is not Admin.MAINT else 0,
            admin={Admin.READY: 0, Admin.DRAIN: 0x08, Admin.MAINT: 0x01}[server.admin],
            weight=server.weight,
            check_status=15,
            check_state=0x06 if plan.checked else 0,
            check_port=server.check_port,
        )
        for server in plan.servers
    ]

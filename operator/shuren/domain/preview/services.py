"""What the operator will publish of one PaasService, now and once the apps behind it have become what is foreseen of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from shuren.domain.marathon.state import ActualApp, Task
from shuren.domain.preview.apps import PLACED_LATER
from shuren.domain.service.decide import decide
from shuren.domain.service.plan import AddFinalizer, Publish, RemoveFinalizer, ServiceAction, ServicePlan, Withdraw
from shuren.domain.service.snapshot import FINALIZER, AppSeen, Published, ServiceSnapshot
from shuren.domain.service.values import Endpoint, EndpointSet

_MOST_STEPS = 12
_PORTS = tuple(range(1, 101))
"""Stand for the ports that an agent will give."""


@dataclass(frozen=True, kw_only=True)
class ServiceForecast:
    """`now` is the plan of the next pass, value for value; `before` and `after` what lies in ZooKeeper, `after` without endpoints of tasks
    that Marathon has yet to place. `arriving` counts those: each becomes a server and an address when its task is ready.
    """

    snapshot: ServiceSnapshot
    now: ServicePlan
    before: Published
    after: Published
    arriving: int = 0

    @property
    def leaving(self) -> tuple[Endpoint, ...]:
        """Endpoints that are there and will not be."""
        kept = {e.id for e in _endpoints(self.after)}
        return tuple(e for e in _endpoints(self.before) if e.id not in kept)

    @property
    def changes(self) -> bool:
        """Whether anything of what is published, or in Kubernetes, will change."""
        return bool(self.now.actions) or self.before != self.after or self.arriving > 0


def _endpoints(published: Published) -> tuple[Endpoint, ...]:
    return published.endpoints.endpoints if published.endpoints is not None else ()


def foresee(snapshot: ServiceSnapshot, *, apps: Mapping[str, ActualApp | None]) -> ServiceForecast:
    """Follow the decision with these apps (by id) as they will be; apps that are not named stay as they are."""
    now = decide(snapshot)
    before = snapshot.published or Published()
    whole, placed = _followed(_with_apps(snapshot, apps)), 0
    after = whole
    if whole.endpoints is not None:
        there = tuple(e for e in whole.endpoints.endpoints if not e.task.startswith(PLACED_LATER))
        placed = len(whole.endpoints.endpoints) - len(there)
        kept = before.endpoints is not None and before.endpoints.endpoints == there
        after = replace(whole, endpoints=before.endpoints if kept else EndpointSet(generation=whole.endpoints.generation, endpoints=there))
    return ServiceForecast(snapshot=snapshot, now=now, before=before, after=after, arriving=placed)


def _with_apps(s: ServiceSnapshot, apps: Mapping[str, ActualApp | None]) -> ServiceSnapshot:
    return replace(s, apps=tuple(tuple(_app(app, apps) for app in backend) for backend in s.apps))


def _app(seen: AppSeen, apps: Mapping[str, ActualApp | None]) -> AppSeen:
    if seen.app_id not in apps:
        return seen
    app = apps[seen.app_id]
    return replace(seen, app=None if app is None else replace(app, tasks=tuple(_somewhere(task) for task in app.tasks)))


def _somewhere(task: Task) -> Task:
    """A task without a place gets one that is none, so that it counts as an endpoint."""
    if not task.id.startswith(PLACED_LATER):
        return task
    return replace(task, host="placed-later", ip_addresses=("192.0.2.1",), ports=_PORTS)


def _followed(s: ServiceSnapshot) -> Published:
    """What is published in the end."""
    for _ in range(_MOST_STEPS):
        plan = decide(s)
        before = s
        for action in plan.actions:
            s = _act(s, action)
        if s == before:
            break
    return s.published or Published()


def _act(s: ServiceSnapshot, action: ServiceAction) -> ServiceSnapshot:
    match action:
        case AddFinalizer():
            return replace(s, resource=replace(s.resource, finalizers=(*s.resource.finalizers, FINALIZER)))
        case RemoveFinalizer():
            return replace(s, resource=replace(s.resource, finalizers=()))
        case Publish():
            return replace(s, published=published_after(s.published or Published(), action))
        case Withdraw() if action.cluster == s.cluster.name:
            return replace(s, published=Published())
        case Withdraw():
            return replace(s, elsewhere=tuple(c for c in s.elsewhere if c != action.cluster))
        case _:
            return s


def published_after(before: Published, change: Publish) -> Published:
    """What lies in ZooKeeper once a change was made."""
    routes = {group: route for group, route in before.routes.items() if group not in change.drop_routes}
    if change.route is not None:
        routes[change.route.group] = change.route
    return Published(
        endpoints=change.endpoints or before.endpoints,
        routes=routes,
        names=None if change.drop_names else change.names or before.names,
        journal=change.records.kept if change.records else before.journal,
    )

"""The decision about one PaasService: snapshot in, plan out.

A chain of small checks says what holds a pass up: then nothing is published and nothing is withdrawn, for what is out there serves. What is
wrong with a part (a name that an older service holds, an app without that port) leaves out this part and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from shuren.domain.app.snapshot import FORCE_ORPHAN, PENDING
from shuren.domain.json import JsonValue
from shuren.domain.marathon.paths import within
from shuren.domain.service import slices
from shuren.domain.service.observe import AddressBackend, AppBackend, Backend, Observed, Share, observe
from shuren.domain.service.plan import (
    AddFinalizer,
    DeleteService,
    DeleteSlice,
    Publish,
    RemoveFinalizer,
    ServiceAction,
    ServicePlan,
    Withdraw,
    WriteService,
    WriteSlice,
)
from shuren.domain.service.records import RecordFolder, change
from shuren.domain.service.snapshot import FINALIZER, BalancerSeen, Published, ServiceSnapshot, ServiceSpec
from shuren.domain.service.status import Finding, Flaw, Phase, conditions, facts
from shuren.domain.service.values import EndpointSet, Names, Route

API_VERSION = "paas.shurenyun.com/v1alpha1"
_SETTLE = 5.0
_LOOK_AGAIN = 30.0


def decide(snapshot: ServiceSnapshot) -> ServicePlan:
    """What to do now. Never raises on any snapshot."""
    if snapshot.resource.deleting:
        return _delete(snapshot)
    for check in CHECKS:
        held = check(snapshot)
        if held is not None:
            return (
                _report(snapshot, held.finding, requeue_after=held.requeue_after)
                if held.speaks
                else ServicePlan(requeue_after=held.requeue_after)
            )
    if snapshot.spec is None or snapshot.published is None:  # a gatherer always says why; without a reason there is nothing to do
        return ServicePlan(requeue_after=_SETTLE)
    return _towards(snapshot, snapshot.spec, snapshot.published)


def _report(
    s: ServiceSnapshot, finding: Finding, *, actions: tuple[ServiceAction, ...] = (), requeue_after: float | None = None
) -> ServicePlan:
    return ServicePlan(actions=actions, conditions=conditions(s, finding), facts=facts(s, finding), requeue_after=requeue_after)


# ---------------------------------------------------------------------------------------------------- what holds a pass up


@dataclass(frozen=True, kw_only=True)
class Held:
    """A pass ends here. `speaks` False leaves the status as it is."""

    finding: Finding
    speaks: bool = True
    requeue_after: float | None = None


def spec_is_invalid(s: ServiceSnapshot) -> Held | None:
    """Only the user can help; what is published stays."""
    if s.problem is None:
        return None
    return Held(finding=Finding(phase=Phase.STALLED, reason=s.problem.reason, message=s.problem.message))


def cluster_does_not_exist(s: ServiceSnapshot) -> Held | None:
    """It may come later."""
    if s.cluster.exists:
        return None
    message = f"MesosCluster {s.cluster.name} does not exist (spec.clusterRef.name); waiting for it"
    return Held(finding=Finding(phase=Phase.WAITING, reason="ClusterNotFound", message=message))


def cluster_is_unusable(s: ServiceSnapshot) -> Held | None:
    """Its own conditions say what is the matter."""
    if s.cluster.problem is None:
        return None
    message = f"MesosCluster {s.cluster.name} cannot be used: {s.cluster.problem.message}"
    return Held(finding=Finding(phase=Phase.UNKNOWN, reason="ClusterNotReady", message=message))


def cluster_is_unreachable(s: ServiceSnapshot) -> Held | None:
    """What is published goes on serving; after the grace the status says that nobody knows better."""
    away = s.cluster.unreachable_for
    if away is None:
        return None
    left = s.cluster.grace - away
    if left > 0:
        return _until_known(s, requeue_after=left)
    message = f"MesosCluster {s.cluster.name} does not answer; what is published stays as it is"
    return Held(finding=Finding(phase=Phase.UNKNOWN, reason="ClusterUnreachable", message=message))


def cluster_is_not_read_yet(s: ServiceSnapshot) -> Held | None:
    """No decision on half a picture: an app that is not in it would look gone."""
    if s.cluster.connected and s.cluster.synced and s.published is not None and s.kubernetes.read:
        return None
    return _until_known(s, requeue_after=_SETTLE)


def _until_known(s: ServiceSnapshot, *, requeue_after: float) -> Held:
    finding = Finding(phase=Phase.UNKNOWN, reason=PENDING, message=f"MesosCluster {s.cluster.name} has not been read yet")
    return Held(finding=finding, speaks=not s.resource.status, requeue_after=requeue_after)


CHECKS: tuple[Callable[[ServiceSnapshot], Held | None], ...] = (
    spec_is_invalid,
    cluster_does_not_exist,
    cluster_is_unusable,
    cluster_is_unreachable,
    cluster_is_not_read_yet,
)


# ---------------------------------------------------------------------------------------------------- towards the spec


def _towards(s: ServiceSnapshot, spec: ServiceSpec, published: Published) -> ServicePlan:
    flaws: list[Flaw] = []
    seen = _observe(s, spec, published, flaws)
    folders = _folders(s, spec, flaws)
    names = _names(s, spec, flaws)
    _judge_route(s, flaws)
    publish = Publish(
        service=s.resource.name,
        endpoints=_endpoints(s, published, seen),
        before=published.endpoints.generation if published.endpoints is not None else 0,
        route=_route(s, published, spec.group, spec.listener),
        drop_routes=tuple(sorted(g for g in published.routes if spec.listener is None or g != spec.group)),
        names=names if names != published.names else None,
        drop_names=names is None and published.names is not None,
        records=change(folders, seen.endpoints, published.journal) or None,
    )
    actions: list[ServiceAction] = []
    if publish:
        actions.append(publish)
    actions += _kubernetes(s, spec, seen, flaws)
    leaving = [Withdraw(service=s.resource.name, cluster=c) for c in s.elsewhere if c not in s.elsewhere_unreachable]
    actions += leaving
    if actions and FINALIZER not in s.resource.finalizers:
        actions.insert(0, AddFinalizer())
    current = publish.endpoints or published.endpoints
    route = publish.route or published.routes.get(spec.group)
    carried = _Generations(endpoints=current.generation if current is not None else 0, route=route.generation if route is not None else 0)
    finding = _judge(s, seen, flaws, carried)
    finding = replace(finding, names=tuple(f"{n}.{s.zone}" for n in names.names) if names is not None else ())
    finding = replace(finding, folders=tuple(folder.path for folder in folders))
    if spec.suspend:
        return _suspended(s, actions, finding)
    return _report(s, finding, actions=tuple(actions), requeue_after=_LOOK_AGAIN if finding.phase is not Phase.READY else None)


def _suspended(s: ServiceSnapshot, actions: list[ServiceAction], finding: Finding) -> ServicePlan:
    """Nothing is published. Ready keeps its value while nothing is pending, else it is Unknown."""
    if not actions:
        return _report(s, replace(finding, suspended=True))
    pending = "; ".join(str(a) for a in actions if not isinstance(a, AddFinalizer))
    return _report(s, replace(finding, phase=Phase.UNKNOWN, reason="Suspended", message=f"suspended; pending: {pending}", suspended=True))


def _observe(s: ServiceSnapshot, spec: ServiceSpec, published: Published, flaws: list[Flaw]) -> Observed:
    backends: list[Backend] = []
    for index, (backend, apps) in enumerate(zip(spec.backends, s.apps, strict=True)):
        where = f"spec.backends[{index}]"
        if backend.addresses:
            backends.append(AddressBackend(addresses=backend.addresses, weight=backend.weight))
            continue
        for app in apps:
            if not app.exists:
                flaws.append(Flaw(path=f"{where}.appRef", reason="AppNotFound", message=f"PaasApp {app.name} does not exist", waits=True))
            elif app.cluster != spec.cluster:
                message = f"PaasApp {app.name} is in MesosCluster {app.cluster}, the service in {spec.cluster}; all must be in one"
                flaws.append(Flaw(path=where, reason="OtherCluster", message=message))
        if backend.selector is not None and not apps:
            flaws.append(Flaw(path=f"{where}.selector", reason="AppNotFound", message="no PaasApp has these labels", waits=True))
        here = [a for a in apps if a.cluster == spec.cluster]
        usable = tuple(found for a in here for found in (a.app, a.beside) if found is not None)
        shares = {a.beside_id: Share(beside=a.app_id, percent=a.weight) for a in here if a.beside is not None}
        backends.append(AppBackend(apps=usable, port=backend.port, weight=backend.weight, draining=s.draining, shares=shares))
    before = published.endpoints.endpoints if published.endpoints is not None else ()
    seen = observe(backends, before=before, agents=s.agents, panic_threshold=spec.panic_threshold)
    by_app = {app_id: i for i, apps in enumerate(s.apps) for a in apps for app_id in a.ids}
    for problem in seen.problems:
        field = "portName" if isinstance(problem.port, str) else "portIndex"
        path = f"spec.backends[{by_app.get(problem.app, 0)}].{field}"
        flaws.append(Flaw(path=path, reason="PortNotFound", message=str(problem)))
    return seen


def _endpoints(s: ServiceSnapshot, published: Published, seen: Observed) -> EndpointSet | None:
    """The next generation; None when nothing has changed."""
    shares = {a.beside_id: a.weight for apps in s.apps for a in apps if a.beside is not None}
    if published.endpoints is None:
        return EndpointSet(generation=1, endpoints=seen.endpoints, shares=shares)
    if (published.endpoints.endpoints, published.endpoints.shares) == (seen.endpoints, shares):
        return None
    return EndpointSet(generation=published.endpoints.generation + 1, endpoints=seen.endpoints, shares=shares)


def _folders(s: ServiceSnapshot, spec: ServiceSpec, flaws: list[Flaw]) -> list[RecordFolder]:
    allowed: list[RecordFolder] = []
    for folder in spec.folders:
        path = f"spec.discovery.{folder.format.value.removesuffix('Plain')}.path"
        rival = next((r for r in s.rivals if r.path == path and r.value == folder.path), None)
        others = s.foreign.get(folder.path, ())
        if not any(within(folder.path, root) and folder.path != root for root in s.record_roots):
            roots = ", ".join(s.record_roots) or "nothing"
            message = f"{folder.path} is not below spec.tenancy.recordRoots of MesosCluster {spec.cluster} (which allows {roots})"
            flaws.append(Flaw(path=path, reason="PathNotAllowed", message=message))
        elif rival is not None:
            flaws.append(Flaw(path=path, reason="Taken", message=f"{folder.path} belongs to PaasService {rival.holder}, which is older"))
        elif others:
            message = f"{folder.path} holds nodes of somebody else ({', '.join(others[:3])}); choose another path"
            flaws.append(Flaw(path=path, reason="PathOwnedByOther", message=message))
        else:
            allowed.append(folder)
    return allowed


def _names(s: ServiceSnapshot, spec: ServiceSpec, flaws: list[Flaw]) -> Names | None:
    if not s.zone or not spec.names:
        return None
    taken = {r.value: r.holder for r in s.rivals if r.path == "spec.dns.names"}
    for name in spec.names:
        if name in taken:
            message = f"the name {name} belongs to PaasService {taken[name]}, which is older"
            flaws.append(Flaw(path="spec.dns.names", reason="Taken", message=message))
    kept = tuple(name for name in spec.names if name not in taken)
    return Names(service=s.resource.name, names=kept, protocol=spec.protocol) if kept else None


def _judge_route(s: ServiceSnapshot, flaws: list[Flaw]) -> None:
    """Load balancers give each host, path and port to the oldest; what of the route collides is told here, and the rest is carried."""
    for problem in s.route_problems:
        path, _, message = problem.partition(": ")
        flaws.append(Flaw(path=path, reason="Taken", message=message))


def _route(s: ServiceSnapshot, published: Published, group: str, listener: Mapping[str, JsonValue] | None) -> Route | None:
    """The route to write; None when it is there already, or none is asked for."""
    if listener is None:
        return None
    before = published.routes.get(group)
    if before is not None and (before.listener, before.uid) == (listener, s.resource.uid):
        return None
    return Route(
        service=s.resource.name,
        group=group,
        generation=1 if before is None else before.generation + 1,
        uid=s.resource.uid,
        since=s.resource.created,
        listener=listener,
    )


def _kubernetes(s: ServiceSnapshot, spec: ServiceSpec, seen: Observed, flaws: list[Flaw]) -> list[ServiceAction]:
    """The Service first, then its slices; what we own under a former name goes."""
    target, found = spec.kubernetes, s.kubernetes
    path = "spec.discovery.kubernetes.service"
    if target is not None and found.service is not None and not found.ours:
        message = f"Service {target.service} exists and is not of this PaasService; choose another name, or delete it"
        flaws.append(Flaw(path=path, reason="Taken", message=message))
        target = None
    actions: list[ServiceAction] = [DeleteService(name=n) for n in found.services if target is None or n != target.service]
    if target is None:
        return actions + [DeleteSlice(name=str(item["metadata"]["name"])) for item in found.slices]
    owner = slices.Owner(api_version=API_VERSION, kind="PaasService", name=s.resource.key.name, uid=s.resource.uid)
    wanted = slices.service(name=target.service, namespace=s.resource.key.namespace, port=target.port, protocol=spec.protocol, owner=owner)
    if found.service is None or not slices.same_service(found.service, wanted):
        actions.append(WriteService(name=target.service, body=wanted, exists=found.service is not None))
    changed = slices.desired(
        seen.endpoints,
        found.slices,
        service_name=target.service,
        namespace=s.resource.key.namespace,
        protocol=spec.protocol,
        owner=owner,
    )
    if changed.left_out:
        message = f"EndpointSlices cannot hold {', '.join(changed.left_out[:3])}: only IP addresses that the API server accepts"
        flaws.append(Flaw(path=path, reason="AddressNotAllowed", message=message, waits=True))
    existing = {str(item["metadata"]["name"]) for item in found.slices}
    actions += [WriteSlice(name=n, body=body, exists=n in existing) for n, body in sorted(changed.write.items())]
    return actions + [DeleteSlice(name=n) for n in changed.delete]


# ---------------------------------------------------------------------------------------------------- what it comes to


@dataclass(frozen=True, kw_only=True)
class _Generations:
    endpoints: int
    route: int

    def ahead_of(self, b: BalancerSeen) -> bool:
        """Endpoints are acknowledged as soon as they are known, also before the port is open."""
        return b.balancer.live and (b.applied is None or b.applied.endpoints < self.endpoints or b.applied.route < self.route)


def _judge(s: ServiceSnapshot, seen: Observed, flaws: list[Flaw], published: _Generations) -> Finding:
    """Ready needs one ready endpoint, and every live load balancer of the group at the published generations."""
    base = Finding(phase=Phase.READY, reason="Ready", message="", seen=seen, flaws=tuple(flaws), generation=published.endpoints)
    stalled = [f for f in flaws if not f.waits]
    if stalled:
        message = "; ".join(str(f) for f in stalled)
        return replace(base, phase=Phase.STALLED, reason=stalled[0].reason, message=message)
    behind = [b for b in s.balancers if published.ahead_of(b)]
    left_out = [b for b in s.balancers if b.applied is not None and b.applied.problem]
    if left_out and left_out[0].applied is not None:
        message = f"load balancer {left_out[0].balancer.id} does not carry all of it: {left_out[0].applied.problem}"
        return replace(base, phase=Phase.STALLED, reason="RouteRefused", message=message)
    if s.elsewhere_unreachable:
        message = f"published in MesosCluster {s.elsewhere_unreachable[0]} too, which cannot be reached"
        return replace(base, phase=Phase.PROGRESSING, reason="LeavingCluster", message=message)
    ready = sum(1 for e in seen.endpoints if e.state.value == "ready")
    if not ready:
        waits = "; ".join(str(f) for f in flaws) or "no endpoint is ready"
        return replace(base, phase=Phase.WAITING, reason=flaws[0].reason if flaws else "NoReadyEndpoint", message=waits)
    if behind:
        names = ", ".join(b.balancer.id for b in behind[:3])
        return replace(base, phase=Phase.PROGRESSING, reason="LoadBalancerBehind", message=f"load balancers have yet to follow: {names}")
    return replace(base, message="published, and every live load balancer carries it" if s.balancers else "published")


# ---------------------------------------------------------------------------------------------------- the end


def _delete(s: ServiceSnapshot) -> ServicePlan:
    """Withdraw from every cluster that has something of it, then let go. Kubernetes objects go with their owner."""
    if FINALIZER not in s.resource.finalizers:
        return ServicePlan()
    there = [s.cluster.name] if s.published is None or s.published else []
    clusters = [*there, *(c for c in s.elsewhere if c != s.cluster.name)]
    if s.resource.annotations.get(FORCE_ORPHAN) == "true":
        let_go = tuple(Withdraw(service=s.resource.name, cluster=c, best_effort=True) for c in clusters if _writable(s, c))
        return ServicePlan(actions=(*let_go, RemoveFinalizer()))
    unreachable = [c for c in clusters if not _writable(s, c)] + [c for c in s.elsewhere_unreachable if c not in clusters]
    if unreachable:
        message = (
            f"MesosCluster {unreachable[0]} cannot be reached, so what is published there cannot be withdrawn; annotate "
            f"{FORCE_ORPHAN}=true to leave it"
        )
        finding = Finding(phase=Phase.UNKNOWN, reason="ClusterUnreachable", message=message)
        return _report(s, finding, requeue_after=_LOOK_AGAIN)
    return ServicePlan(actions=(*(Withdraw(service=s.resource.name, cluster=c) for c in clusters), RemoveFinalizer()))


def _writable(s: ServiceSnapshot, cluster: str) -> bool:
    if cluster != s.cluster.name:
        return cluster not in s.elsewhere_unreachable
    c = s.cluster
    return c.exists and c.connected and c.problem is None and s.published is not None

"""A PaasService, link by link: resource, cluster, backends, endpoints in ZooKeeper, load balancers, names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from shuren.domain.conditions import ConditionType, Truth
from shuren.domain.explain.links import Link, Verdict, broken, first_broken, holds, unknown
from shuren.domain.service.decide import decide
from shuren.domain.service.plan import Publish
from shuren.domain.service.snapshot import BalancerSeen, ServiceSnapshot
from shuren.domain.service.values import Endpoint, EndpointState

Answers = Mapping[str, Sequence[str]]
"""What name servers were asked: name in full → addresses."""


def way(s: ServiceSnapshot, *, apps: Mapping[str, Sequence[Link]], answers: Answers | None = None) -> tuple[Link, ...]:
    """All links up to the first broken one. `apps` are the ways of the PaasApps behind it, by name; `answers` None: nobody was asked."""
    links: list[Link] = []
    for check in CHECKS:
        found = _backends_run(s, apps) if check is backends_run else check(s)
        if found is not None:
            links.append(found)
        if found is not None and found.verdict in {Verdict.BROKEN, Verdict.UNKNOWN}:
            return tuple(links)
    answered = _names_answer(s, answers)
    return (*links, answered) if answered is not None else tuple(links)


def the_spec_can_be_followed(s: ServiceSnapshot) -> Link:
    """What only the user can mend."""
    if s.problem is not None:
        return broken("service", f"{s.problem.reason}: {s.problem.message}", "change the spec")
    if s.spec is not None and s.spec.suspend:
        return broken("service", "spec.suspend is true: nothing is published", "kubectl shuren resume psvc/NAME")
    return holds("service", f"{s.resource.key.namespace}/{s.resource.key.name}, generation {s.resource.generation}")


def the_operator_looks_at_it(s: ServiceSnapshot) -> Link:
    """A status behind the spec means that nobody reconciles."""
    seen = s.resource.status.get("observedGeneration")
    if seen == s.resource.generation:
        return holds("operator", f"has looked at generation {s.resource.generation}")
    return broken("operator", f"it has looked at generation {seen}", "is the operator running? kubectl get lease -A | grep shuren-operator")


def the_cluster_answers(s: ServiceSnapshot) -> Link:
    """MesosCluster, Marathon, ZooKeeper."""
    name = f"cluster {s.cluster.name}"
    if not s.cluster.exists:
        return broken(name, "there is no MesosCluster of that name", "create it, or correct spec.clusterRef.name")
    if s.cluster.problem is not None:
        return unknown(name, s.cluster.problem.message)
    if s.cluster.unreachable_for is not None or s.published is None:
        return unknown(name, s.cluster.silence, "check that this machine reaches it (shuren doctor)")
    return holds(name, "Marathon and ZooKeeper answer")


def backends_run(s: ServiceSnapshot) -> Link | None:
    """Stands for `_backends_run`, which needs the ways of the apps."""
    return _backends_run(s, {})


def _backends_run(s: ServiceSnapshot, apps: Mapping[str, Sequence[Link]]) -> Link:
    missing = [app.name for backend in s.apps for app in backend if not app.exists]
    if missing:
        return broken("backends", f"PaasApp {', '.join(missing)} does not exist", "create it, or correct spec.backends")
    for name in sorted({app.name for backend in s.apps for app in backend}):
        link = first_broken(apps.get(name, ()))
        if link is not None:
            return broken("backends", f"PaasApp {name}: {link.name}: {link.evidence}", link.advice)
    count = sum(len(backend) for backend in s.apps)
    return holds("backends", f"{count} apps are as they should be")


def endpoints_are_published(s: ServiceSnapshot) -> Link:
    """What lies in ZooKeeper, and whether it is what should."""
    name = "ZooKeeper record"
    published = s.published.endpoints if s.published is not None else None
    plan = decide(s)
    behind = next((a for a in plan.actions if isinstance(a, Publish)), None)
    if published is None:
        return broken(name, "no endpoints are published", "the operator publishes them with its next pass; what holds it up is above")
    ready = published.in_state(EndpointState.READY)
    if not ready:
        states = ", ".join(f"{e.address}:{e.port} {e.state.value}" for e in published.endpoints[:4]) or "none"
        return broken(name, f"generation {published.generation} has no ready endpoint ({states})", "kubectl shuren why APP for each app")
    # what a load balancer refuses is told at its own link
    stalled = (c for c in plan.conditions or () if c.type is ConditionType.STALLED and c.reason != "RouteRefused")
    flaw = next((c for c in stalled if c.status is Truth.TRUE), None)
    if flaw is not None:
        return broken(name, f"{flaw.reason}: {flaw.message}", "change the spec")
    if behind is not None and behind.endpoints is not None:
        return broken(name, f"generation {published.generation} is behind: {behind}", "wait for the next pass")
    return holds(name, f"generation {published.generation} with {len(ready)} ready endpoints: {_places(ready)}")


def _places(endpoints: Sequence[Endpoint]) -> str:
    return ", ".join(f"{e.address}:{e.port}" for e in endpoints[:4]) + (", …" if len(endpoints) > 4 else "")  # noqa: PLR2004 - enough to recognise


def load_balancers_carry_it(s: ServiceSnapshot) -> Link | None:
    """What each load balancer of the group has acknowledged."""
    if s.spec is None or not s.spec.group or s.published is None:
        return None
    name = f"load balancers of group {s.spec.group}"
    if s.spec.group not in s.published.routes:
        return broken(name, "the route is not published", "the operator publishes it with its next pass")
    if not s.balancers:
        return broken(name, "none is registered", f"run one: shuren lb --group {s.spec.group} (docs/load-balancer.md)")
    told = [link for seen in s.balancers if (link := _balancer(s, seen, name)) is not None]
    return told[0] if told else holds(name, "; ".join(_carries(seen) for seen in s.balancers))


def _balancer(s: ServiceSnapshot, seen: BalancerSeen, name: str) -> Link | None:
    """What is wrong with one; None when nothing is."""
    me = seen.balancer.id
    if not seen.balancer.live:
        return broken(name, f"the agent of {me} does not run; its HAProxy may still serve what it knew", f"start shuren lb on {me}")
    if seen.applied is None:
        return broken(name, f"{me} has acknowledged nothing of this service", f"see the log of shuren lb on {me}")
    if seen.applied.problem:
        return broken(name, f"{me} leaves it out: {seen.applied.problem}", "change what it names")
    generation = s.published.endpoints.generation if s.published is not None and s.published.endpoints is not None else 0
    route = s.published.routes[s.spec.group].generation if s.published is not None and s.spec is not None else 0
    if seen.applied.endpoints < generation or seen.applied.route < route:
        seen_at = f"endpoints {seen.applied.endpoints} of {generation}, route {seen.applied.route} of {route}"
        return broken(name, f"{me} is behind ({seen_at})", f"see the log of shuren lb on {me}")
    if not seen.applied.up:
        return broken(
            name, f"no server of it is up in {me}'s HAProxy: its own checks fail", "ask spec.loadBalancer.healthCheck's path yourself"
        )
    return None


def _carries(seen: BalancerSeen) -> str:
    return f"{seen.balancer.id} has {seen.applied.up if seen.applied is not None else 0} servers up"


def names_are_published(s: ServiceSnapshot) -> Link | None:
    """DNS names, as name servers have them from ZooKeeper."""
    if s.spec is None or not s.spec.names or s.published is None or not s.zone:
        return None  # every service has a default name; without a zone nobody serves it
    if s.published.names is None:
        return broken(
            "DNS", "the names are not published", "the operator publishes them with its next pass; see the conditions of the service"
        )
    return holds("DNS", ", ".join(f"{name}.{s.zone}" for name in s.published.names.names))


def _names_answer(s: ServiceSnapshot, answers: Answers | None) -> Link | None:
    if answers is None or s.published is None or s.published.names is None or s.published.endpoints is None:
        return None
    wanted = {e.address for e in s.published.endpoints.in_state(EndpointState.READY) if e.weight}
    for name in s.published.names.names:
        full = f"{name}.{s.zone}"
        got = set(answers.get(full, ()))
        if not got:
            return broken(
                "DNS answer", f"the name server has no address for {full}", "is it shuren dns with this root, and in sync with ZooKeeper?"
            )
        if not got <= wanted:
            return broken(
                "DNS answer", f"{full} answers {', '.join(sorted(got))}, ready are {', '.join(sorted(wanted))}", "wait for the TTL"
            )
    return holds("DNS answer", "; ".join(f"{name} -> {', '.join(sorted(found))}" for name, found in sorted(answers.items())))


CHECKS: tuple[Callable[[ServiceSnapshot], Link | None], ...] = (
    the_spec_can_be_followed,
    the_operator_looks_at_it,
    the_cluster_answers,
    backends_run,
    endpoints_are_published,
    load_balancers_carry_it,
    names_are_published,
)

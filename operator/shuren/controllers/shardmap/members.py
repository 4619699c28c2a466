"""The members that the source of a map names now: tasks of an app, endpoints of a service, or a list."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from shuren.controllers.identity import cluster_of, lives_on
from shuren.controllers.shardmap.gates import Gatekeeper, answers_at
from shuren.controllers.shardmap.reading import MembersSpec
from shuren.controllers.shardmap.world import Cluster
from shuren.domain.app.snapshot import PENDING, Problem
from shuren.domain.identity import ObjectKey
from shuren.domain.marathon.advice import checked_by_marathon
from shuren.domain.marathon.state import ActualApp, Task
from shuren.domain.service.observe import Agent
from shuren.domain.service.values import Endpoint, EndpointState, ServiceName
from shuren.domain.shardmap.snapshot import Identity, Source, SourceMember, instance_of
from shuren.ports.kubernetes import PAAS_APPS, PAAS_SERVICES
from shuren.runtime.store import Store
from shuren.sharding.core.moves import Live


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Finds the source of a map."""

    store: Store
    gates: Gatekeeper

    def look(self, namespace: str, wanted: MembersSpec, cluster: Cluster, live: Mapping[str, Live]) -> Source:
        """Who the members are now, and why that is not known if it is not."""
        if wanted.static:
            return Source(members=wanted.static, expected=len(wanted.static))
        if not cluster.agents_known:
            return _unknown(PENDING, "Mesos has not told yet which agents there are", stalls=False)
        if wanted.app:
            return self._of_app(ObjectKey(kind=PAAS_APPS.kind, namespace=namespace, name=wanted.app), wanted, cluster, live)
        return self._of_service(ObjectKey(kind=PAAS_SERVICES.kind, namespace=namespace, name=wanted.service), wanted, cluster, live)

    # ------------------------------------------------------------------------------------------------ an app

    def _of_app(self, key: ObjectKey, wanted: MembersSpec, cluster: Cluster, live: Mapping[str, Live]) -> Source:
        item = self.store.get(key)
        if item is None:
            return _unknown("MembersSourceGone", f"PaasApp {key.name} does not exist (spec.members.appRef)", stalls=False)
        if "deletionTimestamp" in item["metadata"]:
            return _unknown("MembersSourceGone", f"PaasApp {key.name} is being deleted", stalls=False)
        spec = item.get("spec") or {}
        if cluster_of(spec) != cluster.view.name:
            message = f"PaasApp {key.name} is in MesosCluster {cluster_of(spec)}, the map in {cluster.view.name}; both must be in one"
            return _unknown("OtherCluster", message, stalls=True)
        app_id = lives_on(item)
        if not cluster.view.synced or not self.gates.settled(cluster.view.name, app_id):
            return _unknown(PENDING, f"PaasApp {key.name} has not been looked at yet", stalls=False)
        app = cluster.app(app_id)
        if app is None:
            return _unknown("AppNotFound", f"Marathon does not run {app_id} yet (PaasApp {key.name})", stalls=False)
        if wanted.identity is Identity.HOST and not _one_task_on_each_agent(app):
            message = (
                f'PaasApp {key.name} may run two tasks on one agent: give it spec.constraints [["hostname", "UNIQUE"]], or choose another '
                "spec.members.identity"
            )
            return _unknown("HostNotUnique", message, stalls=True)
        tasks = [task for task in app.tasks if task.state.active and task.host]
        draining = self.gates.draining(cluster.view.name, app_id)
        found = _of_tasks(wanted, tasks, live, instances=app.instances, agents=cluster.agent_places, draining=draining)
        return Source(members=_weighed(found, wanted.weights), expected=app.instances, advice=tuple(_of_rolling(key.name, spec, app)))

    # ------------------------------------------------------------------------------------------------ a service

    def _of_service(self, key: ObjectKey, wanted: MembersSpec, cluster: Cluster, live: Mapping[str, Live]) -> Source:
        item = self.store.get(key)
        if item is None or "deletionTimestamp" in item["metadata"]:
            what = "does not exist" if item is None else "is being deleted"
            return _unknown("MembersSourceGone", f"PaasService {key.name} {what} (spec.members.serviceRef)", stalls=False)
        published = cluster.published(ServiceName(namespace=key.namespace, name=key.name))
        if published is None:
            return _unknown(PENDING, f"what is published of PaasService {key.name} has not been read yet", stalls=False)
        if published.endpoints is None:
            return _unknown("ServiceNotPublished", f"PaasService {key.name} publishes no endpoints yet", stalls=False)
        endpoints = published.endpoints.endpoints
        found = _of_endpoints(wanted, endpoints, live, cluster.agent_places)
        twice = _twice(member.id for member in found)
        if twice:
            message = f"PaasService {key.name} has two endpoints on {twice}: spec.members.identity Host needs one on each agent"
            return _unknown("HostNotUnique", message, stalls=True)
        advice = tuple(self._of_backends(key.namespace, item.get("spec") or {}, cluster))
        return Source(members=_weighed(found, wanted.weights), expected=len(endpoints), advice=advice)

    def _of_backends(self, namespace: str, spec: Mapping[str, Any], cluster: Cluster) -> Iterator[tuple[str, str]]:
        backends = spec.get("backends")
        for backend in backends if isinstance(backends, list) else ():
            reference = backend.get("appRef") if isinstance(backend, Mapping) else None
            name = str(reference.get("name")) if isinstance(reference, Mapping) else ""
            item = self.store.get(ObjectKey(kind=PAAS_APPS.kind, namespace=namespace, name=name))
            app = cluster.app(lives_on(item)) if item is not None else None
            if item is not None and app is not None:
                yield from _of_rolling(name, item.get("spec") or {}, app)


def _unknown(reason: str, message: str, *, stalls: bool) -> Source:
    return Source(problem=Problem(reason=reason, message=message), stalls=stalls)


def _of_rolling(name: str, spec: Mapping[str, Any], app: ActualApp) -> Iterator[tuple[str, str]]:
    """What keeps a new version of an app from going member by member, as (reason, message): Marathon restarts the tasks, at its own pace.

    Nothing of an app of the strategy Gated: its tasks go one by one through the gates, when their shards have moved.
    """
    rollout = spec.get("rollout")
    if app.instances <= 1 or (isinstance(rollout, Mapping) and rollout.get("strategy") == "Gated"):
        return
    if "upgradeStrategy" in spec:
        message = (
            f"PaasApp {name} has an upgradeStrategy of its own: Marathon restarts members by that, not by spec.rollout.maxUnavailable "
            "of this map; take spec.upgradeStrategy out of the PaasApp"
        )
        yield "OwnUpgradeStrategy", message
    elif checked_by_marathon(app.definition):
        message = (
            f"PaasApp {name} has checks that Marathon performs itself (HTTP, HTTPS, TCP): then it replaces no task in place, and "
            "a new version brings members on other agents; give it MESOS_HTTP, MESOS_HTTPS or MESOS_TCP checks"
        )
        yield "NotRolledInPlace", message
    if not app.definition.get("readinessChecks"):
        message = (
            f"PaasApp {name} has no readinessChecks: with a new version the next member restarts as soon as one runs, whether its copies "
            "are whole or not; give the PaasApp spec.readinessChecks of a path that answers 200 once ShardMember.status.caught_up is true"
        )
        yield "CopiesNotAwaited", message


def _one_task_on_each_agent(app: ActualApp) -> bool:
    """By a constraint of Marathon: hostname UNIQUE, or MAX_PER 1."""
    for constraint in app.definition.get("constraints") or ():  # type: ignore[union-attr]  # a list, by Marathon
        if not isinstance(constraint, Sequence) or isinstance(constraint, str):
            continue
        words = [str(word) for word in constraint]
        if words[0].lstrip("@") == "hostname" and (words[1:2] == ["UNIQUE"] or words[1:] == ["MAX_PER", "1"]):
            return True
    return False


def _of_tasks(
    wanted: MembersSpec,
    tasks: Sequence[Task],
    live: Mapping[str, Live],
    *,
    instances: int,
    agents: Mapping[str, Agent],
    draining: frozenset[str],
) -> list[SourceMember]:
    if wanted.identity is Identity.ORDINAL:
        return _ordinals(wanted, instances, live, tasks, agents=agents, draining=draining)
    found: dict[str, SourceMember] = {}
    for task in sorted(tasks, key=lambda t: t.id):
        member = task.host if wanted.identity is Identity.HOST else instance_of(task.id)
        if member:
            rack = rack_of(agents.get(task.agent_id), wanted.attribute)
            found[member] = SourceMember(id=member, host=task.host, rack=rack, drain=task.id in draining)
    return [found[member] for member in sorted(found)]


def _ordinals(
    wanted: MembersSpec,
    instances: int,
    live: Mapping[str, Live],
    tasks: Sequence[Task],
    *,
    agents: Mapping[str, Agent],
    draining: frozenset[str],
) -> list[SourceMember]:
    """The numbers below `instances`; which task has taken which, its address tells."""
    found: list[SourceMember] = []
    for number in range(instances):
        member = SourceMember(id=str(number))
        task = next((t for t in tasks if member.id in live and answers_at(t, live[member.id].address)), None)
        if task is not None:
            rack = rack_of(agents.get(task.agent_id), wanted.attribute)
            member = replace(member, host=task.host, rack=rack, drain=task.id in draining)
        found.append(member)
    return found


def _of_endpoints(
    wanted: MembersSpec, endpoints: Sequence[Endpoint], live: Mapping[str, Live], agents: Mapping[str, Agent]
) -> list[SourceMember]:
    by_host = {agent.hostname: agent for agent in agents.values() if agent.hostname}
    found: list[SourceMember] = []
    for endpoint in endpoints:
        match wanted.identity:
            case Identity.HOST:
                member = endpoint.agent or endpoint.id
            case Identity.RESIDENT:
                member = instance_of(endpoint.task) if endpoint.task else endpoint.id
            case Identity.ORDINAL:
                member = next((m for m, one in live.items() if one.address == f"{endpoint.address}:{endpoint.port}"), "")
        if member:
            rack = rack_of(by_host.get(endpoint.agent), wanted.attribute) or endpoint.zone
            address = f"{endpoint.address}:{endpoint.port}"
            drain = endpoint.state is EndpointState.DRAINING
            found.append(SourceMember(id=member, host=endpoint.agent or endpoint.address, rack=rack, address=address, drain=drain))
    return found


def rack_of(agent: Agent | None, attribute: str) -> str:
    """The rack of an agent: its attribute, else its fault domain's zone."""
    if agent is None:
        return ""
    return agent.attributes.get(attribute) or agent.zone


def _weighed(members: Iterable[SourceMember], weights: Iterable[tuple[str, int]]) -> tuple[SourceMember, ...]:
    given = dict(weights)
    return tuple(replace(m, weight=given.get(m.id, m.weight)) for m in members)


def _twice(ids: Iterable[str]) -> str:
    seen: set[str] = set()
    for member in ids:
        if member in seen:
            return member
        seen.add(member)
    return ""

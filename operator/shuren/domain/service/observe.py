"""From tasks to endpoints: where a service answers, and in which state each place is.

Pure: what Marathon and Mesos say goes in, with the endpoints that were published before; the endpoints to publish come out. The former ones
matter because health that is unknown (Marathon forgets all results when its leader changes) is not bad health: the last known state stands
until something proves otherwise.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from shuren.domain.cluster import MesosAgent
from shuren.domain.marathon.state import ActualApp, Health, Task, TaskState
from shuren.domain.service.values import MAX_WEIGHT, Endpoint, EndpointState

PortRef = str | int
"""A port by its name in the app's definition, or by its index."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Agent:
    """What is known of an agent beside its tasks. `address` is its IP address where Mesos tells it, else empty; `zone` its fault domain."""

    address: str = ""
    zone: str = ""
    hostname: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    going: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """An app that runs beside another, and what percent of that one's traffic it gets."""

    beside: str
    percent: int


def place_of(agent: MesosAgent) -> Agent:
    """What Mesos says of an agent, as far as it matters here."""
    return Agent(address=agent.address, zone=agent.zone, hostname=agent.hostname, attributes=agent.attributes, going=agent.going)


@dataclass(frozen=True, kw_only=True, slots=True)
class AppBackend:
    """Apps of a service that share one weight. `draining` are ids of tasks that the victims decision has chosen.

    `shares` are those of the apps that are there by a gated roll-out.
    """

    apps: tuple[ActualApp, ...]
    port: PortRef
    weight: int = 100
    draining: frozenset[str] = frozenset()
    shares: Mapping[str, Share] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class AddressBackend:
    """Addresses outside of Mesos: always ready, since nobody here knows better; load balancers check them."""

    addresses: tuple[tuple[str, int], ...]
    weight: int = 100


Backend = AppBackend | AddressBackend


@dataclass(frozen=True, kw_only=True, slots=True)
class PortProblem:
    """A backend's app has not the port that the service names."""

    app: str
    port: PortRef
    known: tuple[str, ...]

    def __str__(self) -> str:
        has = f"it has {', '.join(self.known)}" if self.known else "it has no ports"
        what = f"no port named {self.port!r}" if isinstance(self.port, str) else f"no port with index {self.port}"
        return f"{self.app} has {what}: {has}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Observed:
    """`panic`: more than the allowed share is unhealthy at once, so endpoints that served before go on serving."""

    endpoints: tuple[Endpoint, ...]
    problems: tuple[PortProblem, ...] = ()
    panic: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    """An endpoint before weights are known, with its backend's place."""

    backend: int
    endpoint: Endpoint
    proven_bad: bool = False


def observe(
    backends: Sequence[Backend],
    *,
    before: Collection[Endpoint] = (),
    agents: Mapping[str, Agent] | None = None,
    panic_threshold: float = 0.5,
) -> Observed:
    """The endpoints of a service, sorted by id.

    `before` are those last published. `agents` by Mesos' agent id. `panic_threshold` (0..1) is the share of endpoints that may be proven
    bad at once; beyond it, those that served before go on serving.
    """
    former = {e.id: e for e in before}
    found: list[_Found] = []
    problems: list[PortProblem] = []
    for place, backend in enumerate(backends):
        match backend:
            case AddressBackend():
                found += [_Found(backend=place, endpoint=_external(host, port)) for host, port in backend.addresses]
            case AppBackend():
                for app in backend.apps:
                    ports = declared_ports(app)
                    index = _index(ports, backend.port)
                    if index is None:
                        problems.append(PortProblem(app=app.id, port=backend.port, known=tuple(p.shown for p in ports)))
                        continue
                    tasks = _of_app(app, ports, index, former=former, agents=agents or {}, draining=backend.draining)
                    found += [_Found(backend=place, endpoint=e, proven_bad=e.state is EndpointState.UNHEALTHY) for e in tasks]
    found, panic = _panicked(found, former, panic_threshold)
    weights = _weights(backends, found)
    endpoints = {f.endpoint.id: replace(f.endpoint, weight=weights[f.backend, f.endpoint.app]) for f in reversed(found)}
    return Observed(endpoints=tuple(endpoints[i] for i in sorted(endpoints)), problems=tuple(problems), panic=panic)


# ---------------------------------------------------------------------------------------------------- ports of an app


@dataclass(frozen=True, kw_only=True, slots=True)
class DeclaredPort:
    """One port of an app's definition. `host` is its place among the ports that a task has on its agent, None when it has none there;
    `container` the port inside the container (0: as on the agent).
    """

    name: str
    index: int
    protocols: tuple[str, ...]
    host: int | None
    container: int = 0

    @property
    def shown(self) -> str:
        """For people."""
        return self.name or str(self.index)


def declared_ports(app: ActualApp) -> tuple[DeclaredPort, ...]:
    """All ports of an app, in the order of its definition. Marathon 1.11 always shows `networks`; a task's `ports` are those on its agent,
    in order, so a mapping without hostPort is not among them.
    """
    definition: Mapping[str, Any] = app.definition
    if mode(app) == "host":
        items: Iterable[Mapping[str, Any]] = definition.get("portDefinitions") or ()
        return tuple(DeclaredPort(name=str(p.get("name") or ""), index=i, protocols=_protocols(p), host=i) for i, p in enumerate(items))
    mappings: Sequence[Mapping[str, Any]] = (definition.get("container") or {}).get("portMappings") or ()
    result = []
    on_agent = 0
    for i, mapping in enumerate(mappings):
        host = None
        if mapping.get("hostPort") is not None:
            host, on_agent = on_agent, on_agent + 1
        container = int(mapping.get("containerPort") or 0)
        result.append(
            DeclaredPort(name=str(mapping.get("name") or ""), index=i, protocols=_protocols(mapping), host=host, container=container)
        )
    return tuple(result)


def mode(app: ActualApp) -> str:
    """`host`, `container/bridge` or `container` (the task has an address of its own)."""
    networks: Any = app.definition.get("networks") or ()
    return str(networks[0].get("mode") or "container") if networks else "host"


def _protocols(port: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(sorted(str(port.get("protocol") or "tcp").lower().split(",")))


def _index(ports: Sequence[DeclaredPort], wanted: PortRef) -> int | None:
    if isinstance(wanted, int):
        return wanted if 0 <= wanted < len(ports) else None
    return next((p.index for p in ports if p.name == wanted), None)


def _place(app: ActualApp, task: Task, port: DeclaredPort, agent: Agent) -> tuple[str, int] | None:
    """Address and port of a task; None while it has none (not yet placed, container not yet addressed, port nowhere told)."""
    own = mode(app) == "container"
    if own and port.container:
        return (task.ip_addresses[0], port.container) if task.ip_addresses else None
    if port.host is None or port.host >= len(task.ports):
        return None
    number = task.ports[port.host]
    if own and task.ip_addresses:
        return task.ip_addresses[0], number
    address = address_of(task.host, agent)
    return (address, number) if address else None


def address_of(host: str, agent: Agent) -> str:
    """The address of an agent: its host name where that is an IP address already, else what Mesos says."""
    return host if not agent.address or is_ip(host) else agent.address


def is_ip(text: str) -> bool:
    """Whether this is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


# ---------------------------------------------------------------------------------------------------- endpoints of an app


def _of_app(
    app: ActualApp,
    ports: Sequence[DeclaredPort],
    index: int,
    *,
    former: Mapping[str, Endpoint],
    agents: Mapping[str, Agent],
    draining: frozenset[str],
) -> Iterable[Endpoint]:
    for task in app.tasks:
        if not task.state.active:
            continue
        agent = agents.get(task.agent_id, Agent())
        where = _place(app, task, ports[index], agent)
        if where is None:
            continue
        name = f"{task.id}:{index}"
        state = _state(app, task, former.get(name), draining=task.id in draining)
        named = {p.name: at[1] for p in ports if p.name for at in (_place(app, task, p, agent),) if at is not None}
        yield Endpoint(
            id=name,
            address=where[0],
            port=where[1],
            state=state,
            task=task.id,
            app=app.id,
            agent=task.host,
            zone=agent.zone,
            ports=named,
        )


def _state(app: ActualApp, task: Task, before: Endpoint | None, *, draining: bool) -> EndpointState:
    served = before is not None and before.state in {EndpointState.READY, EndpointState.DRAINING}
    if draining or task.state is TaskState.KILLING:
        return EndpointState.DRAINING
    if task.state is TaskState.UNREACHABLE:
        return EndpointState.UNHEALTHY
    if task.state is not TaskState.RUNNING:
        return EndpointState.STARTING
    if task.health is Health.UNHEALTHY:
        # what has never served is not yet healthy; its failures within the grace period prove nothing
        return EndpointState.UNHEALTHY if before is not None and before.state is not EndpointState.STARTING else EndpointState.STARTING
    if not served and not _is_ready(app, task):
        return EndpointState.STARTING
    if task.health is Health.HEALTHY or not app.definition.get("healthChecks"):
        return EndpointState.READY
    match before:
        case Endpoint(state=EndpointState.READY | EndpointState.DRAINING):
            return EndpointState.READY
        case Endpoint(state=EndpointState.UNHEALTHY):
            return EndpointState.UNHEALTHY
        case _:
            return EndpointState.STARTING


def _is_ready(app: ActualApp, task: Task) -> bool:
    """By the readiness check. Marathon performs it, and tells of it, only while a deployment of the app runs."""
    if not app.definition.get("readinessChecks") or not app.deployments:
        return True
    if task.version is not None and task.version < app.last_config_change_at:
        return True  # of the former configuration: it was ready before this deployment began
    return app.ready_tasks is not None and task.id in app.ready_tasks


def _external(host: str, port: int) -> Endpoint:
    return Endpoint(id=f"{host}:{port}", address=host, port=port, state=EndpointState.READY)


# ---------------------------------------------------------------------------------------------------- panic, weights


def _panicked(found: list[_Found], former: Mapping[str, Endpoint], threshold: float) -> tuple[list[_Found], bool]:
    judged = [f for f in found if f.endpoint.state in {EndpointState.READY, EndpointState.UNHEALTHY}]
    bad = sum(1 for f in judged if f.proven_bad)
    if not bad or bad <= threshold * len(judged):
        return found, False
    kept = [
        replace(f, endpoint=replace(f.endpoint, state=EndpointState.READY)) if f.proven_bad and _served(former, f.endpoint.id) else f
        for f in found
    ]
    return kept, kept != found


def _served(former: Mapping[str, Endpoint], name: str) -> bool:
    before = former.get(name)
    return before is not None and before.state is EndpointState.READY


_WHOLE = 100


def _weights(backends: Sequence[Backend], found: Sequence[_Found]) -> dict[tuple[int, str], int]:
    """The weight of one endpoint of each app of each backend.

    Backends share traffic by their weights, however many endpoints each has, and the endpoints of a backend share alike; but an app that
    runs beside another takes its share of what that one would have.
    """
    apps: dict[tuple[int, str], int] = {}
    for f in found:
        at = (f.backend, f.endpoint.app)
        apps[at] = apps.get(at, 0) + (f.endpoint.state is EndpointState.READY)
    parts: dict[tuple[int, str], float] = {}
    for place, backend in enumerate(backends):
        own = {app: ready for (at, app), ready in apps.items() if at == place}
        parts |= {(place, app): backend.weight * part for app, part in _parts(own, _shares(backend)).items()}
    largest = max(parts.values(), default=0.0)
    if not largest or (len(backends) == 1 and not _shares(backends[0])):
        return {at: 100 if part else 0 for at, part in parts.items()}
    return {at: max(1, round(MAX_WEIGHT * part / largest)) if part else 0 for at, part in parts.items()}


def _shares(backend: Backend) -> Mapping[str, Share]:
    return backend.shares if isinstance(backend, AppBackend) else {}


def _parts(ready: Mapping[str, int], shares: Mapping[str, Share]) -> dict[str, float]:
    """What one endpoint of each app gets of its backend's traffic, which is 1 in all."""
    # a share that nobody is there to take stays with the other; the one beside stands in as soon as it is meant to have traffic at all
    taken = {app: share.percent if ready.get(share.beside) else _WHOLE for app, share in shares.items() if share.percent and ready.get(app)}
    besides = {share.beside: (app, taken.get(app, 0)) for app, share in shares.items()}
    # as many endpoints as an app and the one beside it count for together
    counts = {app: n or ready.get(besides.get(app, ("", 0))[0], 0) for app, n in ready.items() if app not in shares}
    counts |= {share.beside: ready[app] for app, share in shares.items() if app in ready and share.beside not in counts}
    whole = max(1, sum(counts.values()))
    result: dict[str, float] = {}
    for app, n in ready.items():
        if app in shares:
            percent, of = taken.get(app, 0), shares[app].beside
        else:
            percent, of = _WHOLE - besides.get(app, ("", 0))[1], app
        result[app] = max(1, counts[of]) / whole * percent / _WHOLE / max(1, n)
    return result


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """Counts for the status."""

    total: int = 0
    by_state: Mapping[EndpointState, int] = field(default_factory=dict)

    @property
    def ready(self) -> int:
        """Endpoints that take traffic."""
        return self.by_state.get(EndpointState.READY, 0)


def summary(endpoints: Collection[Endpoint]) -> Summary:
    """Count endpoints by state."""
    states = {state: sum(1 for e in endpoints if e.state is state) for state in EndpointState}
    return Summary(total=len(endpoints), by_state={state: n for state, n in states.items() if n})

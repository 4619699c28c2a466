"""Known traps in an app definition, told before they hurt.

Marathon accepts all of these (or refuses them in words that do not help) and then does something else than the author meant. Each check is
one small function from what is known to its findings; `CHECKS` is the list. Findings never stop anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from shuren.domain.cluster import Amounts
from shuren.domain.json import Document
from shuren.domain.marathon.normalise import normalise, without_nulls

_BY_MARATHON = frozenset({"HTTP", "HTTPS", "TCP"})
_DEFAULT_DELAY = 15


@dataclass(frozen=True, kw_only=True, slots=True)
class Advice:
    """One finding. `reason` is a stable CamelCase word; `path` names the field; `message` says what happens and what to do instead."""

    reason: str
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


@dataclass(frozen=True, kw_only=True, slots=True)
class _App:
    """A definition as written and as Marathon will hold it, how many agents there are and what they have (None: not known)."""

    given: Mapping[str, Any]
    held: Mapping[str, Any]
    agents: int | None
    total: Amounts | None

    @property
    def instances(self) -> int:
        return int(self.held["instances"])

    @property
    def checks(self) -> list[tuple[int, str, Mapping[str, Any]]]:
        """Position, protocol and definition of each health check, as written."""
        return [(i, str(c.get("protocol", "HTTP")).upper(), c) for i, c in enumerate(_objects(self.given.get("healthChecks")))]

    @property
    def port_names(self) -> list[str | None]:
        """Names of all ports in order, None for a port without one."""
        if self.host_mode:
            return [p.get("name") for p in _objects(self.held.get("portDefinitions"))]
        return [p.get("name") for p in _objects((self.held.get("container") or {}).get("portMappings"))]

    @property
    def host_mode(self) -> bool:
        return bool(self.held["networks"][0]["mode"] == "host")

    @property
    def most(self) -> int:
        """Instances that may exist during a rolling restart."""
        return math.floor(self.instances * (1 + float(self.held["upgradeStrategy"]["maximumOverCapacity"])))

    @property
    def fewest(self) -> int:
        """Healthy instances that must stay during a rolling restart."""
        return math.ceil(self.instances * float(self.held["upgradeStrategy"]["minimumHealthCapacity"]))


def advise(definition: Document, *, agents: int | None = None, total: Amounts | None = None) -> tuple[Advice, ...]:
    """All findings about a rendered definition (after patches), in the order of `CHECKS`.

    Never raises on a definition that the schema took. `agents` is the number of active agents of the cluster, `total` what they have in
    all; without them, what depends on them is not checked.
    """
    app = _App(given=without_nulls(definition), held=normalise(definition), agents=agents, total=total)
    return tuple(finding for check in CHECKS for finding in check(app))


def checked_by_marathon(definition: Document) -> bool:
    """Whether Marathon performs checks of the app itself: then its rolling restart replaces no task in place.

    It counts the old tasks as not healthy (seen on 1.11), so with `maximumOverCapacity: 0` nothing is ever killed.
    """
    return any(check.get("protocol", "HTTP") in _BY_MARATHON for check in _objects(definition.get("healthChecks")))


def _objects(value: object) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, (list, tuple)) else []


# ---------------------------------------------------------------------------------------------------- rolling restarts


def rolling_restart_with_marathon_checks_needs_room(app: _App) -> Iterator[Advice]:
    """Marathon 1.11 counts no old instance as healthy while its own checks are configured: it kills none before a new one is healthy."""
    kinds = sorted({kind for _, kind, _ in app.checks if kind in _BY_MARATHON})
    if kinds and app.instances > 0 and app.most <= app.instances:
        yield Advice(
            reason="RolloutNeverEnds",
            path="spec.upgradeStrategy.maximumOverCapacity",
            message=f"with {'/'.join(kinds)} health checks Marathon 1.11 replaces no task unless one more may start, and {app.instances} "
            f"instances leave no room for it: every change of this app hangs. Use {'/'.join('MESOS_' + k for k in kinds)} checks, or "
            f"maximumOverCapacity of at least {_fraction(app.instances)}",
        )


def _fraction(instances: int) -> str:
    """The smallest share that allows one more, rounded up to two digits."""
    return f"{math.ceil(100 / instances) / 100:g}"


def rolling_restart_needs_another_agent(app: _App) -> Iterator[Advice]:
    """If nothing may be killed first and each agent takes one instance, the extra instance needs an agent of its own."""
    why = _one_per_agent(app)
    if why is None or app.agents is None or app.instances == 0 or app.instances > app.agents:
        return
    if app.fewest >= app.instances and app.agents <= app.instances:
        yield Advice(
            reason="NoRoomForExtraInstance",
            path="spec.upgradeStrategy.minimumHealthCapacity",
            message=f"{why[1]}, all {app.agents} agents are taken by {app.instances} instances, and none may be stopped before "
            "another runs: a change never finds a place. Lower minimumHealthCapacity (0.5, say), or run fewer instances than agents",
        )


def more_instances_than_agents(app: _App) -> Iterator[Advice]:
    """One instance per agent at most, and not enough agents."""
    why = _one_per_agent(app)
    if why is not None and app.agents is not None and app.instances > app.agents:
        yield Advice(
            reason="MoreInstancesThanAgents",
            path=why[0],
            message=f"{why[1]}, but there are {app.agents} agents for {app.instances} instances: "
            f"{app.instances - app.agents} will wait for agents to be added",
        )


def cluster_has_no_room(app: _App) -> Iterator[Advice]:
    """The arithmetic of the whole cluster: what does not fit into all agents together cannot fit into each."""
    if app.total is None or app.instances == 0:
        return
    for name, unit, one, whole in (
        ("cpus", "CPUs", float(app.held["cpus"]), app.total.cpus),
        ("mem", "MiB of memory", float(app.held["mem"]), app.total.mem),
        ("disk", "MiB of disk", float(app.held["disk"]), app.total.disk),
        ("gpus", "GPUs", float(app.held["gpus"]), app.total.gpus),
    ):
        if one * app.instances > whole:
            yield Advice(
                reason="MoreThanTheClusterHas",
                path=f"spec.{name}",
                message=f"{app.instances} instances of {one:g} {unit} need more than the {whole:g} that all agents have together: "
                "some wait for agents to be added",
            )
        elif one * (app.instances + 1) > whole and app.fewest >= app.instances:
            yield Advice(
                reason="NoRoomForExtraInstance",
                path="spec.upgradeStrategy.minimumHealthCapacity",
                message=f"all agents together have {whole:g} {unit}, which is not enough for one instance more than {app.instances}, and "
                "none may be stopped before another runs: a change never finds a place. Lower minimumHealthCapacity (0.5, say)",
            )


def _one_per_agent(app: _App) -> tuple[str, str] | None:
    """The field and the reason by which an agent takes at most one instance, if so."""
    for index, constraint in enumerate(app.given.get("constraints") or ()):
        words = [str(word) for word in constraint] if isinstance(constraint, (list, tuple)) else []
        if words[:1] in (["hostname"], ["@hostname"]) and words[1:] in (["UNIQUE"], ["MAX_PER", "1"]):
            return f"spec.constraints[{index}]", f"hostname {' '.join(words[1:])} puts one instance on an agent"
    if app.host_mode and app.held["requirePorts"]:
        for index, port in enumerate(_objects(app.held.get("portDefinitions"))):
            if port.get("port"):
                return f"spec.portDefinitions[{index}].port", f"requirePorts with port {port['port']} puts one instance on an agent"
    for index, mapping in enumerate(_objects((app.held.get("container") or {}).get("portMappings"))):
        if mapping.get("hostPort"):
            return f"spec.container.portMappings[{index}].hostPort", f"hostPort {mapping['hostPort']} puts one instance on an agent"
    return None


# ---------------------------------------------------------------------------------------------------- health and readiness


def delay_of_marathon_checks_is_ignored(app: _App) -> Iterator[Advice]:
    """Only Mesos-side checks have a delay."""
    for index, kind, check in app.checks:
        if kind in _BY_MARATHON and check.get("delaySeconds", _DEFAULT_DELAY) != _DEFAULT_DELAY:
            yield Advice(
                reason="DelayIgnored",
                path=f"spec.healthChecks[{index}].delaySeconds",
                message=f"Marathon ignores the delay of {kind} checks; give a start time with gracePeriodSeconds, or use MESOS_{kind}",
            )


def http_1xx_is_never_ignored(app: _App) -> Iterator[Advice]:
    """The field is lost when Marathon reads a definition."""
    for index, _, check in app.checks:
        if check.get("ignoreHttp1xx"):
            yield Advice(
                reason="Http1xxNotIgnored",
                path=f"spec.healthChecks[{index}].ignoreHttp1xx",
                message="Marathon 1.11 loses this field: it always reads false",
            )


def zero_failures_mean_two_things(app: _App) -> Iterator[Advice]:
    """0 is 'never' for checks that Marathon makes, and 'at once' for those that Mesos makes."""
    for index, kind, check in app.checks:
        if check.get("maxConsecutiveFailures") == 0:
            effect = "no task is ever killed for failing it" if kind in _BY_MARATHON else "a task is killed at its first failure"
            yield Advice(
                reason="ZeroFailures",
                path=f"spec.healthChecks[{index}].maxConsecutiveFailures",
                message=f"0 means for {kind} checks: {effect}. It is the opposite for the other family of checks; say 1 or more",
            )


def start_is_given_no_grace(app: _App) -> Iterator[Advice]:
    """Without grace the failures of a starting task count."""
    for index, kind, check in app.checks:
        failures = int(check.get("maxConsecutiveFailures", 3))
        if kind in _BY_MARATHON and check.get("gracePeriodSeconds") == 0 and failures > 0:
            interval = int(check.get("intervalSeconds", 60))
            yield Advice(
                reason="NoGracePeriod",
                path=f"spec.healthChecks[{index}].gracePeriodSeconds",
                message="failures count from the first probe on: a task that needs more than about "
                f"{min(interval, 5) + (failures - 1) * interval} s to start is killed again and again",
            )


def probe_outlasts_its_interval(app: _App) -> Iterator[Advice]:
    """Accepted for apps, refused for pods."""
    for index, _, check in app.checks:
        timeout, interval = float(check.get("timeoutSeconds", 20)), float(check.get("intervalSeconds", 60))
        if timeout > interval:
            yield Advice(
                reason="TimeoutAboveInterval",
                path=f"spec.healthChecks[{index}].timeoutSeconds",
                message=f"a probe may take {timeout:g} s and the next is due after {interval:g} s; a task that hangs is found late. "
                "Make the timeout no longer than the interval",
            )


def mesos_runs_one_check_only(app: _App) -> Iterator[Advice]:
    """A Mesos task carries one check; Marathon refuses a second MESOS_ one but not a COMMAND beside it."""
    of_mesos = [index for index, kind, _ in app.checks if kind not in _BY_MARATHON]
    if len(of_mesos) > 1:
        yield Advice(
            reason="OneCheckIsRun",
            path=f"spec.healthChecks[{of_mesos[1]}]",
            message="Mesos runs one check per task (COMMAND and MESOS_* together); the others never report. Keep one of them",
        )


def check_names_a_port_that_is_not_there(app: _App) -> Iterator[Advice]:
    """A readiness check by name, a health check by position."""
    names = app.port_names
    known = ", ".join(sorted(n for n in names if n)) or "none"
    for index, check in enumerate(_objects(app.held.get("readinessChecks"))):
        if check["portName"] not in names:
            yield Advice(
                reason="ReadinessPortMissing",
                path=f"spec.readinessChecks[{index}].portName",
                message=f"no port is called {check['portName']!r} (named ports: {known}); Marathon refuses the app",
            )
    for index, kind, health in app.checks:
        position = health.get("portIndex")
        if kind in _BY_MARATHON and isinstance(position, int) and health.get("port") is None and position >= len(names):
            yield Advice(
                reason="HealthCheckPortMissing",
                path=f"spec.healthChecks[{index}].portIndex",
                message=f"there are {len(names)} ports, so the last index is {len(names) - 1}; Marathon refuses the app"
                if names
                else "the app declares no port; Marathon refuses it",
            )


# ---------------------------------------------------------------------------------------------------- what is run, and what is lost


def command_of_one_character(app: _App) -> Iterator[Advice]:
    """Refused by Marathon, in words that do not fit."""
    command = app.given.get("cmd")
    if isinstance(command, str) and len(command) == 1:
        yield Advice(
            reason="CommandTooShort",
            path="spec.cmd",
            message="Marathon refuses a command of one character ('must not be an empty string'); write it with a path",
        )


def image_is_not_pinned(app: _App) -> Iterator[Advice]:
    """A moving tag: agents keep what they once pulled, and going back does not bring the old content."""
    docker = (app.held.get("container") or {}).get("docker") or {}
    image = str(docker.get("image", ""))
    if not image or "@" in image:
        return
    tag = image.rsplit("/", 1)[-1].partition(":")[2]
    if tag in {"", "latest"}:
        pulled = "" if docker.get("forcePullImage") else ", and agents keep what they once pulled"
        yield Advice(
            reason="ImageNotPinned",
            path="spec.container.docker.image",
            message=f"{image} names no fixed version: tasks of one app may run different code{pulled}, and a roll-back brings nothing "
            "back. Use a version tag or a digest",
        )


def ports_in_the_wrong_place(app: _App) -> Iterator[Advice]:
    """Marathon moves or drops the ports that do not fit the network mode without a word."""
    container = app.given.get("container")
    mapped = isinstance(container, Mapping) and bool(container.get("portMappings"))
    if app.host_mode and mapped:
        yield Advice(
            reason="PortsDropped",
            path="spec.container.portMappings",
            message="host networking has no port mappings: Marathon drops them. Use portDefinitions, or the network mode container/bridge",
        )
    if not app.host_mode and app.given.get("portDefinitions"):
        yield Advice(
            reason="PortsDropped",
            path="spec.portDefinitions",
            message="only host networking has portDefinitions: Marathon drops their numbers, names and labels. Use container.portMappings",
        )


def fixed_ports_are_not_required(app: _App) -> Iterator[Advice]:
    """Under host networking a port number is a service port unless requirePorts says otherwise."""
    if not app.host_mode or app.held["requirePorts"]:
        return
    fixed = [p["port"] for p in _objects(app.held.get("portDefinitions")) if p.get("port")]
    if fixed:
        yield Advice(
            reason="PortNotOnHost",
            path="spec.requirePorts",
            message=f"port {fixed[0]} is only the service port: the task listens on $PORT0, any free port of its agent. "
            "Set requirePorts: true if it must be that port on the host",
        )


def ports_are_not_required_off_the_host(app: _App) -> Iterator[Advice]:
    """Only host networking knows required ports."""
    if not app.host_mode and app.given.get("requirePorts"):
        yield Advice(
            reason="RequirePortsIgnored",
            path="spec.requirePorts",
            message="only host networking requires ports: Marathon ignores it here. Set hostPort in container.portMappings",
        )


def forms_of_old_marathons(app: _App) -> Iterator[Advice]:
    """Still read by 1.11, and rewritten."""
    instead = {
        "uris": "use fetch",
        "ports": "use portDefinitions",
        "ipAddress": "use networks",
        "residency": "it has no effect any more: remove it",
    }
    for field, what in instead.items():
        if app.given.get(field):
            yield Advice(reason="Deprecated", path=f"spec.{field}", message=f"deprecated by Marathon; {what}")
    docker = (app.given.get("container") or {}).get("docker") or {}
    for field, what in (("network", "networks"), ("portMappings", "container.portMappings")):
        if docker.get(field):
            yield Advice(reason="Deprecated", path=f"spec.container.docker.{field}", message=f"deprecated by Marathon; use {what}")


def executor_resources_are_dropped(app: _App) -> Iterator[Advice]:
    """Kept at creation only."""
    if app.given.get("executorResources"):
        yield Advice(
            reason="ExecutorResourcesDropped",
            path="spec.executorResources",
            message="Marathon drops this field at every update; set it on the agents instead",
        )


CHECKS: tuple[Callable[[_App], Iterator[Advice]], ...] = (
    rolling_restart_with_marathon_checks_needs_room,
    rolling_restart_needs_another_agent,
    more_instances_than_agents,
    cluster_has_no_room,
    check_names_a_port_that_is_not_there,
    command_of_one_character,
    delay_of_marathon_checks_is_ignored,
    http_1xx_is_never_ignored,
    zero_failures_mean_two_things,
    start_is_given_no_grace,
    probe_outlasts_its_interval,
    mesos_runs_one_check_only,
    image_is_not_pinned,
    ports_in_the_wrong_place,
    fixed_ports_are_not_required,
    ports_are_not_required_off_the_host,
    executor_resources_are_dropped,
    forms_of_old_marathons,
)
"""All checks: first what stops the app, then what misleads."""

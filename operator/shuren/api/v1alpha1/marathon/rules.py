"""Rules over several fields of an app definition: what Marathon refuses, said earlier and with the fix.

Where Marathon has a default, a rule reckons with it. Where only Marathon can know (its features, its roles, its default network), no rule
speaks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shuren.api.nodes import Reason, Rule, unique
from shuren.api.v1alpha1.marathon.checks import MARATHON_CHECKS, MESOS_NETWORK_CHECKS, IpProtocol
from shuren.api.v1alpha1.marathon.container import Engine
from shuren.api.v1alpha1.marathon.environment import SecretEnv
from shuren.api.v1alpha1.marathon.networking import NetworkMode, PortMapping

if TYPE_CHECKING:
    from shuren.api.v1alpha1.marathon.app import App


def _mappings(app: App) -> list[list[PortMapping]]:
    container = app.container
    found = [] if container is None else [container.port_mappings, container.docker.port_mappings if container.docker else None]
    return [mappings for mappings in found if mappings is not None]


def _port_count(app: App) -> int:
    """Most ports that the app may have; Marathon's default is one."""
    counts = [len(ports) for ports in (app.ports, app.port_definitions) if ports is not None] + [
        len(mappings) for mappings in _mappings(app)
    ]
    return max(counts) if counts else 1


def _indices_exist(app: App) -> bool:
    if app.ip_address is not None:
        return True
    count = _port_count(app)
    return all((check.port_index or 0) < count for check in app.health_checks or [] if check.kind in MARATHON_CHECKS and check.port is None)


def _readiness_ports_exist(app: App) -> bool:
    names = {port.name for port in app.port_definitions or []} | {m.name for mappings in _mappings(app) for m in mappings} | {"default"}
    return app.ip_address is not None or all((check.port_name or "http-api") in names for check in app.readiness_checks or [])


def _one_kind_of_network(app: App) -> bool:
    networks = app.networks or []
    return len(networks) <= 1 or all(network.mode in (None, NetworkMode.CONTAINER) for network in networks)


def _host_ports_name_their_network(app: App) -> bool:
    if len(app.networks or []) <= 1 or app.container is None:
        return True
    return all(len(m.network_names or []) == 1 for m in app.container.port_mappings or [] if m.host_port is not None)


def _networks_exist(app: App) -> bool:
    if not app.networks or app.container is None:
        return True
    names = {network.name for network in app.networks}
    return None in names or all(name in names for m in app.container.port_mappings or [] for name in m.network_names or [])


def _ports_agree(app: App) -> bool:
    return not app.ports or not app.port_definitions or [port.port or 0 for port in app.port_definitions] == app.ports


def _secrets_exist(app: App) -> bool:
    used = [value.secret for value in (app.env or {}).values() if isinstance(value, SecretEnv)]
    if app.container is not None:
        used += [volume.secret for volume in app.container.volumes or [] if volume.secret is not None]
    return all(name in (app.secrets or {}) for name in used)


def _single_instance_obeyed(app: App) -> bool:
    strategy = app.upgrade_strategy
    return not app.single_instance or (
        strategy is not None and strategy.minimum_health_capacity == 0 and strategy.maximum_over_capacity == 0
    )


RESERVED = ("restart", "tasks", "versions")
SINGLE_INSTANCE = "MARATHON_SINGLE_INSTANCE_APP"
_RESIDENT = "(has(self.container) && has(self.container.volumes) && self.container.volumes.exists(v, has(v.persistent)))"
_ENGINE = "(has(self.container) ? (has(self.container.type) ? self.container.type.upperAscii() : 'DOCKER') : 'MESOS')"
_MAPPINGS = "has(self.container) && has(self.container.portMappings)"
_DOCKER_MAPPINGS = "has(self.container) && has(self.container.docker) && has(self.container.docker.portMappings)"
_SINGLE = f"(has(self.labels) && '{SINGLE_INSTANCE}' in self.labels && self.labels['{SINGLE_INSTANCE}'] == 'true')"
_HEALTH = "(has(h.protocol) ? h.protocol.lowerAscii() : 'http')"
_INDEX = "(has(h.portIndex) ? h.portIndex : 0)"
_READY = "(has(c.portName) ? c.portName : 'http-api')"
_MODE = "(has(n.mode) ? n.mode.lowerAscii() : 'container')"

COMMAND_RULES = (
    Rule(
        cel="!has(self.id) || !self.id.matches('(^|/)(restart|tasks|versions)$')",
        holds=lambda a: a.id is None or a.id.rsplit("/", 1)[-1] not in RESERVED,
        message="Marathon reserves the names restart, tasks and versions for the end of an id",
        at="id",
    ),
    Rule(
        cel="!has(self.labels) || !('DCOS_MIGRATION_API_VERSION' in self.labels)"
        " || ('DCOS_PACKAGE_FRAMEWORK_NAME' in self.labels && 'DCOS_MIGRATION_API_PATH' in self.labels)",
        holds=lambda a: (
            "DCOS_MIGRATION_API_VERSION" not in (a.labels or {})
            or {"DCOS_PACKAGE_FRAMEWORK_NAME", "DCOS_MIGRATION_API_PATH"} <= set(a.labels or {})
        ),
        message="the label DCOS_MIGRATION_API_VERSION needs DCOS_PACKAGE_FRAMEWORK_NAME and DCOS_MIGRATION_API_PATH beside it",
        at="labels",
    ),
    Rule(
        cel="!(has(self.cmd) && has(self.args) && self.args.size() > 0)",
        holds=lambda a: a.cmd is None or not a.args,
        message="cmd and args exclude each other: keep one of them",
        at="args",
    ),
    Rule(
        cel="has(self.cmd) || (has(self.args) && self.args.size() > 0) || (has(self.container) && has(self.container.docker))",
        holds=lambda a: a.cmd is not None or bool(a.args) or (a.container is not None and a.container.docker is not None),
        message="nothing to run: give cmd, args, or container.docker.image",
        reason=Reason.REQUIRED,
    ),
    Rule(
        cel="!(has(self.fetch) && self.fetch.size() > 0 && has(self.uris) && self.uris.size() > 0)",
        holds=lambda a: not (a.fetch and a.uris),
        message="uris is the deprecated form of fetch: keep one of them",
        at="uris",
    ),
    Rule(
        cel="",
        holds=_secrets_exist,
        message="a secret named in env or in a volume is missing here: add it under secrets as {source: …}",
        at="secrets",
    ),
)

PORT_RULES = (
    Rule(
        cel="!has(self.ipAddress) || !((has(self.ports) && self.ports.size() > 0)"
        " || (has(self.portDefinitions) && self.portDefinitions.size() > 0) || (has(self.networks) && self.networks.size() > 0))",
        holds=lambda a: a.ip_address is None or not (a.ports or a.port_definitions or a.networks),
        message="ipAddress (deprecated) excludes ports, portDefinitions and networks: keep networks",
        at="ipAddress",
    ),
    Rule(
        cel="!has(self.networks) || self.networks.size() == 0 || !has(self.container)"
        " || !has(self.container.docker) || !has(self.container.docker.network)",
        holds=lambda a: not a.networks or a.container is None or a.container.docker is None or a.container.docker.network is None,
        message="container.docker.network is the deprecated form of networks: keep networks",
        at="networks",
    ),
    Rule(
        cel="!has(self.ports) || self.ports.size() == 0 || !has(self.portDefinitions) || self.portDefinitions.size() == 0"
        " || self.portDefinitions.map(p, has(p.port) ? p.port : 0) == self.ports",
        holds=_ports_agree,
        message="ports (deprecated) says something else than portDefinitions: keep portDefinitions",
        at="ports",
    ),
    Rule(
        cel="!has(self.portDefinitions) || self.portDefinitions.all(p,"
        " !has(p.name) || self.portDefinitions.exists_one(q, has(q.name) && q.name == p.name))",
        holds=lambda a: unique([port.name for port in a.port_definitions or []]),
        message="port names must be unique",
        at="portDefinitions",
    ),
    Rule(
        cel="!has(self.portDefinitions) || self.portDefinitions.all(p,"
        " !has(p.port) || p.port == 0 || self.portDefinitions.exists_one(q, has(q.port) && q.port == p.port))",
        holds=lambda a: unique([str(port.port) if port.port else None for port in a.port_definitions or []]),
        message="ports other than 0 must be unique",
        at="portDefinitions",
    ),
    Rule(
        cel="!has(self.ports) || self.ports.all(p, p == 0 || self.ports.exists_one(q, q == p))",
        holds=lambda a: unique([str(port) if port else None for port in a.ports or []]),
        message="numbers in ports other than 0 must be unique",
        at="ports",
    ),
    Rule(
        cel=f"!has(self.networks) || self.networks.size() <= 1 || self.networks.all(n, {_MODE} == 'container')",
        holds=_one_kind_of_network,
        message="give one host network, or one container/bridge network, or only container networks",
        at="networks",
    ),
    Rule(
        cel="!has(self.networks) || self.networks.all(n, !has(n.name) || self.networks.exists_one(m, has(m.name) && m.name == n.name))",
        holds=lambda a: unique([network.name for network in a.networks or []]),
        message="network names must be unique",
        at="networks",
    ),
    Rule(
        cel=f"{_ENGINE} != 'DOCKER' || !has(self.networks) || self.networks.size() <= 1",
        holds=lambda a: a.engine is not Engine.DOCKER or len(a.networks or []) <= 1,
        message="type DOCKER can join one network only: use type MESOS, or remove networks",
        at="networks",
    ),
    Rule(
        cel=f"!has(self.networks) || self.networks.size() <= 1 || !({_MAPPINGS})"
        " || self.container.portMappings.all(p, !has(p.hostPort) || (has(p.networkNames) && p.networkNames.size() == 1))",
        holds=_host_ports_name_their_network,
        message="with several container networks, a mapping with hostPort must name exactly one of them in networkNames",
        at="container.portMappings",
    ),
    Rule(
        cel=f"!has(self.networks) || self.networks.size() == 0 || !({_MAPPINGS}) || self.networks.exists(n, !has(n.name))"
        " || self.container.portMappings.all(p, !has(p.networkNames) || p.networkNames.all(m, self.networks.exists(n, n.name == m)))",
        holds=_networks_exist,
        message="networkNames must be names of networks of this app",
        at="container.portMappings",
    ),
)

CHECK_RULES = (
    Rule(
        cel=f"!has(self.healthChecks) || self.healthChecks.filter(h, {_HEALTH} in ['mesos_http', 'mesos_https', 'mesos_tcp']).size() <= 1",
        holds=lambda a: sum(check.kind in MESOS_NETWORK_CHECKS for check in a.health_checks or []) <= 1,
        message="Mesos runs one health check: keep one of the MESOS_HTTP, MESOS_HTTPS, MESOS_TCP checks",
        at="healthChecks",
    ),
    Rule(
        cel="!has(self.healthChecks) || has(self.ipAddress) || self.healthChecks.all(h,"
        f" !({_HEALTH} in ['http', 'https', 'tcp']) || has(h.port)"
        f" || (!has(self.ports) && !has(self.portDefinitions) && !({_MAPPINGS}) && !({_DOCKER_MAPPINGS}) && {_INDEX} < 1)"
        f" || (has(self.ports) && {_INDEX} < self.ports.size())"
        f" || (has(self.portDefinitions) && {_INDEX} < self.portDefinitions.size())"
        f" || ({_MAPPINGS} && {_INDEX} < self.container.portMappings.size())"
        f" || ({_DOCKER_MAPPINGS} && {_INDEX} < self.container.docker.portMappings.size()))",
        holds=_indices_exist,
        message="portIndex (default 0) of a health check must be the index of one of the app's ports:"
        " add the port, or give the check a port",
        at="healthChecks",
    ),
    Rule(
        cel=f"!has(self.healthChecks) || {_ENGINE} == 'DOCKER'"
        " || self.healthChecks.all(h, !has(h.ipProtocol) || h.ipProtocol.lowerAscii() != 'ipv6')",
        holds=lambda a: a.engine is Engine.DOCKER or all(h.ip_protocol is not IpProtocol.IPV6 for h in a.health_checks or []),
        message="ipProtocol IPv6 works with container type DOCKER only",
        at="healthChecks",
    ),
    Rule(
        cel="!has(self.readinessChecks) || has(self.ipAddress) || self.readinessChecks.all(c,"
        f" {_READY} == 'default'"
        f" || (has(self.portDefinitions) && self.portDefinitions.exists(p, has(p.name) && p.name == {_READY}))"
        f" || ({_MAPPINGS} && self.container.portMappings.exists(p, has(p.name) && p.name == {_READY}))"
        f" || ({_DOCKER_MAPPINGS} && self.container.docker.portMappings.exists(p, has(p.name) && p.name == {_READY})))",
        holds=_readiness_ports_exist,
        message="portName (default http-api) of a readiness check must be the name of one of the app's ports",
        at="readinessChecks",
    ),
    Rule(
        cel=f"!has(self.check) || {_ENGINE} != 'DOCKER'",
        holds=lambda a: a.check is None or a.engine is not Engine.DOCKER,
        message="check does not work with container type DOCKER: use type MESOS or a health check",
        at="check",
    ),
)

PLACE_RULES = (
    Rule(
        cel=f"!has(self.gpus) || self.gpus == 0 || {_ENGINE} != 'DOCKER'",
        holds=lambda a: not a.gpus or a.engine is not Engine.DOCKER,
        message="GPUs do not work with container type DOCKER: use type MESOS",
        at="gpus",
    ),
    Rule(
        cel=f"!{_SINGLE} || !has(self.instances) || self.instances <= 1",
        holds=lambda a: not a.single_instance or a.instances <= 1,
        message=f"the label {SINGLE_INSTANCE} allows one instance at most",
        at="instances",
    ),
    Rule(
        cel=f"!{_SINGLE} || (has(self.upgradeStrategy) && self.upgradeStrategy.minimumHealthCapacity == 0.0"
        " && self.upgradeStrategy.maximumOverCapacity == 0.0)",
        holds=_single_instance_obeyed,
        message=f"the label {SINGLE_INSTANCE} needs upgradeStrategy {{minimumHealthCapacity: 0, maximumOverCapacity: 0}}",
        at="upgradeStrategy",
    ),
    Rule(
        cel=f"!{_RESIDENT} || !has(self.upgradeStrategy) || self.upgradeStrategy.maximumOverCapacity == 0.0",
        holds=lambda a: not a.resident or a.upgrade_strategy is None or a.upgrade_strategy.maximum_over_capacity == 0,
        message="an app with persistent volumes needs maximumOverCapacity 0: its tasks cannot run twice",
        at="upgradeStrategy",
    ),
    Rule(
        cel=f"!{_RESIDENT} || !has(self.role) || self.role != '*'",
        holds=lambda a: not a.resident or a.role != "*",
        message='an app with persistent volumes cannot have the role "*": reservations need a role of their own',
        at="role",
    ),
    Rule(
        cel="",
        holds=lambda a: not a.resident or a.unreachable_strategy is None or isinstance(a.unreachable_strategy, str),
        message='an app with persistent volumes needs unreachableStrategy "disabled"',
        at="unreachableStrategy",
    ),
)

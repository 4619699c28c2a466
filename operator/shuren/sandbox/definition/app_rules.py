"""What Marathon 1.11 checks about an app once it has the right shape: small named rules in the three rounds in which Marathon runs them.

`deprecated` looks at the request as given, `canonical` at the app after deprecated fields were translated, `model` at the final definition.
A round runs only when the one before found nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from . import paths, volume_rules
from .container_rules import container_rules, feature_missing, network_rules, unique
from .errors import Violation
from .patterns import compiles
from .shape import INT32

Json = Mapping[str, Any]
OPERATORS = ("UNIQUE", "CLUSTER", "GROUP_BY", "LIKE", "MAX_PER", "UNLIKE", "IS")
_MARATHON_CHECKS = ("HTTP", "HTTPS", "TCP")
_MESOS_NETWORK_CHECKS = ("MESOS_HTTP", "MESOS_HTTPS", "MESOS_TCP")
_IS_VALUE = re.compile(r"[a-zA-Z0-9_/.-]*", re.ASCII)
_BAD_IN_URI = re.compile(r'[\x00-\x20"<>\\^`{|}\x7f]|%(?![0-9A-Fa-f]{2})')


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What of the server's settings and of the place in the tree the rules depend on."""

    features: frozenset[str]
    default_network_name: str | None
    valid_roles: tuple[str, ...]
    kept_role: str | None = None
    """The role that reservations of what is there were made for, unless the request says to give them up."""


def _at(path: str, message: str) -> Violation:
    return Violation(path=path, message=message)


# -------------------------------------------------------------------------------------------------- deprecated fields


def deprecated(app: Json) -> Iterator[Violation]:
    """First round: deprecated fields and how they mix with today's."""
    yield from _deprecated_docker(app)
    for index, uri in enumerate(app.get("uris") or ()):
        if not is_uri(uri):
            yield _at(f"/uris({index})", "URI has invalid syntax.")
    if app.get("uris") and app.get("fetch"):
        yield _at("/uris", "may not be set in conjunction with fetch")
    yield from _deprecated_networks(app)


def _deprecated_docker(app: Json) -> Iterator[Violation]:
    container = app.get("container") or {}
    docker = container.get("docker") or {}
    mappings = docker.get("portMappings")
    forbidden = {"credential": docker.get("credential") is not None}
    if container.get("type") == "MESOS":
        forbidden |= {
            "network": docker.get("network") is not None,
            "parameters": bool(docker.get("parameters")),
            "portMappings": mappings is not None,
        }
    for key, there in forbidden.items():
        if there:
            yield _at(f"/container/docker/{key}", "must be empty")
    if mappings and not unique([mapping["name"] for mapping in mappings if "name" in mapping]):
        yield _at("/container/docker/portMappings", "Port names must be unique.")


def _deprecated_networks(app: Json) -> Iterator[Violation]:
    container = app.get("container") or {}
    kind = (container.get("docker") or {}).get("network")
    address, ports, definitions = app.get("ipAddress"), app.get("ports"), app.get("portDefinitions")
    if address is not None and container.get("type") == "DOCKER" and address.get("discovery") is not None:
        yield _at("/ipAddress", "ipAddress/discovery is not allowed for Docker containers")
    if kind is not None and app.get("networks"):
        yield _at("/", "must not specify both container.docker.network and networks")
    if address is not None and app.get("networks"):
        yield _at("/", "must not specify both networks and ipAddress")
    if not unique([port for port in ports or () if port != 0]):
        yield _at("/", "ports must be unique")
    if address is not None and (ports or definitions):
        yield _at("/", "cannot specify both an IP address and port")
    if ports is not None and definitions is not None and [d["port"] for d in definitions] != ports:
        yield _at("/", "cannot specify both ports and port definitions")


def is_uri(text: str) -> bool:
    """Whether Java's `new URI(text)` takes it: no illegal character, a scheme only of letters, something after it."""
    if _BAD_IN_URI.search(text):
        return False
    head = re.split(r"[/?#]", text, maxsplit=1)[0]
    if ":" in head:
        scheme, _, rest = text.partition(":")
        return re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme) is not None and bool(rest)
    return text.count("#") <= 1


# -------------------------------------------------------------------------------------------------- canonical app


def canonical(app: Json, rules: Rules) -> Iterator[Violation]:
    """Second round: everything about an app in today's fields."""
    yield from _identity(app)
    yield from _command(app)
    if app.get("container") is not None:
        yield from container_rules(app["container"], app["networks"], app["secrets"], rules.features)
    yield from network_rules(app["networks"], rules.default_network_name)
    yield from _ports(app)
    yield from _health_checks(app)
    yield from _readiness(app)
    yield from _fetch(app)
    yield from environment_rules(app["env"], app["secrets"], rules.features, "/env")
    if app["secrets"] and "secrets" not in rules.features:
        yield _at("/secrets", feature_missing("secrets"))
    yield from _resources(app, rules)
    yield from _roles(app, rules)
    yield from _labels(app)
    yield from _strategies(app)
    yield from _driven(app)
    for constraint in app["constraints"]:
        complaint = constraint_complaint(constraint)
        if complaint is not None:
            yield _at("/constraints", complaint)


def _identity(app: Json) -> Iterator[Violation]:
    for complaint in paths.complaints(app["id"]):
        yield _at("/id", complaint)
    if paths.is_root(app["id"]):
        yield _at("/id", "Path must contain at least one path element")
        yield _at("/", "must not be root")
    for index, dependency in enumerate(app["dependencies"]):
        for complaint in paths.complaints(dependency):
            yield _at(f"/dependencies({index})", complaint)


def _command(app: Json) -> Iterator[Violation]:
    command, arguments = app.get("cmd") is not None, bool(app["args"])
    image = bool((app.get("container") or {}).get("docker"))
    if not (command ^ arguments or (not (command and arguments) and image)):
        yield _at("/", "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.")
    if command and len(app["cmd"]) <= 1:
        # Marathon means "not empty" and compares with 1
        yield _at("/", "must not be an empty string")


def _ports(app: Json) -> Iterator[Violation]:
    definitions = app.get("portDefinitions") or []
    if not unique([definition["name"] for definition in definitions if "name" in definition]):
        yield _at("/portDefinitions", "Port names must be unique.")
    if not unique([definition["port"] for definition in definitions if definition["port"] != 0]):
        yield _at("/portDefinitions", "Ports must be unique.")


def port_count(app: Json) -> int:
    """How many ports health checks can address: the container's mappings when there are any, else the port definitions."""
    mappings = (app.get("container") or {}).get("portMappings")
    return len(mappings if mappings is not None else app.get("portDefinitions") or ())


def _health_checks(app: Json) -> Iterator[Violation]:
    ports = port_count(app)
    docker = (app.get("container") or {}).get("type") == "DOCKER"
    for index, check in enumerate(app["healthChecks"]):
        if "command" not in check and check["protocol"] in _MARATHON_CHECKS:
            position = check.get("portIndex")
            addressed = position < ports if position is not None else check.get("port") is not None or ports == 1
            if not addressed:
                message = "Health check port indices must address an element of the ports array or container port mappings."
                yield _at(f"/healthChecks({index})", message)
        if check["ipProtocol"] != "IPv4" and not (check["protocol"] in _MESOS_NETWORK_CHECKS and docker):
            message = "IPv6 can only be used for container type DOCKER and Mesos http/https/tcp health checks"
            yield _at(f"/healthChecks({index})", message)
    commands = sum(1 for check in app["healthChecks"] if "command" in check)
    mesos = sum(1 for c in app["healthChecks"] if "command" in c or c["protocol"] in (*_MESOS_NETWORK_CHECKS, "COMMAND"))
    if mesos - commands > 1:
        yield _at("/", "AppDefinition can contain at most one Mesos health check")
    if app.get("check") is not None and docker:
        yield _at("/check", "AppDefinition can not contain checks when using the Docker container engine")


def _readiness(app: Json) -> Iterator[Violation]:
    checks = app["readinessChecks"]
    if len(checks) > 1:
        yield _at("/readinessChecks/size", f"got {len(checks)}, expected 1 or less")
    mappings = (app.get("container") or {}).get("portMappings")
    named = mappings if mappings is not None else app.get("portDefinitions") or ()
    names = {port.get("name") for port in named}
    for index, check in enumerate(checks):
        at = f"/readinessChecks({index})"
        if check["portName"] not in names:
            yield _at(f"{at}/portName", f"No port definition reference for portName {check['portName']}")
        if check["timeoutSeconds"] >= check["intervalSeconds"]:
            yield _at(f"{at}/timeoutSeconds", f"got {check['timeoutSeconds']}, expected less than {check['intervalSeconds']}")


def _fetch(app: Json) -> Iterator[Violation]:
    for index, artifact in enumerate(app["fetch"]):
        if not is_uri(artifact["uri"]):
            yield _at(f"/fetch({index})/uri", "URI has invalid syntax.")


def environment_rules(environment: Json, secrets: Json, features: Collection[str], path: str) -> Iterator[Violation]:
    """Names are not empty and shorter than 255; references need the feature and the secret."""
    for index, name in enumerate(environment):
        if not name:
            yield _at(f"{path}/keys({index})", "must not be empty")
        elif len(name) > 254:  # noqa: PLR2004 - the limit is Marathon's
            yield _at(f"{path}/keys({index})", "variable name must be 254 chars or less")
    references = {name: value["secret"] for name, value in environment.items() if isinstance(value, dict)}
    if references and "secrets" not in features:
        yield _at(path, "use of secret-references in the environment requires the secrets feature to be enabled")
    for name, secret in references.items():
        if secret not in secrets:
            yield _at(f"{path}/{name}/secret", "references an undefined secret")


def _resources(app: Json, rules: Rules) -> Iterator[Violation]:
    if app["gpus"] > 0:
        if (app.get("container") or {}).get("type") == "DOCKER":
            yield _at("/", "GPU resources only work with the Mesos containerizer")
        if "gpu_resources" not in rules.features:
            yield _at("/", feature_missing("gpu_resources"))
    yield from limit_rules(app.get("resourceLimits") or {}, app, "/resourceLimits")


def limit_rules(limits: Json, resources: Json, path: str) -> Iterator[Violation]:
    """A limit is not below what is requested."""
    for name, limit in limits.items():
        if isinstance(limit, str):
            if limit != "unlimited":
                yield _at(f"{path}/{name}", f"'{limit}' is an invalid resource limit. It must be 'unlimited' or a number")
        elif limit < resources[name]:
            message = f"resource limit must be greater than or equal to requested resource ({float(resources[name])})"
            yield _at(f"{path}/{name}", message)


def _roles(app: Json, rules: Rules) -> Iterator[Violation]:
    if app["role"] not in rules.valid_roles:
        yield _at("/role", f"got {app['role']}, expected one of: [{', '.join(rules.valid_roles)}]")
    accepted = app.get("acceptedResourceRoles")
    if accepted is not None:
        if not accepted:
            yield _at("/acceptedResourceRoles", "must not be empty")
        elif not set(accepted) <= {"*", app["role"]}:
            allowed = " and ".join(dict.fromkeys(("*", app["role"])))
            yield _at("/acceptedResourceRoles", f"acceptedResourceRoles can only contain {allowed}")
        if accepted and set(accepted) != {"*"} and has_volumes(app, "persistent"):
            yield _at("/acceptedResourceRoles", 'A resident app must have `acceptedResourceRoles = ["*"]`.')


def _labels(app: Json) -> Iterator[Violation]:
    labels = app["labels"]
    api = labels.get("DCOS_MIGRATION_API_VERSION")
    complete = labels.get("DCOS_PACKAGE_FRAMEWORK_NAME") and labels.get("DCOS_MIGRATION_API_PATH")
    if api and not (api == "v1" and complete):
        yield _at("/", "DCOS_PACKAGE_FRAMEWORK_NAME and DCOS_MIGRATION_API_PATH must be defined when using DCOS_MIGRATION_API_VERSION")


def _strategies(app: Json) -> Iterator[Violation]:
    single = app["labels"].get("MARATHON_SINGLE_INSTANCE_APP") == "true"
    upgrade = app.get("upgradeStrategy")
    resident = has_volumes(app, "persistent")
    if single and app["instances"] > 1:
        yield _at("/", "Single instance app may only have one instance")
    if upgrade is not None:
        bound = resident or bool(_driven_volumes(app))
        zero = ("maximumOverCapacity", "minimumHealthCapacity") if single else ("maximumOverCapacity",) if bound else ()
        for key in zero:
            if upgrade[key] != 0:
                yield _at(f"/upgradeStrategy/{key}", f"got {upgrade[key]}, expected 0.0")
    unreachable = app.get("unreachableStrategy")
    if resident and unreachable is not None and unreachable != "disabled":
        yield _at("/", "unreachableStrategy must be disabled for resident tasks")
    if isinstance(unreachable, dict) and unreachable["inactiveAfterSeconds"] > unreachable["expungeAfterSeconds"]:
        inactive, expunge = unreachable["inactiveAfterSeconds"], unreachable["expungeAfterSeconds"]
        message = f"inactiveAfterSeconds ({inactive}) must be less or equal to expungeAfterSeconds, which is {expunge}"
        yield _at("/unreachableStrategy/inactiveAfterSeconds", message)
    if (app.get("container") or {}).get("type") == "DOCKER" and sum(n["mode"] == "container" for n in app["networks"]) > 1:
        yield _at("/", "may only specify a single container network when using the Docker container engine")


def _driven_volumes(app: Json) -> list[str | None]:
    external = [volume["external"] for volume in (app.get("container") or {}).get("volumes", ()) if "external" in volume]
    return [info.get("name") for info in external if info.get("provider") == "dvdi"]


def _driven(app: Json) -> Iterator[Violation]:
    """Volumes of Docker volume drivers belong to one instance, and each is mounted once."""
    names = _driven_volumes(app)
    if names and app["instances"] > 1:
        yield _at("/", f"Number of instances is limited to 1 when declaring DVDI volumes in app [{app['id']}]")
    for name in volume_rules.names_twice(app):
        yield _at("/", f"Requested DVDI volume '{name}' is declared more than once within app {app['id']}")


def has_volumes(app: Json, kind: str) -> bool:
    """Whether the app's container has a volume of that kind (`persistent`, `external`)."""
    return any(kind in volume for volume in (app.get("container") or {}).get("volumes", ()))


def _is_int(text: str) -> bool:
    """A whole number within 32 bits."""
    return re.fullmatch(r"[+-]?[0-9]{1,20}", text, re.ASCII) is not None and INT32[0] <= int(text) <= INT32[1]


def constraint_complaint(constraint: list[str]) -> str | None:
    """Marathon's words for a bad constraint of an app. Lower case operators pass here (and fail on conversion)."""
    if len(constraint) not in (2, 3):
        return "Each constraint must have either 2 or 3 fields"
    operator, value = constraint[1].upper(), constraint[2] if len(constraint) > 2 else None  # noqa: PLR2004
    match operator:
        case _ if not constraint[0]:
            return "illegal constraint specification"
        case "UNIQUE" if value is not None:
            return "UNIQUE does not accept a value"
        case "GROUP_BY" if value is not None and not _is_int(value):
            return "GROUP BY must define an integer value or else no value at all"
        case "MAX_PER" if value is None or not _is_int(value):
            return "MAX_PER requires an integer value"
        case "LIKE" | "UNLIKE" if value is None:
            return "LIKE and UNLIKE require a non-empty, regular expression value"
        case "LIKE" | "UNLIKE" if not compiles(value or ""):
            return "is not a valid regular expression"
        case "IS" if value is not None and not _IS_VALUE.fullmatch(value):
            return "IS only supports Mesos text and float values (see http://mesos.apache.org/documentation/latest/attributes-resources/)"
        case _ if operator not in OPERATORS:
            return f"operator must be one of the following {', '.join(OPERATORS[:5])}, UNLIKE or IS"
        case _:
            return None


# -------------------------------------------------------------------------------------------------- final definition


def resident_role(role: str, kept_role: str | None, kind: str) -> Iterator[Violation]:
    """What keeps its data on an agent has a role of its own, and parts with it only by force."""
    if role == "*":
        yield _at("/role", f"Resident {kind} cannot have the role *")
    if kept_role is not None and role != kept_role:
        message = (
            "It is not possible to change the role for existing reservations. If you proceed with this change, all existing instances will "
            f"continue to run under the previous role, {kept_role}. Only new instances will be allocated with the new role, {role}. "
            "In order to continue, retry your request with ?force=true"
        )
        yield _at("/role", message)


def model(app: Json, rules: Rules) -> Iterator[Violation]:
    """Third round: the finished definition."""
    yield from volume_rules.csi_rules(app)
    if has_volumes(app, "persistent"):
        yield from resident_role(app["role"], rules.kept_role, "apps")
    if app["labels"].get("MARATHON_SINGLE_INSTANCE_APP") == "true" and app.get("upgradeStrategy") is None:
        # the default strategy does not do for such an app: it must say 0 and 0 itself
        yield _at("/isSingleInstance", "must be false")
        for key in ("maximumOverCapacity", "minimumHealthCapacity"):
            yield _at(f"/upgradeStrategy/{key}", "got 1.0, expected 0.0")


RESOURCES_STAY = (
    "Services with persistent volumes configured may not change resource requirements. "
    "If you need to make this change, please create a new service."
)
HOST_PORTS_STAY = (
    "Services with persistent volumes configured may not change host ports. If you need to make this change, please create a new service."
)


def stored(app: Json) -> Iterator[str]:
    """What is wrong with a definition by itself, without a word on where: all that is left to find once it has become part of the tree,
    which is the first look at the apps of a group's update.
    """
    yield from (violation.message for violation in volume_rules.csi_rules(app))
    if has_volumes(app, "persistent"):
        yield from (violation.message for violation in resident_role(app["role"], None, "apps"))
    strategy = app["upgradeStrategy"]
    wrong = [value for key in ("maximumOverCapacity", "minimumHealthCapacity") if (value := strategy[key]) != 0]
    if app["labels"].get("MARATHON_SINGLE_INSTANCE_APP") == "true" and wrong:
        yield "must be false"
        yield from (f"got {value}, expected 0.0" for value in wrong)


def resident_update(old: Json, new: Json) -> Iterator[Violation]:
    """An app with persistent volumes, before or after, keeps its volumes, resources and host ports. Paths are below the app's."""
    if not has_volumes(old, "persistent") and not has_volumes(new, "persistent"):
        return
    if _kept(old) != _kept(new):
        yield _at("", "Persistent volumes can not be changed!")
    for name in ("cpus", "mem", "disk", "gpus", "requirePorts"):
        if old[name] != new[name]:
            yield _at(f"/{name}", RESOURCES_STAY)
    if _host_ports(old) != _host_ports(new):
        yield _at("", HOST_PORTS_STAY)
    over = new["upgradeStrategy"]["maximumOverCapacity"]
    if over != 0:
        yield _at("/upgradeStrategy/maximumOverCapacity", f"got {over}, expected 0.0")


def _kept(app: Json) -> dict[str, Any]:
    volumes = (app.get("container") or {}).get("volumes", ())
    return {volume["containerPath"]: volume for volume in volumes if "persistent" in volume}


def _host_ports(app: Json) -> set[int]:
    """Those of mappings, else the ports of definitions, fixed or not."""
    mappings = (app.get("container") or {}).get("portMappings")
    if mappings:
        return {mapping["hostPort"] for mapping in mappings if mapping.get("hostPort") is not None}
    return {definition["port"] for definition in app.get("portDefinitions") or ()}

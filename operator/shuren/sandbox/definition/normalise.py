"""From what a request says to what Marathon 1.11 stores, in small steps: deprecated fields to today's, defaults that depend on others,
and the shape of a GET.

An app here is the dict that `app_shape.APP` reads; the steps return new dicts and never change their argument.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from . import paths
from .app_rules import has_volumes
from .errors import ApiError, refused

Json = dict[str, Any]
DEFAULT_PORT_DEFINITION: Json = {"port": 0, "labels": {}, "name": "default", "protocol": "tcp"}
DEFAULT_PORT_MAPPING: Json = {"containerPort": 0, "labels": {}, "name": "default", "protocol": "tcp", "servicePort": 0, "networkNames": []}
BLANK_PORT_MAPPING: Json = {"containerPort": 0, "labels": {}, "protocol": "tcp", "servicePort": 0, "networkNames": []}
MESOS_BRIDGE_NAME = "mesos-bridge"
_ARCHIVES = (".tar", ".tar.gz", ".tar.bz2", ".tar.xz", ".gz", ".tgz", ".tbz2", ".txz", ".zip")
_DELAYED = ("COMMAND", "MESOS_HTTP", "MESOS_HTTPS", "MESOS_TCP")


@dataclass(frozen=True, kw_only=True)
class Config:
    """What of the server's settings and of the app's place in the tree the defaults depend on."""

    default_role: str
    default_network_name: str | None = None


def _conflict(message: str) -> ApiError:
    """Normalisation gives up with a 500, as the real one does."""
    return refused(500, message)


def without(value: Mapping[str, Any], *keys: str) -> Json:
    """A copy without some keys."""
    return {key: item for key, item in value.items() if key not in keys}


# -------------------------------------------------------------------------------------------------- deprecated fields


def _fetch(uris: list[str] | None, fetch: list[Any] | None) -> list[Any] | None:
    if not uris:
        return fetch
    if fetch:
        raise _conflict("cannot specify both uris and fetch fields")
    return [{"uri": uri, "extract": _is_archive(uri), "executable": False, "cache": False} for uri in uris]


def _is_archive(uri: str) -> bool:
    """By the end of the path, whatever query follows it. What has no path (`http://a.zip`, `mailto:a.zip`) is none."""
    try:
        parts = urlsplit(uri)
    except ValueError:  # an address that only Java would take
        return False
    opaque = bool(parts.scheme) and not parts.netloc and not parts.path.startswith("/")
    return not opaque and unquote(parts.path).endswith(_ARCHIVES)


def _docker_network(kind: str, name: str | None, labels: Json) -> Json:
    match kind:
        case "HOST":
            return {"mode": "host", "labels": {}}
        case "USER":
            return {"mode": "container", "labels": labels} | ({"name": name} if name is not None else {})
        case "BRIDGE":
            return {"mode": "container/bridge", "labels": labels}
        case _:
            raise _conflict(f"unsupported docker network type {kind}")


def _networks(app: Mapping[str, Any], *, update: bool = False) -> list[Json] | None:
    """`ipAddress` and `docker.network` as networks; None when nothing is said. In a whole app an empty list of networks says nothing."""
    address = app.get("ipAddress")
    kind = ((app.get("container") or {}).get("docker") or {}).get("network")
    if address is None and kind is None:
        return app.get("networks")
    if app.get("networks") or (update and app.get("networks") is not None):
        raise _conflict("cannot mix deprecated and canonical network APIs")
    if kind is not None:
        return [_docker_network(kind, (address or {}).get("networkName"), (address or {}).get("labels", {}))]
    assert address is not None  # noqa: S101 - for the type checker; the cases above leave nothing else
    if address.get("networkName") == MESOS_BRIDGE_NAME:
        return [{"mode": "container/bridge", "labels": address["labels"]}]
    return [_docker_network("USER", address.get("networkName"), address["labels"])]


def _move_docker_mappings(container: Json) -> Json:
    docker = container.get("docker")
    if docker is None or docker.get("portMappings") is None:
        return container
    if container.get("portMappings") is not None and docker["portMappings"]:
        raise _conflict("cannot specify both portMappings and docker.portMappings")
    mappings = container["portMappings"] if container.get("portMappings") is not None else docker["portMappings"]
    return container | {"docker": without(docker, "portMappings"), "portMappings": mappings}


def _move_discovery(container: Json, address: Json | None) -> Json:
    ports = ((address or {}).get("discovery") or {}).get("ports")
    if not ports:
        return container
    if container["type"] != "MESOS":
        raise _conflict(f"ipAddress.discovery.ports do not apply for container type {container['type']}")
    if container.get("portMappings") is not None:
        raise _conflict("container.portMappings and ipAddress.discovery.ports must not both be set")
    mappings = [
        BLANK_PORT_MAPPING | {"containerPort": p["number"], "name": p["name"], "protocol": p["protocol"], "labels": p["labels"]}
        for p in ports
    ]
    return container | {"portMappings": mappings}


def _drop_docker_network(container: Json) -> Json:
    docker = container.get("docker")
    return container if docker is None else container | {"docker": without(docker, "network")}


def _modern_container(app: Mapping[str, Any]) -> Json | None:
    """The container without deprecated fields. An IP address without container means an empty Mesos one."""
    address = app.get("ipAddress")
    container = app.get("container")
    if container is None:
        if address is None:
            return None
        container = {"type": "MESOS", "volumes": []}
    return _drop_docker_network(_move_discovery(_move_docker_mappings(container), address))


def _on_host(networks: list[Json]) -> bool:
    return not networks or any(network["mode"] == "host" for network in networks)


def _beyond_host(networks: list[Json]) -> bool:
    return any(network["mode"] != "host" for network in networks)


def _fit_mappings(container: Json, networks: list[Json], definitions: list[Json] | None) -> Json:
    """No mappings on the host network; else a default one, and at least as many as there were port definitions."""
    if _on_host(networks):
        return without(container, "portMappings")
    if container.get("portMappings") is None:
        container = container | {"portMappings": [dict(DEFAULT_PORT_MAPPING)]}
    missing = len(definitions or ()) - len(container["portMappings"])
    if missing > 0:
        return container | {"portMappings": container["portMappings"] + [dict(BLANK_PORT_MAPPING) for _ in range(missing)]}
    return container


def _with_port_index(checks: list[Json]) -> list[Json]:
    """`portIndex` once had the default 0, and gets it again where ports are declared."""
    return [
        check | {"portIndex": 0} if check["protocol"] != "COMMAND" and "port" not in check and "portIndex" not in check else check
        for check in checks
    ]


def _readiness(checks: list[Json]) -> list[Json]:
    return [check if check.get("httpStatusCodesForReady") else check | {"httpStatusCodesForReady": [200]} for check in checks]


def _port_definitions(app: Mapping[str, Any]) -> list[Json] | None:
    if app.get("portDefinitions") is not None:
        return list(app["portDefinitions"])
    if app.get("ports") is not None:
        return [{"port": port, "labels": {}, "protocol": "tcp"} for port in app["ports"]]
    return None


def _set(app: Json, **values: Any) -> Json:
    """The app with these values; None removes."""
    return without(app, *values) | {key: value for key, value in values.items() if value is not None}


def modernise(app: Json) -> Json:
    """A whole app in today's fields, with the port defaults of its network mode."""
    networks = _networks(app) or []
    declared = _port_definitions(app)
    definitions = None if _beyond_host(networks) else declared if declared is not None else [dict(DEFAULT_PORT_DEFINITION)]
    container = _modern_container(app)
    if container is not None:
        container = _fit_mappings(container, networks, declared)
    checks = app["healthChecks"]
    if app.get("portDefinitions") or (container is not None and container.get("portMappings") is not None):
        checks = _with_port_index(checks)
    modern = without(app, "uris", "ports", "ipAddress", "residency", "version", "versionInfo")
    return _set(
        modern,
        id=paths.absolute(app["id"]),
        fetch=_fetch(app.get("uris"), app["fetch"]),
        networks=networks,
        container=container,
        portDefinitions=definitions,
        healthChecks=checks,
        readinessChecks=_readiness(app["readinessChecks"]),
    )


def modernise_update(update: Json, config: Config) -> Json:
    """A partial app in today's fields; what is not mentioned stays out."""
    networks = _networks(update, update=True)
    container = _modern_container(update)
    modern = without(update, "uris", "ports", "ipAddress", "residency", "version", "versionInfo")
    modern = _set(
        modern,
        fetch=_fetch(update.get("uris"), update.get("fetch")),
        networks=networks,
        container=container,
        portDefinitions=_port_definitions(update),
        healthChecks=_with_port_index(update["healthChecks"]) if update.get("healthChecks") is not None else None,
        readinessChecks=_readiness(update["readinessChecks"]) if update.get("readinessChecks") is not None else None,
    )
    if networks is not None:
        named = name_networks(networks, config.default_network_name)
        modern = _set(modern, networks=named, container=default_container(container, named))
    return modern


# -------------------------------------------------------------------------------------------------- defaults that depend on others


def name_networks(networks: list[Json], default_name: str | None) -> list[Json]:
    """Unnamed container networks get the server's default name; a 500 when there is none."""
    named = []
    for network in networks:
        if network["mode"] == "container" and not network.get("name"):
            if default_name is None:
                raise _conflict("container network name is not defined")
            network = network | {"name": default_name}  # noqa: PLW2901 - a copy with one more key
        named.append(network)
    return named


def default_container(container: Json | None, networks: list[Json]) -> Json | None:
    """A network beyond the host's needs a container; on a bridge a missing host port means a random one."""
    if container is None:
        if not _beyond_host(networks):
            return None
        container = {"type": "MESOS", "volumes": [], "portMappings": [dict(DEFAULT_PORT_MAPPING)]}
    if any(network["mode"] == "container/bridge" for network in networks) and container.get("portMappings") is not None:
        container = container | {"portMappings": [{"hostPort": 0} | mapping for mapping in container["portMappings"]]}
    return _drop_docker_network(container)


def with_role(app: Json, config: Config) -> Json:
    """The role that rules out the others must be known before the rules run."""
    return app if app.get("role") is not None else app | {"role": config.default_role}


def complete(app: Json, config: Config) -> Json:
    """The last defaults of a checked app: network names, container, failure strategy, `requirePorts`."""
    networks = name_networks(app["networks"] or [{"mode": "host", "labels": {}}], config.default_network_name)
    return _set(
        app,
        networks=networks,
        container=default_container(app.get("container"), networks),
        unreachableStrategy=app.get("unreachableStrategy") or default_unreachable(app),
        requirePorts=False if _beyond_host(networks) else app["requirePorts"],
    )


def default_unreachable(app: Mapping[str, Any]) -> Any:
    """Resident apps wait for their agent; all others are replaced at once."""
    return "disabled" if has_volumes(app, "persistent") else {"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0}


def default_upgrade(app: Mapping[str, Any]) -> Json:
    """Apps whose volumes cannot be mounted twice go down before they come up again."""
    if has_volumes(app, "persistent") or has_volumes(app, "external"):
        return {"maximumOverCapacity": 0.0, "minimumHealthCapacity": 0.5}
    return {"maximumOverCapacity": 1.0, "minimumHealthCapacity": 1.0}


def merge(update: Mapping[str, Any], current: Mapping[str, Any]) -> Json:
    """A partial app over a stored one. Nested values are replaced whole.

    Resource limits and executor resources do not survive an update that does not mention them.
    """
    base = without(current, "version", "versionInfo", "resourceLimits", "executorResources", "residency")
    return as_request(base) | without(update, "id")


def as_request(definition: Mapping[str, Any]) -> Json:
    """A stored definition (shape of a GET) as `app_shape.APP` would have read it: keys that a GET leaves out when empty are back."""
    app = dict(definition)
    for key in ("args", "constraints", "dependencies", "fetch", "healthChecks", "readinessChecks"):
        app.setdefault(key, [])
    for key in ("env", "secrets"):
        app.setdefault(key, {})
    app["networks"] = [{"labels": {}} | network for network in app["networks"]]
    if app.get("portDefinitions") is not None:
        app["portDefinitions"] = [{"labels": {}} | definition for definition in app["portDefinitions"]]
    container = app.get("container")
    if container is not None and container.get("portMappings") is not None:
        mappings = [{"networkNames": []} | mapping for mapping in container["portMappings"]]
        app["container"] = container | {"portMappings": mappings}
    return app


# -------------------------------------------------------------------------------------------------- shape of a GET

_ORDER = (
    "id", "acceptedResourceRoles", "args", "backoffFactor", "backoffSeconds", "check", "cmd", "constraints", "container", "cpus",
    "dependencies", "disk", "env", "executor", "executorResources", "fetch", "healthChecks", "instances", "labels",
    "maxLaunchDelaySeconds", "mem", "gpus", "networks", "portDefinitions", "readinessChecks", "residency", "requirePorts",
    "resourceLimits", "secrets", "taskKillGracePeriodSeconds", "tty", "upgradeStrategy", "user", "version", "versionInfo",
    "killSelection", "unreachableStrategy", "role",
)  # fmt: skip
_OMIT_EMPTY = ("args", "constraints", "dependencies", "env", "fetch", "healthChecks", "readinessChecks", "secrets", "acceptedResourceRoles")


def to_definition(app: Json, *, version: str) -> Json:
    """The stored definition in the shape of a GET. Raises the 500s of conversions that validation lets through."""
    for constraint in app["constraints"]:
        if constraint[1] != constraint[1].upper():
            raise _conflict(f"illegal constraint specification {','.join(constraint)}")
    shown = app | {
        "healthChecks": [_shown_health_check(check) for check in app["healthChecks"]],
        "networks": [_shown_network(network) for network in app["networks"]],
        "upgradeStrategy": app.get("upgradeStrategy") or default_upgrade(app),
        "version": version,
    }
    if app.get("check") is not None:
        shown["check"] = _shown_check(app["check"])
    if app.get("container") is not None:
        shown["container"] = _shown_container(app["container"])
    if app.get("portDefinitions") is not None:
        shown["portDefinitions"] = [_no_empty(definition, "labels") for definition in app["portDefinitions"]]
    if has_volumes(app, "persistent"):
        shown["residency"] = {"relaunchEscalationTimeoutSeconds": 3600, "taskLostBehavior": "WAIT_FOREVER"}
    return {key: shown[key] for key in _ORDER if key in shown and not (key in _OMIT_EMPTY and not shown[key])}


def _no_empty(value: Json, *keys: str) -> Json:
    return {key: item for key, item in value.items() if not (key in keys and not item)}


def _shown_network(network: Json) -> Json:
    return {key: network[key] for key in ("name", "mode", "labels") if network.get(key)}


def _shown_check(check: Json) -> Json:
    if sum(kind in check for kind in ("http", "tcp", "exec")) != 1:
        raise _conflict("illegal RAML Check: expected one of http, tcp or exec checks")
    return check


def _shown_health_check(check: Json) -> Json:
    """The check as it is stored: what its protocol does not use is forgotten (`ignoreHttp1xx` always is)."""
    protocol = check["protocol"]
    _require_sound(check)
    shown = without(check, "ignoreHttp1xx")
    if protocol in ("HTTP", "HTTPS"):
        shown["ignoreHttp1xx"] = False
    if protocol == "COMMAND":
        shown = without(shown, "path", "port", "portIndex")
    elif protocol in ("TCP", "MESOS_TCP"):
        shown = without(shown, "path")
    if protocol not in _DELAYED:
        shown["delaySeconds"] = 15
    return shown


def _require_sound(check: Json) -> None:
    command, protocol = check.get("command"), check["protocol"]
    if command is None and protocol == "COMMAND":
        raise _conflict("illegal protocol COMMAND for non-command health check")
    if command is None:
        return
    if any(key in check for key in ("path", "port")) or check.get("ignoreHttp1xx") is not None:
        raise _conflict(f"Invalid combination of HealthCheck parameters in {_scala(check)}")
    if protocol != "COMMAND":
        raise _conflict(f"illegal protocol {protocol} specified with command")


def _scala(check: Json) -> str:
    """The check as Scala prints a case class, because a real one does so in this message."""

    def option(key: str) -> str:
        return f"Some({str(check[key]).lower() if isinstance(check[key], bool) else check[key]})" if check.get(key) is not None else "None"

    parts = (
        f"Some(AppCommandCheck({check['command']['value']}))", str(check["gracePeriodSeconds"]), option("ignoreHttp1xx"),
        str(check["intervalSeconds"]), str(check["maxConsecutiveFailures"]), option("path"), option("port"), option("portIndex"),
        check["protocol"], check["ipProtocol"], str(check["timeoutSeconds"]), str(check["delaySeconds"]),
    )  # fmt: skip
    return f"AppHealthCheck({','.join(parts)})"


def _shown_container(container: Json) -> Json:
    shown: Json = {"type": container["type"]}
    if container.get("docker") is not None:
        docker = without(container["docker"], "credential", "network", "portMappings")
        if container["type"] == "MESOS":
            docker |= {"privileged": False, "parameters": []}
        shown["docker"] = docker
    if container.get("linuxInfo") is not None:
        shown["linuxInfo"] = container["linuxInfo"]
    shown["volumes"] = [_shown_volume(volume) for volume in container["volumes"]]
    if container.get("portMappings") is not None:
        shown["portMappings"] = [_no_empty(mapping, "networkNames") for mapping in container["portMappings"]]
    return shown


def _shown_volume(volume: Json) -> Json:
    if "persistent" in volume:
        return volume | {"persistent": {"type": "root"} | volume["persistent"]}
    if "external" in volume:
        return volume | {"external": _no_empty(volume["external"], "options")}
    return volume

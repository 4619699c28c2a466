"""What Marathon 1.11 would answer in a GET for a definition that it is given, so that equal things compare equal.

Marathon fills in defaults and rewrites old forms. A definition that a person wrote and the one that Marathon stores are
compared only after both went through here: `normalise(what we would PUT)` against `normalise(what GET answers)`. It is idempotent, so the
second is mostly the identity; it also levels what differs between leaders (order of sets, `portIndex` after a fail-over).

Service ports that the user leaves to Marathon stay 0 here; `difference` treats them as "any".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from shuren.domain.json import Document
from shuren.domain.marathon.paths import absolute
from shuren.domain.marathon.state import MarathonInfo

READ_ONLY = frozenset(
    {
        "version",
        "versionInfo",
        "tasks",
        "tasksStaged",
        "tasksRunning",
        "tasksHealthy",
        "tasksUnhealthy",
        "tasksStats",
        "taskStats",
        "deployments",
        "lastTaskFailure",
        "readinessCheckResults",
        "residency",
    }
)
"""Keys of a GET that a definition does not have (`residency` is derived from volumes)."""

_KNOWN = frozenset(
    {
        "id",
        "cmd",
        "args",
        "user",
        "env",
        "instances",
        "cpus",
        "mem",
        "disk",
        "gpus",
        "executor",
        "executorResources",
        "constraints",
        "fetch",
        "container",
        "networks",
        "portDefinitions",
        "requirePorts",
        "healthChecks",
        "check",
        "readinessChecks",
        "dependencies",
        "labels",
        "upgradeStrategy",
        "unreachableStrategy",
        "killSelection",
        "taskKillGracePeriodSeconds",
        "backoffSeconds",
        "backoffFactor",
        "maxLaunchDelaySeconds",
        "acceptedResourceRoles",
        "role",
        "resourceLimits",
        "secrets",
        "tty",
    }
)
_KNOWN_OF_CONTAINER = frozenset({"type", "docker", "volumes", "portMappings", "linuxInfo"})
_ARCHIVES = (".tar", ".gz", ".tar.bz2", ".tar.xz", ".tgz", ".tbz2", ".txz", ".zip")
_DEFAULT_INFO = MarathonInfo(version="1.11", framework_id=None, leader=None)
_MARATHON_KINDS = frozenset({"HTTP", "HTTPS", "TCP"})
_IP_PROTOCOLS = {"ipv4": "IPv4", "ipv6": "IPv6"}
_EMPTY_IS_ABSENT = frozenset(
    {"env", "fetch", "constraints", "dependencies", "healthChecks", "readinessChecks", "secrets", "args", "acceptedResourceRoles"}
)

Json = dict[str, Any]


def normalise(definition: Document, *, info: MarathonInfo = _DEFAULT_INFO) -> Json:
    """The definition in the form of a GET, without read-only keys.

    Unknown keys are dropped, as Marathon ignores them. Nothing is validated: what Marathon would refuse comes out as it can.
    """
    given: Json = {key: without_nulls(value) for key, value in definition.items() if key not in READ_ONLY and value is not None}
    app: Json = {key: value for key, value in given.items() if key in _KNOWN}
    _networking(app, given, info)
    for step in _STEPS:
        step(app, given)
    app.setdefault("role", info.mesos_role)
    for key in _EMPTY_IS_ABSENT:
        if key in app and not app[key]:
            del app[key]
    return app


def without_nulls(value: Any) -> Any:
    """A copy in which no object has a null: to Marathon a null field is an absent one, at every depth."""
    if isinstance(value, (str, int, float)):
        return value  # most are, and asking whether something is a Mapping costs much more
    if isinstance(value, (dict, Mapping)):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return [without_nulls(item) for item in value]
    return value


# ---------------------------------------------------------------------------------------------------- networks, ports, container


def _networking(app: Json, given: Json, info: MarathonInfo) -> None:
    container = _container(given.get("container"))
    networks = _networks(given, info)
    mode = networks[0]["mode"]
    definitions = _port_definitions(given)
    if mode == "host":
        app["requirePorts"] = bool(given.get("requirePorts", False))
        app["portDefinitions"] = [_port_definition(p) for p in ([{"port": 0, "name": "default"}] if definitions is None else definitions)]
        if not app["portDefinitions"]:
            app["portDefinitions"] = []
        if container is not None:
            container.pop("portMappings", None)
    else:
        app["requirePorts"] = False
        app.pop("portDefinitions", None)
        if container is None:
            # it is made after the port definitions have been looked at
            container, definitions = {"type": "MESOS", "volumes": []}, None
        discovered = ((given.get("ipAddress") or {}).get("discovery") or {}).get("ports")
        if discovered and container.get("portMappings") is None:
            container["portMappings"] = [{**p, "containerPort": p.get("number", 0)} for p in discovered]
        _map_ports(container, definitions, mode)
    app["networks"] = networks
    if container is None:
        app.pop("container", None)
    else:
        app["container"] = container


def _networks(given: Json, info: MarathonInfo) -> list[Json]:
    """`networks`, or the deprecated places where the same was said: `ipAddress`, `container.docker.network`."""
    named = given.get("networks")
    if not named and "ipAddress" in given:
        address = given["ipAddress"] or {}
        docker_network = str(((given.get("container") or {}).get("docker") or {}).get("network", "")).upper()
        named = (
            [{"mode": "container/bridge"}]
            if docker_network == "BRIDGE"
            else [{"mode": "container", "name": address.get("networkName"), "labels": address.get("labels")}]
        )
    if not named:
        docker = str(((given.get("container") or {}).get("docker") or {}).get("network", "")).upper()
        match docker:
            case "BRIDGE":
                named = [{"mode": "container/bridge"}]
            case "USER":
                named = [{"mode": "container"}]
            case _:
                named = [{"mode": "host"}]
    result = []
    for network in named:
        mode = str(network.get("mode", "container")).lower()
        item: Json = {"mode": mode}
        name = network.get("name") or (info.default_network_name if mode == "container" else None)
        if name:
            item["name"] = name
        if network.get("labels"):
            item["labels"] = dict(network["labels"])
        result.append(item)
    return result


def _port_definitions(given: Json) -> list[Json] | None:
    if given.get("portDefinitions") is not None:
        return list(given["portDefinitions"])
    if given.get("ports") is not None:
        return [{"port": port} for port in given["ports"]]
    return None


def _protocol(value: object) -> str:
    text = str(value or "tcp").lower()
    return "udp,tcp" if "," in text else text


def _port_definition(port: Mapping[str, Any]) -> Json:
    item: Json = {"port": port.get("port", 0), "protocol": _protocol(port.get("protocol"))}
    if port.get("name"):
        item["name"] = port["name"]
    if port.get("labels"):
        item["labels"] = dict(port["labels"])
    return item


def _container(value: Mapping[str, Any] | None) -> Json | None:
    if value is None:
        return None
    container = {key: item for key, item in value.items() if item is not None and key in _KNOWN_OF_CONTAINER}
    container["type"] = str(container.get("type", "DOCKER")).upper()
    container["volumes"] = [_volume(v) for v in container.get("volumes") or []]
    docker = container.get("docker")
    if docker is not None:
        docker = {key: item for key, item in docker.items() if item is not None}
        docker.pop("network", None)
        legacy = docker.pop("portMappings", None)
        if container.get("portMappings") is None and legacy is not None:
            container["portMappings"] = legacy
        docker.setdefault("forcePullImage", False)
        if container["type"] == "DOCKER":
            docker.setdefault("parameters", [])
            docker.setdefault("privileged", False)
        else:
            for key in ("parameters", "privileged"):
                docker.pop(key, None)
        container["docker"] = docker
    if container.get("linuxInfo"):
        container["linuxInfo"] = _linux(container["linuxInfo"])
    return container


def _linux(value: Mapping[str, Any]) -> Json:
    linux = dict(value)
    if linux.get("seccomp"):
        # false is the default, which Marathon writes out
        linux["seccomp"] = {key: item for key, item in linux["seccomp"].items() if (key, item) != ("unconfined", False)}
    if linux.get("ipcInfo"):
        linux["ipcInfo"] = {**linux["ipcInfo"], "mode": str(linux["ipcInfo"].get("mode", "")).upper()}
    return linux


def _volume(value: Mapping[str, Any]) -> Json:
    volume = {key: item for key, item in value.items() if item is not None}
    if "mode" in volume:
        volume["mode"] = str(volume["mode"]).upper()
    if "persistent" in volume:
        persistent = dict(volume["persistent"])
        persistent["type"] = str(persistent.get("type", "root")).lower()
        persistent["constraints"] = _sorted(persistent.get("constraints") or [])
        volume["persistent"] = persistent
    if "external" in volume:
        volume["external"] = _external(volume["external"])
    return volume


def _external(value: Mapping[str, Any]) -> Json:
    if value.get("provider") != "csi":
        external = {"shared": False, **value}
        if external.get("provider") == "dvdi":
            external.setdefault("options", {})
        return external
    options = {"nodeStageSecret": {}, "nodePublishSecret": {}, "volumeContext": {}, **(value.get("options") or {})}
    options["capability"] = {"mountFlags": [], **(options.get("capability") or {})}
    return {"provider": "csi", "name": value.get("name"), "options": options}


def _map_ports(container: Json, definitions: list[Json] | None, mode: str) -> None:
    mappings = container.get("portMappings")
    if mappings is None:
        mappings = [{"containerPort": 0, "name": "default"}]
    if definitions is not None and len(definitions) > len(mappings):
        # portDefinitions off host mode are dropped, but first the mappings are padded to the same count
        mappings = [*mappings, *({} for _ in range(len(definitions) - len(mappings)))]
    container["portMappings"] = [_port_mapping(m, mode) for m in mappings]


def _port_mapping(value: Mapping[str, Any], mode: str) -> Json:
    mapping: Json = {
        "containerPort": value.get("containerPort") or 0,
        "labels": dict(value.get("labels") or {}),
        "protocol": _protocol(value.get("protocol")),
        "servicePort": value.get("servicePort") or 0,
    }
    host_port = value.get("hostPort")
    if host_port is None and mode == "container/bridge":
        host_port = 0
    if host_port is not None:
        mapping["hostPort"] = host_port
    if value.get("name"):
        mapping["name"] = value["name"]
    if value.get("networkNames"):
        mapping["networkNames"] = list(value["networkNames"])
    return mapping


# ---------------------------------------------------------------------------------------------------- everything else, one step a subject


def _sorted(items: Sequence[Any]) -> list[Any]:
    """A set as a list: without duplicates, in an order of its own."""
    unique = {repr(item): item for item in items}
    return [unique[key] for key in sorted(unique)]


def _scalars(app: Json, _: Json) -> None:
    app["id"] = absolute(str(app.get("id", "")))
    for key, default in (
        ("instances", 1),
        ("cpus", 1.0),
        ("mem", 128.0),
        ("disk", 0.0),
        ("gpus", 0),
        ("executor", ""),
        ("backoffSeconds", 1),
        ("backoffFactor", 1.15),
        ("maxLaunchDelaySeconds", 300),
        ("labels", {}),
    ):
        app.setdefault(key, default)
    for key in ("cpus", "mem", "disk", "backoffFactor"):
        app[key] = float(app[key])
    app["killSelection"] = str(app.get("killSelection", "YOUNGEST_FIRST")).upper()


def _tty(app: Json, _: Json) -> None:
    # false is not stored: it reads back until a leader change and then vanishes
    if app.get("tty") is False:
        del app["tty"]


def _executor_resources(app: Json, _: Json) -> None:
    # dropped by every PUT except an explicit partial one, and no part of what makes a change
    app.pop("executorResources", None)


def _fetch(app: Json, given: Json) -> None:
    items = given.get("fetch")
    if not items and given.get("uris"):  # an empty list beside uris counts for nothing
        items = [{"uri": uri, "extract": _unpacked(str(uri))} for uri in given["uris"]]
    if items is None:
        return
    app["fetch"] = [
        {"uri": i["uri"], "extract": i.get("extract", True), "executable": i.get("executable", False), "cache": i.get("cache", False)}
        | ({"destPath": i["destPath"]} if i.get("destPath") else {})
        for i in items
    ]


def _unpacked(uri: str) -> bool:
    """Whether Marathon takes it for an archive: by the end of its path, letter for letter, whatever follows that (FetchUri.isExtract)."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return False
    has_path = not parts.scheme or uri[len(parts.scheme) + 1 :].startswith("/")
    return has_path and unquote(parts.path).endswith(_ARCHIVES)


def _sets(app: Json, _: Json) -> None:
    if "constraints" in app:
        app["constraints"] = _sorted([list(c) for c in app["constraints"]])
    if "acceptedResourceRoles" in app:
        app["acceptedResourceRoles"] = _sorted(app["acceptedResourceRoles"])
    if "dependencies" in app:
        # relative ones begin at the root, wherever the app lies (AppNormalization.withCanonizedIds)
        app["dependencies"] = _sorted([absolute(d) for d in app["dependencies"]])


def _volumes_of(app: Json) -> list[Mapping[str, Any]]:
    return list((app.get("container") or {}).get("volumes") or [])


def _strategies(app: Json, _: Json) -> None:
    persistent = any("persistent" in v for v in _volumes_of(app))
    external = any("external" in v for v in _volumes_of(app))
    half = persistent or external
    upgrade = app.get("upgradeStrategy") or {"minimumHealthCapacity": 0.5 if half else 1.0, "maximumOverCapacity": 0.0 if half else 1.0}
    app["upgradeStrategy"] = {key: float(value) for key, value in upgrade.items()}
    unreachable = app.get("unreachableStrategy")
    if unreachable is None:
        unreachable = "disabled" if persistent else {}
    app["unreachableStrategy"] = (
        {
            "inactiveAfterSeconds": unreachable.get("inactiveAfterSeconds", 0),
            "expungeAfterSeconds": unreachable.get("expungeAfterSeconds", 0),
        }
        if isinstance(unreachable, Mapping)
        else "disabled"
    )


def _health_checks(app: Json, _: Json) -> None:
    if "healthChecks" in app:
        has_ports = bool(app.get("portDefinitions")) or "portMappings" in (app.get("container") or {})
        app["healthChecks"] = _sorted([_health_check(c, has_ports=has_ports) for c in app["healthChecks"]])


def _health_check(value: Mapping[str, Any], *, has_ports: bool) -> Json:
    kind = str(value.get("protocol", "HTTP")).upper()
    check: Json = {
        "protocol": kind,
        "gracePeriodSeconds": value.get("gracePeriodSeconds", 300),
        "intervalSeconds": value.get("intervalSeconds", 60),
        "timeoutSeconds": value.get("timeoutSeconds", 20),
        "maxConsecutiveFailures": value.get("maxConsecutiveFailures", 3),
        # Marathon ignores the delay of the checks that it runs itself
        "delaySeconds": 15 if kind in _MARATHON_KINDS else value.get("delaySeconds", 15),
    }
    if kind == "COMMAND":
        if value.get("command") is not None:
            check["command"] = dict(value["command"])
        return check
    ip = str(value.get("ipProtocol") or "IPv4")
    check["ipProtocol"] = _IP_PROTOCOLS.get(ip.lower(), ip)
    if kind in {"HTTP", "HTTPS"}:
        check["ignoreHttp1xx"] = False
    if not kind.endswith("TCP") and value.get("path") is not None:
        check["path"] = value["path"]
    if value.get("port") is not None:
        check["port"] = value["port"]
    elif value.get("portIndex") is not None:
        check["portIndex"] = value["portIndex"]
    elif has_ports:
        check["portIndex"] = 0
    return check


def _readiness_checks(app: Json, _: Json) -> None:
    if "readinessChecks" in app:
        app["readinessChecks"] = [
            {
                "name": c.get("name", "readinessCheck"),
                "protocol": str(c.get("protocol", "HTTP")).upper(),
                "path": c.get("path", "/"),
                "portName": c.get("portName", "http-api"),
                "intervalSeconds": c.get("intervalSeconds", 30),
                "timeoutSeconds": c.get("timeoutSeconds", 10),
                "httpStatusCodesForReady": sorted(set(c.get("httpStatusCodesForReady") or [200])),
                "preserveLastResponse": c.get("preserveLastResponse", False),
            }
            for c in app["readinessChecks"]
        ]


def _mesos_check(app: Json, _: Json) -> None:
    if app.get("check"):
        app["check"] = {"intervalSeconds": 60, "timeoutSeconds": 20, "delaySeconds": 15, **app["check"]}
        if "http" in app["check"]:
            http = app["check"]["http"]
            app["check"]["http"] = {**http, "scheme": str(http.get("scheme", "HTTP")).upper()}


_STEPS: tuple[Callable[[Json, Json], None], ...] = (
    _scalars,
    _tty,
    _executor_resources,
    _fetch,
    _sets,
    _strategies,
    _health_checks,
    _readiness_checks,
    _mesos_check,
)

"""What Marathon 1.11 checks about networks, containers, volumes and port mappings once a definition has the right shape.

Every rule is a generator of violations; the paths are those that Marathon shows, oddities included.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from .errors import Violation
from .patterns import compiles

Json = Mapping[str, Any]
NAMES_FOR_HOST_PORT = "networkNames must be a single item list when hostPort is specified and more than 1 container network is defined"
_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_OPTION_KEY = _LABEL + r"/[A-Za-z0-9](?:[-A-Za-z0-9\\._:]*[A-Za-z0-9])?"
_DRIVER = "dvdi/driver"


def feature_missing(feature: str) -> str:
    """Marathon's words (the stray bracket is its own)."""
    return f"Feature {feature} is not enabled. Enable with --enable_features {feature})"


def unique(values: Collection[Any]) -> bool:
    """Whether no value comes twice."""
    return len(set(values)) == len(values)


def network_rules(networks: list[Any], default_name: str | None) -> Iterator[Violation]:
    """One host network, or one bridge, or any number of container networks with names of their own."""
    modes = [network["mode"] for network in networks]
    names = [network["name"] for network in networks if network.get("name")]
    if any(network["mode"] == "host" and (network.get("name") or network.get("labels")) for network in networks):
        yield Violation(path="/networks", message="Host networks may not have names or labels")
    if any(network["mode"] == "container/bridge" and network.get("name") for network in networks):
        yield Violation(path="/networks", message="Bridge networks may not have names")
    unnamed = sum(1 for network in networks if network["mode"] == "container" and not network.get("name"))
    if unnamed > 1 or not unique(names):
        yield Violation(path="/networks", message="Duplicate networks are not allowed")
    host, bridge, container = (modes.count(mode) for mode in ("host", "container/bridge", "container"))
    single = (host <= 1 and not bridge and not container) or (bridge <= 1 and not host and not container)
    if not single and not (container and not host and not bridge):
        message = "May specify a single host network, single bridge network, or else 1-to-n container networks"
        yield Violation(path="/networks", message=message)
    if unnamed and default_name is None:
        yield Violation(path="/networks", message="Network name must be specified when container network is selected.")


def port_mapping_rules(mappings: list[Any], networks: list[Any], path: str) -> Iterator[Violation]:
    """Unique names; with several container networks a mapping to a host port names exactly one of them."""
    if not unique([mapping["name"] for mapping in mappings if "name" in mapping]):
        yield Violation(path=path, message="Port names must be unique.")
    several = sum(1 for network in networks if network["mode"] == "container") > 1
    names = [network["name"] for network in networks if network.get("name")]
    for index, mapping in enumerate(mappings):
        if several and mapping.get("hostPort") is not None and len(mapping["networkNames"]) != 1:
            yield Violation(path=f"{path}({index})", message=NAMES_FOR_HOST_PORT)
        for position, name in enumerate(mapping["networkNames"]):
            if name not in names:
                yield Violation(path=f"{path}({index})/networkNames({position})", message=f"is not one of ({','.join(names)})")


def linux_rules(linux: Json, path: str) -> Iterator[Violation]:
    """Seccomp either unconfined or with a profile; shared memory has a size only when it is private."""
    yield from ipc_rules(linux, path)
    seccomp = linux.get("seccomp")
    if seccomp is not None:
        if "profileName" in seccomp and seccomp["unconfined"]:
            yield Violation(path=f"{path}/seccomp", message="Seccomp unconfined can NOT be true when Profile is defined")
        elif "profileName" not in seccomp and not seccomp["unconfined"]:
            yield Violation(path=f"{path}/seccomp", message="Seccomp unconfined must be true when Profile is NOT defined")


def ipc_rules(linux: Json, path: str) -> Iterator[Violation]:
    """Shared memory has a size only when it is private."""
    ipc = linux.get("ipcInfo")
    if ipc is not None and ipc["mode"] == "SHARE_PARENT" and ipc.get("shmSize") is not None:
        yield Violation(path=f"{path}/ipcInfo", message="ipcInfo shmSize can NOT be set when mode is SHARE_PARENT")


def container_rules(container: Json, networks: list[Any], secrets: Json, features: Collection[str]) -> Iterator[Violation]:
    """A container of an app, already free of deprecated fields."""
    if container.get("portMappings") is not None:
        yield from port_mapping_rules(container["portMappings"], networks, "/container/portMappings")
    volumes = container["volumes"]
    external = [volume["external"]["name"] for volume in volumes if volume.get("external", {}).get("name")]
    if not unique(external):
        yield Violation(path="/container/volumes", message="Volume names must be unique")
    for index, volume in enumerate(volumes):
        yield from _volume_rules(volume, f"/container/volumes({index})", container, secrets, features)
    if any("secret" in volume for volume in volumes) and "secrets" not in features:
        # the path is the text of an expression in Marathon's source, as a real one shows it
        yield Violation(path="/container/secretVolumes(container)", message="must be empty")
        yield Violation(path="/container/secretVolumes(container)", message=feature_missing("secrets"))
    if container["type"] == "DOCKER":
        yield from _docker_engine_rules(container)
    else:
        yield from _mesos_engine_rules(container, secrets, features)


def _docker_engine_rules(container: Json) -> Iterator[Violation]:
    docker = container.get("docker")
    if docker is None:
        yield Violation(path="/container/docker", message="not defined")
    elif docker.get("pullConfig") is not None:
        yield Violation(path="/container/docker/pullConfig", message="pullConfig is not supported with Docker containerizer")
    if container.get("linuxInfo") is not None:
        yield Violation(path="/container/linuxInfo", message="must be empty")


def _mesos_engine_rules(container: Json, secrets: Json, features: Collection[str]) -> Iterator[Violation]:
    config = (container.get("docker") or {}).get("pullConfig")
    if config is not None:
        if "secrets" not in features:
            yield Violation(path="/container/docker/pullConfig", message="must be empty")
            yield Violation(path="/container/docker/pullConfig", message=feature_missing("secrets"))
        if config["secret"] not in secrets:
            yield Violation(path="/container/docker/pullConfig", message="pullConfig.secret must refer to an existing secret")
    if container.get("linuxInfo") is not None:
        yield from linux_rules(container["linuxInfo"], "/container/linuxInfo")


def _volume_rules(volume: Json, path: str, container: Json, secrets: Json, features: Collection[str]) -> Iterator[Violation]:
    if "persistent" in volume:
        yield from _persistent_rules(volume, path)
    elif "external" in volume:
        yield from _external_rules(volume, path, container, features)
    elif "secret" in volume and volume["secret"] not in secrets:
        yield Violation(path=path, message="volume.secret must refer to an existing secret")


def _persistent_rules(volume: Json, path: str) -> Iterator[Violation]:
    inside = volume["containerPath"]
    if inside in (".", ".."):
        yield Violation(path=f"{path}/containerPath", message="can not be one of (.,..)")
    if "/" in inside:
        yield Violation(path=f"{path}/containerPath", message='value must not contain "/"')
    if volume["mode"] != "RW":
        yield Violation(path=f"{path}/mode", message="does not equal RW")
    yield from persistent_info_rules(volume["persistent"], f"{path}/persistent")


def persistent_info_rules(info: Json, path: str) -> Iterator[Violation]:
    """Size, type and constraints of a persistent volume, of an app or a pod."""
    if info["size"] <= 0:
        yield Violation(path=f"{path}/size", message=f"got {info['size']}, expected more than 0")
    kind = info.get("type") or "root"
    if kind != "mount" and info.get("maxSize") is not None:
        yield Violation(path=path, message="Only mount volumes can have maxSize")
    if kind == "root" and info["constraints"]:
        yield Violation(path=path, message="Constraints on root volumes are not supported")
    if info.get("maxSize") is not None and info["maxSize"] <= info["size"]:
        yield Violation(path=path, message="Max size must be larger than size")
    for constraint in info["constraints"]:
        complaint = _volume_constraint(constraint)
        if complaint is not None:
            yield Violation(path=f"{path}/constraints", message=complaint)


def _volume_constraint(constraint: list[str]) -> str | None:
    match constraint:
        case []:
            return "Missing field and operator"
        case ["path", ("LIKE" | "UNLIKE"), pattern, *_]:
            return None if compiles(pattern) else "Invalid regular expression"
        case ["path", ("UNIQUE" | "CLUSTER" | "GROUP_BY" | "MAX_PER" | "IS"), _, *_]:
            return "Operator must be one of LIKE, UNLIKE"
        case ["path", operator, _, *_]:
            return f"unknown constraint operator {operator}"
        case _:
            return f"Unsupported constraint {','.join(constraint)}"


def _external_rules(volume: Json, path: str, container: Json, features: Collection[str]) -> Iterator[Violation]:
    external = volume["external"]
    match external.get("provider"):
        case None:
            for key in ("name", "provider"):
                if external.get(key) is None:
                    yield Violation(path=f"{path}/external/{key}", message="not defined")
        case "csi":
            pass
        case "dvdi":
            yield from _dvdi_rules(volume, path, container)
        case _:
            yield Violation(path=f"{path}/external/provider", message="is unknown provider")
    if "external_volumes" not in features:
        yield Violation(path=path, message=feature_missing("external_volumes"))


def _dvdi_rules(volume: Json, path: str, container: Json) -> Iterator[Violation]:
    """Volumes of Docker volume drivers: who drives them is a must, and each containerizer has its limits."""
    external, options = volume["external"], volume["external"]["options"]
    if not external.get("name"):
        yield Violation(path=f"{path}/external/name", message="not defined" if "name" not in external else "must not be empty")
    for index, key in enumerate(options):
        if not re.fullmatch(_OPTION_KEY, key):
            yield Violation(path=f"{path}/external/options/keys({index})", message=f"must match regular expression '^{_OPTION_KEY}$'")
    yield from _option_rules(options, f"{path}/external/options")
    if volume["containerPath"] in (".", ".."):
        yield Violation(path=f"{path}/containerPath", message="can not be one of (.,..)")
    if container["type"] == "MESOS" and volume["mode"] != "RW":
        yield Violation(path=f"{path}/mode", message="does not equal RW")
    if container["type"] == "DOCKER":
        if set(options) - {_DRIVER}:
            yield Violation(path=f"{path}/external/options", message=f"must only contain {_DRIVER}")
        if external.get("size") is not None:
            yield Violation(path=f"{path}/external/size", message="must be undefined for Docker containers")


def _option_rules(options: Json, path: str) -> Iterator[Violation]:
    def label(value: str) -> str | None:
        return None if re.fullmatch(_LABEL, value) else f"must match regular expression '^{_LABEL}$'"

    driver = options.get(_DRIVER)
    complaint = "not defined" if driver is None else label(driver)
    if complaint is not None:
        yield Violation(path=f'{path}("{_DRIVER}")', message=complaint)
    if driver != "rexray":
        return
    checks = {"volumetype": label, "newfstype": label, "iops": _natural, "overwritefs": _true}
    for name, check in checks.items():
        value = options.get(f"dvdi/{name}")
        complaint = None if value is None else check(value)
        if complaint is not None:
            yield Violation(path=f'{path}/"dvdi/{name}"', message=complaint)


def _natural(value: str) -> str | None:
    whole = re.fullmatch(r"\+?[0-9]{1,18}", value, re.ASCII) and int(value) > 0
    return None if whole else f"Expected a valid, positive integer instead of {value}"


def _true(value: str) -> str | None:
    # Marathon means "a boolean" and takes only the one
    return None if value.lower() == "true" else "Expected a valid boolean"

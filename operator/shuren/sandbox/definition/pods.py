"""Pods: the rules Marathon 1.11 has for them, their defaults and their shape in a GET."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from . import app_rules, normalise, paths, pod_shape
from .apps import Place, read, require
from .container_rules import NAMES_FOR_HOST_PORT, feature_missing, ipc_rules, linux_rules, network_rules, unique
from .errors import Violation

Json = dict[str, Any]


def _at(path: str, message: str) -> Violation:
    return Violation(path=path, message=message)


def from_request(value: Any) -> Json:
    """A pod in its shape."""
    pod: Json = read(pod_shape.POD, value)
    return pod


def rules(pod: Mapping[str, Any], at: Place) -> Iterator[Violation]:
    """First round: everything about a pod as given."""
    features = at.rules.features
    for complaint in paths.complaints(pod["id"]):
        yield _at("/id", complaint)
    if not pod["id"].startswith("/"):
        yield _at("/id", "Path needs to be absolute")
    if paths.is_root(pod["id"]):
        yield _at("/id", "Path must contain at least one path element")
    if pod.get("user") == "":
        yield _at("/user", "must not be empty")
    yield from app_rules.environment_rules(pod["environment"], pod["secrets"], features, "/environment")
    if pod["secrets"] and "secrets" not in features:
        yield _at("/secrets", "must be empty")
        yield _at("/secrets", feature_missing("secrets"))
    yield from network_rules(pod["networks"], at.config.default_network_name)
    if not unique([container["name"] for container in pod["containers"]]):
        yield _at("/containers", "container names must be unique")
    for index, container in enumerate(pod["containers"]):
        yield from _container_rules(container, f"/containers({index})", pod, features)
    yield from _volume_rules(pod, features)
    yield from _endpoint_rules(pod)
    yield from _scheduling_rules(pod)
    if pod.get("linuxInfo") is not None:
        if "seccomp" in pod["linuxInfo"]:
            yield _at("/linuxInfo/seccomp", "Seccomp configuration on executor level is not supported")
        yield from ipc_rules(pod["linuxInfo"], "/linuxInfo")


def _container_rules(container: Mapping[str, Any], path: str, pod: Mapping[str, Any], features: frozenset[str]) -> Iterator[Violation]:
    if container.get("resourceLimits") is not None:
        yield from app_rules.limit_rules(container["resourceLimits"], container["resources"], f"{path}/resourceLimits")
        if pod.get("legacySharedCgroups"):
            yield _at(f"{path}/resourceLimits", "resourceLimits cannot be defined if legacySharedCgroups is enabled")
    for index, endpoint in enumerate(container["endpoints"]):
        yield from _one_endpoint_rules(endpoint, f"{path}/endpoints({index})", pod["networks"])
    yield from _image_rules(container, path, pod, features)
    yield from app_rules.environment_rules(container["environment"], pod["secrets"], features, f"{path}/environment")
    if container.get("healthCheck") is not None:
        yield from _health_check_rules(container["healthCheck"], container, f"{path}/healthCheck")
    volumes = {volume["name"] for volume in pod["volumes"]}
    for index, mount in enumerate(container["volumeMounts"]):
        if mount["name"] not in volumes:
            yield _at(f"{path}/volumeMounts({index})/name", "Referenced Volume in VolumeMount should exist")
    if container.get("linuxInfo") is not None:
        yield from linux_rules(container["linuxInfo"], f"{path}/linuxInfo")


def _image_rules(container: Mapping[str, Any], path: str, pod: Mapping[str, Any], features: frozenset[str]) -> Iterator[Violation]:
    config = (container.get("image") or {}).get("pullConfig")
    if config is None:
        return
    if "secrets" not in features:
        yield _at(f"{path}/image/pullConfig", "must be empty")
        yield _at(f"{path}/image/pullConfig", feature_missing("secrets"))
    if config["secret"] not in pod["secrets"]:
        yield _at(f"{path}/image/pullConfig", "pullConfig.secret must refer to an existing secret")


def _one_endpoint_rules(endpoint: Mapping[str, Any], path: str, networks: list[Any]) -> Iterator[Violation]:
    modes = [network["mode"] for network in networks]
    names = [network["name"] for network in networks if network.get("name")]
    for position, name in enumerate(endpoint["networkNames"]):
        if name not in names:
            yield _at(f"{path}/networkNames({position})", f"is not one of ({','.join(names)})")
    if "host" in modes and endpoint.get("containerPort") is not None:
        yield _at(f"{path}/containerPort", "is not allowed when using host-mode networking")
    if "container" in modes and endpoint.get("containerPort") is None:
        yield _at(f"{path}/containerPort", "is required when using container-mode networking")
    if not unique(endpoint["protocol"]):
        yield _at(f"{path}/protocol", "Duplicate protocols within the same endpoint are not allowed")
    if modes.count("container") > 1 and endpoint.get("hostPort") is not None and len(endpoint["networkNames"]) != 1:
        yield _at(path, NAMES_FOR_HOST_PORT)


def _health_check_rules(check: Mapping[str, Any], container: Mapping[str, Any], path: str) -> Iterator[Violation]:
    if check["timeoutSeconds"] >= check["intervalSeconds"]:
        yield _at(f"{path}/timeoutSeconds", f"got {check['timeoutSeconds']}, expected less than {check['intervalSeconds']}")
    endpoints = {endpoint["name"] for endpoint in container["endpoints"]}
    for kind in ("http", "tcp"):
        if kind in check and check[kind]["endpoint"] not in endpoints:
            yield _at(f"{path}/{kind}/endpoint", "contained in the container endpoints")
    if sum(kind in check for kind in ("http", "tcp", "exec")) != 1:
        yield _at(path, "Only one of http, tcp, or command may be specified")


def _volume_rules(pod: Mapping[str, Any], features: frozenset[str]) -> Iterator[Violation]:
    mounted = {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}
    if not unique([volume["name"] for volume in pod["volumes"]]):
        yield _at("/volumes", "volume names must be unique")
    for index, volume in enumerate(pod["volumes"]):
        if volume["name"] not in mounted:
            yield _at(f"/volumes({index})", "volume must be referenced by at least one container")
    secret = [volume["secret"] for volume in pod["volumes"] if "secret" in volume]
    if secret and "secrets" not in features:
        yield _at("/podSecretVolumes(pod)", "must be empty")
        yield _at("/podSecretVolumes(pod)", feature_missing("secrets"))
    for index, name in enumerate(secret):
        if name not in pod["secrets"]:
            yield _at(f"/podSecretVolumes(pod)({index})/secret", "volume.secret must refer to an existing secret")


def _endpoint_rules(pod: Mapping[str, Any]) -> Iterator[Violation]:
    endpoints = [endpoint for container in pod["containers"] for endpoint in container["endpoints"]]
    if not unique([endpoint["name"] for endpoint in endpoints]):
        yield _at("/", "endpoint names nust be unique across all containers")
    for key, message in (
        ("containerPort", "container ports must be unique across all containers"),
        ("hostPort", "host ports must be unique across all containers"),
    ):
        if not unique([endpoint[key] for endpoint in endpoints if endpoint.get(key)]):
            yield _at("/", message)


def _scheduling_rules(pod: Mapping[str, Any]) -> Iterator[Violation]:
    scheduling = pod.get("scheduling") or {}
    placement = scheduling.get("placement") or {}
    instances = (pod.get("scaling") or {}).get("instances", 1)
    if instances < 0:
        yield _at("/scaling/instances", f"got {instances}, expected 0 or more")
    complaints = [(index, _constraint_complaint(item)) for index, item in enumerate(placement.get("constraints", ()))]
    if any(complaint for _, complaint in complaints):
        yield _at("/scheduling/placement/constraints", "must be empty")
    for index, complaint in complaints:
        if complaint is not None:
            yield _at(f"/scheduling/placement/constraints({index})", complaint)
    if not is_resident(pod):
        return
    over = (scheduling.get("upgrade") or {}).get("maximumOverCapacity", 0)
    if over != 0:
        yield _at("/upgrade/maximumOverCapacity", f"got {over}, expected 0.0")
    if scheduling.get("unreachableStrategy") not in (None, "disabled"):
        yield _at("/", "unreachableStrategy must be disabled for pods with persistent volumes")
    accepted = placement.get("acceptedResourceRoles", ())
    if accepted and set(accepted) != {"*"}:
        yield _at("/acceptedResourceRoles", "must be empty")
        yield _at("/acceptedResourceRoles", 'A resident pod must have `acceptedResourceRoles = ["*"]`.')


def _constraint_complaint(constraint: Mapping[str, Any]) -> str | None:
    if not constraint["fieldName"]:
        return "missing field for constraint declaration"
    triple = [constraint["fieldName"], constraint["operator"], *([constraint["value"]] if "value" in constraint else [])]
    return app_rules.constraint_complaint(triple)


def model(pod: Mapping[str, Any], at: Place) -> Iterator[Violation]:
    """Second round: the roles of the finished definition, and what keeps data on an agent."""
    role, allowed = pod["role"], at.rules.valid_roles
    if role not in allowed:
        yield _at("/role", f"got {role}, expected one of: [{', '.join(allowed)}]")
    if is_resident(pod):
        yield from app_rules.resident_role(role, at.rules.kept_role, "pods")
    accepted = pod["scheduling"]["placement"]["acceptedResourceRoles"]
    if not set(accepted) <= {"*", role}:
        names = " and ".join(dict.fromkeys(("*", role)))
        yield _at("/acceptedResourceRoles", f"acceptedResourceRoles can only contain {names}")


def resident_update(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Violation]:
    """A pod with persistent volumes, before or after, keeps its volumes, resources and host ports. Paths are below the pod's."""
    if not is_resident(old) and not is_resident(new):
        return
    kept = [{volume["name"]: volume for volume in pod["volumes"] if "persistent" in volume} for pod in (old, new)]
    if kept[0] != kept[1]:
        yield _at("", "persistent volumes cannot be updated")
    for name in ("cpus", "mem", "disk", "gpus"):
        before, after = (sum(container["resources"][name] for container in pod["containers"]) for pod in (old, new))
        if before != after:
            yield _at("", f"{name} cannot be updated if a pod has persistent volumes")
    ports = [{e.get("hostPort") for c in pod["containers"] for e in c.get("endpoints", ())} - {None} for pod in (old, new)]
    if ports[0] != ports[1]:
        yield _at("", "host ports cannot be updated if a pod has persistent volumes")
    over = new["scheduling"]["upgrade"]["maximumOverCapacity"]
    if over != 0:
        yield _at("/upgradeStrategy/maximumOverCapacity", f"got {over}, expected 0.0")


def is_resident(pod: Mapping[str, Any]) -> bool:
    """Whether the pod has a persistent volume."""
    return any("persistent" in volume for volume in pod["volumes"])


_CONTAINER_OMIT = ("endpoints", "environment", "volumeMounts", "artifacts", "labels")


def _shown_container(container: Json, networks: list[Json]) -> Json:
    shown = {key: value for key, value in container.items() if value or key not in _CONTAINER_OMIT}
    if "endpoints" in shown:
        beyond = any(network["mode"] == "container" for network in networks)
        endpoints = [e if beyond or e.get("hostPort") is not None else e | {"hostPort": 0} for e in container["endpoints"]]
        shown["endpoints"] = [{k: v for k, v in e.items() if v or k not in ("protocol", "labels", "networkNames")} for e in endpoints]
    if container.get("image") is not None:
        shown["image"] = {key: value for key, value in container["image"].items() if value or key != "labels"}
    return shown


def _shown_volume(volume: Json) -> Json:
    return volume | {"persistent": {"type": "root"} | volume["persistent"]} if "persistent" in volume else volume


def define(pod: Json, at: Place, *, version: str) -> Json:
    """The stored definition: all checks passed, all defaults there, in the shape of a GET (plus `versionInfo`)."""
    require(rules(pod, at))
    networks = normalise.name_networks(pod["networks"] or [{"mode": "host", "labels": {}}], at.config.default_network_name)
    resident = is_resident(pod)
    scheduling = pod.get("scheduling") or {}
    upgrade = (
        {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0.0}
        if resident
        else {"minimumHealthCapacity": 1.0, "maximumOverCapacity": 1.0}
    )
    unreachable = "disabled" if resident else {"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0}
    shown: Json = {
        "id": paths.absolute(pod["id"]),
        "labels": pod["labels"],
        "version": version,
        "environment": pod["environment"],
        "containers": [_shown_container(container, networks) for container in pod["containers"]],
        "secrets": pod["secrets"],
        "volumes": [_shown_volume(volume) for volume in pod["volumes"]],
        "networks": [{key: network[key] for key in ("name", "mode", "labels") if network.get(key)} for network in networks],
        "scaling": {"kind": "fixed", "instances": (pod.get("scaling") or {}).get("instances", 1)},
        "scheduling": {
            "backoff": scheduling.get("backoff") or {"backoff": 1.0, "backoffFactor": 1.15, "maxLaunchDelay": 300.0},
            "upgrade": scheduling.get("upgrade") or upgrade,
            "placement": scheduling.get("placement") or {"constraints": [], "acceptedResourceRoles": []},
            "killSelection": scheduling.get("killSelection") or "YOUNGEST_FIRST",
            "unreachableStrategy": scheduling.get("unreachableStrategy") or unreachable,
        },
        "executorResources": pod.get("executorResources") or {"cpus": 0.1, "mem": 32.0, "disk": 10.0},
        "role": pod.get("role") or at.config.default_role,
    }
    for key in ("user", "linuxInfo", "legacySharedCgroups"):
        if pod.get(key) is not None:
            shown[key] = pod[key]
    require(model(shown, at))
    return shown


_OMIT_EMPTY = ("labels", "environment", "secrets", "volumes")


def public(pod: Mapping[str, Any]) -> Json:
    """The pod as a GET shows it: without what is empty."""
    shown = {key: value for key, value in pod.items() if key != "versionInfo" and (value or key not in _OMIT_EMPTY)}
    placement = {key: value for key, value in pod["scheduling"]["placement"].items() if value}
    return shown | {"scheduling": pod["scheduling"] | {"placement": placement}}


def public_status(status: Mapping[str, Any]) -> Json:
    """A pod's status as its own GET shows it: another writer than that of pods and groups, which leaves out an empty placement too."""
    scheduling = {key: value for key, value in status["spec"]["scheduling"].items() if value or key != "placement"}
    return {**status, "spec": status["spec"] | {"scheduling": scheduling}}

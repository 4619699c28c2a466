"""A task as the body of Docker's `POST /containers/create`, pure: image, command, environment, network, ports, volumes, resources, and the
`docker run` options that apps pass as `parameters`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from shuren.sandbox.engine.environment import declared_ports, network_mode

if TYPE_CHECKING:
    from shuren.sandbox.contract import Json
    from shuren.sandbox.runners.port import Launch

DEFAULT_IMAGE = "busybox:stable"
LABEL = "MESOS_TASK_ID"
SANDBOX = "/mnt/mesos/sandbox"
"""Where a container finds its sandbox, as Mesos has it."""
_PERIOD = 100_000


def container_name(task_id: str) -> str:
    """Docker allows what task ids have, but the name should say whose it is."""
    return f"shuren-{hashlib.sha1(task_id.encode(), usedforsecurity=False).hexdigest()[:20]}"


def split_image(image: str) -> tuple[str, str]:
    """(name, tag or digest): without one Docker would pull all tags there are."""
    name, at, digest = image.partition("@")
    if at:
        return name, digest
    head, colon, tag = image.rpartition(":")
    return (head, tag) if colon and "/" not in tag else (image, "latest")


def container_address(found: Json) -> str | None:
    """The container's own address as Docker tells it; None on the host's network."""
    settings = found.get("NetworkSettings", {})
    own = [network.get("IPAddress") for network in (settings.get("Networks") or {}).values()]
    return next((address for address in (settings.get("IPAddress"), *own) if address), None)


def further_networks(definition: Json) -> list[str]:
    """Networks to join beside the first."""
    return [network["name"] for network in (definition.get("networks") or ())[1:] if network.get("name")]


def container_request(launch: Launch) -> Json:
    """The whole body. ValueError for a parameter that is not known here."""
    definition = launch.definition
    container = definition.get("container", {})
    docker = container.get("docker", {})
    body: Json = {
        "Image": docker.get("image") or (definition.get("image") or {}).get("id") or DEFAULT_IMAGE,
        "Env": [f"{k}={v}" for k, v in {**launch.environment, "MESOS_SANDBOX": SANDBOX}.items()],
        "Labels": {LABEL: launch.task_id},
        "HostConfig": {
            **_resources(definition),
            "Privileged": bool(docker.get("privileged", False)),
            "Binds": [f"{launch.directory}:{SANDBOX}", *_binds(launch)],
        },
    }
    command = definition.get("cmd") or (definition.get("exec") or {}).get("command", {}).get("shell")
    if command:
        body["Entrypoint"], body["Cmd"] = ["/bin/sh"], ["-c", command]
    elif definition.get("args"):
        body["Cmd"] = list(definition["args"])
    if definition.get("user"):
        body["User"] = definition["user"]
    if definition.get("tty"):
        body["Tty"] = True
    _attach(launch, body)
    for parameter in docker.get("parameters", ()):
        _pass_on(parameter["key"], parameter["value"], body)
    return body


def _resources(definition: Json) -> Json:
    """What is requested is a share of the CPU and the bound of memory, unless there are limits of their own."""
    limits = definition.get("resourceLimits") or {}
    memory = int(float(definition.get("mem", 0)) * 2**20)
    host: Json = {"Memory": memory, "CpuShares": max(2, int(float(definition.get("cpus", 1)) * 1024))}
    if "mem" in limits:
        host["MemoryReservation"] = memory
        host["Memory"] = 0 if limits["mem"] == "unlimited" else int(float(limits["mem"]) * 2**20)
    if limits.get("cpus") not in {None, "unlimited"}:
        host |= {"CpuPeriod": _PERIOD, "CpuQuota": int(float(limits["cpus"]) * _PERIOD)}
    if definition.get("gpus"):
        host["DeviceRequests"] = [{"Count": int(definition["gpus"]), "Capabilities": [["gpu"]]}]
    return host


def _binds(launch: Launch) -> list[str]:
    """Host volumes, and persistent ones at their place in the sandbox."""
    given = launch.definition.get("container", {}).get("volumes", ())
    host = [f"{v['hostPath']}:{v['containerPath']}{':ro' if v.get('mode') == 'RO' else ''}" for v in given if "hostPath" in v]
    return host + [f"{v['path']}:{SANDBOX}/{v['containerPath']}" for v in launch.volumes if "path" in v]


def _attach(launch: Launch, body: Json) -> None:
    host_config = body["HostConfig"]
    if network_mode(launch.definition) == "host":
        host_config["NetworkMode"] = "host"
        return
    networks = launch.definition.get("networks") or [{}]
    host_config["NetworkMode"] = networks[0].get("name", "bridge")
    bindings: Json = {}
    given = iter(launch.ports)
    mappings = launch.definition.get("container", {}).get("portMappings", ())
    for (number, _, wanted), mapping in zip(declared_ports(launch.definition), mappings, strict=True):
        if wanted < 0:
            continue
        port = next(given, 0)
        for protocol in str(mapping.get("protocol", "tcp")).split(","):
            bindings.setdefault(f"{number or port}/{protocol}", []).append({"HostIp": launch.host, "HostPort": str(port)})
    host_config["PortBindings"], body["ExposedPorts"] = bindings, {key: {} for key in bindings}


# -------------------------------------------------------------------------------------------------- docker run's options

_Setter = Callable[[dict[str, Any], str], None]


def _text(*place: str) -> _Setter:
    def put(body: dict[str, Any], value: str) -> None:
        _within(body, place)[place[-1]] = value

    return put


def _flag(*place: str) -> _Setter:
    def put(body: dict[str, Any], value: str) -> None:
        _within(body, place)[place[-1]] = value.lower() != "false"

    return put


def _many(*place: str) -> _Setter:
    def put(body: dict[str, Any], value: str) -> None:
        _within(body, place).setdefault(place[-1], []).append(value)

    return put


def _pairs(*place: str) -> _Setter:
    def put(body: dict[str, Any], value: str) -> None:
        name, _, content = value.partition("=")
        _within(body, place).setdefault(place[-1], {})[name] = content

    return put


def _bytes(*place: str) -> _Setter:
    def put(body: dict[str, Any], value: str) -> None:
        factor = {"b": 1, "k": 2**10, "m": 2**20, "g": 2**30}.get(value[-1:].lower())
        number = value[:-1] if factor is not None else value
        _within(body, place)[place[-1]] = int(float(number) * (factor or 1))

    return put


def _ulimit(body: dict[str, Any], value: str) -> None:
    name, _, bounds = value.partition("=")
    soft, _, hard = bounds.partition(":")
    body["HostConfig"].setdefault("Ulimits", []).append({"Name": name, "Soft": int(soft), "Hard": int(hard or soft)})


def _device(body: dict[str, Any], value: str) -> None:
    outside, _, rest = value.partition(":")
    inside, _, rights = rest.partition(":")
    entry = {"PathOnHost": outside, "PathInContainer": inside or outside, "CgroupPermissions": rights or "rwm"}
    body["HostConfig"].setdefault("Devices", []).append(entry)


def _within(body: dict[str, Any], place: tuple[str, ...]) -> dict[str, Any]:
    for key in place[:-1]:
        body = body.setdefault(key, {})
    return body


_HOST = "HostConfig"
_OPTIONS: dict[str, _Setter] = {
    "env": _many("Env"),
    "label": _pairs("Labels"),
    "hostname": _text("Hostname"),
    "domainname": _text("Domainname"),
    "workdir": _text("WorkingDir"),
    "user": _text("User"),
    "entrypoint": _many("Entrypoint"),
    "stop-signal": _text("StopSignal"),
    "mac-address": _text("MacAddress"),
    "volume": _many(_HOST, "Binds"),
    "volumes-from": _many(_HOST, "VolumesFrom"),
    "tmpfs": lambda body, value: body[_HOST].setdefault("Tmpfs", {}).update({value.partition(":")[0]: value.partition(":")[2]}),
    "cap-add": _many(_HOST, "CapAdd"),
    "cap-drop": _many(_HOST, "CapDrop"),
    "security-opt": _many(_HOST, "SecurityOpt"),
    "group-add": _many(_HOST, "GroupAdd"),
    "add-host": _many(_HOST, "ExtraHosts"),
    "dns": _many(_HOST, "Dns"),
    "dns-search": _many(_HOST, "DnsSearch"),
    "dns-opt": _many(_HOST, "DnsOptions"),
    "link": _many(_HOST, "Links"),
    "sysctl": _pairs(_HOST, "Sysctls"),
    "log-driver": _text(_HOST, "LogConfig", "Type"),
    "log-opt": _pairs(_HOST, "LogConfig", "Config"),
    "network": _text(_HOST, "NetworkMode"),
    "pid": _text(_HOST, "PidMode"),
    "ipc": _text(_HOST, "IpcMode"),
    "uts": _text(_HOST, "UTSMode"),
    "userns": _text(_HOST, "UsernsMode"),
    "runtime": _text(_HOST, "Runtime"),
    "cgroup-parent": _text(_HOST, "CgroupParent"),
    "volume-driver": _text(_HOST, "VolumeDriver"),
    "cpuset-cpus": _text(_HOST, "CpusetCpus"),
    "privileged": _flag(_HOST, "Privileged"),
    "read-only": _flag(_HOST, "ReadonlyRootfs"),
    "init": _flag(_HOST, "Init"),
    "oom-kill-disable": _flag(_HOST, "OomKillDisable"),
    "interactive": _flag("OpenStdin"),
    "tty": _flag("Tty"),
    "memory": _bytes(_HOST, "Memory"),
    "memory-swap": _bytes(_HOST, "MemorySwap"),
    "memory-reservation": _bytes(_HOST, "MemoryReservation"),
    "shm-size": _bytes(_HOST, "ShmSize"),
    "pids-limit": _bytes(_HOST, "PidsLimit"),
    "cpu-shares": _bytes(_HOST, "CpuShares"),
    "cpu-quota": _bytes(_HOST, "CpuQuota"),
    "cpu-period": _bytes(_HOST, "CpuPeriod"),
    "cpus": lambda body, value: body[_HOST].update(NanoCpus=int(float(value) * 1e9)),
    "ulimit": _ulimit,
    "device": _device,
}
_SHORT = {
    "e": "env",
    "l": "label",
    "h": "hostname",
    "w": "workdir",
    "u": "user",
    "v": "volume",
    "m": "memory",
    "i": "interactive",
    "t": "tty",
}
_SHORT |= {"net": "network", "c": "cpu-shares"}


def _pass_on(key: str, value: str, body: Json) -> None:
    setter = _OPTIONS.get(_SHORT.get(key, key))
    if setter is None:
        raise ValueError(f"docker parameter {key!r} is not known here (known: {', '.join(sorted(_OPTIONS))})")
    try:
        setter(body, value)
    except ValueError as error:
        raise ValueError(f"docker parameter {key!r}: {value!r} is no good value: {error}") from error

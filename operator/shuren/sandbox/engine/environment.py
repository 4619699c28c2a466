"""The environment that Marathon and Mesos give a task (Marathon 1.11, TaskBuilder / EnvironmentHelper)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shuren.sandbox.engine.model import is_pod

if TYPE_CHECKING:
    from shuren.sandbox.contract import Json

MAX_KEY = 493
MAX_VALUE = 512


def network_mode(definition: Json) -> str:
    """`host`, `container/bridge` or `container`."""
    networks = definition.get("networks") or [{"mode": "host"}]
    return str(networks[0].get("mode", "host"))


def declared_ports(definition: Json) -> list[tuple[int, str | None, int]]:
    """(declared number, name, wanted host port; -1 when none is wanted) of each port, in order."""
    if network_mode(definition) == "host":
        required = bool(definition.get("requirePorts"))
        return [(int(p["port"]), p.get("name"), int(p["port"]) if required else 0) for p in definition.get("portDefinitions", ())]
    mappings = definition.get("container", {}).get("portMappings", ())
    bridge = network_mode(definition) == "container/bridge"
    return [(int(m.get("containerPort", 0)), m.get("name"), int(m.get("hostPort", 0 if bridge else -1))) for m in mappings]


def wanted_ports(definition: Json) -> list[int]:
    """Host ports to be found on an agent: a number, or 0 for any."""
    if is_pod(definition):
        return [int(e["hostPort"]) for c in definition["containers"] for e in c.get("endpoints", ()) if "hostPort" in e]
    return [host for _, _, host in declared_ports(definition) if host >= 0]


def task_environment(
    definition: Json,
    *,
    task_id: str,
    host: str,
    host_ports: Sequence[int],
    prefix: str | None = None,
    enforce_group_role: bool = False,
    sandbox: str = "",
) -> dict[str, str]:
    """Everything but what the operating system gives. The app's own `env` wins over all."""
    env: dict[str, str] = {"MESOS_TASK_ID": task_id, "MESOS_SANDBOX": sandbox, "MESOS_DIRECTORY": sandbox}
    env["MARATHON_APP_ID"] = definition["id"]
    env["MARATHON_APP_VERSION"] = definition["version"]
    container = definition.get("container", {})
    if container.get("type", "DOCKER" if container else "") == "DOCKER" and "docker" in container:
        env["MARATHON_APP_DOCKER_IMAGE"] = container["docker"]["image"]
    for name in ("cpus", "mem", "disk"):
        env[f"MARATHON_APP_RESOURCE_{name.upper()}"] = str(float(definition.get(name, 0.0)))
    env["MARATHON_APP_RESOURCE_GPUS"] = str(int(definition.get("gpus", 0)))
    env.update(_labels(definition.get("labels", {})))
    env["MARATHON_APP_ENFORCE_GROUP_ROLE"] = "TRUE" if enforce_group_role else "FALSE"
    ports = _ports(definition, host, host_ports)
    env.update({(prefix or "") + key: value for key, value in ports.items()})
    env.update({k: v for k, v in definition.get("env", {}).items() if isinstance(v, str)})
    return env


def _labels(labels: dict[str, str]) -> dict[str, str]:
    kept = {}
    names = []
    for name, value in labels.items():
        key = re.sub(r"[^A-Z0-9_]+", "_", name.upper()).strip("_")
        if key and len(key) < MAX_KEY and len(value) < MAX_VALUE:
            names.append(key)
            kept[f"MARATHON_APP_LABEL_{key}"] = value
    return {"MARATHON_APP_LABELS": " ".join(names), **kept}


def _ports(definition: Json, host: str, host_ports: Sequence[int]) -> dict[str, str]:
    env = {"HOST": host}
    declared = declared_ports(definition)
    if not declared:
        return env
    given = iter(host_ports)
    mode = network_mode(definition)
    generated: list[int] = []
    for index, (number, name, wanted) in enumerate(declared):
        if wanted >= 0:
            value = next(given, 0)
            generated.append(value)
        elif number:
            value = number
        else:
            # A container with its own address and no fixed port: any free number will do, and it counts as generated.
            value = 1025 + index
            generated.append(value)
        env[f"PORT{index}"] = str(value)
        env[f"PORT_{number or value}"] = str(value)
        if name:
            env[f"PORT_{re.sub(r'[^A-Z0-9]', '_', name.upper())}"] = str(value)
    env["PORT"] = env["PORT0"]
    if mode == "host" or generated:
        env["PORTS"] = ",".join(map(str, generated))
    return env


def pod_environment(pod: Json, container: Json, *, task_id: str, host: str, host_ports: Sequence[int], sandbox: str = "") -> dict[str, str]:
    """For one container of a pod."""
    env: dict[str, str] = {
        "MESOS_TASK_ID": task_id,
        "MESOS_SANDBOX": sandbox,
        "MARATHON_APP_ID": pod["id"],
        "MARATHON_APP_VERSION": pod["version"],
        "MARATHON_CONTAINER_ID": container["name"],
        "HOST": host,
    }
    endpoints: list[Any] = [e for c in pod["containers"] for e in c.get("endpoints", ())]
    given = iter(host_ports)
    for endpoint in endpoints:
        port = next(given, 0) if "hostPort" in endpoint else int(endpoint.get("containerPort", 0))
        name = re.sub(r"[^A-Z0-9]", "_", endpoint["name"].upper())
        env[f"ENDPOINT_{name}"] = env[f"EP_HOST_{name}"] = str(port)
    for scope in (pod, container):
        env.update({k: v for k, v in scope.get("environment", {}).items() if isinstance(v, str)})
    return env

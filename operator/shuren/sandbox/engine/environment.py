"""The environment that Marathon and Mesos give a task (Marathon 1.11, TaskBuilder / EnvironmentHelper)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from shuren.sandbox.engine.model import is_pod

if TYPE_CHECKING:
    from shuren.sandbox.contract import Json

MAX_KEY = 493
MAX_VALUE = 512
FIRST_MADE_UP, LAST_PORT = 1025, 65_535
"""Where container ports come from that the app leaves to Marathon."""


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


def mesos_environment(*, task_id: str, instance_id: str, agent_id: str, framework_id: str, sandbox: str) -> dict[str, str]:
    """What Mesos itself gives a task (its executor, as far as tasks look at it)."""
    return {
        "MESOS_TASK_ID": task_id,
        "MESOS_SANDBOX": sandbox,
        "MESOS_DIRECTORY": sandbox,
        "MESOS_EXECUTOR_ID": task_id,
        "MESOS_FRAMEWORK_ID": framework_id,
        "MESOS_SLAVE_ID": agent_id,
        "MESOS_CONTAINER_NAME": "mesos-" + instance_id.rpartition("instance-")[2],
    }


def task_environment(
    definition: Json,
    *,
    mesos: Mapping[str, str],
    host: str,
    host_ports: Sequence[int],
    prefix: str | None = None,
    enforce_group_role: bool = False,
) -> dict[str, str]:
    """Everything but what the operating system gives, on top of what Mesos does. The app's own `env` wins over all."""
    env = dict(mesos)
    env["MARATHON_APP_ID"] = definition["id"]
    env["MARATHON_APP_VERSION"] = definition["version"]
    container = definition.get("container", {})
    if container.get("type", "DOCKER" if container else "") == "DOCKER" and "docker" in container:
        env["MARATHON_APP_DOCKER_IMAGE"] = container["docker"]["image"]
    for name in ("cpus", "mem", "disk"):
        env[f"MARATHON_APP_RESOURCE_{name.upper()}"] = str(float(definition.get(name, 0.0)))
    env["MARATHON_APP_RESOURCE_GPUS"] = str(int(definition.get("gpus", 0)))
    env.update(label_environment(definition.get("labels", {})))
    env["MARATHON_APP_ENFORCE_GROUP_ROLE"] = "TRUE" if enforce_group_role else "FALSE"
    ports = _ports(definition, host, host_ports)
    env.update({(prefix or "") + key: value for key, value in ports.items()})
    env.update({k: v for k, v in definition.get("env", {}).items() if isinstance(v, str)})
    return env


def label_environment(labels: Mapping[str, str]) -> dict[str, str]:
    """`MARATHON_APP_LABELS` and one variable a label; labels that are too long are left out."""
    fitting = {name: value for name, value in labels.items() if len(name) < MAX_KEY and len(value) < MAX_VALUE}
    kept = {_escaped(name): value for name, value in fitting.items()}
    return {"MARATHON_APP_LABELS": " ".join(kept), **{f"MARATHON_APP_LABEL_{name}": value for name, value in kept.items()}}


def _escaped(name: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_]+", "_", name).upper()


def _ports(definition: Json, host: str, host_ports: Sequence[int]) -> dict[str, str]:
    """Marathon's EnvironmentHelper: the ports that were found on the host come first in `PORTS`, then those made up for containers."""
    env = {"HOST": host}
    declared = declared_ports(definition)
    if not declared:
        return env
    given = iter(host_ports)
    found = [next(given, 0) if wanted >= 0 else None for _, _, wanted in declared]
    taken = {number for number, _, _ in declared} | {port for port in found if port is not None}
    free = (port for port in range(FIRST_MADE_UP, LAST_PORT) if port not in taken)
    made_up: list[int] = []
    for index, ((number, name, _), port) in enumerate(zip(declared, found, strict=True)):
        value = port if port is not None else number or next(free)
        if port is None and not number:
            made_up.append(value)
        env[f"PORT{index}"] = str(value)
        env[f"PORT_{number or value}"] = str(value)
        if name:
            # of a port without place on the host the name tells the declared number, even when that is 0
            env[f"PORT_{name.upper()}"] = str(number if port is None else port)
    assigned = [port for port in found if port is not None] + made_up
    if assigned:
        env["PORT"] = str(assigned[0])
    env["PORTS"] = ",".join(map(str, assigned))
    return env


def pod_environment(
    pod: Json,
    container: Json,
    *,
    mesos: Mapping[str, str],
    host: str,
    host_ports: Sequence[int],
    prefix: str | None = None,
    enforce_group_role: bool = False,
) -> dict[str, str]:
    """For one container of a pod: the ports of all its endpoints under `EP_HOST_<NAME>` and `EP_CONTAINER_<NAME>`."""
    env: dict[str, str] = {
        **mesos,
        "MARATHON_APP_ID": pod["id"],
        "MARATHON_APP_VERSION": pod["version"],
        "MARATHON_APP_ENFORCE_GROUP_ROLE": "TRUE" if enforce_group_role else "FALSE",
        "MARATHON_CONTAINER_ID": container["name"],
    }
    resources = container.get("resources", {})
    for name in ("cpus", "mem", "disk"):
        env[f"MARATHON_CONTAINER_RESOURCE_{name.upper()}"] = str(float(resources.get(name, 0.0)))
    env["MARATHON_CONTAINER_RESOURCE_GPUS"] = str(int(resources.get("gpus", 0)))
    env.update(label_environment({**pod.get("labels", {}), **container.get("labels", {})}))
    ports = {"HOST": host}
    given = iter(host_ports)
    for endpoint in (e for c in pod["containers"] for e in c.get("endpoints", ())):
        name = _escaped(endpoint["name"])
        if "hostPort" in endpoint:
            ports[f"EP_HOST_{name}"] = str(next(given, 0))
        if "containerPort" in endpoint:
            ports[f"EP_CONTAINER_{name}"] = str(endpoint["containerPort"])
    env.update({(prefix or "") + key: value for key, value in ports.items()})
    for scope in (pod, container):
        env.update({k: v for k, v in scope.get("environment", {}).items() if isinstance(v, str)})
    return env

"""`GET /v2/pods/{id}::status`: the lifecycle of a pod, its instances and their containers (Marathon 1.11, PodStatusConversion)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shuren.sandbox.definition import pods
from shuren.sandbox.engine.clock import stamp
from shuren.sandbox.engine.health import checks_of
from shuren.sandbox.engine.ids import task_id
from shuren.sandbox.engine.model import TERMINAL, Condition, Instance, wanted_instances

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shuren.sandbox.contract import Json
    from shuren.sandbox.engine.world import World

_STATUS = {
    Condition.SCHEDULED: "PENDING",
    Condition.PROVISIONED: "PENDING",
    Condition.STAGING: "STAGING",
    Condition.STARTING: "STAGING",
    Condition.UNREACHABLE: "DEGRADED",
    Condition.UNREACHABLE_INACTIVE: "DEGRADED",
}
_NOT_RUN_YET = frozenset({Condition.SCHEDULED, Condition.PROVISIONED, Condition.STAGING, Condition.STARTING})
_UNREACHABLE = "pod instance has become unreachable"
_UNHEALTHY = "at least one container is not healthy"
_EXECUTOR: Json = {"cpus": 0.1, "mem": 32.0, "disk": 10.0}


def pod_status(world: World, pod: Json, *, terminating: bool) -> Json:
    """The status of a pod. Times are those of its latest change."""
    shown = [_instance(world, instance) for instance in world.instances.of(pod["id"])]
    stable = sum(entry["status"] == "STABLE" for entry in shown)
    now = stamp(world.clock.now())
    since = max((entry["statusSince"] for entry in shown), default=now)
    return {
        "id": pod["id"],
        "spec": pods.public(pod),
        "status": "TERMINAL" if terminating else "STABLE" if stable >= wanted_instances(pod) else "DEGRADED",
        "statusSince": since,
        "instances": shown,
        "terminationHistory": [],
        "lastUpdated": now,
        "lastChanged": since,
    }


def _instance(world: World, instance: Instance) -> Json:
    containers = [_container(instance, spec) for spec in instance.definition["containers"]] if instance.attempt else []
    since = stamp(instance.since)
    body: Json = {"id": instance.id, "status": _STATUS.get(instance.condition, "TERMINAL"), "statusSince": since}
    if instance.condition in {Condition.UNREACHABLE, Condition.UNREACHABLE_INACTIVE}:
        body["message"] = _UNREACHABLE
    elif instance.condition is Condition.RUNNING:
        sick = any(c["name"] == "healthy" and c["value"] == "false" for entry in containers for c in entry["conditions"])
        body |= {"status": "DEGRADED", "message": _UNHEALTHY} if sick else {"status": "STABLE"}
    body["conditions"] = []
    if instance.host is not None:
        body |= {"agentHostname": instance.host, "agentId": instance.agent_id}
        agent = world.agents.get(instance.agent_id)
        for key, value in (("agentRegion", agent and agent.spec.region), ("agentZone", agent and agent.spec.zone)):
            if value:
                body[key] = value
    held = [entry["resources"] for entry in containers if "resources" in entry]
    body |= {
        "resources": _sum([instance.definition.get("executorResources") or _EXECUTOR, *held]),
        "networks": _networks(instance),
        "containers": containers,
        "specReference": f"/v2/pods{instance.app_id}::versions/{instance.version}",
        "localVolumes": [{k: v for k, v in volume.items() if k != "path"} for volume in instance.volumes],
        "lastUpdated": since,
        "lastChanged": since,
    }
    return body


def _sum(parts: Sequence[Json]) -> Json:
    total: Json = {name: round(sum(float(part.get(name, 0)) for part in parts), 3) for name in ("cpus", "mem", "disk")}
    return total | {"gpus": sum(int(part.get("gpus", 0)) for part in parts)}


def _networks(instance: Instance) -> list[Json]:
    address = instance.network_ip or instance.ip
    if address is None:
        return []
    named = [{"name": n["name"]} for n in instance.definition.get("networks", ()) if n.get("name")]
    return [{**(named[0] if named else {}), "addresses": [address]}]


def _container(instance: Instance, spec: Json) -> Json:
    name = spec["name"]
    state = instance.parts.get(name) or instance.state
    since = stamp(instance.started_at or instance.staged_at)
    healthy = _health(instance, name)
    body: Json = {
        "name": name,
        "status": state,
        "statusSince": since,
        "conditions": _conditions(instance, spec, healthy, since),
        "containerId": task_id(instance.id, name, instance.attempt),
        "endpoints": _endpoints(instance, spec, healthy) if instance.active else [],
    }
    if instance.volumes or (instance.condition not in TERMINAL and instance.condition is not Condition.SCHEDULED):
        body["resources"] = spec["resources"]
    return body | {"lastUpdated": since, "lastChanged": since}


def _health(instance: Instance, container: str) -> bool | None:
    """What Mesos has said of a container; None when it has said nothing."""
    for check, state in zip(checks_of(instance.definition), instance.checks, strict=False):
        if check["container"] == container and state.seen:
            return state.alive
    return None


def _conditions(instance: Instance, spec: Json, healthy: bool | None, since: str) -> list[Json]:  # noqa: FBT001 - three-valued
    if "healthCheck" not in spec or instance.condition in _NOT_RUN_YET or (instance.condition in TERMINAL and instance.volumes):
        return []
    reason = "health-unreported-by-mesos" if healthy is None else "health-reported-by-mesos"
    value = "true" if healthy else "false"
    return [{"name": "healthy", "value": value, "reason": reason, "lastChanged": since, "lastUpdated": since}]


def _endpoints(instance: Instance, spec: Json, healthy: bool | None) -> list[Json]:  # noqa: FBT001 - three-valued
    given = iter(instance.ports)
    allocated = {
        endpoint["name"]: next(given, 0)
        for container in instance.definition["containers"]
        for endpoint in container.get("endpoints", ())
        if "hostPort" in endpoint
    }
    probe = spec.get("healthCheck", {})
    checked = (probe.get("http") or probe.get("tcp") or {}).get("endpoint")
    shown = []
    for endpoint in sorted(spec.get("endpoints", ()), key=lambda e: "hostPort" not in e):  # those with a host port come first
        entry: Json = {"name": endpoint["name"]}
        if endpoint["name"] in allocated:
            entry["allocatedHostPort"] = allocated[endpoint["name"]]
        if endpoint["name"] == checked and healthy is not None:
            entry["healthy"] = healthy
        shown.append(entry)
    return shown

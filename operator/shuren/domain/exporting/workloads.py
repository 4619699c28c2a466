"""A Marathon definition to a Deployment (and an HPA's frame): what a pod can express, and sentences about what it cannot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shuren.domain.json import Document

Json = dict[str, Any]

_NO_EQUAL = {
    "constraints": "write node affinity or topologySpreadConstraints by hand; UNIQUE on hostname is converted",
    "fetch": "put the files into the image, or fetch them in an initContainer",
    "dependencies": "Kubernetes starts everything at once: let the app wait, or order the roll-out in your pipeline",
    "readinessChecks": "a pod has one readiness probe, made from the first HTTP health check; write others by hand",
    "unreachableStrategy": "pods of lost nodes are replaced after tolerations' seconds (300 by default)",
    "acceptedResourceRoles": "use node selectors and taints",
    "role": "use a ResourceQuota",
    "backoffSeconds": "CrashLoopBackOff cannot be tuned",
    "backoffFactor": "CrashLoopBackOff cannot be tuned",
    "maxLaunchDelaySeconds": "CrashLoopBackOff cannot be tuned",
    "executor": "there are no executors",
    "user": "set securityContext.runAsUser to a number",
    "killSelection": "Kubernetes chooses",
    "tty": "set tty on the container by hand",
    "residency": "use a StatefulSet",
}

_NO_IMAGE = "example.invalid/set-an-image"


@dataclass(kw_only=True)
class Exported:
    """Objects, and sentences about what has no equal."""

    objects: list[Json] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def workload(definition: Document, *, namespace: str, name: str, references: Sequence[Mapping[str, Any]] = ()) -> Exported:
    """A Deployment; `references` are `envRefs` of the PaasApp, which pods know in the same words."""
    found = Exported()
    container = _mapping(definition.get("container"))
    docker = _mapping(container.get("docker"))
    image = str(docker.get("image") or "")
    if not image:
        found.notes.append("it has no container image: build one that holds the command's programs, and set it")
    pod: Json = {"containers": [_container(definition, image or _NO_IMAGE, container, references, found)]}
    grace = definition.get("taskKillGracePeriodSeconds")
    if grace:
        pod["terminationGracePeriodSeconds"] = int(str(grace))
    volumes = _volumes(container, pod["containers"][0], found)
    if volumes:
        pod["volumes"] = volumes
    if _unique_hosts(definition):
        term = {"labelSelector": {"matchLabels": _labels(name)}, "topologyKey": "kubernetes.io/hostname"}
        pod["affinity"] = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    found.objects.append(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": namespace, "labels": _labels(name)},
            "spec": {
                "replicas": int(str(definition.get("instances", 1))),
                "selector": {"matchLabels": _labels(name)},
                "strategy": _strategy(_mapping(definition.get("upgradeStrategy"))),
                "template": {"metadata": {"labels": _labels(name)}, "spec": pod},
            },
        }
    )
    found.notes += [f"{key}: {what}" for key, what in _NO_EQUAL.items() if _given(definition, key) and key != "constraints"]
    if definition.get("constraints") and not (_unique_hosts(definition) and len(_list(definition.get("constraints"))) == 1):
        found.notes.append(f"constraints: {_NO_EQUAL['constraints']}")
    return found


def autoscaler(*, namespace: str, name: str, instances: int) -> Json:
    """The frame of a HorizontalPodAutoscaler by CPU: Marathon has none, so the bounds are guesses."""
    metric = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": max(1, instances),
            "maxReplicas": max(2, instances * 2),
            "metrics": [metric],
        },
    }


def ports(definition: Document) -> list[tuple[str, int, str]]:
    """(name, container port, protocol) in the order of the app's ports. In host mode that is $PORT0 …, for which 8080 and up stand."""
    container = _mapping(definition.get("container"))
    mappings = _list(container.get("portMappings")) or _list(_mapping(container.get("docker")).get("portMappings"))
    found: list[tuple[str, int, str]] = []
    given = mappings or _list(definition.get("portDefinitions"))
    for index, item in enumerate(_mapping(m) for m in given):
        number = int(str(item.get("containerPort") or 0)) or 8080 + index
        name = str(item.get("name") or f"port{index}")[:15].strip("-").lower()
        found.append((name, number, str(item.get("protocol") or "tcp").split(",")[0].upper()))
    return found


# ---------------------------------------------------------------------------------------------------- parts


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else ()


def _given(definition: Document, key: str) -> bool:
    value = definition.get(key)
    return value not in (None, "", [], {})


def _labels(name: str) -> Json:
    return {"app.kubernetes.io/name": name[:63].rstrip("-.")}


def _container(
    definition: Document, image: str, container: Mapping[str, Any], references: Sequence[Mapping[str, Any]], found: Exported
) -> Json:
    made: Json = {"name": "main", "image": image}
    if definition.get("cmd"):
        made["command"] = ["/bin/sh", "-c", str(definition["cmd"])]
    elif definition.get("args"):
        made["args"] = [str(a) for a in _list(definition["args"])]
    made["resources"] = _resources(definition)
    own = ports(definition)
    if own:
        made["ports"] = [{"name": name, "containerPort": number, "protocol": protocol} for name, number, protocol in own]
    env: list[Json] = [{"name": str(k), "value": str(v)} for k, v in _mapping(definition.get("env")).items() if not isinstance(v, Mapping)]
    secret = [str(k) for k, v in _mapping(definition.get("env")).items() if isinstance(v, Mapping)]
    if secret:
        found.notes.append(f"env {', '.join(secret)}: secrets of DC/OS; make Secrets and valueFrom.secretKeyRef")
    env += [{"name": r["name"], "valueFrom": {k: dict(v) for k, v in r.items() if k.endswith("KeyRef")}} for r in references]
    if not container.get("portMappings") and own:
        env += [{"name": f"PORT{i}", "value": str(number)} for i, (_, number, _) in enumerate(own)]
        env.append({"name": "PORT", "value": str(own[0][1])})
    if env:
        made["env"] = env
    made |= _probes(definition, own, found)
    return made


def _resources(definition: Document) -> Json:
    cpus, mem = float(str(definition.get("cpus", 1))), float(str(definition.get("mem", 128)))
    requests: Json = {"cpu": f"{round(cpus * 1000)}m", "memory": f"{round(mem)}Mi"}
    limits: Json = {"memory": f"{round(mem)}Mi"}
    own = _mapping(definition.get("resourceLimits"))
    if isinstance(own.get("mem"), (int, float)):
        limits["memory"] = f"{round(own['mem'])}Mi"
    elif own.get("mem") == "unlimited":
        limits.pop("memory")
    gpus = float(str(definition.get("gpus") or 0))
    if gpus:
        limits["nvidia.com/gpu"] = round(gpus)
    return {"requests": requests, **({"limits": limits} if limits else {})}


def _strategy(given: Mapping[str, Any]) -> Json:
    least = float(given.get("minimumHealthCapacity", 1.0))
    more = float(given.get("maximumOverCapacity", 1.0))
    if more == 0 and least == 1.0:
        more = 0.01  # Marathon would not move at all either; Kubernetes refuses both at 0
    return {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": f"{round((1 - least) * 100)}%", "maxSurge": f"{max(round(more * 100), 1)}%"},
    }


def _probes(definition: Document, own: Sequence[tuple[str, int, str]], found: Exported) -> Json:
    checks = [_mapping(c) for c in _list(definition.get("healthChecks"))]
    if not checks:
        return {}
    first = checks[0]
    if len(checks) > 1:
        found.notes.append("healthChecks: a pod has one liveness probe; the first check is converted")
    protocol = str(first.get("protocol") or "HTTP")
    probe: Json = {
        "initialDelaySeconds": int(first.get("delaySeconds", 15)),
        "periodSeconds": max(1, int(first.get("intervalSeconds", 60))),
        "timeoutSeconds": max(1, int(first.get("timeoutSeconds", 20))),
    }
    index = int(first.get("portIndex") or 0)
    port: int | str = int(first["port"]) if first.get("port") else own[index][0] if index < len(own) else 8080
    if protocol == "COMMAND":
        command = str(_mapping(first.get("command")).get("value") or "true")
        probe["exec"] = {"command": ["/bin/sh", "-c", command]}
    elif protocol.endswith("TCP"):
        probe["tcpSocket"] = {"port": port}
    else:
        probe["httpGet"] = {"path": str(first.get("path") or "/"), "port": port, "scheme": "HTTPS" if "HTTPS" in protocol else "HTTP"}
    failures = int(first.get("maxConsecutiveFailures", 3))
    grace = float(first.get("gracePeriodSeconds", 300))
    made: Json = {"readinessProbe": {**probe, "failureThreshold": max(1, failures or 3)}}
    if failures:
        made["livenessProbe"] = {**probe, "failureThreshold": failures}
        made["startupProbe"] = {**probe, "failureThreshold": max(1, round(grace / probe["periodSeconds"]))}
    return made


def _volumes(container: Mapping[str, Any], into: Json, found: Exported) -> list[Json]:
    volumes: list[Json] = []
    mounts: list[Json] = []
    for index, volume in enumerate(_mapping(v) for v in _list(container.get("volumes"))):
        name = f"volume{index}"
        if volume.get("hostPath") and volume.get("containerPath"):
            volumes.append({"name": name, "hostPath": {"path": str(volume["hostPath"])}})
            mounts.append({"name": name, "mountPath": str(volume["containerPath"]), "readOnly": volume.get("mode") == "RO"})
        else:
            found.notes.append(f"container.volumes[{index}]: make a PersistentVolumeClaim (or a StatefulSet) for it")
    if mounts:
        into["volumeMounts"] = mounts
    return volumes


def _unique_hosts(definition: Document) -> bool:
    for constraint in _list(definition.get("constraints")):
        words = [str(w) for w in constraint] if isinstance(constraint, (list, tuple)) else []
        if words[:2] == ["hostname", "UNIQUE"]:
            return True
    return False

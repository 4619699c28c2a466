"""Kubernetes objects of a realistic size for benches: PaasApps of about 1.9 kB, spread over twenty namespaces, and one MesosCluster."""

from __future__ import annotations

import copy
import hashlib
from typing import Any

Object = dict[str, Any]

GROUP = "paas.shurenyun.com"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
CLUSTER = "bench"
NAMESPACES = 20


def uid_of(*parts: object) -> str:
    """Something that looks like a uid and is the same in every run."""
    text = hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:32]}"


def namespace_of(number: int) -> str:
    """Where the app of that number lives."""
    return f"team-{number % NAMESPACES:02d}"


def name_of(number: int) -> str:
    """Its name."""
    return f"app-{number:05d}"


def namespace(number: int) -> Object:
    """One of the namespaces."""
    name = f"team-{number:02d}"
    labels = {"kubernetes.io/metadata.name": name, "paas.shurenyun.com/tenant": name}
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "uid": uid_of("namespace", name), "labels": labels},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }


def mesos_cluster(*, marathon: str, zookeeper: str, mesos: str) -> Object:
    """The cluster that all apps refer to; all limits are the defaults, the grace period is short."""
    return {
        "apiVersion": API_VERSION,
        "kind": "MesosCluster",
        "metadata": {"name": CLUSTER, "uid": uid_of("cluster"), "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {
            "marathon": {"urls": [marathon]},
            "mesos": {"masters": [mesos]},
            "zookeeper": {"hosts": [zookeeper], "root": "/shuren/bench"},
            "unreachableGraceSeconds": 20,
        },
    }


def app_spec(number: int) -> Object:
    """What one app asks for: a command with environment, labels, a port, a health check made on the agent, and a strategy.

    Simulated tasks take a second to start: an app that has lost its task is seen without it.
    """
    return {
        "clusterRef": {"name": CLUSTER},
        "cmd": "exec ./bin/server --port $PORT0 --config config/production.yaml --log-format json",
        "instances": 1,
        "cpus": 0.01,
        "mem": 16,
        "env": {
            "REGION": "bj",
            "LOG_LEVEL": "info",
            "TEAM": f"team-{number % 50}",
            "DATABASE_HOST": f"db-{number % 7}.example.org",
            "CACHE_HOSTS": "cache-1.example.org:11211,cache-2.example.org:11211",
        },
        "labels": {"tier": "web", "team": f"team-{number % 50}", "HAPROXY_GROUP": "external", "SIM_START": "1"},
        "portDefinitions": [{"port": 0, "name": "http", "protocol": "tcp", "labels": {"VIP_0": f"/{name_of(number)}:80"}}],
        "healthChecks": [
            {
                "protocol": "MESOS_HTTP",
                "path": "/health",
                "portIndex": 0,
                "gracePeriodSeconds": 300,
                "intervalSeconds": 60,
                "timeoutSeconds": 20,
                "maxConsecutiveFailures": 3,
            }
        ],
        "upgradeStrategy": {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0.2},
        "backoffSeconds": 1,
        "backoffFactor": 1.15,
        "maxLaunchDelaySeconds": 300,
    }


_MANAGED_FIELDS = [
    {
        "manager": "argocd-controller",
        "operation": "Apply",
        "apiVersion": API_VERSION,
        "time": "2026-01-01T00:00:00Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {"f:clusterRef": {"f:name": {}}, "f:cmd": {}, "f:instances": {}, "f:env": {}, "f:labels": {}}},
    }
]


def app(number: int) -> Object:
    """A PaasApp as somebody has just applied it."""
    return {
        "apiVersion": API_VERSION,
        "kind": "PaasApp",
        "metadata": {
            "name": name_of(number),
            "namespace": namespace_of(number),
            "uid": uid_of("app", number),
            "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"app.kubernetes.io/name": name_of(number), "app.kubernetes.io/part-of": f"product-{number % 100}"},
            "managedFields": copy.deepcopy(_MANAGED_FIELDS),
        },
        "spec": app_spec(number),
    }


def settled_app(number: int) -> Object:
    """A PaasApp that has been Ready for a while, for benches in which nothing reconciles it."""
    made = app(number)
    made["metadata"]["finalizers"] = [f"{GROUP}/app"]
    made["status"] = status(number, turn=0)
    return made


def status(number: int, *, turn: int) -> Object:
    """Its status; another `turn` is another content of the same size."""
    revision = uid_of("revision", number)[:8]
    conditions = [
        {
            "type": kind,
            "status": value,
            "reason": reason,
            "message": message,
            "observedGeneration": 1,
            "lastTransitionTime": "2026-01-01T00:00:10Z",
        }
        for kind, value, reason, message in (
            ("Ready", "True", "Ready", "all instances are ready"),
            ("Reconciling", "False", "Ready", ""),
            ("Stalled", "False", "Ready", ""),
            ("InSync", "True", "InSync", ""),
        )
    ]
    return {
        "observedGeneration": 1,
        "conditions": conditions,
        "instances": 1,
        "counts": {"desired": 1, "staged": 0, "running": 1, "healthy": 1, "unhealthy": 0, "updated": 1},
        "ready": "1/1",
        "cluster": CLUSTER,
        "marathon": {"id": f"/{namespace_of(number)}/{name_of(number)}", "version": f"2026-01-01T00:{turn % 60:02d}:09.123Z"},
        "revision": {"current": revision, "target": revision, "lastGood": revision},
    }

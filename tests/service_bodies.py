"""Apps and services as people write them, for the cluster `sandbox`."""

from __future__ import annotations

from typing import Any

from shuren.devenv.background import Sandbox


def app(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "paas.shurenyun.com/v1alpha1",
        "kind": "PaasApp",
        "metadata": {"name": name},
        "spec": {
            "clusterRef": {"name": "sandbox"},
            "cmd": 'exec python3 -m http.server "$PORT0" --bind "$HOST"',
            "cpus": 0.05,
            "mem": 16,
            "instances": 2,
            "portDefinitions": [{"port": 0, "name": "http"}],
        },
    }


def service(name: str, **spec: Any) -> dict[str, Any]:
    given = {"clusterRef": {"name": "sandbox"}, "backends": [{"name": "main", "appRef": {"name": name}, "portName": "http"}]}
    return {
        "apiVersion": "paas.shurenyun.com/v1alpha1",
        "kind": "PaasService",
        "metadata": {"name": name},
        "spec": given | spec,
    }


def put(sandbox: Sandbox, namespace: str, body: dict[str, Any]) -> None:
    sandbox.apply({**body, "metadata": {**body["metadata"], "namespace": namespace}})

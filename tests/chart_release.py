"""A release of the chart on a real API server, and the operator as its ServiceAccount: what a pod of its Deployment would be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from chart_room import CHARTS
from engine_process import free_port
from kube_rest import Rest
from shuren.devenv import parts
from shuren.devenv.background import Sandbox
from tenant import Engine, lease_holder
from waiting import eventually

NAMESPACE = "shuren-system"
ACCOUNT = "shuren-operator"
USER = f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}"
PATIENCE = 90.0
_ALONE = "import sys, shuren.operator as o; assert o.__file__.startswith('{}'), o.__file__; sys.exit(o.run(sys.argv[1:]))"
"""The operator of another release; its command line was not kept."""


@dataclass(frozen=True, kw_only=True)
class Release:
    """The release `shuren` in a sandbox to which nothing of the product was applied."""

    sandbox: Sandbox
    scratch: Path
    rest: Rest

    @property
    def engine(self) -> Engine:
        """The Marathon behind it."""
        return Engine(sandbox=self.sandbox)

    def helm(self, *arguments: str) -> str:
        """helm in the release's namespace; fails with helm's words."""
        endpoints = self.sandbox.endpoints
        argv = [f"{endpoints.path_prefix}/helm", f"--kubeconfig={endpoints.kubeconfig}", f"--namespace={NAMESPACE}", *arguments]
        homes = {"HOME": str(self.scratch), **{f"HELM_{name}_HOME": str(self.scratch / "helm") for name in ("CACHE", "CONFIG", "DATA")}}
        done = subprocess.run(argv, capture_output=True, text=True, check=False, env=homes)
        assert done.returncode == 0, f"helm {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def install(self, values: Mapping[str, Any], chart: Path = CHARTS / "shuren") -> None:
        """Install or upgrade with exactly these values."""
        file = self.scratch / "values.json"
        file.write_text(json.dumps(values))
        self.helm("upgrade", "--install", "shuren", str(chart), "--reset-values", f"--values={file}")
        # a pod takes longer to start than the API server to serve what is new
        self.sandbox.kubectl("wait", "crd", "--all", "--for=condition=Established", f"--timeout={PATIENCE:.0f}s")

    def connect(self) -> None:
        """Apply the MesosCluster of the sandbox."""
        endpoints = self.sandbox.endpoints
        hosts = endpoints.zookeeper_hosts.split(",")
        self.sandbox.apply(parts.mesos_cluster(endpoints.marathon_urls, [endpoints.mesos_url], hosts))

    @contextmanager
    def operator(self, program: Path | None = None, **settings: str) -> Iterator[str]:
        """The program as the Deployment describes it, with the rights of its ServiceAccount; gives its /metrics URL while it leads.

        `program` is the source root of another release than this one.
        """
        found = self.container()
        port = free_port()
        identity = f"operator-{port}"
        env = {**os.environ, **self.environment(identity, port), "KUBECONFIG": str(self.kubeconfig()), **settings}
        command = [sys.executable, "-m", "shuren.cli", *found["args"]]
        if program is not None:
            env |= {"PYTHONPATH": str(program), "PYTHONDONTWRITEBYTECODE": "1"}
            command[1:] = ["-c", _ALONE.format(program), *found["args"][1:]]
        with (
            (self.scratch / f"{identity}.log").open("wb") as log,
            subprocess.Popen(command, env=env, stdout=log, stderr=log) as process,
        ):
            try:
                eventually(lambda: process.poll() is not None or lease_holder(self.rest) == identity, seconds=PATIENCE)
                assert process.poll() is None, Path(log.name).read_text()
                yield f"http://127.0.0.1:{port}/metrics"
            finally:
                process.terminate()
                process.wait(timeout=60)

    def container(self) -> dict[str, Any]:
        """The operator's container, as its Deployment describes it."""
        spec = self.sandbox.get("-n", NAMESPACE, "deployment", "shuren-operator")["spec"]["template"]["spec"]
        found: dict[str, Any] = spec["containers"][0]
        return found

    def environment(self, identity: str, port: int) -> dict[str, str]:
        """Its variables, with what the kubelet would fill in, and a port of this machine that is free."""
        given = {one["name"]: one["value"] for one in self.container()["env"] if "value" in one}
        return {**given, "SHUREN_NAMESPACE": NAMESPACE, "SHUREN_IDENTITY": identity, "SHUREN_METRICS_PORT": str(port)}

    def kubeconfig(self) -> Path:
        """Of the release's ServiceAccount."""
        token = self.sandbox.kubectl("-n", NAMESPACE, "create", "token", ACCOUNT, "--duration=2h").strip()
        config = yaml.safe_load(Path(self.sandbox.endpoints.kubeconfig).read_text())
        config["users"][0]["user"] = {"token": token}
        file = self.scratch / "operator.kubeconfig"
        file.write_text(yaml.safe_dump(config))
        return file

    def in_marathon(self) -> dict[str, Any]:
        """Everything in Marathon that a change of ours would leave a trace in."""
        apps = self.engine.ask("GET", "/v2/apps?embed=apps.tasks")["apps"]
        return {
            "apps": {app["id"]: (app["version"], sorted(task["id"] for task in app["tasks"])) for app in apps},
            "deployments": self.engine.counter("deployments"),
            "launched": self.engine.counter("tasks.launched"),
        }

    def refused(self, since: int = 0) -> list[str]:
        """Requests of the operator for which it lacked the right, after that place in the audit log."""
        return [
            f"{event['verb']} {event['requestURI']}"
            for event in self.sandbox.audit(user=USER, since=since)
            if event.get("responseStatus", {}).get("code") == 403
            # nothing is created in a namespace that is being deleted, whatever the rights
            and (event.get("annotations") or {}).get("authorization.k8s.io/decision") != "allow"
        ]

    def used(self) -> set[tuple[str, str, str]]:
        """(group, resource, verb) of every request of the operator so far."""
        found = set()
        for event in self.sandbox.audit(user=USER):
            ref = event.get("objectRef")
            if ref and "resource" in ref:
                resource = "/".join(filter(None, (ref["resource"], ref.get("subresource"))))
                found.add((ref.get("apiGroup", ""), resource, event["verb"]))
        return found


def metric(url: str, name: str) -> float:
    """The sum over all series of a metric."""
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.partition("{")[0].partition(" ")[0] == name)

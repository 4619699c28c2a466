"""A cluster whose pods run, with ZooKeeper and the sandbox engine in it as pods, and the product installed by its chart."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import oci_images
from chart_release import ACCOUNT, NAMESPACE
from chart_room import CHARTS
from container_image import NAME
from kube_rest import Rest
from shuren.api.crdgen import ROOT
from shuren.devenv.binaries import find_zookeeper_jar
from shuren.devenv.parts import CLUSTER, ZOOKEEPER_ROOT
from waiting import eventually

MESOS = "mesos"
PATIENCE = 240.0
"""Seconds for anything that takes a few on a quiet machine."""
AGENTS = 3
GROUP = "public"
"""The samples' group of load balancers."""
ZONE = "mesos.test"
_RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/enforce-version": "latest"}
_POD: Mapping[str, Any] = {
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "runAsGroup": 65532,
    "fsGroup": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}
_CONTAINER: Mapping[str, Any] = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


@dataclass(frozen=True, kw_only=True)
class World:
    """How tests act in it: kubectl, helm, plain requests; `audit` gives the API server's audit events where they can be had,
    `image` the configuration of the product's image.
    """

    kubeconfig: Path
    tools: Path
    scratch: Path
    rest: Rest
    audit: Callable[[], list[dict[str, Any]]] | None
    target: str
    image: Callable[[], dict[str, Any]]

    # ------------------------------------------------------------------------------------------------ commands

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """kubectl; fails with its words."""
        argv = [str(self.tools / "kubectl"), f"--kubeconfig={self.kubeconfig}", f"--cache-dir={self.scratch / 'kubectl'}", *arguments]
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}{done.stdout[-2000:]}"
        return done.stdout

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Server-side apply."""
        self.kubectl("apply", "--server-side", "-f", "-", stdin="\n---\n".join(json.dumps(one) for one in objects))

    def get(self, *arguments: str) -> dict[str, Any]:
        """`kubectl get … -o json`."""
        found: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "-o", "json"))
        return found

    def wait(self, what: str, condition: str, namespace: str = "default") -> None:
        """`kubectl wait`; what is there instead is part of the failure."""
        try:
            self.kubectl("wait", what, f"--for={condition}", f"--timeout={PATIENCE:.0f}s", f"--namespace={namespace}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.kubectl('describe', what, f'--namespace={namespace}')}\n{self.pods()}") from None

    def pods(self) -> str:
        """What runs, for a failure's message."""
        return self.kubectl("get", "pods", "-A", "-o", "wide") + self.kubectl("get", "events", "-A", "--field-selector=type=Warning")

    def helm(self, *arguments: str) -> str:
        """helm in the release's namespace; fails with its words."""
        argv = [str(self.tools / "helm"), f"--kubeconfig={self.kubeconfig}", f"--namespace={NAMESPACE}", *arguments]
        homes = {"HOME": str(self.scratch), **{f"HELM_{name}_HOME": str(self.scratch / "helm") for name in ("CACHE", "CONFIG", "DATA")}}
        done = subprocess.run(argv, capture_output=True, text=True, check=False, env=homes)
        assert done.returncode == 0, f"helm {' '.join(arguments)}: {done.stderr}\n{self.pods()}"
        return done.stdout

    # ------------------------------------------------------------------------------------------------ setting up

    def begin(self) -> None:
        """Namespaces that enforce restricted Pod Security, ZooKeeper, an engine, the release, and the cluster's resource."""
        for name in (NAMESPACE, MESOS):
            self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": _RESTRICTED}})
        self.apply(*_zookeeper(), *_engine())
        parts = {"enabled": True, "zookeeper": {"hosts": f"{self.address('zookeeper')}:2181", "root": ZOOKEEPER_ROOT}}
        small = {"requests": {"cpu": "20m", "memory": "64Mi"}}
        values = {
            "image": {"pullPolicy": "Never", "repository": oci_images.SHUREN.rpartition(":")[0], "tag": NAME.rpartition(":")[2]},
            "rbac": {"secrets": {"namespaces": ["default"]}},
            "networkPolicy": {"enabled": True},
            # no other load of this machine may push it out, and two replicas fit on one small node
            "operator": {"resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}}},
            "loadBalancer": {**parts, "group": GROUP, "service": {"ports": [{"name": "http", "port": 8080}]}, "resources": small},
            "dns": {**parts, "resources": small},
        }
        file = self.scratch / "values.json"
        file.write_text(json.dumps(values))
        self.helm("install", "shuren", str(CHARTS / "shuren"), f"--values={file}")
        for name in ("zookeeper", "marathon"):
            self.rolled_out(name, MESOS)
        self.rolled_out(ACCOUNT, NAMESPACE)
        self.apply(self._mesos_cluster())
        self.wait(f"mesoscluster/{CLUSTER}", "condition=Ready")

    def rolled_out(self, deployment: str, namespace: str) -> None:
        """Wait until a Deployment runs as it should."""
        try:
            self.kubectl("rollout", "status", f"deployment/{deployment}", f"--namespace={namespace}", f"--timeout={PATIENCE:.0f}s")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.pods()}") from None

    def _mesos_cluster(self) -> dict[str, Any]:
        marathon, zookeeper = self.address("marathon"), self.address("zookeeper")
        spec = {
            "marathon": {"urls": [f"http://{marathon}:8080"]},
            "mesos": {"masters": [f"http://{marathon}:5050"]},
            "zookeeper": {"hosts": [f"{zookeeper}:2181"], "root": ZOOKEEPER_ROOT},
            "tenancy": {"recordRoots": ["/discovery"]},
            "dns": {"zone": ZONE},
        }
        return {"apiVersion": "paas.shurenyun.com/v1alpha1", "kind": "MesosCluster", "metadata": {"name": CLUSTER}, "spec": spec}

    def address(self, service: str, namespace: str = MESOS) -> str:
        """Where a Service is. Names are not needed: it keeps its address."""
        return str(self.get("service", service, "-n", namespace)["spec"]["clusterIP"])

    def sample(self, name: str) -> None:
        """Apply a page of manifests/samples as it is."""
        self.kubectl("apply", "-f", str(ROOT / "manifests" / "samples" / f"{name}.yaml"))

    # ------------------------------------------------------------------------------------------------ looking

    def inside(self, script: str) -> str:
        """What a shell says in a pod of the operator."""
        return self.kubectl("exec", f"deployment/{ACCOUNT}", "-n", NAMESPACE, "--", "sh", "-c", script).strip()

    def python(self, script: str, *arguments: str, beside: str = "engine") -> Any:
        """What a program prints as JSON, run with the image's Python in the engine's pod, or in one of the operator."""
        where = ("deployment/marathon", "-n", MESOS) if beside == "engine" else (f"deployment/{ACCOUNT}", "-n", NAMESPACE)
        return json.loads(self.kubectl("exec", *where, "--", "python3", "-c", script, *arguments))

    def marathon(self, path: str, **query: str) -> dict[str, Any]:
        """A GET of Marathon's API, through the API server."""
        answer = self.rest.call("GET", f"/api/v1/namespaces/{MESOS}/services/marathon:8080/proxy{path}", **query)
        assert answer.status == 200, answer.body
        return answer.body

    def tasks(self, name: str) -> dict[str, str]:
        """Running tasks of an app of the namespace `default`: id and when it started."""
        found = self.marathon(f"/v2/apps//default/{name}/tasks")["tasks"]
        return {task["id"]: task["startedAt"] for task in found if task["state"] == "TASK_RUNNING"}

    def in_marathon(self) -> dict[str, tuple[str, list[str]]]:
        """Version and task ids of every app."""
        apps = self.marathon("/v2/apps", embed="apps.tasks")["apps"]
        return {app["id"]: (app["version"], sorted(task["id"] for task in app["tasks"])) for app in apps}

    def scale(self, name: str, by: int) -> None:
        """Change the number of an app's instances, and wait until so many run."""
        wanted = int(self.get("paasapp", name)["spec"]["instances"]) + by
        self.kubectl("scale", f"paasapp/{name}", f"--replicas={wanted}")
        eventually(lambda: len(self.tasks(name)) == wanted, seconds=PATIENCE, every=0.2)

    def processes(self) -> dict[str, list[int]]:
        """Processes of every task, by its id, as they are in the engine's pod."""
        script = """
import json, pathlib
found = {}
for entry in pathlib.Path("/proc").iterdir():
    if entry.name.isdigit():
        try: pairs = (entry / "environ").read_bytes().split(b"\\0")
        except OSError: continue
        for pair in pairs:
            if pair.startswith(b"MESOS_TASK_ID="):
                found.setdefault(pair.partition(b"=")[2].decode(), []).append(int(entry.name))
print(json.dumps({task: sorted(pids) for task, pids in found.items()}))
"""
        found: dict[str, list[int]] = self.python(script)
        return found

    def operators(self) -> list[dict[str, Any]]:
        """Pods of the operator that are not on their way out, oldest first."""
        pods = self.get("pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/component=operator")["items"]
        living = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        return sorted(living, key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]))

    def leader(self) -> str:
        """The pod that leads by the Lease; empty when none."""
        lease = self.rest.call("GET", f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{ACCOUNT}").body
        return str((lease.get("spec") or {}).get("holderIdentity") or "")

    def led_by(self, whom: Callable[[str], bool]) -> str:
        """Wait until somebody of whom this holds leads; gives his name."""
        eventually(lambda: whom(self.leader()), seconds=PATIENCE, every=0.2)
        return self.leader()

    def connections(self, pod: str) -> set[int]:
        """Remote TCP ports that a pod of the operator has connected to."""
        script = """
lines = [line.split() for path in ("/proc/net/tcp", "/proc/net/tcp6") for line in open(path).readlines()[1:]]
listening = {line[1].rpartition(":")[2] for line in lines if line[3] == "0A"}
print(*sorted({int(line[2].rpartition(":")[2], 16) for line in lines if line[3] == "01" and line[1].rpartition(":")[2] not in listening}))
"""
        return set(map(int, self.kubectl("exec", pod, "-n", NAMESPACE, "--", "python3", "-c", script).split()))


# ---------------------------------------------------------------------------------------------------- what stands in for Mesos


def _workload(name: str, container: Mapping[str, Any], ports: Mapping[str, int], mounts: Mapping[str, str]) -> list[dict[str, Any]]:
    labels = {"app": name}
    full = {
        "name": name,
        "imagePullPolicy": "Never",
        "securityContext": _CONTAINER,
        "ports": [{"name": key, "containerPort": port} for key, port in ports.items()],
        "volumeMounts": [{"name": key, "mountPath": path} for key, path in mounts.items()],
        **container,
    }
    pod = {
        "securityContext": _POD,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 5,
        "containers": [full],
        "volumes": [{"name": key, "emptyDir": {}} for key in mounts],
    }
    metadata = {"name": name, "namespace": MESOS}
    template = {"metadata": {"labels": labels}, "spec": pod}
    service = {"selector": labels, "ports": [{"name": key, "port": port, "targetPort": port} for key, port in ports.items()]}
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {"selector": {"matchLabels": labels}, "strategy": {"type": "Recreate"}, "template": template},
        },
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service},
    ]


def _zookeeper() -> list[dict[str, Any]]:
    options = [
        "-Xmx192m",
        "-XX:TieredStopAtLevel=1",
        "-XX:+UseSerialGC",
        "-Dzookeeper.admin.enableServer=false",
        "-Dzookeeper.forceSync=no",
    ]
    jar = find_zookeeper_jar()
    container = {
        "image": oci_images.ZOOKEEPER,
        "args": [
            *options,
            "-cp",
            f"{jar}:{jar.with_name('slf4j-simple.jar')}",
            "org.apache.zookeeper.server.ZooKeeperServerMain",
            "2181",
            "/data",
        ],
        "readinessProbe": {"tcpSocket": {"port": 2181}, "periodSeconds": 2},
    }
    return _workload("zookeeper", container, {"client": 2181}, {"data": "/data", "tmp": "/tmp"})


def _engine() -> list[dict[str, Any]]:
    # agents that other pods reach: each listens wherever the pod does, and Mesos tells its address, which is the pod's
    names = [f"agent-{number}" for number in range(1, AGENTS + 1)]
    agents = [
        {"hostname": name, "ports": f"31{number}00-31{number}99", "attributes": {"rack": f"r{number}"}}
        for number, name in enumerate(names, start=1)
    ]
    container = {
        "image": oci_images.SHUREN,
        "command": ["python3", "-m", "shuren.sandbox"],
        # it tells clients where it listens
        "args": ["--state-dir=/state", "--listen=$(ADDRESS):8080", "--mesos-listen=$(ADDRESS):5050", "--agents-file=/agents/agents.json"],
        "env": [{"name": "ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "readinessProbe": {"httpGet": {"path": "/ping", "port": 8080}, "periodSeconds": 2, "timeoutSeconds": 5},
    }
    mounts = {"state": "/state", "tmp": "/tmp", "agents": "/agents"}
    deployment, service = _workload("marathon", container, {"http": 8080, "mesos": 5050}, mounts)
    pod = deployment["spec"]["template"]["spec"]
    pod["hostAliases"] = [{"ip": "0.0.0.0", "hostnames": names}]
    pod["volumes"] = [one for one in pod["volumes"] if one["name"] != "agents"] + [{"name": "agents", "configMap": {"name": "agents"}}]
    file = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "agents", "namespace": MESOS},
        "data": {"agents.json": json.dumps({"agents": agents})},
    }
    return [file, deployment, service]

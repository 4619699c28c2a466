"""An app behind two load balancers in a sandbox of its own, with a load on it, to be disturbed in every way.

$SHUREN_TRAFFIC_REQUESTS: how many requests each test sends at least (default: 50,000 by all of them together).
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from kube_rest import GROUP, Rest
from shuren.devenv.background import Sandbox
from shuren.devenv.parts import CLUSTER, LB_ACCOUNT, LB_GROUP, OPERATOR_NAMESPACE
from shuren.devenv.processes import ProcessId, marked
from shuren.devenv.progress import to_stderr
from tenant import Engine
from traffic_clients import KINDS
from waiting import eventually

Json = dict[str, Any]
REQUESTS = int(os.environ.get("SHUREN_TRAFFIC_REQUESTS") or 3_900)
HOST, PORT, NAMESPACE = "web.example", 8080, "traffic"
INSTANCES, AGENTS = 3, 3
_PATIENCE = 120.0
_HERE = Path(__file__).parent
_IDEMPOTENT = {kind.name: kind.idempotent for kind in KINDS}


@dataclass(frozen=True, kw_only=True)
class Request:
    """One that a client has sent; times are of `time.monotonic`. `wrong` is empty when its whole answer came."""

    number: str
    kind: str
    address: str
    began: float
    ended: float
    wrong: str

    def __str__(self) -> str:
        return f"{self.number} {self.kind} by {self.address or 'nobody'} after {self.ended - self.began:.3f} s: {self.wrong}"


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What one task was asked, by number: how many times it began, and whether an answer had begun, was about to end, had ended."""

    task: str
    begun: Counter[str]
    first: frozenset[str]
    last: frozenset[str]
    ended: frozenset[str]

    @classmethod
    def read(cls, path: Path) -> Heard:
        found: dict[str, list[str]] = {letter: [] for letter in "BFLE"}
        for line in path.read_text().splitlines():
            letter, number = line.split()
            found[letter].append(number)
        sets = {name: frozenset(found[letter]) for name, letter in (("first", "F"), ("last", "L"), ("ended", "E"))}
        return cls(task=path.name, begun=Counter(found["B"]), **sets)


@dataclass(kw_only=True)
class Load:
    """A load while it runs; `requests` once it has ended."""

    process: subprocess.Popen[str]
    requests: list[Request] = field(default_factory=list)

    def counts(self) -> tuple[int, int]:
        """How many requests have ended so far, and how many of them badly."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        now = json.loads(self.process.stdout.readline())
        return now["ended"], now["failed"]

    def more(self, requests: int) -> None:
        """Wait until so many more have ended."""
        wanted = self.counts()[0] + requests
        eventually(lambda: self.counts()[0] >= wanted, seconds=_PATIENCE)

    @cached_property
    def failed(self) -> list[Request]:
        """Those without a whole answer."""
        return [request for request in self.requests if request.wrong]

    def end(self) -> None:
        output, _ = self.process.communicate(timeout=_PATIENCE)
        names = ("number", "kind", "address", "began", "ended", "wrong")
        rows = [dict(zip(names, row, strict=True)) for row in json.loads(output)]
        self.requests = [Request(**{**row, "number": str(row["number"])}) for row in rows]

    def __str__(self) -> str:
        kinds = Counter(request.kind for request in self.requests)
        return f"{len(self.requests):,} requests ({', '.join(f'{n:,} {kind}' for kind, n in kinds.items())}), {len(self.failed)} failed"


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """The app `web` and its service in a running sandbox; `directory` has what the tasks write down."""

    sandbox: Sandbox
    directory: Path

    @cached_property
    def _rest(self) -> Rest:
        return Rest(self.sandbox.endpoints.kubeconfig)

    def close(self) -> None:
        self._rest.close()

    @property
    def engine(self) -> Engine:
        return Engine(sandbox=self.sandbox)

    # ------------------------------------------------------------------------------------------------- what people do

    def prepare(self) -> None:
        self.sandbox.kubectl("create", "namespace", NAMESPACE)
        self.sandbox.apply(_app(self.directory))
        self.sandbox.apply(_service("web", plain(PORT)))
        self.settled()

    def resource(self, kind: str, name: str = "web") -> Json:
        return self._rest.call("GET", f"{GROUP}/namespaces/{NAMESPACE}/{kind}s/{name}").body

    def change(self, **spec: Any) -> None:
        """Merge into the app's spec."""
        path = f"{GROUP}/namespaces/{NAMESPACE}/paasapps/web"
        assert self._rest.call("PATCH", path, {"spec": spec}, content_type="application/merge-patch+json").status == 200

    def roll(self) -> None:
        """Another version, so that every task is replaced."""
        self.change(env={"VERSION": str(int(self.resource("paasapp")["spec"]["env"]["VERSION"]) + 1)})

    @property
    def app_id(self) -> str:
        """Marathon's id of the app; after a gated roll-out it is another one."""
        return str(self.resource("paasapp")["status"]["marathon"]["id"])

    def weight(self) -> int | None:
        """Percent of the traffic that the version beside has, during a gated roll-out."""
        rollout = self.resource("paasapp")["status"].get("rollout", {})
        return rollout.get("weight") if rollout.get("phase") not in {None, "Completed"} else None

    def scale(self, instances: int) -> None:
        self.sandbox.kubectl("-n", NAMESPACE, "scale", "paasapp/web", f"--replicas={instances}")

    def settled(self) -> None:
        """The app runs what is asked for, and the load balancers carry exactly that."""

        def as_asked() -> bool:
            app, service = self.resource("paasapp"), self.resource("paasservice")
            wanted = app["spec"]["instances"]
            updated = app.get("status", {}).get("counts", {}).get("updated")
            shown = service.get("status", {}).get("ready")
            return _ready(app) and _ready(service) and updated == wanted and shown == f"{wanted}/{wanted}" and len(self.tasks()) == wanted

        try:
            eventually(as_asked, seconds=_PATIENCE, every=0.2)
        except AssertionError:
            seen = {kind: self.resource(kind).get("status") for kind in ("paasapp", "paasservice")}
            raise AssertionError(json.dumps({**seen, "tasks": list(self.tasks())}, indent=1)) from None

    def add_listener(self, name: str, listener: Json) -> None:
        """One more service over the same app: HAProxy has to be reloaded for its port."""
        self.sandbox.apply(_service(name, listener))
        eventually(lambda: _ready(self.resource("paasservice", name)), seconds=_PATIENCE, every=0.2)

    def certificate(self, name: str, certificate: Path, key: Path) -> None:
        """A Secret with it, which the load balancers' ServiceAccount may read."""
        data = {"tls.crt": certificate.read_text(), "tls.key": key.read_text()}
        metadata = {"name": name, "namespace": NAMESPACE}
        rule = {"apiGroups": [""], "resources": ["secrets"], "resourceNames": [name], "verbs": ["get"]}
        account = {"kind": "ServiceAccount", "name": LB_ACCOUNT, "namespace": OPERATOR_NAMESPACE}
        group = "rbac.authorization.k8s.io"
        role = {"apiGroup": group, "kind": "Role", "name": name}
        self.sandbox.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "kubernetes.io/tls", "stringData": data})
        self.sandbox.apply({"apiVersion": f"{group}/v1", "kind": "Role", "metadata": metadata, "rules": [rule]})
        binding = {"kind": "RoleBinding", "metadata": metadata, "roleRef": role, "subjects": [account]}
        self.sandbox.apply({"apiVersion": f"{group}/v1", **binding})

    def reloads(self, name: str = "web") -> list[int]:
        """How often each load balancer has reloaded its HAProxy."""
        return [seen["reloads"] for seen in self.resource("paasservice", name)["status"]["loadBalancers"]]

    def remove_listener(self, name: str) -> None:
        self.sandbox.kubectl("-n", NAMESPACE, "delete", "paasservice", name, f"--timeout={_PATIENCE:.0f}s")

    # ------------------------------------------------------------------------------------------------ what there is

    def tasks(self) -> Mapping[str, ProcessId]:
        """The app's servers, one process for each task, by id of the task."""
        found = {}
        for one in marked(self.sandbox.state().id):
            if str(_HERE / "traffic_server.py") in _words(one.pid):
                found[_environment(one.pid, "MESOS_TASK_ID")] = one
        return found

    def haproxies(self, number: int | None = None) -> set[ProcessId]:
        """Masters and workers of one load balancer, or of all."""
        found = [one for one in marked(self.sandbox.state().id) if _file(one.pid, "comm").strip() == "haproxy"]
        home = f"{self.sandbox.place.root}/lb/{number}/" if number is not None else ""
        return {one for one in found if any(word.startswith(home) for word in _words(one.pid) if "/lb/" in word)}

    def leading_zookeeper(self) -> str:
        """Its part's name."""
        for part in self.sandbox.state().select("zookeeper"):
            # one that was killed takes no connection
            with suppress(ConnectionError), socket.create_connection(("127.0.0.1", part.ports["client"]), timeout=30) as asked:
                asked.sendall(b"srvr")
                if b"Mode: leader" in asked.makefile("rb").read():
                    return part.key
        raise AssertionError("no ZooKeeper leads")

    def leading_engine(self) -> str:
        """Its part's name."""
        url = self.engine.leader()
        return next(p.key for p in self.sandbox.state().select("engine") if url.endswith(f":{p.ports['marathon']}"))

    def heard(self) -> dict[str, Heard]:
        """What every task was asked since the load began, by task."""
        return {path.name: Heard.read(path) for path in self.directory.iterdir()}

    @contextmanager
    def load(self, what: str) -> Iterator[Load]:
        """Clients ask while the block runs, and until there were enough requests; some are answered before it begins.

        Whatever happens, no request that may have had its effect is sent to a second task.
        """
        for path in self.directory.iterdir():
            os.truncate(path, 0)
        command = [sys.executable, "-S", str(_HERE / "traffic_clients.py"), HOST, str(PORT), *self.sandbox.endpoints.lb_addresses]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        load = Load(process=process)
        try:
            load.more(100)
            yield load
            eventually(lambda: load.counts()[0] >= REQUESTS, seconds=_PATIENCE + REQUESTS / 50)
            load.end()
        finally:
            process.kill()
            process.wait()
        to_stderr(f"\n{what}: {load}")
        twice = sum((heard.begun for heard in self.heard().values()), Counter[str]())
        once = {request.number for request in load.requests if not _IDEMPOTENT[request.kind]}
        assert [number for number, times in twice.items() if times > 1 and number in once] == []


def lost_with(load: Load, heard: Mapping[str, Heard], dead: set[str]) -> tuple[set[str], set[str], int]:
    """Numbers of the requests that must have been lost with these tasks, of those that may have been, and how many were saved by a retry.

    Lost: under way there, and not to be sent again, because it may have had its effect or its answer had begun. A request that no task has
    read when the end came was in the socket of a dead one. Between its last byte and the note of that, nobody can tell.
    """
    living = {number for task, one in heard.items() if task not in dead for number in one.begun}
    must, may, saved = set[str](), set[str](), 0
    for request in load.requests:
        there = [heard[task] for task in dead if request.number in heard[task].begun]
        again = _IDEMPOTENT[request.kind]
        if not there:
            may |= {request.number} if request.number not in living and not again else set()
        elif again and not any(request.number in one.first for one in there):
            saved += any(request.number not in one.last for one in there)
        elif not any(request.number in one.ended for one in there):
            may.add(request.number)
            must |= {request.number} if not any(request.number in one.last for one in there) else set()
    return must, may, saved


def only_lost_with(traffic: Traffic, load: Load, dead: set[str], *, gone: float) -> None:
    """What failed is what was under way on the dead tasks and may not be sent twice; nothing else, and nothing that began after."""
    must, may, saved = lost_with(load, traffic.heard(), dead)
    failed = {request.number for request in load.failed}
    to_stderr(f"in flight there: {len(must)} not to be repeated, {len(failed)} failed; {saved} repeated elsewhere")
    told = [str(request) for request in load.failed]
    assert must <= failed <= may, {"failed": told, "must": sorted(must), "may": sorted(may)}
    assert [str(request) for request in load.failed if request.began > gone] == []


def _app(directory: Path) -> Json:
    server = _HERE / "traffic_server.py"
    check = {"protocol": "MESOS_HTTP", "path": "/alive", "portIndex": 0, "delaySeconds": 0, "gracePeriodSeconds": 20}
    return _resource(
        "PaasApp",
        "web",
        instances=INSTANCES,
        cpus=0.1,
        mem=32,
        env={"VERSION": "1", "TRAFFIC_LOG": str(directory)},
        cmd=f"exec {sys.executable} -I -S {server}",
        taskKillGracePeriodSeconds=110,
        portDefinitions=[{"port": 0, "name": "http"}],
        healthChecks=[{**check, "intervalSeconds": 1, "timeoutSeconds": 5, "maxConsecutiveFailures": 10}],
        constraints=[["hostname", "MAX_PER", str(INSTANCES - 1)]],
        upgradeStrategy={"minimumHealthCapacity": 1, "maximumOverCapacity": 0.7},
        rollout={"drainSeconds": 4},
    )


def _service(name: str, listener: Json) -> Json:
    check = {"type": "Http", "path": "/ready", "intervalMs": 300, "fastIntervalMs": 100, "downIntervalMs": 200, "fall": 2}
    return _resource(
        "PaasService",
        name,
        backends=[{"name": "main", "appRef": {"name": "web"}, "portName": "http"}],
        loadBalancer={
            "group": LB_GROUP,
            "listeners": [listener],
            "healthCheck": check,
        },
    )


def plain(port: int) -> Json:
    """A listener for HTTP."""
    return {"name": "http", "protocol": "HTTP", "port": port, "hosts": [HOST]}


def _resource(kind: str, name: str, **spec: Any) -> Json:
    metadata = {"name": name, "namespace": NAMESPACE}
    whole = {"clusterRef": {"name": CLUSTER}, **spec}
    return {"apiVersion": "paas.shurenyun.com/v1alpha1", "kind": kind, "metadata": metadata, "spec": whole}


def _ready(resource: Json) -> bool:
    conditions = resource.get("status", {}).get("conditions", [])
    generation = resource.get("metadata", {}).get("generation")
    return any(c["type"] == "Ready" and c["status"] == "True" and c["observedGeneration"] == generation for c in conditions)


def _words(pid: int) -> list[str]:
    return _file(pid, "cmdline").split("\0")


def _environment(pid: int, name: str) -> str:
    words = (word.partition("=") for word in _file(pid, "environ").split("\0"))
    return next((value for key, _, value in words if key == name), "")


def _file(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except OSError:
        return ""

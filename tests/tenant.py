"""A user of a sandbox with an operator: what he does through kubectl, and what he sees in Kubernetes, Marathon, ZooKeeper and the tasks.

Looking uses plain HTTP, since a kubectl process for each look of a wait would keep a small machine busy; doing uses kubectl, as users do.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from kazoo.client import KazooClient

from kube_rest import GROUP, Rest
from shuren.devenv.background import OPERATOR_USER, Sandbox
from shuren.devenv.parts import CLUSTER, ZOOKEEPER_ROOT
from waiting import eventually

T = TypeVar("T")

PATIENCE = 90.0
"""Seconds for anything that takes a few on a quiet machine."""
WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


def sleeper(**fields: Any) -> dict[str, Any]:
    """The spec of an app whose tasks do nothing, and so cost nothing."""
    return {"clusterRef": {"name": CLUSTER}, "cmd": "exec sleep 86400", "instances": 1, "cpus": 0.01, "mem": 16, **fields}


def web(version: str, **fields: Any) -> dict[str, Any]:
    """The spec of an app whose tasks answer `version` to a GET, and are healthy while they do."""
    serve = 'mkdir -p site && echo "$VERSION" > site/index.html && exec python3 -m http.server "$PORT0" --bind "$HOST" --directory site'
    check = {"protocol": "MESOS_HTTP", "path": "/", "portIndex": 0, "delaySeconds": 0, "gracePeriodSeconds": 30, "intervalSeconds": 2}
    spec = {
        "env": {"VERSION": version},
        "portDefinitions": [{"port": 0, "name": "http"}],
        "healthChecks": [{**check, "timeoutSeconds": 1}],
        "upgradeStrategy": {"minimumHealthCapacity": 1, "maximumOverCapacity": 0.5},
    }
    return sleeper(**{"instances": 2, "cmd": serve, **spec, **fields})


def broken(version: str, **fields: Any) -> dict[str, Any]:
    """The same app in a version that cannot start."""
    return web(version, **{"cmd": "echo cannot read the configuration >&2; exit 1", **fields})


def _ask(url: str, method: str, path: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data=data, method=method, headers={"Content-Type": "application/json"})  # noqa: S310 - our own
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        return json.loads(answer.read() or b"null")


@dataclass(frozen=True, kw_only=True)
class Engine:
    """The Marathon of a sandbox, of one engine or of one with a standby, and its fault switch."""

    sandbox: Sandbox

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """One request to the engine that leads, once one does; HTTPError when it is refused."""
        return _ask(self.leader(), method, path, body)

    def leader(self) -> str:
        """The URL of the engine that leads, once one does."""
        found: list[str] = []

        def leads() -> bool:
            for url in self.sandbox.endpoints.marathon_urls:
                with suppress(OSError):
                    name = _ask(url, "GET", "/v2/leader")["leader"]
                    if name and _ask(f"http://{name}", "GET", "/v2/leader")["leader"] == name:
                        found.append(f"http://{name}")
                        return True
            return False

        eventually(leads, seconds=PATIENCE)
        return found[0]

    def app(self, app_id: str) -> dict[str, Any] | None:
        """An app as Marathon shows it; None when there is none."""
        try:
            found: dict[str, Any] = self.ask("GET", f"/v2/apps/{app_id}")["app"]
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise
        return found

    def tasks(self, app_id: str) -> dict[str, dict[str, Any]]:
        """Running tasks by id."""
        found = self.app(app_id)
        return {task["id"]: task for task in (found or {}).get("tasks", ()) if task["state"] == "TASK_RUNNING"}

    def versions(self, app_id: str) -> list[str]:
        """All versions of an app, newest first: each write that changed something made one."""
        found: list[str] = self.ask("GET", f"/v2/apps/{app_id}/versions")["versions"]
        return found

    def counter(self, name: str) -> int:
        """One of Marathon's counters, e.g. `deployments` and `tasks.launched`. They begin anew with each leader."""
        return int(self.ask("GET", "/metrics")["counters"][f"marathon.{name}.counter"]["count"])

    @contextmanager
    def faults(self, **parts: Any) -> Iterator[None]:
        """Faults as `shuren.sandbox.faults` describes them, for the length of a block."""
        for url in self.sandbox.endpoints.marathon_urls:
            _ask(url, "PUT", "/sandbox/faults", parts)
        try:
            yield
        finally:
            self.no_faults()

    def no_faults(self) -> None:
        """End all faults."""
        for url in self.sandbox.endpoints.marathon_urls:
            _ask(url, "DELETE", "/sandbox/faults")

    def change_leader(self) -> None:
        """Leadership is lost and taken again; health is unknown afterwards."""
        self.ask("POST", "/sandbox/leader/change")


@contextmanager
def looking(look: Callable[[], T]) -> Iterator[list[T]]:
    """What `look` finds, again and again while the block runs; at least once."""
    seen = [look()]
    end = threading.Event()

    def loop() -> None:
        while not end.wait(0.05):
            seen.append(look())

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield seen
    finally:
        end.set()
        thread.join()


def answer_of(task: dict[str, Any]) -> str | None:
    """What a task answers to a GET; None when it does not."""
    try:
        with urllib.request.urlopen(f"http://{task['host']}:{task['ports'][0]}/", timeout=5) as page:
            return str(page.read().decode().strip())
    except OSError:
        return None


@dataclass(frozen=True, kw_only=True)
class Tenant:
    """A user and his namespace."""

    sandbox: Sandbox
    namespace: str
    rest: Rest

    @property
    def engine(self) -> Engine:
        """The Marathon behind it."""
        return Engine(sandbox=self.sandbox)

    # ------------------------------------------------------------------------------------------------ what he does

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl in his namespace. DevenvError with its words when it fails."""
        return self.sandbox.kubectl("-n", self.namespace, *arguments, stdin=stdin)

    def manifest(self, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        """A PaasApp."""
        metadata = {"name": name, "namespace": self.namespace}
        return {"apiVersion": "paas.shurenyun.com/v1alpha1", "kind": "PaasApp", "metadata": metadata, "spec": spec}

    def apply(self, name: str, spec: dict[str, Any], *options: str) -> str:
        """`kubectl apply`."""
        return self.kubectl("apply", *options, "-f", "-", stdin=json.dumps(self.manifest(name, spec)))

    def wait(self, name: str, condition: str = "Ready") -> None:
        """`kubectl wait`."""
        self.kubectl("wait", f"paasapp/{name}", f"--for=condition={condition}", f"--timeout={PATIENCE:.0f}s")

    def run(self, name: str, spec: dict[str, Any]) -> None:
        """Apply and wait until it is Ready, and until that has been written down: a revision is good once it has been."""
        self.apply(name, spec)
        self.wait(name)
        self.until(lambda: self._written_down(name), about=name)

    def _written_down(self, name: str) -> bool:
        revision = self.status(name).get("revision", {})
        return bool(revision) and revision.get("target") == revision.get("lastGood") == revision.get("current")

    @contextmanager
    def second_cluster(self, **spec: Any) -> Iterator[str]:
        """Another MesosCluster on the same parts, with a root of its own and these fields; at the end it goes, his resources before it."""
        name = f"second-{self.namespace}"
        given = self.sandbox.get("mesoscluster", CLUSTER)["spec"]
        root = {"zookeeper": {**given["zookeeper"], "root": f"/shuren/{name}"}}
        kind = {"apiVersion": "paas.shurenyun.com/v1alpha1", "kind": "MesosCluster"}
        self.sandbox.apply({**kind, "metadata": {"name": name}, "spec": {**given, **root, **spec}})
        try:
            yield name
        finally:
            self.kubectl("delete", "paasapps", "--all", f"--timeout={PATIENCE:.0f}s")
            self.sandbox.kubectl("delete", "mesoscluster", name)

    # ------------------------------------------------------------------------------------------------ what he sees

    def app(self, name: str) -> dict[str, Any]:
        """The resource; empty when there is none."""
        answer = self.rest.call("GET", f"{GROUP}/namespaces/{self.namespace}/paasapps/{name}")
        return answer.body if answer.status == 200 else {}

    def status(self, name: str) -> dict[str, Any]:
        """Its status; empty before the first."""
        return self.app(name).get("status") or {}

    def condition(self, name: str, kind: str) -> dict[str, Any]:
        """A condition, if it speaks of the present generation; else empty."""
        app = self.app(name)
        found: dict[str, Any] = next((c for c in (app.get("status") or {}).get("conditions", ()) if c["type"] == kind), {})
        return found if found.get("observedGeneration") == app.get("metadata", {}).get("generation") else {}

    def reason(self, name: str, kind: str = "Ready") -> str:
        """The reason of a condition that speaks of the present generation."""
        return str(self.condition(name, kind).get("reason", ""))

    def until(self, question: Callable[[], bool], *, about: str = "", seconds: float = PATIENCE) -> None:
        """Wait for an answer; what the resource `about` says is part of the failure."""
        try:
            eventually(question, seconds=seconds, every=0.1)
        except AssertionError as error:
            said = json.dumps(self.status(about).get("conditions"), indent=1) if about else ""
            raise AssertionError(f"{error}\n{said}") from None

    def until_reason(self, name: str, reason: str, kind: str = "Ready") -> str:
        """Wait until a condition has this reason; returns its message."""
        self.until(lambda: self.reason(name, kind) == reason, about=name)
        return str(self.condition(name, kind).get("message", ""))

    @contextmanager
    def watching(self, name: str) -> Iterator[list[int]]:
        """How many instances are healthy, as Marathon counts them, looked at all the time while the block runs."""
        with looking(lambda: int((self.engine.app(self.app_id(name)) or {}).get("tasksHealthy", 0))) as seen:
            yield seen

    def app_id(self, name: str) -> str:
        """The Marathon id of a resource that does not choose one."""
        return f"/{self.namespace}/{name}"

    def tasks(self, name: str) -> dict[str, dict[str, Any]]:
        """Running tasks by id."""
        return self.engine.tasks(self.app_id(name))

    def versions(self, name: str) -> list[str]:
        """All versions that Marathon ever had of a resource's app, newest first."""
        return self.engine.versions(self.app_id(name))

    def answers(self, name: str) -> list[str | None]:
        """What the running tasks answer."""
        return [answer_of(task) for task in self.tasks(name).values()]

    def revisions(self, name: str) -> list[dict[str, Any]]:
        """ControllerRevisions of a resource."""
        uid = self.app(name)["metadata"]["uid"]
        path = f"/apis/apps/v1/namespaces/{self.namespace}/controllerrevisions"
        found: list[dict[str, Any]] = self.rest.call("GET", path, labelSelector=f"paas.shurenyun.com/app-uid={uid}").body["items"]
        return found

    def events(self) -> list[dict[str, Any]]:
        """Kubernetes Events of the namespace."""
        found: list[dict[str, Any]] = self.rest.call("GET", f"/apis/events.k8s.io/v1/namespaces/{self.namespace}/events").body["items"]
        return found

    def claims(self) -> dict[str, dict[str, Any]]:
        """Claims on app ids that resources of the namespace hold in the sandbox' own root of ZooKeeper."""
        return {app_id: claim for app_id, claim in claims(self.sandbox).items() if claim["namespace"] == self.namespace}


# ---------------------------------------------------------------------------------------------------- the sandbox as a whole


@contextmanager
def zookeeper(sandbox: Sandbox) -> Iterator[KazooClient]:
    """A session of one's own."""
    client = KazooClient(hosts=sandbox.endpoints.zookeeper_hosts)
    client.start(timeout=30)
    try:
        yield client
    finally:
        client.stop()
        client.close()


def claims(sandbox: Sandbox, root: str = ZOOKEEPER_ROOT) -> dict[str, dict[str, Any]]:
    """All claims by app id, as they lie in ZooKeeper."""
    found: dict[str, dict[str, Any]] = {}
    with zookeeper(sandbox) as client:
        if client.exists(f"{root}/owners"):
            for bucket in client.get_children(f"{root}/owners"):
                found |= json.loads(client.get(f"{root}/owners/{bucket}")[0] or b"{}")
    return found


def epoch(sandbox: Sandbox, root: str = ZOOKEEPER_ROOT) -> dict[str, Any]:
    """The fencing epoch: its number and who holds it."""
    with zookeeper(sandbox) as client:
        found: dict[str, Any] = json.loads(client.get(f"{root}/epoch")[0])
        return found


def writes_below(sandbox: Sandbox, root: str = ZOOKEEPER_ROOT) -> dict[str, tuple[int, int]]:
    """The last change of each node below a root but the epoch, and of its children; equal when nobody has written."""
    found: dict[str, tuple[int, int]] = {}
    with zookeeper(sandbox) as client:
        waiting = [root]
        while waiting:
            path = waiting.pop()
            names, stat = client.get_children(path, include_data=True)
            if path != f"{root}/epoch":
                found[path] = (stat.mzxid, stat.pzxid)
            waiting += [f"{path}/{name}" for name in names]
    return found


def api_writes(sandbox: Sandbox, since: int = 0) -> list[str]:
    """Writes of the operator that the API server's audit log holds after that place in it.

    Not those of the Lease, nor of a MesosCluster's status, which shows how much runs there and when it was last read.
    """
    return [
        f"{event['verb']} {event['requestURI']}"
        for event in sandbox.audit(user=OPERATOR_USER, since=since)
        if event["verb"] in WRITES and (event.get("objectRef") or {}).get("resource") not in {"leases", "mesosclusters"}
    ]


def going(sandbox: Sandbox) -> list[str]:
    """Namespaces that are being deleted."""
    return [n["metadata"]["name"] for n in sandbox.get("namespaces")["items"] if "deletionTimestamp" in n["metadata"]]


def until_quiet(sandbox: Sandbox) -> None:
    """Wait until what earlier tests left has been taken away, and the operator has written nothing for a second."""
    eventually(lambda: not going(sandbox), seconds=PATIENCE, every=0.5)
    counts: list[int] = []
    audited = sandbox.audited()

    def quiet() -> bool:
        counts.append(len(api_writes(sandbox, audited)))
        return len(counts) > 10 and len(set(counts[-10:])) == 1

    eventually(quiet, seconds=PATIENCE, every=0.1)


def refusals(sandbox: Sandbox, since: int = 0) -> list[tuple[str, str]]:
    """Requests of the operator for which it lacked the right, after that place in the audit log: namespace, and what was asked."""
    return [
        ((event.get("objectRef") or {}).get("namespace", ""), f"{event['verb']} {event['requestURI']}")
        for event in sandbox.audit(user=OPERATOR_USER, since=since)
        if event["responseStatus"]["code"] == 403 and (event.get("annotations") or {}).get("authorization.k8s.io/decision") != "allow"
    ]


def passes(sandbox: Sandbox, selector: str = "operator=1", kind: str = "PaasApp") -> int:
    """How many passes an operator has made over resources of a kind."""
    return round(sum(value for line, value in _metrics(sandbox, selector) if line.startswith(f'reconcile_total{{kind="{kind}"')))


def leads(sandbox: Sandbox, selector: str) -> bool:
    """Whether this replica says that it leads."""
    return any(line == "leader" and value == 1 for line, value in _metrics(sandbox, selector))


def marathon_requests(sandbox: Sandbox, selector: str = "operator=1") -> dict[str, int]:
    """How many requests an operator has sent to Marathon and Mesos, by verb."""
    found: dict[str, int] = {}
    for line, value in _metrics(sandbox, selector):
        if line.startswith("external_request_duration_seconds_count") and 'target="marathon"' in line:
            verb = line.split('verb="', 1)[1].split('"', 1)[0]
            found[verb] = found.get(verb, 0) + round(value)
    return found


def _metrics(sandbox: Sandbox, selector: str) -> Iterator[tuple[str, float]]:
    port = sandbox.part(selector).ports["metrics"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        for line in answer.read().decode().splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                yield name, float(value)


def lease_holder(rest: Rest) -> str:
    """Who leads by the Lease; empty when nobody."""
    lease = rest.call("GET", "/apis/coordination.k8s.io/v1/namespaces/shuren-system/leases/shuren-operator").body
    return str((lease.get("spec") or {}).get("holderIdentity") or "")


def now() -> float:
    """Monotonic seconds."""
    return time.monotonic()

"""A release on the real API server: what Helm changes, what it must not change, and the rights that the operator has and uses.

One world for the module: an API server to which nothing of the product was applied, ZooKeeper, an engine with simulated tasks. Each test
installs what it needs, so their order does not matter.
"""

from __future__ import annotations

import asyncio
import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chart_release import NAMESPACE, PATIENCE, Release, metric
from chart_room import CHARTS, Helm, grants
from kube_rest import GROUP, Rest
from real_parts import running
from shuren.api.kinds import KINDS, Kind
from shuren.clients.clock import SystemClock
from shuren.clients.kubernetes.client import KubernetesClient
from shuren.clients.kubernetes.config import from_environment
from shuren.devenv.options import Options, Runner
from shuren.devenv.parts import CLUSTER
from shuren.devenv.processes import ProcessId
from shuren.domain.app.revisions import KEPT
from shuren.domain.identity import ObjectKey
from shuren.ports.kubernetes import MESOS_CLUSTERS, PAAS_APPS, PAAS_SERVICES, SHARD_MAPS, Object
from shuren.runtime.resync import Resync
from shuren.runtime.store import Store
from tenant import sleeper
from waiting import eventually

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("unmeasured_programs")]

APPS = ("a", "b", "c", "d")
GOLDEN = Path(__file__).parents[1] / "golden"
ONE_BY_ONE = {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0.0}
SECRETS = {"rbac": {"secrets": {"namespaces": [NAMESPACE, "shop"]}}}


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    me = ProcessId.of(os.getpid())
    place = tmp_path_factory.mktemp("release")
    options = Options(state_dir=place / "sandbox", agents=2, runner=Runner.SIMULATED, operators=0, bare=True, owner=me)
    with running(options) as sandbox:
        rest = Rest(sandbox.endpoints.kubeconfig)
        made = Release(sandbox=sandbox, scratch=place, rest=rest)
        for namespace in (NAMESPACE, "shop", "elsewhere"):
            sandbox.kubectl("create", "namespace", namespace)
        sandbox.kubectl("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
        yield made
        rest.close()


def app(name: str, **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": spec.pop("namespace", "shop")}
    return {"apiVersion": "paas.shurenyun.com/v1alpha1", "kind": "PaasApp", "metadata": metadata, "spec": sleeper(**spec)}


def ready(release: Release, *names: str, namespace: str = "shop", kind: str = "paasapp") -> None:
    wanted = [f"{kind}/{name}" for name in names]
    release.sandbox.kubectl("-n", namespace, "wait", *wanted, "--for=condition=Ready", f"--timeout={PATIENCE:.0f}s")


def populate(release: Release) -> None:
    """Apps with tasks, a service of one of them, and a shard map."""
    release.connect()
    for name in APPS:
        release.sandbox.apply(app(name, instances=2, portDefinitions=[{"port": 0, "name": "http"}]))
    backends = [{"name": "main", "appRef": {"name": "a"}, "portName": "http"}]
    spec = {"clusterRef": {"name": CLUSTER}, "backends": backends, "discovery": {"kubernetes": {"service": "web", "port": 80}}}
    kind = {"apiVersion": "paas.shurenyun.com/v1alpha1", "kind": "PaasService"}
    release.sandbox.apply({**kind, "metadata": {"name": "web", "namespace": "shop"}, "spec": spec})
    members = [{"id": f"cache-{number}", "address": f"10.0.0.{number}:11211"} for number in (1, 2)]
    shards = {"clusterRef": {"name": CLUSTER}, "partitionings": [{"name": "p1", "shards": 16}], "members": {"static": members}}
    kind = {"apiVersion": "paas.shurenyun.com/v1alpha1", "kind": "ShardMap"}
    release.sandbox.apply({**kind, "metadata": {"name": "cache", "namespace": "shop"}, "spec": shards})
    ready(release, *APPS)
    ready(release, "web", kind="paasservice")
    eventually(lambda: "status" in release.rest.call("GET", f"{GROUP}/namespaces/shop/shardmaps/cache").body, seconds=PATIENCE)


def listed(release: Release, kind: Kind) -> list[dict[str, Any]]:
    """All objects of a kind; right after its definition has changed the API server asks to come again (429)."""
    found: list[list[dict[str, Any]]] = []

    def there() -> bool:
        answer = release.rest.call("GET", f"{GROUP}/{kind.plural}")
        assert answer.status in {200, 429}, answer.body
        found.append(answer.body.get("items", []))
        return answer.status == 200

    eventually(there, seconds=PATIENCE)
    return found[-1]


def resources(release: Release) -> dict[str, tuple[str, int]]:
    """uid and generation of each of our resources."""
    found = {}
    for kind in KINDS:
        for item in listed(release, kind):
            key = f"{kind.name} {item['metadata'].get('namespace', '')}/{item['metadata']['name']}"
            found[key] = (item["metadata"]["uid"], item["metadata"]["generation"])
    return found


def passes_of_all(release: Release, url: str) -> None:
    """Wait until the operator has looked at every resource at least once since it leads."""
    eventually(lambda: metric(url, "reconcile_total") >= len(resources(release)), seconds=PATIENCE)
    eventually(lambda: metric(url, "workqueue_depth") == 0 == metric(url, "workqueue_unfinished_work_seconds"), seconds=PATIENCE)


@dataclass(frozen=True, kw_only=True)
class Before:
    """A release that was made before this one (tests/golden/release): its chart, and its program's source root."""

    chart: Path
    program: Path


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Before:
    place = tmp_path_factory.mktemp("before")
    with tarfile.open(GOLDEN / "release" / "before.tar.xz") as archive:
        archive.extractall(place, filter="data")
    return Before(chart=place / "charts" / "shuren", program=place / "operator")


def roll(release: Release, version: str) -> None:
    """A roll-out that takes its time, up to where its deployment runs and the operator has said so."""
    labels = {"SIM_START": "3"}
    release.sandbox.apply(app("rolling", instances=2, env={"VERSION": version}, labels=labels, upgradeStrategy=ONE_BY_ONE))

    def runs() -> bool:
        found = release.engine.app("/shop/rolling") or {}
        return bool(found.get("env", {}).get("VERSION") == version and found["deployments"])

    eventually(runs, seconds=PATIENCE)


def rolled(release: Release, version: str, *, versions: int) -> None:
    """That roll-out came to its end, by one write and no more: no task was started twice."""
    ready(release, "rolling")
    release.sandbox.kubectl(
        "-n", "shop", "wait", "paasapp/rolling", "--for=jsonpath={.status.counts.updated}=2", f"--timeout={PATIENCE:.0f}s"
    )
    found = release.engine.ask("GET", "/v2/apps//shop/rolling?embed=app.tasks")["app"]
    assert (found["env"]["VERSION"], len(found["tasks"]), found["deployments"]) == (version, 2, [])
    assert len(release.engine.versions("/shop/rolling")) == versions


def later(release: Release) -> int:
    """What the API server says of a field that the release before does not know."""
    zookeeper = {"hosts": ["127.0.0.1:2181"], "root": "/shuren/later", "authScheme": "Sasl"}
    spec = {"marathon": {"urls": ["http://127.0.0.1:8080"]}, "zookeeper": zookeeper}
    body = {"apiVersion": "paas.shurenyun.com/v1alpha1", "kind": "MesosCluster", "metadata": {"name": "later"}, "spec": spec}
    return release.rest.create(body).status


def test_install_upgrade_rollback_and_uninstall_change_nothing_in_marathon(release: Release, before: Before) -> None:
    release.install({}, before.chart)
    with release.operator(before.program):
        populate(release)
        assert later(release) == 400
        roll(release, "1")
        rolled(release, "1", versions=1)
        was, had = release.in_marathon(), resources(release)
        assert len(had) == len(APPS) + 4
        roll(release, "2")

    # its operator is gone in the middle of a roll-out; the next release takes it over
    release.install({"operator": {"replicas": 3, "log": {"level": "DEBUG"}}})
    assert generations(resources(release)) == generations(had) | {"PaasApp shop/rolling": 2}
    # what the new definition brings is there, and what was stored is still good
    assert later(release) == 201
    with release.operator() as url:
        passes_of_all(release, url)
        rolled(release, "2", versions=2)
        assert others(release.in_marathon()) == others(was)
        roll(release, "3")

    release.helm("rollback", "shuren")
    assert later(release) == 400
    with release.operator(before.program) as url:
        passes_of_all(release, url)
        rolled(release, "3", versions=3)
    was, had = release.in_marathon(), resources(release)
    release.helm("uninstall", "shuren")
    assert resources(release) == had
    assert release.in_marathon() == was
    left = release.sandbox.kubectl(
        "get", "all,roles,rolebindings,serviceaccounts,pdb", "-n", NAMESPACE, "-l", "app.kubernetes.io/name=shuren", "-o", "name"
    )
    assert left == ""
    assert "shuren" not in release.sandbox.kubectl("get", "clusterroles,clusterrolebindings,validatingadmissionpolicies", "-o", "name")

    # the definitions were kept, and belong to the release again when it comes back
    release.install({})
    with release.operator() as url:
        passes_of_all(release, url)
        ready(release, *APPS)
        assert release.in_marathon() == was
        assert resources(release) == had
        # the next test finds what this one found
        release.sandbox.kubectl("-n", "shop", "delete", "paasapp/rolling", f"--timeout={PATIENCE:.0f}s")


def generations(found: dict[str, tuple[str, int]]) -> dict[str, int]:
    """Without uids."""
    return {name: generation for name, (_, generation) in found.items()}


def others(found: dict[str, Any]) -> dict[str, Any]:
    """Apps of a look into Marathon, but the one that was rolled."""
    return {app_id: seen for app_id, seen in found["apps"].items() if app_id != "/shop/rolling"}


def test_definitions_by_their_own_chart(release: Release) -> None:
    release.install({})
    release.connect()
    had = resources(release)
    release.helm("uninstall", "shuren")
    release.helm("install", "shuren-crds", str(CHARTS / "shuren-crds"), "--take-ownership")
    release.install({"crds": {"enabled": False}})
    release.helm("uninstall", "shuren-crds")
    assert resources(release) == had
    release.helm("uninstall", "shuren")
    release.helm("install", "shuren", str(CHARTS / "shuren"), "--take-ownership")
    assert resources(release) == had


def test_the_operator_gone_first_loses_nothing_and_what_waited_goes_on_when_it_is_back(release: Release) -> None:
    kube = release.sandbox.kubectl
    release.install({})
    kube("create", "namespace", "doomed")
    with release.operator():
        release.connect()
        release.sandbox.apply(app("doomed", namespace="doomed"))
        ready(release, "doomed", namespace="doomed")
    release.helm("uninstall", "shuren")
    before = release.in_marathon()
    # namespace and definition deleted with nobody there to finish it: both wait, and nothing goes
    kube("delete", "namespace", "doomed", "--wait=false")
    kube("delete", "crd", "paasapps.paas.shurenyun.com", "--wait=false")

    def waits() -> bool:
        found = release.rest.call("GET", "/api/v1/namespaces/doomed").body["status"].get("conditions", ())
        return any(one["type"] == "NamespaceFinalizersRemaining" and one["status"] == "True" for one in found)

    eventually(waits, seconds=PATIENCE)
    assert release.in_marathon() == before

    release.install({"crds": {"enabled": False}})
    with release.operator():
        eventually(lambda: release.rest.call("GET", "/api/v1/namespaces/doomed").status == 404, seconds=PATIENCE)
        crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/paasapps.paas.shurenyun.com"
        eventually(lambda: release.rest.call("GET", crd).status == 404, seconds=PATIENCE)
    assert release.engine.ask("GET", "/v2/apps")["apps"] == []
    # and it comes back as if nothing had been
    release.install({})
    with release.operator():
        populate(release)


def test_a_restricted_namespace_takes_the_pods(release: Release) -> None:
    release.install({"operator": {"replicas": 2}})

    def pods() -> list[dict[str, Any]]:
        path = f"/api/v1/namespaces/{NAMESPACE}/pods"
        found: list[dict[str, Any]] = release.rest.call("GET", path, labelSelector="app.kubernetes.io/component=operator").body["items"]
        return found

    # nobody runs them here; the API server's admission has judged them
    eventually(lambda: len(pods()) >= 2, seconds=PATIENCE)
    assert {pod["spec"]["serviceAccountName"] for pod in pods()} == {"shuren-operator"}


def test_in_chosen_namespaces_the_rights_suffice_and_others_are_left_alone(release: Release) -> None:
    release.install({"watch": {"namespaces": ["shop"]}})
    asked = release.sandbox.audited()
    with release.operator():
        populate(release)
        release.sandbox.apply(app("not-ours", namespace="elsewhere"))
        release.sandbox.apply(app("scoped", instances=1))
        ready(release, "scoped")
        release.sandbox.kubectl("-n", "shop", "delete", "paasapp/scoped", f"--timeout={PATIENCE:.0f}s")
        assert "status" not in release.sandbox.get("-n", "elsewhere", "paasapp", "not-ours")
        events = release.rest.call("GET", "/apis/events.k8s.io/v1/namespaces/default/events").body["items"]
        assert events == [] or {event["regarding"]["kind"] for event in events} <= {"MesosCluster"}
    assert release.refused(asked) == []
    release.sandbox.kubectl("-n", "elsewhere", "delete", "paasapp/not-ours")
    assert release.engine.app("/elsewhere/not-ours") is None


def revisions(release: Release, name: str) -> list[str]:
    """Names of the revisions of an app."""
    items = release.rest.call("GET", "/apis/apps/v1/namespaces/shop/controllerrevisions").body["items"]
    owned = [(item["metadata"]["name"], owner["name"]) for item in items for owner in item["metadata"].get("ownerReferences", ())]
    return [revision for revision, owner in owned if owner == name]


def running_with(release: Release, name: str, value: str) -> None:
    """Wait until an app runs with this value of N, and its resource says so."""

    def done() -> bool:
        found = release.rest.call("GET", f"{GROUP}/namespaces/shop/paasapps/{name}").body
        conditions = {one["type"]: one for one in found.get("status", {}).get("conditions", ())}
        told = conditions.get("Ready", {})
        current = told.get("status") == "True" and told.get("observedGeneration") == found["metadata"]["generation"]
        return bool(current) and (release.engine.app(f"/shop/{name}") or {}).get("env", {}).get("N") == value

    eventually(done, seconds=PATIENCE)


def database(address: str, port: int = 5432) -> dict[str, Any]:
    """A service of something outside, as a Service for pods."""
    backends = [{"name": "outside", "addresses": [{"host": address, "port": 5432}]}]
    spec = {"clusterRef": {"name": CLUSTER}, "backends": backends, "discovery": {"kubernetes": {"service": "db", "port": port}}}
    kind = {"apiVersion": "paas.shurenyun.com/v1alpha1", "kind": "PaasService"}
    return {**kind, "metadata": {"name": "db", "namespace": "shop"}, "spec": spec}


def ports(release: Release) -> list[int]:
    """Ports of the Service that it made."""
    service = release.rest.call("GET", "/api/v1/namespaces/shop/services/db").body
    return [port["port"] for port in service.get("spec", {}).get("ports", ())]


def addresses(release: Release) -> set[str]:
    """Addresses in the slices of that Service."""
    path = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices"
    items = release.rest.call("GET", path, labelSelector="kubernetes.io/service-name=db").body["items"]
    return {address for item in items for endpoint in item.get("endpoints") or () for address in endpoint["addresses"]}


class Forgetful:
    """A sink that forgets: each list finds everything missing, so that everything is asked for by name."""

    def upsert(self, key: ObjectKey, item: Object, *, initial: bool) -> None:
        del key, item, initial

    def delete(self, key: ObjectKey) -> None:
        del key


async def catch_up(kubeconfig: Path) -> None:
    """What the operator does when its watches have missed something."""
    kubernetes = KubernetesClient(from_environment({"KUBECONFIG": str(kubeconfig)}))
    kinds = (MESOS_CLUSTERS, PAAS_APPS, PAAS_SERVICES, SHARD_MAPS)
    resync = Resync(
        kubernetes=kubernetes, resources=kinds, namespaces=(), store=Store(), sink=Forgetful(), clock=SystemClock(), chance=lambda: 0.5
    )
    try:
        for kind in kinds:
            assert await resync.compare(kind) > 0, kind.plural
    finally:
        await kubernetes.close()


def test_every_right_is_used_and_every_use_is_allowed(release: Release, helm: Helm) -> None:
    release.install(SECRETS)
    shop = release.sandbox
    with release.operator() as url:
        populate(release)
        # values from a Secret and a ConfigMap
        shop.kubectl("-n", "shop", "create", "secret", "generic", "db", "--from-literal=password=x")
        shop.kubectl("-n", "shop", "create", "configmap", "flags", "--from-literal=a=b")
        refs = [
            {"name": "PASSWORD", "secretKeyRef": {"name": "db", "key": "password"}},
            {"name": "FLAG", "configMapKeyRef": {"name": "flags", "key": "a"}},
        ]
        shop.apply(app("rights", envRefs=refs))
        ready(release, "rights")
        # more revisions than are kept
        for number in range(KEPT + 2):
            shop.apply(app("rights", envRefs=refs, env={"N": str(number)}))
            running_with(release, "rights", str(number))
        # its id taken over from a holder that went without saying so
        shop.kubectl("-n", "shop", "patch", "paasapp/rights", "--type=merge", "-p", json.dumps({"spec": {"management": {"suspend": True}}}))
        shop.kubectl("-n", "shop", "delete", "paasapp/rights", "--wait=false")
        shop.kubectl("-n", "shop", "patch", "paasapp/rights", "--type=merge", "-p", json.dumps({"metadata": {"finalizers": None}}))
        shop.apply(app("rights", envRefs=refs, env={"N": "x"}))
        ready(release, "rights")
        # a revision that somebody made unrecognisable, and that is wanted again
        name = shop.kubectl("-n", "shop", "get", "paasapp/rights", "-o", "jsonpath={.status.revision.current}").strip()
        revision = next(one for one in revisions(release, "rights") if one.endswith(name))
        shop.apply(app("rights", envRefs=refs, env={"N": "other"}))
        running_with(release, "rights", "other")
        shop.kubectl("-n", "shop", "label", f"controllerrevision/{revision}", "paas.shurenyun.com/app-uid-")
        shop.apply(app("rights", envRefs=refs, env={"N": "x"}))
        ready(release, "rights")
        # a Service that changes; it and its slices go with what asked for them
        shop.apply(database("10.20.0.11"))
        eventually(lambda: addresses(release) == {"10.20.0.11"}, seconds=PATIENCE)
        shop.apply(database("10.20.0.12", port=5433))
        eventually(lambda: addresses(release) == {"10.20.0.12"}, seconds=PATIENCE)
        eventually(lambda: ports(release) == [5433], seconds=PATIENCE)
        shop.kubectl("-n", "shop", "patch", "paasservice/db", "--type=merge", "-p", json.dumps({"spec": {"discovery": None}}))
        eventually(lambda: ports(release) == [], seconds=PATIENCE)
        shop.kubectl("-n", "shop", "delete", "paasapp/rights", "paasservice/db", f"--timeout={PATIENCE:.0f}s")
        asyncio.run(catch_up(release.scratch / "operator.kubeconfig"))
        passes_of_all(release, url)
    granted = {(group, resource, verb) for _, group, resource, _, verb in grants(helm.render(SECRETS).rules("shuren-operator"))}
    assert release.refused() == []
    used = release.used()
    assert sorted(used - granted) == []
    unused = sorted(granted - used)
    assert not unused, "\n".join(map(str, unused))

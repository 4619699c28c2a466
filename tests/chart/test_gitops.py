"""What GitOps tools make of our statuses, by their own programs: kstatus (Flux, `kubectl wait`) and Argo CD's health engine with our Lua.

Every version of a resource that the API server has had is recorded through a watch while a real roll-out goes on, and then judged.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import groupby
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from go_programs import ask
from kube_rest import GROUP, Rest
from real_parts import fresh_namespace
from shard_members import registered
from shuren.api import argogen
from shuren.api.crdgen import ROOT
from shuren.api.kinds import KINDS
from shuren.devenv.background import Sandbox
from shuren.devenv.parts import CLUSTER, ZOOKEEPER_ROOT
from tenant import PATIENCE, Tenant, broken, sleeper, web
from waiting import eventually

pytestmark = pytest.mark.integration

ARGO = ROOT / "manifests" / "argocd"
Body = dict[str, Any]


@pytest.fixture
def tenant(operated: Sandbox) -> Iterator[Tenant]:
    rest = Rest(operated.endpoints.kubeconfig)
    with fresh_namespace(operated) as namespace:
        yield Tenant(sandbox=operated, namespace=namespace, rest=rest)
    rest.close()


NOTHING: dict[str, Body] = {
    "paasapps": {"kind": "PaasApp", "spec": sleeper(instances=0)},
    "paasservices": {
        "kind": "PaasService",
        "spec": {"suspend": True, "backends": [{"name": "a", "addresses": [{"host": "::1", "port": 1}]}]},
    },
    "shardmaps": {
        "kind": "ShardMap",
        "spec": {"suspend": True, "partitionings": [{"name": "a", "shards": 2}], "members": {"static": [{"id": "a"}]}},
    },
    "mesosclusters": {
        "kind": "MesosCluster",
        "spec": {"marathon": {"urls": ["http://127.0.0.1:9"]}, "zookeeper": {"hosts": ["127.0.0.1:9"], "root": "/the/end"}},
    },
}
"""By plural: a resource that marks the end of a recording."""


@contextmanager
def recording(tenant: Tenant, plural: str = "paasapps") -> Iterator[list[Body]]:
    """Every version of the namespace's resources of a kind while the block runs, in order; none is left out."""
    seen: list[Body] = []
    path = f"{GROUP}/{plural}" if plural == "mesosclusters" else f"{GROUP}/namespaces/{tenant.namespace}/{plural}"
    begin = tenant.rest.call("GET", path).body["metadata"]["resourceVersion"]
    rest = Rest(tenant.sandbox.endpoints.kubeconfig)
    ended = threading.Event()

    def follow() -> None:
        with suppress(httpx.HTTPError):  # a test that fails closes the connection
            for event in rest.watch(path, since=begin):
                seen.append(event["object"])
                if event["object"]["metadata"]["name"] == "the-end":
                    ended.set()
                    return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield seen
        # what was written before this one has come before it
        end = NOTHING[plural]
        spec = end["spec"] if plural == "mesosclusters" else {"clusterRef": {"name": CLUSTER}, **end["spec"]}
        metadata = {"name": "the-end", **({} if plural == "mesosclusters" else {"namespace": tenant.namespace})}
        tenant.sandbox.apply({"apiVersion": "paas.shurenyun.com/v1alpha1", "kind": end["kind"], "metadata": metadata, "spec": spec})
        assert ended.wait(PATIENCE), "the watch has not brought everything"
        seen[:] = [one for one in seen if one["metadata"]["name"] != "the-end"]
    finally:
        rest.close()
        thread.join(timeout=5)
        tenant.kubectl("delete", f"{plural}/the-end", "--ignore-not-found", "--wait=false")


def verdicts(versions: list[Body]) -> tuple[list[str], list[str]]:
    """What kstatus and Argo CD say one after the other, repetitions left out. Versions without a status are nobody's statement yet."""
    told = [one for one in versions if "status" in one]
    kstatus = [answer["status"] for answer in ask("kstatus", told)]
    argo = [answer["status"] for answer in ask("argo", told, "health", str(ARGO / "health.lua"))]
    return [key for key, _ in groupby(kstatus)], [key for key, _ in groupby(argo)]


def flux(versions: list[Body]) -> list[str]:
    """The same by the expressions of our example for Flux, in an engine of their language."""
    told = [one for one in versions if "status" in one]
    documents = yaml.safe_load_all((ROOT / "manifests" / "flux" / "apps.yaml").read_text())
    entries = [entry for body in documents for entry in body.get("spec", {}).get("healthCheckExprs", ())]
    entry = next(entry for entry in entries if entry["kind"] == told[0]["kind"])
    words = json.dumps({name: entry[name] for name in ("current", "failed", "inProgress")})
    return [key for key, _ in groupby(answer["status"] for answer in ask("cel", told, words))]


def test_create_update_and_delete_never_look_failed(tenant: Tenant) -> None:
    with recording(tenant) as versions:
        tenant.run("web", web("1"))
        created = len(versions)
        tenant.run("web", web("2"))
        updated = len(versions)
        tenant.kubectl("delete", "paasapp/web", f"--timeout={PATIENCE:.0f}s")
    assert verdicts(versions[:created]) == (["InProgress", "Current"], ["Progressing", "Healthy"])
    assert flux(versions[:created]) == ["InProgress", "Current"]
    assert set(flux(versions[:updated])) == {"InProgress", "Current"}
    # between the two a version of before may lie, which still says what it said
    kstatus, argo = verdicts(versions[created - 1 : updated])
    assert kstatus[-2:] == ["InProgress", "Current"]
    assert set(kstatus) == {"InProgress", "Current"}
    assert argo[-2:] == ["Progressing", "Healthy"]
    assert set(argo) == {"Progressing", "Healthy"}
    deleting = [one for one in versions[updated:] if "deletionTimestamp" in one["metadata"]]
    assert deleting
    assert verdicts(deleting) == (["Terminating"], ["Progressing"])


def test_a_failed_roll_out_is_degraded_once_and_until_it_is_corrected(tenant: Tenant) -> None:
    tenant.run("web", web("1"))
    with recording(tenant) as versions:
        tenant.apply("web", broken("2", rollout={"deadlineSeconds": 5, "onFailure": "Rollback"}))
        tenant.wait("web", "Stalled")
        tenant.until(lambda: len(tenant.answers("web")) == 2 and set(tenant.answers("web")) == {"1"}, about="web")
        tenant.run("web", web("3"))
    kstatus, argo = verdicts(versions)
    assert kstatus.count("Failed") == 1, kstatus
    assert argo.count("Degraded") == 1, argo
    assert flux(versions).count("Failed") == 1
    assert flux(versions)[-1] == "Current"
    assert (kstatus[-1], argo[-1]) == ("Current", "Healthy")
    assert set(argo) <= {"Progressing", "Degraded", "Healthy"}


def test_a_gated_roll_out_never_looks_failed_but_when_it_is_broken_off(tenant: Tenant) -> None:
    def gated(version: str) -> Body:
        return web(version, rollout={"strategy": "Gated", "steps": [{"weight": 0, "scale": 100, "pause": True}]})

    def phase() -> str:
        return str(tenant.status("web").get("rollout", {}).get("phase", ""))

    def commanded(word: str, *, by: str) -> None:
        tenant.kubectl("annotate", "paasapp/web", f"paas.shurenyun.com/rollout-{word}={by}")

    tenant.run("web", gated("1"))
    with recording(tenant) as versions:
        tenant.apply("web", gated("2"))
        tenant.until(lambda: phase() == "Paused", about="web")
        commanded("promote", by="a")
        tenant.until(lambda: phase() == "Completed" and tenant._written_down("web"), about="web")
        tenant.wait("web")
        promoted = len(versions)
        tenant.apply("web", gated("3"))
        tenant.until(lambda: phase() == "Paused", about="web")
        paused = len(versions)
        commanded("abort", by="b")
        tenant.wait("web", "Stalled")
        tenant.until(lambda: phase() == "Aborted", about="web")
    kstatus, argo = verdicts(versions[:promoted])
    assert (kstatus[-2:], argo[-2:]) == (["InProgress", "Current"], ["Progressing", "Healthy"])
    assert set(kstatus) <= {"InProgress", "Current"}
    assert set(argo) <= {"Progressing", "Healthy"}
    assert set(flux(versions[:promoted])) == {"InProgress", "Current"}
    assert "Degraded" not in verdicts(versions[:paused])[1]
    kstatus, argo = verdicts(versions[paused:])
    assert (kstatus[-1], argo[-1]) == ("Failed", "Degraded")
    assert (kstatus.count("Failed"), argo.count("Degraded")) == (1, 1), (kstatus, argo)


def test_suspended_is_suspended_and_goes_on_where_it_was(tenant: Tenant) -> None:
    tenant.run("calm", sleeper())
    with recording(tenant) as versions:
        tenant.apply("calm", sleeper(env={"A": "b"}, management={"suspend": True}))
        tenant.until(lambda: tenant.condition("calm", "Suspended").get("status") == "True", about="calm")
        before = len(versions)
        tenant.run("calm", sleeper(env={"A": "b"}))
    _, argo = verdicts(versions[:before])
    assert argo[-1] == "Suspended"
    assert flux(versions[:before])[-1] == "Current"
    assert "Degraded" not in argo
    assert verdicts(versions)[1][-1] == "Healthy"


def life(tenant: Tenant, kind: str, name: str, steps: list[tuple[Body, str, str]]) -> tuple[list[str], list[str], list[Body]]:
    """Specs one after the other, each until a condition has this status, then the end; what was said meanwhile."""
    scope = () if kind == "mesoscluster" else ("-n", tenant.namespace)
    metadata = {"name": name, **({"namespace": tenant.namespace} if scope else {})}
    names = {"mesoscluster": "MesosCluster", "paasservice": "PaasService", "shardmap": "ShardMap"}
    with recording(tenant, f"{kind}s") as versions:
        for spec, condition, status in steps:
            tenant.sandbox.apply({"apiVersion": "paas.shurenyun.com/v1alpha1", "kind": names[kind], "metadata": metadata, "spec": spec})

            def said(condition: str = condition, status: str = status) -> bool:
                found = tenant.sandbox.get(*scope, kind, name)
                told = found.get("status") or {}
                now = [one["status"] for one in told.get("conditions", ()) if one["type"] == condition]
                return told.get("observedGeneration") == found["metadata"]["generation"] and now == [status]

            eventually(said, seconds=PATIENCE)
        tenant.sandbox.kubectl(*scope, "delete", kind, name, f"--timeout={PATIENCE:.0f}s")
    versions = [one for one in versions if one["metadata"]["name"] == name]
    living = [one for one in versions if "deletionTimestamp" not in one["metadata"]]
    deleting = [one for one in versions if "deletionTimestamp" in one["metadata"]]
    assert verdicts(deleting)[1] == ([] if kind == "mesoscluster" else ["Progressing"])  # a cluster goes at once
    return *verdicts(living), living


def test_a_service_that_is_changed_broken_mended_suspended_and_deleted(tenant: Tenant) -> None:
    def spec(*hosts: str, **more: Any) -> Body:
        return {"clusterRef": {"name": CLUSTER}, "backends": [{"name": "a", "addresses": [{"host": h, "port": 80} for h in hosts]}], **more}

    steps = [
        (spec("10.0.0.1"), "Ready", "True"),
        (spec("10.0.0.1", "10.0.0.2"), "Ready", "True"),
        (spec("10.0.0.1", discovery={"curator": {"path": "/nowhere/allowed"}}), "Stalled", "True"),
        (spec("10.0.0.2"), "Ready", "True"),
        (spec("10.0.0.3", suspend=True), "Suspended", "True"),
    ]
    kstatus, argo, versions = life(tenant, "paasservice", "outside", steps)
    assert (kstatus.count("Failed"), argo.count("Degraded")) == (1, 1), (kstatus, argo)
    assert argo[-1] == "Suspended"
    assert (flux(versions).count("Failed"), flux(versions)[-1]) == (1, "Current")


def test_a_shard_map_that_is_changed_broken_mended_suspended_and_deleted(tenant: Tenant) -> None:
    members = [{"id": f"cache-{n}"} for n in range(3)]

    def spec(count: int, **more: Any) -> Body:
        given = {"clusterRef": {"name": CLUSTER}, "partitionings": [{"name": "p1", "shards": 16}], "turndownPolicy": "Immediate"}
        return {**given, "members": {"static": members[:count]}, **more}

    path = f"{ZOOKEEPER_ROOT}/shards/{tenant.namespace}.cache"
    steps = [
        (spec(2), "Ready", "True"),
        (spec(3, moves={"paused": True}), "Ready", "True"),
        ({**spec(2), "members": {"appRef": {"name": "twice"}}}, "Stalled", "True"),
        (spec(2), "Ready", "True"),
        (spec(2, suspend=True), "Suspended", "True"),
    ]
    tenant.run("twice", sleeper())  # which may run twice on an agent
    with registered(tenant.sandbox.endpoints.zookeeper_hosts, path, *(member["id"] for member in members)):
        kstatus, argo, versions = life(tenant, "shardmap", "cache", steps)
    assert (kstatus.count("Failed"), argo.count("Degraded")) == (1, 1), (kstatus, argo)
    assert argo[-1] == "Suspended"
    assert (flux(versions).count("Failed"), flux(versions)[-1]) == (1, "Current")


def test_a_cluster_that_is_changed_broken_mended_and_deleted(tenant: Tenant) -> None:
    given = tenant.sandbox.get("mesoscluster", CLUSTER)["spec"]
    name = f"judged-{tenant.namespace}"

    def spec(**more: Any) -> Body:
        return {**given, "zookeeper": {**given["zookeeper"], "root": f"/shuren/{name}"}, **more}

    secret = {"namespace": tenant.namespace, "name": "nobody-made-it"}
    steps = [
        (spec(), "Ready", "True"),
        (spec(unreachableGraceSeconds=30), "Ready", "True"),
        (spec(marathon={**given["marathon"], "authSecretRef": secret}), "Ready", "False"),
        (spec(), "Ready", "True"),
    ]
    kstatus, argo, versions = life(tenant, "mesoscluster", name, steps)
    assert (kstatus[-1], argo[-1]) == ("Current", "Healthy")
    # a Secret that is not there yet may come: nobody's failure
    assert not {"Failed", "Degraded"} & {*kstatus, *argo}
    # an outage is nobody's mistake either
    away = json.loads(json.dumps(versions[-1]))
    for condition in away["status"]["conditions"]:
        if condition["type"] == "Ready":
            condition |= {"status": "Unknown", "reason": "Unreachable", "message": "marathon does not answer"}
    assert verdicts([away])[1] == ["Progressing"]


def test_a_status_of_another_generation_says_nothing() -> None:
    body: Body = {
        "apiVersion": "paas.shurenyun.com/v1alpha1",
        "kind": "PaasApp",
        "metadata": {"name": "a", "generation": 2},
        "status": {"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True"}, {"type": "Stalled", "status": "True"}]},
    }
    assert verdicts([body]) == (["InProgress"], ["Progressing"])
    body["status"]["observedGeneration"] = 2
    assert verdicts([body]) == (["Failed"], ["Degraded"])
    # as docs/gitops.md says of what no operator has seen
    del body["status"]
    assert ask("kstatus", [body])[0]["status"] == "Current"
    assert ask("argo", [body], "health", str(ARGO / "health.lua"))[0]["status"] == "Progressing"


# ---------------------------------------------------------------------------------------------------- actions


def acted(body: Body, action: str) -> Body:
    found: Body = ask("argo", [body], "action", str(ARGO / "actions" / f"{action}.lua"))[0]
    return found


def enabled(body: Body) -> set[str]:
    """Actions that the discovery script offers; what Argo CD is given leaves out those that a kind does not have."""
    kind = next(kind for kind in KINDS if kind.name == body["kind"])
    offered = ask("argo", [body], "discover", str(ARGO / "actions" / "discovery.lua"))[0]
    return {name for name, disabled in offered.items() if not disabled and name in argogen.actions(kind)}


def test_actions_do_what_they_say(tenant: Tenant) -> None:
    tenant.run("web", sleeper(labels={"a": "b"}))
    app = tenant.app("web")
    assert enabled(app) == {"suspend", "restart"}
    suspended = acted(app, "suspend")
    assert suspended["spec"] == {**app["spec"], "management": {**app["spec"].get("management", {}), "suspend": True}}
    assert enabled(suspended) == {"resume"}
    assert acted(suspended, "resume")["spec"]["management"]["suspend"] is False
    before = set(tenant.tasks("web"))
    restarted = acted(app, "restart")
    assert restarted["spec"] == app["spec"]
    annotation = {"metadata": {"annotations": restarted["metadata"]["annotations"]}}
    tenant.kubectl("patch", "paasapp/web", "--type=merge", "-p", json.dumps(annotation))
    tenant.until(lambda: len(tenant.tasks("web")) == 1 and not before & set(tenant.tasks("web")), about="web")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if argogen.actions(kind)], ids=lambda kind: kind.name)
def test_what_an_action_leaves_is_valid(operated: Sandbox, kind: Any) -> None:
    """Each action of each kind, on the samples, judged by the real API server."""

    rest = Rest(operated.endpoints.kubeconfig)
    samples = [
        document
        for path in sorted((ROOT / "manifests" / "samples").glob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text())
        if document["kind"] == kind.name
    ]
    assert samples
    for action in argogen.actions(kind):
        for body in (acted(sample, action) for sample in samples):
            body["metadata"] |= {"namespace": "default", "name": "acted"}
            assert rest.create(body).status == 201, action
    rest.close()


# ---------------------------------------------------------------------------------------------------- Git is the only writer of spec


@pytest.mark.parametrize("options", [(), ("--server-side",)], ids=["client side", "server side"])
def test_nothing_differs_after_apply(tenant: Tenant, tmp_path: Path, options: tuple[str, ...]) -> None:
    file = tmp_path / "web.json"
    file.write_text(json.dumps(tenant.manifest("web", web("1", labels={"a": "b"}, constraints=[["hostname", "UNIQUE"]]))))
    tenant.kubectl("apply", *options, "-f", str(file))
    tenant.wait("web")
    tenant.until(lambda: tenant._written_down("web"))  # a status that is written meanwhile would be a difference
    # kubectl diff ends with 1, an error here, when anything would change
    assert tenant.kubectl("diff", *options, "-f", str(file)) == ""
    owners = {entry["manager"] for entry in tenant.app("web")["metadata"]["managedFields"] if "f:spec" in entry["fieldsV1"]}
    assert all(manager.startswith("kubectl") for manager in owners), owners

"""A PaasApp from `kubectl apply` to running tasks and back, with nothing but what a user has."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from shuren.devenv.errors import DevenvError
from tenant import Tenant, answer_of, sleeper, web
from waiting import eventually

FINALIZER = "paas.shurenyun.com/marathon-app"


def test_applied_it_runs_and_its_tasks_answer(tenant: Tenant) -> None:
    tenant.apply("web", web("1"))
    tenant.wait("web")

    assert tenant.answers("web") == ["1", "1"]
    status = tenant.status("web")
    assert status["ready"] == "2/2"
    assert status["counts"] == {"desired": 2, "staged": 0, "running": 2, "healthy": 2, "unhealthy": 0, "updated": 2}
    assert (status["cluster"], status["marathon"]["id"]) == ("sandbox", tenant.app_id("web"))
    assert {c["type"]: c["status"] for c in status["conditions"]} == {"Ready": "True", "InSync": "True"}
    assert tenant.kubectl("get", "papp", "web", "--no-headers").split()[:6] == ["web", "True", "2/2", "2", "sandbox", tenant.app_id("web")]
    assert tenant.app("web")["metadata"]["finalizers"] == [FINALIZER]
    assert tenant.claims()[tenant.app_id("web")]["uid"] == tenant.app("web")["metadata"]["uid"]


def test_edited_it_is_rolled_with_all_instances_serving_all_the_time(tenant: Tenant) -> None:
    tenant.run("web", web("1"))
    first = set(tenant.tasks("web"))

    with tenant.watching("web") as healthy:
        _edit(tenant, "web", 's/VERSION: "1"/VERSION: "2"/')
        # an old Ready speaks of an old generation, and `kubectl wait` does not take it for the new one
        tenant.wait("web")

    assert tenant.answers("web") == ["2", "2"]
    assert not first & set(tenant.tasks("web"))
    assert min(healthy) == 2
    assert sorted(r["revision"] for r in tenant.revisions("web")) == [1, 2]


def _edit(tenant: Tenant, name: str, script: str) -> None:
    """`kubectl edit` with sed for an editor."""
    endpoints = tenant.sandbox.endpoints
    argv = [f"{endpoints.path_prefix}/kubectl", f"--kubeconfig={endpoints.kubeconfig}", "-n", tenant.namespace, "edit", f"paasapp/{name}"]
    environment = {**os.environ, "KUBE_EDITOR": f"sed -i '{script}'"}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True)
    assert "edited" in done.stdout


def test_scaled_it_restarts_nothing(tenant: Tenant) -> None:
    tenant.run("web", sleeper(instances=2))
    first = set(tenant.tasks("web"))

    tenant.kubectl("scale", "paasapp/web", "--replicas=4")
    tenant.wait("web")
    four = set(tenant.tasks("web"))
    assert first < four
    assert len(four) == 4

    tenant.kubectl("scale", "paasapp/web", "--replicas=1")
    tenant.wait("web")
    assert set(tenant.tasks("web")) < four
    assert len(tenant.tasks("web")) == 1

    tenant.kubectl("scale", "paasapp/web", "--replicas=0")
    tenant.wait("web")
    assert tenant.tasks("web") == {}
    assert tenant.reason("web") == "Stopped"
    scale = tenant.kubectl("get", "--raw", f"/apis/paas.shurenyun.com/v1alpha1/namespaces/{tenant.namespace}/paasapps/web/scale")
    assert json.loads(scale)["status"]["replicas"] == 0
    assert len(tenant.revisions("web")) == 1


def test_deleted_it_takes_app_tasks_claim_and_revisions_along(tenant: Tenant) -> None:
    tenant.run("web", web("1", instances=1))
    tenant.run("stays", sleeper())
    (task,) = tenant.tasks("web").values()
    uid = tenant.app("web")["metadata"]["uid"]

    tenant.kubectl("delete", "paasapp", "web", "--timeout=90s")

    assert tenant.engine.app(tenant.app_id("web")) is None
    assert answer_of(task) is None
    assert set(tenant.claims()) == {tenant.app_id("stays")}
    assert len(tenant.tasks("stays")) == 1
    path = f"/apis/apps/v1/namespaces/{tenant.namespace}/controllerrevisions"
    eventually(lambda: tenant.rest.call("GET", path, labelSelector=f"paas.shurenyun.com/app-uid={uid}").body["items"] == [])

    tenant.run("web", web("2", instances=1))
    assert tenant.answers("web") == ["2"]


def test_deleted_before_it_was_ever_ready(tenant: Tenant) -> None:
    tenant.apply("web", sleeper(cpus=1000))
    tenant.until(lambda: tenant.status("web").get("waiting", {}).get("reason") == "InsufficientCpus", about="web")

    tenant.kubectl("delete", "paasapp", "web", "--timeout=90s")

    assert tenant.engine.app(tenant.app_id("web")) is None
    assert tenant.claims() == {}


def test_a_finalizer_of_somebody_else_stays_until_he_takes_it_away(tenant: Tenant) -> None:
    tenant.run("web", sleeper())
    theirs = "example.com/billing"
    tenant.kubectl("patch", "paasapp", "web", "--type=json", f'-p=[{{"op": "add", "path": "/metadata/finalizers/-", "value": "{theirs}"}}]')

    tenant.kubectl("delete", "paasapp", "web", "--wait=false")

    tenant.until(lambda: tenant.app("web")["metadata"]["finalizers"] == [theirs], about="web")
    assert tenant.engine.app(tenant.app_id("web")) is None
    tenant.kubectl("patch", "paasapp", "web", "--type=json", '-p=[{"op": "remove", "path": "/metadata/finalizers"}]')
    with pytest.raises(DevenvError, match="NotFound"):
        tenant.kubectl("get", "paasapp", "web")


def test_a_deleted_namespace_takes_its_apps_along(tenant: Tenant) -> None:
    for number in range(3):
        tenant.apply(f"app-{number}", sleeper())
    tenant.kubectl("wait", "paasapps", "--all", "--for=condition=Ready", "--timeout=90s")
    tenant.apply("unready", sleeper(cpus=1000))

    tenant.kubectl("delete", "namespace", tenant.namespace, "--timeout=90s")

    with pytest.raises(DevenvError, match="NotFound"):
        tenant.sandbox.get("namespace", tenant.namespace)
    assert [a["id"] for a in tenant.engine.ask("GET", "/v2/apps")["apps"] if a["id"].startswith(f"/{tenant.namespace}/")] == []
    assert tenant.claims() == {}


def test_suspended_nothing_is_changed_outside_until_it_ends(tenant: Tenant) -> None:
    tenant.run("web", sleeper())
    versions = tenant.versions("web")

    tenant.apply("web", sleeper(cmd="exec sleep 2222", management={"suspend": True}))
    assert "suspended; pending: update" in tenant.until_reason("web", "Suspended")
    tenant.kubectl("scale", "paasapp/web", "--replicas=3")
    tenant.until_reason("web", "Suspended")
    assert tenant.versions("web") == versions

    tenant.apply("web", sleeper(cmd="exec sleep 2222", instances=3))
    tenant.wait("web")
    assert len(tenant.tasks("web")) == 3
    assert (tenant.engine.app(tenant.app_id("web")) or {})["cmd"] == "exec sleep 2222"

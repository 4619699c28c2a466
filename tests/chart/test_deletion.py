"""Deletions as GitOps tools make them: what goes with a folder, what stays, and what lets go of a cluster that is gone for good."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from kube_rest import Rest
from real_parts import fresh_namespace
from shuren.devenv.background import Sandbox
from tenant import PATIENCE, Tenant, sleeper

pytestmark = pytest.mark.integration


@pytest.fixture
def tenant(operated: Sandbox) -> Iterator[Tenant]:
    rest = Rest(operated.endpoints.kubeconfig)
    with fresh_namespace(operated) as namespace:
        yield Tenant(sandbox=operated, namespace=namespace, rest=rest)
    rest.close()


def folder(tenant: Tenant, place: Path, *names: str, **spec: object) -> str:
    """A folder with an app a file, labelled with the folder's name; what was there goes."""
    place.mkdir(exist_ok=True)
    for old in place.iterdir():
        old.unlink()
    for name in names:
        body = tenant.manifest(name, sleeper(**spec))
        body["metadata"]["labels"] = {"folder": place.name}
        (place / f"{name}.json").write_text(json.dumps(body))
    return str(place)


def test_pruning_a_folder_removes_exactly_its_apps(tenant: Tenant, tmp_path: Path) -> None:
    prune = ("--prune", "--prune-allowlist=paas.shurenyun.com/v1alpha1/PaasApp")
    mine, others = tmp_path / "mine", tmp_path / "others"
    tenant.kubectl("apply", "-f", folder(tenant, mine, "a", "b", "kept"))
    tenant.kubectl("apply", "-f", folder(tenant, others, "c"))
    orphan = {"management": {"deletion": "Orphan"}}
    tenant.apply("kept", {**tenant.app("kept")["spec"], **orphan})
    tenant.kubectl("label", "paasapp/kept", "folder=mine")
    tenant.kubectl("wait", "paasapps", "--all", "--for=condition=Ready", f"--timeout={PATIENCE:.0f}s")
    before = {name: (tenant.versions(name), set(tenant.tasks(name))) for name in ("a", "c", "kept")}

    # the file of b is gone, and so is that of the one that says Orphan
    tenant.kubectl("apply", "-f", folder(tenant, mine, "a"), *prune, "-l", "folder=mine")

    tenant.until(lambda: not tenant.app("b") and not tenant.app("kept"))
    assert tenant.engine.app(tenant.app_id("b")) is None
    assert {name: (tenant.versions(name), set(tenant.tasks(name))) for name in ("a", "c", "kept")} == before
    assert set(tenant.claims()) == {tenant.app_id("a"), tenant.app_id("c")}
    tenant.engine.ask("DELETE", f"/v2/apps/{tenant.app_id('kept')}?force=true")


@pytest.mark.parametrize("how", ["does not answer", "was deleted first"])
def test_an_app_of_a_cluster_that_is_gone_goes_when_a_person_lets_go(tenant: Tenant, how: str) -> None:
    with tenant.second_cluster(unreachableGraceSeconds=1) as cluster:
        tenant.run("left", sleeper(clusterRef={"name": cluster}))
        before = tenant.versions("left")
        if how == "does not answer":
            nowhere = {"spec": {"marathon": {"urls": ["http://127.0.0.1:9"]}}}
            tenant.sandbox.kubectl("patch", "mesoscluster", cluster, "--type=merge", "-p", json.dumps(nowhere))
        else:
            tenant.sandbox.kubectl("delete", "mesoscluster", cluster)
            tenant.until(lambda: tenant.reason("left") != "Ready" and bool(tenant.reason("left")), about="left")

        tenant.kubectl("delete", "paasapp/left", "--wait=false")

        def told() -> bool:
            conditions = tenant.status("left").get("conditions", ())
            return any("paas.shurenyun.com/force-orphan=true" in one["message"] for one in conditions)

        tenant.until(told, about="left")
        tenant.kubectl("annotate", "paasapp/left", "paas.shurenyun.com/force-orphan=true")
        tenant.until(lambda: not tenant.app("left"), about="left")
        assert tenant.versions("left") == before
        tenant.engine.ask("DELETE", f"/v2/apps/{tenant.app_id('left')}?force=true")
        if how != "does not answer":
            tenant.sandbox.apply(
                {
                    "apiVersion": "paas.shurenyun.com/v1alpha1",
                    "kind": "MesosCluster",
                    "metadata": {"name": cluster},
                    "spec": recreated(tenant, cluster),
                }
            )


def recreated(tenant: Tenant, cluster: str) -> dict[str, object]:
    """The spec of that second cluster, which the end of the test deletes."""
    spec: dict[str, object] = tenant.sandbox.get("mesoscluster", "sandbox")["spec"]
    return {**spec, "zookeeper": {**tenant.sandbox.get("mesoscluster", "sandbox")["spec"]["zookeeper"], "root": f"/shuren/{cluster}"}}

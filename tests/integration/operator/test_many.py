"""Many resources at once, and clusters that are not as they should be."""

from __future__ import annotations

import json
from typing import Any

from tenant import PATIENCE, Tenant, sleeper, zookeeper

FREE = {"alwaysAllowed": 100, "maxPercentPerMinute": 100}


def cluster_condition(tenant: Tenant, name: str, kind: str) -> dict[str, Any]:
    """A condition of a MesosCluster; empty when it has none of that kind."""
    status = tenant.sandbox.get("mesoscluster", name).get("status", {})
    found: dict[str, Any] = next((c for c in status.get("conditions", ()) if c["type"] == kind), {})
    return found


def test_thirty_apps_in_one_apply_and_what_is_wrong_with_one_is_told_of_that_one(tenant: Tenant) -> None:
    with tenant.second_cluster(deletionGuard=FREE) as name:
        cluster = {"clusterRef": {"name": name}}
        wrong: dict[int, dict[str, Any]] = {7: {"role": "nobody"}, 19: {"constraints": [["hostname", "LIKE", "["]]}}
        items = [tenant.manifest(f"app-{n}", sleeper(**cluster, **wrong.get(n, {}))) for n in range(30)]

        tenant.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))

        good = [f"paasapp/app-{n}" for n in range(30) if n not in wrong]
        tenant.kubectl("wait", *good, "--for=condition=Ready", f"--timeout={PATIENCE:.0f}s")
        assert "/role: got nobody" in tenant.until_reason("app-7", "RefusedByMarathon", "Stalled")
        tenant.until_reason("app-19", "RefusedByMarathon", "Stalled")
        running = [app for app in tenant.engine.ask("GET", "/v2/apps")["apps"] if app["id"].startswith(f"/{tenant.namespace}/")]
        assert len(running) == 28
        assert all(app["tasksRunning"] == 1 for app in running)

        tenant.kubectl("delete", "paasapps", "--all", "--timeout=90s")
        left = [app["id"] for app in tenant.engine.ask("GET", "/v2/apps")["apps"] if app["id"].startswith(f"/{tenant.namespace}/")]
        assert left == []


def test_a_mass_deletion_stops_at_the_guard_and_goes_on_when_a_person_raises_it(tenant: Tenant) -> None:
    with tenant.second_cluster(deletionGuard={"alwaysAllowed": 2, "maxPercentPerMinute": 1}) as name:
        for n in range(5):
            tenant.apply(f"app-{n}", sleeper(clusterRef={"name": name}))
        tenant.kubectl("wait", "paasapps", "--all", "--for=condition=Ready", f"--timeout={PATIENCE:.0f}s")

        tenant.kubectl("delete", "paasapps", "--all", "--wait=false")

        left = [f"app-{n}" for n in range(5)]
        tenant.until(lambda: [n for n in left if tenant.app(n)] != left)
        tenant.until(lambda: len([n for n in left if tenant.reason(n) == "DeletionGuard"]) == 3)
        assert len([n for n in left if tenant.engine.app(tenant.app_id(n))]) == 3
        tenant.until(lambda: cluster_condition(tenant, name, "DeletionsHeld").get("status") == "True")
        assert "raise spec.deletionGuard to go faster" in cluster_condition(tenant, name, "DeletionsHeld")["message"]
        tenant.sandbox.kubectl("patch", "mesoscluster", name, "--type=merge", f'-p={{"spec": {{"deletionGuard": {json.dumps(FREE)}}}}}')
        tenant.until(lambda: not any(tenant.app(n) for n in left))


def test_a_cluster_whose_marathon_does_not_answer_says_so_and_its_apps_point_there_until_it_is_corrected(tenant: Tenant) -> None:
    nowhere = {"marathon": {"urls": ["http://127.0.0.1:9"]}, "unreachableGraceSeconds": 1}
    with tenant.second_cluster(**nowhere) as name:
        tenant.apply("web", sleeper(clusterRef={"name": name}))
        message = tenant.until_reason("web", "ClusterUnreachable")
        assert name in message
        tenant.until(lambda: cluster_condition(tenant, name, "Ready").get("reason") == "MarathonUnreachable")
        tenant.until(lambda: "http://127.0.0.1:9" in cluster_condition(tenant, name, "Ready")["message"])

        urls = json.dumps(tenant.sandbox.endpoints.marathon_urls)
        tenant.sandbox.kubectl("patch", "mesoscluster", name, "--type=merge", f'-p={{"spec": {{"marathon": {{"urls": {urls}}}}}}}')

        tenant.wait("web")
        assert cluster_condition(tenant, name, "Ready")["status"] == "True"


def test_a_root_of_another_installation_is_not_touched(tenant: Tenant) -> None:
    root = f"/shuren/second-{tenant.namespace}"
    with zookeeper(tenant.sandbox) as client:
        client.create(f"{root}/meta", json.dumps({"format": 1, "installation": "somebody else"}).encode(), makepath=True)
        with tenant.second_cluster() as name:
            tenant.apply("web", sleeper(clusterRef={"name": name}))
            tenant.until(lambda: cluster_condition(tenant, name, "Stalled").get("reason") == "ForeignInstallation")
            assert "somebody else" in cluster_condition(tenant, name, "Stalled")["message"]
            message = tenant.until_reason("web", "ClusterNotReady")
            assert "choose another spec.zookeeper.root" in message
            assert client.get_children(root) == ["meta"]
            assert tenant.engine.app(tenant.app_id("web")) is None

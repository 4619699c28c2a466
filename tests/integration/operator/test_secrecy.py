"""What a Secret holds is nowhere but where it is used: marked values are looked for in everything that we write or say."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from kazoo.client import KazooClient

from kube_rest import Rest
from real_parts import fresh_namespace
from replicas import World
from shuren.devenv.background import Sandbox
from shuren.devenv.parts import CLUSTER
from tenant import PATIENCE, Tenant, broken, web

pytestmark = pytest.mark.usefixtures("unmeasured_programs")

READER = ("--clusterrole=shuren-secrets-reader", "--serviceaccount=shuren-system:shuren-operator")
VARIABLE, FILE, MARATHON, ZOOKEEPER = "mark-variable-8d1f", "mark-file-52c7", "mark-marathon-e90b", "mark-zookeeper-77aa"
MARKS = (VARIABLE, FILE, MARATHON, ZOOKEEPER)
KINDS = "paasapps,paasservices,mesosclusters,controllerrevisions,events.events.k8s.io,events,leases,services,endpointslices"


@pytest.fixture
def user(cut_off: World) -> Iterator[Tenant]:
    cut_off.up()
    rest = Rest(cut_off.sandbox.endpoints.kubeconfig)
    with fresh_namespace(cut_off.sandbox) as namespace:
        yield Tenant(sandbox=cut_off.sandbox, namespace=namespace, rest=rest)
    rest.close()


def test_marked_values_are_in_nothing_that_is_written_or_said(cut_off: World, user: Tenant, tmp_path: Path) -> None:
    user.kubectl("create", "rolebinding", "reader", *READER)
    user.kubectl("create", "secret", "generic", "app", f"--from-literal=variable={VARIABLE}", f"--from-literal=file={FILE}")
    system = ("-n", "shuren-system", "create", "secret", "generic")
    user.sandbox.kubectl(*system, "to-marathon", "--from-literal=username=shuren", f"--from-literal=password={MARATHON}")
    user.sandbox.kubectl(*system, "to-zookeeper", "--from-literal=username=shuren", f"--from-literal=password={ZOOKEEPER}")
    given = user.sandbox.get("mesoscluster", CLUSTER)["spec"]
    root = f"/shuren/second-{user.namespace}"
    logins = {
        "marathon": {**given["marathon"], "authSecretRef": {"namespace": "shuren-system", "name": "to-marathon"}},
        "zookeeper": {**given["zookeeper"], "root": root, "authSecretRef": {"namespace": "shuren-system", "name": "to-zookeeper"}},
    }
    with user.second_cluster(**logins) as cluster:
        references = {
            "clusterRef": {"name": cluster},
            "envRefs": [{"name": "PASSWORD", "secretKeyRef": {"name": "app", "key": "variable"}}],
            "filesFrom": [{"path": "site/token", "secretKeyRef": {"name": "app", "key": "file"}}],
        }
        user.run("web", web("1", **references))
        # what goes wrong must not say more: a version that fails, one that Marathon refuses, and one that waits
        user.apply("web", broken("2", **references, rollout={"deadlineSeconds": 10, "onFailure": "Rollback"}))
        user.until_reason("web", "RolledBack")
        user.apply("refused", web("1", **references, role="nobody"))
        user.apply("waiting", web("1", **references, cpus=10_000))
        user.until(lambda: bool(user.reason("refused")) and bool(user.reason("waiting")))
        app = user.engine.app(user.app_id("web"))
        assert app is not None
        assert app["env"]["PASSWORD"] == VARIABLE, "it did come where it is used"

        manifest = tmp_path / "web.yaml"
        manifest.write_text(json.dumps(user.manifest("web", web("3", **references))))
        said = {
            **{f"kubectl get {kind}": user.kubectl("get", kind, "-A", "-o", "yaml", "--show-managed-fields") for kind in KINDS.split(",")},
            **{f"log of {one.name}": one.log.read_text(errors="replace") for one in cut_off.both},
            **{f"metrics of {one.name}": _metrics(one.metrics) for one in cut_off.both if one.running},
            **_nodes(user.sandbox, root),
            "plan": _shuren(user.sandbox, "plan", "-f", str(manifest)),
            "plan as JSON": _shuren(user.sandbox, "plan", "-f", str(manifest), "-o", "json"),
        }
    user.sandbox.kubectl("-n", "shuren-system", "delete", "secret", "to-marathon", "to-zookeeper")
    assert len([where for where in said if where.startswith(root)]) > 3, "the nodes could be read"
    assert "web" in said["plan"]
    for where, text in said.items():
        for mark in MARKS:
            assert mark not in text, f"{mark} in {where}"
            assert base64.b64encode(mark.encode()).decode()[:-4] not in text, f"{mark} (base64) in {where}"


def _metrics(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text: str = answer.read().decode()
    return text


def _nodes(sandbox: Sandbox, root: str) -> dict[str, str]:
    """Everything in ZooKeeper below a root, by path, as who has the password reads it."""
    found: dict[str, str] = {}
    client = KazooClient(hosts=sandbox.endpoints.zookeeper_hosts, auth_data=[("digest", f"shuren:{ZOOKEEPER}")])
    client.start(timeout=30)
    try:
        waiting = [root]
        while waiting:
            path = waiting.pop()
            found[path] = client.get(path)[0].decode(errors="replace")
            waiting += [f"{path}/{name}" for name in client.get_children(path)]
    finally:
        client.stop()
        client.close()
    return found


def _shuren(sandbox: Sandbox, *arguments: str) -> str:
    command = [sys.executable, "-m", "shuren.cli", *arguments]
    done = subprocess.run(command, env=sandbox.environment(), capture_output=True, text=True, check=False, timeout=PATIENCE)
    return done.stdout + done.stderr

"""Gated roll-outs through a real HAProxy under load: a canary that takes over, and a bad version that is taken back by itself."""

from __future__ import annotations

import http.client
import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kube_rest import Rest
from real_parts import fresh_namespace, owner, running
from shuren.devenv.background import Sandbox
from shuren.devenv.load import KEPT, NEW, POST, load
from shuren.devenv.options import Options
from shuren.devenv.parts import CLUSTER, LB_GROUP
from tenant import Tenant, looking, passes, sleeper

pytestmark = pytest.mark.usefixtures("unmeasured_programs")

HOST, PORT = "gated.example", 8081
KINDS = (KEPT, KEPT, NEW, POST)
_SERVER = Path(__file__).parents[2] / "gated_server.py"


@pytest.fixture(scope="module")
def balanced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    # a short path: HAProxy's sockets lie below it
    with running(Options(state_dir=tmp_path_factory.mktemp("g"), operators=1, load_balancers=1, owner=owner())) as sandbox:
        yield sandbox


@pytest.fixture
def user(balanced: Sandbox) -> Iterator[Tenant]:
    with closing(Rest(balanced.endpoints.kubeconfig)) as rest, fresh_namespace(balanced) as namespace:
        tenant = Tenant(sandbox=balanced, namespace=namespace, rest=rest)
        tenant.run("web", spec("1"))
        tenant.kubectl("apply", "-f", "-", stdin=json.dumps(service()))
        tenant.kubectl("wait", "paasservice/web", "--for=condition=Ready", "--timeout=90s")
        yield tenant
        tenant.kubectl("delete", "paasservice/web", "--timeout=60s")
        tenant.kubectl("delete", "paasapp/web", "--timeout=60s")


def spec(version: str, *steps: dict[str, Any]) -> dict[str, Any]:
    check = {"protocol": "MESOS_HTTP", "path": "/alive", "portIndex": 0, "delaySeconds": 0, "gracePeriodSeconds": 30, "intervalSeconds": 1}
    return sleeper(
        cmd=f"exec {sys.executable} -I -S {_SERVER}",
        env={"VERSION": version},
        instances=2,
        portDefinitions=[{"port": 0, "name": "http"}],
        healthChecks=[{**check, "timeoutSeconds": 5}],
        rollout={"strategy": "Gated", "drainSeconds": 20, **({"steps": list(steps)} if steps else {})},
    )


def service() -> dict[str, Any]:
    given: dict[str, Any] = {
        "clusterRef": {"name": CLUSTER},
        "backends": [{"name": "main", "appRef": {"name": "web"}, "portName": "http"}],
        "loadBalancer": {
            "group": LB_GROUP,
            "listeners": [{"name": "http", "protocol": "HTTP", "port": PORT, "hosts": [HOST]}],
            "healthCheck": {"type": "Http", "path": "/alive", "intervalMs": 300},
        },
    }
    return {"apiVersion": "paas.shurenyun.com/v1alpha1", "kind": "PaasService", "metadata": {"name": "web"}, "spec": given}


def phase(tenant: Tenant) -> str:
    return str(tenant.status("web").get("rollout", {}).get("phase", ""))


def answers(tenant: Tenant, count: int) -> Counter[str]:
    """Who answers, of so many requests in a row."""
    found: Counter[str] = Counter()
    with closing(http.client.HTTPConnection(tenant.sandbox.endpoints.lb_addresses[0], PORT, timeout=30)) as connection:
        for _ in range(count):
            connection.request("GET", "/", headers={"Host": HOST})
            found[connection.getresponse().read().decode()] += 1
    return found


def test_a_canary_takes_over_step_by_step_and_no_request_fails(user: Tenant) -> None:
    first = set(user.tasks("web"))
    steps = [{"weight": 10, "pause": True}, {"weight": 50, "durationSeconds": 1}, {"weight": 100, "durationSeconds": 1}]
    with load(user.sandbox.endpoints.lb_addresses[0], PORT, HOST, kinds=KINDS) as tally:
        user.until(lambda: tally.good.total() > 50)
        user.apply("web", spec("2", *steps))
        user.until(lambda: phase(user) == "Paused", about="web")
        assert user.status("web")["rollout"]["weight"] == 10
        assert user.condition("web", "Stalled") == {}
        assert user.condition("web", "Reconciling")["reason"] == "RolloutPaused"
        beside = user.app_id("web") + "-alt"
        assert set(user.claims()) == {user.app_id("web"), beside}
        backend = user.rest.call("GET", f"/apis/paas.shurenyun.com/v1alpha1/namespaces/{user.namespace}/paasservices/web").body
        assert backend["status"]["backends"][0]["rollouts"][0] == {
            "app": "web",
            "id": beside,
            "weight": 10,
            "ready": 1,
            "acknowledged": True,
        }
        seen = answers(user, 200)
        assert 10 <= seen["2"] <= 30, seen
        assert set(user.tasks("web")) == first, "the old version serves at its full size"
        with looking(lambda: user.status("web").get("rollout", {}).get("weight")) as weights:
            user.kubectl("annotate", "paasapp", "web", "paas.shurenyun.com/rollout-promote=now")
            user.wait("web")
        assert {10, 50, 100} <= set(weights)
        user.until(lambda: phase(user) == "Completed", about="web")
        assert set(answers(user, 50)) == {"2"}
    assert [str(failure) for failure in tally.failed] == []
    assert set(user.claims()) == {beside}
    assert user.engine.app(user.app_id("web")) is None
    assert user.status("web")["marathon"]["id"] == beside
    assert len(user.engine.tasks(beside)) == 2


def test_a_version_that_answers_with_errors_is_taken_back(user: Tenant) -> None:
    first = set(user.tasks("web"))
    bad = spec("bad", {"weight": 50, "durationSeconds": 600, "maxErrorRate": 0.05})
    with load(user.sandbox.endpoints.lb_addresses[0], PORT, HOST, kinds=KINDS) as tally:
        user.apply("web", bad)
        message = user.until_reason("web", "RolledBack", "Stalled")
        assert "maxErrorRate is 0.05" in message
        failed = len(tally.failed)
        assert all("500" in str(failure) for failure in tally.failed)
        good = tally.good.total()
        user.until(lambda: tally.good.total() > good + 100)
    assert len(tally.failed) == failed > 0
    assert set(user.tasks("web")) == first
    assert set(user.claims()) == {user.app_id("web")}
    assert user.engine.app(user.app_id("web") + "-alt") is None
    assert phase(user) == "Aborted"
    # the same version is not tried again
    made = passes(user.sandbox)
    user.kubectl("annotate", "paasapp", "web", "note=again")
    user.until(lambda: passes(user.sandbox) > made)
    assert user.reason("web", "Stalled") == "RolledBack"

"""The chart with the real image, installed on a cluster whose pods run; the samples are driven through it.

On the node of `make e2e` the bridge plug-in does not enforce NetworkPolicies: there the rules are held against the connections that the
operator really has.
"""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from chart_release import ACCOUNT, NAMESPACE, USER
from e2e_world import MESOS, PATIENCE, World
from waiting import eventually

APPS = ("web", "backend", "frontend", "greeter")


@pytest.fixture(scope="module")
def samples(world: World) -> World:
    """Apps and a service of the samples, each Ready."""
    for name in ("web", "backend-and-frontend", "config-from-secrets"):
        world.sample(name)
    for app in APPS:
        world.wait(f"paasapp/{app}", "condition=Ready")
    return world


def ready_twice(world: World) -> list[dict[str, Any]]:
    """Both pods of the operator, once both are ready and nothing else is there."""
    world.rolled_out(ACCOUNT, NAMESPACE)
    eventually(lambda: len(world.operators()) == 2, seconds=PATIENCE, every=0.2)
    return world.operators()


def test_probes_pass_and_nothing_restarts(world: World) -> None:
    for pod in ready_twice(world):
        conditions = {one["type"]: one["status"] for one in pod["status"]["conditions"]}
        assert conditions["Ready"] == conditions["ContainersReady"] == "True"
        (container,) = pod["spec"]["containers"]
        assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(container)
        (status,) = pod["status"]["containerStatuses"]
        assert (status["restartCount"], status["started"]) == (0, True)


def test_restricted_pod_security_is_enforced_and_met(world: World) -> None:
    refused = world.rest.call(
        "POST",
        f"/api/v1/namespaces/{NAMESPACE}/pods",
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "root"}, "spec": {"containers": [{"name": "c", "image": "x"}]}},
    )
    assert refused.status == 403
    assert 'violates PodSecurity "restricted' in refused.body["message"]
    (condition,) = (one for one in world.get("deployment", ACCOUNT, "-n", NAMESPACE)["status"]["conditions"] if one["type"] == "Available")
    assert condition["status"] == "True"
    pod = ready_twice(world)[0]["metadata"]["name"]
    script = "import os; print(os.getuid(), open('/proc/self/status').read().split('CapEff:')[1].split()[0]); open('/x', 'w')"
    done = subprocess.run(
        [str(world.tools / "kubectl"), f"--kubeconfig={world.kubeconfig}", "exec", pod, "-n", NAMESPACE, "--", "python3", "-c", script],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.split() == ["65532", "0" * 16]
    assert "Read-only file system" in done.stderr


def test_samples_become_ready_as_real_tasks(samples: World) -> None:
    wanted = {app: samples.get("paasapp", app)["spec"]["instances"] for app in APPS}
    assert {app: len(samples.tasks(app)) for app in APPS} == wanted
    processes = samples.processes()
    assert all(processes[task] for app in APPS for task in samples.tasks(app))


def test_the_rights_of_the_service_account_suffice(samples: World) -> None:
    for pod in ready_twice(samples):
        said = samples.kubectl("logs", pod["metadata"]["name"], "-n", NAMESPACE)
        assert "is forbidden" not in said
        assert [line for line in said.splitlines() if line and json.loads(line)["level"] in {"ERROR", "CRITICAL"}] == []
    if samples.audit is not None:
        events = [event for event in samples.audit() if event["user"].get("username") == USER]
        assert {event["verb"] for event in events} >= {"list", "watch", "patch", "create"}
        assert [f"{e['verb']} {e['requestURI']}" for e in events if e["responseStatus"]["code"] == 403] == []


def test_the_network_policy_allows_the_flows_that_there_are_and_no_others(samples: World) -> None:
    policy = samples.get("networkpolicy", ACCOUNT, "-n", NAMESPACE)
    allowed = {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}
    leader = samples.led_by(bool)
    needed = {443, 8080, 2181}
    seen: set[int] = set()

    def looked() -> bool:
        # requests to the Mesos master come now and then; connections to the others stay
        seen.update(samples.connections(leader))
        return needed <= seen

    eventually(looked, seconds=PATIENCE, every=0.2)
    assert seen <= allowed
    # beside them: names, the API server's other port, Marathon with TLS, the Mesos master
    assert allowed - needed == {53, 6443, 8443, 5050}
    pods = samples.operators()
    assert all(policy["spec"]["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items() for pod in pods)


def test_the_other_replica_leads_when_the_leader_is_deleted(samples: World) -> None:
    before = samples.tasks("web"), samples.processes()
    first = samples.led_by(bool)
    others = {pod["metadata"]["name"] for pod in ready_twice(samples)} - {first}
    samples.kubectl("delete", "pod", first, "-n", NAMESPACE, "--wait=false")
    second = samples.led_by(lambda name: name not in {"", first})
    assert second in others, "the one that was warm leads, not the one that replaces"
    samples.scale("backend", 1)
    samples.wait("paasapp/backend", "condition=Ready")
    now = samples.processes()
    assert samples.tasks("web") == before[0]
    assert {task: now.get(task) for task in before[1]} == before[1]


def test_a_rolled_deployment_of_the_operator_disturbs_no_task(samples: World) -> None:
    old = {pod["metadata"]["name"] for pod in ready_twice(samples)}
    before, processes = samples.in_marathon(), samples.processes()
    samples.kubectl("rollout", "restart", f"deployment/{ACCOUNT}", "-n", NAMESPACE)
    fresh = {pod["metadata"]["name"] for pod in ready_twice(samples)}
    assert not fresh & old
    samples.led_by(lambda name: name in fresh)
    # the new leader has looked at everything once it acts on a change
    samples.scale("greeter", 1)
    after = samples.in_marathon()
    assert set(before.pop("/default/greeter")[1]) < set(after.pop("/default/greeter")[1])
    assert after == before
    now = samples.processes()
    assert {task: now.get(task) for task in processes} == processes
    (engine,) = samples.get("pods", "-n", MESOS, "-l", "app=marathon")["items"]
    assert engine["status"]["containerStatuses"][0]["restartCount"] == 0
